"""Where a reply's reasoning ends and its grammar begins."""

from __future__ import annotations

import msgspec

from quire.base.constraints import Constraint
from quire.base.errors import Unsupported
from quire.text.parsers import ReasoningFormat
from quire.text.tokenizer import Tokenizer


def after_reasoning(
    constraint: Constraint, reasoning: ReasoningFormat, tokenizer: Tokenizer, prompt: str
) -> Constraint:
    """The constraint, from the end of the reasoning that follows `prompt` on. As `ReplyParser` reads it."""
    if reasoning.name == "openai_gptoss":
        raise Unsupported(
            "structured_outputs is not supported for this model: its replies are channels, not one text",
            field="structured_outputs",
        )
    if not reasoning.ends:
        raise Unsupported(
            "structured_outputs is not supported here: the plugin that reads this model's reasoning does not tell by "
            "which marker it ends; start the server with --reasoning-config.reasoning_end_str",
            field="structured_outputs",
        )
    prompt = prompt.rstrip()
    if prompt.endswith(reasoning.ends):
        return constraint
    begin_ids = [tokenizer.token_to_id(begin) for begin in reasoning.begins]
    return msgspec.structs.replace(
        constraint,
        starts_in_reasoning=reasoning.starts_inside or prompt.endswith(reasoning.begins),
        reasoning_begin_ids=[token_id for token_id in begin_ids if token_id is not None],
        reasoning_ends=[*reasoning.ends, *reasoning.also_ends],
    )
