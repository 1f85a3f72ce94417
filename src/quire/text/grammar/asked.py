"""A caller's wish as a grammar: everything about it that can be checked without compiling is checked here."""

from __future__ import annotations

import json
from typing import Any

from quire.base.constraints import Grammar, GrammarConfig, GrammarKind, StructuredOutputsParams
from quire.base.errors import InvalidValue

FIELD = "structured_outputs"
MAX_CHARS = 1_000_000  # of a grammar's text
MAX_CHOICES = 10_000
_ONE, _MANY, _NAMED = "one schema", "a list of schemas", "an object of schemas"
# keywords of JSON Schema that hold schemas
_INNER = {
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"), _NAMED),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _MANY),
    **dict.fromkeys(("items", "additionalItems", "contains", "not", "if", "then", "else", "propertyNames"), _ONE),
}  # fmt: skip


def ask_grammar(asked: StructuredOutputsParams, config: GrammarConfig) -> Grammar:
    """Raises InvalidValue naming `structured_outputs` for what is no such thing as it says it is."""
    kind, text = _kind_and_text(asked, config)
    if not text:
        raise InvalidValue(f"{FIELD}: the {kind} is empty", field=FIELD)
    if len(text) > MAX_CHARS:
        raise InvalidValue(
            f"{FIELD}: the {kind} has {len(text)} characters, at most {MAX_CHARS} are taken", field=FIELD
        )
    is_compact = _or_default(asked.disable_any_whitespace, config.disable_any_whitespace)
    if kind != "json_schema" and asked.whitespace_pattern:
        raise InvalidValue(f"{FIELD}: whitespace_pattern needs json or json_object", field=FIELD)
    return Grammar(
        backend=config.backend,
        kind=kind,
        text=text,
        any_whitespace=not is_compact,
        whitespace_pattern=asked.whitespace_pattern or "",
    )


def _kind_and_text(asked: StructuredOutputsParams, config: GrammarConfig) -> tuple[GrammarKind, str]:
    if asked.json_object:
        return "json_schema", '{"type": "object"}'
    if asked.json is not None:
        schema = _parsed("json", asked.json)
        if not isinstance(schema, dict | bool):
            raise InvalidValue(f"{FIELD}: json must be a JSON schema, an object", field=FIELD)
        if _or_default(asked.disable_additional_properties, config.disable_additional_properties):
            schema = _without_additional_properties(schema)
        if schema is False:
            raise InvalidValue(f"{FIELD}: nothing satisfies the JSON schema false", field=FIELD)
        schema = {} if schema is True else schema
        return "json_schema", json.dumps(schema)
    if asked.choice is not None:
        if len(asked.choice) > MAX_CHOICES or not all(asked.choice):
            raise InvalidValue(
                f"{FIELD}: choice must be at most {MAX_CHOICES} texts, none empty", field=FIELD
            )
        return "choice", json.dumps(asked.choice) if asked.choice else ""
    if asked.structural_tag is not None:
        return "structural_tag", json.dumps(_parsed("structural_tag", asked.structural_tag))
    if asked.regex is not None:
        return "regex", asked.regex
    return "grammar", asked.grammar or ""


def _or_default(asked: bool | None, default: bool) -> bool:
    return default if asked is None else asked


def _parsed(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"{FIELD}: {name} is no JSON: {error}", field=FIELD) from None


def _without_additional_properties(schema: Any) -> Any:
    """Objects whose properties are listed have no others, unless the schema speaks of it."""
    if not isinstance(schema, dict):
        return schema
    changed = {key: _inner(_INNER[key], value) if key in _INNER else value for key, value in schema.items()}
    if "properties" in schema or "patternProperties" in schema:
        changed.setdefault("additionalProperties", False)
    return changed


def _inner(shape: str, value: Any) -> Any:
    if shape == _NAMED and isinstance(value, dict):
        return {name: _without_additional_properties(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_additional_properties(one) for one in value]
    return _without_additional_properties(value) if shape == _ONE else value
