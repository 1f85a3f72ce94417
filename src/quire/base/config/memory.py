"""How memory is shared out: weights, KV pool, headroom; and the context length that fits.

The pool is a reservation of address space: the kernel commits a page only when a token is first written to it,
so a pool larger than the load costs nothing until it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from quire.base.config.asked import Asked
from quire.base.config.card import ModelCard
from quire.base.config.kv_format import choose_kv_format
from quire.base.config.precision import weight_bytes
from quire.base.config.resolved import DTYPE_BYTES, CacheConfig, Decision, Dtype, SchedulerConfig
from quire.base.errors import ConfigError
from quire.base.hardware import Machine

GIB = 1024**3
# a CPU machine's memory is shared with the page cache and other programs: take half, more only if needed
DEFAULT_SHARE = 0.5
LARGEST_SHARE = 0.9
LEARNED_POSITIONS = frozenset({"gpt2", "opt"})  # families whose positions are a table, not a formula
RUNTIME_BYTES = 400 * 1024**2  # Python, torch and its thread pools in both processes, measured resident size


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What memory is meant for, in bytes. `available_bytes` is what was free before start."""

    weight_bytes: int
    kv_bytes: int
    headroom_bytes: int
    available_bytes: int
    total_bytes: int

    def describe(self) -> str:
        return (
            f"weights {describe_bytes(self.weight_bytes)}, KV cache up to {describe_bytes(self.kv_bytes)} "
            f"(committed as it fills), working memory {describe_bytes(self.headroom_bytes)}; "
            f"{describe_bytes(self.available_bytes)} of {describe_bytes(self.total_bytes)} available"
        )


@dataclass(frozen=True, slots=True)
class _Pool:
    """A pool size and the words for why it is that."""

    num_blocks: int
    reason: str
    override: str
    is_exact: bool  # the user named it: it is not stretched to make the context fit


def plan_memory(
    asked: Asked,
    card: ModelCard,
    machine: Machine,
    dtype: Dtype,
    scheduler: SchedulerConfig,
    quantization: str,
) -> tuple[int, CacheConfig, MemoryPlan, list[Decision]]:
    """(max_model_len, cache, plan, decisions). Raises ConfigError when what was asked for does not fit."""
    if card.is_encoder:
        return _without_kv(asked, card, machine, dtype, scheduler, quantization)
    block_size: int = asked["block_size"]
    kv = choose_kv_format(asked, card, dtype)
    block_bytes = kv.bytes_per_token(card) * block_size
    wanted_len, is_exact_len = _wanted_length(asked, card)
    wanted_blocks = _blocks(wanted_len, block_size)
    used_bytes = weight_bytes(card, dtype, quantization) + headroom_bytes(card, scheduler, dtype)
    pool = _exact_pool(asked, block_bytes) or _automatic_pool(
        asked, machine, used_bytes, block_bytes, wanted_blocks, scheduler.max_num_seqs
    )
    decisions = []
    length = wanted_len
    if pool.num_blocks < wanted_blocks:
        length = pool.num_blocks * block_size
        if is_exact_len or length < 1:
            raise ConfigError(_does_not_fit(wanted_len, length, pool, is_exact_len), setting="max_model_len")
        reason = f"the model allows {wanted_len}, the KV cache holds {length} tokens"
        decisions.append(Decision("max-model-len", str(length), reason, "--max-model-len"))
    elif not is_exact_len:
        reason = "the model's own limit, one such sequence fits the KV cache"
        decisions.append(Decision("max-model-len", str(length), reason, "--max-model-len"))
    kv_bytes = pool.num_blocks * block_bytes
    amount = f"{pool.num_blocks * block_size} tokens ({pool.num_blocks} blocks, {describe_bytes(kv_bytes)})"
    decisions.append(Decision("kv-cache", amount, pool.reason, pool.override))
    cache = CacheConfig(
        block_size=block_size,
        num_blocks=pool.num_blocks,
        dtype=kv.format.dtype,
        has_scales=kv.format.has_scales,
        own_dtype_layers=kv.own_layers,
        enable_prefix_caching=asked["enable_prefix_caching"],
        hash_algorithm=asked["prefix_caching_hash_algo"],
    )
    plan = MemoryPlan(
        weight_bytes=weight_bytes(card, dtype, quantization),
        kv_bytes=kv_bytes,
        headroom_bytes=headroom_bytes(card, scheduler, dtype),
        available_bytes=machine.memory_available_bytes,
        total_bytes=machine.memory_total_bytes,
    )
    return length, cache, plan, decisions


def _without_kv(
    asked: Asked,
    card: ModelCard,
    machine: Machine,
    dtype: Dtype,
    scheduler: SchedulerConfig,
    quantization: str,
) -> tuple[int, CacheConfig, MemoryPlan, list[Decision]]:
    """Of an encoder, which keeps nothing between steps."""
    length, is_exact = _wanted_length(asked, card)
    reason = "the longest text its files allow; an encoder has no KV cache"
    decisions = [] if is_exact else [Decision("max-model-len", str(length), reason, "--max-model-len")]
    cache = CacheConfig(
        block_size=asked["block_size"], num_blocks=0, dtype=dtype, enable_prefix_caching=False
    )
    plan = MemoryPlan(
        weight_bytes=weight_bytes(card, dtype, quantization),
        kv_bytes=0,
        headroom_bytes=headroom_bytes(card, scheduler, dtype),
        available_bytes=machine.memory_available_bytes,
        total_bytes=machine.memory_total_bytes,
    )
    return length, cache, plan, decisions


