"""Tiny random checkpoints of every family, made by transformers, and a small driver that runs them in steps.

`tiny_checkpoint` is what other rooms' tests use to get a model folder: float32 weights, a byte-level BPE tokenizer
of 160 tokens beside them.
"""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from quire.base.config import CacheConfig, EngineConfig, SchedulerConfig
from quire.model.checkpoint import read_card
from quire.model.layers import AttentionBatch, CausalLM, LayerKV, StepInput
from quire.model.loading import load_model

VOCAB = 160
EOS = 0
BLOCK_SIZE = 16

_DECODER = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
_GEMMA = _DECODER | {
    "head_dim": 16,
    "num_hidden_layers": 4,
    "sliding_window": 24,
    "query_pre_attn_scalar": 32,
}
_OPT = {
    "hidden_size": 64,
    "ffn_dim": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "word_embed_proj_dim": 64,
}
_GRANITE = {
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.1,
    "residual_multiplier": 0.4,
    "logits_scaling": 2.0,
}
_QWEN3_MOE = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 40}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": _DECODER,
    "mixtral": _DECODER | {"num_local_experts": 5},
    "mistral": _DECODER | {"sliding_window": 24},
    "qwen2": _DECODER,
    "qwen3": _DECODER | {"head_dim": 32},
    "cohere": _DECODER | {"pad_token_id": 0},
    "cohere2": _DECODER | {"pad_token_id": 0, "num_hidden_layers": 4, "sliding_window": 24},
    "gemma": _DECODER | {"head_dim": 32},
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "phi3": _DECODER | {"pad_token_id": 0, "sliding_window": 24},
    "gpt2": {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 512},
    "gpt_neox": {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
    },
    "opt": _OPT,
    "granite": _DECODER | _GRANITE,
    "olmo2": _DECODER,
    "olmo3": _DECODER | {"num_hidden_layers": 4, "sliding_window": 24},
    "olmoe": _DECODER | {"num_experts": 7, "num_experts_per_tok": 3},
    "qwen3_moe": _DECODER | {"head_dim": 32} | _QWEN3_MOE,
    "smollm3": _DECODER | {"num_hidden_layers": 4, "pad_token_id": 0},
    "stablelm": _DECODER,
}

_TEXT = (
    "A quire is a gathering of folded pages. The binder sews one quire to the next, and the book grows. "
    "Zwölf Bögen, ein Buch. 一枚の紙。 A page turned is a page read; 12 + 30 = 42. "
)


def tiny_model(family: str, *, seed: int = 0, **config: Any) -> Any:
    """A small random transformers model in float32. Biases and norm weights are random, too, so that a family
    that forgets one cannot pass."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {"vocab_size": VOCAB, "bos_token_id": EOS, "eos_token_id": EOS} | SHAPES[family] | config
    torch.manual_seed(seed)
    card = AutoConfig.for_model(family, **settings)
    # written out: fused attention of some versions leaves Gemma 2's soft cap out
    model = AutoModelForCausalLM.from_config(card, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def tiny_checkpoint(
    family: str, folder: Path, *, seed: int = 0, dtype: str = "float32", **config: Any
) -> Path:
    """Saves `tiny_model` and a tokenizer to `folder` as an ordinary Hugging Face model; `config` overrides keys
    of its config.json. Returns the folder."""
    model = tiny_model(family, seed=seed, **config).to(getattr(torch, dtype))
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "bos_token": None}))
    return folder


def tiny_tokenizer() -> Tokenizer:
    """A byte-level BPE of at most VOCAB tokens; token 0 is <|end|>. Bytes outside ASCII letters and marks that the
    sample does not hold have no token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    printable = "".join(map(chr, range(32, 127)))
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=["<|end|>"], show_progress=False)
    tokenizer.train_from_iterator([_TEXT, printable], trainer)
    return tokenizer


