"""Offers a workload to a server: who asks when, how many at a time, and what was measured."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from quire.api.bench.client import Client, Reply
from quire.api.bench.workload import Message, Talk, Turn

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and what is the same in all of them."""

    model: str
    endpoint: str  # path below the base URL
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def is_chat(self) -> bool:
        return self.endpoint.endswith("chat/completions")

    def body(self, turn: Turn, before: list[Message]) -> dict[str, Any]:
        """The request, streamed and with usage. `before` is what a conversation has come to."""
        body = {
            "model": self.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": turn.output_tokens,
            **self.fields,
        }
        if self.is_chat:
            body["messages"] = [*before, *messages_of(turn)]
        else:
            body["prompt"] = turn.prompt
        return body


def messages_of(turn: Turn) -> list[Message]:
    if isinstance(turn.prompt, str):
        return [{"role": "user", "content": turn.prompt}]
    return [message for message in turn.prompt if isinstance(message, dict)]


@dataclass(slots=True)
class Outcome:
    """Every request that ended, with its reply, and how long it all took."""

    replies: list[tuple[Turn, Reply]] = field(default_factory=list)
    duration_s: float = 0.0
    was_cut: str = ""  # why it ended before all was done


async def offer(
    client: Client,
    target: Target,
    talks: list[tuple[float, Talk]],
    *,
    max_concurrency: int = 0,
    limit_s: float = 3600.0,
    report: Callable[[Reply], None] = lambda reply: None,
) -> Outcome:
    """Start each talk at its time (seconds from now), at most `max_concurrency` (0: any number) at once; ends after
    `limit_s` at the latest, or when it is cancelled, with what there is by then."""
    outcome = Outcome()
    started_s = time.perf_counter()
    gate = asyncio.Semaphore(max_concurrency) if max_concurrency else contextlib.nullcontext()

    async def run(at_s: float, talk: Talk) -> None:
        await asyncio.sleep(started_s + at_s - time.perf_counter())
        async with gate:
            await hold(client, target, talk, note)

    def note(turn: Turn, reply: Reply) -> None:
        outcome.replies.append((turn, reply))
        report(reply)

    tasks = [asyncio.create_task(run(at_s, talk)) for at_s, talk in talks]
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.gather(*tasks)
    except TimeoutError:
        outcome.was_cut = f"the time limit of {limit_s:g} s"
    except asyncio.CancelledError:
        outcome.was_cut = "Ctrl-C"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    outcome.duration_s = time.perf_counter() - started_s
    return outcome


async def hold(client: Client, target: Target, talk: Talk, note: Callable[[Turn, Reply], None]) -> None:
    """A talk's requests in order; a failed one ends it."""
    before: list[Message] = []
    for turn in talk.turns:
        reply = await client.stream(target.endpoint, target.body(turn, before))
        note(turn, reply)
        if reply.error:
            return
        if target.is_chat:
            before += [*messages_of(turn), {"role": "assistant", "content": reply.text}]
