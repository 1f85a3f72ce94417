"""News to items: which log-probabilities go with which text, and what a reply without text is."""

from __future__ import annotations

from quire.api.server.dialogue import News
from quire.api.server.openai.logprobs import LogprobSpeller
from quire.api.server.responses.output import OutputWriter
from quire.api.server.responses.reply_types import TextDelta
from quire.text.parsers import CallArguments, CallBegin, Content, Reasoning
from quire.text.session import CompletionOutput, Logprob


def write(tokenizer, *pieces: tuple[str, list]) -> tuple[OutputWriter, list]:
    """Each piece is the text that the engine told, and the events it reads as."""
    events: list = []
    speller = LogprobSpeller(tokenizer, as_token_ids=False, num_top=0)
    writer = OutputWriter(events.append, speller)
    for text, parsed in pieces:
        token_ids = tokenizer.encode(text)
        logprobs = [{one: Logprob(-1.0, 1, tokenizer.token_text(one))} for one in token_ids]
        writer.add(News(CompletionOutput(0, text, token_ids, logprobs=logprobs), parsed, None))
    writer.finish("completed")
    return writer, events


def spelled(item) -> str:
    return b"".join(bytes(entry.bytes) for entry in item.content[0].logprobs).decode()


def test_content_has_its_own_tokens_where_reasoning_ends_in_the_same_breath(tokenizer):
    writer, _ = write(
        tokenizer, ("hello", [Reasoning("hello")]), (" you fox", [Reasoning(" you"), Content(" fox")])
    )
    reasoning, message = writer.items
    assert reasoning.content[0].text == "hello you"
    assert spelled(message) == " fox"


def test_content_has_its_own_tokens_where_a_call_begins_in_the_same_breath(tokenizer):
    call = [CallBegin(0, "look", "c"), CallArguments(0, "{}")]
    writer, _ = write(tokenizer, ("one two three", [Content("one two"), *call]))
    message, function_call = writer.items
    assert spelled(message) == "one two"
    assert (function_call.name, function_call.arguments, function_call.status) == ("look", "{}", "completed")


def test_tokens_whose_text_is_held_back_come_with_it(tokenizer):
    writer, events = write(tokenizer, ("one", []), (" two", [Content("one two")]), (" three", []))
    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert [event.delta for event in deltas] == ["one two", ""]
    assert spelled(writer.items[0]) == "one two three"


def test_nothing_said_is_no_item(tokenizer):
    writer, events = write(tokenizer, ("", []))
    assert (writer.items, events) == ([], [])
