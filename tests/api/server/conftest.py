"""A served scripted engine: in-process over ASGI, and live on a loopback socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from tests.api.server.scripted_engine import (
    ScriptedEngine,
    engine_config,
    server_config,
    write_model_folder,
)
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from quire.api.server import Service, create_app
from quire.api.server.http_protocol import BoundedHttpProtocol
from quire.text.session import Session
from quire.text.template import ChatTemplate
from quire.text.tokenizer import Tokenizer

ANSWER = "hello world, how are you?"
HERMES = {"tool_call_parser": "hermes", "reasoning_parser": "qwen3", "enable_auto_tool_choice": True}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripted-model")
    write_model_folder(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(model_folder: Path) -> Tokenizer:
    return Tokenizer.load(model_folder)


@pytest.fixture
def make_service(model_folder: Path, tokenizer: Tokenizer) -> Callable[..., Service]:
    """A Service over a ScriptedEngine that answers ANSWER; keyword arguments change the ServerConfig."""

    def make(**changes: Any) -> Service:
        config = engine_config(model_folder)
        eos_token_id = config.card.eos_token_ids[0]
        answer = [*tokenizer.encode(ANSWER), eos_token_id]
        engine = ScriptedEngine(lambda _request, _index: answer, eos_token_id)
        settings = server_config(**changes)
        service = Service(engine, config, settings)
        template = ChatTemplate.load(model_folder)
        service.session = Session(engine, config, tokenizer, template, settings.sampling_defaults)
        return service

    return make


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    return make_service()


@pytest.fixture
def engine(service: Service) -> ScriptedEngine:
    return service.client


@pytest.fixture
def connect() -> Callable[[Service], httpx.AsyncClient]:
    """An HTTP client for a Service's app, without a socket."""

    def make(service: Service) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://test")

    return make


@pytest_asyncio.fixture
async def http(
    service: Service, connect: Callable[[Service], httpx.AsyncClient]
) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(service) as client:
        yield client


@pytest.fixture(scope="session")
def tool_folder(tmp_path_factory) -> Path:
    """The scripted model, with markers that are special tokens, as in Qwen2.5 or Kimi K2."""
    folder = tmp_path_factory.mktemp("tools-model")
    write_model_folder(folder)
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    markers = ["<tool_call>", "</tool_call>", "<|other|>"]
    backend.add_special_tokens([AddedToken(one, special=True, normalized=False) for one in markers])
    backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def answering(tool_folder) -> Callable[..., Service]:
    """A Service whose model writes the given text; keyword arguments change the ServerConfig."""
    tokenizer = Tokenizer.load(tool_folder)

    def make(text: str, **changes: object) -> Service:
        config = engine_config(tool_folder, max_model_len=1024)
        answer = [*tokenizer.encode(text), config.card.eos_token_ids[0]]
        engine = ScriptedEngine(lambda _request, _index: answer, config.card.eos_token_ids[0])
        service = Service(engine, config, server_config(**{**HERMES, **changes}))
        service.session = Session(engine, config, tokenizer, ChatTemplate.load(tool_folder), {})
        return service

    return make


class LiveServer:
    """A real uvicorn server on a loopback port, on its own thread and loop."""

    def __init__(self, service: Service, protocol: type = BoundedHttpProtocol) -> None:
        self.service = service
        self.engine: ScriptedEngine = service.client
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(create_app(service), http=protocol, lifespan="off", log_level="error")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., LiveServer]]:
    """Starts live servers, and stops them after the test."""
    servers: list[LiveServer] = []

    def start(service: Service, **settings: Any) -> LiveServer:
        servers.append(LiveServer(service, **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def live(service: Service, serve: Callable[[Service], LiveServer]) -> LiveServer:
    return serve(service)
