// One turn of a conversation on the page, and how it is drawn again while it grows.

import { make, markdown } from "./markdown.js";

export class Turn {
  // `does` holds what its buttons do: copy, edit, retry, answer.
  constructor(message, does) {
    this.message = message;
    this.does = does;
    this.body = make("div", { class: "body" });
    this.figures = make("span", { class: "figures" });
    this.acts = make("span", { class: "acts" });
    this.node = make("article", { class: `turn ${message.role}`, "aria-label": nameOf(message) });
    if (message.role === "tool") this.node.append(make("p", { class: "label" }, "Result given to the model"));
    this.node.append(this.body, make("div", { class: "tail" }, this.acts, this.figures));
    this.wantsThought = null; // whether the reader opened or closed the reasoning by hand
    this.drawActs();
    this.draw(false);
  }

  button(text, action) {
    this.acts.append(make("button", { class: "small", type: "button", onclick: action }, text));
  }

  drawActs() {
    const { role } = this.message;
    if (role !== "tool") this.button("Copy", () => this.does.copy(this.message.content || callsAsText(this.message)));
    if (role === "user") this.button("Edit", () => this.edit());
    if (role === "assistant") this.button("Retry", () => this.does.retry(this.message));
  }

  draw(isWriting) {
    const { message } = this;
    this.node.classList.toggle("writing", isWriting);
    this.node.setAttribute("aria-busy", String(isWriting));
    if (message.role !== "assistant") {
      this.body.textContent = message.content;
      return;
    }
    const parts = [];
    if (message.reasoning) parts.push(this.thought(isWriting));
    parts.push(markdown(message.content, this.does.copy));
    for (const call of message.tool_calls ?? []) if (call) parts.push(this.call(call, isWriting));
    if (message.error) parts.push(make("p", { class: "fault", role: "alert" }, message.error));
    this.body.replaceChildren(...parts);
    this.figures.textContent = figuresOf(message);
  }

  thought(isWriting) {
    const { message } = this;
    const isThinking = isWriting && !message.content && !message.tool_calls;
    const seconds = message.thought ? ` for ${(message.thought / 1000).toFixed(1)} s` : "";
    const box = make("details", { class: "reasoning", open: this.wantsThought ?? isThinking });
    const summary = make("summary", {}, isThinking ? "Thinking…" : `Thought${seconds}`);
    summary.addEventListener("click", () => { this.wantsThought = !box.open; });
    box.append(summary, make("div", { class: "thought" }, message.reasoning.trim()));
    return box;
  }

  call(call, isWriting) {
    const title = make("div", { class: "title" }, "Calls ", make("b", {}, call.function.name));
    const box = make("section", { class: "call", "aria-label": `Call of ${call.function.name}` }, title);
    box.append(make("pre", {}, pretty(call.function.arguments)));
    if (!isWriting && this.does.awaits(call.id)) {
      const input = make("input", { "aria-label": `Result of ${call.function.name}`, placeholder: "Result to give back", required: true });
      const form = make("form", {}, input, make("button", { class: "plain" }, "Give"));
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        this.does.answer(call, input.value);
      });
      box.append(form);
    }
    return box;
  }

  edit() {
    const area = make("textarea", { "aria-label": "Edit the message" });
    area.value = this.message.content;
    const close = () => { this.node.classList.remove("edit"); this.draw(false); };
    const row = make("div", { class: "acts-row" });
    row.append(make("button", { class: "plain", type: "button", onclick: close }, "Cancel"));
    row.append(make("button", { class: "primary", type: "button", onclick: () => this.does.edit(this.message, area.value) }, "Send"));
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); close(); }
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.does.edit(this.message, area.value);
      }
    });
    this.node.classList.add("edit");
    this.body.replaceChildren(area, row);
    area.focus();
  }
}

function nameOf(message) {
  return { user: "You", assistant: "Model", tool: "Result of a tool" }[message.role] ?? message.role;
}

function figuresOf({ figures, ended }) {
  if (!figures?.tokens) return "";
  const parts = [`${figures.tokens} token${figures.tokens === 1 ? "" : "s"}`];
  if (figures.rate) parts.push(`${figures.rate.toFixed(figures.rate < 10 ? 1 : 0)} tokens/s`);
  if (figures.first) parts.push(`first after ${figures.first.toFixed(2)} s`);
  if (ended === "length") parts.push("cut at its longest");
  if (ended === "stopped") parts.push("stopped");
  return parts.join(" · ");
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function callsAsText(message) {
  return (message.tool_calls ?? []).map((call) => `${call.function.name}(${call.function.arguments})`).join("\n");
}
