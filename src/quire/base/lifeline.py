"""A process that must not outlive the one that started it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel for SIGKILL when the parent's thread that started this process goes, however it goes. Linux
    only; a no-op elsewhere."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent_pid:  # it went before the request took hold
        os._exit(1)


def end_with_socket(descriptor: int, pid: int) -> None:
    """Have the kernel end process `pid` when its socket, which is this descriptor here, loses its other end; until
    `outlive_socket`. Nothing may be sent to it meanwhile. Works while the process imports and cannot look."""
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, pid)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)


def outlive_socket(descriptor: int) -> None:
    """The process sees for itself from now on."""
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_ASYNC)
