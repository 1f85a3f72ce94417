"""Settings of the command itself: the file it reads, and how it reports what is wrong."""

from quire.base.config import kinds
from quire.base.config.setting import Setting

GROUP = "Command"

SETTINGS = (
    Setting(
        name="config",
        group=GROUP,
        kind=kinds.path(),
        default_text="unset",
        has_own_environment=False,
        doc="YAML file of long option names and values. Options given on the command line win over it, it wins over "
        "the environment.",
    ),
    Setting(
        name="fail-on-environ-validation",
        group=GROUP,
        kind=kinds.switch(),
        default=False,
        doc="Stop when a VLLM_* or QUIRE_* variable is unknown, instead of warning.",
    ),
    Setting(
        name="log-error-stack",
        group=GROUP,
        is_for_server=True,
        kind=kinds.switch(),
        default=False,
        doc="Print the Python stack of an error that stops the command, not only its sentence.",
    ),
)
