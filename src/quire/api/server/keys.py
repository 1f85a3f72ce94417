"""KeyRing: the API keys that open this server, from the settings and from a file that may change while it runs."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from quire.api.server.file_stamp import FileStamp
from quire.base.errors import ConfigError

logger = logging.getLogger("quire.server")


class KeyRing:
    """`file` holds one key on each line; empty lines and lines that begin with # count for nothing.

    A file that cannot be read, or holds no key, is refused at the start (ConfigError). Later its last good keys stay,
    so that a moment without the file opens the server to nobody and closes it to nobody.
    """

    def __init__(
        self, keys: Sequence[str], file: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._given = [key.encode() for key in keys]
        self._file = file
        self._stamp = FileStamp([file] if file else [], clock)
        self._from_file = self._read() if file else []

    def __bool__(self) -> bool:
        """Whether a key is needed at all."""
        return bool(self._given or self._file)

    def opens(self, given: bytes) -> bool:
        """Whether this is one of the keys."""
        if self._file and self._stamp.has_changed():
            self._refresh()
        # Every key is compared, in constant time each: the time taken tells nothing about any key.
        matches = [hmac.compare_digest(given, key) for key in (*self._given, *self._from_file)]
        return any(matches)

    def _refresh(self) -> None:
        try:
            self._from_file = self._read()
        except ConfigError as problem:
            logger.error("%s; the keys it held before stay", problem)
        else:
            logger.info("%d API keys read again from %s", len(self._from_file), self._file)

    def _read(self) -> list[bytes]:
        try:
            lines = [line.strip() for line in Path(self._file).read_bytes().splitlines()]
        except OSError as problem:
            raise ConfigError(
                f"--api-key-file: {self._file} cannot be read ({problem.strerror})", setting="api_key_file"
            ) from None
        keys = [line for line in lines if line and not line.startswith(b"#")]
        if not keys:
            raise ConfigError(
                f"--api-key-file: {self._file} holds no key; write one on each line", setting="api_key_file"
            )
        return keys
