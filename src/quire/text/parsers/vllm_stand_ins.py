"""Stand-ins for what a parser written for vLLM imports of it: base classes, registries, messages.

vLLM itself is not needed and not looked for. The modules exist while a plugin file loads, and only then; they hold
the names listed here and nothing else, so a file that needs more of vLLM fails with Python's own message.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from quire.text.parsers.formats import long_id


class Message:
    """What vLLM's messages can do that parsers use."""

    def model_dump(self, *, exclude_none: bool = False, **_: Any) -> dict[str, Any]:
        assert dataclasses.is_dataclass(self) and not isinstance(self, type)
        dumped = dataclasses.asdict(self)
        return {name: value for name, value in dumped.items() if value is not None or not exclude_none}


@dataclass(kw_only=True)
class FunctionCall(Message):
    name: str
    arguments: str


@dataclass(kw_only=True)
class ToolCall(Message):
    function: FunctionCall
    id: str = field(default_factory=long_id)
    type: str = "function"


@dataclass(kw_only=True)
class DeltaFunctionCall(Message):
    name: str | None = None
    arguments: str | None = None


@dataclass(kw_only=True)
class DeltaToolCall(Message):
    """`function` may be a dict, as parsers have it that dump their messages."""

    index: int
    function: DeltaFunctionCall | dict[str, Any] | None = None
    id: str | None = None
    type: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.function, dict):
            self.function = DeltaFunctionCall(**self.function)


@dataclass(kw_only=True)
class DeltaMessage(Message):
    """`reasoning_content` is what `reasoning` was called before."""

    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[DeltaToolCall] = field(default_factory=list)


@dataclass(kw_only=True)
class ExtractedToolCallInformation(Message):
    tools_called: bool
    tool_calls: list[ToolCall]
    content: str | None = None


@dataclass(kw_only=True)
class FunctionDefinition(Message):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


@dataclass(kw_only=True)
class ChatCompletionToolsParam(Message):
    function: FunctionDefinition
    type: str = "function"


@dataclass(kw_only=True)
class ChatCompletionRequest(Message):
    """The fields of a request that parsers look at. `skip_special_tokens` may be set to false by `adjust_request`."""

    tools: list[ChatCompletionToolsParam] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    include_reasoning: bool = True
    parallel_tool_calls: bool = True
    stream: bool = False
    skip_special_tokens: bool = True


class ToolParser:
    """Base of a parser of calls. A subclass has `extract_tool_calls`, and `extract_tool_calls_streaming` unless
    streamed replies are to be read at their end."""

    def __init__(self, tokenizer: Any, tools: list[Any] | None = None) -> None:
        self.model_tokenizer = tokenizer
        self.tools = tools
        self.prev_tool_call_arr: list[dict[str, Any]] = []
        self.current_tool_id = -1
        self.current_tool_name_sent = False
        self.streamed_args_for_tool: list[str] = []

    @property
    def vocab(self) -> dict[str, int]:
        vocabulary: dict[str, int] = self.model_tokenizer.get_vocab()
        return vocabulary

    def adjust_request(self, request: ChatCompletionRequest) -> ChatCompletionRequest:
        return request


class ReasoningParser:
    """Base of a parser of reasoning. A subclass has `extract_reasoning`, and `extract_reasoning_streaming` unless
    streamed replies are to be read at their end."""

    def __init__(self, tokenizer: Any, *_: Any, **__: Any) -> None:
        self.model_tokenizer = tokenizer

    @property
    def vocab(self) -> dict[str, int]:
        vocabulary: dict[str, int] = self.model_tokenizer.get_vocab()
        return vocabulary

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        return False

    def is_reasoning_end_streaming(self, input_ids: Sequence[int], delta_ids: Sequence[int]) -> bool:
        return self.is_reasoning_end(input_ids)

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        return []


