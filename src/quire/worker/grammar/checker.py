"""The grammar checker: a small process that tries every new grammar first, where a crash or a hang harms nobody.

It holds the vocabulary and forks for each grammar. The child compiles it, asks for its first mask, answers with a
Verdict and ends. A signal that nothing in it catches ends it sooner, when its time is over. The parent sends a
connection for each grammar; over it go the grammar's bytes and the end of that stream, then the verdict's bytes. A
child that dies leaves its answer empty.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from quire.base.constraints import Grammar, GrammarBackend, Verdict
from quire.base.lifeline import die_with_parent, outlive_socket
from quire.worker.grammar.backend import Compile, GrammarRefused, Matcher, Words, open_backend
from quire.worker.grammar.vocabulary import Vocabulary

MAX_CHILDREN = 32
ROOM_CHECK_S = 0.02  # how soon it is noticed that there may be one more
WALK_TOKENS = 64
STRIDE = 7919  # from token to token of the walk
NICENESS = 5  # below the engine
MAX_BYTES = 2 << 30  # of memory, on top of what the process has before it compiles
RECEIVE_BYTES = 1 << 16


class CheckerStart(msgspec.Struct, frozen=True):
    """What the process is told on its command line."""

    folder: str
    vocab_size: int
    end_ids: list[int]
    backend: GrammarBackend
    timeout_s: float


class Checker:
    def __init__(self, start: CheckerStart) -> None:
        self._timeout_s = start.timeout_s
        self._vocabulary = Vocabulary(Path(start.folder), start.vocab_size, start.end_ids)
        self._compilers: dict[GrammarBackend, Compile] = {}
        for name in {start.backend, "guidance"}:  # before it forks: children then have it
            self._compilers[name] = open_backend(name, self._vocabulary)
        self._children: set[int] = set()

    def serve(self, parent: socket.socket) -> None:
        """Takes connections, one for each grammar, from the parent until it is gone."""
        while True:
            _, descriptors, _, _ = socket.recv_fds(parent, 1, 1)
            if not descriptors:
                return
            self._wait_for_room(parent)
            with socket.socket(fileno=descriptors[0]) as connection:
                own_pid, child = os.getpid(), os.fork()
                if child == 0:
                    die_with_parent(own_pid)
                    parent.close()
                    self._be_child(connection)
                self._children.add(child)

    def _wait_for_room(self, parent: socket.socket) -> None:
        """Forget children that ended; wait for one where there are as many as may be, unless the parent is gone."""
        while self._children:
            ended, _ = os.waitpid(-1, os.WNOHANG)
            self._children.discard(ended)
            if not ended:
                if len(self._children) < MAX_CHILDREN or _is_gone(parent):
                    return
                time.sleep(ROOM_CHECK_S)

    def _be_child(self, connection: socket.socket) -> None:
        status = 1
        try:
            signal.setitimer(signal.ITIMER_REAL, self._timeout_s)
            signal.setitimer(signal.ITIMER_PROF, self._timeout_s)
            os.nice(NICENESS)
            _limit_memory()
            grammar = msgspec.msgpack.decode(_read(connection), type=Grammar)
            connection.sendall(msgspec.msgpack.encode(self._verdict(grammar)))
            status = 0
        finally:
            os._exit(status)

    def _verdict(self, grammar: Grammar) -> Verdict:
        before_bytes = _used_bytes()
        try:
            matcher = self._compilers[grammar.backend](grammar).matcher()
            words = np.zeros(self._vocabulary.num_words, dtype=np.int32)
            matcher.fill(words)
            if not words.any():
                return Verdict(error="nothing that this model can write satisfies it")
            self._walk(matcher, words)
        except GrammarRefused as refusal:
            return Verdict(error=str(refusal) or "it cannot be compiled")
        return Verdict(num_bytes=max(0, _used_bytes() - before_bytes))

    def _walk(self, matcher: Matcher, words: Words) -> None:
        """Some way into the grammar, for what only becomes too much there. Raises GrammarRefused."""
        ends = self._vocabulary.end_ids
        for step in range(WALK_TOKENS):
            allowed = np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))
            others = allowed[~np.isin(allowed, ends)]
            if not len(others) or not matcher.accept(int(others[step * STRIDE % len(others)])):
                return
            matcher.fill(words)


def _is_gone(parent: socket.socket) -> bool:
    """Whatever it sent before may still wait to be read."""
    hang_up = select.poll()
    hang_up.register(parent, 0)
    return bool(hang_up.poll(0))


def _read(connection: socket.socket) -> bytes:
    pieces: list[bytes] = []
    while piece := connection.recv(RECEIVE_BYTES):
        pieces.append(piece)
    return b"".join(pieces)


def _used_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + MAX_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: str) -> None:
    """Stdin is the socket to the parent. A byte to it says that grammars may come."""
    with socket.socket(fileno=sys.stdin.fileno()) as parent:
        checker = Checker(msgspec.json.decode(arguments, type=CheckerStart))
        outlive_socket(parent.fileno())
        parent.sendall(b".")
        checker.serve(parent)
    os._exit(0)  # nothing is left to put in order, over which Python would take its time on a busy machine


if __name__ == "__main__":
    main(sys.argv[1])
