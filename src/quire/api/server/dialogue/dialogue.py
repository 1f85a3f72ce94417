"""Dialogue: from an Ask to a stream of parsed news of each sample. Chat, responses and messages write it down."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from quire.api.server.dialogue.ask import Ask, forced_functions
from quire.api.server.dialogue.fitting import encode
from quire.api.server.dialogue.reading import Reading, SampleReader, choose_reading
from quire.api.server.dialogue.rendering import render_ask
from quire.api.server.fields import renamed
from quire.api.server.generation import Prepared, generate
from quire.api.server.service import Service
from quire.base.messages import SamplingParams
from quire.text.parsers import Event
from quire.text.session import CompletionOutput, RequestOutput, Session, context_tokens


@dataclass(frozen=True, slots=True)
class Dialogue:
    """An Ask made ready: what the engine gets, and how its replies are read."""

    prepared: Prepared
    reading: Reading


class News(msgspec.Struct, frozen=True):
    """What is new of one sample: `sample` as the engine told it, `events` as its text reads.

    `finish_reason` comes with the last news; it is "tool_calls" where the model stopped in order to call.
    """

    sample: CompletionOutput
    events: list[Event]
    finish_reason: str | None

    @property
    def index(self) -> int:
        return self.sample.index


async def prepare_dialogue(service: Service, session: Session, ask: Ask) -> Dialogue:
    """Raises UserError naming the Ask's field that is not right."""
    forced = forced_functions(ask.tools, ask.tool_choice)
    prompt = await render_ask(service, session, ask)
    reading = choose_reading(service, session, ask, prompt, forced)
    sampling = await _cut(session, ask, prompt) if ask.cuts_max_tokens else ask.sampling
    with renamed({"structured_outputs": "tools"} if forced else {}):
        request = await session.prepare(
            prompt,
            sampling,
            request_id=ask.request_id,
            priority=ask.priority,
            cache_salt=ask.cache_salt,
            add_special_tokens=ask.add_special_tokens,
            grammar=reading.grammar,
            reasoning=reading.reasoning,
        )
    return Dialogue(Prepared(request, prompt, reading.replies.shown_ids), reading)


async def _cut(session: Session, ask: Ask, prompt: str) -> SamplingParams:
    """Sampling whose max_tokens fits beside the prompt, unless that is too long itself."""
    max_tokens = ask.sampling.max_tokens
    most = context_tokens(session.config)
    if max_tokens is None or 4 * len(prompt) + max_tokens <= most:  # a character is four tokens at most
        return ask.sampling
    if len(prompt) > session.config.max_model_len * session.tokenizer.longest_token_chars:
        return ask.sampling  # refused below, before it is tokenized
    room = most - len(await encode(session, prompt, add_special_tokens=ask.add_special_tokens))
    return msgspec.structs.replace(ask.sampling, max_tokens=min(max_tokens, max(1, room)))


async def converse(
    service: Service, session: Session, dialogues: Sequence[Dialogue]
) -> AsyncGenerator[tuple[int, RequestOutput, list[News]], None]:
    """News of all dialogues as they come, each with its number and the output it was read from.

    Closing it aborts what still runs. Raises as `generate` does.
    """
    readers: dict[tuple[int, int], SampleReader] = {}
    async with aclosing(generate(service, session, [one.prepared for one in dialogues])) as outputs:
        async for number, output in outputs:
            news: list[News] = []
            for sample in output.outputs:
                reader = readers.get((number, sample.index))
                if reader is None:
                    one = dialogues[number]
                    reader = SampleReader(one.reading, one.prepared.request.prompt_token_ids)
                    readers[number, sample.index] = reader
                events = reader.read(sample)
                news.append(News(sample, events, reader.finish_reason(sample)))
            yield number, output, news
