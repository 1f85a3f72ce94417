"""What a model folder says of pooling: its architecture's head, and the files of sentence-transformers' layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quire.base.config import PoolingFacts
from quire.base.errors import CheckpointError

_HEADS = (  # ends of architectures, the first that fits
    ("ForSequenceClassification", "sequence"),
    ("ForTokenClassification", "token"),
    ("RewardModel", "reward"),
    ("ForMaskedLM", "none"),
    ("ForTextEncoding", "none"),
    ("EmbeddingModel", "none"),
    ("LMHeadModel", "lm"),
    ("Model", "none"),
)
_MODES = {
    "pooling_mode_cls_token": "CLS",
    "pooling_mode_mean_tokens": "MEAN",
    "pooling_mode_lasttoken": "LAST",
    "pooling_mode_max_tokens": "",
    "pooling_mode_mean_sqrt_len_tokens": "",
    "pooling_mode_weightedmean_tokens": "",
}
_MODE_NAMES = {"cls": "CLS", "mean": "MEAN", "lasttoken": "LAST"}
DEFAULT_NUM_LABELS = 2  # of transformers, which leaves it out of config.json


def read_pooling_facts(folder: Path, config: dict[str, Any], *, is_encoder: bool) -> PoolingFacts:
    """Facts of the folder and its config.json. Raises CheckpointError for files that are damaged."""
    named = config.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    fitting = (head for end, head in _HEADS if architecture.endswith(end))
    head: Any = next(fitting, "none" if is_encoder else "lm")
    labels = _labels(config) if head in ("sequence", "token", "reward") else []
    allowed = config.get("matryoshka_dimensions")
    return PoolingFacts(
        architecture=architecture,
        head=head,
        num_labels=len(labels),
        labels=labels,
        problem_type=str(config.get("problem_type") or ""),
        activation=_activation(config),
        is_matryoshka=bool(config.get("is_matryoshka") or allowed),
        dimensions=[int(width) for width in allowed] if isinstance(allowed, list) else None,
        classifier_from_token=[str(token) for token in config.get("classifier_from_token") or []],
        classifier_method=_classifier_method(config),
        **_layout(folder),
    )


def _labels(config: dict[str, Any]) -> list[str]:
    """Names of the classes, in order. `LABEL_0` … where the file has none, as transformers calls them."""
    named = config.get("id2label")
    if isinstance(named, dict) and named:
        try:
            return [str(name) for _, name in sorted((int(key), name) for key, name in named.items())]
        except ValueError:
            raise CheckpointError("config.json: the keys of id2label must be numbers") from None
    count = config.get("num_labels")
    return [f"LABEL_{number}" for number in range(count if isinstance(count, int) else DEFAULT_NUM_LABELS)]


def _activation(config: dict[str, Any]) -> str:
    """ "sigmoid", "softmax" or "identity" where config.json names a class of torch for scores, else empty."""
    nested = config.get("sentence_transformers")
    nested = nested.get("activation_fn") if isinstance(nested, dict) else None
    named = nested or config.get("sbert_ce_default_activation_function")
    if not named:
        return ""
    name = str(named).rpartition(".")[2].lower()
    if name not in ("sigmoid", "softmax", "identity"):
        raise CheckpointError(
            f"config.json: scores go through {named}, which Quire does not know; it knows torch's Sigmoid, Softmax "
            "and Identity. Change the entry with --hf-overrides."
        )
    return name


def _classifier_method(config: dict[str, Any]) -> str:
    if config.get("is_original_qwen3_reranker"):
        return "from_2_way_softmax"
    return str(config.get("method") or "")


def _layout(folder: Path) -> dict[str, Any]:
    """PoolingFacts' fields that the files of sentence-transformers' layout decide; empty without modules.json."""
    path = folder / "modules.json"
    if not path.is_file():
        return {}
    modules = _read(path)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise CheckpointError(f"{path} must hold a list of modules; download it again.")
    facts: dict[str, Any] = {"has_layout": True, "text_prompt": _default_prompt(folder)}
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            facts |= _pooling(
                folder / _inside(path, module) / "config.json", has_prompt=facts["text_prompt"] != ""
            )
        elif kind == "Normalize":
            facts["normalizes"] = True
        elif kind != "Transformer":
            facts["refused_module"] = kind
    return facts | _text_facts(folder)


def _inside(path: Path, module: dict[str, Any]) -> str:
    """The module's folder, which must not lead out of the model's."""
    name = str(module.get("path", ""))
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise CheckpointError(f"{path}: the module path {name[:100]!r} leads out of the model folder.")
    return name


def _default_prompt(folder: Path) -> str:
    """What sentence-transformers puts before each text unless a call says otherwise."""
    path = folder / "config_sentence_transformers.json"
    config = _read(path) if path.is_file() else {}
    name = config.get("default_prompt_name") if isinstance(config, dict) else None
    if name is None:
        return ""
    prompts = {"query": "", "document": ""} | (config.get("prompts") or {})
    if name not in prompts:
        raise CheckpointError(
            f"{path}: default_prompt_name is {name!r}, and prompts has only {', '.join(prompts)}; mend the file."
        )
    return str(prompts[name] or "")


def _pooling(path: Path, *, has_prompt: bool) -> dict[str, Any]:
    config = _read(path)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} must hold a JSON object; download it again.")
    if has_prompt and config.get("include_prompt") is False:
        return {"refused_module": "Pooling without the tokens of the prompt (include_prompt)"}
    if isinstance(config.get("pooling_mode"), str):
        kind, asked = _MODE_NAMES.get(config["pooling_mode"], ""), [config["pooling_mode"]]
    else:
        asked = [mode for mode in _MODES if config.get(mode)]
        kind = _MODES[asked[0]] if len(asked) == 1 else ""
    return (
        {"pooling_type": kind}
        if kind
        else {"refused_module": f"Pooling by {' and '.join(asked) or 'nothing'}"}
    )


def _text_facts(folder: Path) -> dict[str, Any]:
    """How texts are cut and written before they are tokenised."""
    for path in sorted(folder.glob("sentence_*_config.json")):
        config = _read(path)
        if isinstance(config, dict):
            longest = config.get("max_seq_length")
            facts = {"max_tokens": longest} if isinstance(longest, int) and longest > 0 else {}
            return facts | {"lowers_text": config.get("do_lower_case") is True}
    return {}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); download or copy it again.") from None
