"""A budget of thinking through the whole server: reasoning ends where it is spent, the answer follows."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import ServerProcess

ASK = {
    "messages": [{"role": "user", "content": "What is 12 + 30? Think first."}],
    "temperature": 0,
    "max_tokens": 60,
    "return_token_ids": True,
    "chat_template_kwargs": {"enable_thinking": True},
}


def message(server: ServerProcess, **fields: object) -> tuple[dict[str, str], list[int]]:
    status, reply = server.post("/v1/chat/completions", {**ASK, **fields})
    assert status == 200, reply
    return reply["choices"][0]["message"], reply["choices"][0]["token_ids"]


BEGIN, END = 2040, 2041  # <think> and </think>


@pytest.mark.parametrize("limit", [0, 3])
def test_reasoning_is_as_long_as_it_may_be(server: ServerProcess, limit: int) -> None:
    free, free_ids = message(server)
    assert free["reasoning"]
    bounded, ids = message(server, thinking_token_budget=limit)
    assert ids[: limit + 2] == [*free_ids[: limit + 1], END]
    assert free_ids[0] == BEGIN
    assert bounded["content"] == free["content"] == "12 + 30 = 42"
    assert free["reasoning"].startswith(bounded.get("reasoning", ""))


def test_a_grammar_holds_from_the_forced_end_on(server: ServerProcess) -> None:
    found, ids = message(server, thinking_token_budget=2, structured_outputs={"regex": "=[0-9]{2}"})
    assert ids[3] == END
    assert found["content"][0] == "=" and len(found["content"]) == 3


def test_a_budget_that_is_not_spent_changes_nothing(server: ServerProcess) -> None:
    assert message(server, thinking_token_budget=1000) == message(server)
