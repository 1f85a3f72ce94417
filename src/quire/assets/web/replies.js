// One reply of the server, read as it is written: text, reasoning, tool calls, and when each came.

export class Refused extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export async function ask(path, headers) {
  const reply = await fetch(path, { headers });
  if (!reply.ok) throw await refusal(reply);
  return reply.json();
}

async function refusal(reply) {
  let message = `The server answered ${reply.status}.`;
  try { message = (await reply.json()).error.message; } catch { /* not one of ours */ }
  return new Refused(message, reply.status, Number(reply.headers.get("retry-after")) || 0);
}

// Streams the reply to `body` into `message`; `onNews` is called after each piece. Resolves at the end.
export async function stream(body, headers, signal, message, onNews) {
  const asked = performance.now();
  const times = { first: 0, last: 0, pieces: 0 };
  message.figures = { tokens: 0, first: 0, rate: 0 };
  const reply = await fetch("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!reply.ok) throw await refusal(reply);
  for await (const data of events(reply.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refused(chunk.error.message, 0, 0);
    if (chunk.usage) count(message, times, asked, chunk.usage.completion_tokens);
    for (const choice of chunk.choices ?? []) take(message, choice, times, asked);
    onNews();
  }
  throw new Refused("The connection ended before the reply did.", 0, 0);
}

function take(message, choice, times, asked) {
  const delta = choice.delta ?? {};
  const thought = delta.reasoning ?? delta.reasoning_content ?? "";
  const calls = delta.tool_calls ?? [];
  if (choice.finish_reason) message.ended = choice.finish_reason;
  if (!delta.content && !thought && !calls.length) return;
  times.last = performance.now();
  times.first ||= times.last;
  times.pieces += 1;
  if (thought) {
    message.reasoning = (message.reasoning ?? "") + thought;
    message.thought = times.last - asked;
  }
  if (delta.content) message.content += delta.content;
  for (const piece of calls) {
    message.tool_calls ??= [];
    const call = (message.tool_calls[piece.index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
    if (piece.id) call.id = piece.id;
    call.function.name += piece.function?.name ?? "";
    call.function.arguments += piece.function?.arguments ?? "";
  }
  count(message, times, asked, times.pieces); // nearly one token each; the exact count comes last
}

function count(message, times, asked, tokens) {
  const span = (times.last - times.first) / 1000;
  message.figures = {
    tokens,
    first: times.first ? (times.first - asked) / 1000 : 0,
    rate: tokens > 1 && span > 0 ? (tokens - 1) / span : 0,
  };
}

// The data of each server-sent event. An event may come in any number of pieces.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      for (const line of part.split("\n")) if (line.startsWith("data: ")) yield line.slice(6);
    }
  }
}
