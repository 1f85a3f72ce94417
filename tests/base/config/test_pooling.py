"""Whether a model is pooled and how: each choice with its reason, each contradiction refused."""

from __future__ import annotations

import msgspec
import pytest
from tests.base.config.conftest import make_card, make_machine

from quire.base.config import Asked, PoolingFacts, resolve
from quire.base.errors import ConfigError

ST = PoolingFacts(
    architecture="BertModel", head="none", has_layout=True, pooling_type="MEAN", normalizes=True
)


def resolved(words: str = "", *, is_encoder: bool = False, **facts):
    known = facts["pooling"] if "pooling" in facts else PoolingFacts(**facts)
    card = make_card(is_encoder=is_encoder, pooling=known)
    return resolve(Asked.from_arguments(["m", *words.split()], {}), card, make_machine())


def reasons(resolution) -> dict[str, str]:
    return {entry.setting: f"{entry.choice}: {entry.reason}" for entry in resolution.decisions}


def test_a_language_model_generates_unless_it_is_told_otherwise():
    assert resolved().engine.pooler is None
    pooler = resolved("--runner pooling").engine.pooler
    assert (pooler.task, pooler.sequence, pooler.head, pooler.normalizes) == ("embed", "LAST", "none", True)


def test_sentence_transformers_files_decide_and_the_reason_is_told():
    resolution = resolved(pooling=ST, is_encoder=True)
    assert resolution.engine.pooler.sequence == "MEAN"
    told = reasons(resolution)
    assert told["runner"] == "pooling: BertModel is an encoder"
    assert told["pooling-type"] == "MEAN: 1_Pooling/config.json says so"
    assert told["pooling-task"] == "embed: vectors, normalised"
    prompted = resolved(pooling=msgspec.structs.replace(ST, text_prompt="Q: "), is_encoder=True)
    assert prompted.engine.pooler.text_prompt == "Q: " and "text-prompt" not in told
    assert reasons(prompted)["text-prompt"].startswith("'Q: ': before each text")
    decoder = resolved(architecture="Qwen3ForCausalLM", has_layout=True, pooling_type="LAST")
    assert reasons(decoder)["runner"] == "pooling: the folder has modules.json, sentence-transformers' layout"
    assert not decoder.engine.pooler.normalizes  # the layout has no Normalize
    told_to = resolved("--pooler-config.use_activation true", has_layout=True, pooling_type="LAST")
    assert told_to.engine.pooler.normalizes


def test_an_encoder_has_no_kv_cache_and_whole_prompts():
    engine = resolved(pooling=ST, is_encoder=True).engine
    assert not engine.scheduler.has_kv and not engine.scheduler.enable_chunked_prefill
    assert engine.cache.num_blocks == 0 and not engine.cache.enable_prefix_caching
    assert engine.scheduler.max_num_batched_tokens >= engine.max_model_len
    for flag in ("--enable-chunked-prefill", "--enable-prefix-caching"):
        with pytest.raises(ConfigError, match=f"^{flag}: org/example is an encoder"):
            resolved(flag, pooling=ST, is_encoder=True)


def test_texts_are_cut_to_the_length_the_files_name_unless_asked():
    facts = {"has_layout": True, "max_tokens": 256, "pooling_type": "LAST"}
    assert resolved(**facts).engine.max_model_len == 256
    assert resolved("--max-model-len 512", **facts).engine.max_model_len == 512


@pytest.mark.parametrize(
    ("facts", "head", "task", "activation"),
    [
        ({"head": "sequence", "num_labels": 3, "labels": ["a", "b", "c"]}, "sequence", "classify", "softmax"),
        ({"head": "sequence", "num_labels": 1, "labels": ["a"]}, "sequence", "classify", "sigmoid"),
        (
            {"head": "sequence", "num_labels": 2, "labels": ["a", "b"], "problem_type": "regression"},
            "sequence",
            "classify",
            "identity",
        ),
        (
            {"head": "sequence", "num_labels": 2, "problem_type": "multi_label_classification"},
            "sequence",
            "classify",
            "sigmoid",
        ),
        ({"head": "sequence", "num_labels": 1, "activation": "identity"}, "sequence", "classify", "identity"),
        ({"head": "token", "num_labels": 2, "labels": ["a", "b"]}, "token", "token_classify", "softmax"),
        ({"head": "reward", "num_labels": 1}, "reward", "token_classify", "identity"),
    ],
)
def test_a_classifier_is_known_by_its_head(facts, head, task, activation):
    pooler = resolved(**facts).engine.pooler
    assert (pooler.head, pooler.task, pooler.activation) == (head, task, activation)


