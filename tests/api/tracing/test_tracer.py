"""Spans of requests at a real collector: over HTTP and gRPC, under the caller's trace, with times and details."""

from __future__ import annotations

import asyncio
import importlib.util
import time

import pytest

from quire.api.tracing import exporter, verify_exporter
from quire.base.errors import ConfigError
from quire.base.messages import EngineStats
from quire.base.observe import TraceConfig
from tests.api.tracing.collector import grpc_collector, http_collector

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "tracestate": "vendor=opaque"}


@pytest.fixture(params=["http/protobuf", "grpc"])
def collector(request):
    with (http_collector if request.param == "http/protobuf" else grpc_collector)() as collector:
        collector.protocol = request.param
        yield collector


@pytest.fixture
def traced(make_service):
    """A service that sends spans to a collector, flushed and closed by `finish`."""
    services = []

    def make(collector, *details: str, **changes):
        traces = TraceConfig(endpoint=collector.endpoint, protocol=collector.protocol, details=list(details))
        services.append(make_service(traces=traces, **changes))
        return services[-1]

    yield make
    for service in services:
        service.tracer.close()


async def finish(service) -> None:
    await asyncio.to_thread(service.tracer.close)


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "00-xyz-1-01", "tracestate": "a=b"},
        {**TRACED, "tracestate": "no pair, two\twords=x"},
        {**TRACED, "tracestate": ",".join(f"k{n}=v" for n in range(99))},
    ],
)
async def test_headers_of_a_caller_s_are_not_repeated_in_the_log(collector, traced, connect, headers, caplog):
    async with connect(traced(collector)) as client:
        body = {"prompt": "hello", "max_tokens": 2}
        assert (await client.post("/v1/completions", json=body, headers=headers)).status_code == 200
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry.trace")]


