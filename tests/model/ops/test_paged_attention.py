"""Paged attention against softmax attention in float64, and bit for bit against itself in other company."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from quire.model.ops import AttentionBatch, LayerKV, kv_write, paged_attention

LENGTHS = (300, 17, 129, 256, 1, 64)


@dataclass(frozen=True)
class Setup:
    """One attention layer's shape."""

    heads: int
    kv_heads: int
    head_dim: int
    window: int = 0
    soft_cap: float = 0.0
    block_size: int = 16
    dtype: torch.dtype = torch.float32
    cache: torch.dtype | None = None  # the activations' unless given
    has_scales: bool = False
    is_biased: bool = False  # with slopes and sinks

    @property
    def slopes(self) -> Tensor | None:
        return torch.linspace(0.5, 0.01, self.heads) if self.is_biased else None

    @property
    def sinks(self) -> Tensor | None:
        return torch.linspace(-3, 3, self.heads) if self.is_biased else None

    def new_cache(self, num_blocks: int) -> LayerKV:
        """Keys, values and their scales, all NaN where the type has one."""
        shape = (num_blocks, self.block_size, self.kv_heads, self.head_dim)
        dtype = self.cache or self.dtype
        nothing = 127 if dtype is torch.int8 else torch.nan
        caches = [torch.full(shape, nothing).to(dtype) for _ in "kv"]
        return LayerKV(
            *caches, *(torch.full(shape[:3], torch.nan) if self.has_scales else None for _ in "kv")
        )

    @property
    def scale(self) -> float:
        return self.head_dim**-0.5


SETUPS = [
    Setup(8, 2, 32),
    Setup(4, 4, 64, window=50),
    Setup(3, 1, 80, soft_cap=20.0, block_size=24),
    Setup(16, 8, 32, window=128, dtype=torch.bfloat16),
    Setup(4, 1, 16, dtype=torch.float16),
    Setup(6, 2, 48, is_biased=True),
    Setup(6, 2, 48, window=60, soft_cap=10.0, is_biased=True, dtype=torch.bfloat16),
    Setup(4, 2, 128, dtype=torch.bfloat16, cache=torch.float32),
    Setup(4, 2, 64, dtype=torch.bfloat16, cache=torch.float16),
    Setup(4, 2, 32, cache=torch.bfloat16),
    Setup(8, 2, 40, dtype=torch.bfloat16, cache=torch.int8, has_scales=True),
    Setup(8, 2, 64, window=50, cache=torch.int8, has_scales=True),
    Setup(8, 2, 64, dtype=torch.bfloat16, cache=torch.float8_e4m3fn, has_scales=True),
    Setup(4, 2, 32, cache=torch.float8_e4m3fn),
    Setup(4, 2, 64, block_size=24, dtype=torch.bfloat16, cache=torch.float8_e5m2),
    Setup(4, 4, 32, dtype=torch.float16, cache=torch.float8_e5m2),
]


