"""Token counts of a pooling reply: prompts only."""

from __future__ import annotations

from collections.abc import Sequence

from quire.api.server.openai.usage import PromptTokensDetails, Usage
from quire.api.server.service import Service
from quire.text.pooling import Pooled


def usage_of(service: Service, pooled: Sequence[Pooled]) -> Usage:
    count = sum(one.num_prompt_tokens for one in pooled)
    cached = sum(one.num_cached_tokens for one in pooled)
    details = PromptTokensDetails(cached) if service.config.enable_prompt_tokens_details else None
    return Usage(prompt_tokens=count, completion_tokens=0, total_tokens=count, prompt_tokens_details=details)
