"""Settings of the scheduler: what one step may hold and who goes first."""

from quire.base.config import kinds
from quire.base.config.rows import Rows
from quire.base.config.setting import Setting
from quire.base.config.states import MULTIMODAL, by_value, idle

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
        kind=kinds.integer(0),
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

ROWS = Rows(GROUP)

# fmt: off
IN_SHORT = (
    ROWS.option("max-num-partial-prefills", kinds.integer(1), None, {},
                "Most prompts that are computed in part at a time; the others wait their turn.",
                default_text="no limit but the step's own"),
    ROWS.option("max-long-partial-prefills", kinds.integer(1), None, {},
                "Most prompts longer than --long-prefill-token-threshold among those; shorter ones then go "
                "ahead of them.",
                default_text="no limit"),
    ROWS.option("scheduler-reserve-full-isl", kinds.switch(), True, {},
                "Admit a request only when the KV cache has room for its whole prompt, not just for its first "
                "chunk."),
    ROWS.option("scheduler-cls", kinds.text(), None, {},
                "Class to schedule with instead of Quire's, as package.module.Class; see docs/settings.md."),
    ROWS.option("stream-interval", kinds.integer(1), 1, {},
                "Tokens in one message of a stream; the first token and the end are always sent at once.",
                is_for_server=True),
    ROWS.option("max-num-queued-reqs", kinds.integer(0), None, {},
                "Most requests that wait for a seat; further ones are refused at once. 0 for no limit.",
                is_for_server=True,
                default_text="8 for each of --max-num-seqs, fewer when that would take over 30 s"),
    ROWS.option("max-num-queued-tokens", kinds.human_integer(0), None, {},
                "Most prompt tokens that wait; 0 for no limit.",
                is_for_server=True, default_text="as many as the KV cache holds"),
    ROWS.option("overload-status", kinds.choice("503", "429"), "503", {},
                "HTTP status of requests refused because too many wait.", is_for_server=True),
    ROWS.option("performance-mode", kinds.choice("balanced", "interactivity", "throughput"), "balanced", {},
                "Preset: throughput doubles the default step limits.",
                value_states=by_value(idle("the default step limits already keep streams going"), "interactivity")),
    ROWS.variable("VLLM_CPU_OMP_THREADS_BIND", kinds.text(), "auto", {},
                  "Processors the engine computes on, such as 0-31 or 0,2,4; all or auto for those granted, "
                  "nobind to "
                  "leave threads to the system.", harmless=("all",)),
    ROWS.variable("VLLM_CPU_NUM_OF_RESERVED_CPU", kinds.integer(0), None, {},
                  "Processors kept free for the HTTP server, taken from the end of those granted.", default_text="0"),
    ROWS.option("disable-chunked-mm-input", kinds.switch(), False, MULTIMODAL,
                "Never split one media item over steps."),
    ROWS.option("disable-hybrid-kv-cache-manager", kinds.switch(), None,
                idle("every layer's KV blocks are managed alike"), "Same KV size for all attention kinds."),
    ROWS.option("async-scheduling", kinds.switch(), None,
                idle("a step is planned in microseconds, before the next one runs", "cpu"),
                "Overlap scheduling with execution."),
)
# fmt: on
