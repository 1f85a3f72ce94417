"""A browser, and live servers whose model writes what the last message asks for by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.server.scripted_engine import ScriptedEngine, engine_config, server_config, write_model_folder
from tests.api.server.web.chromium import Chromium, find_chromium

from quire.api.server import Service
from quire.base.messages import EngineRequest
from quire.text.session import Session
from quire.text.template import ChatTemplate
from quire.text.tokenizer import Tokenizer

MARKDOWN = """# Paper

Paper is *thin* and **strong**, see `fold()` and <b>no bold</b>:

1. Rag
2. Pulp

| sheet | leaves |
|---|---|
| quarto | 4 |

```python
print("<script>alert(1)</script>")
```

[a link](https://example.org/a) and [not one](javascript:alert(2)).
"""
REPLIES = {
    "markdown": MARKDOWN,
    "think": "<think>\nFirst the weather, then the news.\n</think>\n\nIt rains in Rome.",
    "tool": '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>',
    "long": "one two three " * 200,
}
PARSERS = {"tool_call_parser": "hermes", "reasoning_parser": "qwen3", "enable_auto_tool_choice": True}


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    program = find_chromium()
    if program is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    running = Chromium(program, tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages-model")
    write_model_folder(folder)
    return folder


@pytest.fixture
def answering(wide_folder: Path) -> Callable[..., Service]:
    """A Service that answers REPLIES[last word of the prompt], or else echoes a greeting."""
    tokenizer = Tokenizer.load(wide_folder)

    def make(**changes: Any) -> Service:
        config = engine_config(wide_folder, max_model_len=4096)
        eos_token_id = config.card.eos_token_ids[0]

        def script(request: EngineRequest, _index: int) -> list[int]:
            prompt = tokenizer.decode(request.prompt_token_ids, skip_special_tokens=False)
            turns = prompt.split("<|im_start|>")
            asked = turns[-2].split("\n", 1)[1].split("<|im_end|>")[0] if len(turns) > 2 else prompt
            return [*tokenizer.encode(REPLIES.get(asked, f"You said {asked}.")), eos_token_id]

        engine = ScriptedEngine(script, eos_token_id)
        service = Service(engine, config, server_config(**{**PARSERS, **changes}))
        service.session = Session(engine, config, tokenizer, ChatTemplate.load(wide_folder), {})
        return service

    return make
