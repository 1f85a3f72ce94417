"""What serving costs around an engine: 256 streams of a fixed-speed engine, the API process on a core of its own.

    python tools/overhead.py [--streams 256] [--rate 20000] [--tokens 400] [--route chat]

Tells the tokens that arrived per second, the API process's share of its core, tokens per second of its CPU time, and
the delay of chunks: how much later than in the stream's fastest case a token arrived, the engine's pace taken off.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.reliability.server import Server

TEXT = re.compile(rb'"(?:content|text)":("(?:[^"\\\\]|\\\\.)*")')
ROUTES = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}),
    "completions": ("/v1/completions", {"prompt": "hello"}),
}


class Stream:
    """One connection. `pieces` holds (time, bytes) as they arrived; `arrivals` (time, tokens so far) once counted."""

    def __init__(self, port: int, route: str, num_tokens: int) -> None:
        path, fields = ROUTES[route]
        body = json.dumps({**fields, "max_tokens": num_tokens, "ignore_eos": True, "stream": True}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(f"{head}\r\n\r\n".encode() + body)
        self.socket.setblocking(False)
        self.pieces: list[tuple[float, bytes]] = []
        self.arrivals: list[tuple[float, int]] = []
        self.is_done = False

    def read(self) -> None:
        data = self.socket.recv(1 << 14)
        self.pieces.append((time.monotonic(), data))
        self.is_done = not data or b"[DONE]" in data

    def count(self, num_tokens: int) -> None:
        """Events that wait are merged, so tokens are counted by their text, which is the same for all."""
        whole = b"".join(data for _, data in self.pieces)
        found = [(text.end(), len(json.loads(text[1]))) for text in TEXT.finditer(whole)]
        token_chars, rest = divmod(sum(length for _, length in found), num_tokens)
        assert token_chars and not rest, "the reply is not what the engine says"
        num_bytes = num_chars = place = 0
        for at_s, data in self.pieces:
            num_bytes += len(data)
            while place < len(found) and found[place][0] <= num_bytes:
                num_chars += found[place][1]
                place += 1
            if num_chars:
                self.arrivals.append((at_s, num_chars // token_chars))


def pin(process_id: int, core: int) -> None:
    for task in Path(f"/proc/{process_id}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def cpu_s(process_id: int) -> float:
    words = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def run(streams: list[Stream]) -> None:
    selector = selectors.DefaultSelector()
    for stream in streams:
        selector.register(stream.socket, selectors.EVENT_READ, stream)
    num_open = len(streams)
    while num_open:
        for key, _ in selector.select(30):
            stream: Stream = key.data
            stream.read()
            if stream.is_done:
                selector.unregister(stream.socket)
                stream.socket.close()
                num_open -= 1


def delays_s(stream: Stream, pace_s: float, from_s: float, until_s: float) -> list[float]:
    """Against the grid of the engine's steps, laid through the stream's earliest token."""
    late = [at_s - count * pace_s for at_s, count in stream.arrivals if from_s <= at_s <= until_s]
    return [one - min(late) for one in late] if late else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=256)
    parser.add_argument("--rate", type=float, default=20000, help="tokens per second of all streams together")
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--route", choices=list(ROUTES), default="chat")
    parser.add_argument(
        "--profile", default="", help="write what py-spy sees of the API process to this file"
    )
    asked = parser.parse_args()
    pace_s = asked.streams / asked.rate
    settings = ["--max-num-seqs", str(asked.streams), "--no-enable-log-requests", "--disable-log-stats"]
    pace = {"QUIRE_PACE_MS": str(1000 * pace_s), "QUIRE_PACE_PERIOD": "1"}
    with Server(*settings, plugin="paced", **pace) as server:
        api = server.process.pid
        cores = sorted(os.sched_getaffinity(0))
        pin(api, cores[0])
        pin(server.engine(), cores[-1])
        pin(os.getpid(), cores[-1])
        run([Stream(server.port, asked.route, 16) for _ in range(8)])
        streams = [Stream(server.port, asked.route, asked.tokens) for _ in range(asked.streams)]
        if asked.profile:
            spy = f"py-spy record --pid {api} --duration 4 --rate 200 --format raw --output".split()
            subprocess.Popen([*spy, asked.profile], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began_cpu_s, began_s = cpu_s(api), time.monotonic()
        run(streams)
        spent_cpu_s = cpu_s(api) - began_cpu_s
    for stream in streams:
        stream.count(asked.tokens)
    tell(streams, pace_s, began_s, spent_cpu_s)


def tell(streams: list[Stream], pace_s: float, began_s: float, spent_cpu_s: float) -> None:
    num_tokens = sum(stream.arrivals[-1][1] for stream in streams)
    num_pieces = sum(len(stream.pieces) for stream in streams)
    ended_s = max(stream.arrivals[-1][0] for stream in streams)
    # while every stream runs: from the last first token to the first last one
    from_s = max(stream.arrivals[0][0] for stream in streams)
    until_s = min(stream.arrivals[-1][0] for stream in streams)
    steady = sum(
        sum(
            b - a
            for (_, a), (at_s, b) in zip(one.arrivals, one.arrivals[1:], strict=False)
            if from_s <= at_s <= until_s
        )
        for one in streams
    )
    late = sorted(delay for stream in streams for delay in delays_s(stream, pace_s, from_s, until_s))
    print(f"{len(streams)} streams, {num_tokens} tokens in {num_pieces} pieces, {ended_s - began_s:.2f} s")
    print(
        f"while all run: {steady / (until_s - from_s):,.0f} tokens/s (offered {len(streams) / pace_s:,.0f})"
    )
    print(f"API process: {spent_cpu_s:.2f} s of CPU, {num_tokens / spent_cpu_s:,.0f} tokens per second of it")
    marks = {f"p{share}": late[min(len(late) - 1, len(late) * share // 100)] for share in (50, 90, 99)}
    print("chunk delay: " + ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in marks.items()))


if __name__ == "__main__":
    main()
