"""A budget of thinking in the tokens of the model at hand."""

from __future__ import annotations

import pytest

from quire.base.errors import Unsupported
from quire.base.messages import SamplingParams, ThinkingBudget
from quire.text.parsers import REASONING_FORMATS, reasoning_format
from quire.text.session.thinking import thinking_budget

ASKED = SamplingParams(thinking_token_budget=5)


class Marked:
    """A vocabulary in which markers are tokens, and the last prompt as text."""

    def __init__(self, prompt, **ids):
        self._prompt, self._ids = prompt, ids

    def token_to_id(self, token):
        return self._ids.get({"<think>": "begin", "</think>": "end"}.get(token, token))

    def decode(self, token_ids, *, skip_special_tokens):
        assert not skip_special_tokens
        return self._prompt


@pytest.mark.parametrize(
    ("name", "prompt", "starts_inside"),
    [
        ("qwen3", "user: hello", False),
        ("qwen3", "user: hello <think>\n", True),
        ("qwen3", "user: hello <think>\n\n</think>\n\n", False),
        ("deepseek_r1", "user: hello", True),
        ("deepseek_r1", "user: hello </think>", False),
    ],
)
def test_where_reasoning_begins_is_read_off_the_prompt(name, prompt, starts_inside):
    budget = thinking_budget(ASKED, REASONING_FORMATS[name], Marked(prompt, begin=1, end=2), [5])
    assert budget == ThinkingBudget(
        max_tokens=5, end_id=2, forced_ids=[2], begin_ids=[1], starts_inside=starts_inside
    )


def test_what_is_written_at_the_end_may_be_a_sentence():
    class Spelled(Marked):
        def encode(self, text, *, add_special_tokens):
            assert not add_special_tokens
            return list(text.encode())

    told = reasoning_format("granite", end="So: </think>")
    budget = thinking_budget(ASKED, told, Spelled("", begin=1, end=2), [5])
    assert (budget.forced_ids, budget.end_id) == ([*b"So: ", 2], 2)


def test_none_is_made_where_none_is_asked_for():
    assert thinking_budget(SamplingParams(), None, Marked(""), [5]) is None


@pytest.mark.parametrize("reasoning", [None, REASONING_FORMATS["qwen3"]])
def test_what_cannot_be_ended_is_refused(reasoning):
    with pytest.raises(Unsupported, match="use max_tokens") as caught:
        thinking_budget(ASKED, reasoning, Marked("", begin=1), [5])
    assert caught.value.field == "thinking_token_budget"
