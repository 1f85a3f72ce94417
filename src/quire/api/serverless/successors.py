"""Older variables whose meaning another setting took over: how each is carried there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from quire.api.serverless.mapping import (
    ServerPlan,
    all_variables,
    asks_for_nothing,
    missing_sentence,
    option_words,
    refuse_by_state,
)
from quire.api.serverless.values import given, is_false, read_integer, read_number, read_object, read_switch
from quire.api.serverless.variable import Use, Variable
from quire.base.config import Table
from quire.base.errors import ConfigError

Asking = Mapping[str, str]  # older name → its text, for one setting
Json = dict[str, Any]

# older name → key of --speculative-config
_SPECULATIVE_KEYS = {
    "SPECULATIVE_METHOD": "method",
    "SPECULATIVE_MODEL": "model",
    "NUM_SPECULATIVE_TOKENS": "num_speculative_tokens",
    "SPECULATIVE_DRAFT_TENSOR_PARALLEL_SIZE": "draft_tensor_parallel_size",
    "SPECULATIVE_MAX_MODEL_LEN": "max_model_len",
    "SPECULATIVE_DISABLE_BY_BATCH_SIZE": "disable_by_batch_size",
    "NGRAM_PROMPT_LOOKUP_MAX": "prompt_lookup_max",
    "NGRAM_PROMPT_LOOKUP_MIN": "prompt_lookup_min",
}
_NGRAM_MODEL = "[ngram]"  # how the older engine was told to draft from the prompt


def carry_over(environ: Mapping[str, str], plan: ServerPlan, table: Table, idle: list[str]) -> None:
    """Put what older variables ask for into the plan; today's own name wins where both are given.

    Raises ConfigError for a value that is not allowed, and where the table has no such setting.
    """
    by_setting: dict[str, list[tuple[Variable, str]]] = {}
    for variable in all_variables(table):
        raw = given(environ, variable.name)
        if variable.use is Use.SUCCESSOR and raw:
            by_setting.setdefault(variable.setting, []).append((variable, raw))
    for name, entries in by_setting.items():
        asking = {variable.name: raw for variable, raw in entries if not asks_for_nothing(variable, raw)}
        setting = table.by_dest.get(name.replace("-", "_"))
        idle += [f"{variable.name}={raw}" for variable, raw in entries if variable.name not in asking]
        if not asking:
            continue
        if setting is None:
            variable, raw = next(entry for entry in entries if entry[0].name in asking)
            raise ConfigError(missing_sentence(variable, raw), setting=variable.name)
        source = ", ".join(asking)
        if setting.dest in plan.words and name not in _MERGED:
            plan.notes.append(f"{source} gives way to {plan.sources[setting.dest]}")
            continue
        own = _own_object(environ, name) if name in _MERGED else {}
        text = _TEXTS[name](asking, own)
        if text:
            words = option_words(setting, source, text)
            refuse_by_state(setting, source, text)
            plan.put(setting, words, source)
            plan.notes.append(f"{source} became {setting.flag}")


def _own_object(environ: Mapping[str, str], setting: str) -> Json:
    """What today's variable of a JSON setting holds; its keys win over older variables."""
    name = setting.replace("-", "_").upper()
    raw = given(environ, name)
    return read_object(name, raw) if raw else {}


def _log_requests(asked: Asking, _: Json) -> str:
    return "0" if any(read_switch(name, raw) for name, raw in asked.items()) else "1"


def _rope(asked: Asking, own: Json) -> str:
    found: Json = {}
    if "ROPE_SCALING" in asked:
        found["rope_scaling"] = read_object("ROPE_SCALING", asked["ROPE_SCALING"])
    theta = read_number("ROPE_THETA", asked.get("ROPE_THETA", "0"), 0.0)
    if theta:
        found["rope_theta"] = theta
    return json.dumps(found | own) if found else ""


def _speculative(asked: Asking, own: Json) -> str:
    found: Json = {}
    for name, raw in asked.items():
        key = _SPECULATIVE_KEYS[name]
        found[key] = raw if key in ("method", "model") else read_integer(name, raw, 1)
    if found.get("model") == _NGRAM_MODEL:
        del found["model"]
        found["method"] = "ngram"
    return json.dumps(found | own)


def _structured(asked: Asking, own: Json) -> str:
    return json.dumps({"backend": asked["GUIDED_DECODING_BACKEND"]} | own)


def _ray(asked: Asking, _: Json) -> str:
    raw = asked["WORKER_USE_RAY"]
    return "" if is_false(raw) or not read_switch("WORKER_USE_RAY", raw) else "ray"


def _role(asked: Asking, _: Json) -> str:
    return asked["OPENAI_RESPONSE_ROLE"]


_MERGED = frozenset({"hf-overrides", "speculative-config", "structured-outputs-config"})

_TEXTS: dict[str, Callable[[Asking, Json], str]] = {
    "enable-log-requests": _log_requests,
    "hf-overrides": _rope,
    "speculative-config": _speculative,
    "structured-outputs-config": _structured,
    "distributed-executor-backend": _ray,
    "response-role": _role,
}
