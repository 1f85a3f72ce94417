"""Settings of the model: which one, in which precision, how long a context, what its config says."""

from quire.base.config import kinds
from quire.base.config.rows import Rows
from quire.base.config.setting import Effect, Setting, State
from quire.base.config.states import (
    MULTIMODAL,
    OTHER_TOKENIZERS,
    QUANTIZATION,
    ROUTING,
    SPECULATION,
    awaits,
    by_value,
    gone,
    idle,
    refused,
)

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
        kind=kinds.choice("int4", "int8"),
        aliases=("-q",),
        default_text="the checkpoint's own precision",
        doc="Quantise the weights while they are loaded. int8: 8 bits with a scale for each output, and each row of "
        "inputs rounded to 8 bits with a scale of its own. int4: 4 bits with a scale for each group of inputs; "
        "--int4-group-size and --int4-activations say how.",
    ),
    Setting(
        name="int4-group-size",
        group=GROUP,
        kind=kinds.number_choice(32, 64, 128),
        default=64,
        doc="With --quantization int4: how many weights of an output share a scale. Larger groups take less memory "
        "and are less exact.",
    ),
    Setting(
        name="int4-activations",
        group=GROUP,
        kind=kinds.choice("int8", "exact"),
        default="int8",
        doc="With --quantization int4: int8 rounds each row of inputs to 8 bits, as --quantization int8 does; exact "
        "leaves the inputs as they are, which is slower.",
    ),
    Setting(
        name="native-isa",
        group=GROUP,
        kind=kinds.choice("amx", "auto", "avx2", "avx512", "avx512_bf16", "off", "scalar"),
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
        kind=kinds.truth("1", "true"),
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

ROWS = Rows(GROUP)

# fmt: off
IN_SHORT = (
    ROWS.option("hf-config-path", kinds.text(), None, {},
                "Folder or Hugging Face id to take config.json from, instead of the model's own."),
    ROWS.option("tokenizer-revision", kinds.text(), None, {},
                "Branch, tag or commit of the repository that --tokenizer names; without that option, of the "
                "model's."),
    ROWS.option("hf-token", kinds.token(), None, {},
                "Token for downloads from Hugging Face; the option alone uses the login stored on this machine.",
                environment=("HF_TOKEN",), is_secret=True),
    ROWS.variable("VLLM_MODEL_REDIRECT_PATH", kinds.path(), None, {},
                  "File that maps model names to folders: a JSON object, or lines of name, blank, folder."),
    ROWS.option("disable-sliding-window", kinds.switch(), False, {},
                "Shorten the context to the sliding window, so that every layer sees all of it."),
    ROWS.option("skip-tokenizer-init", kinds.switch(), False, {},
                "No tokenizer: /v1/completions takes and gives token ids, text is empty, chat is refused."),
    ROWS.option("logits-processors", kinds.text(), [], {},
                "Classes that change logits, as package.module:Class, or names under the entry point group "
                "quire.logits_processors.", many=True),
    ROWS.option("runner", kinds.choice("auto", "draft", "generate", "pooling"), "auto", {},
                "Whether the model generates or is pooled into vectors and scores; auto goes by its architecture and "
                "files.",
                value_states=by_value(SPECULATION, "draft")),
    ROWS.option("convert", kinds.choice("auto", "classify", "embed", "none"), "auto", {},
                "What a pooled model's states become: vectors (embed), a classifier's scores (classify), or whatever "
                "its own head makes of them (none)."),
    ROWS.option("tokenizer-mode", kinds.choice("auto", "deepseek_v32", "hf", "mistral", "slow", "qwen_vl"), "auto",
                {},
                "Which tokenizer implementation to use.",
                value_states=by_value(OTHER_TOKENIZERS, "deepseek_v32", "mistral", "slow", "qwen_vl")),
    ROWS.option("allowed-local-media-path", kinds.text(), "", MULTIMODAL,
                "Directory from which requests may read local media (risk)."),
    ROWS.option("allowed-media-domains", kinds.text(), None, MULTIMODAL, "Allow-list of media URL hosts.", many=True),
    ROWS.option("code-revision", kinds.text(), None, refused("Quire never runs code from a model repository"),
                "Revision of remote model code."),
    ROWS.option("allow-deprecated-quantization", kinds.switch(), False, QUANTIZATION,
                "Permit deprecated quantization methods."),
    ROWS.option("enforce-eager", kinds.switch(), False, {},
                "Run the forward pass as it is written, one call per op, instead of the recording of it."),
    ROWS.option("enable-return-routed-experts", kinds.switch(), False, ROUTING,
                "Return the expert ids chosen per token."),
    ROWS.option("disable-cascade-attn", kinds.switch(), True,
                idle("vLLM 0.33 ignores it too; Quire has one way to compute attention"),
                "Turn cascade attention off."),
    ROWS.option("enable-prompt-embeds", kinds.switch(), False, {},
                "Let completions bring vectors in place of a prompt's tokens (prompt_embeds)."),
    ROWS.option("config-format", kinds.choice("auto", "hf", "mistral"), "auto", {}, "Format of the model config.",
                value_states=by_value(refused("Quire reads Hugging Face's config.json only"), "mistral")),
    ROWS.json("pooler-config", "PoolerConfig", {},
              "How a pooled model's states become vectors and scores: task, pooling_type, use_activation, dimensions "
              "and so on."),
    ROWS.option("enable-sleep-mode", kinds.switch(), False, {},
                "Let the engine give back the memory of weights and KV cache on request; see "
                "docs/administration.md."),
    ROWS.option("model-impl", kinds.choice("auto", "terratorch", "transformers", "vllm"), "auto", {},
                "Native, Transformers or TerraTorch implementation.",
                value_states=by_value(refused("Quire runs its own implementation only; give auto or vllm"),
                "terratorch", "transformers")),
    ROWS.option("override-attention-dtype", kinds.text(), None, gone("the attention kernels follow --dtype"),
                "Override dtype of attention."),
    ROWS.option("io-processor-plugin", kinds.text(), None, awaits("input and output processors"),
                "IO-processor plugin to load."),
    ROWS.option("renderer-num-workers", kinds.integer(1), 1, idle("long texts are tokenised in threads as needed"),
                "Threads for tokenizing, templating and multimodal preprocessing."),
)
# fmt: on
