"""GrammarChecker: this side of the process that tries grammars, and what it said of those it has seen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict

import msgspec

from quire.base.config import EngineConfig
from quire.base.constraints import Grammar, Verdict
from quire.base.errors import EngineFault, InvalidValue
from quire.base.lifeline import end_with_socket

logger = logging.getLogger(__name__)
GRACE_S = 3.0  # beyond the time a grammar may take: its process may have to wait for its turn
REMEMBERED = 1024  # verdicts
MAX_REASON_CHARS = 1000


class GrammarChecker:
    """Starts its process when the first grammar comes, and again should it be gone. It ends with this object."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._finalizer: weakref.finalize[..., GrammarChecker] | None = None
        self._start_lock = threading.Lock()
        self._verdicts: OrderedDict[Grammar, Verdict] = OrderedDict()

    @property
    def pid(self) -> int | None:
        """Of the process, once started."""
        return None if self._process is None else self._process.pid

    async def check(self, grammar: Grammar, field: str) -> int:
        """The bytes it takes compiled. Raises InvalidValue naming `field` where it cannot be used."""
        if grammar not in self._verdicts:
            connection = await asyncio.to_thread(self._connect)
            started_s = time.monotonic()
            reader, writer = await asyncio.open_unix_connection(sock=connection)
            answer = b""
            try:
                writer.write(msgspec.msgpack.encode(grammar))
                writer.write_eof()
                answer = await asyncio.wait_for(reader.read(), self._patience_s)
            except (TimeoutError, OSError):
                pass  # an empty answer says it all
            finally:
                writer.close()
            self._take(grammar, answer, time.monotonic() - started_s)
        return self._use(grammar, field)

    def check_now(self, grammar: Grammar, field: str) -> int:
        """The same where there is no event loop."""
        if grammar not in self._verdicts:
            started_s = time.monotonic()
            answer = b""
            with contextlib.suppress(TimeoutError, OSError), self._connect() as connection:
                connection.settimeout(self._patience_s)
                connection.sendall(msgspec.msgpack.encode(grammar))
                connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(1 << 16):
                    answer += piece
            self._take(grammar, answer, time.monotonic() - started_s)
        return self._use(grammar, field)

    def close(self) -> None:
        """End the process now; the next grammar starts it again."""
        if self._finalizer is not None:
            self._finalizer()
        self._process = self._control = self._finalizer = None

    @property
    def _patience_s(self) -> float:
        return self._config.grammar.compile_timeout_s + GRACE_S

    def _take(self, grammar: Grammar, answer: bytes, took_s: float) -> None:
        """Remember what was said of it. No answer within its time is its fault; a lost process is ours."""
        limit_s = self._config.grammar.compile_timeout_s
        if answer:
            verdict = msgspec.msgpack.decode(answer, type=Verdict)
        elif took_s >= limit_s:
            verdict = Verdict(error=f"it takes more than {limit_s:g} s to compile; make it smaller")
        else:
            verdict = Verdict(error="its compiler crashed or ran out of memory; make it smaller")
        self._verdicts[grammar] = verdict
        if len(self._verdicts) > REMEMBERED:
            self._verdicts.popitem(last=False)

    def _use(self, grammar: Grammar, field: str) -> int:
        self._verdicts.move_to_end(grammar)
        verdict = self._verdicts[grammar]
        if verdict.error:
            raise InvalidValue(f"{field} cannot be used: {verdict.error[:MAX_REASON_CHARS]}", field=field)
        return verdict.num_bytes

    def _connect(self) -> socket.socket:
        """A connection for one grammar, to the process, which is started if need be."""
        ours, theirs = socket.socketpair()
        with theirs, self._start_lock:
            for _ in range(2):
                if self._process is None:
                    self._start()
                assert self._control is not None
                try:
                    socket.send_fds(self._control, [b"."], [theirs.fileno()])
                    return ours
                except OSError:  # it has ended
                    self.close()
        ours.close()
        raise EngineFault("the process that checks grammars has ended; the server's log says why")

    def _start(self) -> None:
        config = self._config
        start = {
            "folder": config.text_folder,
            "vocab_size": config.card.vocab_size,
            "end_ids": config.card.eos_token_ids,
            "backend": config.grammar.backend,
            "timeout_s": config.grammar.compile_timeout_s,
        }
        self._control, theirs = socket.socketpair()
        with theirs:
            # A group of its own, as the engine's: Ctrl-C reaches this process alone. It ends when its stdin does.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "quire.worker.grammar.checker", json.dumps(start)],
                stdin=theirs.fileno(),
                process_group=0,
            )
            end_with_socket(
                theirs.fileno(), self._process.pid
            )  # it may take seconds until it looks at its stdin
        self._finalizer = weakref.finalize(self, _end, self._process, self._control)
        if not self._control.recv(1):
            self.close()
            raise EngineFault("the process that checks grammars did not start; the server's log says why")
        logger.info("started the process that checks grammars (pid %d)", self._process.pid)


def _end(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    process.kill()
    process.wait()