def within_text_length(card: ModelCard, asked: Asked) -> ModelCard:
    """The card with its context cut to the length that sentence-transformers' files name, unless another was asked
    for."""
    longest = card.pooling.max_tokens
    if longest is None or asked["max_model_len"] not in (None, -1):
        return card
    return msgspec.structs.replace(card, max_model_len=min(card.max_model_len, longest))


def headroom_bytes(card: ModelCard, scheduler: SchedulerConfig, dtype: Dtype) -> int:
    """Working memory of a step: the runtime, the widest activations, float32 logits of every sequence.

    18 hidden widths cover what a recorded forward pass holds at once: residual, norms, and an MLP of up to 4 times
    the width with gate and product; 3 logit rows are the logits, their log-probabilities and one temporary.
    Experts in place of the MLP hold gate, up, product and result of each that a token goes through.
    """
    widths = card.hidden_size * 18
    if card.experts is not None:
        inner = card.experts.chosen * (3 * card.experts.width + card.hidden_size)
        widths = max(widths, card.hidden_size * 6 + inner)
    activations = scheduler.max_num_batched_tokens * widths * DTYPE_BYTES[dtype]
    logits = scheduler.max_num_seqs * card.vocab_size * 4 * 3
    return RUNTIME_BYTES + activations + logits


def _wanted_length(asked: Asked, card: ModelCard) -> tuple[int, bool]:
    """(tokens, whether the user named the number)."""
    given = asked["max_model_len"]
    if given is None or given == -1:
        return card.max_model_len, False
    if given > card.max_model_len and not asked["allow_long_max_model_len"]:
        raise ConfigError(
            f"--max-model-len {given} is beyond the {card.max_model_len} tokens {card.name} was made for; give at "
            f"most {card.max_model_len}, or set VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 to try all the same",
            setting="max_model_len",
        )
    if given > card.max_model_len and card.model_type in LEARNED_POSITIONS:
        raise ConfigError(
            f"--max-model-len {given} is impossible: {card.name} has a learned embedding for each of its "
            f"{card.max_model_len} positions and none beyond",
            setting="max_model_len",
        )
    return given, True


def _exact_pool(asked: Asked, block_bytes: int) -> _Pool | None:
    """The pool the user named, if so; a number of blocks before bytes, bytes before GiB."""
    if asked["num_gpu_blocks_override"]:
        flag = "--num-gpu-blocks-override"
        return _Pool(asked["num_gpu_blocks_override"], f"{flag} names the number of blocks", flag, True)
    if asked["kv_cache_memory_bytes"]:
        flag = "--kv-cache-memory-bytes"
        return _Pool(asked["kv_cache_memory_bytes"] // block_bytes, f"{flag} names the size", flag, True)
    if asked["cpu_kvcache_space"]:
        source = asked.origin("cpu_kvcache_space")[1]
        blocks = asked["cpu_kvcache_space"] * GIB // block_bytes
        return _Pool(blocks, f"{source} names the size", source, True)
    return None


def _automatic_pool(
    asked: Asked, machine: Machine, used_bytes: int, block_bytes: int, wanted_blocks: int, max_num_seqs: int
) -> _Pool:
    """As many blocks as a share of the available memory holds, and no more than the most requests can fill."""
    flag = "--gpu-memory-utilization"
    share = asked["gpu_memory_utilization"] or DEFAULT_SHARE
    most_blocks = wanted_blocks * max_num_seqs

    def fitting(of_memory: float) -> int:
        return max(0, int(machine.memory_available_bytes * of_memory) - used_bytes) // block_bytes

    num_blocks = fitting(share)
    if num_blocks < wanted_blocks and not asked.is_given("gpu_memory_utilization"):
        share, num_blocks = LARGEST_SHARE, min(wanted_blocks, fitting(LARGEST_SHARE))
        amount = describe_bytes(machine.memory_available_bytes)
        return _Pool(
            num_blocks, f"up to {share:.0%} of the {amount} available, for one full context", flag, False
        )
    if num_blocks >= most_blocks:
        reason = f"enough for {max_num_seqs} sequences of full length"
        return _Pool(most_blocks, reason, "--kv-cache-memory-bytes", False)
    amount = describe_bytes(machine.memory_available_bytes)
    return _Pool(num_blocks, f"{share:.0%} of the {amount} available, less weights and headroom", flag, False)


def _does_not_fit(wanted_len: int, held_len: int, pool: _Pool, is_exact_len: bool) -> str:
    """The sentence for a context that the pool cannot hold."""
    smaller = f"lower --max-model-len to {held_len} or less" if held_len and is_exact_len else ""
    if pool.is_exact:
        larger = f"raise {pool.override}"
    else:
        larger = "raise --gpu-memory-utilization, set --kv-cache-memory-bytes, or take a smaller model"
    held = f"{held_len} tokens" if held_len else "not one block"
    return (
        f"one sequence of --max-model-len {wanted_len} tokens does not fit the KV cache, which holds {held} "
        f"({pool.reason}): {', or '.join(filter(None, (smaller, larger)))}"
    )


def _blocks(num_tokens: int, block_size: int) -> int:
    return -(-num_tokens // block_size)


def describe_bytes(amount: int) -> str:
    """1536 → "1.5 KiB"."""
    value = float(amount)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{amount} B" if unit == "B" else f"{value:.1f} {unit}"
