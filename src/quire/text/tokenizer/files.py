"""The small JSON files beside tokenizer.json: tokenizer_config.json and special_tokens_map.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quire.base.errors import CheckpointError

SPECIAL_TOKEN_NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`, empty when there is no such file. Raises CheckpointError when it is damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; download the file again") from None
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():  # half a character has no place in a token
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); download the file again") from None
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path} must hold a JSON object, got {type(value).__name__}; download it again"
        )
    return value


def read_tokenizer_config(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json of a model folder, empty when it has none."""
    return read_json_object(folder / "tokenizer_config.json")


def read_special_tokens(folder: Path) -> dict[str, str]:
    """Named special tokens (`bos_token`, `eos_token` and others) as text; tokenizer_config.json wins."""
    named: dict[str, str] = {}
    for source in (read_json_object(folder / "special_tokens_map.json"), read_tokenizer_config(folder)):
        for name in SPECIAL_TOKEN_NAMES:
            content = token_content(source.get(name))
            if content is not None:
                named[name] = content
    return named


def token_content(entry: Any) -> str | None:
    """A token's text, written either plainly or as an object with `content`."""
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None
