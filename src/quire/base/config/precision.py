"""Which precision the engine computes in, and why."""

from __future__ import annotations

from quire.base.config.asked import Asked
from quire.base.config.card import ModelCard
from quire.base.config.resolved import DTYPE_BYTES, Decision, Dtype
from quire.base.hardware import Machine

_NAMES: dict[str, Dtype] = {
    "float32": "float32",
    "float": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
    "half": "float16",
}
# CPU features that make a 16-bit type as fast as float32 or faster; "bf16" and "asimdhp" are Arm's names
_FAST_ON: dict[str, tuple[str, ...]] = {
    "bfloat16": ("amx_bf16", "avx512_bf16", "avx_ne_convert", "bf16"),
    "float16": ("amx_fp16", "avx512_fp16", "fphp", "asimdhp"),
}
# of a weight by the schemes of EngineConfig.quantization; each group of 4-bit weights has a scale of 2 bytes
QUANTIZED_BYTES = {"int8": 1.0} | {
    f"int4-{size}{mode}": 0.5 + 2 / size for size in (32, 64, 128) for mode in ("", "-exact")
}
_INT4_DEFAULTS = {
    "int4_group_size": "smaller groups are a little more exact, larger ones smaller and faster",
    "int4_activations": "as close to the unquantised model as exact inputs, and several times as fast",
}
# float32 doubles the weights; beyond this share of memory the slower arithmetic is the lesser evil
_WIDE_SHARE = 0.5


def choose_dtype(asked: Asked, card: ModelCard, machine: Machine) -> tuple[Dtype, list[Decision]]:
    """The dtype asked for, or the best one for this checkpoint on this CPU."""
    name: str = asked["dtype"]
    if name != "auto":
        return _NAMES[name], []
    dtype, reason = _automatic(card, machine)
    return dtype, [Decision("dtype", dtype, reason, "--dtype")]


def _automatic(card: ModelCard, machine: Machine) -> tuple[Dtype, str]:
    stored = _NAMES[card.dtype]
    if stored == "float32":
        return stored, "the checkpoint is float32"
    features = [feature for feature in _FAST_ON[stored] if feature in machine.isa]
    if features:
        return stored, f"the checkpoint is {stored} and this CPU computes in it ({features[0]})"
    wide_bytes = weight_bytes(card, "float32")
    if wide_bytes <= machine.memory_available_bytes * _WIDE_SHARE:
        return "float32", f"the checkpoint is {stored}, but this CPU has no {stored} arithmetic"
    return stored, f"this CPU has no {stored} arithmetic, but float32 weights would take too much memory"


def choose_quantization(asked: Asked) -> tuple[str, list[Decision]]:
    """The scheme for EngineConfig.quantization. Its details are decisions where the user left them open, or gave them
    to another scheme."""
    is_int4 = asked["quantization"] == "int4"
    decisions = [
        Decision(
            name,
            str(asked[dest]),
            reason if is_int4 else "nothing reads it without --quantization int4",
            f"--{name}" if is_int4 else "--quantization",
        )
        for dest, reason in _INT4_DEFAULTS.items()
        if asked.is_given(dest) != is_int4
        for name in (dest.replace("_", "-"),)
    ]
    if not is_int4:
        return asked["quantization"] or "", decisions
    mode = "-exact" if asked["int4_activations"] == "exact" else ""
    return f"int4-{asked['int4_group_size']}{mode}", decisions


def weight_bytes(card: ModelCard, dtype: Dtype, quantization: str = "") -> int:
    """Bytes the weights take once loaded in `dtype` and quantised; estimated from the shape where the folder has none
    (dummy)."""
    num_parameters = card.weight_bytes // DTYPE_BYTES[card.dtype] or _estimated_parameters(card)
    if not quantization:
        return num_parameters * DTYPE_BYTES[dtype]
    # an embedding that is not the head keeps its type; norms and biases do, too, but hardly count
    is_tied = card.hf_config.get("tie_word_embeddings") is True
    kept_parameters = 0 if is_tied else card.vocab_size * card.hidden_size
    small_parameters = max(0, num_parameters - kept_parameters)
    return kept_parameters * DTYPE_BYTES[dtype] + int(small_parameters * QUANTIZED_BYTES[quantization])


def _estimated_parameters(card: ModelCard) -> int:
    """Parameters of a decoder of this shape with a gated MLP; a few percent off for the families that differ."""
    width = card.hidden_size
    query_heads = int(card.hf_config.get("num_attention_heads") or width // card.head_dim)
    mlp_width = int(card.hf_config.get("intermediate_size") or 4 * width)
    embeddings = card.vocab_size * width * (1 if card.hf_config.get("tie_word_embeddings") else 2)
    attention = 2 * width * card.head_dim * sum(query_heads + kv_heads for kv_heads in card.kv_heads)
    if card.experts is not None:
        mlp_width = card.experts.count * card.experts.width
    return embeddings + attention + card.num_layers * 3 * width * mlp_width
