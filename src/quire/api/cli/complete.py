"""`quire complete`: a running server continues the text it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quire.api.cli.client import ApiClient, ServerProblem
from quire.api.cli.terminal import Answer, Options, pick_model, print_stream, prompts


def complete(arguments: Sequence[str]) -> int:
    """Complete line after line until the input ends, or one text with --quick; returns the exit code."""
    options = Options("complete", "Let a running server continue a text.")
    options.add_argument("--max-tokens", type=int, help="most tokens to add (default: the server's, 16)")
    asked = options.parse(arguments)
    client = ApiClient(asked.url, asked.api_key)
    model = pick_model(client, asked.model_name)
    if asked.quick is not None:
        answer = _continue(client, model, asked.quick, asked.max_tokens)
        if asked.stats:
            print(answer.describe())
        return 0
    print(f"Model: {model}")
    for line in prompts():
        try:
            answer = _continue(client, model, line, asked.max_tokens)
        except ServerProblem as problem:
            print(f"quire: {problem}")
            continue
        if asked.stats:
            print(answer.describe())
    return 0


def _continue(client: ApiClient, model: str, prompt: str, max_tokens: int | None) -> Answer:
    body: dict[str, Any] = {"model": model, "prompt": prompt, "stream_options": {"include_usage": True}}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    return print_stream(client.stream("/completions", body), _choice_text)


def _choice_text(choice: dict[str, Any]) -> str:
    return choice.get("text") or ""