class Sequences:
    """Random queries, keys and values of a few sequences, and a cache with a random block layout."""

    def __init__(self, setup: Setup, lengths: tuple[int, ...] = LENGTHS) -> None:
        torch.manual_seed(0)
        self.setup, self.lengths = setup, lengths

        def rows(heads: int) -> list[Tensor]:
            return [torch.randn(length, heads, setup.head_dim).to(setup.dtype) for length in lengths]

        self.query, self.key, self.value = rows(setup.heads), rows(setup.kv_heads), rows(setup.kv_heads)
        counts = [-(-length // setup.block_size) for length in lengths]
        ids = torch.randperm(sum(counts)).tolist()
        self.num_blocks = len(ids)
        self.tables = [[ids.pop() for _ in range(count)] for count in counts]

    def exact(self, index: int) -> Tensor:
        """Plain softmax attention in float64, over keys and values as their cache holds them."""
        setup, group = self.setup, self.setup.heads // self.setup.kv_heads
        key, value = (part.double().repeat_interleave(group, 1) for part in self._cached(index))
        scores = torch.einsum("tnh,snh->nts", self.query[index].double(), key) * setup.scale
        if setup.soft_cap:
            scores = setup.soft_cap * torch.tanh(scores / setup.soft_cap)
        place = torch.arange(self.lengths[index])
        hidden = place[None] > place[:, None]
        if setup.window:
            hidden |= place[None] <= place[:, None] - setup.window
        if setup.slopes is not None:
            scores -= setup.slopes.view(-1, 1, 1) * (place[:, None] - place[None])
        scores.masked_fill_(hidden, -torch.inf)
        if setup.sinks is not None:  # one place more, whose value is zero
            scores = torch.cat((scores, setup.sinks.view(-1, 1, 1).expand(-1, len(place), 1)), 2)
            value = torch.cat((value, torch.zeros_like(value[:1])))
        return torch.einsum("nts,snh->tnh", scores.softmax(-1), value)

    def _cached(self, index: int) -> list[Tensor]:
        """The sequence's keys and values, rounded to the cache's type."""
        length = self.lengths[index]
        cache = self.setup.new_cache(-(-length // self.setup.block_size))
        kv_write.reference(self.key[index], self.value[index], torch.arange(length), cache)
        found = []
        for part, scales in zip(cache[:2], cache[2:], strict=True):
            wide = part.float() if scales is None else part.float() * scales.unsqueeze(-1)
            found.append(wide.flatten(0, 1)[:length])
        return found

    def run(self, chosen: list[int], chunk: int, seed: int = 0) -> dict[int, Tensor]:
        """Outputs of the chosen sequences, fed in chunks of `chunk` or one token, in changing company."""
        setup, chooser = self.setup, random.Random(seed)
        cache = setup.new_cache(self.num_blocks)
        done = dict.fromkeys(chosen, 0)
        outputs: dict[int, list[Tensor]] = {index: [] for index in chosen}
        while waiting := [index for index in chosen if done[index] < self.lengths[index]]:
            chooser.shuffle(waiting)
            spans = []
            for index in waiting[: chooser.randint(1, len(waiting))]:
                size = chooser.choice((1, chunk)) if chunk < 1000 else chunk
                spans.append((index, done[index], min(done[index] + size, self.lengths[index])))
                done[index] = spans[-1][2]
            for (index, _, _), part in zip(spans, self._step(spans, cache), strict=True):
                outputs[index].append(part)
        return {index: torch.cat(parts) for index, parts in outputs.items()}

    def _step(self, spans: list[tuple[int, int, int]], cache: LayerKV) -> tuple[Tensor, ...]:
        setup, size = self.setup, self.setup.block_size
        sizes = [end - start for _, start, end in spans]
        slots = [
            self.tables[index][place // size] * size + place % size
            for index, start, end in spans
            for place in range(start, end)
        ]

        def gather(rows: list[Tensor]) -> Tensor:
            return torch.cat([rows[index][start:end] for index, start, end in spans])

        kv_write(gather(self.key), gather(self.value), torch.tensor(slots), cache)
        batch = AttentionBatch(
            query_starts=[sum(sizes[:count]) for count in range(len(sizes) + 1)],
            context_lens=[end for _, _, end in spans],
            block_tables=[self.tables[index][: -(-end // size)] for index, _, end in spans],
            block_size=size,
        )
        output = paged_attention(
            gather(self.query),
            cache,
            batch,
            scale=setup.scale,
            window=setup.window,
            soft_cap=setup.soft_cap,
            slopes_N=setup.slopes,
            sinks_N=setup.sinks,
        )
        return output.split(sizes)


@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_equals_softmax_attention(setup: Setup) -> None:
    sequences = Sequences(setup)
    together = sequences.run(list(range(len(LENGTHS))), 1000)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}[setup.dtype]
    for index, output in together.items():
        assert output.dtype == setup.dtype
        torch.testing.assert_close(output.double(), sequences.exact(index), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_same_bits_whatever_the_batch_and_the_chunks(setup: Setup) -> None:
    sequences = Sequences(setup)
    everyone = list(range(len(LENGTHS)))
    together = sequences.run(everyone, 1000)
    for index in everyone:
        assert torch.equal(sequences.run([index], 1000)[index], together[index])
    for chunk in (1, 7, 64):
        for index, output in sequences.run(everyone, chunk, seed=chunk).items():
            assert torch.equal(output, together[index])


def test_token_by_token_has_the_bits_of_the_whole_prompt() -> None:
    sequences = Sequences(Setup(4, 2, 32), lengths=(140, 9))
    together = sequences.run([0, 1], 1000)
    for index, output in sequences.run([0, 1], 1).items():
        assert torch.equal(output, together[index])


def test_groups_of_work_leave_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = Sequences(Setup(8, 2, 32))
    together = sequences.run([0, 1, 2, 3], 1000)
    module = sys.modules["quire.model.ops.paged_attention"]  # the door's name of it is the op
    monkeypatch.setattr(module, "SCORE_BYTES", 1)
    monkeypatch.setattr(module, "GATHER_BYTES", 1)
    for index, output in sequences.run([0, 1, 2, 3], 1000).items():
        assert torch.equal(output, together[index])


def test_a_sequence_of_nan_leaves_its_neighbours_alone() -> None:
    sequences = Sequences(Setup(4, 2, 32), lengths=(30, 40))
    clean = sequences.run([0, 1], 1000)[1]
    sequences.value[0][:] = torch.nan
    sequences.key[0][:] = torch.inf
    outputs = sequences.run([0, 1], 1000)
    assert outputs[0].isnan().all()
    assert torch.equal(outputs[1], clean)


def test_number_of_torch_calls_does_not_grow_with_decoding_sequences() -> None:
    def count(num_sequences: int) -> int:
        sequences = Sequences(Setup(4, 2, 16), lengths=(20,) * num_sequences)
        cache = LayerKV(*(torch.zeros(sequences.num_blocks, 16, 2, 16) for _ in range(2)))
        batch = AttentionBatch(list(range(num_sequences + 1)), [20] * num_sequences, sequences.tables, 16)
        query = torch.zeros(num_sequences, 4, 16)
        paged_attention(query, cache, batch, scale=1.0)  # the plan of the work is made once for all layers
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            paged_attention(query, cache, batch, scale=1.0)
        return sum(event.count for event in profile.key_averages())

    assert count(16) == count(2)
