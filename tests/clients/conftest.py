"""One real server on the built-in model, which every client library talks to. Nothing else is reached."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import ServerProcess

MODEL = "quire-folio"
SUM = [{"role": "user", "content": "What is 41-33?"}]
ASK_PHONE = [{"role": "user", "content": "Find the phone number of Mia."}]
PHONE = {
    "type": "function",
    "function": {
        "name": "get_phone",
        "description": "Find the phone number of a person.",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with ServerProcess(log, "--enable-prompt-tokens-details") as running:
        yield running
        assert "Traceback" not in log.read_text("utf-8")


@pytest.fixture(scope="session")
def url(server: ServerProcess) -> str:
    return f"{server.base_url}/v1"
