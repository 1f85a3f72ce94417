"""What /v1/messages takes, and what it refuses by name; streams equal whole replies; callers who leave."""

from __future__ import annotations

import asyncio
import json

import anthropic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.server.openai.test_bad_requests import BROKEN_BODIES, LEAKS

USER = {"role": "user", "content": "hello"}
GOOD = {"max_tokens": 50, "messages": [USER]}
TOOL = {"name": "look", "input_schema": {"type": "object"}}


def block(**fields) -> dict:
    return {"messages": [{"role": "user", "content": [fields]}]}


def spoken(**fields) -> dict:
    return {"messages": [USER, {"role": "assistant", "content": [fields]}, USER]}


PROMPT_CASES: list[tuple[dict, str]] = [
    ({"model": "claude"}, "model|claude"),
    ({"messages": []}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": ["x"]}, "messages[0]"),
    ({"messages": [USER] * 20_000}, "messages"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": "x", "name": "y"}]}, "messages[0].name"),
    (block(), "messages[0].content[0].type"),
    (block(type="image", source={"type": "url", "url": "http://x"}), "messages[0].content[0].type"),
    (block(type="document", source={}), "messages[0].content[0].type"),
    (block(type="thinking", thinking="x", signature=""), "messages[0].content[0].type"),
    (block(type={}), "messages[0].content[0].type"),
    (block(type="text"), "messages[0].content[0].text"),
    (block(type="text", text="x", colour=1), "messages[0].content[0].colour"),
    (block(type="tool_result"), "messages[0].content[0].tool_use_id"),
    (
        block(type="tool_result", tool_use_id="x", content=[{"type": "image"}]),
        "messages[0].content[0].content[0].type",
    ),
    (spoken(type="tool_use", id="x", name="y", input="{}"), "messages[1].content[0].input"),
    (spoken(type="server_tool_use", id="x"), "messages[1].content[0].type"),
    (spoken(type="redacted_thinking"), "messages[1].content[0].data"),
    ({"system": 5}, "system"),
    ({"system": [{"type": "image"}]}, "system[0].type"),
    ({"tools": [{}]}, "tools[0].name"),
    ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    ({"tools": [{**TOOL, "defer_loading": True}]}, "tools[0].defer_loading"),
    ({"tools": [TOOL], "tool_choice": {"type": "sometimes"}}, "tool_choice.type"),
    ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ({"thinking": {"type": "between_tools"}}, "thinking.type"),
    ({"thinking": {"type": "adaptive"}}, "thinking.type"),  # no reasoning parser here
    ({"thinking": {"type": "disabled", "budget_tokens": 5}}, "thinking.budget_tokens"),
    ({"output_config": {"effort": "high"}}, "output_config.effort"),
    ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
    ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
    ({"speed": "fast"}, "speed"),
    ({"context_management": {"edits": []}}, "context_management"),
    ({"mcp_servers": [{}]}, "mcp_servers"),
    ({"mesages": []}, "mesages"),
]
MESSAGE_CASES: list[tuple[dict, str]] = [
    *PROMPT_CASES,
    ({"messages": [{"role": "user", "content": "word " * 400}]}, "messages"),
    ({"messages": [{"role": "user", "content": "w" * 2_000_000}]}, "messages"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "other"}}, "tool_choice"),
    ({"max_tokens": None}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "x"}, "max_tokens"),
    ({"thinking": {"type": "enabled", "budget_tokens": 50}}, "thinking.budget_tokens"),
    ({"output_config": {"format": {"type": "json_schema", "schema": {"type": 5}}}}, "output_config.format"),
    ({"stop_sequences": [""]}, "stop_sequences"),
    ({"stop_sequences": "x"}, "stop_sequences"),
    ({"stop_sequences": ["a"] * 1000}, "stop_sequences"),
    ({"temperature": 1e308}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"seed": 2**63}, "seed"),
    ({"request_id": "two words"}, "request_id"),
    ({"metadata": []}, "metadata"),
    ({"service_tier": "priority"}, "service_tier"),
    ({"container": "c"}, "container"),
    ({"n": 2}, "n"),
    ({"stop": "x"}, "stop"),
    ({"kv_transfer_params": {}}, "kv_transfer_params"),
]
CASES = [
    *(("/v1/messages", change, field) for change, field in MESSAGE_CASES),
    *(("/v1/messages/count_tokens", change, field) for change, field in PROMPT_CASES),
    ("/v1/messages/count_tokens", {"temperature": 1}, "temperature"),
]


@pytest.mark.parametrize(("path", "change", "field"), CASES, ids=lambda value: json.dumps(value)[:60])
async def test_a_bad_field_is_named(path, change, field, http, engine):
    good = GOOD if path == "/v1/messages" else {"messages": [USER]}
    reply = await http.post(path, json={**good, **change})
    assert 400 <= reply.status_code < 500, reply.text
    body = reply.json()
    assert body.keys() == {"type", "error", "request_id"}
    assert body["error"]["type"] == ("not_found_error" if "model" in change else "invalid_request_error")
    assert any(name in body["error"]["message"] for name in field.split("|")), body
    assert not LEAKS.search(reply.text)
    assert engine.requests == []


