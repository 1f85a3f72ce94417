"""Reading a config.json so that nothing in it is passed over in silence.

Every key a family understands is asked for by name; at the end `refuse_rest` names any other key that holds a
value, unless it is known not to matter for inference.
"""

from __future__ import annotations

from typing import Any

from quire.base.errors import CheckpointError

WITHOUT_EFFECT = frozenset(
    [
        "activation_dropout",
        "architectures",
        "attention_dropout",
        "attention_probs_dropout_prob",
        "attn_implementation",
        "attn_pdrop",
        "auto_map",
        "begin_suppress_tokens",
        "bos_token_id",
        "cache_implementation",
        "chunk_size_feed_forward",
        "classifier_dropout",
        "classifier_from_token",
        "decoder_start_token_id",
        "diversity_penalty",
        "do_sample",
        "dropout",
        "dtype",
        "early_stopping",
        "embd_pdrop",
        "encoder_no_repeat_ngram_size",
        "eos_token_id",
        "exponential_decay_length_penalty",
        "finetuning_task",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "gradient_checkpointing",
        "hidden_dropout",
        "hidden_dropout_prob",
        "id2label",
        "init_std",
        "initializer_range",
        "is_decoder",
        "is_llama_config",
        "is_matryoshka",
        "is_original_qwen3_reranker",
        "label2id",
        "layerdrop",
        "length_penalty",
        "matryoshka_dimensions",
        "max_length",
        "max_position_embeddings",
        "method",
        "min_length",
        "model_max_length",
        "model_type",
        "n_ctx",
        "n_layer",
        "n_positions",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_hidden_layers",
        "num_labels",
        "num_return_sequences",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "pad_token_id",
        "prefix",
        "pretraining_tp",
        "problem_type",
        "remove_invalid_values",
        "repetition_penalty",
        "resid_pdrop",
        "return_dict",
        "return_dict_in_generate",
        "sbert_ce_default_activation_function",
        "sentence_transformers",
        "sep_token_id",
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
        "suppress_tokens",
        "task_specific_params",
        "temperature",
        "tf_legacy_loss",
        "tokenizer_class",
        "top_k",
        "top_p",
        "torch_dtype",
        "torchscript",
        "transformers.js_config",
        "transformers_version",
        "typical_p",
        "unk_token_id",
        "use_bfloat16",
        "use_cache",
        "vocab_size",
    ]
)


_NOTHING: tuple[object, ...] = (None, False, 0, "", [], {})
_REQUIRED = object()


class ConfigKeys:
    """The keys of one config.json. `source` names the file in errors; a key holding null counts as absent."""

    def __init__(self, values: dict[str, Any], source: str) -> None:
        self.values = values
        self.source = source
        self._read: set[str] = set()

    def whole(
        self, key: str, default: Any = _REQUIRED, *, least: int = -(2**31), most: int = 2**31 - 1
    ) -> int:
        """An integer from `least` to `most`; required when no default is given."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            start = f"from {least} " if least > 0 else "up "
            self._refuse_type(key, value, f"a whole number {start}to {most}")
        return int(value)

    def divisor(self, key: str, total: int) -> int:
        """A whole number that divides `total`, such as the heads that share the hidden size."""
        value = self.whole(key)
        if value < 1 or total % value:
            raise CheckpointError(f"{self.source}: {key} is {value}, which does not divide {total} evenly.")
        return value

    def number(self, key: str, default: Any = _REQUIRED) -> float:
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._refuse_type(key, value, "a number")
        return float(value)

    def flag(self, key: str, default: Any = _REQUIRED) -> bool:
        value = self._take(key, default)
        if not isinstance(value, bool):
            self._refuse_type(key, value, "true or false")
        return bool(value)

    def choice(self, key: str, allowed: tuple[Any, ...], default: Any = _REQUIRED) -> Any:
        """One of `allowed`; anything else is refused by name."""
        value = self._take(key, default)
        if value not in allowed:
            choices = ", ".join(repr(item) for item in allowed)
            raise CheckpointError(
                f"{self.source}: {key} is {value!r}, which Quire cannot run for this model type; "
                f"it can run {choices}."
            )
        return value

    def experts(self) -> int:
        """How many experts a layer has, which transformers gives one of two names."""
        given = self.values.get("num_local_experts") is not None
        return self.whole("num_local_experts" if given else "num_experts", least=1)

    def wholes(self, key: str, default: Any = _REQUIRED) -> list[int]:
        value = self._take(key, default)
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            self._refuse_type(key, value, "a list of whole numbers")
        return list(value)

    def strings(self, key: str, default: Any = _REQUIRED) -> list[str]:
        value = self._take(key, default)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self._refuse_type(key, value, "a list of strings")
        return list(value)

    def layer_types(self, num_layers: int, usual: list[str]) -> list[str]:
        """Per layer "sliding_attention" or "full_attention"; `usual` where the file does not list them."""
        kinds = self.strings("layer_types", usual)
        wrong = [kind for kind in kinds if kind not in ("sliding_attention", "full_attention")]
        if wrong or len(kinds) != num_layers:
            raise CheckpointError(
                f"{self.source}: layer_types lists {len(kinds)} kinds for {num_layers} layers, "
                f"{wrong[0] if wrong else 'all known'!r}; sliding_attention and full_attention are understood."
            )
        return kinds

    def mapping(self, key: str, default: Any = _REQUIRED) -> dict[str, Any]:
        value = self._take(key, default)
        if not isinstance(value, dict):
            self._refuse_type(key, value, "an object")
        return dict(value)

    def classifier(self) -> str:
        """What config.json's class has on top of the trunk: "sequence" or "token" classification, or nothing ("")."""
        name = next(iter(self.strings("architectures", [])), "")
        kinds = {"ForSequenceClassification": "sequence", "ForTokenClassification": "token"}
        return next((kind for ending, kind in kinds.items() if name.endswith(ending)), "")

    def num_labels(self) -> int:
        """Of a classifier. transformers writes their names, and none of them where there are two."""
        return len(self.mapping("id2label", {})) or self.whole("num_labels", 2)

    def rope(self) -> dict[str, Any]:
        """Rope settings in one dictionary with `rope_theta`, from the new `rope_parameters` or from the older
        `rope_theta`, `partial_rotary_factor` and `rope_scaling`."""
        older = {"rope_theta": self.number("rope_theta", 10000.0)}
        if self.number("partial_rotary_factor", 1.0) != 1.0:
            older["partial_rotary_factor"] = self.number("partial_rotary_factor")
        return older | self.mapping("rope_scaling", {}) | self.mapping("rope_parameters", {})

    def refuse_rest(self, *harmless: str) -> None:
        """Raises for the first key that holds a value, was not read and is not known to be without effect."""
        for key, value in self.values.items():
            if (
                key in self._read
                or key in WITHOUT_EFFECT
                or key in harmless
                or key.startswith(("_", "unsloth_"))
            ):
                continue
            if value not in _NOTHING:
                raise CheckpointError(
                    f"{self.source}: the key {key} = {_short(value)} is not understood for this model type and may "
                    f"change what the model computes; if it does not, drop it with "
                    f"--hf-overrides '{{\"{key}\": null}}'."
                )

    def _take(self, key: str, default: Any) -> Any:
        self._read.add(key)
        value = self.values.get(key)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise CheckpointError(
                f"{self.source} has no key {key!r}; restore it from the model's original repository "
                f"or give it with --hf-overrides."
            )
        return default

    def _refuse_type(self, key: str, value: Any, wanted: str) -> None:
        raise CheckpointError(f"{self.source}: {key} is {_short(value)}; it must be {wanted}.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
