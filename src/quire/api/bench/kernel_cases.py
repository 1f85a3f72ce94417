"""The ops at a model's shapes: what to call, and what it has to read and to compute at the least.

Letters of tensor names: T tokens, K inputs, N outputs, H heads, D head_dim.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from quire.base.config import ExpertFacts, ModelCard
from quire.model import ops

COLD_BYTES = 512 << 20  # what a measurement goes through before it comes back to the same bytes
BLOCK_SIZE = 16
Calls = list[Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Case:
    """One op at one shape. `make` gives the same call on different memory, to be run in turn, and fills that memory
    when it is called. `bytes_read` and `operations` are of one call; `number_type` says which arithmetic bounds it,
    empty when none does. `is_cold` says that what is read does not lie in caches."""

    name: str
    make: Callable[[], Calls]
    bytes_read: int
    operations: int = 0
    number_type: str = ""
    is_cold: bool = True


@dataclass(frozen=True, slots=True)
class Dimensions:
    """A model's shapes, as its kernels see them."""

    hidden: int
    mlp: int
    heads: int
    key_heads: int
    head_dim: int
    vocab: int
    experts: ExpertFacts | None = None

    @classmethod
    def of(cls, card: ModelCard) -> Dimensions:
        config = card.hf_config
        heads = config.get("num_attention_heads") or config["n_head"]
        mlp = card.experts.width if card.experts else config.get("intermediate_size") or 4 * card.hidden_size
        return cls(
            card.hidden_size, mlp, heads, card.kv_heads[0], card.head_dim, card.vocab_size, card.experts
        )

    def projections(self) -> dict[str, tuple[int, int]]:
        """(outputs, inputs) by name, as layers stack them; those of an MLP are not there where experts are."""
        return {
            "qkv": ((self.heads + 2 * self.key_heads) * self.head_dim, self.hidden),
            "out": (self.hidden, self.heads * self.head_dim),
            **({} if self.experts else self.mlp_projections()),
            "head": (self.vocab, self.hidden),
        }

    def mlp_projections(self) -> dict[str, tuple[int, int]]:
        """Likewise, of the MLP or of each expert."""
        return {"gate|up": (2 * self.mlp, self.hidden), "down": (self.hidden, self.mlp)}


def all_cases(sizes: Dimensions, rows: list[int], contexts: list[int]) -> Iterator[Case]:
    """In the order in which they are shown."""
    for name in ops.OPS:
        if name.startswith("linear"):
            for dtype in (torch.bfloat16, torch.float32) if name == "linear" else (torch.bfloat16,):
                yield from linear_cases(name, sizes, rows, dtype)
    if sizes.experts:
        for linear in ("linear", "linear_int8", "linear_int4"):
            yield from expert_cases(linear, sizes, sizes.experts, rows)
    for context in contexts:
        for batch in (1, 8):
            yield decode_case(sizes, batch, context)
    for count in rows:
        if count > 1:
            yield prefill_case(sizes, count)
        yield from row_cases(sizes, count)


