"""Figures about ends: of the engine, of the server, by a crash, a hang, a signal; and of a single row."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.reliability.figure import Figure, percentile, spread
from tools.reliability.server import Server, descendants, model_of_shape, state
from tools.reliability.streams import Reply, ask, mixed_bodies

NUM_STREAMS = 64
NUM_TOKENS = 120
SIDE_BY_SIDE = 4  # servers at once, where no time is measured
EXIT_LIMIT_S = 45.0  # the default of --shutdown-timeout, and then some
MAX_FAULTS_PER_SERVER = 2  # three deaths of an engine within a minute end the service, as they should


async def _all(port: int, on_event=None) -> list[Reply]:
    bodies = mixed_bodies(NUM_STREAMS, NUM_TOKENS)
    return await asyncio.gather(*(ask(port, path, body, on_event=on_event) for path, body in bodies))


class _Disturbed:
    """The same 64 streams again, with a signal to the engine when so many events have arrived."""

    def __init__(self, server: Server, number: int, after_events: int) -> None:
        self._server = server
        self._number = number
        self._left = after_events
        self.struck_s = 0.0
        self.first_news_s = 0.0
        self.found_s = 0.0

    async def _until_found(self, engine: int) -> None:
        """A hung engine was found when it has been killed."""
        while state(engine) not in ("", "Z"):
            await asyncio.sleep(0.01)
        self.found_s = time.monotonic()

    def on_event(self, reply: Reply) -> None:
        self._left -= 1
        if self._left == 0:
            engine = self._server.engine()
            os.kill(engine, self._number)
            self.struck_s = time.monotonic()
            self._search = asyncio.get_running_loop().create_task(self._until_found(engine))
        elif self._left < 0 and not self.first_news_s and reply.event_s[-1] > self.struck_s + 0.2:
            self.first_news_s = reply.event_s[-1]  # what was on its way when it struck comes within 0.2 s


def engine_deaths(n: int, chooser: random.Random, number: int) -> Figure:
    """n signals to the engine under 64 mixed streams, which must say what they say undisturbed."""
    outages_s: list[float] = []
    found_s: list[float] = []
    gaps_s: list[float] = []
    num_different = num_done = 0
    expected: list[dict] = []
    while num_done < n:
        with Server() as server:
            calm = asyncio.run(_all(server.port))
            assert all(reply.is_whole for reply in calm), [reply.error for reply in calm]
            if not expected:
                expected = [reply.choices for reply in calm]
            num_different += sum(reply.choices != want for reply, want in zip(calm, expected, strict=True))
            num_events = sum(len(reply.event_s) for reply in calm)
            for _ in range(min(MAX_FAULTS_PER_SERVER, n - num_done)):
                disturbed = _Disturbed(server, number, chooser.randrange(1, num_events * 3 // 4))
                replies = asyncio.run(_all(server.port, disturbed.on_event))
                for reply, want in zip(replies, expected, strict=True):
                    num_different += not reply.is_whole or reply.choices != want
                    gaps_s.append(max(reply.gaps_s, default=0.0))
                if disturbed.found_s and disturbed.first_news_s:  # else all streams had ended when it struck
                    found_s.append(disturbed.found_s - disturbed.struck_s)
                    outages_s.append(disturbed.first_news_s - disturbed.struck_s)
                num_done += 1
    text = (
        f"{num_different} of {n * NUM_STREAMS} streams differ; outage {spread(outages_s)}; "
        f"gap of a stream p99 {percentile(gaps_s, 0.99):.2f} s"
    )
    if number == signal.SIGKILL:
        return Figure(
            "kill -9 of the engine under 64 mixed streams", "all equal", n, text, num_different == 0
        )
    met = num_different == 0 and max(found_s) <= 5.0
    text = f"found after {spread(found_s)}; {text}"
    return Figure("kill -STOP of the engine, same", "found ≤ 5 s, all equal", n, text, met)


def restarts(n: int) -> Figure:
    """n kills of an engine of Qwen3-0.6B's shape under 8 streams: until it takes requests again, and until each
    stream goes on."""
    ready_s: list[float] = []
    gaps_s: list[float] = []
    num_broken = 0
    body = {"prompt": "Tell me.", "temperature": 0, "ignore_eos": True, "max_tokens": 40, "stream": True}
    bodies = [{**body, "return_token_ids": True}] * 8

    async def strike(server: Server) -> list[Reply]:
        asking = [asyncio.create_task(ask(server.port, "/v1/completions", body)) for body in bodies]
        while server.metrics()["vllm:generation_tokens_total"] < 8:
            await asyncio.sleep(0.02)
        os.kill(server.engine(), signal.SIGKILL)
        struck_s = time.monotonic()
        while await asyncio.to_thread(server.status, "/ready") == 200:
            await asyncio.sleep(0.01)
        while await asyncio.to_thread(server.status, "/ready") != 200:
            await asyncio.sleep(0.01)
        ready_s.append(time.monotonic() - struck_s)
        return await asyncio.gather(*asking)

    with model_of_shape("qwen3-0.6b") as (model, folder):
        for _ in range(n):
            with Server(model, "--max-model-len", "1024", VLLM_CACHE_ROOT=folder) as server:
                replies = asyncio.run(strike(server))
            num_broken += sum(not reply.is_whole for reply in replies)
            gaps_s += [max(reply.gaps_s) for reply in replies]
    text = (
        f"ready again after {spread(ready_s)}; gap of a stream {spread(gaps_s)}; {num_broken} streams broken"
    )
    met = max(ready_s) <= 2.0 and num_broken == 0
    return Figure("kill -9 of an engine of Qwen3-0.6B's shape", "ready ≤ 2 s", n, text, met)


def server_deaths(n: int, chooser: random.Random) -> Figure:
    """n kills of the server process under streams, at any time; what is left two seconds later."""
    shared_memory = set(os.listdir("/dev/shm"))

    async def kill_amid_streams(server: Server, after_s: float) -> list[int]:
        """The processes that the server had started."""
        bodies = mixed_bodies(8, NUM_TOKENS)
        asking = [asyncio.create_task(ask(server.port, path, body)) for path, body in bodies]
        while len(descendants(server.process.pid)) < 2:  # the engine, and what checks grammars
            await asyncio.sleep(0.01)
        await asyncio.sleep(after_s)
        started = descendants(server.process.pid)
        server.process.kill()
        await asyncio.gather(*asking)
        return started

    def kill_one(after_s: float) -> int:
        with Server() as server:
            started = asyncio.run(kill_amid_streams(server, after_s))
            server.process.wait()
            time.sleep(2)
            left = [path for path in Path(server.folder).iterdir() if path.name != "log"]
            return len(left) + sum(state(pid) not in ("", "Z") for pid in started)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        num_left = sum(pool.map(kill_one, [chooser.random() for _ in range(n)]))
    num_left += len(set(os.listdir("/dev/shm")) - shared_memory)
    text = f"{num_left} processes, sockets and segments left"
    return Figure("kill -9 of the server", "0 left after 2 s", n, text, num_left == 0)


def _exit_code(server: Server) -> int | None:
    """None of a server that does not end; what it said is shown where the code is not 0."""
    left_s = (
        EXIT_LIMIT_S  # time that is looked at: whoever stops this program as well stops the server's clock
    )
    while (code := server.process.poll()) is None and left_s > 0:
        time.sleep(0.01)
        left_s -= 0.01
    if code is None:
        server.signal(signal.SIGABRT)  # with PYTHONFAULTHANDLER=1 it says where it stands
        server.process.wait()
    if code != 0:
        sys.stderr.write(f"exit code {code}: ...{server.log()[-5000:]}\n")
    return code


def drains(n: int, chooser: random.Random) -> Figure:
    """n SIGTERMs under 64 streams: all finish, a new request hears when to come back, exit code 0."""
    num_broken = num_unrefused = num_codes = 0
    seconds: list[float] = []

    async def terminate(server: Server) -> tuple[list[Reply], Reply]:
        asking = [
            asyncio.create_task(ask(server.port, path, body))
            for path, body in mixed_bodies(NUM_STREAMS, NUM_TOKENS)
        ]
        while server.metrics()["vllm:num_requests_running"] < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(chooser.random() * 0.5)
        server.signal(signal.SIGTERM)
        while await asyncio.to_thread(server.status, "/ready") == 200:  # until it has heard of it
            await asyncio.sleep(0.005)
        late = await ask(server.port, "/v1/completions", {"prompt": "late"})
        return await asyncio.gather(*asking), late

    for _ in range(n):
        with Server() as server:
            replies, late = asyncio.run(terminate(server))
            ended_s = time.monotonic()
            num_codes += _exit_code(server) != 0
            seconds.append(time.monotonic() - ended_s)
            # a request that reached the port after the signal is among the refused ones, not the running ones
            num_broken += sum(not reply.is_whole for reply in replies if reply.status == 200)
            is_refused = late.status == 503 and "retry-after" in late.headers
            num_unrefused += not is_refused
            if not is_refused:
                sys.stderr.write(f"a late request: {late.status} {late.error} {late.headers}\n")
    text = (
        f"{num_broken} streams broken, {num_codes} exits not 0, {num_unrefused} late requests not answered "
        f"503; exit after the last stream {spread(seconds)}"
    )
    met = not (num_broken or num_codes or num_unrefused)
    return Figure("SIGTERM under 64 streams", "100 % finish, exit 0", n, text, met)


def poisoned_row(n: int) -> Figure:
    """n times eight requests of which one's logits turn to NaN: seven must say what they say without it."""
    mark = 777
    bodies = [
        {"prompt": [10 + number, 20, 30, 40 + number], "temperature": 0.8, "seed": number, "max_tokens": 20}
        for number in range(7)
    ]
    bad = {"prompt": [10, mark], "temperature": 0, "max_tokens": 20, "ignore_eos": True}

    async def together(port: int, asked: list[dict]) -> list[Reply]:
        return await asyncio.gather(*(ask(port, "/v1/completions", body) for body in asked))

    num_wrong = 0
    with Server(plugin="faults", QUIRE_FAULTS=f"nan@5:{mark}") as server:
        expected = asyncio.run(together(server.port, bodies))
        engine = server.engine()
        for _ in range(n):
            *healthy, failed = asyncio.run(together(server.port, [*bodies, bad]))
            num_wrong += failed.error != "generation_failed"
            num_wrong += sum(a.choices != b.choices for a, b in zip(healthy, expected, strict=True))
        num_wrong += server.engine() != engine
    text = f"{num_wrong} of {8 * n} replies wrong"
    return Figure("one NaN row in a batch of 8", "it errors, 7 equal", n, text, num_wrong == 0)