def engine_config(
    folder: Path, *, dtype: Any = "float32", max_model_len: int = 0, num_blocks: int = 128
) -> EngineConfig:
    """A resolved configuration for a model folder, without going through the settings."""
    card = read_card(folder, name=folder.name)
    return EngineConfig(
        card=card,
        dtype=dtype,
        max_model_len=max_model_len or card.max_model_len,
        cache=CacheConfig(block_size=BLOCK_SIZE, num_blocks=num_blocks, dtype=dtype),
        scheduler=SchedulerConfig(max_num_batched_tokens=512, max_num_seqs=16),
    )


class Driver:
    """Runs prompts through a network in steps, the way a runner would, and collects every position's logits.

    Blocks are handed out in random order and hold NaN before they are written.
    """

    def __init__(
        self, network: CausalLM, dtype: torch.dtype, *, num_blocks: int = 128, seed: int = 0
    ) -> None:
        self.network = network
        self.forward: Callable[[StepInput], Tensor] = network
        self.random = random.Random(seed)
        self.free = list(range(num_blocks))
        self.random.shuffle(self.free)
        self.caches = [
            LayerKV(*(torch.full((num_blocks, BLOCK_SIZE, *shape), torch.nan, dtype=dtype) for _ in "kv"))
            for shape in network.cache_shapes
        ]

    def run(self, prompts: list[list[int]], chunk: int) -> list[Tensor]:
        """Logits of all positions, per prompt. Each step takes some of the unfinished prompts, in random order,
        with `chunk` tokens each or, now and then, one."""
        done = [0] * len(prompts)
        tables = [[self.free.pop() for _ in range(-(-len(prompt) // BLOCK_SIZE))] for prompt in prompts]
        logits: list[list[Tensor]] = [[] for _ in prompts]
        while True:
            waiting = [index for index, prompt in enumerate(prompts) if done[index] < len(prompt)]
            if not waiting:
                return [torch.cat(parts) for parts in logits]
            self.random.shuffle(waiting)
            chosen = waiting[: self.random.randint(1, len(waiting))]
            spans = []
            for index in chosen:
                size = self.random.choice((chunk, chunk, 1))
                spans.append((index, done[index], min(done[index] + size, len(prompts[index]))))
            for (index, _, end), part in zip(spans, self._step(prompts, tables, spans), strict=True):
                logits[index].append(part)
                done[index] = end

    def _step(
        self, prompts: list[list[int]], tables: list[list[int]], spans: list[tuple[int, int, int]]
    ) -> tuple[Tensor, ...]:
        sizes = [end - start for _, start, end in spans]
        places = [(index, place) for index, start, end in spans for place in range(start, end)]
        step = StepInput(
            token_ids=array("q", [prompts[index][place] for index, place in places]),
            positions=array("q", [place for _, place in places]),
            slots=array(
                "q",
                [
                    tables[index][place // BLOCK_SIZE] * BLOCK_SIZE + place % BLOCK_SIZE
                    for index, place in places
                ],
            ),
            attention=AttentionBatch(
                query_starts=[sum(sizes[:count]) for count in range(len(sizes) + 1)],
                context_lens=[end for _, _, end in spans],
                block_tables=[tables[index][: -(-end // BLOCK_SIZE)] for index, _, end in spans],
                block_size=BLOCK_SIZE,
            ),
            caches=self.caches,
        )
        with torch.no_grad():
            return self.network.logits(self.forward(step)).split(sizes)


def load_tiny(folder: Path, *, dtype: Any = "float32", max_model_len: int = 0) -> CausalLM:
    """The network of a tiny checkpoint."""
    return load_model(engine_config(folder, dtype=dtype, max_model_len=max_model_len), None)


def random_prompts(lengths: tuple[int, ...], *, seed: int = 0) -> list[list[int]]:
    chooser = random.Random(seed)
    return [[chooser.randrange(VOCAB) for _ in range(length)] for length in lengths]
