"""How many tokens an Ask's prompt makes, and which of its oldest messages to leave out so that it fits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from quire.api.server.dialogue.ask import Ask
from quire.api.server.dialogue.rendering import render_ask
from quire.api.server.service import Service
from quire.text.session import Session, context_tokens

_THREAD_CHARS = 20_000  # more than this is tokenized beside the event loop
_LEADING = ("system", "developer")


async def encode(session: Session, text: str, *, add_special_tokens: bool) -> list[int]:
    work = partial(session.tokenizer.encode, text, add_special_tokens=add_special_tokens)
    return await asyncio.to_thread(work) if len(text) > _THREAD_CHARS else work()


async def count_tokens(service: Service, session: Session, ask: Ask) -> int:
    """Tokens of the prompt. Raises UserError naming the Ask's field that is not right."""
    prompt = await render_ask(service, session, ask)
    return len(await encode(session, prompt, add_special_tokens=ask.add_special_tokens))


async def fitted(service: Service, session: Session, ask: Ask) -> Ask:
    """`ask` without as many of its oldest messages as it takes for prompt and reply to fit the context.

    What leads (system messages) stays, and the first message that stays after it is a user's, so that no answer
    of a tool stands without its call. Where nothing fits, only the last user's turn is left.
    """
    num_leading = next(
        (place for place, one in enumerate(ask.messages) if one["role"] not in _LEADING), len(ask.messages)
    )
    leading, rest = ask.messages[:num_leading], ask.messages[num_leading:]
    starts = [place for place, one in enumerate(rest) if one["role"] == "user"]
    if starts[:1] != [0]:
        starts.insert(0, 0)

    def cut(number: int) -> Ask:
        return ask if not number else replace(ask, messages=[*leading, *rest[starts[number] :]])

    low, high = 0, len(starts) - 1  # the answer is the lowest number that fits
    max_chars = service.engine_config.max_model_len * session.tokenizer.longest_token_chars
    num_chars = 0
    for number in range(
        high, 0, -1
    ):  # contents alone tell of most that they cannot fit, without rendering them
        num_chars += sum(
            map(_num_chars, rest[starts[number] : starts[number + 1] if number < high else None])
        )
        if num_chars > max_chars:
            low = min(number + 1, high)
            break
    while low < high:
        middle = (low + high) // 2
        if await _fits(service, session, cut(middle)):
            high = middle
        else:
            low = middle + 1
    return cut(low)


def _num_chars(message: Mapping[str, Any]) -> int:
    content = message.get("content") or ""
    return len(content) if isinstance(content, str) else sum(len(part.get("text") or "") for part in content)


async def _fits(service: Service, session: Session, ask: Ask) -> bool:
    config = service.engine_config
    room = context_tokens(config) - (ask.sampling.max_tokens or 1)
    prompt = await render_ask(service, session, ask)
    if len(prompt) > config.max_model_len * session.tokenizer.longest_token_chars:
        return False  # too long to be worth tokenizing
    return len(await encode(session, prompt, add_special_tokens=ask.add_special_tokens)) <= room
