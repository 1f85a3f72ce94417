"""Settings of loading: where checkpoints are kept and how weights are read."""

from quire.base.config import kinds
from quire.base.config.rows import Rows
from quire.base.config.setting import Setting
from quire.base.config.states import QUANTIZATION, by_value, idle, refused

GROUP = "LoadConfig"
# fmt: off
OTHER_FORMATS = ("instanttensor", "mistral", "npcache", "runai_streamer", "runai_streamer_sharded",
                 "sharded_state", "tensorizer")
# fmt: on
NOT_SAFETENSORS = refused(
    "Quire reads safetensors and torch's own files; give auto, safetensors, pt or dummy"
)

SETTINGS = (
    Setting(
        name="load-format",
        group=GROUP,
        kind=kinds.choice("auto", "bitsandbytes", "dummy", "gguf", "hf", "pt", "safetensors", *OTHER_FORMATS),
        default="auto",
        value_states=by_value(QUANTIZATION, "bitsandbytes", "gguf")
        | by_value(NOT_SAFETENSORS, *OTHER_FORMATS),
        doc="How weights are read: auto, hf and safetensors map safetensors files, pt maps torch's .bin and .pt "
        "files and takes nothing but tensors from them, dummy makes random weights and needs no files.",
    ),
    Setting(
        name="download-dir",
        group=GROUP,
        kind=kinds.path(),
        default_text="the Hugging Face cache",
        doc="Folder for downloaded models.",
    ),
)

ROWS = Rows(GROUP)

# fmt: off
IN_SHORT = (
    ROWS.option("safetensors-load-strategy", kinds.choice("lazy", "eager", "prefetch", "torchao"), None, {},
                "How weight files are read: lazy maps them, so servers of one model share memory; eager reads "
                "them onto large pages of the process's own, which takes longer and makes steps faster.",
                default_text="lazy", value_states=by_value(QUANTIZATION, "torchao")
                | by_value(idle("the system reads ahead in mapped files by itself"), "prefetch")),
    ROWS.option("ignore-patterns", kinds.text(), ["original/**/*"], {},
                "Files of a repository that are not downloaded, as shell patterns.", many=True),
    ROWS.variable("XDG_CACHE_HOME", kinds.path(), None, {}, "Folder of caches, that of Hugging Face among them.",
                  default_text="~/.cache", is_shared=True),
    ROWS.option("weight-cache-bytes", kinds.human_integer(0), 32 * 2**30, {},
                "Most bytes of packed weights to keep in VLLM_CACHE_ROOT, for the next start to read instead of "
                "packing again; the longest unused go first. 0 keeps none.", default_text="32G"),
    ROWS.option("use-tqdm-on-load", kinds.switch(), True, {}, "Progress bar while a model is downloaded."),
    ROWS.option("model-loader-extra-config", kinds.json_object(), {}, idle("Quire has one loader without options"),
                "Extra options for the chosen loader."),
    ROWS.option("pt-load-map-location", kinds.text(), "cpu", idle("weights are mapped into main memory"),
                "torch.load map_location for .pt/.bin."),
)
# fmt: on
