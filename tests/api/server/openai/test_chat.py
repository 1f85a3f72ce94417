"""POST /v1/chat/completions against scripted answers: texts, shapes, streams, what reaches the engine."""

from __future__ import annotations

import json

import msgspec
import pytest
from tests.api.server.conftest import ANSWER

HELLO = [{"role": "user", "content": "hello"}]


async def chat(http, **fields):
    reply = await http.post("/v1/chat/completions", json={"messages": HELLO, **fields})
    assert reply.status_code == 200, reply.text
    return reply.json()


async def stream(http, **fields):
    """The decoded events of a stream; checks the framing."""
    reply = await http.post("/v1/chat/completions", json={"messages": HELLO, "stream": True, **fields})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    return events_of(reply.text)


def events_of(text):
    *frames, last, rest = text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames)
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


async def test_a_whole_reply(http, engine, tokenizer):
    reply = await chat(http, model="alias")
    (choice,) = reply["choices"]
    assert choice["message"] == {"role": "assistant", "content": ANSWER}
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "stop", None)
    assert reply["object"] == "chat.completion"
    assert reply["model"] == "alias"
    assert reply["id"].startswith("chatcmpl-")
    assert reply["system_fingerprint"].startswith("quire-")
    prompt = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert engine.requests[0].prompt_token_ids == tokenizer.encode(prompt)
    num_prompt, num_answer = len(tokenizer.encode(prompt)), len(tokenizer.encode(ANSWER)) + 1
    assert reply["usage"] == {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_answer,
        "total_tokens": num_prompt + num_answer,
    }


async def test_without_max_tokens_the_rest_of_the_context_is_free(http, engine):
    await chat(http)
    request = engine.requests[0]
    assert request.sampling.max_tokens == 256 - len(request.prompt_token_ids)


async def test_a_stream_says_role_text_and_reason(http):
    chunks = await stream(http)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    texts = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(texts) == ANSWER
    assert len(texts) > 3
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert not any("usage" in chunk for chunk in chunks)


async def test_include_usage_adds_one_chunk_without_choices(http):
    chunks = await stream(http, stream_options={"include_usage": True})
    whole = await chat(http)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    assert not any("usage" in chunk for chunk in chunks[:-1])


async def test_continuous_usage_counts_up(http):
    chunks = await stream(http, stream_options={"continuous_usage_stats": True})
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counts == sorted(counts)
    assert counts[-1] == counts[-2]


async def test_n_samples_come_under_their_index(http, engine, tokenizer):
    answers = [tokenizer.encode(text) for text in ("one two", "three", "fox")]
    engine.script = lambda _request, index: answers[index]
    reply = await chat(http, n=3)
    assert [(choice["index"], choice["message"]["content"]) for choice in reply["choices"]] == [
        (0, "one two"),
        (1, "three"),
        (2, "fox"),
    ]
    assert reply["usage"]["completion_tokens"] == sum(map(len, answers))
    texts = ["", "", ""]
    for chunk in await stream(http, n=3):
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["delta"].get("content", "")
    assert texts == ["one two", "three", "fox"]


async def test_logprobs_have_openai_s_shape(http, engine, tokenizer):
    token_ids = tokenizer.encode("hello é")
    engine.script = lambda _request, _index: token_ids
    reply = await chat(http, logprobs=True, top_logprobs=2)
    content = reply["choices"][0]["logprobs"]["content"]
    assert bytes(byte for entry in content for byte in entry["bytes"]).decode() == "hello é"
    assert [entry["token"] for entry in content] == [tokenizer.token_text(one) for one in token_ids]
    assert all(entry["logprob"] == -1.0 for entry in content)
    assert all([top["logprob"] for top in entry["top_logprobs"]] == [-0.5, -1.0] for entry in content)
    streamed = [
        entry
        for chunk in await stream(http, logprobs=True, top_logprobs=2)
        if chunk["choices"][0]["logprobs"]
        for entry in chunk["choices"][0]["logprobs"]["content"]
    ]
    assert streamed == content


async def test_logprobs_alone_name_no_alternatives(http):
    reply = await chat(http, logprobs=True)
    assert all(entry["top_logprobs"] == [] for entry in reply["choices"][0]["logprobs"]["content"])


async def test_tokens_can_be_named_by_id(http, engine):
    reply = await chat(http, logprobs=True, return_tokens_as_token_ids=True, return_token_ids=True)
    (choice,) = reply["choices"]
    assert [entry["token"] for entry in choice["logprobs"]["content"]] == [
        f"token_id:{token_id}" for token_id in choice["token_ids"]
    ]
    assert reply["prompt_token_ids"] == engine.requests[0].prompt_token_ids
    chunks = await stream(http, return_token_ids=True)
    assert chunks[0]["prompt_token_ids"] == reply["prompt_token_ids"]
    streamed = [one for chunk in chunks for one in chunk["choices"][0].get("token_ids", [])]
    assert streamed == choice["token_ids"]


async def test_prompt_logprobs_come_by_token_id(http, engine):
    reply = await chat(http, prompt_logprobs=1)
    first, second, *_ = reply["prompt_logprobs"]
    assert first is None
    assert second[str(engine.requests[0].prompt_token_ids[1])]["logprob"] == -1.0
    assert len(reply["prompt_logprobs"]) == len(engine.requests[0].prompt_token_ids)


async def test_a_stop_string_ends_the_reply_and_the_engine_s_work(http, engine):
    engine.pause_after = 6
    reply = await chat(http, stop="orld")
    (choice,) = reply["choices"]
    assert choice["message"]["content"] == "hello w"
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", "orld")
    assert engine.aborted == [engine.requests[0].request_id]


