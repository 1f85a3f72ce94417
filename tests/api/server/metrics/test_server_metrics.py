"""What a scrape says after requests of known shape, under vLLM's names and labels."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from quire.api.server import Service
from quire.api.server.metrics import buckets
from quire.base.messages import BlockStay, EngineStats
from quire.base.observe import WatchConfig, WorkRates

ENGINE_LABELS = {"model_name": "scripted", "engine": "0"}
NAMES = [
    "num_requests_running",
    "num_requests_waiting",
    "kv_cache_usage_perc",
    "prefix_cache_queries",
    "prefix_cache_hits",
    "num_preemptions",
    "prompt_tokens",
    "generation_tokens",
    "request_success",
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "request_time_per_output_token_seconds",
    "e2e_request_latency_seconds",
    "request_queue_time_seconds",
    "request_inference_time_seconds",
    "request_prefill_time_seconds",
    "request_decode_time_seconds",
    "request_prompt_tokens",
    "request_generation_tokens",
    "request_max_num_generation_tokens",
    "request_params_n",
    "request_params_max_tokens",
    "request_num_preemptions",
    "iteration_tokens_total",
    "cache_config_info",
]


async def scrape(http):
    text = (await http.get("/metrics")).text
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families, name, **labels):
    """The one sample called `name` with these labels among its own."""
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == f"vllm:{name}" and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


async def test_vllm_s_names_are_there_from_the_start(http):
    families = await scrape(http)
    assert {f"vllm:{name}" for name in NAMES} <= families.keys()
    for name in NAMES:
        for sample in families[f"vllm:{name}"].samples:
            if name != "cache_config_info":
                assert ENGINE_LABELS.items() <= sample.labels.items()
    assert "process_resident_memory_bytes" in families


async def test_every_step_is_in_the_step_size_histogram(http, engine):
    engine.step_sizes.update({1: 2, 20: 1, 100_000: 1})
    families = await scrape(http)
    assert value(families, "iteration_tokens_total_bucket", le="1") == 5
    assert value(families, "iteration_tokens_total_bucket", le="32") == 7
    assert value(families, "iteration_tokens_total_bucket", le="+Inf") == 8
    assert value(families, "iteration_tokens_total_sum") == 5 + 40 + 100_000


async def test_gauges_follow_the_engine_s_snapshot(http, engine):
    engine.stats = EngineStats(
        num_running=3,
        num_waiting=2,
        num_blocks=64,
        num_blocks_used=16,
        num_preemptions=7,
        prefix_cache_queries_tokens=100,
        prefix_cache_hits_tokens=40,
    )
    families = await scrape(http)
    assert value(families, "num_requests_running") == 3
    assert value(families, "num_requests_waiting") == 2
    assert value(families, "kv_cache_usage_perc") == 0.25
    assert value(families, "num_preemptions_total") == 7
    assert value(families, "prefix_cache_queries_total") == 100
    assert value(families, "prefix_cache_hits_total") == 40


@pytest.mark.parametrize("streams", [False, True])
async def test_a_request_leaves_its_numbers(streams, http, tokenizer, engine):
    engine.script = lambda _request, index: [5] * (4 + index)
    engine.num_preemptions = 3
    body = {"prompt": [5, 6, 7], "max_tokens": 20, "n": 2, "stream": streams}
    await http.post("/v1/completions", json=body)
    families = await scrape(http)
    assert value(families, "prompt_tokens_total") == 3
    assert value(families, "generation_tokens_total") == 4 + 5
    assert value(families, "request_success_total", finished_reason="length") == 2
    for name, count, total in (
        ("request_prompt_tokens", 1, 3),
        ("request_generation_tokens", 2, 9),
        ("request_max_num_generation_tokens", 1, 5),
        ("request_params_n", 1, 2),
        ("request_num_preemptions", 1, 3),
        ("request_params_max_tokens", 1, 20),
    ):
        assert value(families, f"{name}_count") == count, name
        assert value(families, f"{name}_sum") == total, name
    assert value(families, "inter_token_latency_seconds_count") == 3 + 4
    for name in (
        "time_to_first_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
        "request_inference_time_seconds",
        "request_time_per_output_token_seconds",
    ):
        assert value(families, f"{name}_count") == 1, name
        assert 0 <= value(families, f"{name}_sum") < 5, name


async def test_refused_requests_leave_none(http):
    await http.post("/v1/completions", json={"prompt": "x", "n": 0})
    assert value(await scrape(http), "request_params_n_count") == 0


async def test_a_failed_sample_is_counted_and_leaves_the_others_alone(http, engine):
    engine.script = lambda _request, index: [5, -1] if index == 0 else [5] * 9
    await http.post("/v1/completions", json={"prompt": "x", "n": 3, "max_tokens": 9})
    families = await scrape(http)
    assert value(families, "request_success_total", finished_reason="error") == 1
    assert value(families, "request_success_total", finished_reason="length") == 2


async def test_the_cache_is_described(http):
    (sample,) = (await scrape(http))["vllm:cache_config_info"].samples
    assert sample.value == 1
    assert sample.labels["block_size"] == "16"
    assert sample.labels["num_gpu_blocks"] == "64"


def test_bucket_families_have_vllm_s_edges():
    assert buckets.token_counts(256) == (1, 2, 5, 10, 20, 50, 100, 200)
    assert len(buckets.TIME_TO_FIRST_TOKEN_S) == 22
    assert len([edge for edge in buckets.INTER_TOKEN_S if edge >= 0.01]) == 19
    assert len(buckets.REQUEST_S) == 21
    for family in (buckets.TIME_TO_FIRST_TOKEN_S, buckets.INTER_TOKEN_S, buckets.REQUEST_S):
        assert list(family) == sorted(set(family))


RATES = WorkRates(
    flops_per_token=1, flops_per_pair=1, flops_per_sampled_row=1, weight_bytes=1, kv_bytes_per_token=1
)


def watching(service, watch: WatchConfig) -> Service:
    """The service again, over an engine that tells more."""
    config = msgspec.structs.replace(service.engine_config, watch=watch)
    return Service(service.client, config, service.config)


async def test_stays_of_kv_blocks_are_histograms_where_asked(service, connect):
    async with connect(service) as client:
        assert not [name for name in await scrape(client) if name.startswith("vllm:kv_block_")]
    service = watching(service, WatchConfig(kv_residency_share=1.0))
    for listener in service.client.listeners:
        listener(EngineStats(block_stays=[BlockStay(40.0, 3.0, [0.5, 20.0]), BlockStay(1.0, 1.0, [])]))
    async with connect(service) as client:
        families = await scrape(client)
    for name, count, total in (
        ("kv_block_lifetime_seconds", 2, 41.0),
        ("kv_block_idle_before_evict_seconds", 2, 4.0),
        ("kv_block_reuse_gap_seconds", 2, 20.5),
    ):
        assert value(families, f"{name}_count") == count
        assert value(families, f"{name}_sum") == total


async def test_estimated_work_never_falls_when_the_engine_is_replaced(service, connect):
    service = watching(service, WatchConfig(work=RATES))
    for work in ((10, 20, 30), (40, 50, 60), (1, 2, 3)):
        for listener in service.client.listeners:
            listener(EngineStats(flops=work[0], read_bytes=work[1], written_bytes=work[2]))
    async with connect(service) as client:
        families = await scrape(client)
    assert value(families, "estimated_flops_per_gpu_total") == 41
    assert value(families, "estimated_read_bytes_per_gpu_total") == 52
    assert value(families, "estimated_write_bytes_per_gpu_total") == 63


async def test_edges_can_be_chosen_by_family(make_service, connect):
    service = make_service(histogram_buckets={"request_latency": [0.5, 7], "iteration_tokens": [3]})
    async with connect(service) as client:
        families = await scrape(client)

    def edges(name: str) -> set[str]:
        samples = families[f"vllm:{name}"].samples
        return {sample.labels["le"] for sample in samples if sample.name.endswith("_bucket")}

    assert edges("e2e_request_latency_seconds") == edges("request_queue_time_seconds") == {"0.5", "7", "+Inf"}
    assert edges("iteration_tokens_total") == {"3", "+Inf"}
    assert len(edges("time_to_first_token_seconds")) > 20
