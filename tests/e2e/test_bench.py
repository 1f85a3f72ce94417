"""`quire bench serve` against a real server: what it counts is what the server says it did."""

import json

import pytest

from quire.api.bench import bench


def serve(server, tmp_path, *words):
    path = tmp_path / "result.json"
    words = [
        "--base-url",
        server.base_url,
        "--output-json",
        str(path),
        "--plot",
        str(tmp_path / "p.svg"),
        *words,
    ]
    code = bench(["serve", *words])
    return code, json.loads(path.read_text())


def test_counts_are_the_servers(server, tmp_path):
    before = server.metric("vllm:generation_tokens_total")
    words = [
        "--num-prompts",
        "6",
        "--input-len",
        "20",
        "--output-len",
        "8",
        "--ignore-eos",
        "--num-warmups",
        "0",
    ]
    code, result = serve(server, tmp_path, *words, "--request-rate", "50", "--save-detailed")
    assert code == 0
    assert (result["completed"], result["failed"]) == (6, 0)
    assert result["total_input_tokens"] == 120
    assert result["total_output_tokens"] == 48 == server.metric("vllm:generation_tokens_total") - before
    assert result["output_throughput"] == pytest.approx(48 / result["duration"])
    assert 0 < result["mean_ttft_ms"] < result["mean_e2el_ms"]
    assert {"p99_ttft_ms", "p99_tpot_ms", "p99_itl_ms", "p99_e2el_ms", "median_tpot_ms"} <= result.keys()
    assert result["output_lens"] == [8] * 6
    assert (tmp_path / "p.svg").read_text().startswith("<svg")


def test_conversations_keep_what_was_said(server, tmp_path):
    words = [
        "--backend",
        "openai-chat",
        "--dataset-name",
        "multi-turn",
        "--num-prompts",
        "2",
        "--num-turns",
        "3",
    ]
    code, result = serve(server, tmp_path, *words, "--input-len", "6", "--output-len", "5", "--save-detailed")
    assert code == 0
    assert result["completed"] == 6
    assert max(result["input_lens"]) > 2 * min(result["input_lens"])


def test_several_concurrencies_are_several_runs(server, tmp_path):
    words = ["--num-prompts", "4", "--input-len", "8", "--output-len", "4", "--max-concurrency", "1", "4"]
    code, result = serve(server, tmp_path, *words)
    assert code == 0
    assert [run["max_concurrency"] for run in result["runs"]] == [1, 4]
    assert result["runs"][0]["max_concurrent_requests"] == 1


def test_a_trace_starts_requests_when_it_says(server, tmp_path):
    trace = tmp_path / "trace.jsonl"
    lines = [{"timestamp": at, "input_length": 5, "output_length": 2} for at in (100.0, 100.3)]
    trace.write_text("\n".join(map(json.dumps, lines)))
    words = ["--dataset-name", "trace", "--dataset-path", str(trace), "--ignore-eos"]
    code, result = serve(server, tmp_path, *words)
    assert code == 0
    assert result["completed"] == 2
    assert result["duration"] >= 0.3


def test_a_refused_request_is_told_and_fails(server, tmp_path):
    words = ["--num-prompts", "2", "--num-warmups", "0", "--extra-body", '{"temperature": -1}']
    code, result = serve(server, tmp_path, *words)
    assert code == 1
    assert (result["completed"], result["failed"]) == (0, 2)
