"""ChatTemplate: a model's (or an operator's) Jinja templates, compiled once, rendered within a budget."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from quire.base.errors import CheckpointError, ConfigError, InvalidValue
from quire.text.template.budget import Budget, BudgetExceeded
from quire.text.template.messages import plain_size, shape_messages
from quire.text.template.sources import find_templates, read_override
from quire.text.tokenizer import read_special_tokens

_RESERVED = """
    messages conversation tools chat_template add_generation_prompt continue_final_message tokenize padding truncation
    max_length return_tensors return_dict return_assistant_tokens_mask tokenizer_kwargs raise_exception strftime_now
"""
RESERVED_KWARGS = frozenset(_RESERVED.split())
MAX_TEMPLATE_CHARS = 250_000
_MAX_KEPT_REPLACEMENTS = 16
# A text grows by markup around each message, and some templates print parts twice.
_CHARS_PER_INPUT_CHAR = 8
_MIN_OUTPUT_CHARS = 1_000_000
_CONTINUE_MARK = "QUIRE_CONTINUES_HERE "  # ends in a space, which tells whether the template strips contents
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True, slots=True)
class Compiled:
    """One template, compiled. `keeps_parts` and `wraps_text` say what contents it wants, see `shape_messages`."""

    code: CodeType
    keeps_parts: bool
    wraps_text: bool


class ChatTemplate:
    """Renders conversations. Immutable but for a few remembered replacements; safe for several threads."""

    def __init__(self, sources: Mapping[str, str], special_tokens: Mapping[str, str] | None = None) -> None:
        """`sources` are templates by name, "default" the one to use, "tool_use" where tools are given.

        `special_tokens` (`bos_token`, …) are visible to the template by name. Raises InvalidValue naming
        `chat_template` when a source is no template.
        """
        self.sources = dict(sources)
        self._special_tokens = dict(special_tokens or {})
        self._compiled = {name: _compile(source) for name, source in self.sources.items()}
        self._replaced: dict[str, ChatTemplate] = {}

    @classmethod
    def load(cls, folder: Path, override: str = "") -> ChatTemplate | None:
        """The template of a model folder, or `override` (a path, a text, or the name of one of the folder's).

        None when there is neither. Raises ConfigError for a broken override, CheckpointError for broken files.
        """
        templates = find_templates(folder)
        special_tokens = read_special_tokens(folder)
        if override:
            templates = {"default": read_override(override, templates)}
        if not templates:
            return None
        try:
            return cls(templates, special_tokens)
        except InvalidValue as error:
            if override:
                raise ConfigError(f"--chat-template: {error.message}", setting="chat_template") from None
            raise CheckpointError(
                f"{folder}: {error.message}; mend it, or start with --chat-template"
            ) from None

    def replaced_by(self, source: str) -> ChatTemplate:
        """A template given with a request, with this one's special tokens. Names one of this one's, or is a text."""
        known = self._replaced.get(source)
        if known is None:
            known = ChatTemplate({"default": self.sources.get(source, source)}, self._special_tokens)
            while len(self._replaced) >= _MAX_KEPT_REPLACEMENTS:
                self._replaced.pop(next(iter(self._replaced)), None)
            self._replaced[source] = known
        return known

    def render(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt text. Raises InvalidValue naming `messages`, `tools`, `chat_template` or `chat_template_kwargs`.

        With `continue_final_message` the text ends inside the last message, for the model to go on with it.
        """
        extra = dict(template_kwargs or {})
        _check_kwargs(extra)
        if continue_final_message and add_generation_prompt:
            raise InvalidValue(
                "continue_final_message needs add_generation_prompt=false: "
                "the last message is gone on with or a new one begun, not both",
                field="continue_final_message",
            )
        compiled = self._choose(bool(tools))
        size = plain_size("messages", messages) + plain_size("tools", tools)
        size += plain_size("chat_template_kwargs", extra)
        shaped = shape_messages(messages, keeps_parts=compiled.keeps_parts, wraps_text=compiled.wraps_text)
        final_text = _mark_final(shaped) if continue_final_message else ""
        variables = {
            "documents": None,
            **self._special_tokens,
            **extra,
            "messages": shaped,
            "tools": tools or None,
            "add_generation_prompt": add_generation_prompt,
        }
        text = _render(compiled, variables, max_chars=_MIN_OUTPUT_CHARS + _CHARS_PER_INPUT_CHAR * size)
        return _cut_at_mark(text, final_text) if continue_final_message else text

    def _choose(self, has_tools: bool) -> Compiled:
        if has_tools and "tool_use" in self._compiled:
            return self._compiled["tool_use"]
        if "default" in self._compiled:
            return self._compiled["default"]
        raise InvalidValue(
            f"the model has no default chat template, only {', '.join(sorted(self._compiled))}; "
            "choose one with --chat-template",
            field="chat_template",
        )


def _check_kwargs(extra: Mapping[str, Any]) -> None:
    for name in extra:
        if name in RESERVED_KWARGS:
            raise InvalidValue(
                f"chat_template_kwargs must not set {name!r}: it is reserved; use the request's own field",
                field="chat_template_kwargs",
            )


def _compile(source: str) -> Compiled:
    from quire.text.template.environment import TemplateEnvironment
    from quire.text.template.rewrite import Metering, iterates_content, tests_for_text

    if len(source) > MAX_TEMPLATE_CHARS:
        raise InvalidValue(
            f"chat_template must be at most {MAX_TEMPLATE_CHARS} characters, got {len(source)}",
            field="chat_template",
        )
    environment = TemplateEnvironment(Budget(max_chars=_MIN_OUTPUT_CHARS))
    try:
        tree = environment.parse(source)
        keeps_parts = iterates_content(tree)
        wraps_text = keeps_parts and not tests_for_text(tree)
        code = environment.compile(Metering().visit(tree))
    except (BudgetExceeded, RecursionError, MemoryError):
        raise InvalidValue("chat_template is too deeply nested or too large", field="chat_template") from None
    except Exception as error:  # noqa: BLE001  (any failure to compile is the template's)
        line = getattr(error, "lineno", None)
        raise InvalidValue(
            f"chat_template is not a valid template: {_reason(error)}" + (f" (line {line})" if line else ""),
            field="chat_template",
        ) from None
    return Compiled(code, keeps_parts, wraps_text)


def _render(compiled: Compiled, variables: dict[str, Any], *, max_chars: int) -> str:
    from jinja2 import Template

    from quire.text.template.environment import TemplateEnvironment, TemplateRefusal

    environment = TemplateEnvironment(Budget(max_chars=max_chars))
    template = Template.from_code(environment, compiled.code, environment.make_globals(None))
    try:
        context = template.new_context(variables)
        return environment.concat(template.root_render_func(context))
    except TemplateRefusal as error:
        raise InvalidValue(f"the chat template refuses these messages: {error}", field="messages") from None
    except BudgetExceeded as error:
        raise InvalidValue(f"the chat template was stopped: {error}", field="chat_template") from None
    except (RecursionError, MemoryError):
        raise InvalidValue(
            "the chat template was stopped: it nests too deeply", field="chat_template"
        ) from None
    except Exception as error:  # noqa: BLE001  (a template can fail in any way on messages it was not made for)
        raise InvalidValue(
            f"the chat template fails on these messages: {_reason(error)}", field="messages"
        ) from None


def _reason(error: Exception) -> str:
    """An exception in words fit for a reply: bounded, and without memory addresses."""
    text = _ADDRESS.sub("", str(error))[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _mark_final(shaped: list[dict[str, Any]]) -> str:
    """Put the mark behind the last message's text, which is returned."""
    final = shaped[-1]
    content = final["content"]
    if isinstance(content, list):
        if not content:
            raise InvalidValue("continue_final_message needs text in the last message", field="messages")
        text = content[-1]["text"]
        final["content"] = [*content[:-1], {**content[-1], "text": text + _CONTINUE_MARK}]
        return str(text)
    final["content"] = content + _CONTINUE_MARK
    return str(content)


def _cut_at_mark(text: str, final_text: str) -> str:
    """What comes before the mark. A template that strips contents lost the mark's space and the text's own end."""
    place = text.rfind(_CONTINUE_MARK.strip())
    if place < 0 or final_text.strip() not in text:
        raise InvalidValue(
            "continue_final_message: the chat template does not print the last message as it is",
            field="continue_final_message",
        )
    keeps_space = text.startswith(_CONTINUE_MARK, place)
    return text[:place] if keeps_space else text[:place].rstrip()
