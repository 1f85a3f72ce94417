"""Each documented choice of each setting that acts here, one at a time: the model loads and answers.

That the others are refused or noted with their reason is tests/base/config/test_coverage.py.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from quire.api.llm import LLM
from quire.api.startup import prepare_startup
from quire.base.config import SETTINGS, Asked, Effect
from quire.base.errors import ConfigError
from quire.base.messages import SamplingParams
from tests.base.config.test_coverage import DOCUMENTED
from tests.e2e.conftest import ServerProcess

Words = tuple[list[str], dict[str, str]]  # of a command line, and the environment


def effective_choices() -> dict[str, list[Words]]:
    """By setting: how to ask for each of its choices."""
    found: dict[str, list[Words]] = defaultdict(list)
    for setting in SETTINGS.all:
        for value in ("1", "0") if setting.kind.is_switch else setting.kind.choices:
            read = [setting.kind.read(value)] if setting.many else setting.kind.read(value)
            if setting.state_of(read, "cpu").effect is not Effect.EFFECTIVE:
                continue
            if not setting.has_flag:
                found[setting.name].append(([], {setting.environment_names[0]: value}))
            elif setting.kind.is_switch:
                found[setting.name].append(
                    ([setting.flag if value == "1" else setting.negative_flags[0]], {})
                )
            else:
                found[setting.name].append(([setting.flag, value], {}))
    return found


CHOICES = effective_choices()
FEW_BLOCKS = ["--max-model-len", "256"]


MACHINE_LACKS = "this machine cannot run it"  # a choice of instruction set, refused by name


def test_there_are_choices() -> None:
    assert sum(map(len, CHOICES.values())) > 200


@pytest.mark.parametrize("name", CHOICES)
def test_a_model_loads_and_answers_with_each_choice(name: str) -> None:
    for words, environ in CHOICES[name]:
        asked = Asked.from_arguments([*FEW_BLOCKS, *words], environ)
        try:
            llm = LLM.started(prepare_startup(asked))
        except ConfigError as refusal:
            assert name == "native-isa" and MACHINE_LACKS in refusal.message, (words, environ)
            continue
        prompt = "Once" if llm.config.has_tokenizer else [5, 6]
        (reply,) = llm.generate(prompt, SamplingParams(temperature=0, max_tokens=2), use_tqdm=False)
        assert len(reply.outputs[0].token_ids) == 2, (words, environ)


def answers(server: ServerProcess) -> None:
    server.wait_ready()
    status, reply = server.post("/v1/completions", {"prompt": [5, 6], "max_tokens": 2})
    assert status == 200, reply


def test_a_server_starts_with_the_documented_defaults_as_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in DOCUMENTED.items():
        if not name.startswith("-"):
            monkeypatch.setenv(name, value)
    server = ServerProcess(tmp_path / "log.txt")
    try:
        answers(server)
        assert server.stop() == 0
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", CHOICES)
def test_a_server_starts_and_answers_with_each_choice(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (words, environ) in enumerate(CHOICES[name]):
        with monkeypatch.context() as patch:
            for variable, value in environ.items():
                patch.setenv(variable, value)
            server = ServerProcess(tmp_path / f"log{number}.txt", *FEW_BLOCKS, *words)
            try:
                try:
                    answers(server)
                except AssertionError:
                    if name != "native-isa" or MACHINE_LACKS not in server.log.read_text():
                        raise
                    assert server.process.wait(10) == 2, (words, environ)
                    continue
                assert server.stop() == 0, (words, environ)
            finally:
                server.stop()
