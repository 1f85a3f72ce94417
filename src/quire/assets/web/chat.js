// The chat page: joins the stored conversations, the settings, the stream of a reply, and what is seen of them.

import { Conversations, asMarkdown } from "./conversations.js";
import { make } from "./markdown.js";
import { Refused, ask, stream } from "./replies.js";
import { Settings } from "./settings.js";
import { Turn } from "./view.js";

const EXAMPLES = ["What is 17 + 25?", "Write four lines about paper", "List three rivers as a table"];
const MODEL = "quire.model";
const at = (id) => document.getElementById(id);

const settings = new Settings(at("parameters"), at("wrong"));
const store = new Conversations(localStorage, () => notice("This browser's storage is full: delete conversations to keep new ones.", true));
let open = store.start();
let turns = [];
let writing = null; // { controller, turn } while a reply comes

// ---- words to the reader ----

function notice(text, isBad = false) {
  at("notice").textContent = text;
  at("notice").classList.toggle("bad", isBad);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    notice("Copied.");
  } catch {
    notice("This browser lets pages copy only over HTTPS or on localhost.", true);
  }
}

// ---- drawing ----

const scroller = at("scroll");
const isAtEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
const toEnd = () => { scroller.scrollTop = scroller.scrollHeight; };

const does = {
  copy,
  retry: (message) => { cutAt(message); reply(); },
  edit: (message, text) => {
    if (!text.trim()) return;
    cutAt(message);
    say({ role: "user", content: text });
  },
  answer: (call, text) => {
    const role = "tool";
    open.messages.push({ role, tool_call_id: call.id, content: text });
    const isComplete = !lastCalls().some((other) => does.awaits(other.id));
    draw();
    if (isComplete) reply();
    else store.save(open);
  },
  awaits: (id) => lastCalls().some((call) => call.id === id) && !open.messages.some((message) => message.tool_call_id === id),
};

// Calls of the latest reply: only those can still be answered.
function lastCalls() {
  const last = open.messages.findLast((message) => message.role !== "tool");
  return last?.role === "assistant" ? last.tool_calls ?? [] : [];
}

function draw() {
  turns = open.messages.map((message) => new Turn(message, does));
  at("log").replaceChildren(...turns.map((turn) => turn.node));
  at("welcome").hidden = turns.length > 0;
  at("export").disabled = turns.length === 0;
  drawShelf();
  toEnd();
}

function drawShelf() {
  const rows = store.all().map((conversation) => {
    const title = conversation.title || "Untitled";
    const isOpen = conversation.id === open.id;
    const choose = make("button", { class: "open", title, "aria-current": isOpen ? "true" : null, onclick: () => show(conversation) }, title);
    const remove = make("button", { class: "remove icon", "aria-label": `Delete ${title}`, title: "Delete", onclick: () => forget(conversation) }, "×");
    return make("li", {}, choose, remove);
  });
  at("conversations").replaceChildren(...rows);
}

function show(conversation) {
  halt();
  open = conversation;
  notice("");
  draw();
  shut("shelf");
  at("prompt").focus();
}

function forget(conversation) {
  if (!confirm(`Delete “${conversation.title || "Untitled"}”? It cannot be brought back.`)) return;
  store.remove(conversation.id);
  if (conversation.id === open.id) show(store.start());
  else drawShelf();
}

// ---- asking ----

function cutAt(message) {
  halt();
  open.messages.splice(open.messages.indexOf(message));
}

function say(message) {
  open.messages.push(message);
  reply();
}

function requestMessages() {
  const system = settings.systemPrompt();
  const messages = system ? [{ role: "system", content: system }] : [];
  for (const { role, content, tool_calls, tool_call_id } of open.messages) {
    if (role === "assistant" && !content && !tool_calls) continue; // a reply that failed before its first word
    messages.push({ role, content, ...(tool_calls && { tool_calls }), ...(tool_call_id && { tool_call_id }) });
  }
  return messages;
}

async function reply() {
  const wrong = settings.problem();
  if (wrong) {
    draw();
    reveal("settings");
    notice(wrong, true);
    return;
  }
  const body = { model: at("model").value || undefined, messages: requestMessages(), ...settings.fields() };
  const message = { role: "assistant", content: "", model: at("model").value };
  const conversation = open;
  conversation.messages.push(message);
  store.save(conversation);
  draw();
  const turn = turns.at(-1);
  const controller = new AbortController();
  writing = { controller, turn };
  notice("");
  setWriting(true);
  turn.draw(true);
  let isDue = false;
  const onNews = () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      if (writing?.turn !== turn) return;
      const follows = isAtEnd();
      turn.draw(true);
      if (follows) toEnd();
    });
  };
  try {
    await stream(body, settings.headers(), controller.signal, message, onNews);
    notice("");
  } catch (error) {
    fail(message, error);
  } finally {
    if (writing?.turn === turn) {
      writing = null;
      setWriting(false);
    }
    store.save(conversation);
    const follows = isAtEnd();
    turn.draw(false);
    drawShelf();
    if (follows) toEnd();
    if (open === conversation) at("notice").textContent ||= spoken(message);
  }
}

