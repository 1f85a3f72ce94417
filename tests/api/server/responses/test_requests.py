"""What /v1/responses takes, and what it refuses by name; streams equal whole replies; callers who leave."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.server.openai.test_bad_requests import BROKEN_BODIES, LEAKS

FUNCTION = {"type": "function", "name": "look"}
USER = {"role": "user", "content": "hello"}

BAD: list[tuple[dict, str]] = [
    ({"model": "gpt-4"}, "model"),
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": 5}, "input"),
    ({"input": ["x"]}, "input[0]"),
    ({"input": "word " * 400}, "input"),
    ({"input": [USER] * 20_000}, "input"),
    ({"input": [{"role": "king", "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"input": [{**USER, "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0].content[0].type"),
    ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
    ({"input": [{"role": "user", "content": [{"type": {}}]}]}, "input[0].content[0].type"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
    ({"input": [{"role": "user", "content": "x", "colour": 1}]}, "input[0].colour"),
    ({"input": [USER, {"type": "item_reference", "id": "x"}]}, "input[1].type"),
    ({"input": [USER, {"type": "web_search_call"}]}, "input[1].type"),
    ({"input": [USER, {"type": 7}]}, "input[1].type"),
    ({"input": [USER, {"type": "function_call", "name": "f"}]}, "input[1].call_id"),
    ({"input": [USER, {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{"}]}, "input"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": 3}]}, "input[0].output"),
    ({"instructions": 5}, "instructions"),
    ({"tools": [{"type": "web_search_preview"}]}, "tools[0].type"),
    ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, "tools[0].type"),
    ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
    ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type"),
    ({"tools": [{}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [{**FUNCTION, "parameters": 5}]}, "tools[0].parameters"),
    ({"tools": [{**FUNCTION, "defer_loading": True}]}, "tools[0].defer_loading"),
    ({"tools": [FUNCTION], "tool_choice": "sometimes"}, "tool_choice"),
    ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "other"}}, "tool_choice"),
    ({"tools": [FUNCTION], "tool_choice": {"type": "function"}}, "tool_choice.name"),
    ({"tools": [FUNCTION], "tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice.type"),
    (
        {
            "tools": [FUNCTION],
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "other"}],
            },
        },
        "tool_choice.tools[0].name",
    ),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
    ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": 5}}}}, "text.format"),
    ({"text": {"format": {"type": "json_object"}}, "structured_outputs": {"regex": "a"}}, "text.format"),
    ({"text": {"verbosity": "low"}}, "text.verbosity"),
    ({"structured_outputs": {"regex": "(?=a)b"}}, "structured_outputs"),
    ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
    ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
    ({"reasoning": {"budget": 3}}, "reasoning.budget"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"max_output_tokens": 10**9}, "max_output_tokens"),
    ({"max_output_tokens": "x"}, "max_output_tokens"),
    ({"temperature": 1e308}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"min_p": 2}, "min_p"),
    ({"seed": 2**63}, "seed"),
    ({"stop": ""}, "stop"),
    ({"stop_token_ids": [10**6]}, "stop_token_ids"),
    ({"logit_bias": {"-1": 1}}, "logit_bias"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"top_logprobs": 10**9, "include": ["message.output_text.logprobs"]}, "top_logprobs"),
    ({"include": ["file_search_call.results"]}, "include[0]"),
    ({"truncation": "sometimes"}, "truncation"),
    ({"metadata": {"a": 1}}, "metadata[...]"),
    ({"metadata": {"a": "x" * 600}}, "metadata"),
    ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
    ({"user": 7}, "user"),
    ({"background": True}, "background"),
    ({"stream_options": {}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ({"request_id": "two words"}, "request_id"),
    ({"cache_salt": "x" * 100_000}, "cache_salt"),
    ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
    ({"conversation": "c"}, "conversation"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"max_tool_calls": 3}, "max_tool_calls"),
    ({"service_tier": "flex"}, "service_tier"),
    ({"messages": [USER]}, "messages"),
    ({"max_tokens": 5}, "max_tokens"),
    ({"kv_transfer_params": {}}, "kv_transfer_params"),
    ({"enable_response_messages": True}, "enable_response_messages"),
    ({"temprature": 1}, "temprature"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field"), BAD, ids=lambda value: json.dumps(value)[:60])
async def test_a_bad_field_is_named(change, field, http, engine):
    reply = await http.post("/v1/responses", json={"input": "hello", **change})
    assert 400 <= reply.status_code < 500, reply.text
    error = reply.json()["error"]
    assert error["param"] == field, error
    assert not LEAKS.search(reply.text)
    assert engine.requests == []


async def test_broken_json_is_a_400(http):
    for body in BROKEN_BODIES:
        reply = await http.post("/v1/responses", content=body, headers={"content-type": "application/json"})
        assert reply.status_code == 400, body[:40]


async def test_values_that_ask_for_what_happens_anyway_pass(http, engine):
    same = {
        "store": False,
        "service_tier": "auto",
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "reasoning": {"summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "tools": [],
        "tool_choice": "auto",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "truncation": "disabled",
    }
    reply = await http.post("/v1/responses", json={"input": "x", **same})
    assert reply.status_code == 200, reply.text
    assert (reply.json()["prompt_cache_key"], reply.json()["safety_identifier"]) == ("k", "s")


async def test_what_is_asked_reaches_the_engine(http, engine):
    fields = {
        "temperature": 0.3, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "presence_penalty": 0.5, "frequency_penalty": 0.6,
        "repetition_penalty": 1.2, "logit_bias": {"5": 1.0}, "seed": 7, "stop": ["zz"], "stop_token_ids": [6],
        "include_stop_str_in_output": True, "ignore_eos": True, "min_tokens": 2, "skip_special_tokens": False,
    }  # fmt: skip
    request = {**fields, "max_output_tokens": 50, "priority": 0, "cache_salt": "salt", "request_id": "mine"}
    reply = await http.post("/v1/responses", json={"input": "x", **request})
    assert reply.status_code == 200, reply.text
    sent = engine.requests[0]
    for name, value in fields.items():
        expected = {5: 1.0} if name == "logit_bias" else value
        assert getattr(sent.sampling, name) == expected, name
    assert (sent.sampling.max_tokens, sent.cache_salt) == (50, "salt")
    assert sent.request_id.startswith("resp_mine-")


async def test_items_become_the_messages_of_turns(http, engine, tokenizer):
    items = [
        {"role": "developer", "content": "Be kind."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "one"}]},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "hm"}],
        },
        {"role": "assistant", "content": [{"type": "output_text", "text": "two", "annotations": []}]},
        {"role": "user", "content": "three"},
    ]
    reply = await http.post("/v1/responses", json={"input": items})
    assert reply.status_code == 200, reply.text
    prompt = tokenizer.decode(engine.requests[0].prompt_token_ids, skip_special_tokens=False)
    turns = [("system", "Be kind."), ("user", "one"), ("assistant", "two"), ("user", "three")]
    expected = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    assert prompt == expected + "<|im_start|>assistant\n"


async def test_automatic_truncation_drops_the_oldest_turns_and_keeps_the_instructions(
    http, engine, tokenizer
):
    items = []
    for number in range(40):
        items += [{"role": "user", "content": f"fox {number}"}, {"role": "assistant", "content": "one two"}]
    items.append({"role": "user", "content": "hello"})
    request = {"input": items, "instructions": "Be kind.", "max_output_tokens": 50}
    assert (await http.post("/v1/responses", json=request)).status_code == 400
    reply = await http.post("/v1/responses", json={**request, "truncation": "auto"})
    assert reply.status_code == 200, reply.text
    prompt = tokenizer.decode(engine.requests[0].prompt_token_ids, skip_special_tokens=False)
    assert prompt.startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nfox ")
    assert prompt.endswith("<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n")
    first = int(prompt.split("fox ")[1].split("<")[0])
    assert first > 0
    assert len(engine.requests[0].prompt_token_ids) <= 256 - 50
    # and one turn more would not have fitted
    turn = f"<|im_start|>user\nfox {first - 1}<|im_end|>\n<|im_start|>assistant\none two<|im_end|>\n"
    assert len(engine.requests[0].prompt_token_ids) + len(tokenizer.encode(turn)) > 256 - 50


async def test_allowed_tools_are_the_only_ones_shown(answering, connect):
    service = answering("hello")
    others = [{"type": "function", "name": name} for name in ("look", "jump")]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [FUNCTION]}
    async with connect(service) as http:
        reply = await http.post("/v1/responses", json={"input": "x", "tools": others, "tool_choice": choice})
    assert reply.status_code == 200, reply.text
    assert reply.json()["tool_choice"] == choice
    prompt = service.session.tokenizer.decode(service.client.requests[0].prompt_token_ids)
    assert "look" in prompt
    assert "jump" not in prompt


async def test_a_forced_function_is_held_by_a_grammar(answering, connect):
    service = answering('<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>')
    async with connect(service) as http:
        for choice in ("required", {"type": "function", "name": "look"}):
            reply = await http.post(
                "/v1/responses", json={"input": "x", "tools": [FUNCTION], "tool_choice": choice}
            )
            assert reply.status_code == 200, reply.text
            assert [item["type"] for item in reply.json()["output"]] == ["function_call"]
    assert all(request.constraint is not None for request in service.client.requests)


async def test_a_caller_who_leaves_a_stream_frees_the_engine(live):
    live.engine.pause_after = 3
    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none") as client:
        stream = await client.responses.create(model="scripted", input="hello", stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()
    async with asyncio.timeout(10):
        while live.engine.num_streams:
            await asyncio.sleep(0.005)
    assert live.engine.aborted == [live.engine.requests[0].request_id]


PIECES = [
    "<think>",
    "</think>",
    "\n",
    "hello ",
    "wörld",
    "<tool_call>\n",
    "\n</tool_call>",
    '{"name": "look", "arguments": {"a": [1, "é"]}}',
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=10), limit=st.integers(1, 60))
async def test_a_stream_says_what_the_whole_reply_says(pieces, limit, answering, connect):
    service = answering("".join(pieces))
    request = {"input": "x", "tools": [FUNCTION], "max_output_tokens": limit}
    async with connect(service) as http:
        whole = (await http.post("/v1/responses", json=request)).json()
        reply = await http.post("/v1/responses", json={**request, "stream": True})
    frames = [frame.split("\n", 1) for frame in reply.text.split("\n\n") if frame]
    events = [json.loads(data.removeprefix("data: ")) for _, data in frames]
    assert [name.removeprefix("event: ") for name, _ in frames] == [event["type"] for event in events]
    last = events[-1]["response"]
    strip = {"id", "call_id"}

    def bare(response):
        return [
            {key: value for key, value in item.items() if key not in strip} for item in response["output"]
        ]

    assert bare(last) == bare(whole)
    assert (last["status"], last["usage"]) == (whole["status"], whole["usage"])
    texts = {}
    for event in events:
        if event["type"].endswith(".delta"):
            texts[event["output_index"]] = texts.get(event["output_index"], "") + event["delta"]
    assert texts == {
        place: item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
        for place, item in enumerate(whole["output"])
        if item["type"] != "function_call" or item["arguments"]
    }
