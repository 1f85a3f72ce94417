"""Whole measurements on the lightest real things: a tiny shape, the built-in model, a server that answers."""

import json
import math

import pytest

from quire.api.bench import bench
from quire.api.bench.step import Reading
from quire.api.cli import main
from quire.base.errors import ConfigError
from quire.model.checkpoint import read_card, verify_checkpoint

TINY = ["--shape", "tiny", "--max-model-len", "256", "--kv-cache-memory-bytes", "16M"]


def measured(command, *words, tmp_path):
    """The result a command writes."""
    path = tmp_path / "result.json"
    assert bench([command, *words, "--output-json", str(path), "--plot", str(tmp_path / "p.svg")]) == 0
    assert (tmp_path / "p.svg").read_text().startswith("<svg")
    return json.loads(path.read_text())


def test_latency_has_a_time_for_each_batch(tmp_path):
    words = ["--input-len", "8", "--output-len", "4", "--batch-size", "2", "--num-iters", "3"]
    result = measured("latency", *words, *TINY, tmp_path=tmp_path)
    assert len(result["latencies"]) == 3
    assert result["avg_latency"] == pytest.approx(sum(result["latencies"]) / 3)
    assert set(result["percentiles"]) == {"10", "25", "50", "75", "90", "99"}


def test_throughput_counts_every_token_asked_for(tmp_path):
    words = ["--input-len", "8", "--output-len", "4", "--num-prompts", "5", "--dtype", "float32"]
    result = measured("throughput", *words, *TINY, tmp_path=tmp_path)
    assert result["total_num_tokens"] == 5 * 12
    assert result["tokens_per_second"] == pytest.approx(60 / result["elapsed_time"])


def test_a_steps_host_share_lies_within_the_step(tmp_path):
    result = measured(
        "step", "--num-steps", "5", "--context", "20", "--batch-size", "2", *TINY, tmp_path=tmp_path
    )
    assert len(result["steps_s"]) == len(result["native_s"]) == 5
    assert all(
        0 <= inside < whole for inside, whole in zip(result["native_s"], result["steps_s"], strict=True)
    )
    assert 0 < result["host_share"] <= 1
    assert len(result["read_rates"]) == any(result["native_s"])  # one try before every five steps


def test_a_schema_is_measured_in_turns_with_free_replies(tmp_path, capsys):
    words = ["--num-steps", "2", "--num-turns", "2", "--batch-size", "2", "--context", "8"]
    rows = measured("grammar", *words, "--temperatures", "0", "1", *TINY, tmp_path=tmp_path)["rows"]
    assert [row["temperature"] for row in rows] == [0, 1]
    for row in rows:
        assert row["added"] == pytest.approx(row["held_ms"] / row["free_ms"] - 1)
    assert capsys.readouterr().out.count("held to the schema") == 2


def test_reading_is_compared_with_its_median():
    reading = Reading()
    reading.rates = [10e9, 40e9, 50e9]
    assert "20.0 GB/s, 50 % of reading alone in between (40.0 GB/s, at best 50.0)" in reading.compare(
        10**9, 0.05
    )


def test_a_request_that_does_not_fit_is_refused_by_name():
    with pytest.raises(ConfigError, match="--max-model-len 256"):
        bench(["latency", "--input-len", "300", *TINY])


def test_kernels_are_judged_against_probes_of_the_same_run(tmp_path):
    words = ["--only", "linear bfloat16 head", "--seconds-each", "0.01", "--shape", "tiny"]
    pytest.importorskip("torch")
    from quire.model.kernels import native_seconds  # 0 without a library: there is nothing to probe then

    bench(["throughput", "--num-prompts", "1", *TINY])
    if not native_seconds():
        pytest.skip("no native library")
    result = measured("kernels", *words, tmp_path=tmp_path)
    assert len(result["kernels"]) == 1
    row = result["kernels"][0]
    assert row["is_native"] and row["limit"].startswith("reading")
    bandwidth = max(result["limits"]["read"], result["limits"]["read, 4 streams"])
    assert row["share"] == pytest.approx(row["gigabytes_per_s"] * 1e9 / bandwidth)
    assert result["limits"]["float32"] > 0


def test_accuracy_of_the_reference_is_exact(tmp_path):
    words = ["--tasks", "tests/golden/builtin/heldout.jsonl", "--num-tasks", "6", "--formats", "int8"]
    rows = measured("accuracy", *words, "--num-contexts", "4", tmp_path=tmp_path)["formats"]
    assert [row["format"] for row in rows] == ["float32", "int8"]
    assert rows[0]["logit_error_max"] == 0 and rows[0]["total"] == 6
    assert 0 < rows[1]["logit_error_mean"] < rows[1]["logit_error_max"] < math.inf


def test_a_shape_with_weights_is_a_whole_checkpoint(tmp_path):
    assert bench(["shape", "tiny", str(tmp_path / "m"), "--weights"]) == 0
    verify_checkpoint(read_card(tmp_path / "m", name="m"))
    with pytest.raises(ConfigError, match="already"):
        bench(["shape", "tiny", str(tmp_path / "m")])


def test_an_unknown_measurement_and_a_wrong_option_exit_with_2(capsys):
    assert main(["bench", "speed"]) == 2
    assert "there is no such measurement" in capsys.readouterr().err
    assert main(["bench", "latency", "--shape", "tiny", "--max-modle-len", "3"]) == 2
    assert "--max-model-len" in capsys.readouterr().err
    assert main(["bench", "serve", "--num-prompts", "0"]) == 2
    assert main(["bench", "compare", "--peers", "abacus"]) == 2


def test_help_needs_nothing(capsys):
    assert bench([]) == 0
    assert "quire bench kernels" in capsys.readouterr().out
