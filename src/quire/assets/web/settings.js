// The settings form: kept in this browser, read into the fields of a request. What is left empty is left out.

const KEY = "quire.settings";
const SECRET = "quire.key";
const NUMBERS = ["temperature", "max_tokens", "top_p", "top_k", "seed"];
const TEXTS = ["system", "stop", "schema", "tools"];

export class Settings {
  constructor(form, wrong) {
    this.form = form;
    this.wrong = wrong;
    this.restore();
    form.addEventListener("input", () => this.changed());
    form.addEventListener("reset", () => setTimeout(() => this.changed()));
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  field(name) { return this.form.elements.namedItem(name); }

  restore() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
      for (const name of [...NUMBERS, ...TEXTS]) this.field(name).value = kept[name] ?? "";
      const key = localStorage.getItem(SECRET);
      this.field("keep").checked = key !== null;
      this.field("key").value = key ?? sessionStorage.getItem(SECRET) ?? "";
    } catch { /* private mode or foreign content: begin empty */ }
  }

  changed() {
    const kept = {};
    for (const name of [...NUMBERS, ...TEXTS]) if (this.field(name).value) kept[name] = this.field(name).value;
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
      const key = this.field("key").value;
      const keeps = this.field("keep").checked && key;
      for (const [storage, holds] of [[localStorage, keeps], [sessionStorage, key && !keeps]]) {
        if (holds) storage.setItem(SECRET, key);
        else storage.removeItem(SECRET);
      }
    } catch { /* for this page only */ }
    this.problem();
  }

  headers() {
    const key = this.field("key").value.trim();
    return key ? { Authorization: `Bearer ${key}` } : {};
  }

  // What is not right, in words; also shown beside the fields. Empty when all is well.
  problem() {
    let found = "";
    for (const [name, what, fits] of [
      ["schema", "The JSON schema", (value) => typeof value === "object" && value !== null && !Array.isArray(value)],
      ["tools", "The list of tools", Array.isArray],
    ]) {
      const text = this.field(name).value.trim();
      let isFine = true;
      try { isFine = !text || fits(JSON.parse(text)); } catch { isFine = false; }
      this.field(name).setAttribute("aria-invalid", String(!isFine));
      if (!isFine) found ||= `${what} is not ${name === "schema" ? "a JSON object" : "a JSON array"}.`;
    }
    for (const name of NUMBERS) if (!this.field(name).validity.valid) found ||= `${this.field(name).labels[0].firstChild.textContent.trim()}: ${this.field(name).validationMessage}`;
    this.wrong.textContent = found;
    return found;
  }

  // Fields of a chat request, without messages.
  fields() {
    const fields = {};
    for (const name of NUMBERS) if (this.field(name).value !== "") fields[name] = Number(this.field(name).value);
    const stop = this.field("stop").value.split("\n").filter(Boolean);
    if (stop.length) fields.stop = stop;
    const schema = this.field("schema").value.trim();
    if (schema) fields.response_format = { type: "json_schema", json_schema: { name: "reply", schema: JSON.parse(schema) } };
    const tools = this.field("tools").value.trim();
    if (tools) fields.tools = JSON.parse(tools);
    return fields;
  }

  systemPrompt() { return this.field("system").value.trim(); }

  askForKey() {
    this.field("key").focus();
    this.field("key").select();
  }
}
