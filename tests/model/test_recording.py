"""A recorded forward pass gives the network's own bits, for every family, dtype and mix of chunks, and what cannot be
recorded is named."""

from __future__ import annotations

import itertools
from array import array
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from quire.model import ops
from quire.model.kernels import Unrecordable
from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.arena import Span, place
from quire.model.layers import AttentionBatch, CausalLM, LayerKV, StepInput
from quire.model.loading import load_model
from quire.model.recording import Head, Recording, record
from tests.model.tiny import SHAPES, Driver, engine_config, load_tiny, random_prompts, tiny_checkpoint
from tests.model.tiny_encoders import SHAPES as ENCODERS
from tests.model.tiny_encoders import (
    encoder_checkpoint,
    load_encoder,
    random_texts,
    tiny_encoder,
    whole_sequences,
)

CAPACITY = 48
LENGTHS = (3, 70, 1, 41)

pytestmark = pytest.mark.skipif(bool(native.refusal()), reason=native.refusal())

CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    *((family, "float32", "", {}) for family in SHAPES),
    ("opt", "float32", "", {"do_layer_norm_before": False, "word_embed_proj_dim": 32}),
    ("gpt_neox", "float32", "", {"use_parallel_residual": False, "tie_word_embeddings": True}),
    ("qwen3", "bfloat16", "", {"tie_word_embeddings": True}),
    ("gemma2", "bfloat16", "", {}),
    ("gpt2", "bfloat16", "", {}),
    ("qwen3", "bfloat16", "int8", {"tie_word_embeddings": True}),
    ("gpt_neox", "float32", "int8", {}),
    ("llama", "float16", "", {}),
    ("qwen3_moe", "bfloat16", "", {}),
    ("olmoe", "bfloat16", "int8", {}),
    ("mixtral", "float32", "int4-32", {}),
]


def poison(recording: Recording) -> None:
    """Every byte that a replay may read must be one that it has written."""
    memory = recording._tape.arena.memory  # type: ignore[attr-defined]
    memory[:] = b"\xff" * len(memory)  # NaN in every floating type


