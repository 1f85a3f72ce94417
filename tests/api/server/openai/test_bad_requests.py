"""Hostile and mistaken requests: each gets a 4xx that names the field, and the server goes on as before."""

from __future__ import annotations

import json
import re

import pytest

CHAT = {"messages": [{"role": "user", "content": "hello"}]}
TEXT = {"prompt": "hello"}
TOOL = {"type": "function", "function": {"name": "look"}}

# (change to a good request, field named by the error); a callable-free table so that it reads as one
BOTH_ROUTES: list[tuple[dict, str]] = [
    ({"model": "gpt-4"}, "model"),
    ({"model": 7}, "model"),
    ({"n": 0}, "n"),
    ({"n": -1}, "n"),
    ({"n": 10**9}, "n"),
    ({"n": 10**30}, "n"),
    ({"n": 1.5}, "n"),
    ({"n": True}, "n"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 10**9}, "max_tokens"),
    ({"max_tokens": 2**63}, "max_tokens"),
    ({"max_tokens": "many"}, "max_tokens"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 1e308}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": 10**400}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.1}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"top_k": 2**63}, "top_k"),
    ({"top_k": 0.5}, "top_k"),
    ({"min_p": 2}, "min_p"),
    ({"presence_penalty": 3}, "presence_penalty"),
    ({"frequency_penalty": -3}, "frequency_penalty"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"seed": 2**63}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"seed": "lucky"}, "seed"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": [1]}, "stop[0]"),
    ({"stop": "x" * 10_000}, "stop"),
    ({"stop_token_ids": [-1]}, "stop_token_ids"),
    ({"stop_token_ids": [10**6]}, "stop_token_ids"),
    ({"stop_token_ids": [2**63]}, "stop_token_ids[0]"),
    ({"stop_token_ids": list(range(200))}, "stop_token_ids"),
    ({"allowed_token_ids": []}, "allowed_token_ids"),
    ({"allowed_token_ids": [10**6]}, "allowed_token_ids"),
    ({"allowed_token_ids": [0] * 100_000}, "allowed_token_ids"),
    ({"logit_bias": {"1000000": 1}}, "logit_bias"),
    ({"logit_bias": {"-1": 1}}, "logit_bias"),
    ({"logit_bias": {"a": 1}}, "logit_bias"),
    ({"logit_bias": {"1": "x"}}, "logit_bias[...]"),
    ({"logit_bias": [1]}, "logit_bias"),
    ({"bad_words": [""]}, "bad_words"),
    ({"bad_words": ["x"] * 1000}, "bad_words"),
    ({"min_tokens": 20, "max_tokens": 10}, "min_tokens"),
    ({"prompt_logprobs": 10**9}, "prompt_logprobs"),
    ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
    ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
    ({"truncate_prompt_tokens": 10**6}, "truncate_prompt_tokens"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
    ({"request_id": ""}, "request_id"),
    ({"request_id": "two words"}, "request_id"),
    ({"request_id": "x" * 1000}, "request_id"),
    ({"cache_salt": "x" * 100_000}, "cache_salt"),
    ({"user": 7}, "user"),
    ({"metadata": []}, "metadata"),
    ({"store": True}, "store"),
    ({"service_tier": "flex"}, "service_tier"),
    ({"best_of": 2}, "best_of"),
    ({"best_of": True}, "best_of"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
    ({"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}}, "response_format"),
    ({"response_format": {"type": "structural_tag", "format": {"type": "song"}}}, "response_format"),
    ({"structured_outputs": {}}, "structured_outputs"),
    ({"structured_outputs": {"choice": ["a"], "regex": "a"}}, "structured_outputs"),
    ({"structured_outputs": {"choice": []}}, "structured_outputs"),
    ({"structured_outputs": {"regex": "(?=a)b"}}, "structured_outputs"),
    ({"structured_outputs": {"grammar": "no grammar"}}, "structured_outputs"),
    ({"structured_outputs": {"json": {"type": 5}}}, "structured_outputs"),
    ({"structured_outputs": {"json": "{"}}, "structured_outputs"),
    ({"structured_outputs": {"json": False}}, "structured_outputs"),
    *(({f"guided_{name}": {}}, f"guided_{name}") for name in ("json", "regex", "choice", "grammar")),
    ({"guided_decoding_backend": "outlines"}, "guided_decoding_backend"),
    ({"guided_whitespace_pattern": " "}, "guided_whitespace_pattern"),
    ({"use_beam_search": True, "stream": True}, "stream"),
    ({"use_beam_search": True, "top_p": 0.5}, "top_p"),
    ({"use_beam_search": True, "seed": 1, "stop": "x"}, "stop"),
    ({"use_beam_search": True, "n": 11}, "n"),
    ({"use_beam_search": True, "n": 3, "allowed_token_ids": [1, 2]}, "allowed_token_ids"),
    ({"use_beam_search": True, "structured_outputs": {"regex": "a"}}, "structured_outputs"),
    ({"length_penalty": 2}, "length_penalty"),
    ({"truncation_side": "left"}, "truncation_side"),
    ({"truncation_side": "middle", "truncate_prompt_tokens": 3}, "truncation_side"),
    ({"logprob_token_ids": [10**6]}, "logprob_token_ids"),
    ({"prompt_logprob_start": 3}, "prompt_logprob_start"),
    ({"thinking_token_budget": 3}, "thinking_token_budget"),
    ({"thinking_token_budget": -1}, "thinking_token_budget"),
    ({"repetition_detection": {"max_pattern_size": 3}}, "repetition_detection"),
    ({"repetition_detection": {"max_pattern_size": 1, "min_pattern_size": 3}}, "repetition_detection"),
    ({"stream_interval": 0}, "stream_interval"),
    ({"extra_args": {"a": 1}}, "extra_args"),
    ({"vllm_xargs": {"x": 1}}, "vllm_xargs"),
    ({"vllm_xargs": {"x": {}}}, "vllm_xargs[...]"),
    ({"temprature": 1}, "temprature"),
    ({"": 1}, ""),
    ({"x" * 100_000: 1}, "x" * 100),
]
CHAT_ONLY: list[tuple[dict, str]] = [
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": ["hello"]}, "messages[0]"),
    ({"messages": [{"content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": "x", "tool_calls": []}]}, "messages[0].tool_calls"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
        "messages",
    ),
    ({"messages": [{"role": "user", "content": "word " * 400}]}, "messages"),
    ({"messages": [{"role": "user", "content": "w" * 2_000_000}]}, "messages"),
    ({"messages": CHAT["messages"] * 20_000}, "messages"),
    ({"max_completion_tokens": 10**9}, "max_completion_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_completion_tokens": 3, "max_tokens": 4}, "max_completion_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"logprobs": 5}, "logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 10**9}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": -2}, "top_logprobs"),
    ({"tools": []}, "tools"),
    ({"tools": [{}]}, "tools[0].type"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice.function"),
    ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "x"}}, "audio"),
    ({"prediction": {}}, "prediction"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"reasoning_effort": "high"}, "reasoning_effort"),
    ({"chat_template": "{{ 1 }}"}, "chat_template"),
    ({"continue_final_message": True, "add_generation_prompt": True}, "continue_final_message"),
    ({"prompt": "x"}, "prompt"),
]
TEXT_ONLY: list[tuple[dict, str]] = [
    ({"prompt": None}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": ["", "x"]}, "prompt"),
    ({"prompt": ["x", 1]}, "prompt"),
    ({"prompt": {"text": "x"}}, "prompt"),
    ({"prompt": [1.5]}, "prompt[0]"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [10**6]}, "prompt"),
    ({"prompt": [2**64]}, "prompt[0]"),
    ({"prompt": [5] * 300}, "prompt"),
    ({"prompt": [5] * 1_000_000}, "prompt"),
    ({"prompt": ["x"] * 5000}, "prompt"),
    ({"prompt": "word " * 400}, "prompt"),
    ({"prompt": ["x"] * 1000, "n": 1000}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"logprobs": True}, "logprobs"),
    ({"logprobs": -2}, "logprobs"),
    ({"logprobs": 10**9}, "logprobs"),
    ({"suffix": "end"}, "suffix"),
    ({"prompt_embeds": "AAAA"}, "prompt_embeds"),
    ({"messages": []}, "messages"),
]
CASES = [
    *(("/v1/chat/completions", CHAT, change, field) for change, field in BOTH_ROUTES + CHAT_ONLY),
    *(("/v1/completions", TEXT, change, field) for change, field in BOTH_ROUTES + TEXT_ONLY),
    ("/tokenize", {}, {}, "prompt"),
    ("/tokenize", {}, {"prompt": "x", "messages": []}, "prompt"),
    ("/tokenize", {}, {"messages": []}, "messages"),
    ("/tokenize", {}, {"prompt": "x", "model": "no"}, "model"),
    ("/tokenize", {}, {"promt": "x"}, "promt"),
    ("/detokenize", {}, {}, "tokens"),
    ("/detokenize", {}, {"tokens": "x"}, "tokens"),
    ("/detokenize", {}, {"tokens": [10**6]}, "tokens"),
    ("/detokenize", {}, {"tokens": [-1]}, "tokens"),
]
LEAKS = re.compile(r"0x[0-9a-f]{6,}|Traceback|File \"|/quire/|site-packages")