async def test_broken_json_is_a_400(http):
    for body in BROKEN_BODIES:
        reply = await http.post("/v1/messages", content=body, headers={"content-type": "application/json"})
        assert (reply.status_code, reply.json()["type"]) == (400, "error"), body[:40]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("POST", "/v1/messages/batches", 404, "not_found_error"),
        ("POST", "/v1/messages", 400, "invalid_request_error"),
    ],
)
async def test_whatever_goes_wrong_on_these_paths_has_anthropic_s_shape(method, path, status, kind, http):
    reply = await http.request(method, path)
    assert reply.status_code == status
    assert (reply.json()["type"], reply.json()["error"]["type"]) == ("error", kind)
    other = await http.request(method, path.replace("messages", "massages"))
    assert "param" in other.json()["error"]


async def test_a_server_that_is_not_ready_or_full_is_overloaded(service, http):
    session, service.session = service.session, None
    reply = await http.post("/v1/messages", json=GOOD)
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "overloaded_error")
    assert int(reply.headers["retry-after"]) > 0
    service.session = session
    service.client.die("gone")
    reply = await http.post("/v1/messages", json=GOOD)
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "api_error")


async def test_values_that_ask_for_what_happens_anyway_pass(http):
    marked = {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}, "citations": None}
    same = {
        "messages": [{"role": "user", "content": [marked]}],
        "system": [marked],
        "metadata": {"user_id": "me"},
        "service_tier": "auto",
        "speed": "standard",
        "tools": [],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "disabled"},
        "cache_control": {"type": "ephemeral"},
    }
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "some-feature"}
    reply = await http.post("/v1/messages", json={**GOOD, **same}, headers=headers)
    assert reply.status_code == 200, reply.text


async def test_what_is_asked_reaches_the_engine(http, engine):
    fields = {
        "max_tokens": 50, "temperature": 0.3, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2,
        "seed": 7, "stop_token_ids": [6], "ignore_eos": True,
    }  # fmt: skip
    request = {**GOOD, **fields, "stop_sequences": ["zz"], "cache_salt": "salt", "request_id": "mine"}
    reply = await http.post("/v1/messages", json=request)
    assert reply.status_code == 200, reply.text
    sent = engine.requests[0]
    for name, value in fields.items():
        assert getattr(sent.sampling, name) == value, name
    assert (sent.sampling.stop, sent.cache_salt) == (["zz"], "salt")
    assert sent.request_id.startswith("msg_mine-")


async def test_a_thinking_budget_that_a_model_cannot_keep_is_refused_by_name(answering, connect):
    """The end of its reasoning is not one token; tests/e2e/test_dialogs.py has a model that keeps one."""
    service = answering("<think>\nhm\n</think>\n\nSunny.")
    request = {**GOOD, "thinking": {"type": "enabled", "budget_tokens": 20}}
    async with connect(service) as http:
        reply = await http.post("/v1/messages", json=request)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("thinking.budget_tokens is not supported")


async def test_a_template_that_can_switch_thinking_is_told(answering, connect):
    service = answering("Sunny.")
    switch = "{% if enable_thinking is defined %}{{ enable_thinking }}{% endif %}"
    service.session.template = service.session.template.replaced_by(
        service.session.template.sources["default"] + switch
    )
    async with connect(service) as http:
        for kind in ("adaptive", "disabled"):
            reply = await http.post("/v1/messages", json={**GOOD, "thinking": {"type": kind}})
            assert reply.status_code == 200, reply.text
        await http.post("/v1/messages", json=GOOD)
    prompts = [
        service.session.tokenizer.decode(request.prompt_token_ids) for request in service.client.requests
    ]
    assert [prompt.rsplit("\n", 1)[1] for prompt in prompts] == ["True", "False", ""]


async def test_a_caller_who_leaves_a_stream_frees_the_engine(live):
    live.engine.pause_after = 3
    async with (
        anthropic.AsyncAnthropic(base_url=live.url, api_key="none") as client,
        client.messages.stream(model="scripted", **GOOD) as stream,
    ):
        async for _ in stream.text_stream:
            break
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
    '{"name": "look", "arguments": [5]}',
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=10), limit=st.integers(1, 60))
async def test_a_stream_says_what_the_whole_message_says(pieces, limit, answering, connect):
    service = answering("".join(pieces))
    request = {**GOOD, "tools": [TOOL], "max_tokens": limit}
    async with connect(service) as http:
        whole = (await http.post("/v1/messages", json=request)).json()
        reply = await http.post("/v1/messages", json={**request, "stream": True})
    frames = [frame.split("\n", 1) for frame in reply.text.split("\n\n") if frame]
    events = [json.loads(data.removeprefix("data: ")) for _, data in frames]
    assert [name.removeprefix("event: ") for name, _ in frames] == [event["type"] for event in events]
    assert put_together(events) == [{k: v for k, v in one.items() if k != "id"} for one in whole["content"]]
    end = events[-2]
    assert end["delta"] == {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    assert end["usage"] == whole["usage"]


def put_together(events) -> list[dict]:
    """The blocks a client makes of the events."""
    blocks, inputs = [], {}
    for event in events:
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append({key: value for key, value in event["content_block"].items() if key != "id"})
        elif event["type"] == "content_block_delta":
            kind, value = list(event["delta"].values())
            name = kind.removesuffix("_delta")
            if name == "input_json":
                inputs[event["index"]] = inputs.get(event["index"], "") + value
            else:
                blocks[event["index"]][name] += value
    for place, text in inputs.items():
        blocks[place]["input"] = json.loads(text)
    return blocks
