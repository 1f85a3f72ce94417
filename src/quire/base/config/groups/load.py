"""Settings of loading: where checkpoints are kept and how weights are read."""

from quire.base.config import kinds
from quire.base.config.setting import Setting

GROUP = "LoadConfig"

SETTINGS = (
    Setting(
        name="load-format",
        group=GROUP,
        kind=kinds.choice("auto", "dummy", "safetensors"),
        default="auto",
        doc="How weights are read: auto and safetensors map the checkpoint's files, dummy makes random weights "
        "for measurements and needs no files.",
    ),
    Setting(
        name="download-dir",
        group=GROUP,
        kind=kinds.path(),
        default_text="the Hugging Face cache",
        doc="Folder for downloaded models.",
    ),
)
