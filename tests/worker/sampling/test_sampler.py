"""The sampler against a plain per-row reference, and its promise that the batch does not matter."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.base.errors import EngineFault, InvalidValue
from quire.base.messages import NAN_IN_LOGITS, PositionLogprobs, SampledRow, SamplingParams, SequenceStart
from quire.model.ops import first_largest
from quire.model.ops.draw_tokens import whole_weights
from quire.worker.sampling import Sampler, SampleRequest
from quire.worker.sampling.randomness import draw_bits

VOCAB = 300  # more than two arg-max blocks, and no multiple of one
EOS = 7


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sequence(
    sequence_id: int = 0,
    prompt: list[int] | None = None,
    outputs: list[int] | None = None,
    *,
    seed: int = 0,
    sample_index: int = 0,
    bad_words: list[list[int]] | None = None,
    **sampling: Any,
) -> SequenceStart:
    prompt = [1, 2, 3] if prompt is None else prompt
    return SequenceStart(
        sequence_id=sequence_id,
        token_ids=prompt + (outputs or []),
        num_prompt_tokens=len(prompt),
        sampling=SamplingParams(**sampling),
        seed=seed,
        sample_index=sample_index,
        eos_token_ids=[EOS],
        bad_words_token_ids=bad_words or [],
    )


def request_for(start: SequenceStart, num_samples: int = 1) -> SampleRequest:
    return SampleRequest(start.sequence_id, num_samples, len(start.token_ids))


def run(
    starts: list[SequenceStart], logits: torch.Tensor, mode: str = "raw_logprobs", num_samples: int = 1
) -> list[SampledRow]:
    sampler = Sampler(logits.shape[1], mode, -1)
    for start in starts:
        sampler.start(start)
    return sampler.sample(logits.clone(), [request_for(start, num_samples) for start in starts])


# The reference: one row, one token at a time, plain Python over numpy float32 scalars.


def reference_changes(start: SequenceStart, logits: np.ndarray) -> np.ndarray:
    sampling, row = start.sampling, logits.copy()
    prompt = start.token_ids[: start.num_prompt_tokens]
    outputs = start.token_ids[start.num_prompt_tokens :]
    for token in range(len(row)):
        if sampling.allowed_token_ids is not None and token not in sampling.allowed_token_ids:
            row[token] = -np.inf
    for word in start.bad_words_token_ids:
        prefix = word[:-1]
        if len(outputs) >= len(prefix) and outputs[len(outputs) - len(prefix) :] == prefix:
            row[word[-1]] = -np.inf
    if len(outputs) < sampling.min_tokens:
        for token in [*start.eos_token_ids, *(sampling.stop_token_ids or [])]:
            row[token] = -np.inf
    for token, bias in (sampling.logit_bias or {}).items():
        row[token] = row[token] + np.float32(bias)
    repetition = np.float32(sampling.repetition_penalty)
    for token in range(len(row)):
        if token in prompt or token in outputs:
            row[token] = row[token] / repetition if row[token] > 0 else row[token] * repetition
        row[token] -= np.float32(sampling.frequency_penalty) * np.float32(outputs.count(token))
        if token in outputs:
            row[token] -= np.float32(sampling.presence_penalty)
    return row


def reference_weights(sampling: SamplingParams, row: np.ndarray) -> list[int]:
    scaled = (row - row.max()) * np.float32(math.log2(math.e) / sampling.temperature)
    scaled = np.maximum(scaled, np.float32(-64))
    # 2**t is the one function whose bits are the op's own; its values are checked below.
    weights = whole_weights(torch.from_numpy(scaled)[None])[0].tolist()
    np.testing.assert_allclose(weights, np.exp2(scaled.astype(np.float64)) * 2**40, rtol=1e-6, atol=1)
    floor = np.float32(math.log2(sampling.min_p)) if sampling.min_p > 0 else -math.inf
    weights = [weight if t >= floor else 0 for weight, t in zip(weights, scaled, strict=True)]
    order = [i for i in sorted(range(len(row)), key=lambda i: (-scaled[i], i)) if weights[i] > 0]
    if sampling.top_k > 0:
        order = order[: sampling.top_k]
    total, above, kept = sum(weights[i] for i in order), 0, set()
    for token in order:
        if above >= Fraction(sampling.top_p) * total:
            break
        kept.add(token)
        above += weights[token]
    return [weight if token in kept else 0 for token, weight in enumerate(weights)]


def reference_token(start: SequenceStart, logits: np.ndarray, sample_index: int | None = None) -> int:
    row = reference_changes(start, logits)
    if start.sampling.is_greedy:
        return min(range(len(row)), key=lambda token: (-row[token], token))
    weights = reference_weights(start.sampling, row)
    index = start.sample_index if sample_index is None else sample_index
    goal = (draw_bits(start.seed, len(start.token_ids), index) * sum(weights)) >> 53
    for token, weight in enumerate(weights):
        goal -= weight
        if goal < 0:
            return token
    raise AssertionError("the draw lies beyond the total")


def reference_logprobs(values: np.ndarray, token: int, number: int) -> PositionLogprobs:
    logprobs = values.astype(np.float64)
    logprobs = logprobs - logprobs.max()
    logprobs = logprobs - math.log(np.exp(logprobs).sum())
    top = sorted(range(len(values)), key=lambda i: (-values[i], i))[:number]
    ids = [token, *top]
    return PositionLogprobs(ids, [logprobs[i] for i in ids], 1 + int((values > values[token]).sum()))


def assert_close(found: PositionLogprobs, expected: PositionLogprobs) -> None:
    assert found.token_ids == expected.token_ids
    assert found.rank == expected.rank
    assert found.logprobs == pytest.approx(expected.logprobs, abs=2e-6)


def random_logits(num_rows: int, seed: int, *, scale: float = 3.0, vocab: int = VOCAB) -> torch.Tensor:
    # Rounded to eighths: ties everywhere, as half-precision models have them.
    noise = torch.randn(num_rows, vocab, generator=torch.Generator().manual_seed(seed))
    return (noise * scale * 8).round() / 8


SINGLE = [
    {"temperature": 0.0},
    {"temperature": 0.3},
    {"temperature": 1.0},
    {"temperature": 1.7},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": VOCAB + 1},
    {"top_k": -1},
    {"top_p": 0.0001},
    {"top_p": 0.5},
    {"top_p": 0.95},
    {"min_p": 0.1},
    {"min_p": 1.0},
    {"top_k": 40, "top_p": 0.7, "min_p": 0.01},
    {"allowed_token_ids": [4, 9, 250]},
    {"min_tokens": 9, "stop_token_ids": [11, 12]},
    {"logit_bias": {5: 100.0, 6: -3.5}},
    {"repetition_penalty": 1.3},
    {"frequency_penalty": 0.7},
    {"presence_penalty": -1.5},
    {"temperature": 0.0, "repetition_penalty": 1.9, "frequency_penalty": 1.1, "presence_penalty": 2.0},
]


@pytest.mark.parametrize("sampling", SINGLE, ids=str)
def test_each_parameter_equals_the_reference(sampling):
    logits = random_logits(24, seed=1)
    starts = [sequence(i, outputs=[5, 9, 5, i], seed=i, **sampling) for i in range(24)]
    tokens = [row.token_ids for row in run(starts, logits)]
    assert tokens == [[reference_token(s, row)] for s, row in zip(starts, logits.numpy(), strict=True)]


def test_bad_words_ban_the_token_that_would_complete_them():
    logits = torch.zeros(1, 16)
    logits[0, [3, 4, 5, 6]] = torch.tensor([9.0, 8.0, 7.0, 6.0])
    words = [[3], [1, 2, 4], [2, 5], [9, 5]]
    for outputs, expected in ([], 4), ([1, 2], 6), ([2], 4), ([1, 9], 4), ([9, 1, 2], 6):
        start = sequence(prompt=[1, 2], outputs=outputs, bad_words=words, temperature=0.0)
        assert run([start], logits)[0].token_ids == [expected], outputs


def test_stop_tokens_wait_for_min_tokens():
    logits = torch.zeros(1, 16)
    logits[0, EOS], logits[0, 3] = 9.0, 8.0
    sampler = Sampler(16, "raw_logprobs", -1)
    sampler.start(sequence(temperature=0.0, min_tokens=2, stop_token_ids=[3, 9999]))
    tokens = [sampler.sample(logits.clone(), [SampleRequest(0, 1, 3 + i)])[0].token_ids[0] for i in range(3)]
    assert tokens == [0, 0, EOS]


def test_penalties_count_tokens_as_they_are_sampled():
    logits = torch.zeros(1, 16)
    logits[0, :3] = torch.tensor([1.0, 0.7, 0.1])
    sampler = Sampler(16, "raw_logprobs", -1)
    sampler.start(sequence(prompt=[0], temperature=0.0, frequency_penalty=0.5))
    tokens = [sampler.sample(logits.clone(), [SampleRequest(0, 1, 1 + i)])[0].token_ids[0] for i in range(4)]
    assert tokens == [0, 1, 0, 1]  # 1, .7, .5, .2: outputs are counted, the prompt is not


def test_penalties_remember_more_tokens_than_fit_at_first():
    outputs = [i for i in range(200) for _ in range(i % 3 + 1)]
    start = sequence(outputs=outputs, frequency_penalty=0.25, repetition_penalty=1.1, temperature=0.5)
    logits = random_logits(1, seed=3)
    assert run([start], logits)[0].token_ids == [reference_token(start, logits[0].numpy())]


TOKEN_LISTS = st.lists(st.integers(0, VOCAB - 1), max_size=8)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0.0, 0.05, 0.7, 1.0, 2.0]),
        "top_k": st.sampled_from([-1, 0, 1, 3, 50, VOCAB]),
        "top_p": st.floats(0.01, 1.0),
        "min_p": st.floats(0.0, 1.0),
        "min_tokens": st.integers(0, 5),
        "repetition_penalty": st.floats(0.5, 2.0),
        "frequency_penalty": st.floats(-2.0, 2.0),
        "presence_penalty": st.floats(-2.0, 2.0),
        "logit_bias": st.dictionaries(st.integers(0, VOCAB - 1), st.floats(-100, 100), max_size=4),
        "allowed_token_ids": st.lists(st.integers(0, VOCAB - 1), min_size=20, max_size=40),
        "logprobs": st.integers(0, 6),
        "bad_words": st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=2), max_size=2),
    },
)


@st.composite
def sequences(draw, sequence_id: int) -> SequenceStart:
    sampling = dict(draw(PARAMETERS))
    return sequence(
        sequence_id,
        draw(TOKEN_LISTS),
        draw(TOKEN_LISTS),
        seed=draw(st.integers(-(2**63), 2**63)),
        sample_index=draw(st.integers(0, 3)),
        bad_words=sampling.pop("bad_words", []),
        **sampling,
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_mix_equals_the_reference_and_each_row_alone(data):
    count = data.draw(st.integers(1, 7))
    starts = [data.draw(sequences(i)) for i in range(count)]
    logits = random_logits(count, data.draw(st.integers(0, 1000)), scale=data.draw(st.sampled_from([0.1, 5])))
    together = run(starts, logits)
    for index, start in enumerate(starts):
        values = logits[index].numpy()
        assert together[index].token_ids == [reference_token(start, values)]
        assert together[index] == run([start], logits[index : index + 1])[0]
        number = start.sampling.logprobs
        if number is not None:
            expected = reference_logprobs(values, together[index].token_ids[0], number)
            assert_close(together[index].logprobs[0], expected)


@pytest.mark.parametrize("vocab", [160, 2048, 151_936])
def test_a_row_does_not_depend_on_its_neighbours_nor_on_threads(vocab):
    kinds: list[dict[str, Any]] = [
        {"temperature": 0.0, "logprobs": 3},
        {"temperature": 0.8, "top_p": 0.95, "logprobs": 2},
        {"temperature": 1.3, "logprobs": 0},
        {"top_k": 50, "min_p": 0.01, "repetition_penalty": 1.2},
    ]
    count = 9 if vocab > 10_000 else 64
    logits = torch.randn(count, vocab, generator=torch.Generator().manual_seed(5)) * 2
    starts = [sequence(i, outputs=[i, 5], seed=i, **kinds[i % 4]) for i in range(count)]
    alone = [run([start], logits[i : i + 1].clone())[0] for i, start in enumerate(starts)]
    assert run(starts, logits) == alone
    backwards = run(starts[::-1], logits.flip(0))
    assert backwards == alone[::-1]
    torch.set_num_threads(2)
    assert run(starts, logits) == alone


@pytest.mark.parametrize("vocab", [5, 129, 256, 300, 2048 + 1])
def test_greedy_takes_the_lowest_of_equal_tokens(vocab):
    for low, high in ((0, vocab - 1), (vocab - 2, vocab - 1), (vocab // 2, vocab // 2 + 1)):
        logits = torch.full((2, vocab), -1.0)
        logits[:, [low, high]] = 3.0
        starts = [sequence(0, temperature=0.0), sequence(1, temperature=0.0, logprobs=1)]
        assert [row.token_ids for row in run(starts, logits)] == [[low], [low]]


def test_samples_of_a_fork_equal_children_started_alone():
    logits = random_logits(1, seed=8, scale=1.0)
    parent = sequence(0, seed=42, temperature=1.0, logprobs=1, n=16)
    rows = run([parent], logits, num_samples=16)
    assert [row.sample_index for row in rows] == list(range(16))
    assert len({row.token_ids[0] for row in rows}) > 4
    for index, row in enumerate(rows):
        child = sequence(0, seed=42, sample_index=index, temperature=1.0, logprobs=1, n=16)
        assert run([child], logits)[0] == row
        assert row.token_ids == [reference_token(parent, logits[0].numpy(), index)]
        assert_close(row.logprobs[0], reference_logprobs(logits[0].numpy(), row.token_ids[0], 1))


def test_a_fork_grows_its_parent_by_the_first_sample():
    logits = random_logits(1, seed=9)
    forked, plain = Sampler(VOCAB, "raw_logprobs", -1), Sampler(VOCAB, "raw_logprobs", -1)
    start = sequence(0, seed=1, presence_penalty=2.0, n=3)
    forked.start(start)
    plain.start(start)
    first = forked.sample(logits.clone(), [SampleRequest(0, 3, 3)])
    assert first[0] == plain.sample(logits.clone(), [SampleRequest(0, 1, 3)])[0]
    later = SampleRequest(0, 1, 4)
    assert forked.sample(logits.clone(), [later]) == plain.sample(logits.clone(), [later])


def test_a_sequence_resumed_after_preemption_goes_on_the_same():
    parameters = {"seed": 3, "frequency_penalty": 0.5, "repetition_penalty": 1.2, "top_p": 0.9}
    sampler = Sampler(VOCAB, "raw_logprobs", -1)
    sampler.start(sequence(0, **parameters))
    logits = random_logits(6, seed=10)
    tokens: list[int] = []
    for step in range(6):
        if step == 4:
            sampler.forget(0)
            sampler.start(sequence(0, outputs=tokens, **parameters))
        row = sampler.sample(logits[step : step + 1].clone(), [SampleRequest(0, 1, 3 + step)])[0]
        expected = reference_token(sequence(0, outputs=tokens, **parameters), logits[step].numpy())
        assert row.token_ids == [expected]
        tokens.append(expected)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda row: row.__setitem__(17, math.nan), "NaN"),
        (lambda row: row.__setitem__(299, math.inf), "+inf"),
        (lambda row: row.fill_(-math.inf), "all -inf"),
    ],
)
def test_a_row_that_is_not_finite_fails_alone(damage, found):
    logits = random_logits(8, seed=11)
    kinds = [{"temperature": 0.0}, {"temperature": 0.0, "logprobs": 2}, {"top_p": 0.9, "logprobs": 1}, {}]
    starts = [sequence(i, seed=i, **kinds[i % 4]) for i in range(8)]
    before = run(starts, logits)
    for broken in range(4):
        damaged = logits.clone()
        damage(damaged[broken])
        after = run(starts, damaged)
        assert found in after[broken].error
        assert after[broken].token_ids == []
        assert after[:broken] + after[broken + 1 :] == before[:broken] + before[broken + 1 :]


def test_a_failed_row_leaves_its_sequence_as_it_was():
    sampler = Sampler(VOCAB, "raw_logprobs", -1)
    start = sequence(0, presence_penalty=1.0, seed=5)
    sampler.start(start)
    broken = torch.full((1, VOCAB), math.nan)
    assert sampler.sample(broken, [SampleRequest(0, 1, 3)])[0].error
    logits = random_logits(1, seed=12)
    assert sampler.sample(logits.clone(), [SampleRequest(0, 1, 3)]) == run([start], logits)


def test_parameters_that_cannot_be_applied_fail_their_row_alone():
    logits = random_logits(4, seed=13)
    good = [sequence(i, seed=i, logit_bias={3: 1.0}) for i in (0, 3)]
    nothing_left = sequence(1, allowed_token_ids=[4], bad_words=[[4]])
    no_end = sequence(2, sample_index=2, allowed_token_ids=[EOS], min_tokens=5)
    rows = run([good[0], nothing_left, no_end, good[1]], logits)
    for row in rows[1:3]:
        assert "all -inf" in row.error
        assert "allowed_token_ids" in row.error
    assert rows[2].sample_index == 2
    assert [rows[0], rows[3]] == run(good, logits[[0, 3]])


def test_penalties_pass_over_prompt_tokens_that_the_model_cannot_say():
    logits = random_logits(1, seed=14)
    start = sequence(prompt=[VOCAB + 5, 4, -1], outputs=[4], temperature=0.0, repetition_penalty=1.5)
    assert run([start], logits)[0].token_ids == [reference_token(start, logits[0].numpy())]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("allowed_token_ids", {"allowed_token_ids": [3, VOCAB]}),
        ("logit_bias", {"logit_bias": {-1: 1.0}}),
        ("bad_words", {"bad_words": [[3, VOCAB]]}),
    ],
)
def test_tokens_outside_the_vocabulary_fail_the_row_by_name(name, parameters):
    start = sequence(0, **parameters)
    assert run([start], torch.zeros(1, VOCAB))[0].error.startswith(f"{name} must name tokens 0 … 299, got")


@pytest.mark.parametrize(
    "sampling", [{"top_p": 0.9}, {"top_k": 7}, {"top_k": 12, "top_p": 0.6}, {"top_p": 0.999}]
)
@pytest.mark.parametrize("vocab", [1021, 4096])
def test_few_likely_tokens_among_many_equal_the_reference(vocab, sampling):
    logits = random_logits(12, seed=18, scale=1.0, vocab=vocab)
    logits[:, [5, 600, 601, vocab - 1]] += torch.tensor([12.0, 12.0, 11.0, 12.5])
    logits[6:, :] = torch.round(logits[6:, :])
    starts = [sequence(i, seed=i, logprobs=4, **sampling) for i in range(12)]
    for start, row, values in zip(
        starts, run(starts, logits, "processed_logprobs"), logits.numpy(), strict=True
    ):
        assert row.token_ids == [reference_token(start, values)]
        weights = np.array(reference_weights(start.sampling, values))
        expected = reference_logprobs(np.where(weights > 0, values, -np.inf), row.token_ids[0], 4)
        assert_close(row.logprobs[0], expected)


def test_rows_without_any_difference_keep_the_lowest_ids():
    starts = [sequence(i, seed=i, top_k=3) for i in range(40)]
    starts += [sequence(i, seed=i, top_p=0.0099, logprobs=2) for i in range(40, 80)]
    rows = run(starts, torch.zeros(80, VOCAB))
    assert {row.token_ids[0] for row in rows} == {0, 1, 2}
    assert all(row.logprobs[0].token_ids[1:] == [0, 1] for row in rows[40:])


def test_an_unknown_sequence_fails_every_sample_of_its_row():
    rows = Sampler(VOCAB, "raw_logprobs", -1).sample(torch.zeros(1, VOCAB), [SampleRequest(5, 2, 3)])
    assert [(row.sequence_id, row.sample_index) for row in rows] == [(5, 0), (5, 1)]
    assert all("never told" in row.error for row in rows)


def test_more_logprobs_than_allowed_fail_the_row_by_name():
    sampler = Sampler(VOCAB, "raw_logprobs", 5)
    for sequence_id, number in enumerate((5, 6, -1)):
        sampler.start(sequence(sequence_id, logprobs=number))
    rows = sampler.sample(torch.zeros(3, VOCAB), [SampleRequest(i, 1, 3) for i in range(3)])
    assert rows[0].error is None
    assert rows[1].error == "logprobs must be at most 5 (--max-logprobs), got 6"
    assert "got -1" in rows[2].error


def test_logprobs_of_the_whole_vocabulary():
    logits = random_logits(1, seed=14)
    row = run([sequence(logprobs=-1, seed=1)], logits)[0]
    expected = reference_logprobs(logits[0].numpy(), row.token_ids[0], VOCAB)
    assert_close(row.logprobs[0], expected)
    assert math.fsum(map(math.exp, row.logprobs[0].logprobs[1:])) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("mode", ["raw_logits", "processed_logits", "processed_logprobs"])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_logprobs_modes_show_logits_before_or_after_the_requests_changes(mode, temperature):
    logits = random_logits(1, seed=15)
    start = sequence(outputs=[9], temperature=temperature, top_k=20, logprobs=30, frequency_penalty=1.0)
    found = run([start], logits, mode)[0].logprobs[0]
    values = logits[0].numpy()
    if mode != "raw_logits":
        values = reference_changes(start, values)
        if temperature:
            weights = reference_weights(start.sampling, values)
            values = np.where(np.array(weights) > 0, values / np.float32(temperature), -np.inf)
    expected = reference_logprobs(values, found.token_ids[0], 30)
    assert found.rank == expected.rank
    assert found.token_ids == expected.token_ids
    shown = [values[i] for i in expected.token_ids] if mode.endswith("logits") else expected.logprobs
    assert found.logprobs == pytest.approx(shown, abs=2e-6)


def test_prompt_logprobs_equal_the_reference():
    logits = random_logits(30, seed=16)
    token_ids = [(i * 37) % VOCAB for i in range(30)]
    sampler = Sampler(VOCAB, "processed_logits", 20)
    for number in (0, 4):
        found = sampler.prompt_logprobs(logits, token_ids, number, [])
        assert len(found) == 30
        for answer, values, token in zip(found, logits.numpy(), token_ids, strict=True):
            assert_close(answer, reference_logprobs(values, token, number))
    assert sampler.prompt_logprobs(logits[:0], [], 3, []) == []
    with pytest.raises(InvalidValue, match="prompt_logprobs must be at most 20"):
        sampler.prompt_logprobs(logits, token_ids, 21, [])
    logits[29, 0] = math.nan
    with pytest.raises(EngineFault, match="NaN"):
        sampler.prompt_logprobs(logits, token_ids, 1, [])


@pytest.mark.parametrize("told", ["none", "raw_logprobs", "processed_logprobs"])
def test_steps_change_only_the_logits_of_their_own_row(told):
    logits = random_logits(6, seed=17)
    kinds: list[dict[str, Any]] = [
        {"temperature": 0.0, "logit_bias": {1: 5.0}},
        {"top_p": 0.5},
        {"allowed_token_ids": [1, 2]},
        {"repetition_penalty": 1.5},
        {"temperature": 0.0},
        {"min_tokens": 3},
    ]
    sampler = Sampler(VOCAB, told.replace("none", "raw_logprobs"), -1)
    starts = [sequence(i, **kind, logprobs=None if told == "none" else 2) for i, kind in enumerate(kinds)]
    for start in starts:
        sampler.start(start)
    changed = logits.clone()
    sampler.sample(changed, [request_for(start) for start in starts])
    for start, before, after in zip(starts, logits.numpy(), changed.numpy(), strict=True):
        # raw ones are told from where they stand
        expected = before if told == "raw_logprobs" else reference_changes(start, before)
        np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize("told", [None, 2])
@pytest.mark.parametrize("vocab", [VOCAB, 151_936])
def test_rows_whose_steps_leave_nothing_fail_alone(told, vocab):
    logits = random_logits(5, seed=18, vocab=vocab)
    starts = [
        sequence(i, outputs=[4], temperature=0.0, allowed_token_ids=[3], logprobs=told, bad_words=bad)
        for i, bad in enumerate([[], [[3]], [], [[4, 3]], [[5, 3]]])
    ]
    rows = run(starts, logits)
    assert [row.token_ids for row in rows] == [[3], [], [3], [], [3]]
    assert all("bad_words" in rows[i].error for i in (1, 3))
    assert [row.logprobs is None for row in rows] == [told is None or i in (1, 3) for i in range(5)]


def test_a_logit_that_is_banned_and_no_number_fails_its_row():
    logits = random_logits(2, seed=19)
    logits[0, EOS] = math.nan
    rows = run([sequence(i, temperature=0.0, min_tokens=4) for i in range(2)], logits)
    assert rows[0].error == "the model's logits hold NaN at position 3"
    assert rows[1].error is None


def test_plain_rows_need_no_more_than_their_largest_logit():
    logits = random_logits(4, seed=20)
    logits[2, 9] = math.nan
    starts = [sequence(i, temperature=0.0, sample_index=i) for i in range(4)]
    sampler = Sampler(VOCAB, "raw_logprobs", -1)
    for start in starts:
        sampler.start(start)
    requests = [request_for(start, 2 if i == 1 else 1) for i, start in enumerate(starts)]
    assert sampler.are_plain(requests)
    maxima_R, best_R = first_largest(logits)
    rows = sampler.take(list(zip(maxima_R.tolist(), best_R.tolist(), strict=True)), requests)
    for start in starts:
        sampler.start(start)
    assert rows == sampler.sample(logits, requests)
    assert [row.error is None for row in rows] == [True, True, True, False, True]


@pytest.mark.parametrize(
    "asked",
    [{}, {"logprobs": 0}, {"min_tokens": 1}, {"presence_penalty": 1.0}, {"allowed_token_ids": [1]}],
    ids=str,
)
def test_rows_that_want_more_are_not_plain(asked):
    sampler = Sampler(VOCAB, "raw_logprobs", -1)
    sampler.start(sequence(0, temperature=0.0))
    sampler.start(sequence(1, **({"temperature": 0.0, **asked} if asked else {})))
    assert sampler.are_plain([SampleRequest(0, 1, 3)])
    for unfit in (1, 2):  # 2 is unknown
        assert not sampler.are_plain([SampleRequest(0, 1, 3), SampleRequest(unfit, 1, 3)])


def test_an_empty_step_and_an_unknown_mode():
    assert Sampler(VOCAB, "raw_logprobs", 5).sample(torch.zeros(0, VOCAB), []) == []
    with pytest.raises(InvalidValue, match="processed_logits"):
        Sampler(VOCAB, "cooked", 5)


def test_nan_is_told_in_the_words_that_the_server_counts():
    start = sequence()
    sampler = Sampler(VOCAB, "raw_logprobs", 5)
    sampler.start(start)
    (row,) = sampler.sample(torch.full((1, VOCAB), torch.nan), [request_for(start)])
    assert row.error is not None and row.error.startswith(NAN_IN_LOGITS)
