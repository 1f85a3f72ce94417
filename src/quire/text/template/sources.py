"""Where a chat template comes from: the model folder's files, or what the operator gave instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quire.base.errors import CheckpointError, ConfigError
from quire.text.tokenizer import read_json_object, read_tokenizer_config

_TEMPLATE_SIGNS = ("{", "}", "\n")  # a text with one of these is a template, not a path


def find_templates(folder: Path) -> dict[str, str]:
    """The folder's templates by name ("default", "tool_use", …), empty when it has none.

    Newer places win over older ones: chat_template.jinja and additional_chat_templates/, then
    chat_template.json, then `chat_template` in tokenizer_config.json (a text, or a list of named ones).
    """
    config = read_tokenizer_config(folder)
    templates = _named(config.get("chat_template"), folder / "tokenizer_config.json")
    if (folder / "chat_template.json").is_file():
        templates |= _from_json(folder / "chat_template.json")
    if (folder / "chat_template.jinja").is_file():
        templates["default"] = _read(folder / "chat_template.jinja")
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[path.stem] = _read(path)
    return templates


def read_override(override: str, templates: dict[str, str]) -> str:
    """The text behind `--chat-template`: a path, a template written out, or the name of one the model has.

    Raises ConfigError when it is none of these.
    """
    if override in templates:
        return templates[override]
    if any(sign in override for sign in _TEMPLATE_SIGNS):
        return override
    path = Path(override)
    if not path.is_file():
        names = f" or one of the model's own ({', '.join(sorted(templates))})" if templates else ""
        raise ConfigError(
            f"--chat-template {override}: no such file; give a path, the template's text{names}",
            setting="chat_template",
        )
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--chat-template {override} cannot be read: {error}", setting="chat_template"
        ) from None


def _named(value: Any, path: Path) -> dict[str, str]:
    """A template field: one text, or a list of objects with `name` and `template`."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {"default": value}
    try:
        templates = {entry["name"]: entry["template"] for entry in value}
    except (TypeError, KeyError):
        templates = {"": None}
    if not all(isinstance(text, str) for pair in templates.items() for text in pair):
        raise CheckpointError(
            f"{path}: chat_template must be a text or a list of objects with name and template; "
            "mend it, or start with --chat-template"
        )
    return templates


def _from_json(path: Path) -> dict[str, str]:
    return _named(read_json_object(path).get("chat_template"), path)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; download the file again") from None
