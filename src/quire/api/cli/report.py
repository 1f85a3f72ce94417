"""What `quire serve` prints on its way up: the model, decisions with reasons, memory, time to ready, a first call."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from quire import __version__
from quire.base.config import Decision, EngineConfig, Resolution, ServerConfig

_NAME_WIDTH = 25


def greeting(model: str) -> str:
    """The first line."""
    return f"Quire {__version__}, serving {model}"


def resolution_lines(resolution: Resolution) -> list[str]:
    """The model, every automatic choice with its reason and what overrides it, and the memory plan."""
    card = resolution.engine.card
    lines = [_row("model", f"{card.architecture} in {card.folder}")]
    lines += [decision_line(decision) for decision in resolution.decisions]
    lines.append(_row("memory", resolution.memory.describe()))
    return lines


def decision_line(decision: Decision) -> str:
    override = f" [{decision.override}]" if decision.override else ""
    return _row(decision.setting, f"{decision.choice}: {decision.reason}{override}")


def ready_line(total_s: float, laps: Sequence[tuple[str, float]], engine_split_s: Mapping[str, float]) -> str:
    """Time to ready and its split; the engine's parts run beside ours, so they do not add up to the total."""
    ours = ", ".join(f"{name} {seconds:.2f}" for name, seconds in laps)
    theirs = ", ".join(f"{name} {seconds:.2f}" for name, seconds in engine_split_s.items())
    beside = f"; beside it the engine: {theirs}" if theirs else ""
    return f"Ready after {total_s:.2f} s ({ours}{beside})"


def base_url(server: ServerConfig) -> str:
    """Where a client on this machine reaches the server."""
    scheme = "https" if server.ssl_certfile else "http"
    host = server.host if server.host not in ("", "0.0.0.0", "::") else "localhost"
    host = f"[{host}]" if ":" in host else host
    port = "" if server.uds else f":{server.port}"
    return f"{scheme}://{host}{port}/v1"


def page_lines(server: ServerConfig) -> list[str]:
    """Where a browser finds the chat page and the reference; a Unix socket is out of its reach."""
    root = base_url(server).removesuffix("/v1")
    pages = [("chat page", "/", server.has_ui), ("API reference", "/docs", server.has_docs)]
    return [] if server.uds else [f"  {root}{path}  ({name})" for name, path, is_there in pages if is_there]


def curl_line(engine: EngineConfig, server: ServerConfig) -> str:
    """A command that gets an answer from this server as it stands."""
    words = ["curl"]
    if server.uds:
        words += ["--unix-socket", server.uds]
    body: dict[str, object] = {"model": server.served_model_names[0]}
    if engine.pooler is not None:
        route = {"embed": "/v1/embeddings", "classify": "/classify"}.get(engine.pooler.task, "/pooling")
        words.append(base_url(server).removesuffix("/v1") + route)
        return _with_body(words, body | {"input": "A quire is a gathering of pages."}, server)
    chats = engine.has_tokenizer and (
        bool(server.chat_template) or has_chat_template(Path(engine.text_folder))
    )
    words.append(base_url(server) + ("/chat/completions" if chats else "/completions"))
    if chats:
        body["messages"] = [{"role": "user", "content": "What is 17 + 25?"}]
    else:
        prompt = "Once upon a time" if engine.has_tokenizer else [1, 2, 3]
        body |= {"prompt": prompt, "max_tokens": 32}
    return _with_body(words, body, server)


def _with_body(words: list[str], body: dict[str, object], server: ServerConfig) -> str:
    line = shlex.join([*words, "-H", "Content-Type: application/json", "-d", json.dumps(body)])
    return line + ' -H "Authorization: Bearer $API_KEY"' if server.api_keys else line


def has_chat_template(folder: Path) -> bool:
    """Whether the folder brings a chat template, in a file of its own or in tokenizer_config.json."""
    if (folder / "chat_template.jinja").exists():
        return True
    try:
        return '"chat_template"' in (folder / "tokenizer_config.json").read_text(encoding="utf-8")
    except OSError:
        return False


def _row(name: str, text: str) -> str:
    return f"  {name:<{_NAME_WIDTH}} {text}"
