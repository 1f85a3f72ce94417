"""POST /v1/chat/completions/batch: many conversations, one choice for each."""

from __future__ import annotations

import pytest
from tests.api.server.conftest import ANSWER

CONVERSATIONS = [[{"role": "user", "content": text}] for text in ("one", "two", "hello world")]
PATH = "/v1/chat/completions/batch"


async def test_each_conversation_has_its_answer(http, engine, tokenizer):
    def script(request, _index):
        prompt = tokenizer.decode(request.prompt_token_ids)
        return tokenizer.encode("the fox " + prompt.split("\n")[1])

    engine.script = script
    reply = await http.post(PATH, json={"messages": CONVERSATIONS, "max_tokens": 50, "seed": 7})
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert [(one["index"], one["message"]["content"]) for one in body["choices"]] == [
        (0, "the fox one"),
        (1, "the fox two"),
        (2, "the fox hello world"),
    ]
    assert body["object"] == "chat.completion"
    assert body["usage"]["prompt_tokens"] == sum(len(request.prompt_token_ids) for request in engine.requests)
    assert {request.seed for request in engine.requests} == {7}
    assert len({request.request_id for request in engine.requests}) == 3


async def test_a_batch_of_one_is_what_the_other_route_says(http):
    fields = {"logprobs": True, "top_logprobs": 2, "return_token_ids": True}
    batch = (await http.post(PATH, json={"messages": CONVERSATIONS[:1], **fields})).json()
    alone = (await http.post("/v1/chat/completions", json={"messages": CONVERSATIONS[0], **fields})).json()
    assert batch["choices"] == alone["choices"]
    assert batch["usage"] == alone["usage"]
    assert batch["choices"][0]["message"]["content"] == ANSWER


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [[]]}, "messages[0]"),
        ({"messages": CONVERSATIONS[0]}, "messages[0]"),
        ({"messages": [*CONVERSATIONS, [{"role": "user"}]]}, "messages[3][0].content"),
        ({"messages": [CONVERSATIONS[0], [{"role": "user", "content": "word " * 400}]]}, "messages[1]"),
        ({"messages": CONVERSATIONS * 1000}, "messages"),
        ({"n": 2}, "n"),
        ({"stream": True}, "stream"),
        ({"prompt_logprobs": 1}, "prompt_logprobs"),
        ({"temperature": -1}, "temperature"),
    ],
)
async def test_a_bad_field_is_named(change, field, http, engine):
    reply = await http.post(PATH, json={"messages": CONVERSATIONS, **change})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] == field
    assert engine.requests == []
