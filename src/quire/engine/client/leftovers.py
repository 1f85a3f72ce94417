"""Private folders for sockets, and what is left of those whose process was killed before it could remove its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "quire-"
LOCK = "lock"  # held by the folder's owner as long as it lives
MIN_AGE_S = 10.0  # a younger folder may be about to be locked


def claim_folder(parent: str | None) -> tuple[str, int]:
    """A new private folder in `parent` (None: the system's choice), and the lock whose closing lets go of it."""
    folder = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
    lock = os.open(Path(folder, LOCK), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder, lock


def sweep_folders(parent: str | None) -> list[Path]:
    """Remove this user's folders that nobody holds any more; returns them."""
    swept = []
    for folder in Path(parent or tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):  # another user's, or gone this moment
            if _is_abandoned(folder):
                shutil.rmtree(folder.parent)
                swept.append(folder.parent)
    return swept


def _is_abandoned(lock: Path) -> bool:
    status = lock.lstat()
    if status.st_uid != os.getuid() or time.time() - status.st_mtime < MIN_AGE_S:
        return False
    descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