def case_name(case: tuple) -> str:
    return f"{case[0]} {json.dumps(case[2])[:60]}"


@pytest.mark.parametrize("case", CASES, ids=case_name)
async def test_a_bad_field_is_named(case, http, engine):
    path, good, change, field = case
    reply = await http.post(path, json={**good, **change})
    assert 400 <= reply.status_code < 500, reply.text
    error = reply.json()["error"]
    assert error["param"] == field, error
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 1100
    assert not LEAKS.search(reply.text)
    assert engine.requests == [], "a refused request reached the engine"


BROKEN_BODIES = [
    b"",
    b"{",
    b'{"messages": [}',
    b"null",
    b"[]",
    b'"text"',
    b'{"prompt": "x"} {}',
    b"\xff\xfe",
    b'{"prompt": "\\ud800"}',
    b'{"prompt": "\xed\xa0\x80"}',
    b'{"temperature": NaN}',
    b'{"temperature": Infinity}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"prompt": ' + b"[" * 200 + b"]" * 200 + b"}",
    b"{" + b'"a":1,' * 3 + b"}",
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"])
async def test_broken_json_is_a_400(path, http):
    for body in BROKEN_BODIES:
        reply = await http.post(path, content=body, headers={"content-type": "application/json"})
        assert reply.status_code == 400, body[:40]
        assert reply.json()["error"]["code"] in ("invalid_json", "invalid_request_error")


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5000, "1" + "0" * 400])
async def test_a_number_nothing_can_hold_names_its_field(number, http):
    body = b'{"prompt": "x", "temperature": ' + number.encode() + b"}"
    reply = await http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "temperature"


async def test_the_server_is_unharmed_after_all_of_them(http, engine):
    for path, good, change, _ in CASES:
        await http.post(path, json={**good, **change})
    reply = await http.post("/v1/completions", json={"prompt": "hello", "max_tokens": 50})
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["text"] == "hello world, how are you?"
    assert (await http.get("/health")).status_code == 200
    assert engine.num_streams == 0


async def test_an_unknown_field_is_answered_with_the_nearest_known_one(http):
    reply = await http.post("/v1/completions", json={"prompt": "x", "temprature": 1})
    assert "`temperature`" in reply.json()["error"]["message"]


async def test_an_unknown_model_has_openai_s_code(http):
    reply = await http.post("/v1/completions", json={"prompt": "x", "model": "gpt-4"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


async def test_values_that_ask_for_what_happens_anyway_pass(http):
    same = {
        "store": False,
        "service_tier": "auto",
        "response_format": {"type": "text"},
        "best_of": 1,
        "length_penalty": 1,
        "user": "me",
        "metadata": {"a": "b"},
        "prompt_cache_key": "k",
        "suffix": None,
    }
    reply = await http.post("/v1/completions", json={"prompt": "x", **same})
    assert reply.status_code == 200, reply.text
