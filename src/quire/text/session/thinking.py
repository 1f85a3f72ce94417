"""From `thinking_token_budget` to what the engine counts: the model's reasoning markers as tokens."""

from __future__ import annotations

from quire.base.errors import Unsupported
from quire.base.messages import SamplingParams, ThinkingBudget
from quire.text.parsers import ReasoningFormat
from quire.text.tokenizer import Tokenizer

FIELD = "thinking_token_budget"
_LAST_TOKENS = 32  # of a prompt: more than any marker has


def thinking_budget(
    sampling: SamplingParams,
    reasoning: ReasoningFormat | None,
    tokenizer: Tokenizer,
    prompt_token_ids: list[int],
) -> ThinkingBudget | None:
    """None where none is asked for. Raises Unsupported where reasoning cannot be told, or has no end of one token."""
    if sampling.thinking_token_budget is None:
        return None
    if reasoning is None:
        raise Unsupported(
            f"{FIELD} is not supported here: it needs a conversation, and a model whose reasoning is told from its "
            "content (--reasoning-parser); use max_tokens",
            field=FIELD,
        )
    closing = reasoning.forced_end
    ends = [end for end in reasoning.ends if not closing or closing.endswith(end)]
    end, end_id = next(
        ((end, i) for end in ends if (i := tokenizer.token_to_id(end)) is not None), ("", None)
    )
    if end_id is None:
        raise Unsupported(
            f"{FIELD} is not supported for this model: the end of its reasoning is not one token of its vocabulary; "
            "use max_tokens",
            field=FIELD,
        )
    lead = closing.removesuffix(end)
    begins = [tokenizer.token_to_id(begin) for begin in reasoning.begins]
    prompt = tokenizer.decode(prompt_token_ids[-_LAST_TOKENS:], skip_special_tokens=False).rstrip()
    opens = reasoning.starts_inside or prompt.endswith(reasoning.begins)
    return ThinkingBudget(
        max_tokens=sampling.thinking_token_budget,
        end_id=end_id,
        forced_ids=[*(tokenizer.encode(lead, add_special_tokens=False) if lead else ()), end_id],
        begin_ids=[token_id for token_id in begins if token_id is not None],
        starts_inside=opens and not prompt.endswith(reasoning.ends),
    )
