"""Settings of what requests may ask for and of what replies carry."""

from quire.base.config import kinds
from quire.base.config.rows import Rows
from quire.base.config.states import by_value, refused

ROWS = Rows("Frontend")

# fmt: off
SETTINGS = (
    ROWS.option("trust-request-chat-template", kinds.switch(), False, {},
                "Let requests bring a chat template of their own (chat_template). It runs in the sandbox, within the "
                "same budget as the model's.", is_for_server=True),
    ROWS.option("reasoning-effort-map", kinds.json_object(), {}, {},
                "What reasoning_effort comes to for this model's chat template: a JSON object whose keys are efforts "
                "and whose values are the template's word for it, or an object of template variables.",
                is_for_server=True),
    ROWS.option("exclude-tools-when-tool-choice-none", kinds.switch(), True, {},
                "Leave tools out of the prompt where tool_choice is none.", is_for_server=True),
    ROWS.option("tool-strict-level", kinds.choice("auto", "function", "parameter"), "auto", {},
                "How much of a forced call is held to its tool: auto and parameter hold its name and its arguments.",
                value_states=by_value(refused("arguments of forced calls always follow their schema; give auto "
                                              "or parameter"), "function"), is_for_server=True),
    ROWS.option("return-tokens-as-token-ids", kinds.switch(), False, {},
                "Write tokens in log-probabilities as token_id:N, as a request can ask for itself.",
                is_for_server=True),
    ROWS.option("enable-force-include-usage", kinds.switch(), False, {},
                "End every stream with its usage, as stream_options.include_usage asks for.", is_for_server=True),
    ROWS.option("enable-per-request-metrics", kinds.switch(), False, {},
                "Replies carry where their time went: an object `metrics`, and a Server-Timing header where the "
                "reply is no stream.", is_for_server=True),
    ROWS.option("sse-keep-alive-interval", kinds.number(0.0), 0.0, {},
                "Seconds of silence after which a stream gets a comment line, so that proxies keep it open; 0 for "
                "none.", is_for_server=True),
    ROWS.option("fingerprint-mode", kinds.choice("full", "hash", "custom", "none"), "full", {},
                "What system_fingerprint says: version and hash of the configuration, the hash alone, the value of "
                "--fingerprint-value, or nothing (null).", is_for_server=True),
    ROWS.option("fingerprint-value", kinds.text(), None, {},
                "The fingerprint of --fingerprint-mode custom; without it there is none.", is_for_server=True),
    ROWS.option("enable-log-outputs", kinds.switch(), False, {},
                "Log what is answered, each answer when it has ended.", is_for_server=True),
    ROWS.option("enable-log-deltas", kinds.switch(), False, {},
                "A log line for each piece of an answer as it comes.", is_for_server=True),
    ROWS.option("enable-tokenizer-info-endpoint", kinds.switch(), False, {},
                "Serve GET /tokenizer_info: the tokenizer's settings and the chat template.", is_for_server=True),
    ROWS.option("enable-scale-out", kinds.switch(), False, {},
                "Serve the routes that split a request between servers: …/render makes tokens of a request, "
                "/inference/v1/generate takes and gives tokens.", is_for_server=True),
    ROWS.option("tokens-only", kinds.switch(), False, {},
                "Take and give tokens alone: of the routes that generate only /inference/v1/generate is served.",
                is_for_server=True),
)
# fmt: on
