"""The listening socket, bound before anything slow begins; what goes wrong is one sentence naming the setting."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import stat
from collections.abc import Iterator

from quire.base.config import ServerConfig
from quire.base.errors import ConfigError

BACKLOG = 2048  # connections that may wait until the loop accepts them
MAX_FILES = 65_536  # each connection is an open file, and what users may open by default is 1,024


@contextlib.contextmanager
def listening(config: ServerConfig) -> Iterator[socket.socket]:
    """The listening socket, closed (and a unix socket's file removed) at the end; raises ConfigError."""
    listener = bind(config)
    try:
        yield listener
    finally:
        listener.close()
        if config.uds:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(config.uds)


def allow_connections() -> None:
    """Let this process open as many files as it may, within reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # a system with a lower limit than it tells
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def bind(config: ServerConfig) -> socket.socket:
    """The listening socket; raises ConfigError in one sentence."""
    try:
        return _bind_unix(config.uds) if config.uds else _bind_tcp(config.host, config.port)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(config, error) from None


def _cannot_listen(config: ServerConfig, error: OSError | UnicodeError) -> ConfigError:
    is_unknown_host = isinstance(error, (socket.gaierror, UnicodeError))
    number = errno.EADDRNOTAVAIL if is_unknown_host else getattr(error, "errno", 0)
    setting = "uds" if config.uds else "host" if number == errno.EADDRNOTAVAIL else "port"
    remedy = _REMEDIES.get(number or 0, str(error))
    where = config.uds or f"{config.host or '*'}:{config.port}"
    return ConfigError(f"cannot listen on {where}: {remedy}", setting=setting)


_REMEDIES = {
    errno.EADDRINUSE: "another process already does; stop it or choose another --port",
    errno.EACCES: "this user may not; choose a --port above 1023",
    errno.EADDRNOTAVAIL: "this machine does not have that address; check --host",
}


def _bind_tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)  # connections queue here until the loop runs
    except BaseException:
        listener.close()
        raise
    return listener


def _bind_unix(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket file nobody listens on; leave a live one for bind to refuse."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
