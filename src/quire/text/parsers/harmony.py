"""Reads gpt-oss's harmony format: messages on channels, each a header, a body and an end marker.

`<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…`. A call goes to a recipient:
`<|channel|>commentary to=functions.name <|constrain|>json<|message|>{…}<|call|>`.
"""

from __future__ import annotations

from quire.text.parsers.draft import CallDraft
from quire.text.parsers.events import Outbox
from quire.text.parsers.json_calls import copy_arguments
from quire.text.parsers.source import Source, Steps, discard

MARKERS = ("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>")
_ENDS = ("<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>")
_HEADS = ("<|start|>", "<|channel|>", "<|message|>", "to=")
_MAX_HEADER_CHARS = 1000
_FUNCTIONS = "functions."


def read_harmony(source: Source, outbox: Outbox, *, reads_calls: bool) -> Steps[None]:
    """A whole reply. Text outside of any message is content; so are calls when `reads_calls` is off."""
    while (yield from source.skip_space()):
        if not (yield from source.marker_here(_HEADS)):
            yield from source.before(("<|start|>", "<|channel|>"), outbox.content)
            continue
        header: list[str] = []
        source.keep()
        found = yield from source.until(("<|message|>",), header.append, limit=_MAX_HEADER_CHARS)
        if not found:
            outbox.content(source.take_kept())
            continue
        yield from _message(source, outbox, "".join(header), reads_calls=reads_calls)
        source.forget()
        yield from source.take_marker(("<|end|>", "<|call|>", "<|return|>"))


def _message(source: Source, outbox: Outbox, header: str, *, reads_calls: bool) -> Steps[None]:
    """A body up to its end marker, which is left."""
    recipient = _word_after(header, "to=")
    if recipient.startswith(_FUNCTIONS) and reads_calls:
        draft = CallDraft(source, outbox)
        if draft.set_name(recipient.removeprefix(_FUNCTIONS)):
            if (yield from source.skip_space()):
                yield from copy_arguments(source, draft, stops=_ENDS)
                yield from source.before(_ENDS, discard)
                draft.finish()
            else:
                outbox.content(source.take_kept())
            return
    source.forget()
    is_private = _word_after(header, "<|channel|>") == "analysis" or bool(recipient and reads_calls)
    yield from source.before(_ENDS, outbox.reasoning if is_private else outbox.content)
    if is_private:
        outbox.end_reasoning()


def _word_after(header: str, mark: str) -> str:
    """The word that follows `mark`; "" where there is none."""
    _, found, rest = header.partition(mark)
    words = rest.split("<|")[0].split()
    return words[0] if found and words else ""
