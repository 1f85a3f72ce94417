"""Each documented choice of each setting that acts here, one at a time: the model loads and answers.

That the others are refused or noted with their reason is tests/base/config/test_coverage.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from quire.api.llm import LLM
from quire.api.startup import prepare_startup
from quire.base.config import SETTINGS, Asked, Effect
from quire.base.errors import CheckpointError, ConfigError
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
# choices that mean nothing to the built-in model, or not without another setting: what their refusal says
NEEDS_MORE = {
    "--convert classify": "has no classifier",
    "--enable-ssl-refresh": "needs --ssl-certfile",
    "--load-format pt": "holds no weights in *.bin",
    "--ssl-cert-reqs 1": "needs --ssl-ca-certs",
    "--ssl-cert-reqs 2": "needs --ssl-ca-certs",
}


def refusal_of(words: list[str]) -> str:
    """What a refusal of these words must say; empty where there may be none."""
    return MACHINE_LACKS if words[:1] == ["--native-isa"] else NEEDS_MORE.get(" ".join(words), "")


def test_there_are_choices() -> None:
    assert sum(map(len, CHOICES.values())) > 200


@pytest.mark.parametrize("name", CHOICES)
def test_a_model_loads_and_answers_with_each_choice(name: str) -> None:
    for words, environ in CHOICES[name]:
        asked = Asked.from_arguments([*FEW_BLOCKS, *words], environ)
        try:
            llm = LLM.started(prepare_startup(asked))
        except (ConfigError, CheckpointError) as refusal:
            expected = refusal_of(words)
            assert expected and expected in str(refusal), (words, environ, refusal)
            continue
        if llm.config.pooler is not None:
            (pooled,) = llm.embed("Once", use_tqdm=False)
            assert len(pooled.outputs.embedding) == llm.config.card.hidden_size, (words, environ)
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
    with ServerProcess(tmp_path / "log.txt") as server:
        answers(server)
        assert server.stop() == 0


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
                    expected = refusal_of(words)
                    if not expected or expected not in server.log.read_text():
                        raise
                    assert server.process.wait(10) == 2, (words, environ)
                    continue
                assert server.stop() == 0, (words, environ)
            finally:
                server.stop()


def idle_and_refused() -> tuple[list[Words], list[tuple[str, str, str]]]:
    """How to ask for each choice without effect here, and (option, value, reason) of each refused one."""
    idle: list[Words] = []
    refused = []
    for setting in SETTINGS.all:
        for value in ("1", "0") if setting.kind.is_switch else setting.kind.choices:
            read = [setting.kind.read(value)] if setting.many else setting.kind.read(value)
            state = setting.state_of(read, "cpu")
            if state.effect is Effect.EFFECTIVE:
                continue
            variable = setting.environment_names[0]
            if state.effect is Effect.WITHOUT_EFFECT and not setting.is_shared:
                idle.append(([], {variable: value}))
            elif state.effect is Effect.REFUSED:
                refused.append((variable, value, state.reason))
    return idle, refused


IDLE, REFUSED = idle_and_refused()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_server_starts_with_every_choice_that_has_no_effect_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(IDLE) > 100
    for _, environ in IDLE:  # of a setting's choices the last one stays; each alone is seen by test_coverage
        for variable, value in environ.items():
            monkeypatch.setenv(variable, value)
    with ServerProcess(tmp_path / "log.txt", *FEW_BLOCKS) as server:
        answers(server)
        assert server.stop() == 0
    assert server.log.read_text().count("without effect here") > 50


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_refused_choice_is_one_sentence_and_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(REFUSED) > 50
    for variable, value, reason in REFUSED:
        command = [sys.executable, "-m", "quire", "serve"]
        done = subprocess.run(
            command,
            env={**os.environ, variable: value},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        last = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 2 and reason in last and variable in last, (variable, value, done.stderr)
