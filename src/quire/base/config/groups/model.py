"""Settings of the model: which one, in which precision, how long a context, what its config says."""

from quire.base.config import kinds
from quire.base.config.setting import Effect, Setting, State

GROUP = "ModelConfig"

SETTINGS = (
    Setting(
        name="model",
        group=GROUP,
        kind=kinds.text(),
        default="quire-folio",
        doc="Model folder or Hugging Face id; also the first word after `quire serve`. "
        "Unset: the small model that comes with Quire.",
    ),
    Setting(
        name="tokenizer",
        group=GROUP,
        kind=kinds.text(),
        default_text="the model's",
        doc="Folder or Hugging Face id to take the tokenizer and chat template from.",
    ),
    Setting(
        name="revision",
        group=GROUP,
        kind=kinds.text(),
        default_text="the repository's main branch",
        doc="Branch, tag or commit of the model repository.",
    ),
    Setting(
        name="served-model-name",
        group=GROUP,
        is_for_server=True,
        kind=kinds.text(),
        many=True,
        default_text="the model as given",
        doc="Names clients may ask for. The first stands in replies and metrics.",
    ),
    Setting(
        name="dtype",
        group=GROUP,
        kind=kinds.choice("auto", "bfloat16", "float", "float16", "float32", "half"),
        default="auto",
        doc="Precision of weights and activations. float is float32, half is float16; auto keeps the checkpoint's "
        "where this CPU computes in it at full speed, else float32.",
    ),
    Setting(
        name="quantization",
        group=GROUP,
        kind=kinds.choice("int8"),
        default_text="the checkpoint's own precision",
        doc="Quantise the weights while they are loaded. int8: 8 bits with a scale for each output, and each row of "
        "inputs rounded to 8 bits with a scale of its own.",
    ),
    Setting(
        name="native-isa",
        group=GROUP,
        kind=kinds.choice("auto", "avx2", "avx512", "avx512_bf16", "off", "scalar"),
        default="auto",
        doc="Instruction set of the native kernels, for tests and comparisons: auto takes the best one of this CPU, "
        "off runs everything on torch. One that the CPU lacks is refused.",
    ),
    Setting(
        name="max-model-len",
        group=GROUP,
        kind=kinds.context_length(),
        default_text="auto",
        doc="Longest context (prompt and answer together) in tokens. auto or -1: the model's own, shortened to "
        "what memory holds.",
    ),
    Setting(
        name="allow-long-max-model-len",
        group=GROUP,
        kind=kinds.switch(),
        default=False,
        has_flag=False,
        environment=("VLLM_ALLOW_LONG_MAX_MODEL_LEN",),
        doc="Allow a max-model-len beyond what the checkpoint was made for. Answers may turn to nonsense there.",
    ),
    Setting(
        name="seed",
        group=GROUP,
        kind=kinds.integer(0, 2**63 - 1),
        default=0,
        doc="Seed of dummy weights and of requests that bring none.",
    ),
    Setting(
        name="hf-overrides",
        group=GROUP,
        kind=kinds.json_object(),
        default={},
        doc="Entries merged over the checkpoint's config.json.",
    ),
    Setting(
        name="generation-config",
        group=GROUP,
        kind=kinds.text(),
        default="auto",
        doc="Where default sampling parameters come from: auto (the model's generation_config.json), vllm (none), "
        "or a folder that holds a generation_config.json. A max_new_tokens there caps every answer.",
    ),
    Setting(
        name="override-generation-config",
        group=GROUP,
        kind=kinds.json_object(),
        default={},
        doc="Default sampling parameters that replace those of the generation config.",
    ),
    Setting(
        name="max-logprobs",
        group=GROUP,
        kind=kinds.integer(-1),
        default=20,
        doc="Most log-probabilities per token that a request may ask for; -1 allows the whole vocabulary.",
    ),
    Setting(
        name="logprobs-mode",
        group=GROUP,
        kind=kinds.choice("processed_logits", "processed_logprobs", "raw_logits", "raw_logprobs"),
        default="raw_logprobs",
        doc="What logprob fields carry: log-probabilities or logits, before or after temperature, penalties and "
        "other processing.",
    ),
    Setting(
        name="trust-remote-code",
        group=GROUP,
        kind=kinds.switch(),
        default=False,
        doc="Run Python code that comes with a model repository.",
        states={
            "*": State(
                Effect.REFUSED,
                "Quire never runs code from a model repository; the families it knows need none",
            )
        },
    ),
)
