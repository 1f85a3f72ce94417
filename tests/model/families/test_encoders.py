"""Every encoder equals transformers: hidden states within 1e-5 and logits of its classifiers, for texts of mixed
length in one step, in bits that do not depend on the others of the step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from quire.base.errors import CheckpointError
from quire.model.checkpoint import read_card
from quire.model.families import FAMILIES
from quire.model.layers import Encoder
from quire.model.loading import build_network
from tests.model.tiny import SHAPES as DECODERS
from tests.model.tiny import engine_config
from tests.model.tiny_encoders import (
    SHAPES,
    encoder_checkpoint,
    load_encoder,
    random_texts,
    run_encoder,
    tiny_encoder,
)

LENGTHS = (3, 90, 1, 150, 29)
ROPES = {
    "full_attention": {"rope_type": "default", "rope_theta": 5e4},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
}
CASES: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in SHAPES),
    ("bert", {"hidden_act": "gelu_new", "type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    ("distilbert", {"sinusoidal_pos_embds": True, "activation": "relu"}),
    ("gte", {"type_vocab_size": 0, "hidden_act": "silu", "rope_parameters": ROPES["full_attention"]}),
    ("gte", {"type_vocab_size": 2}),
    ("modernbert", {"attention_bias": True, "mlp_bias": True, "norm_bias": True}),
    ("modernbert", {"rope_parameters": ROPES, "layer_types": ["sliding_attention"] * 4}),
    ("nomic_bert", {"type_vocab_size": 1, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    ("roberta", {"pad_token_id": 0, "hidden_act": "relu"}),
]
ROTARY = ("gte", "modernbert", "nomic_bert")
TYPED = ("bert", "nomic_bert")  # families that tell the second text of a pair from the first


def hidden_states(oracle: Any, prompt: list[int], types: list[int] | None = None) -> Tensor:
    more = {} if types is None else {"token_type_ids": torch.tensor([types])}
    with torch.no_grad():
        states: Tensor = oracle(torch.tensor([prompt]), **more).last_hidden_state[0]
    return states


def classified(network: Encoder, hidden_LD: Tensor) -> Tensor:
    """What `classify` wants of one sequence's hidden states."""
    if network.classified == "CLS":
        return hidden_LD[:1]
    return hidden_LD.mean(0, keepdim=True) if network.classified == "MEAN" else hidden_LD


@pytest.mark.parametrize(
    ("family", "config"), CASES, ids=[f"{family}-{index}" for index, (family, _) in enumerate(CASES)]
)
def test_equals_the_oracle_alone_and_among_others(
    family: str, config: dict[str, Any], tmp_path: Path
) -> None:
    oracle = tiny_encoder(family, **config)
    network = load_encoder(encoder_checkpoint(oracle, tmp_path / family))
    assert network.num_labels == 0
    assert read_card(tmp_path / family, name=family).is_encoder
    prompts = random_texts(LENGTHS)
    together = run_encoder(network, prompts)
    for ours, prompt in zip(together, prompts, strict=True):
        torch.testing.assert_close(ours, hidden_states(oracle, prompt), rtol=0.0, atol=1e-5)
        assert torch.equal(run_encoder(network, [prompt])[0], ours)
    for ours, before in zip(run_encoder(network, prompts[::-1]), together[::-1], strict=True):
        assert torch.equal(ours, before)


@pytest.mark.parametrize("family", TYPED)
def test_the_second_text_of_a_pair_is_told_from_the_first(family: str, tmp_path: Path) -> None:
    oracle = tiny_encoder(family)
    network = load_encoder(encoder_checkpoint(oracle, tmp_path / family))
    prompts = random_texts((7, 30))
    types = [[0] * 4 + [1] * 3, [0] * 30]
    pair, single = run_encoder(network, prompts, types)
    torch.testing.assert_close(pair, hidden_states(oracle, prompts[0], types[0]), rtol=0.0, atol=1e-5)
    assert torch.equal(single, run_encoder(network, prompts)[1])
    assert not torch.equal(pair, run_encoder(network, prompts)[0])


@pytest.mark.parametrize("head", ["sequence", "token"])
@pytest.mark.parametrize("family", SHAPES)
def test_classifiers_equal_the_oracle(family: str, head: str, tmp_path: Path) -> None:
    for labels in (1, 5):
        oracle = tiny_encoder(family, head=head, num_labels=labels)
        network = load_encoder(encoder_checkpoint(oracle, tmp_path / str(labels)))
        assert network.num_labels == labels
        prompts = random_texts(LENGTHS)
        for hidden_LD, prompt in zip(run_encoder(network, prompts), prompts, strict=True):
            with torch.no_grad():
                want = oracle(torch.tensor([prompt])).logits
                logits = network.classify(classified(network, hidden_LD))
            assert logits.dtype == torch.float32
            torch.testing.assert_close(logits, want.view(-1, labels), rtol=0.0, atol=1e-5)


