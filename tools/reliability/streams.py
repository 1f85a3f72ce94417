"""Callers: one asyncio connection each; a reply is read whole or as a stream, with the time of each event."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reply:
    """What one request came to. `choices` merges a stream's deltas, so that it equals that of any other cut."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    choices: dict[int, dict[str, Any]] = field(default_factory=dict)
    error: str = ""
    num_done: int = 0
    sent_s: float = 0.0
    event_s: list[float] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        ends = [choice.get("finish_reason") for choice in self.choices.values()]
        return self.status == 200 and not self.error and self.num_done == 1 and bool(ends) and all(ends)

    @property
    def first_s(self) -> float:
        return self.event_s[0] - self.sent_s

    @property
    def gaps_s(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.event_s, self.event_s[1:], strict=False)]

    def take(self, event: dict[str, Any]) -> None:
        if "error" in event:
            self.error = event["error"]["code"]
        for news in event.get("choices", ()):
            choice = self.choices.setdefault(news["index"], {})
            _merge(choice, news.get("delta", {}) | {key: news[key] for key in news if key != "delta"})


def _merge(known: dict[str, Any], news: dict[str, Any]) -> None:
    for key, value in news.items():
        if value is None or key in ("index", "role", "id", "type"):
            continue
        if key == "tool_calls":
            for call in value:
                _merge(known.setdefault(f"call {call['index']}", {}), call)
        elif isinstance(value, dict):
            _merge(known.setdefault(key, {}), value)
        elif isinstance(value, (str, list)) and key not in ("finish_reason", "stop_reason", "name"):
            known[key] = known.get(key, type(value)()) + value
        else:
            assert key not in known or known[key] == value, f"{key} was told twice"
            known[key] = value


async def ask(
    port: int, path: str, body: dict[str, Any], *, on_event: Callable[[Reply], None] | None = None
) -> Reply:
    """Post and read to the end. What breaks off becomes `error`."""
    reply = Reply()
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n"
    reply.sent_s = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as problem:
        reply.error = type(problem).__name__
        return reply
    try:
        writer.write(head.encode() + b"connection: close\r\n\r\n" + data)
        await _read(reader, reply, on_event)
    except (OSError, asyncio.IncompleteReadError) as problem:
        reply.error = type(problem).__name__
    finally:
        writer.transport.abort()
    return reply


async def _read(reader: asyncio.StreamReader, reply: Reply, on_event: Callable[[Reply], None] | None) -> None:
    reply.status = int((await reader.readuntil(b"\r\n")).split()[1])
    while line := (await reader.readuntil(b"\r\n")).strip():
        name, _, value = line.decode().partition(":")
        reply.headers[name.lower()] = value.strip()
    while line := await reader.readline():
        if line.startswith(b"data: [DONE]"):
            reply.num_done += 1
        elif line.startswith(b"data: "):
            reply.event_s.append(time.monotonic())
            reply.take(json.loads(line[6:]))
            if on_event is not None:
                on_event(reply)
        elif line.startswith(b"{"):
            reply.event_s.append(time.monotonic())
            reply.take(json.loads(line))


def mixed_bodies(count: int, num_tokens: int) -> list[tuple[str, dict[str, Any]]]:
    """Greedy, seeded, several samples, log-probabilities, JSON mode, tools that may and that must be called: streams
    whose tokens are fixed by the request."""
    parameters = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
    weather = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("/v1/completions", {"temperature": 0}),
        ("/v1/completions", {"temperature": 0.9, "logprobs": 2}),
        ("/v1/completions", {"temperature": 0.8, "n": 2}),
        ("/v1/chat/completions", {"temperature": 0}),
        ("/v1/chat/completions", {"temperature": 0.7, "logprobs": True, "top_logprobs": 1}),
        ("/v1/chat/completions", {"temperature": 0, "tools": [weather]}),
        ("/v1/chat/completions", {"temperature": 0.9, "response_format": {"type": "json_object"}}),
        ("/v1/chat/completions", {"temperature": 0.6, "tools": [weather], "tool_choice": "required"}),
    ]
    asked = []
    for number in range(count):
        path, fields = kinds[number % len(kinds)]
        text = f"Tell me about the number {number} and the weather in the town of Folio."
        prompt = (
            {"prompt": text}
            if path == "/v1/completions"
            else {"messages": [{"role": "user", "content": text}]}
        )
        ends = {} if fields.keys() & {"tools", "response_format"} else {"ignore_eos": True}
        body = {**prompt, **fields, **ends, "max_tokens": num_tokens, "seed": number, "stream": True}
        asked.append((path, body))
    return asked
