"""Everything a server can tell of its work, switched on at once: traces, KV cache events, residency, work."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import zmq

from tests.api.tracing.collector import http_collector
from tests.e2e.conftest import ServerProcess
from tests.engine.publisher.test_publisher import free_endpoint

LIMIT_MS = 5000


def batches_since(endpoint: str, number: int) -> list[list]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
        asking.setsockopt(zmq.LINGER, 0)
        asking.setsockopt(zmq.RCVTIMEO, LIMIT_MS)
        asking.connect(endpoint)
        asking.send_multipart([b"", number.to_bytes(8, "big")])
        batches = []
        while (answer := asking.recv_multipart())[2]:
            batches.append(msgspec.msgpack.decode(answer[2]))
        return batches


def test_a_server_tells_all_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    replay = free_endpoint()
    events = {"enable_kv_cache_events": True, "endpoint": free_endpoint(), "replay_endpoint": replay}
    with (
        http_collector() as collector,
        ServerProcess(
            tmp_path / "log.txt",
            *("--otlp-traces-endpoint", collector.endpoint, "--collect-detailed-traces", "all"),
            *("--kv-events-config", json.dumps(events)),
            *("--kv-cache-metrics", "--kv-cache-metrics-sample", "1", "--enable-mfu-metrics"),
            *("--max-model-len", "64", "--num-gpu-blocks-override", "4"),
        ) as server,
    ):
        for number in range(3):
            prompt = list(range(10 * number + 3, 10 * number + 43))
            body = {"prompt": prompt, "max_tokens": 4, "temperature": 0, "ignore_eos": True}
            status, reply = server.post("/v1/completions", body)
            assert status == 200, reply
        (first, *_) = collector.wait("llm_request", 3)
        steps = collector.wait("engine_step", 3 * 4)
        times = {name.rpartition(".")[2]: value for name, value in first.attributes.items()}
        # of the first token, the worker's share holds the network's
        assert 0 < times["time_in_model_forward"] < times["time_in_model_execute"] <= times["e2e"]
        assert sum(step.attributes["quire.step.tokens"] for step in steps) == 3 * (40 + 3)
        assert all(
            0 < step.attributes["gen_ai.latency.time_in_model_forward"] < step.seconds for step in steps
        )
        assert server.metric("vllm:estimated_flops_per_gpu_total") > 1e6
        assert server.metric("vllm:estimated_read_bytes_per_gpu_total") > 1e6
        assert server.metric("vllm:kv_block_lifetime_seconds_count") == 2 * 3 - 1
        batches = batches_since(replay, 0)
    stored = [event for _, events, _ in batches for event in events if event[0] == "BlockStored"]
    removed = [
        name
        for _, events, _ in batches
        for event in events
        if event[0] == "BlockRemoved"
        for name in event[1]
    ]
    assert [event[3] for event in stored] == [list(range(10 * n + 3, 10 * n + 35)) for n in range(3)]
    assert len(removed) == 6 - 4 + 1 and set(removed) <= {name for event in stored for name in event[1]}
