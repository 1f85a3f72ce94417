"""What the remaining request fields, headers and reply settings do, on both routes; and that none is unknown."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.api.server.conftest import ANSWER
from tests.api.server.openai.test_chat import HELLO, events_of

from quire.api.server.openai.protocol_chat import CHAT_FIELDS
from quire.api.server.openai.protocol_completions import COMPLETION_FIELDS
from quire.api.server.streaming import KEEP_ALIVE, kept_alive
from quire.base.errors import Unsupported
from quire.base.messages import PositionLogprobs, SamplingParams
from quire.text.session import BeamSearchParams

T, H, R = "taken", "harmless", "refused"
BOTH = {
    "top_k": T, "min_p": T, "repetition_penalty": T, "length_penalty": T, "use_beam_search": T,
    "stop_token_ids": T, "include_stop_str_in_output": T, "ignore_eos": T, "min_tokens": T,
    "skip_special_tokens": T, "spaces_between_special_tokens": T, "truncate_prompt_tokens": T,
    "truncation_side": T, "prompt_logprobs": T, "logprob_token_ids": T, "allowed_token_ids": T, "bad_words": T,
    "add_special_tokens": T, "structured_outputs": T, "priority": T, "request_id": T, "session_id": H,
    "return_tokens_as_token_ids": T, "return_token_ids": T, "cache_salt": T, "kv_transfer_params": R,
    "ec_transfer_params": R, "repetition_detection": T, "thinking_token_budget": T,
    "stream_interval": T, "watermarking": R, "return_weight_versions": R, "routed_experts_prompt_start": R,
    "return_token_offsets": R, "mm_payload": R,
}  # fmt: skip
CHAT = {
    "echo": T, "add_generation_prompt": T, "continue_final_message": T, "documents": T, "chat_template": T,
    "chat_template_kwargs": T, "media_io_kwargs": R, "mm_processor_kwargs": R, "include_reasoning": T,
    "reasoning_effort": T, "return_prompt_text": T,
}  # fmt: skip
COMPLETIONS = {"prompt_embeds": T, "echo": T, "suffix": R}
# a value for each parameter of sampling, and whether it is taken or refused
SAMPLING = {
    "n": (2, T), "presence_penalty": (1.0, T), "frequency_penalty": (1.0, T), "repetition_penalty": (1.1, T),
    "temperature": (0.5, T), "top_p": (0.5, T), "top_k": (3, T), "min_p": (0.1, T), "seed": (1, T),
    "stop": ("x", T), "stop_token_ids": ([1], T), "ignore_eos": (True, T), "max_tokens": (3, T),
    "min_tokens": (1, T), "logprobs": (1, T), "prompt_logprobs": (1, T), "logprob_token_ids": ([1], T),
    "flat_logprobs": (True, T), "detokenize": (False, T), "skip_special_tokens": (False, T),
    "spaces_between_special_tokens": (False, T), "include_stop_str_in_output": (True, T),
    "stream_interval": (2, T), "logit_bias": ({1: 1.0}, T), "allowed_token_ids": ([1], T),
    "bad_words": (["x"], T), "skip_reading_prefix_cache": (True, T), "thinking_token_budget": (1, T),
    "watermarking": ({"key": 1}, R), "routed_experts_prompt_start": (1, R), "trace_decode_token_ids": ([1], R),
    "skip_clone": (True, H),
}  # fmt: skip
BEAMS = {"beam_width", "max_tokens", "ignore_eos", "temperature", "length_penalty", "include_stop_str_in_output",
         "structured_outputs", "skip_special_tokens", "allowed_token_ids"}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "fields"), [(CHAT_FIELDS, BOTH | CHAT), (COMPLETION_FIELDS, BOTH | COMPLETIONS)]
)
def test_every_field_of_the_surface_is_taken_harmless_or_refused(table, fields):
    found = {
        name: T
        if name in table._taken
        else H
        if name in table._harmless
        else R
        if name in table._refused
        else ""
        for name in fields
    }
    assert found == fields
    assert all(len(table._refused[name].reason) > 10 for name, state in fields.items() if state == R)


@pytest.mark.parametrize("name", SAMPLING)
def test_every_sampling_parameter_is_taken_or_refused_with_a_reason(name):
    value, state = SAMPLING[name]
    if state == R:
        with pytest.raises(Unsupported, match=f"{name} is not supported: .{{10}}"):
            SamplingParams(**{name: value})
    else:
        assert getattr(SamplingParams(**{name: value}), name) == value


def test_the_parameters_of_beam_search_are_vllms():
    assert set(BeamSearchParams.__struct_fields__) == BEAMS


async def complete(http, **fields):
    reply = await http.post("/v1/completions", json={"prompt": "hello", **fields})
    assert reply.status_code == 200, reply.text
    return reply


async def chat(http, **fields):
    reply = await http.post("/v1/chat/completions", json={"messages": HELLO, **fields})
    assert reply.status_code == 200, reply.text
    return reply


async def test_truncation_side_chooses_the_end_that_stays(http, engine, tokenizer):
    ids = tokenizer.encode("one two three")
    for side, kept in (("right", ids[:2]), ("left", ids[-2:]), (None, ids[-2:])):
        await complete(http, prompt="one two three", truncate_prompt_tokens=2, truncation_side=side)
        await complete(http, prompt=ids, truncate_prompt_tokens=2, truncation_side=side)
        assert [request.prompt_token_ids for request in engine.requests[-2:]] == [kept, kept]


async def test_listed_tokens_have_their_log_probability_told(http, engine, monkeypatch):
    from tests.api.server import scripted_engine

    def with_listed(token_id, num_top, listed=()):
        return PositionLogprobs([token_id, 1, 7, 9], [-1.0, -0.5, -7.0, -9.0], 2, 2)

    monkeypatch.setattr(scripted_engine, "_logprobs", with_listed)
    reply = (await chat(http, logprob_token_ids=[7, 9], top_logprobs=1, logprobs=True)).json()
    content = reply["choices"][0]["logprobs"]["content"]
    assert [entry["logprob"] for entry in content[0]["top_logprobs"]] == [-0.5, -7.0, -9.0]
    assert engine.requests[0].sampling.logprob_token_ids == [7, 9]
    reply = (await complete(http, logprob_token_ids=[7, 9])).json()  # asks for log-probabilities by itself
    assert sorted(reply["choices"][0]["logprobs"]["top_logprobs"][0].values()) == [-9.0, -7.0, -1.0]


async def test_a_stream_interval_of_the_request_joins_tokens(http):
    events = events_of((await complete(http, stream=True, max_tokens=9, stream_interval=4)).text)
    whole = events_of((await complete(http, stream=True, max_tokens=9)).text)
    assert len(events) < len(whole)
    assert "".join(event["choices"][0]["text"] for event in events) == ANSWER


async def test_documents_reach_a_template_that_reads_them(make_service, connect, http):
    documents = [{"title": "a", "text": "b"}]
    reply = await http.post("/v1/chat/completions", json={"messages": HELLO, "documents": documents})
    assert reply.json()["error"]["param"] == "documents"
    async with connect(make_service(trust_request_chat_template=True)) as client:
        template = "{{ documents[0].title }}!{{ messages[0].content }}"
        fields = {"documents": documents, "chat_template": template, "return_prompt_text": True}
        assert (await chat(client, **fields)).json()["prompt_text"] == "a!hello"
        first = events_of((await chat(client, stream=True, **fields)).text)[0]
        assert first["prompt_text"] == "a!hello"


async def test_a_template_comes_with_a_request_only_where_it_is_trusted(http):
    reply = await http.post("/v1/chat/completions", json={"messages": HELLO, "chat_template": "x"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "chat_template")
    assert "--trust-request-chat-template" in reply.json()["error"]["message"]


async def test_an_effort_is_what_the_server_says_it_is(make_service, connect, http):
    refused = await http.post("/v1/chat/completions", json={"messages": HELLO, "reasoning_effort": "low"})
    assert refused.json()["error"]["param"] == "reasoning_effort"
    async with connect(make_service(reasoning_effort_map={"low": {"mood": "brisk"}})) as client:
        reply = await chat(client, reasoning_effort="low", return_prompt_text=True)
        assert reply.json()["prompt_text"].endswith("(brisk) ")


async def test_the_header_says_the_priority(http, engine):
    for given, expected in (({"X-Vllm-Priority": "-3"}, -3), ({}, 7)):
        await http.post("/v1/completions", json={"prompt": "a", "priority": 7}, headers=given)
        assert engine.requests[-1].priority == expected
    reply = await http.post("/v1/completions", json={"prompt": "a"}, headers={"X-Vllm-Priority": "high"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "X-Vllm-Priority")


async def test_usage_and_token_ids_can_be_forced_by_the_server(make_service, connect):
    service = make_service(enable_force_include_usage=True, return_tokens_as_token_ids=True)
    async with connect(service) as client:
        events = events_of((await complete(client, stream=True, logprobs=0)).text)
        assert events[-1]["usage"]["completion_tokens"] > 3
        assert events[0]["choices"][0]["logprobs"]["tokens"][0].startswith("token_id:")


async def test_replies_tell_their_times_where_it_is_switched_on(make_service, connect, http):
    async with connect(make_service(enable_per_request_metrics=True)) as client:
        for ask in (chat, complete):
            reply = await ask(client)
            timings = reply.json()["metrics"]
            assert set(timings) == {"queued_s", "prefill_s", "decode_s", "total_s", "num_preemptions"}
            assert 0 <= timings["queued_s"] <= timings["total_s"]
            assert reply.headers["server-timing"].startswith("queue;dur=")
            options = {"stream": True, "stream_options": {"include_usage": True}}
            assert "total_s" in events_of((await ask(client, **options)).text)[-1]["metrics"]
    reply = await chat(http)
    assert "metrics" not in reply.json() and "server-timing" not in reply.headers


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"fingerprint_mode": "none"}, None),
        ({"fingerprint_mode": "custom", "fingerprint_value": "mine"}, "mine"),
    ],
)
async def test_the_fingerprint_is_as_the_operator_wants_it(make_service, connect, http, settings, expected):
    async with connect(make_service(**settings)) as client:
        assert (await chat(client)).json()["system_fingerprint"] == expected
    full = (await chat(http)).json()["system_fingerprint"]
    async with connect(make_service(fingerprint_mode="hash")) as client:
        assert full.endswith("-" + (await chat(client)).json()["system_fingerprint"])


async def test_answers_are_logged_where_the_operator_asks_for_it(make_service, connect, caplog):
    caplog.set_level(logging.INFO, "quire.server")
    async with connect(make_service(enable_log_outputs=True, max_log_chars=5)) as client:
        await complete(client)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith("answered (stop): 'hello'")
    caplog.clear()
    async with connect(make_service(enable_log_deltas=True)) as client:
        await complete(client)
    assert len(caplog.records) > 3


async def test_silence_in_a_stream_is_filled_with_comments():
    silence = asyncio.Event()

    async def events():
        yield b"one"
        await silence.wait()
        yield b"two"

    kept = kept_alive(events(), 0.001)
    assert [await anext(kept) for _ in range(3)] == [b"one", KEEP_ALIVE, KEEP_ALIVE]
    silence.set()
    rest = [data async for data in kept if data != KEEP_ALIVE]
    assert rest == [b"two"]
    assert KEEP_ALIVE.startswith(b":") and KEEP_ALIVE.endswith(b"\n\n")


async def test_tools_stay_in_the_prompt_where_the_operator_wants_them(make_service, connect, http):
    tools = [{"type": "function", "function": {"name": "look"}}]
    fields = {"tools": tools, "tool_choice": "none", "return_prompt_text": True}
    assert "look" not in (await chat(http, **fields)).json()["prompt_text"]
    async with connect(make_service(exclude_tools_when_tool_choice_none=False)) as client:
        assert "look" in (await chat(client, **fields)).json()["prompt_text"]
