"""The one validation point, and streams from an engine: what is refused, what is resolved, what is aborted."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing

import msgspec
import pytest

from quire.base.errors import EngineDead, EngineFault, InvalidValue
from quire.base.messages import EngineRequest, OutputKind, SamplingParams
from quire.text.session import RequestLimits, Session
from quire.text.template import ChatTemplate
from tests.text.session.requests import ScriptedClient, engine_config, session, tokens

FOX = "The quick brown fox"


def prepare(tokenizer, prompt=FOX, *, config=None, fields=None, **sampling):
    params = SamplingParams(**{"max_tokens": 8, **sampling})
    return session(tokenizer, **(config or {})).prepare_now(
        prompt, params, **{"request_id": "r", **(fields or {})}
    )


def refused(field, tokenizer, *args, **kwargs):
    with pytest.raises(InvalidValue) as caught:
        prepare(tokenizer, *args, **kwargs)
    assert caught.value.field == field, caught.value.message
    assert len(caught.value.message) < 400
    return caught.value.message


def test_a_request_is_resolved(byte_level):
    request = prepare(byte_level, max_tokens=None, logprobs=5, fields={"priority": 3, "cache_salt": "salt"})
    ids = byte_level.encode(FOX)
    assert request.prompt_token_ids == ids
    assert request.sampling.max_tokens == 64 - len(ids)
    assert request.sampling.seed == request.seed >= 0
    assert request.eos_token_ids == [byte_level.eos_token_id]
    assert (request.priority, request.cache_salt, request.request_id) == (3, "salt", "r")
    assert request.arrival_s > 0
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(request), type=EngineRequest) == request


def test_the_callers_parameters_stay_as_they_are(byte_level):
    params = SamplingParams(max_tokens=None)
    session(byte_level).prepare_now(FOX, params, request_id="r")
    assert params == SamplingParams(max_tokens=None)


def test_seeds_are_kept_or_drawn_anew(byte_level):
    assert prepare(byte_level, seed=-5).seed == -5
    assert prepare(byte_level).seed != prepare(byte_level).seed


async def test_prepare_agrees_with_prepare_now_for_short_and_long_texts(byte_level):
    room = session(byte_level, max_model_len=100_000, num_blocks=100_000)
    for text in (FOX, FOX * 2000):
        params = SamplingParams(max_tokens=4, seed=1)
        now = room.prepare_now(text, params, request_id="r")
        awaited = await room.prepare(text, params, request_id="r")
        assert msgspec.structs.replace(awaited, arrival_s=now.arrival_s) == now


async def test_other_work_goes_on_while_a_long_text_is_tokenised(byte_level):
    room = session(byte_level, max_model_len=10**6, num_blocks=10**6)
    work = asyncio.create_task(room.prepare(FOX * 20_000, SamplingParams(max_tokens=4), request_id="r"))
    rounds = 0
    while not work.done():
        await asyncio.sleep(0)
        rounds += 1
    assert rounds > 2
    assert len(work.result().prompt_token_ids) > 20_000


@pytest.mark.parametrize("prompt", ["", [], None, 5, {"prompt": "x"}, ("a",)])
def test_empty_and_misshapen_prompts_are_refused(byte_level, prompt):
    refused("prompt", byte_level, prompt)


@pytest.mark.parametrize(
    "bad",
    [-1, 10**4, 2**31, 2**63, 2**70, 2**20_000, "1", 1.0, None, True, [1]],
    ids=lambda value: repr(value)[:20] if value != 2**20_000 else "vast",
)
def test_prompt_ids_out_of_vocabulary_are_refused(byte_level, bad):
    assert "token ids from 0 to" in refused("prompt", byte_level, [1, bad, 2])


def test_text_that_makes_tokens_the_model_lacks_is_refused(byte_level):
    room = session(byte_level)
    card = msgspec.structs.replace(room.config.card, vocab_size=byte_level.vocab_size - 1)
    small = Session(None, msgspec.structs.replace(room.config, card=card), byte_level, None)
    with pytest.raises(InvalidValue, match="the model knows only") as caught:
        small.prepare_now("a<think>", SamplingParams(max_tokens=1), request_id="r")
    assert caught.value.field == "prompt"


def test_half_a_surrogate_pair_is_refused(byte_level):
    assert "not valid Unicode" in refused("prompt", byte_level, "a\ud83d")
    assert "not valid Unicode" in refused("bad_words", byte_level, bad_words=["\udc00"])


def test_prompt_and_output_must_fit_the_context(byte_level):
    prompt = [1] * 60
    assert prepare(byte_level, prompt, max_tokens=4).sampling.max_tokens == 4
    assert prepare(byte_level, prompt, max_tokens=None).sampling.max_tokens == 4
    assert "must be at most 4" in refused("max_tokens", byte_level, prompt, max_tokens=5)
    refused("max_tokens", byte_level, prompt, max_tokens=2**62)
    assert "64 tokens" in refused("prompt", byte_level, [1] * 64)
    refused("min_tokens", byte_level, prompt, max_tokens=None, min_tokens=5)


def test_prompt_must_fit_the_kv_pool(byte_level):
    pool = {"num_blocks": 4}  # of 4 tokens each
    assert prepare(byte_level, [1] * 15, config=pool, max_tokens=None).sampling.max_tokens == 1
    assert "KV cache" in refused("prompt", byte_level, [1] * 16, config=pool, max_tokens=1)


def test_a_text_far_too_long_is_refused_before_it_is_tokenised(byte_level):
    assert "characters" in refused("prompt", byte_level, "a" * 10_000_000)
    kept = prepare(byte_level, "a" * 1_000_000 + "b", truncate_prompt_tokens=4)
    assert kept.prompt_token_ids == byte_level.encode("a" * 1000 + "b")[-4:]


def test_truncation_keeps_the_end_of_the_prompt(byte_level):
    ids = list(range(1, 101))
    assert prepare(byte_level, ids, truncate_prompt_tokens=7).prompt_token_ids == ids[-7:]
    assert prepare(byte_level, ids, truncate_prompt_tokens=-1).prompt_token_ids == ids[-56:]
    assert prepare(byte_level, ids, truncate_prompt_tokens=-1, max_tokens=None).prompt_token_ids == ids[-63:]
    assert prepare(byte_level, FOX, truncate_prompt_tokens=2).prompt_token_ids == byte_level.encode(FOX)[-2:]
    refused("truncate_prompt_tokens", byte_level, ids, truncate_prompt_tokens=0)
    refused("truncate_prompt_tokens", byte_level, ids, truncate_prompt_tokens=65)
    refused("max_tokens", byte_level, ids, truncate_prompt_tokens=60)


BAD_IDS = [[-1], [10**4], [2**31], [2**63], [1, "2"], [1.0]]


@pytest.mark.parametrize(
    ("field", "sampling"),
    [
        ("n", {"n": 1025}),
        ("n", {"n": 10**9}),
        ("stop", {"stop": ["a", "b", "c", "d", "e"]}),
        ("stop", {"stop": "a" * 1025}),
        ("stop_token_ids", {"stop_token_ids": list(range(129))}),
        *[("stop_token_ids", {"stop_token_ids": ids}) for ids in BAD_IDS],
        *[("allowed_token_ids", {"allowed_token_ids": ids}) for ids in BAD_IDS],
        ("allowed_token_ids", {"allowed_token_ids": [1] * 10**6}),
        ("logit_bias", {"logit_bias": {10**4: 1.0}}),
        ("logit_bias", {"logit_bias": {-1: 1.0}}),
        ("logit_bias", {"logit_bias": dict.fromkeys(range(1025), 1.0)}),
        ("bad_words", {"bad_words": ["x"] * 129}),
        ("bad_words", {"bad_words": ["x" * 1025]}),
        ("bad_words", {"bad_words": ["qzyx" * 200 + str(n) for n in range(20)]}),
        ("logprobs", {"logprobs": 21}),
        ("logprobs", {"logprobs": -1}),
        ("logprobs", {"logprobs": 10**9}),
        ("prompt_logprobs", {"prompt_logprobs": 21}),
        ("prompt_logprobs", {"prompt_logprobs": -1}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_counts_and_ids_out_of_bounds_name_their_field(byte_level, field, sampling):
    refused(field, byte_level, **sampling)


def test_limits_come_before_tokenising(byte_level):
    """A request that breaks a count is refused for that, however long its prompt."""
    refused("n", byte_level, "a" * 10_000_000, n=10**9)


def test_floats_changed_after_construction_are_checked_again(byte_level):
    params = SamplingParams()
    params.temperature = math.nan
    with pytest.raises(InvalidValue) as caught:
        session(byte_level).prepare_now(FOX, params, request_id="r")
    assert caught.value.field == "temperature"


def test_names_are_bounded(byte_level):
    refused("request_id", byte_level, fields={"request_id": ""})
    refused("request_id", byte_level, fields={"request_id": "r" * 129})
    refused("cache_salt", byte_level, fields={"cache_salt": "s" * 129})
    refused("cache_salt", byte_level, fields={"cache_salt": 5})
    refused("cache_salt", byte_level, fields={"cache_salt": "\ud800"})
    refused("stop", byte_level, stop="\ud800")
    for priority in (2**31 + 1, -(2**70), "1", 1.5, True):
        refused("priority", byte_level, fields={"priority": priority})
    assert prepare(byte_level, fields={"request_id": "r" * 128, "cache_salt": "s" * 128})


def test_limits_can_be_set(byte_level):
    room = Session(None, engine_config(byte_level), byte_level, None, limits=RequestLimits(max_n=2))
    assert room.prepare_now(FOX, SamplingParams(n=2), request_id="r").sampling.n == 2
    with pytest.raises(InvalidValue, match="n must be at most 2 samples, got 3"):
        room.prepare_now(FOX, SamplingParams(n=3), request_id="r")


def test_vast_top_k_is_all_tokens(byte_level):
    assert prepare(byte_level, top_k=2**70).sampling.top_k == byte_level.vocab_size
    assert prepare(byte_level, top_k=-1).sampling.top_k == -1


def test_logprobs_of_the_whole_vocabulary_where_allowed(byte_level):
    unbounded = {"max_logprobs": -1}
    request = prepare(byte_level, config=unbounded, logprobs=-1, prompt_logprobs=6)
    assert request.sampling.logprobs == byte_level.vocab_size
    assert request.sampling.prompt_logprobs == 6
    assert prepare(byte_level, config={"max_logprobs": 10**4}, logprobs=400).sampling.logprobs == 400
    assert (
        prepare(byte_level, config={"max_logprobs": 10**4}, logprobs=9999).sampling.logprobs
        == byte_level.vocab_size
    )


def test_bad_words_are_spelled_with_and_without_a_space(byte_level):
    request = prepare(byte_level, bad_words=["fox", "  fox", "\n"])
    spellings = request.bad_words_token_ids
    assert sorted(byte_level.decode(ids) for ids in spellings) == ["\n", " fox", "fox"]
    assert prepare(byte_level).bad_words_token_ids == []


def test_sampling_defaults_fill_what_is_left_out(byte_level):
    defaults = {"temperature": 0.6, "top_p": 0.9, "max_tokens": 5}
    room = Session(None, engine_config(byte_level), byte_level, None, defaults)
    params = room.sampling_params({"temperature": 0.0, "top_p": None, "n": 2})
    assert (params.temperature, params.top_p, params.n, params.max_tokens) == (0.0, 0.9, 2, None)
    assert room.prepare_now(FOX, params, request_id="r").sampling.max_tokens == 5
    assert room.prepare_now([1] * 61, params, request_id="r").sampling.max_tokens == 3
    asked = room.sampling_params({"max_tokens": 9})
    assert room.prepare_now(FOX, asked, request_id="r").sampling.max_tokens == 9
    with pytest.raises(InvalidValue, match="top_q is not a sampling parameter"):
        room.sampling_params({"top_q": 1})


async def collect(room, request, *, take=None):
    outputs = []
    async with aclosing(room.stream(request, FOX)) as stream:
        async for output in stream:
            outputs.append(output)
            if take is not None and len(outputs) == take:
                break
    return outputs


def request_for(room, **sampling):
    return room.prepare_now(FOX, SamplingParams(output_kind=OutputKind.DELTA, **sampling), request_id="r")


async def test_a_stream_runs_to_the_engines_end(byte_level):
    ids = byte_level.encode(" jumps over")
    client = ScriptedClient([tokens(ids[0])], [], [tokens(*ids[1:]), tokens(finish_reason="length")])
    room = session(byte_level, client)
    outputs = await collect(room, request_for(room))
    assert "".join(output.outputs[0].text for output in outputs) == " jumps over"
    assert [output.finished for output in outputs] == [False, True]
    assert outputs[0].prompt == FOX
    assert client.aborted == []
    assert [request.request_id for request in client.submitted] == ["r"]


async def test_a_stop_string_aborts_the_engines_request(byte_level):
    client = ScriptedClient(
        [tokens(*byte_level.encode("one stop")), tokens(*byte_level.encode(" two"))], [tokens(1)]
    )
    room = session(byte_level, client)
    async with aclosing(room.stream(request_for(room, stop=["stop"]))) as stream:
        output = await anext(stream)
        assert client.aborted == ["r"]  # at once, not when the reader comes back
        assert (output.outputs[0].text, output.finished) == ("one ", True)
        assert [later async for later in stream] == []
    assert client.aborted == ["r"]


async def test_a_stop_string_in_the_engines_last_words_needs_no_abort(byte_level):
    client = ScriptedClient([tokens(*byte_level.encode("one stop"), finish_reason="length")])
    room = session(byte_level, client)
    outputs = await collect(room, request_for(room, stop=["stop"]))
    assert outputs[-1].outputs[0].finish_reason == "stop"
    assert client.aborted == []


async def test_closing_early_aborts(byte_level):
    client = ScriptedClient([tokens(1)], [tokens(2)], [tokens(finish_reason="length")])
    room = session(byte_level, client)
    assert len(await collect(room, request_for(room), take=1)) == 1
    assert client.aborted == ["r"]


async def test_cancelling_the_reader_aborts(byte_level):
    class Silent(ScriptedClient):
        async def _play(self):
            await asyncio.Event().wait()
            yield []

    client = Silent([])
    room = session(byte_level, client)
    reader = asyncio.create_task(collect(room, request_for(room)))
    while not client.submitted:
        await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert client.aborted == ["r"]


async def test_a_refused_submission_raises_and_aborts_nothing(byte_level):
    client = ScriptedClient(failure=EngineDead("gone"))
    room = session(byte_level, client)
    with pytest.raises(EngineDead, match="gone"):
        await collect(room, request_for(room))
    assert client.aborted == []


async def test_an_engine_that_dies_midway_raises_and_aborts_nothing(byte_level):
    client = ScriptedClient([tokens(1)], failure=EngineDead("gone"))
    room = session(byte_level, client)
    with pytest.raises(EngineDead, match="gone"):
        await collect(room, request_for(room))
    assert client.aborted == []


async def test_a_stream_without_an_end_is_the_engines_fault(byte_level):
    room = session(byte_level, ScriptedClient([tokens(1)]))
    with pytest.raises(EngineFault, match="without a finish reason"):
        await collect(room, request_for(room))


def test_chats_are_rendered_by_the_models_template_or_the_requests(byte_level):
    messages = [{"role": "user", "content": "hi"}]
    config = engine_config(byte_level)
    room = Session(
        None, config, byte_level, ChatTemplate({"default": "{{ bos_token }}own"}, {"bos_token": "<s>"})
    )
    assert room.render_chat(messages) == "<s>own"
    assert (
        room.render_chat(messages, chat_template="{{ bos_token }}{{ x }}", template_kwargs={"x": 1}) == "<s>1"
    )
    bare = Session(None, config, byte_level, None)
    assert bare.render_chat(messages, chat_template="{{ messages[0].content }}") == "hi"
    with pytest.raises(
        InvalidValue, match="no chat template; start the server with --chat-template"
    ) as caught:
        bare.render_chat(messages)
    assert caught.value.field == "chat_template"


def test_ids_given_by_a_caller_are_checked_before_detokenising(byte_level):
    room = session(byte_level)
    assert room.detokenize([*byte_level.encode("fox"), byte_level.eos_token_id]) == "fox<eos>"
    for bad in (-1, 10**4, 2**70):
        with pytest.raises(InvalidValue, match="token ids from 0 to") as caught:
            room.detokenize([bad])
        assert caught.value.field == "tokens"