@pytest.mark.parametrize(("family", "dtype", "scheme", "config"), CASES)
def test_same_bits_as_the_network(
    family: str, dtype: str, scheme: str, config: dict[str, Any], tmp_path: Path
) -> None:
    asked = engine_config(tiny_checkpoint(family, tmp_path / family, **config), dtype=dtype)
    network = load_model(msgspec.structs.replace(asked, quantization=scheme))
    prompts = random_prompts(LENGTHS)
    own = Driver(network, getattr(torch, dtype)).run(prompts, 11)
    driver = Driver(network, getattr(torch, dtype), seed=5)
    recording = record(network, driver.caches, CAPACITY)

    def forward(step: StepInput) -> Tensor:
        poison(recording)
        return recording(step)

    driver.forward = forward
    for chunk in (1, 11, 12):
        driver.free = list(range(128))
        for got, want in zip(driver.run(prompts, chunk), own, strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize("family", SHAPES)
def test_the_recorded_head_has_the_same_bits(family: str, tmp_path: Path) -> None:
    network = load_tiny(tiny_checkpoint(family, tmp_path / family))
    driver = Driver(network, torch.float32)
    recording = record(network, driver.caches, CAPACITY)
    head = recording.head(network, 7)
    assert isinstance(head, Head)
    tokens = 20
    hidden_TH = recording._hidden_TH[:tokens].copy_(torch.randn(tokens, recording._hidden_TH.shape[1]))
    for rows in (
        [4, 0, 7, 3, 19, 2, 1],
        [6],
        range(5, 8),
        range(8),
    ):  # the last ones are more than were recorded
        for given_TH in (hidden_TH, hidden_TH.clone()):  # none of the recording's
            with torch.no_grad():
                expected = network.logits(hidden_TH[torch.tensor(rows)])
                assert torch.equal(head(given_TH, rows), expected)


def recorded_head(family: str, scheme: str, tmp_path: Path) -> tuple[CausalLM, Head, StepInput]:
    """A network in bfloat16, its head recorded for 7 rows, and a step of 12 tokens."""
    asked = engine_config(tiny_checkpoint(family, tmp_path / family), dtype="bfloat16")
    network = load_model(msgspec.structs.replace(asked, quantization=scheme))
    assert isinstance(network, CausalLM)
    driver = Driver(network, torch.bfloat16)
    head = record(network, driver.caches, CAPACITY).head(network, 7)
    assert head is not None
    return network, head, step_of(12, driver.caches)


@pytest.mark.parametrize("scheme", ["", "int8", "int4-32"])
def test_forward_pass_and_head_in_one_call(scheme: str, tmp_path: Path) -> None:
    network, head, step = recorded_head("qwen3", scheme, tmp_path)
    with torch.no_grad():
        expected = network.logits(network(step)[torch.tensor([11, 3])])
    best_R = expected.argmax(dim=1)
    for rows, want_RV, first_R in (([11, 3], expected, best_R), ([3], expected[1:], best_R[1:])):
        logits_RV, peaks = head.after(step, rows)
        assert torch.equal(logits_RV, want_RV)
        assert peaks == list(zip(want_RV.amax(dim=1).tolist(), first_R.tolist(), strict=True))
    with pytest.raises(ValueError, match="logits of 8 rows; 7 were recorded"):
        head.after(step, range(8))
    with pytest.raises(IndexError, match=f"row index out of the table's {CAPACITY} rows"):
        head.after(step, [CAPACITY])


@pytest.mark.parametrize("scheme", ["", "int8", "int4-32"])
@pytest.mark.parametrize(
    ("family", "is_head_alone"), [("qwen3", True), ("opt", True), ("cohere", False), ("gemma2", False)]
)
def test_the_highest_logits_are_found_without_the_others(
    family: str, is_head_alone: bool, scheme: str, tmp_path: Path
) -> None:
    _, head, step = recorded_head(family, scheme, tmp_path)
    assert (head._alone is not head._whole) == (is_head_alone and not scheme.startswith("int4"))
    for rows in ([11, 3, 0, 5], [7]):
        _, want = head.after(step, rows)
        head._logits_RV.fill_(torch.nan)
        assert head.peaks_after(step, rows) == want
        assert bool(head._logits_RV.isnan().all()) == (head._alone is not head._whole)


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_encoders_have_the_same_bits(family: str, dtype: str, tmp_path: Path) -> None:
    network = load_encoder(encoder_checkpoint(tiny_encoder(family), tmp_path / family), dtype=dtype)
    recording = record(network, [], CAPACITY)
    for lengths, is_pair in (((3, 20, 1), False), ((20, 11), True), ((48,), False)):
        prompts = random_texts(lengths)
        step = whole_sequences(prompts, [[0, *[1] * (len(row) - 1)] for row in prompts] if is_pair else None)
        poison(recording)
        with torch.no_grad():
            assert torch.equal(recording(step), network(step))


def small(tmp_path: Path) -> Driver:
    return Driver(load_tiny(tiny_checkpoint("llama", tmp_path / "llama")), torch.float32)


def step_of(tokens: int, caches: list[LayerKV], *, first_id: int = 0, block: int = 0) -> StepInput:
    indices = torch.arange(tokens)
    batch = AttentionBatch([0, tokens], [tokens], [[block] * -(-tokens // 16)], 16)
    parts = indices % 16 + first_id, indices, indices % 16
    return StepInput(*(array("q", part.tolist()) for part in parts), batch, caches)


def test_recording_runs_nothing_and_allocates_little(tmp_path: Path) -> None:
    driver = small(tmp_path)
    recording = record(driver.network, driver.caches, CAPACITY)
    assert all(cache.key.isnan().all() for cache in driver.caches)  # nothing was written
    layers = len(driver.caches)
    assert len(recording) > 10 * layers
    arena = recording._tape.arena  # type: ignore[attr-defined]
    assert len(arena.memory) < sum(span.num_bytes for span in arena.spans) / layers


def test_more_tokens_than_recorded(tmp_path: Path) -> None:
    driver = small(tmp_path)
    recording = record(driver.network, driver.caches, CAPACITY)
    with pytest.raises(ValueError, match=f"a step of {CAPACITY + 1} tokens; {CAPACITY} were recorded"):
        recording(step_of(CAPACITY + 1, driver.caches))


def test_out_of_range_inputs_never_reach_the_kernels(tmp_path: Path) -> None:
    driver = small(tmp_path)
    recording = record(driver.network, driver.caches, CAPACITY)
    with pytest.raises(IndexError, match="row index out of the table's 160 rows"):
        recording(step_of(4, driver.caches, first_id=159))
    with pytest.raises(ValueError, match="a cache of 128 blocks"):
        recording(step_of(4, driver.caches, block=128))


class Computes(CausalLM):
    """A network that does something no backend has an op for."""

    def forward(self, step: StepInput) -> Tensor:
        return torch.cumsum(step.token_ids_T, 0)

    def logits(self, hidden_RD: Tensor) -> Tensor:
        raise NotImplementedError

    def weights(self) -> Any:
        raise NotImplementedError


class Pooled(Computes):
    """Its number of rows is not a multiple of the tokens'."""

    def forward(self, step: StepInput) -> Tensor:
        return ops.soft_cap(torch.empty(3, 8), 1.0)


@pytest.mark.parametrize(
    ("network", "reason"), [(Computes(), "aten.cumsum"), (Pooled(), "pointwise has 3 rows for 48 tokens")]
)
def test_what_cannot_be_recorded_is_named(network: CausalLM, reason: str, tmp_path: Path) -> None:
    caches = small(tmp_path).caches
    with pytest.raises(Unrecordable, match=reason):
        record(network, caches, CAPACITY)
    assert ops.soft_cap(torch.zeros(1), 1.0).item() == 0.0  # calls are made again


PAGE = 4096


@pytest.mark.parametrize(
    ("times", "pages"),
    [
        ([(0, 1, 3), (2, 3, 3), (4, 4, 2)], 3),  # one after another: the same place
        ([(0, 2, 3), (2, 3, 2)], 5),  # a call reads the one and writes the other
        ([(0, 9, 1), (1, 2, 6), (2, 3, 3), (3, 4, 1), (4, 5, 4), (5, 6, 2)], 10),
        ([(0, 3, 2), (1, 1, 8), (3, 4, 4), (4, 9, 4)], 10),
    ],
)
def test_spans_share_places_unless_their_times_meet(times: list[tuple[int, int, int]], pages: int) -> None:
    spans = [Span(0, size * PAGE, first, last) for first, last, size in times]
    assert place(spans) == pages * PAGE
    for one, other in itertools.combinations(spans, 2):
        if one.first <= other.last and other.first <= one.last:
            assert one.place + one.num_bytes <= other.place or other.place + other.num_bytes <= one.place
