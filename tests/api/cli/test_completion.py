"""What `quire completion` prints makes a real shell complete commands, options and choices of the settings table."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from quire.api.cli.main import main
from quire.base.config import SETTINGS


def completed(capsys, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    typed = " ".join(f"'{word}'" for word in words)
    ask = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _quire; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", script + ask], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_choices(capsys):
    assert completed(capsys, "quire", "ser") == ["serve"]
    assert completed(capsys, "quire", "serve", "--max-model") == ["--max-model-len"]
    assert completed(capsys, "quire", "serve", "--dtype", "bf") == ["bfloat16"]
    assert completed(capsys, "quire", "doctor", "--max") == []
    offered = completed(capsys, "quire", "serve", "--")
    assert {setting.flag for setting in SETTINGS.all if setting.has_flag and not setting.removed} <= set(
        offered
    )
    assert "--no-enable-prefix-caching" in offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_the_same_options(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "max-model-len" in script and "bfloat16" in script and "serve" in script


def test_another_word_is_refused(capsys):
    assert main(["completion", "tcsh"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err