class BaseThinkingReasoningParser(ReasoningParser):
    """Reasoning between two markers, each one token: a subclass has `start_token` and `end_token`."""

    start_token: Any
    end_token: Any

    def __init__(self, tokenizer: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(tokenizer, *arguments, **options)
        self.start_token_id = self.vocab.get(self.start_token)
        self.end_token_id = self.vocab.get(self.end_token)
        if self.start_token_id is None or self.end_token_id is None:
            raise RuntimeError(f"{self.start_token} and {self.end_token} must be tokens of the vocabulary")

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        for token_id in reversed(input_ids):
            if token_id in (self.start_token_id, self.end_token_id):
                return token_id == self.end_token_id
        return False

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        assert self.end_token_id is not None
        return input_ids[input_ids.index(self.end_token_id) + 1 :] if self.end_token_id in input_ids else []

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        text = (
            model_output.partition(self.start_token)[2] if self.start_token in model_output else model_output
        )
        reasoning, _, content = text.partition(self.end_token)
        return reasoning or None, content or None

    def extract_reasoning_content(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        """What `extract_reasoning` was called before."""
        return BaseThinkingReasoningParser.extract_reasoning(self, model_output, request)

    def extract_reasoning_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
    ) -> DeltaMessage | None:
        if self.end_token_id in previous_token_ids:
            return DeltaMessage(content=delta_text) if delta_text else None
        text = (
            delta_text.replace(self.start_token, "", 1)
            if self.start_token not in previous_text
            else delta_text
        )
        reasoning, _, content = text.partition(self.end_token)
        if not reasoning and not content:
            return None
        return DeltaMessage(reasoning=reasoning or None, content=content or None)


class DeepSeekR1ReasoningParser(BaseThinkingReasoningParser):
    """Markers of DeepSeek R1, which many models share."""

    start_token = "<think>"
    end_token = "</think>"


class Registry:
    """`register_module` in its three forms: a decorator with names, one without, and a call with a class."""

    def __init__(self, kind: str, registered: list[tuple[str, str, type[Any]]]) -> None:
        self._kind = kind
        self._registered = registered

    def register_module(
        self, name: str | list[str] | None = None, force: bool = True, module: type[Any] | None = None
    ) -> Any:
        def keep(parser: type[Any]) -> type[Any]:
            names = [name] if isinstance(name, str) else name or [parser.__name__]
            self._registered += [(self._kind, one, parser) for one in names]
            return parser

        return keep if module is None else keep(module)


def _modules(registered: list[tuple[str, str, type[Any]]]) -> dict[str, dict[str, object]]:
    """Names by module, under the places they have had in vLLM."""
    tools: dict[str, object] = {"ToolParser": ToolParser, "ToolParserManager": Registry("tools", registered)}
    reasoning: dict[str, object] = {
        "ReasoningParser": ReasoningParser,
        "ReasoningParserManager": Registry("reasoning", registered),
    }
    thinking: dict[str, object] = {"BaseThinkingReasoningParser": BaseThinkingReasoningParser}
    r1: dict[str, object] = {"DeepSeekR1ReasoningParser": DeepSeekR1ReasoningParser}
    messages: dict[str, object] = {
        one.__name__: one
        for one in (
            ChatCompletionRequest,
            ChatCompletionToolsParam,
            DeltaFunctionCall,
            DeltaMessage,
            DeltaToolCall,
            ExtractedToolCallInformation,
            FunctionCall,
            FunctionDefinition,
            ToolCall,
        )
    }
    tokenizers: dict[str, object] = {"AnyTokenizer": Any, "TokenizerLike": Any}
    random_id: Callable[[], str] = lambda: uuid.uuid4().hex  # noqa: E731
    return {
        "vllm.tool_parsers": tools,
        "vllm.tool_parsers.abstract_tool_parser": tools,
        "vllm.entrypoints.openai.tool_parsers": tools,
        "vllm.entrypoints.openai.tool_parsers.abstract_tool_parser": tools,
        "vllm.reasoning": {**reasoning, **thinking, **r1},
        "vllm.reasoning.abs_reasoning_parsers": reasoning,
        "vllm.reasoning.basic_parsers": thinking,
        "vllm.reasoning.deepseek_r1_reasoning_parser": r1,
        "vllm.entrypoints.openai.protocol": messages,
        "vllm.entrypoints.openai.engine.protocol": messages,
        "vllm.entrypoints.openai.chat_completion.protocol": messages,
        "vllm.logger": {"init_logger": lambda name: logging.getLogger(f"quire.{name}")},
        "vllm.tokenizers": tokenizers,
        "vllm.transformers_utils.tokenizer": tokenizers,
        "vllm.utils": {"random_uuid": random_id},
    }


@contextmanager
def standing_in() -> Iterator[list[tuple[str, str, type[Any]]]]:
    """Within the block `import vllm…` finds the stand-ins. Yields what is registered: ("tools" or "reasoning", name,
    class)."""
    registered: list[tuple[str, str, type[Any]]] = []
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "vllm"}
    for name in before:
        del sys.modules[name]
    for path, names in _modules(registered).items():
        parts = path.split(".")
        for size in range(1, len(parts) + 1):
            module = sys.modules.setdefault(".".join(parts[:size]), ModuleType(".".join(parts[:size])))
            module.__path__ = []  # a package without files: only what stands here can be imported
            if size > 1:
                setattr(sys.modules[".".join(parts[: size - 1])], parts[size - 1], module)
        vars(module).update(names)
    try:
        yield registered
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "vllm"]:
            del sys.modules[name]
        sys.modules.update(before)
