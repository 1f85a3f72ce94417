"""The reasons settings share: what a capability still to be built refuses, what has nothing to act on here."""

from __future__ import annotations

from quire.base.config.setting import Effect, State

States = dict[str, State]


def awaits(capability: str) -> States:
    """Refused until the capability is there; given its default it starts."""
    return {"*": State(Effect.REFUSED, f"Quire has no {capability} yet", capability)}


def refused(reason: str) -> States:
    return {"*": State(Effect.REFUSED, reason)}


def idle(reason: str, platform: str = "*") -> States:
    """Without effect on the platform, for the reason."""
    return {platform: State(Effect.WITHOUT_EFFECT, reason)}


def always(reason: str) -> States:
    """Effective by nature: what the setting asks for happens anyway."""
    return {"*": State(Effect.EFFECTIVE, reason)}


def gone(replacement: str) -> States:
    """A setting that vLLM 0.33 no longer has, and what says the same today."""
    return {"*": State(Effect.REFUSED, f"vLLM 0.33 no longer has it; {replacement}")}


def gone_idle(reason: str) -> States:
    """A setting that vLLM 0.33 no longer has and that asks for nothing here."""
    return {"*": State(Effect.WITHOUT_EFFECT, f"vLLM 0.33 no longer has it; {reason}")}


def by_value(state: States, *values: str) -> dict[str, State]:
    """The state of single values of a setting that is effective otherwise."""
    return dict.fromkeys(values, state["*"])


PARALLELISM = awaits("parallelism over several workers")
EXPERTS = awaits("expert parallelism")
ROUTING = awaits("reports of expert routing")
LORA = awaits("LoRA adapters")
SPECULATION = awaits("speculative decoding")
MULTIMODAL = awaits("multimodal models")
QUANTIZATION = awaits("quantised checkpoints")
MAMBA = awaits("state-space (Mamba) models")
TOOLS = idle("replies are read by one scanner in linear time, without regular expressions")
HARMONY = awaits("gpt-oss (harmony) models")
KV_TRANSFER = awaits("KV transfer between instances")
RAY = awaits("execution through Ray")
WEIGHT_TRANSFER = awaits("weight updates at run time")

NO_GPU = idle("it concerns GPU work, and none is done on this platform", "cpu")
NO_GPU_KERNELS = idle("it chooses among GPU kernels, and none runs on this platform", "cpu")
NO_EXCHANGE = idle("all experts are on one device, and nothing is exchanged between them")
NO_MLA = idle("no family Quire knows uses latent attention (MLA)")
NO_COMPILER = idle("Quire compiles and captures nothing: kernels are ready when it starts")
NO_BUILD = idle("it concerns building vLLM, and Quire is not built that way")
NO_OTHER_PLATFORM = idle("Quire does not run on that platform")
NO_USAGE_DATA = idle("Quire sends no usage data anywhere")
IN_MAIN_MEMORY = idle("weights and KV cache are in main memory already", "cpu")
NO_FILES = idle("Quire keeps no such files")
NO_S3 = idle("Quire reads models from folders and from Hugging Face, not from S3")
NO_RING_BUFFER = idle("Quire has no shared-memory ring buffer")
ONE_MACHINE = idle("everything runs on one machine and speaks through local sockets")
OTHER_TOKENIZERS = refused("Quire has one tokenizer, which reads tokenizer.json; give auto or hf")

SENDS_NOTHING = always("Quire sends no usage data, whatever this says")
NAMES_ALWAYS = always("every step and every op is a named range of a profile, whatever this says")
SLEEPS_ALWAYS = always("the engine process sleeps whenever it has nothing to do, whatever this says")
