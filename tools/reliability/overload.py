"""The figure about more requests than can be served: how long the taken ones wait, how soon the others hear.

Capacity is the highest rate, in steps of a twentieth of what the engine's seats can serve, of which every request is
taken over the time of a trial. Arrivals are random, kept whatever became of those before, and times count from them.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

from tools.reliability.figure import Figure, percentile
from tools.reliability.server import Server, processor_s
from tools.reliability.streams import Reply, ask

# tokens are a mean: 25 to 75. As many may wait as are seated
NUM_SEATS, STREAM_TOKENS, PACE_MS, QUEUED = 16, 50, 20, 16
SERVED_HZ = NUM_SEATS / (STREAM_TOKENS * PACE_MS / 1000)
REFUSALS = (503, 429)


@dataclass
class Load:
    """What became of the requests of one open-loop load."""

    rate_hz: float
    seconds: float
    replies: list[Reply] = field(default_factory=list)
    server_s: float = 0.0  # of processor time, in the API process

    @property
    def taken(self) -> list[Reply]:
        return [reply for reply in self.replies if reply.is_whole]

    @property
    def refused(self) -> list[Reply]:
        return [reply for reply in self.replies if reply.status in REFUSALS]

    @property
    def first_token_p99_s(self) -> float:
        return percentile([reply.first_s for reply in self.taken], 0.99)

    @property
    def tokens_hz(self) -> float:
        """Events of whole streams: one token each at this pace."""
        return sum(len(reply.event_s) for reply in self.taken) / self.seconds


async def _offer(port: int, load: Load, chooser: random.Random, *, until_refused: bool = False) -> None:
    body = {"prompt": [1, 2, 3], "ignore_eos": True, "stream": True}
    asking: list[asyncio.Task[None]] = []

    async def arrive(due_s: float) -> None:
        num_tokens = chooser.randint(STREAM_TOKENS // 2, STREAM_TOKENS * 3 // 2)
        reply = await ask(port, "/v1/completions", {**body, "max_tokens": num_tokens})
        reply.sent_s = due_s
        load.replies.append(reply)

    due_s = time.monotonic()
    end_s = due_s + load.seconds
    while (due_s := due_s + chooser.expovariate(load.rate_hz)) < end_s:
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        asking.append(asyncio.create_task(arrive(due_s)))
        if until_refused and load.refused:
            break
    await asyncio.gather(*asking)


def _offered(server: Server, rate_hz: float, seconds: float, chooser: random.Random, **how: bool) -> Load:
    load = Load(rate_hz, seconds)
    before_s = processor_s(server.process.pid)
    asyncio.run(_offer(server.port, load, chooser, **how))
    load.server_s = processor_s(server.process.pid) - before_s
    return load


def _at_capacity(server: Server, seconds: float, chooser: random.Random) -> Load:
    for twentieths in range(20, 0, -1):
        load = _offered(server, SERVED_HZ * twentieths / 20, seconds, chooser, until_refused=True)
        if len(load.taken) == len(load.replies):
            return load
    raise SystemExit(f"requests are refused at {SERVED_HZ / 20} a second")


def overload(seconds: int, chooser: random.Random) -> Figure:
    """A tenth of the time at capacity, then all of it at four times that."""
    limits = ("--max-num-seqs", str(NUM_SEATS), "--max-num-queued-reqs", str(QUEUED))
    with Server(*limits, plugin="paced", QUIRE_PACE_MS=str(PACE_MS)) as server:
        _offered(server, SERVED_HZ, 2, chooser)
        calm = _at_capacity(server, max(10, seconds / 10), chooser)
        beyond = _offered(server, 4 * calm.rate_hz, seconds, chooser)
    num_lost = len(beyond.replies) - len(beyond.taken) - len(beyond.refused)
    num_mute = sum("retry-after" not in reply.headers for reply in beyond.refused)
    refused_s = percentile([reply.first_s for reply in beyond.refused], 0.99)
    ratio = beyond.first_token_p99_s / calm.first_token_p99_s
    goodput = beyond.tokens_hz / calm.tokens_hz
    loaded_ms, calm_ms = 1000 * beyond.first_token_p99_s, 1000 * calm.first_token_p99_s
    shares = [100 * load.server_s / load.seconds for load in (calm, beyond)]
    text = (
        f"first token p99 {loaded_ms:.0f} ms, {ratio:.2f} × the {calm_ms:.0f} ms at {calm.rate_hz:.1f} requests a "
        f"second, the most that are all taken over {calm.seconds:.0f} s; goodput {100 * goodput:.0f} %; refused "
        f"{len(beyond.refused)}, p99 {1000 * refused_s:.1f} ms, {num_mute} without Retry-After; {num_lost} lost; the "
        f"server used {shares[0]:.0f} % of a core, then {shares[1]:.0f} % ({seconds} s)"
    )
    met = ratio <= 1.5 and goodput >= 0.95 and refused_s < 0.020 and not (num_mute or num_lost)
    bar = "p99 ≤ 1.5 ×, goodput ≥ 95 %, refused < 20 ms"
    return Figure("4 × capacity, open loop", bar, len(beyond.replies), text, met)
