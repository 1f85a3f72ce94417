"""The lines `quire serve` prints: addresses, the first call, the split of time."""

from __future__ import annotations

import json
import os
import shlex
import time

import pytest
from tests.api.test_startup import make_folder

from quire.api.cli import report
from quire.api.cli.clock import StartClock, process_age_s
from quire.api.startup import prepare_startup
from quire.base.config import Asked, ServerConfig


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({}, "http://localhost:8000/v1"),
        ({"host": "0.0.0.0", "port": 9}, "http://localhost:9/v1"),
        ({"host": "::1"}, "http://[::1]:8000/v1"),
        ({"host": "10.0.0.5", "ssl_certfile": "c.pem"}, "https://10.0.0.5:8000/v1"),
        ({"uds": "/tmp/s"}, "http://localhost/v1"),
    ],
)
def test_base_url(changes, url):
    assert report.base_url(ServerConfig(served_model_names=["m"], **changes)) == url


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["  http://localhost:8000/  (chat page)", "  http://localhost:8000/docs  (API reference)"]),
        ({"has_docs": False}, ["  http://localhost:8000/  (chat page)"]),
        ({"has_ui": False}, ["  http://localhost:8000/docs  (API reference)"]),
        ({"uds": "/tmp/s"}, []),
    ],
)
def test_pages_are_named(changes, lines):
    assert report.page_lines(ServerConfig(served_model_names=["m"], **changes)) == lines


def curl(tmp_path, *words: str) -> list[str]:
    folder = tmp_path / "it's a model"
    if not folder.exists():
        make_folder(folder)
    resolution = prepare_startup(Asked.from_arguments([str(folder), *words], {})).resolution
    return shlex.split(report.curl_line(resolution.engine, resolution.server))


def test_curl_completes_where_the_model_has_no_template_and_chats_where_it_has(tmp_path):
    words = curl(tmp_path)
    assert words[1] == "http://localhost:8000/v1/completions"
    assert json.loads(words[-1])["prompt"]
    words = curl(tmp_path, "--chat-template", "{{ messages }}")
    assert words[1] == "http://localhost:8000/v1/chat/completions"
    assert json.loads(words[-1])["messages"]
    (tmp_path / "it's a model" / "chat_template.jinja").write_text("{{ messages }}")
    words = curl(tmp_path)
    assert words[1].endswith("/chat/completions")
    assert json.loads(words[-1])["model"] == str(tmp_path / "it's a model")


def test_curl_goes_through_the_socket_and_never_shows_the_key(tmp_path):
    words = curl(tmp_path, "--uds", "/tmp/s", "--api-key", "secret")
    assert words[1:3] == ["--unix-socket", "/tmp/s"]
    assert "secret" not in " ".join(words)
    assert words[-1] == "Authorization: Bearer $API_KEY"


def test_resolution_lines_name_choice_reason_and_override(tmp_path):
    resolution = prepare_startup(Asked.from_arguments([str(make_folder(tmp_path / "m"))], {})).resolution
    lines = report.resolution_lines(resolution)
    assert len(lines) == len(resolution.decisions) + 2
    for decision in resolution.decisions:
        (line,) = [line for line in lines if line.split()[0] == decision.setting]
        assert f"{decision.choice}: {decision.reason} [{decision.override}]" in line
    assert "committed as it fills" in lines[-1]
    assert all(line.isprintable() for line in lines)


def test_ready_line():
    line = report.ready_line(1.5, [("python", 0.1), ("wait", 1.4)], {"import torch": 1.2})
    assert line == "Ready after 1.50 s (python 0.10, wait 1.40; beside it the engine: import torch 1.20)"


def test_laps_add_up_to_the_total():
    clock = StartClock()
    clock.lap("one")
    clock.lap("two")
    assert [name for name, _ in clock.laps] == ["python", "one", "two"]
    assert sum(seconds for _, seconds in clock.laps) == pytest.approx(clock.total_s, abs=0.05)


def test_process_age_is_that_of_this_process():
    began_s = os.stat(f"/proc/{os.getpid()}").st_ctime
    assert process_age_s() == pytest.approx(time.time() - began_s, abs=2.0)
