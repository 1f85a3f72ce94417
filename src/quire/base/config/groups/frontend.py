"""Settings of the HTTP server and of the API it speaks."""

from quire.base.config import kinds
from quire.base.config.setting import Setting

GROUP = "Frontend"

SETTINGS = (
    Setting(
        name="host",
        group=GROUP,
        kind=kinds.text(),
        default_text="every interface",
        doc="Address to listen on.",
    ),
    Setting(
        name="port",
        group=GROUP,
        kind=kinds.integer(1, 65535),
        default=8000,
        # QUIRE_PORT would be the twin of VLLM_PORT, which means the ports between nodes, and Kubernetes
        # sets it to a URL beside a service called quire
        has_own_environment=False,
        doc="TCP port to listen on.",
    ),
    Setting(
        name="uds",
        group=GROUP,
        kind=kinds.path(),
        default_text="unset",
        doc="Unix socket to listen on instead of host and port.",
    ),
    Setting(
        name="api-key",
        group=GROUP,
        kind=kinds.text(),
        many=True,
        is_secret=True,
        environment=("VLLM_API_KEY",),
        doc="Key that clients must send as a bearer token; repeat it for several. The option wins over the "
        "variable, which holds one key.",
    ),
    Setting(
        name="root-path",
        group=GROUP,
        kind=kinds.text(),
        default="",
        doc="Path prefix that a proxy in front of the server strips.",
    ),
    Setting(
        name="chat-template",
        group=GROUP,
        kind=kinds.text(),
        default="",
        default_text="the model's",
        doc="Jinja chat template: a file, or the template itself on one line.",
    ),
    Setting(
        name="default-chat-template-kwargs",
        group=GROUP,
        kind=kinds.json_object(),
        default={},
        doc="Variables every chat template gets unless the request sets them (chat_template_kwargs).",
    ),
    Setting(
        name="response-role",
        group=GROUP,
        kind=kinds.text(),
        default="assistant",
        doc="Role of the message in chat answers.",
    ),
    Setting(
        name="enable-prompt-tokens-details",
        group=GROUP,
        kind=kinds.switch(),
        default=False,
        doc="Report cached prompt tokens in usage.prompt_tokens_details.",
    ),
    Setting(
        name="enable-request-id-headers",
        group=GROUP,
        kind=kinds.switch(),
        default=False,
        doc="Answer with an X-Request-Id header: the client's, or a new one.",
    ),
    Setting(
        name="enable-log-requests",
        group=GROUP,
        kind=kinds.switch(),
        default=False,
        doc="Log the id and parameters of each request; never its prompt.",
    ),
    Setting(
        name="uvicorn-log-level",
        group=GROUP,
        kind=kinds.choice("critical", "debug", "error", "info", "trace", "warning"),
        default="info",
        doc="Log level of the HTTP server.",
    ),
    Setting(
        name="disable-uvicorn-access-log",
        group=GROUP,
        kind=kinds.switch(),
        default=False,
        doc="No log line for each HTTP request.",
    ),
    Setting(
        name="allowed-origins",
        group=GROUP,
        kind=kinds.text(),
        many=True,
        default=["*"],
        doc="Web origins whose pages may call the server (CORS). Words, or one JSON list.",
    ),
    Setting(
        name="allowed-methods",
        group=GROUP,
        kind=kinds.text(),
        many=True,
        default=["*"],
        doc="HTTP methods those pages may use.",
    ),
    Setting(
        name="allowed-headers",
        group=GROUP,
        kind=kinds.text(),
        many=True,
        default=["*"],
        doc="HTTP headers those pages may send.",
    ),
    Setting(
        name="allow-credentials",
        group=GROUP,
        kind=kinds.switch(),
        default=False,
        doc="Let those pages send cookies and authorization.",
    ),
    Setting(
        name="ssl-keyfile",
        group=GROUP,
        kind=kinds.path(),
        default_text="unset",
        doc="Private key for HTTPS (PEM).",
    ),
    Setting(
        name="ssl-certfile",
        group=GROUP,
        kind=kinds.path(),
        default_text="unset",
        doc="Certificate for HTTPS (PEM).",
    ),
    Setting(
        name="shutdown-timeout",
        group=GROUP,
        kind=kinds.integer(0),
        default=30,
        doc="Seconds that running requests get to finish on Ctrl-C or SIGTERM; 0 ends them at once.",
    ),
)
