"""`quire doctor`: a page about this machine, and an exit code that tells whether Quire works here."""

from __future__ import annotations

import socket

import pytest

from quire.api.bench.server_side import free_port
from quire.api.cli import main


def test_all_is_well_with_the_built_in_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUIRE_API_KEY", "do-not-show")
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "WARNING")
    code = main(["doctor", "--max-model-len", "256", "--port", str(free_port())])
    page = capsys.readouterr().out
    assert code == 0, page
    assert "'17 + 25 = 42'" in page
    assert "paged_attention: " in page
    assert "QUIRE_API_KEY=(set, not shown)" in page and "do-not-show" not in page
    assert "VLLM_LOGGING_LEVEL=WARNING" in page
    assert page.endswith("All is well\n")


def test_problems_are_told_one_by_one_and_do_not_end_the_page(
    capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = main(["doctor", str(tmp_path / "no-model"), "--host", "127.0.0.1", "--port", str(port)])
    page = capsys.readouterr().out
    assert code == 1
    assert f"PROBLEM: 127.0.0.1:{port} cannot be listened on" in page
    assert "no-model" in page
    assert "3 problems found" in page


def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--no-such-option"]) == 2
    assert "no-such-option" in capsys.readouterr().err
