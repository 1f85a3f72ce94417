"""From a prompt to a stream of outputs: the one validation point, detokenisation and stop strings."""

from quire.text.session.beam_stream import finished_output, position_of
from quire.text.session.beams import BeamSearch, BeamSearchParams, step_request
from quire.text.session.flat import FlatLogprobs
from quire.text.session.limits import RequestLimits
from quire.text.session.outputs import CompletionOutput, Logprob, PositionList, RequestOutput
from quire.text.session.prompt import check_known_ids, check_prompt, context_tokens
from quire.text.session.session import EngineClient, Session
from quire.text.session.stream import OutputStream

__all__ = [
    "BeamSearch",
    "BeamSearchParams",
    "CompletionOutput",
    "EngineClient",
    "FlatLogprobs",
    "Logprob",
    "OutputStream",
    "PositionList",
    "RequestLimits",
    "RequestOutput",
    "Session",
    "check_known_ids",
    "check_prompt",
    "context_tokens",
    "finished_output",
    "position_of",
    "step_request",
]
