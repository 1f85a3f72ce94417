"""From a prompt to a stream of outputs: the one validation point, detokenisation and stop strings."""

from quire.text.session.limits import RequestLimits
from quire.text.session.outputs import CompletionOutput, Logprob, RequestOutput
from quire.text.session.prompt import check_prompt, context_tokens
from quire.text.session.session import EngineClient, Session
from quire.text.session.stream import OutputStream

__all__ = [
    "CompletionOutput",
    "EngineClient",
    "Logprob",
    "OutputStream",
    "RequestLimits",
    "RequestOutput",
    "Session",
    "check_prompt",
    "context_tokens",
]
