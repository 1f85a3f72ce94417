"""Token events become outputs: text, log-probabilities, ends. Deltas add up; each stream ends once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.base.messages import OutputKind, RequestTimes, SamplingParams
from quire.text.session import Logprob, OutputStream
from tests.text.session.requests import engine_request, position, tokens

QUICK = settings(max_examples=80, deadline=None)


def sampling(**fields):
    return SamplingParams(**{"max_tokens": 100, **fields})


def stream_of(tokenizer, **fields):
    return OutputStream(engine_request(sampling(**fields)), tokenizer, "prompt")


def ids_of(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def test_cumulative_outputs_grow(byte_level):
    stream = stream_of(byte_level)
    ids = ids_of(byte_level, "The quick brown fox")
    outputs = [stream.apply(tokens(token_id)) for token_id in ids]
    assert [output.outputs[0].token_ids for output in outputs] == [ids[: n + 1] for n in range(len(ids))]
    assert outputs[-1].outputs[0].text == "The quick brown fox"
    assert not outputs[-1].finished
    last = stream.apply(tokens(finish_reason="length"))
    assert last.finished
    assert last.outputs[0].finish_reason == "length"
    assert (last.prompt, last.prompt_token_ids, last.request_id) == ("prompt", [1, 2], "r")
    assert stream.take_aborts() == []


def test_final_only_tells_once(byte_level):
    stream = stream_of(byte_level, output_kind=OutputKind.FINAL_ONLY, n=2)
    ids = ids_of(byte_level, "fox")
    assert stream.apply(tokens(*ids)) is None
    assert stream.apply(tokens(*ids, index=1, finish_reason="length")) is None
    output = stream.apply(tokens(finish_reason="length"))
    assert [sample.text for sample in output.outputs] == ["fox", "fox"]
    assert output.finished


def test_deltas_of_events_that_arrived_together_come_as_one(byte_level):
    stream = stream_of(byte_level, output_kind=OutputKind.DELTA, n=3)
    the, fox = ids_of(byte_level, "The")[0], ids_of(byte_level, " fox")
    output = stream.apply_all([tokens(the), tokens(the, index=2), tokens(*fox)])
    assert [(sample.index, sample.token_ids) for sample in output.outputs] == [(0, [the, *fox]), (2, [the])]
    output = stream.apply(tokens(the, index=1))
    assert [sample.index for sample in output.outputs] == [1]


def test_stop_string_across_tokens_ends_the_sample_and_cuts_tokens_after_it(byte_level):
    ids = ids_of(byte_level, "The quick brown fox jumps")
    for batch in ([ids], [[token_id] for token_id in ids]):
        stream = stream_of(byte_level, stop=["wn f"], logprobs=0, output_kind=OutputKind.FINAL_ONLY)
        for group in batch:
            entries = [position((token_id, -0.5)) for token_id in group]
            output = stream.apply(tokens(*group, logprobs=entries))
            if output is not None:
                break
        sample = output.outputs[0]
        assert (sample.text, sample.finish_reason, sample.stop_reason) == ("The quick bro", "stop", "wn f")
        text_of_tokens = byte_level.decode(sample.token_ids)
        assert "wn f" in text_of_tokens
        assert "wn f" not in byte_level.decode(sample.token_ids[:-1])
        assert len(sample.logprobs) == len(sample.token_ids)
        assert sample.cumulative_logprob == pytest.approx(-0.5 * len(sample.token_ids))
        assert stream.finished
        assert stream.take_aborts() == [0]


def test_stop_string_can_be_kept(byte_level):
    stream = stream_of(byte_level, stop="brown", include_stop_str_in_output=True)
    output = stream.apply(tokens(*ids_of(byte_level, "The quick brown fox")))
    assert output.outputs[0].text == "The quick brown"


def test_stop_strings_wait_for_min_tokens(byte_level):
    ids = [byte_level.token_to_id(letter) for letter in "ababa"]
    stream = stream_of(byte_level, stop=["b"], min_tokens=2)
    output = stream.apply(tokens(*ids))
    assert output.outputs[0].text == "aba"
    assert output.outputs[0].token_ids == ids[:4]


@pytest.mark.parametrize("keep", [False, True])
def test_text_of_a_stop_token_is_hidden_unless_kept(byte_level, keep):
    fox, dog = ids_of(byte_level, "a") + ids_of(byte_level, "b")
    stream = stream_of(byte_level, stop_token_ids=[dog], include_stop_str_in_output=keep)
    output = stream.apply(tokens(fox, dog, finish_reason="stop", stop_reason=dog))
    sample = output.outputs[0]
    assert (sample.text, sample.token_ids) == ("ab" if keep else "a", [fox, dog])
    assert (sample.finish_reason, sample.stop_reason) == ("stop", dog)


def test_eos_adds_no_text_even_when_special_tokens_are_shown(byte_level):
    eos = byte_level.eos_token_id
    for skip, keep, text in ((True, True, "a"), (False, False, "a"), (False, True, "a<eos>")):
        stream = stream_of(byte_level, skip_special_tokens=skip, include_stop_str_in_output=keep)
        output = stream.apply(tokens(*ids_of(byte_level, "a"), eos, finish_reason="stop"))
        assert output.outputs[0].text == text
        assert output.outputs[0].stop_reason is None


def test_a_half_character_comes_out_at_the_end_only(byte_level):
    stream = stream_of(byte_level)
    emoji = ids_of(byte_level, "😄")
    assert len(emoji) > 1
    assert stream.apply(tokens(*emoji[:-1])).outputs[0].text == ""
    assert stream.apply(tokens(finish_reason="length")).outputs[0].text == "\ufffd"


def test_held_text_comes_out_when_the_engine_ends(byte_level):
    stream = stream_of(byte_level, stop=["foxy"], output_kind=OutputKind.DELTA)
    first = stream.apply(tokens(*ids_of(byte_level, "a fox")))
    last = stream.apply(tokens(finish_reason="length"))
    assert (first.outputs[0].text, last.outputs[0].text) == ("a ", "fox")
    assert last.outputs[0].stop_reason is None


def test_without_detokenising_there_are_tokens_and_no_text(byte_level):
    ids = ids_of(byte_level, "The fox")
    stream = stream_of(byte_level, detokenize=False, logprobs=0)
    entries = [position((token_id, -1.0)) for token_id in ids]
    sample = stream.apply(tokens(*ids, logprobs=entries, finish_reason="length")).outputs[0]
    assert (sample.text, sample.token_ids) == ("", ids)
    assert sample.logprobs[0] == {ids[0]: Logprob(-1.0, 1, None)}


def test_logprobs_name_the_sampled_token_first_with_its_rank(byte_level):
    a, b, c = (byte_level.token_to_id(token) for token in "abc")
    stream = stream_of(byte_level, logprobs=2)
    event = tokens(
        c,
        a,
        logprobs=[
            position((c, -3.0), (a, -0.1), (b, -2.0), rank=7),
            position((a, -0.2), (a, -0.2), (b, -1.0)),
        ],
    )
    sample = stream.apply(event).outputs[0]
    assert list(sample.logprobs[0].items()) == [
        (c, Logprob(-3.0, 7, "c")),
        (a, Logprob(-0.1, 1, "a")),
        (b, Logprob(-2.0, 2, "b")),
    ]
    assert list(sample.logprobs[1].items()) == [(a, Logprob(-0.2, 1, "a")), (b, Logprob(-1.0, 2, "b"))]
    assert sample.cumulative_logprob == pytest.approx(-3.2)


def test_no_logprobs_asked_none_given(byte_level):
    sample = stream_of(byte_level).apply(tokens(1)).outputs[0]
    assert sample.logprobs is None
    assert sample.cumulative_logprob is None


@pytest.mark.parametrize("kind", list(OutputKind))
def test_prompt_logprobs_come_once_with_deltas_and_always_without(byte_level, kind):
    stream = stream_of(byte_level, prompt_logprobs=0, output_kind=kind)
    expected = [None, {2: Logprob(-1.5, 3, byte_level.token_text(2))}]
    outputs = [
        stream.apply(tokens(5, prompt_logprobs=[None, position((2, -1.5), rank=3)])),
        stream.apply(tokens(5)),
        stream.apply(tokens(finish_reason="length")),
    ]
    told = [output.prompt_logprobs for output in outputs if output is not None]
    wanted = {
        OutputKind.DELTA: [expected, None, None],
        OutputKind.CUMULATIVE: [expected] * 3,
        OutputKind.FINAL_ONLY: [expected],
    }
    assert told == wanted[kind]


def test_an_error_surfaces_with_its_words_and_leaves_other_samples_alone(byte_level):
    stream = stream_of(byte_level, n=2)
    output = stream.apply(tokens(finish_reason="error", error="the logits held NaN"))
    assert (output.outputs[0].finish_reason, output.outputs[0].error) == ("error", "the logits held NaN")
    assert not output.finished
    assert stream.apply(tokens(1, index=1, finish_reason="length")).finished


def test_news_of_an_ended_sample_is_ignored(byte_level):
    stream = stream_of(byte_level, stop=["a"], n=2)
    stream.apply(tokens(*ids_of(byte_level, "a")))
    assert stream.apply(tokens(*ids_of(byte_level, "b"))) is None
    assert stream.apply(tokens(index=7, finish_reason="length")) is None
    assert stream.take_aborts() == [0]  # the engine goes on with sample 0
    assert stream.apply(tokens(index=1, finish_reason="length")).finished
    assert stream.apply(tokens(finish_reason="length")) is None
    assert stream.take_aborts() == []


def test_times_are_the_engines_or_our_own(byte_level):
    times = RequestTimes(1.0, 2.0, 3.0, 4.0)
    stream = stream_of(byte_level)
    output = stream.apply(
        tokens(1, finish_reason="length", times=times, num_cached_tokens=4, num_preemptions=1)
    )
    assert (output.times, output.num_cached_tokens, output.num_preemptions) == (times, 4, 1)
    later = RequestTimes(1.0, 2.5, 2.8, 9.0)
    stream = stream_of(byte_level, n=2)
    assert stream.apply(tokens(finish_reason="length", times=times)).times is None
    output = stream.apply(tokens(index=1, finish_reason="length", times=later))
    assert output.times == RequestTimes(1.0, 2.0, 2.8, 9.0)
    clock = iter([5.0, 7.0])
    request = engine_request(sampling(stop=["a"]))
    stream = OutputStream(request, byte_level, clock=lambda: next(clock))
    stream.apply(tokens(*ids_of(byte_level, "b")))
    output = stream.apply(tokens(*ids_of(byte_level, "a")))
    assert output.outputs[0].finished()
    assert output.times == RequestTimes(arrival_s=1.0, scheduled_s=0.0, first_token_s=5.0, finished_s=7.0)


@pytest.mark.parametrize("kind", ["byte_level", "byte_fallback_bpe", "without_decoder"])
@QUICK
@given(data=st.data())
def test_deltas_add_up_to_the_cumulative_output_for_every_cut(pairs, kind, data):
    """And both to the whole text read at once. Every stream ends exactly once, whatever still arrives."""
    tokenizer = pairs[kind].ours
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), min_size=1, max_size=25))
    stops = data.draw(st.lists(st.sampled_from(["a", "e ", "th", "\ufffd", "Th", " "]), max_size=2))
    options = {
        "stop": stops or None,
        "include_stop_str_in_output": data.draw(st.booleans()),
        "skip_special_tokens": data.draw(st.booleans()),
        "min_tokens": data.draw(st.integers(0, 6)),
        "logprobs": 0,
    }
    reason = data.draw(st.sampled_from(["length", "abort", "error"]))
    group_sizes = data.draw(st.lists(st.integers(1, 6), max_size=25))
    one_by_one = run(tokenizer, [[i] for i in ids], reason, output_kind=OutputKind.CUMULATIVE, **options)
    grouped = run(tokenizer, grouped_by(ids, group_sizes), reason, output_kind=OutputKind.DELTA, **options)
    final = run(tokenizer, [ids], reason, output_kind=OutputKind.FINAL_ONLY, **options)
    last = one_by_one[-1]
    assert len(final) == 1
    assert final[0] == last
    assert "".join(sample.text for sample in grouped) == last.text
    assert [token_id for sample in grouped for token_id in sample.token_ids] == last.token_ids
    assert [entry for sample in grouped for entry in sample.logprobs] == last.logprobs
    assert (grouped[-1].finish_reason, grouped[-1].stop_reason) == (last.finish_reason, last.stop_reason)
    for earlier, later in pairwise(one_by_one):
        assert later.text.startswith(earlier.text)
    if not stops:
        skip = options["skip_special_tokens"]
        assert last.token_ids == ids
        lead = tokenizer.decode([tokenizer.token_to_id("<tool>"), *ids], skip_special_tokens=skip)
        assert last.text == lead.removeprefix("<tool>")


def grouped_by(ids, sizes):
    groups, rest = [], ids
    for size in sizes:
        if rest:
            groups.append(rest[:size])
            rest = rest[size:]
    return [*groups, rest] if rest else groups


def run(tokenizer, groups, reason, **options):
    """All outputs of sample 0; the end comes as an event of its own, and twice."""
    stream = OutputStream(engine_request(sampling(**options)), tokenizer)
    events = [tokens(*group, logprobs=[position((i, -1.0)) for i in group]) for group in groups]
    end = tokens(finish_reason=reason, error="fault" if reason == "error" else None)
    outputs = [stream.apply(event) for event in [*events, end, end, *events]]
    told = [output for output in outputs if output is not None]
    assert sum(output.finished for output in told) == 1
    assert told[-1].finished
    return [output.outputs[0] for output in told]
