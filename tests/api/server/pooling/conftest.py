"""Real tiny models behind the app: one that embeds, one that classifies pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.api.server.stepped_engine import SteppedEngine
from tests.model.tiny import tiny_checkpoint

from quire.api.server import Service
from quire.api.startup import prepare_startup
from quire.base.config import Asked
from quire.text.session import Session
from quire.text.template import ChatTemplate
from quire.text.tokenizer import Tokenizer

TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }} {% endfor %}"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("pooled"), is_matryoshka=True)


@pytest.fixture(scope="session")
def pooled_service(tiny_folder) -> Callable[..., Service]:
    """A Service over the tiny decoder, settings as of LLM; each is made once."""
    made: dict[str, Service] = {}

    def make(**settings: Any) -> Service:
        if str(settings) not in made:
            asked = {"model": str(tiny_folder), "dtype": "float32", "num_gpu_blocks_override": 64, **settings}
            startup = prepare_startup(Asked.from_keywords(asked))
            config, server = startup.resolution.engine, startup.resolution.server
            engine: Any = SteppedEngine(config)
            service = Service(engine, config, server)
            folder = Path(config.text_folder)
            template = ChatTemplate.load(folder, settings.get("chat_template", TEMPLATE))
            service.session = Session(engine, config, Tokenizer.load(folder), template, {})
            made[str(settings)] = service
        return made[str(settings)]

    return make
