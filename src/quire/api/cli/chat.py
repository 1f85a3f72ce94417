"""`quire chat`: a conversation with a running server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quire.api.cli.client import ApiClient, ServerProblem
from quire.api.cli.terminal import Answer, Options, pick_model, print_stream, prompts


def chat(arguments: Sequence[str]) -> int:
    """Talk until the input ends, or send one message with --quick; returns the exit code."""
    options = Options("chat", "Talk to a running server; answers stream as they are written.")
    options.add_argument("--system-prompt", default="", help="first message of the conversation, role system")
    asked = options.parse(arguments)
    client = ApiClient(asked.url, asked.api_key)
    model = pick_model(client, asked.model_name)
    messages: list[dict[str, str]] = []
    if asked.system_prompt:
        messages.append({"role": "system", "content": asked.system_prompt})
    if asked.quick is not None:
        answer = _ask(client, model, [*messages, {"role": "user", "content": asked.quick}])
        if asked.stats:
            print(answer.describe())
        return 0
    print(f"Model: {model}")
    for line in prompts():
        messages.append({"role": "user", "content": line})
        try:
            answer = _ask(client, model, messages)
        except ServerProblem as problem:
            # the conversation goes on without the question that failed
            messages.pop()
            print(f"quire: {problem}")
            continue
        messages.append({"role": "assistant", "content": answer.text})
        if asked.stats:
            print(answer.describe())
    return 0


def _ask(client: ApiClient, model: str, messages: list[dict[str, str]]) -> Answer:
    body = {"model": model, "messages": messages, "stream_options": {"include_usage": True}}
    return print_stream(client.stream("/chat/completions", body), _delta_text)


def _delta_text(choice: dict[str, Any]) -> str:
    return choice["delta"].get("content") or ""