def test_a_classifier_of_mean_states(tmp_path: Path) -> None:
    config = {"classifier_pooling": "mean", "classifier_bias": True, "norm_bias": True, "num_labels": 3}
    oracle = tiny_encoder("modernbert", head="sequence", classifier_activation="relu", **config)
    network = load_encoder(encoder_checkpoint(oracle, tmp_path / "mean"))
    assert network.classified == "MEAN"
    prompts = random_texts(LENGTHS)
    for hidden_LD, prompt in zip(run_encoder(network, prompts), prompts, strict=True):
        with torch.no_grad():
            want = oracle(torch.tensor([prompt])).logits
            logits = network.classify(classified(network, hidden_LD))
        torch.testing.assert_close(logits, want, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("family", SHAPES)
def test_a_head_for_masked_words_is_left_alone(family: str, tmp_path: Path) -> None:
    oracle = tiny_encoder(family, head="masked")
    network = load_encoder(encoder_checkpoint(oracle, tmp_path / family))
    prompts = random_texts((20,))
    want = hidden_states(oracle.base_model, prompts[0])
    torch.testing.assert_close(run_encoder(network, prompts)[0], want, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", SHAPES)
def test_half_precision_is_close_and_has_the_same_bits_alone(family: str, dtype: str, tmp_path: Path) -> None:
    oracle = tiny_encoder(family, head="sequence", num_labels=3)
    network = load_encoder(encoder_checkpoint(oracle, tmp_path / family, dtype=dtype), dtype=dtype)
    prompts = random_texts(LENGTHS)
    for ours, prompt in zip(run_encoder(network, prompts), prompts, strict=True):
        want = hidden_states(oracle.base_model, prompt)
        assert float((ours - want).norm() / want.norm()) < {"bfloat16": 0.02, "float16": 0.003}[dtype]
        assert torch.equal(run_encoder(network, [prompt])[0], ours)
        with torch.no_grad():  # pooled states come in float32
            logits = network.classify(classified(network, ours.float()))
        assert logits.shape == (1, 3)
        assert logits.dtype == torch.float32


@pytest.mark.parametrize(
    ("family", "overrides", "words"),
    [
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ("bert", {"num_attention_heads": 5}, "num_attention_heads is 5, which does not divide 64 evenly"),
        ("nomic_bert", {"num_attention_heads": 5}, "num_attention_heads is 5, which does not divide 64"),
        ("bert", {"is_decoder": True}, "is_decoder is True"),
        ("bert", {"add_cross_attention": True}, "add_cross_attention = True"),
        ("bert", {"hidden_act": "mish"}, "hidden_act is 'mish'"),
        ("bert", {"embedding_size": 32}, "embedding_size = 32 is not understood"),
        ("bert", {"id2label": ["a", "b"]}, "id2label is"),
        ("modernbert", {"classifier_pooling": "max"}, "classifier_pooling is 'max'"),
        ("modernbert", {"layer_types": ["linear_attention"] * 4}, "linear_attention"),
        ("modernbert", {"query_norm": True}, "query_norm = True is not understood"),
        ("distilbert", {"n_heads": 7}, "n_heads is 7, which does not divide 64 evenly"),
        ("gte", {"position_embedding_type": "absolute"}, "position_embedding_type is 'absolute'"),
        ("gte", {"logn_attention_scale": True}, "logn_attention_scale = True is not understood"),
        ("nomic_bert", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ("nomic_bert", {"num_experts": 8}, "num_experts = 8 is not understood"),
        ("roberta", {"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
    ],
)
def test_a_key_that_changes_the_maths_is_refused_by_name(
    family: str, overrides: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = encoder_checkpoint(tiny_encoder(family), tmp_path / family)
    card = read_card(folder, name=family, hf_overrides=overrides)
    config = msgspec.structs.replace(engine_config(folder), card=card)
    with pytest.raises(CheckpointError, match=words):
        build_network(config)


@pytest.mark.parametrize("family", [family for family in SHAPES if family not in ROTARY])
def test_learned_positions_end_where_they_end(family: str, tmp_path: Path) -> None:
    folder = encoder_checkpoint(tiny_encoder(family), tmp_path / family)
    assert read_card(folder, name=family).max_model_len == 512  # of 514 two are no text's
    prompts = random_texts((512,))
    assert run_encoder(load_encoder(folder), prompts)[0].isfinite().all()
    with pytest.raises(CheckpointError, match="513 is more than the 512 positions"):
        build_network(engine_config(folder, max_model_len=513))


def test_a_classifier_of_answers_is_refused_by_its_tensor(tmp_path: Path) -> None:
    from transformers import BertForQuestionAnswering

    oracle = BertForQuestionAnswering(tiny_encoder("bert").config)
    folder = encoder_checkpoint(oracle, tmp_path / "answers")
    with pytest.raises(CheckpointError, match=r"'qa_outputs.*has no place in this model"):
        load_encoder(folder)


def test_every_encoder_has_a_tiny_model() -> None:
    encoders = {name for name, family in FAMILIES.items() if family.is_encoder}
    assert encoders - {"new"} == set(SHAPES)  # "new" is gte's first name, see test_encoder_files.py
    assert not set(SHAPES) & set(DECODERS)
