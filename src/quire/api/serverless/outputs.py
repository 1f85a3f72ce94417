"""From the server's replies to the items of a job: the native shape, event text, or lists of chunks."""

from __future__ import annotations

from typing import Any, Protocol

from quire.api.serverless.batching import BatchCounter, BatchGrowth
from quire.api.serverless.events import DONE, frame_data, frame_json
from quire.api.serverless.failures import JobError
from quire.api.serverless.job_input import CHAT_ROUTE, TEXT_ROUTE, Call
from quire.api.serverless.worker_settings import Compat, WorkerSettings

Item = Any  # what the platform takes: text, an object or a list, as JSON

_ENDS_WITH_DONE = (CHAT_ROUTE, TEXT_ROUTE)
_ONE_BY_ONE = ("/v1/responses", "/v1/messages")  # routes whose events are sent each on its own


class StreamShape(Protocol):
    """Takes the frames of one stream as they come and says which items are ready."""

    is_done: bool

    def feed(self, frames: list[str]) -> list[Item]: ...

    def finish(self) -> list[Item]: ...


def shape_for(call: Call, settings: WorkerSettings) -> StreamShape:
    if call.native is not None:
        return NativeStream(call.native, call.num_choices)
    path = call.route.partition("?")[0]
    if settings.compat is Compat.V3:
        return EventText(None, needs_done=path in _ENDS_WITH_DONE)
    if path in _ONE_BY_ONE:
        return EventText(BatchGrowth(most=1), needs_done=False)
    if settings.is_raw_openai:
        return EventText(settings.growth, needs_done=path in _ENDS_WITH_DONE)
    return ChunkLists(settings.growth, needs_done=path in _ENDS_WITH_DONE)


class NativeStream:
    """Items `{"choices": [{"tokens": […]}], "usage": {input, output}}`; `output` counts from the start."""

    def __init__(self, growth: BatchGrowth, num_choices: int) -> None:
        self._counter = BatchCounter(growth)
        self._tokens: list[list[str]] = [[] for _ in range(num_choices)]
        self._input_tokens = 0
        self._output_tokens = 0
        self._has_sent = False
        self.is_done = False

    def feed(self, frames: list[str]) -> list[Item]:
        items: list[Item] = []
        for frame in frames:
            self.is_done = self.is_done or frame_data(frame) == DONE
            chunk = frame_json(frame)
            if chunk is not None:
                items += self._take(chunk)
        return items

    def finish(self) -> list[Item]:
        """The remainder, if there is one; an answer without a token is one empty item."""
        return [self._item()] if any(self._tokens) or not self._has_sent else []

    def _take(self, chunk: dict[str, Any]) -> list[Item]:
        self._input_tokens = (chunk.get("usage") or {}).get("prompt_tokens", self._input_tokens)
        items: list[Item] = []
        for choice in chunk.get("choices") or ():
            text = choice_text(choice)
            token_ids = choice.get("token_ids")
            num_outputs = len(token_ids) if token_ids is not None else bool(text)
            tokens = self._tokens[choice["index"]]
            if (
                not num_outputs and text
            ):  # held back for a stop string or a character: belongs to earlier tokens
                tokens.append(text)
            for delta in [""] * (num_outputs - 1) + [text] * bool(num_outputs):
                self._tokens[choice["index"]].append(delta)
                self._output_tokens += 1
                if self._counter.add(len(delta.encode())):
                    items.append(self._item())
        return items

    def _item(self) -> Item:
        item = native_item(self._tokens, self._input_tokens, self._output_tokens)
        self._tokens = [[] for _ in self._tokens]
        self._has_sent = True
        return item


class EventText:
    """The stream's own text, several frames to an item by the growth; without growth, all that came together."""

    def __init__(self, growth: BatchGrowth | None, *, needs_done: bool) -> None:
        self._counter = BatchCounter(growth) if growth is not None else None
        self._held: list[str] = []
        self.is_done = not needs_done

    def feed(self, frames: list[str]) -> list[Item]:
        items: list[Item] = []
        for frame in frames:
            data = frame_data(frame)
            self.is_done = self.is_done or data == DONE
            if '"error"' in frame:
                frame_json(frame)  # raises for an error
            if self._counter is None:
                self._held.append(frame)
            elif data:  # comments only keep connections open
                self._held.append(frame)
                if self._counter.add(len(frame.encode())):
                    items += self.finish()
        return items + (self.finish() if self._counter is None else [])

    def finish(self) -> list[Item]:
        text = "".join(self._held)
        self._held = []
        return [text] if text else []


class ChunkLists:
    """Lists of decoded chunks, several to an item by the growth; [DONE] is left out."""

    def __init__(self, growth: BatchGrowth, *, needs_done: bool) -> None:
        self._counter = BatchCounter(growth)
        self._held: list[dict[str, Any]] = []
        self.is_done = not needs_done

    def feed(self, frames: list[str]) -> list[Item]:
        items: list[Item] = []
        for frame in frames:
            self.is_done = self.is_done or frame_data(frame) == DONE
            chunk = frame_json(frame)
            if chunk is None:
                continue
            self._held.append(chunk)
            if self._counter.add(len(frame.encode())):
                items += self.finish()
        return items

    def finish(self) -> list[Item]:
        held, self._held = self._held, []
        return [held] if held else []


def whole_item(call: Call, reply: Any, settings: WorkerSettings) -> Item:
    """The one item of a reply that is no stream."""
    if call.native is not None:
        usage = reply.get("usage") or {}
        tokens = [[choice_text(choice)] for choice in reply["choices"]]
        return native_item(tokens, usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))
    if call.is_openai and call.route == "/v1/models" and settings.compat is Compat.V1:
        return {**reply, "data": reply["data"][:1]}
    return reply


def native_item(tokens: list[list[str]], input_tokens: int, output_tokens: int) -> Item:
    return {
        "choices": [{"tokens": deltas} for deltas in tokens],
        "usage": {"input": input_tokens, "output": output_tokens},
    }


def choice_text(choice: dict[str, Any]) -> str:
    """A choice's text, of either route, whole or streamed."""
    if "text" in choice:
        return choice["text"] or ""
    return (choice.get("delta") or choice.get("message") or {}).get("content") or ""


def failed_item(error: JobError, call: Call | None, settings: WorkerSettings) -> Item:
    """The item that ends a failed job. The first generation completed OpenAI jobs with the bare error."""
    if settings.compat is Compat.V1 and call is not None and call.is_openai:
        return {"object": "error", **error.detail()}
    return error.item()
