"""Figures about load: many streams, callers who leave, and what stays in memory."""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import time

from tools.reliability.figure import Figure, percentile, spread
from tools.reliability.server import Server, num_descriptors, num_threads, resident_bytes
from tools.reliability.streams import Reply, ask, mixed_bodies

KIB = 1024


def many_streams(n: int, num_tokens: int = 20, pace_ms: int = 1000) -> Figure:
    """n streams at once from an engine of fixed speed: what the server adds to the time between tokens, and holds."""
    limits = ("--max-num-seqs", str(n), "--max-num-batched-tokens", str(8 * n), "--max-num-queued-reqs", "0")
    body = {"prompt": [1, 2, 3], "max_tokens": num_tokens, "ignore_eos": True, "stream": True}
    held_bytes = 0

    async def run(server: Server) -> list[Reply]:
        nonlocal held_bytes
        before = resident_bytes(server.process.pid)
        asking = [asyncio.create_task(ask(server.port, "/v1/completions", body)) for _ in range(n)]
        await asyncio.sleep(num_tokens * pace_ms / 2000)
        held_bytes = resident_bytes(server.process.pid) - before
        return await asyncio.gather(*asking)

    with Server(*limits, plugin="paced", QUIRE_PACE_MS=str(pace_ms)) as server:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # ours: the server sees to its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * n)), hard))
        asyncio.run(ask(server.port, "/v1/completions", body))
        replies = asyncio.run(run(server))
    num_dropped = sum(not reply.is_whole for reply in replies)
    gaps_s = [gap for reply in replies for gap in reply.gaps_s]
    median_s, late_s = percentile(gaps_s, 0.5), percentile(gaps_s, 0.99)
    text = (
        f"{num_dropped} dropped; between tokens median {1000 * median_s:.0f} ms, p99 {1000 * late_s:.0f} ms; "
        f"{held_bytes / n / KIB:.1f} KiB a stream (a step every {pace_ms} ms)"
    )
    met = num_dropped == 0 and late_s <= 2 * median_s and held_bytes / n <= 64 * KIB
    return Figure(
        "concurrent streams, fixed-speed engine", "0 dropped, p99 ≤ 2 × median, ≤ 64 KiB", n, text, met
    )


def disconnects(n: int, chooser: random.Random) -> Figure:
    """n callers who hang up at any time; then the engine must be empty, and nothing may be left open."""

    async def leave(port: int, path: str, body: dict, gate: asyncio.Semaphore) -> None:
        async with gate:
            asking = asyncio.create_task(ask(port, path, body))
            await asyncio.wait({asking}, timeout=chooser.random() ** 3)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def warm_up(port: int) -> None:
        """Grammars at once, so that the process that checks them and threads that are kept are there before."""
        body = {"prompt": "x", "max_tokens": 3}
        grammars = [{**body, "structured_outputs": {"regex": f"[ab]{{{length}}}"}} for length in range(1, 17)]
        await asyncio.gather(*(ask(port, "/v1/completions", one) for one in (body, *grammars)))

    async def storm(port: int) -> None:
        gate = asyncio.Semaphore(200)
        bodies = mixed_bodies(60, 400)
        for _, body in bodies[::2]:
            body["stream"] = False
        await asyncio.gather(*(leave(port, *chooser.choice(bodies), gate) for _ in range(n)))

    with Server("--max-num-seqs", "64") as server:
        asyncio.run(warm_up(server.port))
        pids = (server.process.pid, server.engine())
        before = [(num_descriptors(pid), num_threads(pid)) for pid in pids]
        asyncio.run(storm(server.port))
        ended_s = time.monotonic()
        while any(
            server.metrics()[f"vllm:{name}"]
            for name in ("kv_cache_usage_perc", "num_requests_running", "num_requests_waiting")
        ):
            if time.monotonic() - ended_s > 30:
                break
        empty_s = time.monotonic() - ended_s
        time.sleep(1)
        after = [(num_descriptors(pid), num_threads(pid)) for pid in pids]
        is_same_engine = server.engine() == pids[1]
    num_leaked = sum(
        max(0, late - early)
        for a, b in zip(before, after, strict=True)
        for early, late in zip(a, b, strict=True)
    )
    text = f"KV empty after {1000 * empty_s:.0f} ms; {num_leaked} descriptors and threads more than before"
    met = empty_s <= 0.1 and num_leaked == 0 and is_same_engine
    return Figure("callers who hang up at any time", "KV 0 within 100 ms, nothing leaked", n, text, met)


def memory(n: int, chooser: random.Random) -> Figure:
    """n small requests of all kinds: what they leave in memory per 10,000, by the median of slopes."""
    num_looks = 20
    limits = ("--no-enable-prefix-caching", "--num-gpu-blocks-override", "520")

    async def batch(port: int, first: int, count: int, num_callers: int = 24) -> None:
        gate = asyncio.Semaphore(num_callers)

        async def one(number: int) -> None:
            async with gate:
                body = {
                    "prompt": f"Number {number}",
                    "max_tokens": 4,
                    "temperature": 0.5,
                    "stream": bool(number % 2),
                }
                kind = ("plain", "n", "wrong", "aborted", "grammar")[number % 5]
                match kind:
                    case "n":
                        body["n"] = 4
                    case "wrong":
                        body["temperature"] = -1
                    case "aborted":
                        body["max_tokens"] = 200
                    case "grammar":  # one that was never asked for before
                        body["structured_outputs"] = {"regex": f"[a-z]{number}"}
                asking = asyncio.create_task(ask(port, "/v1/completions", body))
                if kind == "aborted":
                    await asyncio.wait({asking}, timeout=chooser.random() * 0.2)
                    asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

        await asyncio.gather(*(one(number) for number in range(first, first + count)))

    share = max(1, n // num_looks)
    # few KV blocks, which the warm-up has all touched; compiled grammars within 1 MiB, likewise
    with Server(*limits, VLLM_XGRAMMAR_CACHE_MB="1") as server:
        pids = (server.process.pid, server.engine())
        asyncio.run(batch(server.port, 0, max(200, n // 5), num_callers=64))  # peaks come here, leaks later
        points = []
        for look in range(num_looks):
            asyncio.run(batch(server.port, (look + 1) * n, share))
            points.append(sum(map(resident_bytes, pids)) / KIB)
    slopes = sorted(
        (points[b] - points[a]) / (b - a) * 10_000 / share
        for a in range(num_looks)
        for b in range(a + 1, num_looks)
    )
    slope, upper = statistics.median(slopes), _upper_bound(slopes, num_looks)
    held = spread([point / KIB for point in points], "MiB")
    text = f"{slope:.0f} KiB per 10,000 requests, upper bound {upper:.0f}; held {held}"
    return Figure(
        "memory under plain, n=4, aborted, wrong and grammar requests",
        "≤ 64 KiB per 10,000",
        n,
        text,
        upper <= 64,
    )


def _upper_bound(slopes: list[float], num_points: int) -> float:
    """Of the 95 % interval of the median of slopes, by the normal approximation of Kendall's score."""
    deviation = (num_points * (num_points - 1) * (2 * num_points + 5) / 18) ** 0.5
    place = round((len(slopes) + 1.96 * deviation) / 2)
    return slopes[min(len(slopes) - 1, place)]