async def test_every_sampling_field_reaches_the_engine(http, engine):
    fields = {
        "n": 2,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "min_p": 0.1,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "repetition_penalty": 1.1,
        "seed": 5,
        "stop": ["zzz"],
        "stop_token_ids": [3],
        "bad_words": ["fox"],
        "ignore_eos": True,
        "max_tokens": 9,
        "min_tokens": 2,
        "include_stop_str_in_output": True,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "allowed_token_ids": list(range(300)),
        "truncate_prompt_tokens": 12,
    }
    await chat(http, **fields, logit_bias={"5": -3}, priority=4, cache_salt="pepper")
    request = engine.requests[0]
    sampling = msgspec.structs.asdict(request.sampling)
    assert {name: sampling[name] for name in fields} == fields
    assert sampling["logit_bias"] == {5: -3.0}
    assert (request.seed, request.priority, request.cache_salt) == (5, 4, "pepper")
    assert len(request.prompt_token_ids) == 12


async def test_the_model_s_defaults_fill_what_a_request_leaves_out(make_service, connect):
    service = make_service(sampling_defaults={"temperature": 0.25, "top_k": 3, "max_tokens": 5})
    async with connect(service) as http:
        await chat(http, top_k=9)
    sampling = service.client.requests[0].sampling
    assert (sampling.temperature, sampling.top_k, sampling.max_tokens) == (0.25, 9, 5)


async def test_content_parts_and_tool_messages_reach_the_template(http, engine, tokenizer):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "three"},
    ]
    await chat(http, messages=messages)
    assert tokenizer.decode(engine.requests[0].prompt_token_ids, skip_special_tokens=False) == (
        "<|im_start|>system\none\ntwo<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n"
        "<|im_start|>tool\nthree<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(("choice", "is_shown"), [(None, True), ("auto", True), ("none", False)])
async def test_tools_are_shown_unless_none_may_be_called(choice, is_shown, make_service, connect, tokenizer):
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    service = make_service(tool_call_parser="hermes", enable_auto_tool_choice=True)
    async with connect(service) as http:
        await chat(http, tools=[tool], tool_choice=choice)
    prompt = tokenizer.decode(service.client.requests[0].prompt_token_ids, skip_special_tokens=False)
    assert ('"weather"' in prompt) == is_shown


async def test_template_switches(http, engine, tokenizer):
    await chat(http, chat_template_kwargs={"mood": "calm"})
    await chat(http, add_generation_prompt=False)
    prompts = [tokenizer.decode(one.prompt_token_ids, skip_special_tokens=False) for one in engine.requests]
    assert prompts[0].endswith("assistant\n(calm) ")
    assert prompts[1].endswith("hello<|im_end|>\n")


CALL = {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("said", "lead"),
    [
        ({"tool_calls": [CALL]}, ""),
        ({"content": None, "tool_calls": [CALL]}, ""),
        ({"content": [{"type": "text", "text": "well"}, {"type": "text", "text": "then"}]}, "well\nthen"),
    ],
)
async def test_what_is_echoed_may_be_nothing_or_parts(http, said, lead):
    messages = [*HELLO, {"role": "assistant", **said}]
    (choice,) = (await chat(http, messages=messages, echo=True))["choices"]
    assert choice["message"]["content"] == lead + ANSWER
    assert (await stream(http, messages=messages, echo=True))[0]["choices"][0]["delta"]["content"] == lead


async def test_a_final_message_is_continued_and_echoed(http, engine, tokenizer):
    messages = [*HELLO, {"role": "assistant", "content": "I say "}]
    reply = await chat(http, messages=messages, continue_final_message=True, echo=True)
    assert reply["choices"][0]["message"]["content"] == "I say " + ANSWER
    prompt = tokenizer.decode(engine.requests[0].prompt_token_ids, skip_special_tokens=False)
    assert prompt.endswith("assistant\nI say ")


async def test_cached_tokens_are_told_where_enabled(make_service, connect):
    service = make_service(enable_prompt_tokens_details=True)
    service.client.num_cached_tokens = 16
    async with connect(service) as http:
        reply = await chat(http)
    assert reply["usage"]["prompt_tokens_details"] == {"cached_tokens": 16}


async def test_a_row_that_fails_is_a_500_without_its_details(http, engine):
    engine.script = lambda _request, _index: [5, -1]
    reply = await http.post("/v1/chat/completions", json={"messages": HELLO})
    assert reply.status_code == 500
    assert reply.json()["error"]["code"] == "generation_failed"
    assert reply.headers["x-should-retry"] == "false"
    assert "0x" not in reply.text
    events = await stream(http)
    assert events[-1]["error"]["code"] == "generation_failed"


async def test_an_engine_that_dies_under_a_request_is_a_503_or_an_error_event(make_service, connect):
    for streams in (False, True):
        service = make_service()
        service.client.script = lambda _request, _index: [5, -2]
        async with connect(service) as http:
            reply = await http.post("/v1/chat/completions", json={"messages": HELLO, "stream": streams})
            error = events_of(reply.text)[-1]["error"] if streams else reply.json()["error"]
            assert reply.status_code == (200 if streams else 503)
            assert error["code"] == "engine_dead"
            assert "0x" not in reply.text and "/usr" not in reply.text
            again = await http.post("/v1/chat/completions", json={"messages": HELLO})
            assert (again.status_code, again.json()["error"]["code"]) == (503, "engine_dead")


async def test_request_ids_may_repeat(http, engine):
    first = await chat(http, request_id="mine")
    second = await chat(http, request_id="mine")
    assert first["id"] == second["id"] == "chatcmpl-mine"
    assert len({request.request_id for request in engine.requests}) == 2
