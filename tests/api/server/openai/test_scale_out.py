"""Routes that split a request: what render gives, generate takes; both are off unless they are switched on."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from tests.api.server.openai.test_chat import HELLO, events_of

CHAT = "/v1/chat/completions"
ROUTES = [f"{CHAT}/render", "/v1/completions/render", f"{CHAT}/derender", "/v1/completions/derender",
          "/inference/v1/generate", "/inference/v1/abort_requests"]  # fmt: skip


TEXT_ROUTES = [CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/tokenize", "/detokenize",
               "/invocations", "/generative_scoring", f"{CHAT}/render"]  # fmt: skip


@pytest_asyncio.fixture
async def open_http(make_service, connect):
    service = make_service(enable_scale_out=True)
    async with connect(service) as client:
        client.engine = service.client
        client.session = service.session
        yield client


@pytest.mark.parametrize("path", ROUTES)
async def test_they_are_off_unless_switched_on(http, open_http, path):
    reply = await http.post(path, json={"messages": HELLO})
    assert reply.status_code == 403
    assert "--enable-scale-out" in reply.json()["error"]["message"]
    if path.endswith("derender"):
        reply = await open_http.post(path, json={})
        assert (reply.status_code, reply.json()["error"]["code"]) == (501, "not_implemented")


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_rendered_is_generated_as_the_request_itself(open_http, stream):
    fields = {"messages": HELLO, "max_tokens": 4, "seed": 3, "n": 2, "temperature": 0.5, "stream": stream}
    whole = await open_http.post(CHAT, json={**fields, "stream": False, "return_token_ids": True})
    own = open_http.engine.requests[-1]
    rendered = (await open_http.post(f"{CHAT}/render", json=fields)).json()
    assert rendered["token_ids"] == own.prompt_token_ids
    reply = await open_http.post("/inference/v1/generate", json=rendered)
    assert reply.status_code == 200, reply.text
    there = open_http.engine.requests[-1]
    assert there.prompt_token_ids == own.prompt_token_ids
    for name in ("max_tokens", "seed", "n", "temperature"):
        assert getattr(there.sampling, name) == getattr(own.sampling, name)
    expected = [choice["token_ids"] for choice in whole.json()["choices"]]
    parts = events_of(reply.text) if stream else [reply.json()]
    found = [[], []]
    for part in parts:
        for choice in part["choices"]:
            found[choice["index"]] += choice["token_ids"]
    assert found == expected


async def test_tokens_alone_are_taken_and_given(make_service, connect, tokenizer):
    async with connect(make_service(tokens_only=True)) as http:
        served = (await http.get("/openapi.json")).json()["paths"]
        generated = await http.post(
            "/inference/v1/generate", json={"token_ids": tokenizer.encode("one"), "request_id": "mine"}
        )
        assert generated.status_code == 200, generated.text
        assert set(generated.json()["choices"][0]) == {
            "index", "token_ids", "finish_reason", "stop_reason", "logprobs"
        }  # fmt: skip
        for path in ("/abort_requests", "/inference/v1/abort_requests"):
            assert (await http.post(path, json={"request_ids": ["mine"]})).json() == {"num_aborted": 0}
        for path in ("/health", "/ready", "/metrics", "/v1/models", "/kv_event_sources"):
            assert (await http.get(path)).status_code == 200
        for path in TEXT_ROUTES:
            assert path not in served
            assert (await http.post(path, json={"messages": HELLO})).status_code == 404
        assert (await http.get("/")).status_code == 404  # the chat page


async def test_a_request_in_tokens_is_given_up_by_its_name(open_http):
    open_http.engine.pause_after = 1
    body = {"token_ids": [5], "request_id": "mine-1"}
    reply = asyncio.create_task(open_http.post("/inference/v1/generate", json=body))
    while not open_http.engine.num_in_flight:
        await asyncio.sleep(0.001)
    ended = await open_http.post("/inference/v1/abort_requests", json={"request_ids": ["mine", "mine-1"]})
    assert ended.json() == {"num_aborted": 1}
    assert open_http.engine.aborted == ["gen-mine-1"]
    reply.cancel()


async def test_each_prompt_of_a_completion_is_rendered(open_http, tokenizer):
    body = {"prompt": ["one", "two three"], "max_tokens": 2}
    rendered = (await open_http.post("/v1/completions/render", json=body)).json()
    assert [one["token_ids"] for one in rendered] == [tokenizer.encode("one"), tokenizer.encode("two three")]
    assert not open_http.engine.requests


async def test_the_places_of_a_prompts_tokens_are_told(open_http, tokenizer):
    text = "one, zwölf 🌞 three"
    (rendered,) = (
        await open_http.post("/v1/completions/render", json={"prompt": text, "return_token_offsets": True})
    ).json()
    places = rendered["token_offsets"]
    assert len(places) == len(rendered["token_ids"])
    shown = [(start, end) for start, end in places if end]
    assert "".join(text[start:end] for start, end in dict.fromkeys(shown)) == text
    assert [start for start, _ in shown] == sorted(start for start, _ in shown)

    chat = {"messages": HELLO, "return_token_offsets": True}
    rendered = (await open_http.post(f"{CHAT}/render", json=chat)).json()
    written = open_http.session.render_chat(HELLO)
    assert [written[start:end] for start, end in rendered["token_offsets"]] == [
        tokenizer.decode([token], skip_special_tokens=False) for token in rendered["token_ids"]
    ]
    reply = await open_http.post("/inference/v1/generate", json=rendered)
    assert reply.status_code == 200, reply.text

    for body in ({"prompt": [5, 6], "return_token_offsets": True}, {"prompt": "a"}):
        (rendered,) = (await open_http.post("/v1/completions/render", json=body)).json()
        assert "token_offsets" not in rendered
    cut = {"prompt": text, "return_token_offsets": True, "truncate_prompt_tokens": 2}
    for path, body in (("/v1/completions/render", cut), (CHAT, chat)):
        reply = await open_http.post(path, json=body)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "return_token_offsets"), (
            reply.text
        )


async def test_forced_calls_are_rendered_as_a_grammar(make_service, connect):
    service = make_service(enable_scale_out=True, tool_call_parser="hermes", enable_auto_tool_choice=True)
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    body = {"messages": HELLO, "tools": tools, "tool_choice": "required"}
    async with connect(service) as client:
        rendered = (await client.post(f"{CHAT}/render", json=body)).json()
    assert "look" in rendered["sampling_params"]["structured_outputs"]["structural_tag"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"token_ids": []}, "prompt"),
        ({"token_ids": [10**7]}, "prompt"),
        ({"sampling_params": {"stop": "x"}}, "sampling_params.stop"),
        ({"sampling_params": {"temprature": 1}}, "sampling_params.temprature"),
        ({"sampling_params": {"thinking_token_budget": 1}}, "thinking_token_budget"),
        ({"features": {}}, "features"),
        ({"stream_options": {}}, "stream_options"),
    ],
)
async def test_what_is_wrong_is_named(open_http, fields, name):
    reply = await open_http.post("/inference/v1/generate", json={"token_ids": [1], **fields})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, name)


async def test_log_probabilities_and_usage_come_with_the_tokens(open_http):
    sampling = {"max_tokens": 3, "logprobs": 1, "prompt_logprobs": 0}
    body = {"token_ids": [5, 6], "sampling_params": sampling}
    reply = (await open_http.post("/inference/v1/generate", json=body)).json()
    assert len(reply["choices"][0]["logprobs"]["content"]) == 3
    assert [entry is None for entry in reply["prompt_logprobs"]] == [True, False]
    assert reply["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


async def test_the_tokenizer_is_told_of_where_it_may_be(http, make_service, connect):
    assert (await http.get("/tokenizer_info")).status_code == 404
    async with connect(make_service(enable_tokenizer_info_endpoint=True)) as client:
        info = (await client.get("/tokenizer_info")).json()
    assert info["eos_token"] == "<|im_end|>"
    assert "messages" in info["chat_template"]
