"""What a service manager that started us with `Type=notify` hears: READY, STOPPING, and WATCHDOG while all is well.

The protocol is systemd's: lines in a datagram to the socket that NOTIFY_SOCKET names. Without it nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping

logger = logging.getLogger("quire.server")


class Supervisor:
    """`environ` is what the service manager set; for a watchdog it also names who is meant and how often."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        is_meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        limit = environ.get("WATCHDOG_USEC", "") if is_meant else ""
        self._limit_s = int(limit) / 1e6 if limit.isdecimal() else 0.0

    def tell(self, *lines: str) -> None:
        """Such as `READY=1`. A service manager that does not listen is no reason to fail."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notify:
                notify.sendto("\n".join(lines).encode(), self._address)
        except OSError as problem:
            logger.warning("NOTIFY_SOCKET %s: %s", self._address, problem.strerror)

    async def reassure(self, is_well: Callable[[], bool]) -> None:
        """Tell the watchdog twice in its limit, as long as we are well and this loop runs."""
        while self._limit_s:
            if is_well():
                self.tell("WATCHDOG=1")
            await asyncio.sleep(self._limit_s / 2)
