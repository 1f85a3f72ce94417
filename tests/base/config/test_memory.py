"""Sizes of the KV pool and of the context, from memory or from what was asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.base.config.conftest import GIB, make_card, make_machine

from quire.base.config import Asked, ExpertFacts, resolve
from quire.base.config.memory import describe_bytes
from quire.base.errors import ConfigError

TOKEN_BYTES = 64 * 1024  # of make_card in bfloat16: 2 * 16 layers * 8 heads * 128 * 2 bytes
BLOCK_BYTES = 16 * TOKEN_BYTES


def run(*words: str, card=None, available_bytes: int = 16 * GIB, environ=None):
    machine = make_machine(memory_available_bytes=available_bytes)
    return resolve(Asked.from_arguments(words, environ or {}), card or make_card(), machine)


def decision(resolution, setting: str):
    (found,) = [entry for entry in resolution.decisions if entry.setting == setting]
    return found


def test_half_of_the_available_memory_less_weights_and_headroom():
    plan = run().memory
    assert plan.weight_bytes == GIB // 2
    assert plan.kv_bytes <= 8 * GIB - plan.weight_bytes - plan.headroom_bytes < plan.kv_bytes + BLOCK_BYTES
    assert plan.available_bytes == 16 * GIB


def test_a_pool_is_no_larger_than_the_most_requests_can_fill():
    resolution = run("--max-num-seqs", "2")
    assert resolution.engine.cache.num_blocks == 2 * 4096 // 16
    assert "2 sequences of full length" in decision(resolution, "kv-cache").reason


def test_more_than_half_is_taken_when_one_context_needs_it():
    resolution = run(available_bytes=int(2.5 * GIB), card=make_card(max_model_len=8192))
    assert resolution.engine.max_model_len == 8192
    assert resolution.engine.cache.num_blocks == 512
    assert "90%" in decision(resolution, "kv-cache").reason


def test_context_shrinks_to_what_memory_holds_and_says_so():
    resolution = run(available_bytes=int(1.2 * GIB))
    cache = resolution.engine.cache
    assert resolution.engine.max_model_len == cache.num_blocks * cache.block_size < 4096
    shrunk = decision(resolution, "max-model-len")
    assert shrunk.override == "--max-model-len"
    assert shrunk.reason.startswith("the model allows 4096, the KV cache holds ")
    assert run("--max-model-len", "auto", available_bytes=int(1.2 * GIB)).engine == resolution.engine


def test_an_explicit_context_that_does_not_fit_is_refused_with_the_way_out():
    held = run(available_bytes=int(1.2 * GIB)).engine.max_model_len
    with pytest.raises(ConfigError) as caught:
        run("--max-model-len", "4096", available_bytes=int(1.2 * GIB))
    assert f"lower --max-model-len to {held} or less, or raise --gpu-memory-utilization" in str(caught.value)
    assert run("--max-model-len", str(held), available_bytes=int(1.2 * GIB)).engine.max_model_len == held


def test_a_model_larger_than_memory_is_refused():
    with pytest.raises(
        ConfigError, match=r"holds not one block .*: raise --gpu-memory-utilization, set --kv-cache"
    ):
        run(card=make_card(weight_bytes=20 * GIB))
    # unless the user takes the risk: an exact size needs no share of memory
    assert run("--kv-cache-memory-bytes", "1G", card=make_card(weight_bytes=20 * GIB)).memory.kv_bytes == GIB


def test_an_asked_share_is_not_stretched():
    with pytest.raises(ConfigError, match="does not fit the KV cache"):
        run("--gpu-memory-utilization", "0.07", "--max-model-len", "4096")
    assert run("--gpu-memory-utilization", "0.07").engine.max_model_len < 4096


def test_blocks_win_over_bytes_over_gib():
    environ = {"VLLM_CPU_KVCACHE_SPACE": "2"}
    assert run(environ=environ).memory.kv_bytes == 2 * GIB
    assert decision(run(environ=environ), "kv-cache").override == "VLLM_CPU_KVCACHE_SPACE"
    assert run("--kv-cache-memory-bytes", "1G", environ=environ).memory.kv_bytes == GIB
    every = run("--num-gpu-blocks-override", "300", "--kv-cache-memory-bytes", "1G", environ=environ)
    assert every.engine.cache.num_blocks == 300


def test_a_forced_pool_shortens_the_context():
    resolution = run("--num-gpu-blocks-override", "10")
    assert resolution.engine.max_model_len == 160
    with pytest.raises(ConfigError, match="or raise --num-gpu-blocks-override"):
        run("--num-gpu-blocks-override", "10", "--max-model-len", "161")


def test_wider_dtype_doubles_weights_and_kv():
    plan = run("--dtype", "float32", "--num-gpu-blocks-override", "256").memory
    assert (plan.weight_bytes, plan.kv_bytes) == (GIB, 2 * 256 * BLOCK_BYTES)


def test_weights_of_a_folder_without_any_are_estimated():
    # Qwen3-0.6B has 596 million parameters
    card = make_card(
        weight_bytes=0, vocab_size=151_936, hidden_size=1024, num_layers=28, kv_heads=[8] * 28, head_dim=128,
        hf_config={"num_attention_heads": 16, "intermediate_size": 3072, "tie_word_embeddings": True},
    )  # fmt: skip
    estimated = run("--load-format", "dummy", card=card).memory.weight_bytes
    assert estimated == pytest.approx(2 * 596e6, rel=0.01)


def test_experts_take_weights_and_working_memory():
    # OLMoE-1B-7B has 6.92 billion parameters
    facts = {
        "weight_bytes": 0, "vocab_size": 50_304, "hidden_size": 2048, "num_layers": 16, "kv_heads": [16] * 16,
        "hf_config": {"num_attention_heads": 16, "intermediate_size": 1024},
    }  # fmt: skip
    card = make_card(**facts, experts=ExpertFacts(count=64, chosen=8, width=1024))
    asked = ("--load-format", "dummy", "--max-num-batched-tokens", "1024")
    memory = run(*asked, card=card, available_bytes=64 * GIB).memory
    assert memory.weight_bytes == pytest.approx(2 * 6.92e9, rel=0.01)
    dense = run(*asked, card=make_card(**facts), available_bytes=64 * GIB).memory
    more = 6 * 2048 + 8 * (3 * 1024 + 2048) - 18 * 2048
    assert memory.headroom_bytes - dense.headroom_bytes == 1024 * 2 * more


@given(
    available_mib=st.integers(700, 64 * 1024),
    max_num_seqs=st.integers(1, 512),
    block_size=st.sampled_from([1, 16, 32, 128]),
    share=st.none() | st.floats(0.05, 1.0),
)
def test_whatever_memory_there_is_one_context_fits_and_the_plan_keeps_to_its_share(
    available_mib, max_num_seqs, block_size, share
):
    available_bytes = available_mib * 1024**2
    words = ["--max-num-seqs", str(max_num_seqs), "--block-size", str(block_size)]
    words += [] if share is None else ["--gpu-memory-utilization", str(share)]
    try:
        resolution = run(*words, available_bytes=available_bytes)
    except ConfigError as error:
        assert "not one block" in str(error)
        return
    cache, plan = resolution.engine.cache, resolution.memory
    assert 1 <= resolution.engine.max_model_len <= 4096
    assert cache.num_blocks * cache.block_size >= resolution.engine.max_model_len
    assert plan.weight_bytes + plan.kv_bytes + plan.headroom_bytes <= (share or 0.9) * available_bytes
    assert cache.num_blocks <= -(-4096 // block_size) * max_num_seqs


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (GIB, "1.0 GiB"), (5000 * GIB, "5000.0 GiB")],
)
def test_describe_bytes(amount, text):
    assert describe_bytes(amount) == text
