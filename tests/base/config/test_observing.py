"""Settings of what is told of the engine's work: their structs, and one sentence for each wrong value."""

from __future__ import annotations

import json

import pytest
from tests.base.config.conftest import GIB, make_card, make_machine

from quire.base.config import Asked, ExpertFacts, resolve
from quire.base.errors import ConfigError
from quire.base.observe import KvEventsConfig, TraceConfig, WorkRates

EVENTS = "--kv-events-config"
COLLECTOR = ["--otlp-traces-endpoint", "http://127.0.0.1:4317"]


def run(*words: str, **environ: str):
    return resolve(Asked.from_arguments(["m", *words], environ), make_card(), make_machine())


def test_events_stay_on_this_machine_unless_told_otherwise():
    on = '{"enable_kv_cache_events": true}'
    assert run(EVENTS, on).engine.watch.kv_events == KvEventsConfig(endpoint="tcp://127.0.0.1:5557")
    given = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": "tcp://*:5557",
        "replay_endpoint": "tcp://*:5558",
        "buffer_steps": 7,
        "hwm": 8,
        "max_queue_size": 9,
        "topic": "kv@pod",
    }
    config = run(EVENTS, json.dumps(given), VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES="0").engine.watch.kv_events
    assert config == KvEventsConfig(
        endpoint="tcp://*:5557",
        replay_endpoint="tcp://*:5558",
        buffer_steps=7,
        send_limit=8,
        max_queue_size=9,
        topic="kv@pod",
        has_int_hashes=False,
    )


@pytest.mark.parametrize(
    "given",
    [
        "{}",
        '{"enable_kv_cache_events": false, "endpoint": "tcp://*:9"}',
        '{"enable_kv_cache_events": true, "publisher": "null"}',
    ],
)
def test_events_that_nobody_wants_are_not_made(given):
    assert run(EVENTS, given).engine.watch.kv_events is None


def test_detailed_traces_may_be_written_in_several_ways():
    for words, details in (
        (["all"], ["model", "worker"]),
        (["worker,model"], ["model", "worker"]),
        (["worker"], ["worker"]),
        (["model", "worker"], ["model", "worker"]),
    ):
        traces = run(*COLLECTOR, "--collect-detailed-traces", *words).server.traces
        assert traces == TraceConfig(endpoint="http://127.0.0.1:4317", details=details)
    traces = run("--otlp-traces-endpoint", "collector:4318/v1/traces",
                 OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/protobuf").server.traces  # fmt: skip
    assert traces == TraceConfig(endpoint="http://collector:4318/v1/traces", protocol="http/protobuf")
    assert run().server.traces is None


def test_work_is_estimated_from_the_card_s_shape():
    card = make_card(
        weight_bytes=2 * (100_000_000 + 2 * 32_000 * 1024), hf_config={"num_attention_heads": 16}
    )
    asked = Asked.from_arguments(["m", "--enable-mfu-metrics"], {})
    resolution = resolve(asked, card, make_machine())
    assert resolution.engine.watch.work == WorkRates(
        flops_per_token=200_000_000,
        flops_per_pair=4 * 16 * 128 * 16,
        flops_per_sampled_row=2 * 32_000 * 1024,
        weight_bytes=card.weight_bytes,
        kv_bytes_per_token=2 * 2 * 16 * 8 * 128,
    )
    tied = make_card(weight_bytes=card.weight_bytes, hf_config={"tie_word_embeddings": True})
    rates = resolve(asked, tied, make_machine()).engine.watch.work
    assert rates.flops_per_token == 200_000_000 + 2 * 32_000 * 1024
    moe = make_card(weight_bytes=card.weight_bytes, experts=ExpertFacts(count=4, chosen=1, width=256))
    rates = resolve(asked, moe, make_machine()).engine.watch.work
    assert rates.flops_per_token == 200_000_000 - 2 * 16 * 3 * (3 * 1024 * 256)
    assert (rates.num_experts, rates.chosen_experts) == (4, 1)
    assert rates.expert_bytes == 2 * 16 * (3 * 1024 * 256)
    assert make_card().weight_bytes == GIB // 2  # the card that other tests use has weights, too


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([EVENTS, '{"hwm": "many"}'], "--kv-events-config.hwm 'many' is not allowed; give an integer"),
        ([EVENTS, '{"buffer_steps": 0}'], "--kv-events-config.buffer_steps '0' is not allowed"),
        ([EVENTS, '{"enable_kv_cache_events": 3}'], "'3' is not allowed; give true or false"),
        ([EVENTS, '{"publisher": "kafka"}'], "publisher 'kafka' is not allowed; give zmq or null"),
        ([EVENTS, '{"endpoint": "5557"}'], "endpoint '5557' is not allowed; give an address such as tcp://"),
        ([EVENTS, '{"topic": 1}'], "topic '1' is not allowed; give text"),
        (
            [EVENTS, '{"enable_kv_cache_events": true}', "--no-enable-prefix-caching"],
            "tells what the prefix cache holds, and --no-enable-prefix-caching switches that off",
        ),
        (["--kv-cache-metrics-sample", "0.5"], "give that too"),
        (["--collect-detailed-traces", "all"], "needs --otlp-traces-endpoint"),
        ([*COLLECTOR, "--collect-detailed-traces", "gpu"], "'gpu' is not allowed; give all, model or worker"),
        (["--otlp-traces-endpoint", "udp://x"], "'udp://x' is not allowed; give a URL"),
        (
            ["--custom-histogram-buckets", '{"x": [1]}'],
            "'x' is no family of histograms; give any of request_",
        ),
        (
            ["--custom-histogram-buckets", '{"request_latency": [2, 1]}'],
            r"--custom-histogram-buckets.request_latency is not allowed; give a list of rising numbers",
        ),
        (["--custom-histogram-buckets", '{"request_latency": ["a"]}'], "give a list of rising numbers"),
    ],
)
def test_a_wrong_value_is_one_sentence(words, message):
    with pytest.raises(ConfigError) as caught:
        run(*words)
    assert message in caught.value.message
