// Conversations, kept in this browser alone, each under a key of its own so that two tabs do not undo each other.

const PREFIX = "quire.conversation.";

export class Conversations {
  constructor(storage, onFull) {
    this.storage = storage;
    this.onFull = onFull;
    this.kept = new Map();
    for (const key of this.keys()) this.take(key, storage.getItem(key));
  }

  keys() {
    try {
      return Object.keys(this.storage).filter((key) => key.startsWith(PREFIX));
    } catch {
      return [];
    }
  }

  take(key, text) {
    const id = key.slice(PREFIX.length);
    try {
      const value = JSON.parse(text);
      if (value && Array.isArray(value.messages)) this.kept.set(id, { ...value, id });
      else this.kept.delete(id);
    } catch { /* not ours */ }
  }

  // Another tab wrote.
  heard(event) {
    if (!event.key?.startsWith(PREFIX)) return false;
    this.take(event.key, event.newValue ?? "null");
    return true;
  }

  all() {
    return [...this.kept.values()].sort((one, other) => other.changed - one.changed);
  }

  start() {
    const bytes = crypto.getRandomValues(new Uint8Array(9));
    const id = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return { id, title: "", changed: Date.now(), messages: [] };
  }

  save(conversation) {
    conversation.changed = Date.now();
    if (!conversation.title) conversation.title = titleOf(conversation);
    this.kept.set(conversation.id, conversation);
    try {
      this.storage.setItem(PREFIX + conversation.id, JSON.stringify(conversation));
    } catch {
      this.onFull();
    }
  }

  remove(id) {
    this.kept.delete(id);
    try { this.storage.removeItem(PREFIX + id); } catch { /* nothing was kept */ }
  }
}

function titleOf(conversation) {
  const first = conversation.messages.find((message) => message.role === "user");
  return first ? first.content.trim().split("\n")[0].slice(0, 80) : "";
}

export function asMarkdown(conversation) {
  const parts = [`# ${conversation.title || "Conversation"}`];
  for (const message of conversation.messages) {
    const name = { user: "You", assistant: message.model || "Model", tool: "Tool" }[message.role] ?? message.role;
    parts.push(`## ${name}`);
    if (message.reasoning) parts.push(message.reasoning.split("\n").map((line) => `> ${line}`).join("\n"));
    if (message.content) parts.push(message.content);
    for (const call of message.tool_calls ?? []) parts.push("```json\n" + JSON.stringify(call.function, null, 2) + "\n```");
  }
  return parts.join("\n\n") + "\n";
}
