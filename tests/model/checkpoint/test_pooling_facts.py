"""What a folder says of pooling: heads by architecture, sentence-transformers' files old and new, damage named."""

from __future__ import annotations

import json

import pytest

from quire.base.errors import CheckpointError
from quire.model.checkpoint.pooling_facts import read_pooling_facts

MODULES = [
    {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.base.modules.normalize.Normalize"},
]


def facts_of(folder, config=None, **more):
    return read_pooling_facts(folder, config or {}, **{"is_encoder": False, **more})


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("Qwen3ForCausalLM", "lm"),
        ("GPT2LMHeadModel", "lm"),
        ("LlamaForSequenceClassification", "sequence"),
        ("BertForTokenClassification", "token"),
        ("Qwen2ForRewardModel", "reward"),
        ("Qwen2ForProcessRewardModel", "reward"),
        ("LlamaModel", "none"),
        ("BertForMaskedLM", "none"),
        ("", "lm"),
    ],
)
def test_the_head_follows_from_the_architecture(tmp_path, architecture, head):
    assert facts_of(tmp_path, {"architectures": [architecture]}).head == head
    assert facts_of(tmp_path, is_encoder=True).head == "none"


def test_labels_come_in_order_of_their_numbers(tmp_path):
    config = {"architectures": ["XForSequenceClassification"]}
    assert facts_of(tmp_path, config).labels == ["LABEL_0", "LABEL_1"]
    assert facts_of(tmp_path, config | {"num_labels": 1}).labels == ["LABEL_0"]
    named = {str(place): f"n{place}" for place in (10, 2, 0, 1)}
    assert facts_of(tmp_path, config | {"id2label": named}).labels == ["n0", "n1", "n2", "n10"]
    with pytest.raises(CheckpointError, match="keys of id2label"):
        facts_of(tmp_path, config | {"id2label": {"x": "y"}})


@pytest.mark.parametrize(
    ("pooling", "kind", "refused"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "MEAN", ""),
        ({"pooling_mode_cls_token": True}, "CLS", ""),
        ({"pooling_mode_lasttoken": True}, "LAST", ""),
        ({"pooling_mode": "mean"}, "MEAN", ""),
        ({"pooling_mode_max_tokens": True}, "", "Pooling by pooling_mode_max_tokens"),
        ({"pooling_mode": "max"}, "", "Pooling by max"),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            "",
            "Pooling by pooling_mode_cls_token and pooling_mode_mean_tokens",
        ),
    ],
)
def test_the_layout_is_read(tmp_path, pooling, kind, refused):
    (tmp_path / "modules.json").write_text(json.dumps(MODULES))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 256, "do_lower_case": true}')
    facts = facts_of(tmp_path)
    assert (facts.pooling_type, facts.refused_module) == (kind, refused)
    assert facts.has_layout and facts.normalizes and facts.max_tokens == 256 and facts.lowers_text


@pytest.mark.parametrize(
    ("config", "prompt"),
    [
        ({"default_prompt_name": "query", "prompts": {"query": "Q: ", "other": "O: "}}, "Q: "),
        ({"default_prompt_name": "document"}, ""),  # sentence-transformers has two empty ones of its own
        ({"default_prompt_name": "a", "prompts": {"a": None}}, ""),
        ({"default_prompt_name": None, "prompts": {"query": "Q: "}}, ""),
        ({"prompts": {"query": "Q: "}}, ""),
    ],
)
def test_the_default_prompt_is_read(tmp_path, config, prompt):
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(config))
    assert facts_of(tmp_path).text_prompt == ""  # no such layout
    (tmp_path / "modules.json").write_text(json.dumps(MODULES[:2]))
    (tmp_path / "1_Pooling").mkdir()
    pooling = {"pooling_mode": "mean", "include_prompt": False}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    facts = facts_of(tmp_path)
    refused = "Pooling without the tokens of the prompt (include_prompt)" if prompt else ""
    assert (facts.text_prompt, facts.refused_module) == (prompt, refused)


def test_a_default_prompt_that_is_not_there_is_named(tmp_path):
    (tmp_path / "modules.json").write_text(json.dumps(MODULES[:1]))
    config = {"default_prompt_name": "b", "prompts": {"a": "A: "}}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(config))
    with pytest.raises(
        CheckpointError, match="default_prompt_name is 'b', and prompts has only query, document, a"
    ):
        facts_of(tmp_path)


def test_what_the_layout_cannot_have_is_named(tmp_path):
    dense = [*MODULES[:1], {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]
    (tmp_path / "modules.json").write_text(json.dumps(dense))
    assert facts_of(tmp_path).refused_module == "Dense"
    for path in ("../elsewhere", "/etc"):
        outside = [{"path": path, "type": "sentence_transformers.models.Pooling"}]
        (tmp_path / "modules.json").write_text(json.dumps(outside))
        with pytest.raises(CheckpointError, match="leads out of the model folder"):
            facts_of(tmp_path)
    for damage in ("{", '{"a": 1}', "[1]"):
        (tmp_path / "modules.json").write_text(damage)
        with pytest.raises(CheckpointError, match=r"modules\.json"):
            facts_of(tmp_path)


@pytest.mark.parametrize(
    ("config", "activation"),
    [
        ({}, ""),
        ({"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, "identity"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}, "sigmoid"),
    ],
)
def test_the_activation_of_scores_is_read(tmp_path, config, activation):
    assert facts_of(tmp_path, config).activation == activation


def test_an_unknown_activation_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"own\.Thing, which Quire does not know"):
        facts_of(tmp_path, {"sbert_ce_default_activation_function": "own.Thing"})
