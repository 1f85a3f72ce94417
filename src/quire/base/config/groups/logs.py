"""Settings of logging: where lines go, how they look, what is worth one."""

from quire.base.config import kinds
from quire.base.config.rows import Rows

ROWS = Rows("Logging")

# fmt: off
SETTINGS = (
    ROWS.variable("VLLM_CONFIGURE_LOGGING", kinds.integer_truth(), True, {},
                  "Set up logging; 0 leaves Python's logging as the program has it."),
    ROWS.variable("VLLM_LOGGING_CONFIG_PATH", kinds.path(), None, {},
                  "JSON file in the form of logging.config.dictConfig that replaces Quire's own set-up."),
    ROWS.variable("VLLM_LOGGING_LEVEL", kinds.choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", folds=True),
                  "INFO", {},
                  "Least level of Quire's own log lines, of server and engine."),
    ROWS.variable("VLLM_LOGGING_PREFIX", kinds.text(), "", {}, "Text in front of each of Quire's log lines."),
    ROWS.variable("VLLM_LOGGING_STREAM", kinds.choice("ext://sys.stdout", "ext://sys.stderr"), "ext://sys.stderr", {},
                  "Where Quire's log lines go."),
    ROWS.option("disable-log-stats", kinds.switch(), False, {},
                "No log line with rates and cache use every few seconds while there is work.", is_for_server=True),
    ROWS.variable("VLLM_LOG_STATS_INTERVAL", kinds.number(0.0, low_is_allowed=False), 10.0, {},
                  "Seconds between those lines.", is_for_server=True),
    ROWS.variable("VLLM_LOG_BATCHSIZE_INTERVAL", kinds.number(-1.0), -1.0, {},
                  "Seconds between log lines that say how many tokens steps held; -1 for none.", is_for_server=True),
    ROWS.option("max-log-len", kinds.integer(0), None, {},
                "Most characters of a prompt in the log, where prompts are logged at all: with --enable-log-requests "
                "at level DEBUG.", is_for_server=True, default_text="the whole prompt"),
    ROWS.option("enable-logging-iteration-details", kinds.switch(), False, {},
                "A log line for each step of the engine: what it held and how long it took."),
)
# fmt: on
