"""Settings of the scheduler: what one step may hold and who goes first."""

from quire.base.config import kinds
from quire.base.config.setting import Setting

GROUP = "SchedulerConfig"

SETTINGS = (
    Setting(
        name="max-num-batched-tokens",
        group=GROUP,
        kind=kinds.human_integer(1),
        default_text="2048 on CPU, or the context length where prompts are not split",
        doc="Most tokens computed in one step, prompts and running streams together.",
    ),
    Setting(
        name="max-num-seqs",
        group=GROUP,
        kind=kinds.integer(1),
        default_text="128 on CPU",
        doc="Most sequences that run together; further requests wait.",
    ),
    Setting(
        name="scheduling-policy",
        group=GROUP,
        kind=kinds.choice("fcfs", "priority"),
        default="fcfs",
        doc="Order of waiting requests: fcfs (first come, first served) or priority (lower value first, then age).",
    ),
    Setting(
        name="enable-chunked-prefill",
        group=GROUP,
        kind=kinds.switch(),
        default=True,
        doc="Split long prompts over steps, so that running streams go on in between.",
    ),
    Setting(
        name="long-prefill-token-threshold",
        group=GROUP,
        kind=kinds.human_integer(0),
        default=0,
        doc="Most tokens of one prompt in one step; 0 means only the step's own limit.",
    ),
    Setting(
        name="omp-num-threads",
        group=GROUP,
        kind=kinds.omp_threads(),
        default_text="one for each physical core granted",
        has_flag=False,
        environment=("OMP_NUM_THREADS",),
        doc="Threads that compute a step.",
    ),
)
