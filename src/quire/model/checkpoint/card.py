"""Reading a model folder's card: config.json and generation_config.json, without tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quire.base.config import ExpertFacts, ModelCard
from quire.base.errors import CheckpointError
from quire.base.messages import GENERATION_CONFIG_FIELDS
from quire.model.checkpoint.config_keys import ConfigKeys
from quire.model.checkpoint.headers import read_headers
from quire.model.checkpoint.pickled import pickled_bytes
from quire.model.checkpoint.pooling_facts import read_pooling_facts
from quire.model.families import FAMILIES, Family

DTYPES = ("bfloat16", "float16", "float32")
MAX_LAYERS = 10_000  # more is damage, and lists as long would be made of it


def read_card(
    folder: Path,
    *,
    name: str,
    hf_overrides: dict[str, Any] | None = None,
    config_folder: Path | None = None,
    reads_pickled: bool = False,
) -> ModelCard:
    """Raises CheckpointError naming the file and the key when the folder is no model Quire can serve.

    `config_folder` holds the config.json to read instead of the model's own. `weight_bytes` is 0 where the folder
    holds no weights (only `load_format` dummy can use it then); with `reads_pickled` torch's own files are measured.
    """
    path = (config_folder or folder) / "config.json"
    whole = merged(_read_json(path), hf_overrides or {})
    config = _text_config(whole)
    family = _family(config, whole, path)
    config = {**family.defaults, **{key: value for key, value in config.items() if value is not None}}
    keys = ConfigKeys(config, str(path))
    _refuse_quantised(keys)
    heads = _first(keys, "num_attention_heads", "n_head", "n_heads", least=1)
    hidden = _first(keys, "hidden_size", "n_embd", "dim", least=1)
    num_layers = _first(keys, "num_hidden_layers", "n_layer", "n_layers", least=1, most=MAX_LAYERS)
    generation = read_generation_config(folder)
    return ModelCard(
        folder=str(folder),
        name=name,
        model_type=family.model_type,
        architecture=family.architectures[0],
        dtype=_dtype(config, whole, path),
        vocab_size=keys.whole("vocab_size", least=1),
        hidden_size=hidden,
        max_model_len=_max_model_len(keys, family),
        num_layers=num_layers,
        kv_heads=[keys.whole("num_key_value_heads", heads)] * num_layers,
        head_dim=keys.whole("head_dim", hidden // max(heads, 1)),
        eos_token_ids=_eos_token_ids(generation, config, whole),
        weight_bytes=pickled_bytes(folder) if reads_pickled else _mapped_bytes(folder),
        hf_config=config,
        sampling_defaults=sampling_defaults(generation),
        is_encoder=family.is_encoder,
        experts=_experts(keys) if family.has_experts else None,
        pooling=read_pooling_facts(folder, {**whole, **config}, is_encoder=family.is_encoder),
    )


def _mapped_bytes(folder: Path) -> int:
    return sum(entry.size_bytes for entry in read_headers(folder).values())


def read_generation_config(folder: Path) -> dict[str, Any]:
    """The folder's generation_config.json, empty when there is none. Raises CheckpointError when unreadable."""
    return _read_json(folder / "generation_config.json", missing={})


def merged(config: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """`config` with `overrides` laid over it, object by object; null removes a key."""
    result = dict(config)
    for key, value in overrides.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def _read_json(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if missing is not None:
            return missing
        raise CheckpointError(
            f"{path} does not exist: the folder is not a model in Hugging Face format; "
            f"give the folder that holds config.json and the safetensors files."
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); download or copy it again.") from None
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path} must hold a JSON object, not {type(value).__name__}; download it again."
        )
    return value


def _text_config(whole: dict[str, Any]) -> dict[str, Any]:
    """The language model's own part: multimodal checkpoints nest it under `text_config`."""
    nested = whole.get("text_config")
    return dict(nested) if isinstance(nested, dict) else whole


def _family(config: dict[str, Any], whole: dict[str, Any], path: Path) -> Family:
    model_type = config.get("model_type") or whole.get("model_type")
    named = whole.get("architectures")
    architectures = [str(name) for name in named] if isinstance(named, list) else []
    if str(model_type) in FAMILIES:
        return FAMILIES[str(model_type)]
    if not model_type:
        for family in FAMILIES.values():
            if set(family.architectures) & set(architectures):
                return family
    code = " and brings its own code (auto_map), which Quire never runs" if whole.get("auto_map") else ""
    asked = model_type or (architectures or ["(none given)"])[0]
    raise CheckpointError(
        f"{path}: model_type {asked!r} is not supported{code}; supported are {', '.join(sorted(FAMILIES))}."
    )


def _refuse_quantised(keys: ConfigKeys) -> None:
    scheme = keys.mapping("quantization_config", {})
    if scheme:
        method = scheme.get("quant_method", "unknown")
        raise CheckpointError(
            f"{keys.source}: quantization_config asks for {method!r}, which Quire cannot run yet; "
            f"use the model's unquantised repository."
        )


def _experts(keys: ConfigKeys) -> ExpertFacts:
    return ExpertFacts(
        count=keys.experts(),
        chosen=keys.whole("num_experts_per_tok", least=1),
        width=_first(keys, "moe_intermediate_size", "intermediate_size", least=1),
    )


def _first(keys: ConfigKeys, *names: str, **bounds: int) -> int:
    """The first of several names for the same number."""
    for name in names:
        if keys.values.get(name) is not None:
            return keys.whole(name, **bounds)
    return keys.whole(names[0], **bounds)


def _dtype(config: dict[str, Any], whole: dict[str, Any], path: Path) -> str:
    stated = [part.get(key) for part in (config, whole) for key in ("dtype", "torch_dtype")]
    name = str(next((value for value in stated if value), "float32")).removeprefix("torch.")
    if name not in DTYPES:
        raise CheckpointError(f"{path}: dtype {name!r} is not supported; supported are {', '.join(DTYPES)}.")
    return name


def _max_model_len(keys: ConfigKeys, family: Family) -> int:
    """Trained length, times the factor of a rope stretch whose files state the length before stretching."""
    length = _first(keys, "max_position_embeddings", "n_positions", "n_ctx")
    if family.counts_from_padding:
        return length - keys.whole("pad_token_id") - 1
    rope = keys.rope()
    kind = rope.get("rope_type") or rope.get("type") or "default"
    factor = rope.get("factor")
    if not isinstance(factor, int | float) or family.model_type.startswith("gemma3"):
        return length
    if kind == "yarn":
        return int((rope.get("original_max_position_embeddings") or length) * factor)
    return int(length * factor) if kind == "linear" else length


def _eos_token_ids(*sources: dict[str, Any]) -> list[int]:
    """Every end-of-sequence id any of the files names, in order of appearance."""
    found: dict[int, None] = {}
    for source in sources:
        value = source.get("eos_token_id")
        for token in value if isinstance(value, list) else [value]:
            if isinstance(token, int):
                found[token] = None
    return list(found)


def sampling_defaults(generation: dict[str, Any]) -> dict[str, Any]:
    """The entries of a generation config that a request can have, under SamplingParams' names."""
    known = {
        GENERATION_CONFIG_FIELDS[key]: generation[key]
        for key in GENERATION_CONFIG_FIELDS
        if generation.get(key) is not None
    }
    if generation.get("do_sample") is False:
        known.pop("top_p", None), known.pop("top_k", None), known.pop("min_p", None)
        known["temperature"] = 0.0
    return known
