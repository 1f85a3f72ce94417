"""POST /v1/completions against scripted answers: prompts of every form, echo, log-probabilities, streams."""

from __future__ import annotations

import pytest
from tests.api.server.conftest import ANSWER
from tests.api.server.openai.test_chat import events_of


async def complete(http, **fields):
    reply = await http.post("/v1/completions", json={"prompt": "one two", "max_tokens": 50, **fields})
    assert reply.status_code == 200, reply.text
    return reply.json()


async def stream(http, **fields):
    body = {"prompt": "one two", "max_tokens": 50, "stream": True, **fields}
    return events_of((await http.post("/v1/completions", json=body)).text)


async def test_a_whole_reply(http, engine, tokenizer):
    reply = await complete(http)
    assert reply["choices"] == [
        {"index": 0, "text": ANSWER, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
    ]
    assert reply["object"] == "text_completion"
    assert reply["id"].startswith("cmpl-")
    assert engine.requests[0].prompt_token_ids == tokenizer.encode("one two")
    assert reply["usage"]["prompt_tokens"] == len(tokenizer.encode("one two"))


async def test_sixteen_tokens_without_max_tokens_or_what_is_left(http, engine):
    await http.post("/v1/completions", json={"prompt": "one two"})
    await http.post("/v1/completions", json={"prompt": [5] * 250})
    assert [request.sampling.max_tokens for request in engine.requests] == [16, 6]


@pytest.mark.parametrize(
    ("prompt", "num_prompts"),
    [("fox", 1), (["fox", "dog"], 2), ([5, 6, 7], 1), ([[5, 6], [7], [8]], 3)],
)
async def test_prompts_of_every_form_with_n(prompt, num_prompts, http, engine, tokenizer):
    engine.script = lambda request, index: tokenizer.encode(f"{len(request.prompt_token_ids)}-{index}")
    reply = await complete(http, prompt=prompt, n=2)
    lengths = [len(request.prompt_token_ids) for request in engine.requests]
    assert len(lengths) == num_prompts
    expected = [f"{length}-{index}" for length in lengths for index in range(2)]
    assert [choice["text"] for choice in reply["choices"]] == expected
    assert [choice["index"] for choice in reply["choices"]] == list(range(2 * num_prompts))
    assert reply["usage"]["prompt_tokens"] == sum(lengths)
    texts = [""] * len(expected)
    for chunk in await stream(http, prompt=prompt, n=2):
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert texts == expected


async def test_logprobs_have_openai_s_four_lists(http, engine, tokenizer):
    token_ids = tokenizer.encode("hello world")
    engine.script = lambda _request, _index: token_ids
    logprobs = (await complete(http, logprobs=2))["choices"][0]["logprobs"]
    texts = [tokenizer.token_text(token_id) for token_id in token_ids]
    assert logprobs["tokens"] == texts
    assert logprobs["token_logprobs"] == [-1.0] * len(texts)
    assert logprobs["text_offset"] == [len("".join(texts[:place])) for place in range(len(texts))]
    assert all(list(top.values()) == [-0.5, -1.0] for top in logprobs["top_logprobs"])
    assert all(text in top for text, top in zip(texts, logprobs["top_logprobs"], strict=True))


async def test_streamed_logprobs_add_up_to_whole_ones(http):
    whole = (await complete(http, logprobs=1))["choices"][0]["logprobs"]
    streamed: dict = {name: [] for name in whole}
    for chunk in await stream(http, logprobs=1):
        for name, values in chunk["choices"][0]["logprobs"].items():
            streamed[name] += values
    assert streamed == whole


async def test_echo_puts_the_prompt_first(http, tokenizer):
    assert (await complete(http, echo=True))["choices"][0]["text"] == "one two" + ANSWER
    token_ids = tokenizer.encode("one two")
    assert (await complete(http, prompt=token_ids, echo=True))["choices"][0]["text"] == "one two" + ANSWER
    chunks = await stream(http, echo=True, n=2)
    for index in range(2):
        texts = [chunk["choices"][0]["text"] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert texts[0].startswith("one two")
        assert "".join(texts) == "one two" + ANSWER


async def test_echo_with_logprobs_scores_the_prompt_of_every_sample(http, engine, tokenizer):
    reply = await complete(http, echo=True, logprobs=1, n=2)
    for choice in reply["choices"]:
        logprobs = choice["logprobs"]
        assert "".join(logprobs["tokens"]).startswith("one two" + ANSWER)
        assert logprobs["token_logprobs"][0] is None
        assert set(logprobs["token_logprobs"][1:]) == {-1.0}
        assert logprobs["text_offset"][len(tokenizer.encode("one two"))] == len("one two")
        assert "prompt_logprobs" not in choice


async def test_echo_alone_scores_a_text_without_adding_to_it(http, tokenizer):
    reply = await complete(http, echo=True, logprobs=0, max_tokens=0)
    (choice,) = reply["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("one two", "length")
    assert choice["logprobs"]["tokens"] == [tokenizer.token_text(one) for one in tokenizer.encode("one two")]
    assert reply["usage"]["completion_tokens"] == 0
    streamed = await stream(http, echo=True, logprobs=0, max_tokens=0)
    assert "".join(chunk["choices"][0]["text"] for chunk in streamed) == "one two"


async def test_prompt_logprobs_and_token_ids_stand_in_each_choice(http, engine):
    reply = await complete(http, prompt_logprobs=1, return_token_ids=True)
    (choice,) = reply["choices"]
    assert choice["prompt_token_ids"] == engine.requests[0].prompt_token_ids
    assert len(choice["prompt_logprobs"]) == len(choice["prompt_token_ids"])
    assert choice["prompt_logprobs"][0] is None
    assert reply["usage"]["completion_tokens"] == len(choice["token_ids"])


async def test_one_bad_prompt_of_several_stops_all_before_the_engine(http, engine):
    reply = await http.post("/v1/completions", json={"prompt": ["fox", "word " * 400]})
    assert reply.status_code == 400
    assert engine.requests == []


async def test_one_failing_prompt_of_several_aborts_the_others(http, engine):
    engine.script = lambda request, _index: [-1] if len(request.prompt_token_ids) == 1 else [5] * 40
    engine.pause_after = 3
    reply = await http.post("/v1/completions", json={"prompt": [[5], [5, 6]], "max_tokens": 40})
    assert reply.status_code == 500
    assert engine.requests[1].request_id in engine.aborted
    assert engine.num_streams == 0


async def test_a_cut_prompt_is_echoed_as_cut(http, tokenizer):
    (choice,) = (await complete(http, echo=True, truncate_prompt_tokens=2, logprobs=0))["choices"]
    kept = tokenizer.decode(tokenizer.encode("one two")[-2:])
    assert choice["text"] == kept + ANSWER
    assert "".join(choice["logprobs"]["tokens"]).startswith(kept)