async def test_a_request_is_a_span_under_its_caller_s_trace(collector, traced, connect):
    service = traced(collector)
    service.client.num_cached_tokens = 2
    body = {"prompt": "hello world", "max_tokens": 3, "temperature": 0.5, "n": 2, "stop": ["zzz"], "seed": 7}
    async with connect(service) as client:
        reply = (await client.post("/v1/completions", json=body, headers=TRACED)).json()
        chat = {"messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 100}
        await client.post("/v1/chat/completions", json=chat)
    await finish(service)
    first, second = collector.wait("llm_request", 2)
    assert (first.trace_id, first.parent_id, first.trace_state) == (TRACE_ID, PARENT_ID, "vendor=opaque")
    assert first.service == "quire"
    known = first.attributes
    assert known.pop("gen_ai.request.id").startswith(reply["id"])
    assert known["gen_ai.latency.time_to_first_token"] <= known["gen_ai.latency.e2e"] <= first.seconds + 0.01
    assert {name for name in known if name.startswith("gen_ai.latency.")} == {
        f"gen_ai.latency.{name}"
        for name in (
            "e2e",
            "time_to_first_token",
            "time_in_queue",
            "time_in_model_prefill",
            "time_in_model_decode",
            "time_in_model_inference",
        )
    }
    expected = {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "quire",
        "gen_ai.request.model": "scripted",
        "gen_ai.response.model": "scripted",
        "gen_ai.request.n": 2,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.max_tokens": 3,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ["zzz"],
        "gen_ai.usage.num_sequences": 2,
        "gen_ai.usage.prompt_tokens": reply["usage"]["prompt_tokens"],
        "gen_ai.usage.input_tokens": reply["usage"]["prompt_tokens"],
        "gen_ai.usage.completion_tokens": 6,
        "gen_ai.usage.output_tokens": 6,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.response.finish_reasons": ["length", "length"],
    }
    assert {name: known[name] for name in expected} == expected
    assert second.parent_id == "" and second.trace_id != TRACE_ID
    assert second.attributes["gen_ai.operation.name"] == "chat"
    assert second.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    if collector.protocol == "http/protobuf":
        assert set(collector.paths) == {"/v1/traces"}


async def test_what_fails_or_is_given_up_says_so(collector, traced, connect):
    service = traced(collector)
    service.client.script = lambda _request, _index: [-1]
    async with connect(service) as client:
        assert (await client.post("/v1/completions", json={"prompt": "hello"})).status_code == 500
    trace = service.tracer.begin(service.client.requests[0])  # nobody reads this one
    trace.close()
    await finish(service)
    failed, left = collector.wait("llm_request", 2)
    assert failed.is_error and failed.attributes["error.type"] == "error"
    assert not left.is_error and left.attributes["gen_ai.response.finish_reasons"] == ["abort"]
    assert "gen_ai.latency.time_to_first_token" not in left.attributes


@pytest.mark.parametrize(
    ("details", "names"),
    [
        (["model"], ["time_in_model_forward"]),
        (["worker"], ["time_in_model_execute"]),
        (["model", "worker"], ["time_in_model_execute", "time_in_model_forward"]),
    ],
)
async def test_details_are_a_span_for_each_step_and_sums_for_each_request(traced, connect, details, names):
    with http_collector() as collector:
        collector.protocol = "http/protobuf"
        service = traced(collector, *details)

        def step(number: int) -> None:
            stats = EngineStats(
                num_steps=number,
                step_tokens=5,
                step_started_s=time.monotonic(),
                step_execute_s=0.25,
                step_forward_s=0.125,
            )
            for listener in service.client.listeners:
                listener(stats)

        step(1)  # before anybody asked
        step(1)  # the same once more: news without a step
        script = service.client.script

        def script_with_steps(request, index):
            asyncio.get_running_loop().call_soon(step, 2)
            return script(request, index)

        service.client.script = script_with_steps
        service.client.seconds_per_token = 0.005
        async with connect(service) as client:
            await client.post("/v1/completions", json={"prompt": "hello", "max_tokens": 4})
        await finish(service)
        one, two = collector.wait("engine_step", 2)
        (request,) = collector.wait("llm_request")
    assert [span.attributes["quire.step"] for span in (one, two)] == [1, 2]
    assert one.linked_ids == [] and two.linked_ids == [request.span_id]
    assert one.seconds == pytest.approx(0.25, abs=0.001)
    values = {"time_in_model_forward": 0.125, "time_in_model_execute": 0.25}
    for span in (two, request):
        found = {key: value for key, value in span.attributes.items() if key.rpartition(".")[2] in values}
        assert found == {f"gen_ai.latency.{name}": values[name] for name in names}


async def test_without_details_steps_make_no_spans(traced):
    with http_collector() as collector:
        collector.protocol = "http/protobuf"
        service = traced(collector)
        service.client.listeners[-1](EngineStats(num_steps=1, step_started_s=1.0))
        await finish(service)
        assert collector.named("engine_step") == []


async def test_a_collector_that_is_not_there_holds_up_nobody(traced, connect, monkeypatch):
    monkeypatch.setattr(exporter, "FAREWELL_S", 0.2)

    class Nobody:
        endpoint, protocol = "http://127.0.0.1:9", "http/protobuf"

    service = traced(Nobody)
    started_s = time.monotonic()
    async with connect(service) as client:
        reply = await client.post("/v1/completions", json={"prompt": "hello", "max_tokens": 2})
    assert reply.status_code == 200
    await finish(service)
    assert time.monotonic() - started_s < 3


def test_a_library_that_is_missing_is_named(monkeypatch):
    find = importlib.util.find_spec
    config = TraceConfig(endpoint="http://127.0.0.1:4317")
    verify_exporter(config)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name.endswith("proto.grpc") else find(name)
    )
    with pytest.raises(
        ConfigError, match=r"by grpc needs opentelemetry-exporter-otlp-proto-grpc, .*'quire\[otlp\]'"
    ):
        verify_exporter(config)
    verify_exporter(TraceConfig(endpoint="http://127.0.0.1:4318", protocol="http/protobuf"))
