"""Whether a model generates or is pooled, and how: --runner, --convert, --pooler-config, and what the folder says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from quire.base.config.asked import Asked
from quire.base.config.card import ModelCard, PoolingFacts
from quire.base.config.pooler import Activation, HeadKind, PoolerConfig
from quire.base.config.resolved import Decision
from quire.base.errors import ConfigError

FLAG = "--pooler-config"
SETTING = "pooler_config"
_SEQUENCE, _TOKENS = ("CLS", "LAST", "MEAN"), ("ALL", "STEP")
_METHODS = ("no_post_processing", "from_2_way_softmax")


def choose_pooling(asked: Asked, card: ModelCard) -> tuple[PoolerConfig | None, list[Decision]]:
    """The pooler, None for a model that generates. Raises ConfigError for what this model cannot do."""
    facts, given = card.pooling, Fields(asked[SETTING] or {})
    is_pooled, decisions = _runner(asked, card)
    if not is_pooled:
        if given.values:
            raise ConfigError(
                f"{FLAG} is for models that are pooled, and this one generates: add --runner pooling",
                setting=SETTING,
            )
        return None, decisions
    if facts.refused_module:
        raise ConfigError(
            f"{card.name}: modules.json asks for {facts.refused_module}, which Quire cannot run; it runs "
            "Transformer, Pooling (CLS, mean or last token) and Normalize",
            setting="runner",
        )
    head, chosen = _head(asked, card, given)
    decisions += chosen
    sequence, tokens, chosen = _pooling_types(given, card)
    decisions += chosen
    tasks = _tasks(head, card)
    task = given.choice("task", tasks) or _default_task(given, head, tasks)
    pooler = _pooler(
        given, card, head, PoolerConfig(task=task, tasks=tasks, sequence=sequence, tokens=tokens)
    )
    if given.flag("enable_flash_late_interaction", True) is False:
        reason = "without effect: Quire compares late interaction's vectors in one way"
        decisions.append(Decision("late-interaction", "false", reason, ""))
    if facts.text_prompt and head == "none":
        reason = (
            "before each text: config_sentence_transformers.json's default_prompt_name; token ids have none"
        )
        decisions.append(Decision("text-prompt", repr(facts.text_prompt), reason, ""))
    _check_chunks(pooler)
    done = "normalised" if pooler.normalizes and pooler.uses_activation else "as they are"
    what = f"vectors, {done}" if head == "none" else f"{pooler.num_labels} scores, {pooler.activation}"
    decisions.append(Decision("pooling-task", task, what, f"{FLAG}.task"))
    return pooler, decisions


def _pooler(given: Fields, card: ModelCard, head: HeadKind, kinds: PoolerConfig) -> PoolerConfig:
    """`kinds` with all that follows from head, folder and the fields given."""
    facts = card.pooling
    uses_activation = given.flag("use_activation", None)
    labels = _labels(given, facts, head)
    return msgspec.structs.replace(
        kinds,
        head=head,
        head_tokens=_head_tokens(given, facts) if head == "from_tokens" else [],
        subtracts=head == "from_tokens" and facts.classifier_method == "from_2_way_softmax",
        activation=_activation(facts, head),
        normalizes=facts.normalizes if facts.has_layout and uses_activation is None else True,
        uses_activation=uses_activation is not False,
        labels=labels,
        num_labels=len(labels),
        logit_mean=given.number("logit_mean"),
        logit_sigma=given.number("logit_sigma", is_divisor=True),
        dimensions=_dimensions(given, card),
        is_matryoshka=facts.is_matryoshka,
        allowed_dimensions=facts.dimensions,
        step_tag_id=given.whole("step_tag_id", 0),
        returned_token_ids=given.token_ids("returned_token_ids") if head != "from_tokens" else None,
        enable_chunked_processing=given.flag("enable_chunked_processing", False) is True,
        max_embed_len=given.whole("max_embed_len", 1),
        lowers_text=facts.lowers_text,
        text_prompt=facts.text_prompt,
    )


def _runner(asked: Asked, card: ModelCard) -> tuple[bool, list[Decision]]:
    """Whether the model is pooled."""
    runner, convert, facts = asked["runner"], asked["convert"], card.pooling
    named = facts.architecture or card.architecture
    if runner == "generate":
        if convert in ("embed", "classify"):
            raise ConfigError(
                f"--convert {convert} makes a model that is pooled, --runner generate one that generates: give one",
                setting="convert",
            )
        if card.is_encoder or facts.head != "lm":
            raise ConfigError(
                f"--runner generate: {named} has no language model's head, so it generates nothing; give --runner "
                "pooling or auto",
                setting="runner",
            )
        return False, []
    if runner == "pooling":
        return True, []
    if convert in ("embed", "classify"):
        reason = f"--convert {convert}"
    elif card.is_encoder:
        reason = f"{named} is an encoder"
    elif facts.has_layout:
        reason = "the folder has modules.json, sentence-transformers' layout"
    elif facts.head != "lm":
        reason = f"{named} has no language model's head"
    else:
        return False, []
    return True, [Decision("runner", "pooling", reason, "--runner")]


def _head(asked: Asked, card: ModelCard, given: Fields) -> tuple[HeadKind, list[Decision]]:
    """What makes scores of states; "none" for vectors."""
    convert, facts = asked["convert"], card.pooling
    has_classifier = facts.head in ("sequence", "token", "reward")
    if convert == "none" and facts.head == "lm" and not facts.has_layout:
        raise ConfigError(
            "--convert none leaves a language model as it is, and that generates: give --convert embed or classify, "
            "or --runner generate",
            setting="convert",
        )
    own: HeadKind = facts.head if facts.head != "lm" else "none"
    if convert == "embed":
        return "none", []
    if convert == "none" or has_classifier:
        return own, []
    if convert == "classify":
        if facts.head == "lm" and (facts.classifier_from_token or given.values.get("returned_token_ids")):
            return "from_tokens", []
        raise ConfigError(
            f"--convert classify: {facts.architecture or card.architecture} has no classifier; name the tokens whose "
            'rows of its head make one, with --hf-overrides \'{"classifier_from_token": ["no", "yes"]}\'',
            setting="convert",
        )
    if facts.classifier_from_token:
        reason = "config.json has classifier_from_token"
        return "from_tokens", [Decision("convert", "classify", reason, "--convert")]
    if facts.head == "lm" and not facts.has_layout:
        return "none", [Decision("convert", "embed", "a language model, without its head", "--convert")]
    return "none", []


def _pooling_types(given: Fields, card: ModelCard) -> tuple[Any, Any, list[Decision]]:
    """(of the whole prompt, of tokens)."""
    either = given.choice("pooling_type", (*_SEQUENCE, *_TOKENS))
    sequence = given.choice("seq_pooling_type", _SEQUENCE)
    tokens = given.choice("tok_pooling_type", _TOKENS)
    for name, own in (("seq_pooling_type", sequence), ("tok_pooling_type", tokens)):
        kinds = _SEQUENCE if name == "seq_pooling_type" else _TOKENS
        if either in kinds and own not in (None, either):
            raise ConfigError(
                f"{FLAG}: pooling_type {either} and {name} {own} contradict each other; give one",
                setting=SETTING,
            )
    sequence = sequence or (either if either in _SEQUENCE else None)
    tokens = tokens or (either if either in _TOKENS else None)
    decisions: list[Decision] = []
    if sequence is None:
        sequence, reason = _usual_type(card)
        decisions.append(Decision("pooling-type", sequence, reason, f"{FLAG}.pooling_type"))
    return sequence, tokens or "ALL", decisions


def _usual_type(card: ModelCard) -> tuple[str, str]:
    facts = card.pooling
    if facts.pooling_type:
        return facts.pooling_type, "1_Pooling/config.json says so"
    if card.pooling.head == "sequence" and card.hf_config.get("classifier_pooling") == "mean":
        return "MEAN", "config.json's classifier_pooling"
    if card.is_encoder:
        return "CLS", "the first token is an encoder's summary"
    return "LAST", "a decoder's last token has seen all others"


def _tasks(head: HeadKind, card: ModelCard) -> list[str]:
    if head == "none":
        return ["embed", "token_embed"]
    if head in ("token", "reward"):
        return ["token_classify"]
    own_states = card.is_encoder  # whose classifiers are made for the first token alone
    return ["classify"] if own_states else ["classify", "token_classify"]


def _default_task(given: Fields, head: HeadKind, tasks: list[str]) -> Any:
    """By the kind of pooling that was asked for."""
    wants_tokens = given.values.get("pooling_type") in _TOKENS or given.values.get("tok_pooling_type")
    per_token = "token_embed" if head == "none" else "token_classify"
    return per_token if wants_tokens and per_token in tasks else tasks[0]


def _activation(facts: PoolingFacts, head: HeadKind) -> Activation:
    """As the files say; else one score is a probability of its own, several share one."""
    if head == "none" or head == "reward":
        return "identity"
    if head == "from_tokens":
        is_single = facts.classifier_method == "from_2_way_softmax"
        return "sigmoid" if is_single else "softmax"
    if facts.activation:
        return facts.activation  # type: ignore[return-value]
    by_problem: dict[str, Activation] = {
        "regression": "identity",
        "multi_label_classification": "sigmoid",
    }
    usual: Activation = "softmax" if facts.num_labels > 1 else "sigmoid"
    return by_problem.get(facts.problem_type, usual)


def _head_tokens(given: Fields, facts: PoolingFacts) -> list[str | int]:
    tokens: list[str | int] = [*facts.classifier_from_token] or [
        *(given.token_ids("returned_token_ids") or ())
    ]
    method = facts.classifier_method or _METHODS[0]
    if method not in _METHODS:
        raise ConfigError(
            f"config.json: method {method!r} of classifier_from_token is not known; give {' or '.join(_METHODS)}",
            setting="hf_overrides",
        )
    if method == "from_2_way_softmax" and len(tokens) != 2:
        raise ConfigError(
            f"config.json: method from_2_way_softmax compares two tokens, classifier_from_token has {len(tokens)}",
            setting="hf_overrides",
        )
    return tokens


def _labels(given: Fields, facts: PoolingFacts, head: HeadKind) -> list[str]:
    if head == "none":
        return []
    if head != "from_tokens":
        return facts.labels
    tokens = [str(token) for token in _head_tokens(given, facts)]
    return tokens[1:] if facts.classifier_method == "from_2_way_softmax" else tokens


def _dimensions(given: Fields, card: ModelCard) -> int | None:
    asked = given.whole("dimensions", 1)
    if asked is not None and asked > card.hidden_size:
        raise ConfigError(
            f"{FLAG}.dimensions {asked} is more than the {card.hidden_size} of {card.name}'s vectors",
            setting=SETTING,
        )
    return asked


def _check_chunks(pooler: PoolerConfig) -> None:
    if pooler.max_embed_len is not None and not pooler.enable_chunked_processing:
        raise ConfigError(
            f"{FLAG}.max_embed_len needs {FLAG}.enable_chunked_processing, which embeds what is longer than the "
            "context",
            setting=SETTING,
        )


class Fields:
    """The fields of --pooler-config, read one by one; raises ConfigError naming the one of the wrong type."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def choice(self, name: str, allowed: tuple[str, ...] | list[str]) -> Any:
        value = self.values.get(name)
        if value is None:
            return None
        if value not in allowed:
            self._refuse(name, value, f"is not allowed for this model; give {', '.join(allowed)}")
        return value

    def flag(self, name: str, missing: bool | None) -> bool | None:
        value = self.values.get(name)
        if value in ("true", "false"):  # as `--pooler-config.x true` has it
            return bool(value == "true")
        if value is not None and not isinstance(value, bool):
            self._refuse(name, value, "is not allowed; give true or false")
        return missing if value is None else value

    def whole(self, name: str, low: int) -> int | None:
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**31:
            self._refuse(name, value, f"is not allowed; give an integer of at least {low}")
        return int(value)

    def number(self, name: str, *, is_divisor: bool = False) -> float | None:
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or (is_divisor and not value):
            self._refuse(name, value, "is not allowed; give a number" + (" other than 0" * is_divisor))
        return float(value)

    def token_ids(self, name: str) -> list[int] | None:
        value = self.values.get(name)
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or not value
            or not all(type(item) is int and item >= 0 for item in value)
        ):
            self._refuse(name, value, "is not allowed; give a list of token ids")
        return list(value)

    def _refuse(self, name: str, value: Any, why: str) -> None:
        raise ConfigError(f"{FLAG}.{name} {str(value)[:60]!r} {why}", setting=SETTING)
