"""T-34 to T-37: who may ask. Every route of a real server needs the key, however its path is written."""

from __future__ import annotations

import http.client
import inspect
from collections.abc import Iterator

import pytest

from quire.api.server import auth, keys
from quire.api.serverless.failures import JobError
from quire.api.serverless.routes import checked_route
from tests.e2e.conftest import ServerProcess

KEY = "a-key-of-some-length"
# paths a router may read as another one, `{}` being a path that needs a key
SPELLINGS = (
    "{}",
    "/{}",
    "{}/",
    "/health/..{}",
    "/health/..;{}",
    "/health%2f..{}",
    "/outer{}",
    "/outer/health/..{}",
    "{}?x=/health",
    "{}#/health",
    "{};/health",
    "http://health{}",
)
HOSTS = ("127.0.0.1", "health", "x/health", "x/health?", "x#/health", "x@/health")
# what the real server offers; the list of routes in test_auth.py comes from the app itself, so none can be forgotten
GUARDED_PATHS = (
    "/v1/models",
    "/v1/chat/completions",
    "/v1/responses/x",
    "/v1/messages",
    "/metrics",
    "/tokenize",
    "/load",
    "/no/such/path",
)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("locked") / "log.txt"
    with ServerProcess(log, "--api-key", KEY, "--root-path", "/outer") as running:
        yield running


def status_of(server: ServerProcess, method: str, target: str, **headers: str) -> int:
    """The request line goes out exactly as written."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": "127.0.0.1", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("path", GUARDED_PATHS)
def test_no_spelling_and_no_host_gets_past_the_key(path: str, locked: ServerProcess) -> None:
    """T-35: CVE-2026-48746 and Starlette's CVE-2026-48710."""
    for spelling in SPELLINGS:
        for method in ("GET", "POST", "HEAD", "OPTIONS", "DELETE", "PURGE"):
            status = status_of(locked, method, spelling.format(path))
            assert status in (401, 400), f"{method} {spelling.format(path)}: {status}"
    for host in HOSTS:
        assert status_of(locked, "GET", path, Host=host) in (401, 400), host
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert status_of(locked, "GET", path, **upgrade, **key) in (400, 401, 403, 426)


def test_only_the_probes_are_open(locked: ServerProcess) -> None:
    """T-36: vLLM's key guards a part of its routes only."""
    for path in auth.PUBLIC_PATHS:
        assert status_of(locked, "GET", path) == 200, path
    assert status_of(locked, "GET", "/v1/models", Authorization=f"Bearer {KEY}") == 200


def test_keys_are_compared_in_constant_time_and_all_of_them() -> None:
    """T-34: CVE-2025-59425. The time of a comparison cannot be asserted on a shared machine; that it is made by
    `hmac.compare_digest`, over every key and without an early end, can."""
    source = inspect.getsource(keys.KeyRing.opens)
    assert "[hmac.compare_digest(given, key) for key in (*self._given, *self._from_file)]" in source
    assert "==" not in source.split("compare_digest")[1]


@pytest.mark.parametrize(
    "route",
    [
        "@evil.example/x",
        "//evil.example/v1/models",
        "http://evil.example/v1/models",
        ":8080/v1/models",
        "/v1/../pause",
        "/v1/%2e%2e/pause",
        "/v1/models\r\nHost: evil.example",
        "/pause",
        "/collective_rpc",
    ],
)
def test_a_job_reaches_no_other_host_and_no_administration(route: str) -> None:
    """T-37: a worker that joins its server's address and a job's route. (More:
    tests/api/serverless/test_routes.py.)"""
    with pytest.raises(JobError, match="Invalid route"):
        checked_route(route)