def linear_cases(name: str, sizes: Dimensions, rows: list[int], dtype: torch.dtype) -> Iterator[Case]:
    """Every projection with every number of rows; the head multiplies only rows that sample, so never many."""
    op = ops.OPS[name]
    found = re.search(r"int(\d+)", name)
    bits = int(found.group(1)) if found else 8 * dtype.itemsize  # scales of quantised weights are not counted
    number_type = "int8" if found else str(dtype).removeprefix("torch.")
    for projection, (outputs, inputs) in sizes.projections().items():
        weight_bytes = outputs * inputs * bits // 8
        copies = max(1, min(300, -(-COLD_BYTES // weight_bytes)))
        shape = (outputs, inputs)
        for count in rows if projection != "head" else [1]:

            def make(shape: tuple[int, int] = shape, copies: int = copies, count: int = count) -> Calls:
                x_TK = noise((count, shape[1]), dtype)
                weights = [op.prepare(noise(shape, dtype)) for _ in range(copies)]
                return [partial(op, x_TK, weight) for weight in weights]

            shown = name if found else f"{name} {number_type}"
            yield Case(
                f"{shown} {projection} {count}×{inputs}→{outputs}",
                make,
                weight_bytes,  # activations lie in caches, as in a step
                2 * count * inputs * outputs,
                number_type,
                copies * weight_bytes >= COLD_BYTES,
            )


def expert_cases(linear: str, sizes: Dimensions, experts: ExpertFacts, rows: list[int]) -> Iterator[Case]:
    """Both projections of a layer's experts, held as `linear` has them. Tokens choose as many experts as they can."""
    bits = {"linear": 16, "linear_int8": 8, "linear_int4": 4}[linear]
    for projection, (outputs, inputs) in sizes.mlp_projections().items():
        weight_bytes = outputs * inputs * bits // 8
        copies = max(1, -(-COLD_BYTES // (weight_bytes * experts.count)))
        for count in rows:
            chosen = count * experts.chosen

            def make(
                shape: tuple[int, int] = (outputs, inputs),
                copies: int = copies,
                chosen: int = chosen,
                input_rows: int = count if projection == "gate|up" else chosen,
            ) -> Calls:
                x_MK = noise((input_rows, shape[1]), torch.bfloat16)
                weights = [
                    ops.grouped_linear.prepare(noise((experts.count, *shape), torch.bfloat16), linear=linear)
                    for _ in range(copies)
                ]
                choices = [
                    (torch.arange(chosen) + first).view(-1, experts.chosen) % experts.count
                    for first in range(0, experts.count, chosen)
                ]
                return [
                    partial(ops.grouped_linear, x_MK, choice, weight)
                    for weight in weights
                    for choice in choices
                ]

            yield Case(
                f"grouped_{linear} {projection} {count}×{experts.chosen} of {experts.count}×{inputs}→{outputs}",
                make,
                weight_bytes * min(chosen, experts.count),
                2 * chosen * inputs * outputs,
                "bfloat16" if linear == "linear" else "int8",
                copies * weight_bytes * experts.count >= COLD_BYTES,
            )


def decode_case(sizes: Dimensions, batch: int, context: int) -> Case:
    """One new token for each of `batch` sequences of `context` tokens."""
    blocks = -(-context // BLOCK_SIZE)
    read = 2 * batch * context * sizes.key_heads * sizes.head_dim * 2
    copies = max(1, min(300, -(-COLD_BYTES // read)))

    def make() -> Calls:
        cache = noise((copies * batch * blocks, BLOCK_SIZE, sizes.key_heads, sizes.head_dim), torch.bfloat16)
        values = cache.clone()
        query = noise((batch, sizes.heads, sizes.head_dim), torch.bfloat16)
        calls: Calls = []
        for copy in range(copies):
            first = [(copy * batch + index) * blocks for index in range(batch)]
            tables = [list(range(start, start + blocks)) for start in first]
            step = ops.AttentionBatch(list(range(batch + 1)), [context] * batch, tables, BLOCK_SIZE)
            calls.append(_attention(query, cache, values, step))
        return calls

    operations = 4 * batch * sizes.heads * context * sizes.head_dim
    name = f"attention decode, {batch} × context {context}"
    return Case(name, make, read, operations, "bfloat16", copies * read >= COLD_BYTES)


def prefill_case(sizes: Dimensions, tokens: int) -> Case:
    """A whole prompt at once; half of the square is hidden."""
    blocks = -(-tokens // BLOCK_SIZE)
    cache = noise((blocks, BLOCK_SIZE, sizes.key_heads, sizes.head_dim), torch.bfloat16)
    query = noise((tokens, sizes.heads, sizes.head_dim), torch.bfloat16)
    step = ops.AttentionBatch([0, tokens], [tokens], [list(range(blocks))], BLOCK_SIZE)
    operations = 4 * sizes.heads * sizes.head_dim * tokens * (tokens + 1) // 2
    call = _attention(query, cache, cache.clone(), step)
    return Case(
        f"attention prefill {tokens}", lambda: [call], 2 * cache.nbytes, operations, "bfloat16", is_cold=False
    )


def _attention(query: Tensor, keys: Tensor, values: Tensor, step: ops.AttentionBatch) -> Callable[[], object]:
    scale = query.shape[-1] ** -0.5
    return lambda: ops.paged_attention(query, ops.LayerKV(keys, values), step, scale=scale)


def row_cases(sizes: Dimensions, count: int) -> Iterator[Case]:
    """What goes over rows of activations; in a step these lie in caches, and here too."""
    hidden = noise((count, sizes.hidden), torch.bfloat16)
    weight = torch.ones(sizes.hidden, dtype=torch.bfloat16)
    yield Case(
        f"rms_norm {count}×{sizes.hidden}",
        lambda: [lambda: ops.rms_norm(hidden, weight, 1e-6)],
        2 * hidden.nbytes,
        is_cold=False,
    )
    heads = noise((count, sizes.heads, sizes.head_dim), torch.bfloat16)
    angles = torch.rand(count, sizes.head_dim // 2)
    cosines, sines = angles.cos(), angles.sin()
    yield Case(
        f"rope {count}×{sizes.heads}×{sizes.head_dim}",
        lambda: [lambda: ops.rope(heads, cosines, sines)],
        2 * heads.nbytes,
        is_cold=False,
    )
    gated = noise((count, 2 * sizes.mlp), torch.bfloat16)
    yield Case(
        f"activation silu {count}×2·{sizes.mlp}",
        lambda: [lambda: ops.activation(gated, "silu", True)],
        3 * gated.nbytes // 2,
        is_cold=False,
    )
    keys = noise((count, sizes.key_heads, sizes.head_dim), torch.bfloat16)
    blocks = -(-count // BLOCK_SIZE)
    cache = noise((blocks, BLOCK_SIZE, sizes.key_heads, sizes.head_dim), torch.bfloat16)
    slots = torch.arange(count)
    yield Case(
        f"kv_write {count}×{sizes.key_heads}×{sizes.head_dim}",
        lambda: [lambda: ops.kv_write(keys, keys, slots, ops.LayerKV(cache, cache))],
        4 * keys.nbytes,
        is_cold=False,
    )


def noise(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Small normal numbers, a block of them repeated: filling memory is not what is measured."""
    count = torch.Size(shape).numel()
    block = (torch.randn(min(count, 1 << 16), generator=torch.Generator().manual_seed(0)) * 0.02).to(dtype)
    return block.repeat(-(-count // len(block)))[:count].view(shape)
