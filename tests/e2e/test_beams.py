"""Beam search through the whole server, on both routes: what `LLM.beam_search` finds, in the routes' own shape."""

from __future__ import annotations

import pytest

from quire import LLM, BeamSearchParams
from tests.e2e.conftest import ServerProcess

BEAMS = {"use_beam_search": True, "n": 3, "max_tokens": 8, "length_penalty": 1.5}
PROMPT = "Number 4 is"


@pytest.fixture(scope="module")
def expected() -> list[list[int]]:
    llm = LLM(kv_cache_memory_bytes=64 << 20)
    params = BeamSearchParams(beam_width=3, max_tokens=8, length_penalty=1.5, include_stop_str_in_output=True)
    (output,) = llm.beam_search([PROMPT], params)
    num_prompt = len(llm.get_tokenizer().encode(PROMPT))
    return [sequence.tokens[num_prompt:] for sequence in output.sequences]


def test_completions_are_the_best_beams_in_order(server: ServerProcess, expected: list[list[int]]) -> None:
    body = {"prompt": [PROMPT, PROMPT], **BEAMS, "return_token_ids": True, "logprobs": 1}
    status, reply = server.post("/v1/completions", body)
    assert status == 200, reply
    assert [choice["token_ids"] for choice in reply["choices"]] == expected * 2
    assert [choice["index"] for choice in reply["choices"]] == list(range(6))
    for choice in reply["choices"]:
        assert len(choice["logprobs"]["token_logprobs"]) == len(choice["token_ids"])
    assert reply["usage"]["completion_tokens"] == 2 * sum(map(len, expected))


def test_chat_gives_as_many_choices_as_beams(server: ServerProcess) -> None:
    messages = [{"role": "user", "content": "Say something."}]
    status, reply = server.post("/v1/chat/completions", {"messages": messages, **BEAMS})
    assert status == 200, reply
    texts = [choice["message"]["content"] for choice in reply["choices"]]
    assert len(texts) == 3 and len(set(texts)) > 1
    assert all(choice["finish_reason"] in ("stop", "length") for choice in reply["choices"])
    assert (
        server.post("/v1/chat/completions", {"messages": messages, **BEAMS})[1]["choices"] == reply["choices"]
    )


def test_streams_are_refused_by_name(server: ServerProcess) -> None:
    status, reply = server.post("/v1/completions", {"prompt": PROMPT, **BEAMS, "stream": True})
    assert (status, reply["error"]["param"]) == (400, "stream")