// For those who hear the page: that a reply is complete. Seen by nobody else.
function spoken(message) {
  at("notice").classList.remove("bad");
  return message.ended === "stopped" ? "Stopped." : "";
}

function fail(message, error) {
  if (error.name === "AbortError") {
    message.ended = "stopped";
    return;
  }
  message.error = error instanceof Refused ? error.message : "The server cannot be reached.";
  if (error.status === 401) needKey();
}

function halt() {
  writing?.controller.abort();
}

function setWriting(isWriting) {
  at("send").hidden = isWriting;
  at("stop").hidden = !isWriting;
}

// ---- the server ----

function needKey() {
  reveal("settings");
  settings.askForKey();
  notice("This server needs an API key: enter it in the settings.", true);
}

async function loadModels() {
  try {
    const { data } = await ask("v1/models", settings.headers());
    const chosen = localStorage.getItem(MODEL);
    at("model").replaceChildren(...data.map(({ id }) => make("option", { value: id, selected: id === chosen }, id)));
    at("model").disabled = data.length < 2;
    at("serving").textContent = `${data[0].id} is listening. Its context holds ${data[0].max_model_len.toLocaleString("en")} tokens.`;
    notice("");
    await untilReady();
  } catch (error) {
    if (error.status === 401) needKey();
    else {
      notice("The server cannot be reached. Trying again…", true);
      setTimeout(loadModels, 3000);
    }
  }
}

async function untilReady() {
  const answer = await fetch("ready");
  if (answer.ok) {
    notice("");
    return;
  }
  const { status } = await answer.json();
  notice(status === "loading" ? "The model is loading…" : `The server is ${status}.`, status === "dead");
  if (status === "loading") setTimeout(untilReady, 1000);
}

// ---- drawers ----

function reveal(name) {
  const drawer = at(name);
  drawer.hidden = false;
  drawer.classList.add("shown");
  document.body.classList.toggle("with-settings", !at("settings").hidden);
  at("veil").hidden = false;
  for (const button of document.querySelectorAll(`[data-opens="${name}"]`)) button.setAttribute("aria-expanded", "true");
}

function shut(name) {
  const drawer = at(name);
  const wasShown = drawer.classList.contains("shown");
  drawer.classList.remove("shown");
  if (name === "settings") drawer.hidden = true;
  document.body.classList.toggle("with-settings", !at("settings").hidden);
  at("veil").hidden = true;
  const buttons = [...document.querySelectorAll(`[data-opens="${name}"]`)];
  for (const button of buttons) button.setAttribute("aria-expanded", "false");
  if (wasShown && drawer.contains(document.activeElement)) buttons[0]?.focus();
}

for (const button of document.querySelectorAll("[data-opens]")) {
  button.addEventListener("click", () => {
    const name = button.dataset.opens;
    if (at(name).classList.contains("shown")) return shut(name);
    reveal(name);
    (name === "shelf" ? at("new") : settings.field("system")).focus();
  });
}
for (const button of document.querySelectorAll("[data-closes]")) button.addEventListener("click", () => shut(button.dataset.closes));
at("veil").addEventListener("click", () => ["shelf", "settings"].forEach(shut));

// ---- the composer ----

function fit() {
  const prompt = at("prompt");
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

function send() {
  const text = at("prompt").value;
  if (!text.trim() || writing) return;
  at("prompt").value = "";
  fit();
  say({ role: "user", content: text });
}

at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
at("prompt").addEventListener("input", fit);
at("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});
at("stop").addEventListener("click", () => {
  halt();
  at("prompt").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (writing) halt();
  else ["shelf", "settings"].forEach(shut);
});

at("new").addEventListener("click", () => show(store.start()));
at("model").addEventListener("change", () => { try { localStorage.setItem(MODEL, at("model").value); } catch { /* this page only */ } });
at("export").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([asMarkdown(open)], { type: "text/markdown" }));
  const name = (open.title || "conversation").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60);
  make("a", { href: address, download: `${name || "conversation"}.md` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
});
settings.field("key").addEventListener("change", loadModels);
addEventListener("storage", (event) => { if (store.heard(event)) drawShelf(); });

for (const text of EXAMPLES) at("examples").append(make("button", { class: "plain", type: "button", onclick: () => { at("prompt").value = text; send(); } }, text));

draw();
loadModels();
at("prompt").focus();
