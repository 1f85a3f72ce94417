"""How many tokens an Ask makes, and which messages go so that it fits."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.api.server.dialogue import Ask, count_tokens, fitted, prepare_dialogue
from quire.base.errors import InvalidValue
from quire.base.messages import SamplingParams

CONTEXT = 256


def ask(messages: list[dict], max_tokens: int | None = 20, **fields) -> Ask:
    return Ask(request_id="r", messages=messages, sampling=SamplingParams(max_tokens=max_tokens), **fields)


def said(role: str, text: str) -> dict:
    return {"role": role, "content": text}


async def test_the_count_is_what_the_engine_gets(service):
    one = ask([said("system", "Be kind."), said("user", "hello wörld")])
    dialogue = await prepare_dialogue(service, service.session, one)
    assert await count_tokens(service, service.session, one) == len(
        dialogue.prepared.request.prompt_token_ids
    )


async def test_what_fits_stays_as_it_is(service):
    one = ask([said("user", "hello")])
    assert await fitted(service, service.session, one) is one


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turns=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 2)), min_size=1, max_size=30),
    max_tokens=st.integers(1, 100),
)
async def test_the_fewest_oldest_turns_go(turns, max_tokens, service):
    """A turn is a user's message of some words, with answers of tools behind it."""
    session = service.session
    messages = [said("system", "Be kind.")]
    for words, num_answers in turns:
        messages.append(said("user", "fox " * words))
        messages += [said("assistant", "one"), said("tool", "two")] * num_answers
    one = ask(messages, max_tokens)
    kept = (await fitted(service, session, one)).messages
    assert kept[0] == messages[0]
    rest = kept[1:]
    assert rest == messages[len(messages) - len(rest) :]
    assert rest[0]["role"] == "user"
    starts = [place for place in range(1, len(messages)) if messages[place]["role"] == "user"]
    fits = [
        await count_tokens(service, session, ask([messages[0], *messages[start:]], max_tokens)) + max_tokens
        <= CONTEXT
        for start in starts
    ]
    first = fits.index(True) if any(fits) else len(starts) - 1
    assert len(messages) - len(rest) == starts[first]


async def test_max_tokens_is_cut_to_the_room_only_where_that_is_asked(service):
    long = [said("user", "fox " * 50)]
    with pytest.raises(InvalidValue) as caught:
        await prepare_dialogue(service, service.session, ask(long, 1000))
    assert caught.value.field == "max_tokens"
    request = (
        await prepare_dialogue(service, service.session, ask(long, 1000, cuts_max_tokens=True))
    ).prepared.request
    assert request.sampling.max_tokens == CONTEXT - len(request.prompt_token_ids)
    few = (
        await prepare_dialogue(service, service.session, ask(long, 3, cuts_max_tokens=True))
    ).prepared.request
    assert few.sampling.max_tokens == 3
    with pytest.raises(InvalidValue) as caught:
        too_long = ask([said("user", "fox " * 5000)], 1000, cuts_max_tokens=True)
        await prepare_dialogue(service, service.session, too_long)
    assert caught.value.field == "prompt"
