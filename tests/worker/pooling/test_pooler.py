"""Pooler: however prompts are cut, packed and computed again, each gets the numbers it gets whole and alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quire.base.config import PoolerConfig
from quire.base.messages import Chunk, PoolingParams, SampledRow, SequenceStart
from quire.model.layers import Network, PooledNetwork, StepInput
from quire.model.weight_map import Source, WeightMap
from quire.worker.pooling import Pooler

WIDTH = 12
KINDS = ("CLS", "LAST", "MEAN", "ALL")


class Trunk(Network):
    """Stands for any network: the pooler is given its hidden states by the tests."""

    cache_shapes = []

    def forward(self, step: StepInput) -> Tensor:
        raise AssertionError("never run")

    def weights(self) -> WeightMap:
        return WeightMap({})


def pooler_of(**fields) -> Pooler:
    config = PoolerConfig(**{"task": "embed", "tasks": [], "sequence": "LAST", "tokens": "ALL", **fields})
    network = PooledNetwork(Trunk(), config, WIDTH)
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.copy_(torch.randn_like(parameter))
    return Pooler(network, config)


def start(sequence_id: int, length: int, **wishes) -> SequenceStart:
    pooling = PoolingParams(**{"task": "embed", "use_activation": True, **wishes})
    token_ids = [(sequence_id + place) % 5 for place in range(length)]
    return SequenceStart(
        sequence_id=sequence_id,
        token_ids=token_ids,
        num_prompt_tokens=length,
        sampling=None,
        seed=0,
        pooling=pooling,
    )


def rows(sequence_id: int, length: int) -> Tensor:
    return torch.randn(length, WIDTH, generator=torch.Generator().manual_seed(sequence_id))


def step(pooler: Pooler, spans: list[tuple[int, int, int, int]]) -> list[SampledRow]:
    """One step of (sequence, start, end, length) spans, packed; the states are overwritten after it."""
    chunks = [
        Chunk(
            sequence_id=sequence_id,
            token_ids=[0] * (end - begin),
            start=begin,
            block_ids=[],
            num_samples=int(end == length),
        )
        for sequence_id, begin, end, length in spans
    ]
    hidden_TH = torch.cat([rows(s, length)[begin:end] for s, begin, end, length in spans])
    sizes = [end - begin for _, begin, end, _ in spans]
    found = pooler.pool(chunks, hidden_TH, [sum(sizes[:count]) for count in range(len(sizes) + 1)])
    hidden_TH.fill_(torch.nan)
    return found


def numbers(row: SampledRow) -> np.ndarray:
    assert row.error is None and row.pooled is not None
    return np.frombuffer(row.pooled.data, np.float32).reshape(row.pooled.shape)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 10**6),
)
def test_the_cut_and_the_company_change_nothing(lengths, kind, seed):
    task = "token_embed" if kind == "ALL" else "embed"
    chooser = random.Random(seed)
    pooler = pooler_of(**({} if kind == "ALL" else {"sequence": kind}))
    alone = {}
    for sequence_id, length in enumerate(lengths):
        pooler.start(start(sequence_id, length, task=task))
        (row,) = step(pooler, [(sequence_id, 0, length, length)])
        alone[sequence_id] = numbers(row)
        pooler.start(start(sequence_id, length, task=task))
    done = dict.fromkeys(range(len(lengths)), 0)
    packed = {}
    while done:
        chosen = chooser.sample(sorted(done), chooser.randint(1, len(done)))
        spans = []
        for sequence_id in chosen:
            begin, length = done[sequence_id], lengths[sequence_id]
            spans.append((sequence_id, begin, chooser.randint(begin + 1, length), length))
        if chooser.random() < 0.3:
            step(pooler, spans)  # a step that fails elsewhere comes again
        for row in step(pooler, spans):
            packed[row.sequence_id] = numbers(row)
        for sequence_id, _, end, length in spans:
            done[sequence_id] = end
            if end == length:
                del done[sequence_id]
            elif chooser.random() < 0.1:
                done[sequence_id] = 0  # preempted
    assert all(np.array_equal(alone[sequence_id], packed[sequence_id]) for sequence_id in alone)


def test_each_kind_is_what_its_name_says():
    states = rows(3, 7).numpy()
    expected = {"CLS": states[0], "LAST": states[-1], "MEAN": states.mean(0)}
    for kind, vector in expected.items():
        pooler = pooler_of(sequence=kind)
        pooler.start(start(3, 7, use_activation=False))
        np.testing.assert_allclose(numbers(step(pooler, [(3, 0, 7, 7)])[0]), vector, rtol=1e-6)
        pooler.start(start(3, 7, dimensions=4))
        cut = vector[:4] / np.linalg.norm(vector[:4])
        np.testing.assert_allclose(numbers(step(pooler, [(3, 0, 7, 7)])[0]), cut, rtol=1e-5)


def test_scores_are_shifted_scaled_and_activated_and_picked():
    states = rows(1, 6)
    for activation in ("identity", "sigmoid", "softmax"):
        fields = {"task": "token_classify", "tokens": "STEP", "head": "token", "num_labels": 3}
        pooler = pooler_of(**fields, activation=activation, logit_mean=0.5, logit_sigma=2.0)
        head = pooler._network.own_head
        pooler.start(start(1, 6, task="token_classify", step_tag_id=2, returned_token_ids=[2, 0]))
        logits = (states @ head.weight.T + head.bias - 0.5) / 2.0
        whole = {"identity": logits, "sigmoid": logits.sigmoid(), "softmax": logits.softmax(-1)}[activation]
        found = numbers(step(pooler, [(1, 0, 6, 6)])[0])
        np.testing.assert_allclose(found, whole[[1]][:, [2, 0]].numpy(), atol=1e-5)  # token 2 stands second


def test_what_is_not_finite_fails_alone():
    pooler = pooler_of()
    for sequence_id in (0, 1):
        pooler.start(start(sequence_id, 2))
    chunks = [Chunk(sequence_id=s, token_ids=[0, 0], start=0, block_ids=[], num_samples=1) for s in (0, 1)]
    hidden_TH = torch.cat([rows(0, 2), torch.full((2, WIDTH), torch.nan)])
    good, bad = pooler.pool(chunks, hidden_TH, [0, 2, 4])
    assert numbers(good).shape == (WIDTH,)
    assert bad.error == "the model's hidden states are not finite" and bad.pooled is None


@pytest.mark.parametrize("task", ["embed", "token_embed"])
def test_second_texts_are_told_by_sequence(task):
    pooler = pooler_of()
    pooler.start(start(0, 4, task=task))
    pooler.start(start(1, 4, task=task, segment_start=2))
    chunks = [Chunk(sequence_id=s, token_ids=[0] * 4, start=0, block_ids=[]) for s in (0, 1)]
    assert pooler.segment_starts(chunks) == {1: 2}


def test_a_trunk_keeps_its_names_and_gets_the_prefix_a_bare_checkpoint_leaves_out():
    class Named(Trunk):
        def weights(self) -> WeightMap:
            return WeightMap(
                {"norm.weight": Source(("model.norm.weight",)), "head.weight": Source(("lm_head.weight",))}
            )

    config = PoolerConfig(
        task="classify", tasks=[], sequence="LAST", tokens="ALL", head="sequence", num_labels=2
    )
    weights = PooledNetwork(Named(), config, WIDTH).weights()
    assert weights.sources == {
        "trunk.norm.weight": Source(("model.norm.weight",)),
        "own_head.weight": Source(("score.weight",)),
    }
    assert weights.known_as("norm.weight") == weights.known_as("model.norm.weight") == "model.norm.weight"
    assert weights.known_as("score.weight") == "score.weight" and weights.is_ignored("lm_head.weight")
