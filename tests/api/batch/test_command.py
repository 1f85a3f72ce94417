"""`quire run-batch` from its words to its file, with the built-in model; what it refuses before any of that."""

from __future__ import annotations

import json

import pytest

from quire.api.batch.command import for_batch, read_options, run_batch
from quire.base.config import ServerConfig
from quire.base.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "o"], "--input-file is needed"),
        (["-i", "{in}"], "--output-file is needed"),
        (["-i", "https://h/x", "-o", "o"], "give a path"),
        (["-i", "{in}", "-o", "http://h/x"], "give a path"),
        (["-i", "{in}", "-o", "{in}"], "must not be the input"),
        (["-i", "{in}.not", "-o", "o"], "no such file"),
        (["-i", "{in}", "-o", "o", "--max-inflight", "0"], "a number from 1 on"),
        (["-i", "{in}", "-o", "o", "--max-inflight"], "needs a value"),
        (["-i", "{in}", "-o", "o", "--url", "x"], "--host and --port"),
    ],
)
def test_what_cannot_be_is_refused_at_once(words, message, tmp_path):
    path = tmp_path / "in"
    path.write_text("")
    with pytest.raises(ConfigError, match=message):
        read_options([word.replace("{in}", str(path)) for word in words])


def test_other_words_are_the_engines(tmp_path):
    (tmp_path / "in").write_text("")
    words = ["m", f"--input-file={tmp_path}/in", "-o", "o", "--max-num-seqs", "3", "--enable-metrics"]
    options = read_options(words)
    assert options.words == ("m", "--max-num-seqs", "3")
    assert options.enable_metrics and options.seats is None


def test_nothing_turns_this_process_away():
    server = for_batch(ServerConfig(served_model_names=["m"], api_keys=["k"], max_num_queued_reqs=1))
    assert (server.api_keys, server.max_num_queued_reqs, server.max_num_queued_tokens) == ([], 0, 0)


def test_a_file_is_answered_by_the_built_in_model(tmp_path, capsys):
    rows = [
        {"custom_id": "a", "url": "/v1/completions", "body": {"prompt": "a page", "max_tokens": 3}},
        {"custom_id": "b", "url": "/v1/chat/completions", "body": {"messages": [], "max_tokens": 3}},
        {"custom_id": "c", "url": "/v1/chat/completions",
         "body": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}},
    ]  # fmt: skip
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["-i", str(source), "-o", str(target), "--kv-cache-memory-bytes", "64M"]
    assert run_batch(words) == 0
    found = [json.loads(line) for line in target.read_text().splitlines()]
    assert [one["custom_id"] for one in found] == ["a", "b", "c"]
    assert [one["response"]["status_code"] for one in found] == [200, 400, 200]
    assert found[0]["response"]["body"]["usage"]["completion_tokens"] == 3
    assert "messages" in found[1]["error"]["message"]
    assert "3 results" in capsys.readouterr().err
