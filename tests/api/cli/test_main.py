"""The `quire` command: help, versions, exit codes, one sentence per error, and nothing heavy imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import quire
from quire.api.cli import main
from quire.base.config import SETTINGS, Setting

HEAVY = (
    "torch",
    "numpy",
    "zmq",
    "huggingface_hub",
    "tokenizers",
    "jinja2",
    "starlette",
    "uvicorn",
    "yaml",
    "asyncio",
)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("QUIRE_", "VLLM_")):
            monkeypatch.delenv(name)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == quire.__version__ + "\n"


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_help_names_the_commands(words, capsys):
    assert main(words) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in ("serve", "chat", "complete", "config show", "config explain"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["serve", "--help"], "usage: quire serve"),
        (["serve", "model", "--help=port"], "--port INTEGER"),
        (["config"], "usage: quire config"),
    ],
)
def test_help_of_commands(words, expected, capsys):
    assert main(words) == 0
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["serv"], 2, "quire: 'serv' is not a command; did you mean serve? See quire --help\n"),
        (["serve", "--prot", "1"], 2, "quire: --prot is not an option; the nearest are --port, "),
        (["serve", "--port", "x"], 2, "quire: --port: 'x' is not allowed; give an integer from 1 to 65535\n"),
        (["serve", "/no/such folder!"], 1, "quire: '/no/such folder!' is neither a folder nor a model id"),
        (["config", "explain", "prot"], 2, "quire: prot is not a setting; the nearest are --port, "),
        (["config", "shw"], 2, "quire: quire config shw: give show, explain or coverage\n"),
        (["chat", "--url", "nonsense"], 2, "quire: --url 'nonsense' is not a URL such as "),
        (["chat", "--prompt"], 2, "quire: quire chat: unrecognized arguments: --prompt\n"),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(words, code, sentence, capsys):
    assert main(words) == code
    error = capsys.readouterr().err
    assert error.startswith(sentence)
    assert error.count("\n") == 1


def test_the_stack_is_raised_when_asked_for(monkeypatch):
    words = ["serve", "/no/such folder!", "--log-error-stack"]
    with pytest.raises(quire.base.errors.CheckpointError):
        main(words)
    monkeypatch.setenv("QUIRE_LOG_ERROR_STACK", "1")
    with pytest.raises(quire.base.errors.CheckpointError):
        main(words[:2])
    with pytest.raises(quire.base.errors.ConfigError):
        main(["serve", "--prot"])


@pytest.mark.parametrize(
    "words", [["--help"], ["serve", "--help=all"], ["serve", "--prot"], ["chat", "--help"]]
)
def test_nothing_heavy_is_imported_for_help_and_typing_errors(words):
    code = (
        "import sys\nfrom quire.api.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("loaded: []\n")


def test_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -m quire serve --help=all | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1


def test_first_line_comes_before_the_work_and_errors_without_a_stack(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    result = subprocess.run(
        [sys.executable, "-m", "quire", "serve", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stdout == f"Quire {quire.__version__}, serving {tmp_path}\n"
    assert result.stderr.startswith(f"quire: {tmp_path}/config.json")
    assert result.stderr.count("\n") == 1


def test_a_logging_file_that_cannot_be_used_stops_before_anything_starts(tmp_path, monkeypatch, capsys):
    from tests.api.test_startup import make_folder

    monkeypatch.setenv("VLLM_LOGGING_CONFIG_PATH", str(tmp_path / "none.json"))
    assert main(["serve", str(make_folder(tmp_path / "m"))]) == 2
    assert "none.json cannot be used: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["serve", "--help=all"]])
def test_help_is_there_in_less_than_0_4_s(words):
    """Of processor time, which other work on the machine does not stretch."""
    process = subprocess.Popen([sys.executable, "-m", "quire", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_utime + usage.ru_stime < 0.4


def takes_nonsense(setting: Setting) -> bool:
    try:
        setting.kind.read(NONSENSE)
    except ValueError:
        return False
    return True


NONSENSE = "#?!"
PICKY = [setting for setting in SETTINGS.all if not takes_nonsense(setting) and not setting.removed]


def test_a_wrong_value_of_any_setting_is_one_sentence_and_exit_code_2(monkeypatch, capsys):
    assert len(PICKY) > 200
    for setting in PICKY:
        with monkeypatch.context() as patch:
            words = ["serve", "model"]
            if setting.has_flag and not setting.kind.is_switch:
                words.append(f"{setting.flag}={NONSENSE}")
            else:
                patch.setenv(setting.environment_names[0], NONSENSE)
            source = setting.flag if len(words) == 3 else setting.environment_names[0]
            assert main(words) == 2, setting.name
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        shown = "the value" if setting.is_secret else repr(NONSENSE)
        assert f"{source}: {shown} is not allowed; give {setting.kind.allowed}" in lines[0]
