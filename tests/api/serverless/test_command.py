"""`quire worker` on the command line, and the load-balancer mode of a real one."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from tests.api.serverless.given_variables import FORM_DEFAULTS, SEED_DEFAULTS
from tests.api.serverless.worker_process import WorkerProcess

from quire.api.bench.server_side import free_port
from quire.api.cli import main
from quire.api.serverless import platform
from quire.api.serverless.command import read_words, worker
from quire.api.serverless.worker_settings import read_settings
from quire.base.errors import ConfigError


def test_words_are_sorted_by_who_reads_them():
    words = read_words(
        ["--mode", "queue", "--rp_log_level", "WARN", "--rp_serve_api", "--seed", "1", "--test={}", "--show"]
    )
    assert (words.mode, words.test, words.is_show) == ("queue", "{}", True)
    assert words.sdk == ["--rp_log_level", "WARN", "--rp_serve_api"]
    assert words.serve == ["--seed", "1"]


@pytest.mark.parametrize("arguments", [["--mode"], ["--mode", "x"], ["--test"]])
def test_a_word_without_its_value_is_named(arguments):
    with pytest.raises(ConfigError, match=arguments[0]):
        read_words(arguments)


def test_show_prints_the_command_line_and_the_notes(capsys):
    assert worker(["--show", "--block-size", "32"], {"SEED": "3", "SWAP_SPACE": "4"}) == 0
    first, note = capsys.readouterr().out.splitlines()
    assert first == "quire serve --seed=3 --block-size 32"
    assert note.startswith("SWAP_SPACE=4 has no effect")


@pytest.mark.parametrize(
    ("arguments", "environ", "ports"),
    [
        ([], {}, ()),
        (["--rp_serve_api"], {}, (8000,)),
        (["--rp_serve_api", "--rp_api_port", "9000"], {}, (9000,)),
        (["--rp_serve_api", "--rp_api_port=9000"], {}, (9000,)),
        ([], {"RUNPOD_REALTIME_PORT": "9100"}, (9100,)),
    ],
)
def test_the_server_keeps_off_the_port_of_the_sdks_own_api(arguments, environ, ports):
    assert read_words(arguments).api_ports(environ) == ports
    assert read_settings({}, "", ports).server_port not in ports


def test_a_refusal_is_one_sentence_and_exit_code_two(capsys, monkeypatch):
    monkeypatch.setenv("TENSOR_PARALLEL_SIZE", "8")
    assert main(["worker", "--show"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("quire: TENSOR_PARALLEL_SIZE=8 is refused: ")
    assert message.count("\n") == 1


@pytest.mark.parametrize("words", [["--uds", "/tmp/x"], ["--ssl-certfile", "x"]])
def test_options_may_not_move_the_server_out_of_reach(words):
    with pytest.raises(ConfigError, match=f"{words[0]} is refused"):
        worker(["--show", *words], {})


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help(capsys, word):
    assert main(["worker", word]) == 0
    assert "usage: quire worker" in capsys.readouterr().out


def test_without_the_sdk_there_is_a_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(platform.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("RUNPOD_WEBHOOK_GET_JOB", "http://127.0.0.1:1/job-take/x")
    with pytest.raises(ConfigError, match=r"pip install 'quire\[worker\]'"):
        worker([], {})


def test_without_a_platform_or_a_job_the_start_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RUNPOD_WEBHOOK_GET_JOB", raising=False)
    with pytest.raises(ConfigError, match="--test"):
        worker([], {})
    (tmp_path / "test_input.json").write_text("[]")
    with pytest.raises(ConfigError, match="needs an object with an input"):
        worker([], {})


def test_the_door_loads_neither_sdk_nor_torch():
    code = (
        "import sys, quire.api.serverless\nsys.exit(bool({'torch', 'runpod', 'aiohttp'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def get(port: int, path: str, body: object = None) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data=data, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (urllib.error.URLError, ConnectionError):
        return 0, b""


def test_a_real_load_balanced_worker_from_loading_to_its_end(tmp_path):
    port = health_port = free_port()
    environ = {"WORKER_MODE": "load-balancer", "PORT": str(port)}
    running = WorkerProcess(tmp_path, environ, "--kv-cache-memory-bytes=64M")
    try:
        seen: list[int] = []
        deadline_s = time.monotonic() + 60
        while seen[-1:] != [200]:
            assert time.monotonic() < deadline_s, running.text()
            status, _ = get(health_port, "/ping")
            if status == 204 and 204 not in seen:
                loading = get(port, "/v1/models")
                assert loading[0] in (503, 200)  # 200: it became ready in between
            seen.append(status)
        assert set(seen) <= {0, 204, 200}
        assert 204 in seen
        assert json.loads(get(port, "/v1/models")[1])["data"][0]["id"] == "quire-folio"
        body = {"prompt": "Once", "max_tokens": 8, "stream": True}
        status, stream = get(port, "/v1/completions", body)
        assert status == 200
        assert stream.endswith(b"data: [DONE]\n\n")
        idle = http.client.HTTPConnection("127.0.0.1", port)
        idle.request("GET", "/v1/models")
        assert idle.getresponse().read()
        assert running.stop(limit_s=15) == 0, (
            running.text()
        )  # a client that keeps its connection does not hold it
        idle.close()
        assert running.server_pids() == []
    finally:
        running.stop()


@pytest.mark.parametrize("given", [SEED_DEFAULTS, FORM_DEFAULTS], ids=["documentation", "form"])
def test_a_real_worker_starts_with_the_documented_defaults(tmp_path, given):
    port = free_port()
    mode = {"WORKER_MODE": "load-balancer", "PORT": str(port), "MODEL_NAME": "quire-folio"}
    running = WorkerProcess(tmp_path, {**given, **mode}, "--kv-cache-memory-bytes=64M")
    try:
        deadline_s = time.monotonic() + 60
        while get(port, "/ping")[0] != 200:
            assert running.process.poll() is None and time.monotonic() < deadline_s, running.text()
            time.sleep(0.05)
        status, reply = get(port, "/v1/completions", {"prompt": "Once", "max_tokens": 2})
        assert status == 200, reply
        assert running.stop(limit_s=15) == 0, running.text()
    finally:
        running.stop()
