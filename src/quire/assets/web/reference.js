// The reference page: openapi.json made readable, with a request to try at each route.

import { make } from "./markdown.js";
import { ask } from "./replies.js";

const at = (id) => document.getElementById(id);
const EXAMPLES = {
  "/v1/chat/completions": { messages: [{ role: "user", content: "What is 17 + 25?" }] },
  "/v1/completions": { prompt: "Once upon a time", max_tokens: 24 },
  "/tokenize": { prompt: "one two three" },
  "/detokenize": { tokens: [400, 401, 402] },
};
let schemas = {};

const headers = () => (at("key").value ? { Authorization: `Bearer ${at("key").value}` } : {});

async function load() {
  try {
    show(await ask("openapi.json", headers()));
  } catch (error) {
    at("notice").textContent = error.status === 401 ? "This server needs an API key: enter it above." : error.message;
    at("notice").classList.add("bad");
    if (error.status === 401) at("key").focus();
  }
}

function show(api) {
  schemas = api.components.schemas;
  at("notice").textContent = "";
  at("version").textContent = api.info.version;
  at("about").textContent = api.info.description.replaceAll("`", "");
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push({ path, method, operation });
    }
  }
  const order = [...groups].sort(([one], [other]) => (one === "Probes") - (other === "Probes"));
  at("contents").replaceChildren();
  at("routes").replaceChildren();
  for (const [tag, routes] of order) {
    at("contents").append(make("h2", {}, tag));
    at("routes").append(make("h2", {}, tag));
    let last = "";
    for (const route of routes) {
      const id = route.operation.operationId;
      if (route.path !== last) at("contents").append(make("a", { href: `#${id}` }, route.path));
      last = route.path;
      at("routes").append(routeBox(id, route));
    }
  }
  openTarget();
}

function routeBox(id, { path, method, operation }) {
  const summary = make("summary", {}, make("span", { class: `verb ${method}` }, method.toUpperCase()));
  summary.append(make("code", {}, path), make("span", { class: "what" }, operation.summary));
  const box = make("details", { class: "route", id }, summary);
  box.addEventListener("toggle", () => {
    if (box.open && box.childElementCount === 1) box.append(inside(path, method, operation));
  });
  return box;
}

function inside(path, method, operation) {
  const box = make("div", { class: "inside" });
  const body = operation.requestBody?.content["application/json"].schema;
  if (operation.security.length) box.append(make("p", {}, "Needs an API key."));
  for (const parameter of operation.parameters ?? []) box.append(make("p", {}, make("code", {}, parameter.name), ` in the ${parameter.in}`));
  if (body) box.append(make("h3", {}, "Request"), ...fields(body), ...refusals(resolve(body)));
  for (const [status, reply] of Object.entries(operation.responses)) {
    if (!reply.content) continue;
    box.append(make("h3", {}, `Reply ${status}`));
    for (const [type, { schema, "x-event": event }] of Object.entries(reply.content)) {
      box.append(make("p", {}, make("code", {}, type)));
      if (event) box.append(make("p", {}, reply.description.replaceAll("`", "")), ...fields(event));
      else if (schema) box.append(...fields(schema));
    }
  }
  box.append(make("h3", {}, "Try it"), trial(path, method, body));
  return box;
}

function resolve(schema) {
  return schema?.$ref ? schemas[schema.$ref.split("/").at(-1)] : schema ?? {};
}

// A table of an object's fields, and below it one folded table for each object that a field holds.
function fields(schema, seen = []) {
  const whole = resolve(schema);
  if (!whole.properties) return [make("p", {}, make("code", {}, typeOf(schema)))];
  const body = make("tbody");
  const inner = [];
  for (const [name, part] of Object.entries(whole.properties)) {
    const mark = (whole.required ?? []).includes(name) ? make("span", { class: "needed", title: "required" }, " *") : "";
    const standard = part.default !== undefined && part.default !== null ? ` Default: ${JSON.stringify(part.default)}.` : "";
    body.append(make("tr", {}, make("td", {}, make("code", {}, name), mark), make("td", {}, typeOf(part)), make("td", {}, `${part.description ?? ""}${standard}`)));
    for (const reference of references(part)) {
      if (!seen.includes(reference)) inner.push(folded(reference, [...seen, reference]));
    }
  }
  const head = make("tr", {}, ...["field", "type", ""].map((title) => make("th", { scope: "col" }, title)));
  return [make("table", {}, make("thead", {}, head), body), ...inner];
}

function folded(reference, seen) {
  const name = reference.split("/").at(-1);
  const box = make("details", { class: "inner" }, make("summary", {}, name));
  box.addEventListener("toggle", () => { if (box.open && box.childElementCount === 1) box.append(...fields({ $ref: reference }, seen)); });
  return box;
}

function references(schema) {
  if (!schema || typeof schema !== "object") return [];
  if (schema.$ref) return [schema.$ref];
  return [...(schema.anyOf ?? []), schema.items, schema.additionalProperties].flatMap(references);
}

function typeOf(schema) {
  if (!schema || schema === true || !Object.keys(schema).length) return "anything";
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.anyOf) return schema.anyOf.map(typeOf).filter((name) => name !== "null").join(" | ");
  if (Array.isArray(schema.type)) return schema.type.filter((name) => name !== "null").join(" | ");
  if (schema.type === "array") return `${typeOf(schema.items)}[]`;
  return schema.type ?? "anything";
}

function refusals(schema) {
  const refused = Object.entries(schema["x-refused-fields"] ?? {});
  if (!refused.length) return [];
  const rows = refused.map(([name, reason]) => make("tr", {}, make("td", {}, make("code", {}, name)), make("td", {}, reason)));
  return [make("details", { class: "inner" }, make("summary", {}, `${refused.length} known fields are refused`), make("table", {}, make("tbody", {}, ...rows)))];
}

function trial(path, method, body) {
  const form = make("form", { class: "try" });
  const inputs = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => {
    const input = make("input", { name });
    form.append(make("div", { class: "row" }, make("label", {}, `${name} `, input)));
    return input;
  });
  const text = body && make("textarea", { "aria-label": "Body of the request", spellcheck: "false" });
  if (text) {
    text.value = JSON.stringify(EXAMPLES[path] ?? {}, null, 2);
    form.append(text);
  }
  const state = make("span");
  const output = make("pre", { tabindex: "0", hidden: true, "aria-live": "polite" });
  form.append(make("div", { class: "row" }, make("button", { class: "primary" }, "Send"), state), output);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let address = path.slice(1);
    for (const input of inputs) address = address.replace(`{${input.name}}`, encodeURIComponent(input.value));
    output.hidden = false;
    output.textContent = "";
    state.textContent = "…";
    await send(address, method, text?.value, state, output);
  });
  return form;
}

async function send(address, method, body, state, output) {
  const started = performance.now();
  try {
    const type = body === undefined ? {} : { "Content-Type": "application/json" };
    const reply = await fetch(address, { method: method.toUpperCase(), headers: { ...headers(), ...type }, body });
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      output.append(value);
    }
    if (reply.headers.get("content-type")?.startsWith("application/json")) output.textContent = pretty(output.textContent);
    state.textContent = `${reply.status} in ${Math.round(performance.now() - started)} ms`;
  } catch (error) {
    state.textContent = `The request failed: ${error.message}`;
  }
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function openTarget() {
  const box = location.hash && document.getElementById(location.hash.slice(1));
  if (box) {
    box.open = true;
    box.scrollIntoView();
  }
}

addEventListener("hashchange", openTarget);
at("key").addEventListener("change", load);
load();