def test_tokens_of_the_vocabulary_make_a_classifier():
    facts = {"classifier_from_token": ["no", "yes"], "classifier_method": "from_2_way_softmax"}
    pooler = resolved("--convert classify", **facts).engine.pooler
    assert (pooler.head, pooler.subtracts, pooler.labels, pooler.activation) == (
        "from_tokens",
        True,
        ["yes"],
        "sigmoid",
    )
    by_id = resolved("--convert classify --pooler-config.returned_token_ids [5,9]").engine.pooler
    assert (by_id.head_tokens, by_id.subtracts, by_id.labels) == ([5, 9], False, ["5", "9"])


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("task", "token_embed", "task"),
        ("seq_pooling_type", "CLS", "sequence"),
        ("tok_pooling_type", "STEP", "tokens"),
        ("use_activation", "false", "uses_activation"),
        ("dimensions", "64", "dimensions"),
        ("enable_chunked_processing", "true", "enable_chunked_processing"),
        ("logit_mean", "0.5", "logit_mean"),
        ("logit_sigma", "2", "logit_sigma"),
        ("step_tag_id", "7", "step_tag_id"),
        ("returned_token_ids", "[1]", "returned_token_ids"),
    ],
)
def test_each_field_of_the_pooler_config_arrives(field, value, place):
    usual = resolved("--runner pooling").engine.pooler
    pooler = resolved(f"--runner pooling --pooler-config.{field} {value}").engine.pooler
    assert getattr(pooler, place) != getattr(usual, place)
    assert str(getattr(pooler, place)).lower() in (value, f"{value}.0", value.lower())


def test_the_pooling_type_stands_for_either_kind_and_longest_input_needs_chunks():
    assert resolved("--runner pooling --pooler-config.pooling_type ALL").engine.pooler.task == "token_embed"
    assert resolved("--runner pooling --pooler-config.pooling_type MEAN").engine.pooler.sequence == "MEAN"
    chunks = (
        "--runner pooling --pooler-config.enable_chunked_processing true --pooler-config.max_embed_len 9000"
    )
    assert resolved(chunks).engine.pooler.max_embed_len == 9000


@pytest.mark.parametrize(
    ("words", "facts", "message"),
    [
        ("--runner generate", {"head": "none", "architecture": "LlamaModel"}, "no language model's head"),
        ("--runner generate --convert embed", {}, "give one"),
        ("--runner pooling --convert none", {}, "--convert none leaves a language model as it is"),
        ("--convert classify", {}, "has no classifier; name the tokens"),
        ("--pooler-config.pooling_type CLS", {}, "add --runner pooling"),
        ("--runner pooling --pooler-config.pooling_type MAX", {}, "give CLS, LAST, MEAN, ALL, STEP"),
        ("--runner pooling --pooler-config.task classify", {}, "give embed, token_embed"),
        ("--runner pooling --pooler-config.dimensions 99999", {}, "more than the 1024"),
        ("--runner pooling --pooler-config.max_embed_len 9000", {}, "needs --pooler-config.enable_chunked"),
        ("--runner pooling --pooler-config.logit_sigma 0", {}, "a number other than 0"),
        ("--runner pooling --pooler-config.use_activation 3", {}, "give true or false"),
        (
            "--runner pooling --pooler-config.pooling_type CLS --pooler-config.seq_pooling_type MEAN",
            {},
            "contradict each other",
        ),
        ("", {"has_layout": True, "refused_module": "Dense"}, "modules.json asks for Dense"),
        (
            "--convert classify",
            {"classifier_from_token": ["a"], "classifier_method": "from_2_way_softmax"},
            "compares two tokens",
        ),
        ("--convert classify", {"classifier_from_token": ["a"], "classifier_method": "x"}, "is not known"),
    ],
)
def test_what_does_not_fit_is_refused(words, facts, message):
    with pytest.raises(ConfigError, match=message):
        resolved(words, **facts)