def poison(n: int) -> Figure:
    """n retries of a request that ends the engine each time, beside an innocent stream."""
    mark = 777
    bad = {"prompt": [10, mark], "temperature": 0, "max_tokens": 20, "ignore_eos": True}
    path, innocent = mixed_bodies(1, 300)[0]

    async def attack(port: int) -> tuple[Reply, list[Reply]]:
        beside = asyncio.create_task(ask(port, path, innocent))
        refused = []
        while len(refused) < n:
            reply = await ask(port, "/v1/completions", bad)
            if reply.status == 503:  # while an engine is being replaced
                await asyncio.sleep(float(reply.headers["retry-after"]))
            else:
                refused.append(reply)
        return await beside, refused

    with Server(plugin="faults", QUIRE_FAULTS=f"exit@5:{mark}") as server:
        expected = asyncio.run(ask(server.port, path, innocent)).choices
        beside, (first, *retries) = asyncio.run(attack(server.port))
        num_restarts = server.log().count("the engine process ended unexpectedly")
    is_met = (
        beside.choices == expected
        and first.status == 422
        and num_restarts <= 2
        and all(reply.status == 422 for reply in retries)
    )
    codes = {f"{reply.status} {reply.error}" for reply in retries}
    comparison = "equal" if beside.choices == expected else "DIFFERENT"
    text = f"{num_restarts} restarts, then {', '.join(codes)}; the stream beside it is {comparison}"
    return Figure("a request that crashes the engine, retried", "≤ 2 restarts, then 4xx", n, text, is_met)
