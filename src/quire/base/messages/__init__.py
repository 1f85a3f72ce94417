"""What crosses rooms and processes: frozen typed values and their msgpack encoding."""

from quire.base.messages.events import (
    NAN_IN_LOGITS,
    BlockStay,
    EngineStats,
    FinishReason,
    PositionLogprobs,
    RequestTimes,
    TokenEvent,
)
from quire.base.messages.pooling import PooledRows, PoolingParams
from quire.base.messages.request import EngineRequest, PromptEmbeddings, ThinkingBudget
from quire.base.messages.sampling import (
    GENERATION_CONFIG_FIELDS,
    NOTHING_TO_CHOOSE,
    REFUSED_ARGUMENTS,
    OutputKind,
    RepetitionDetection,
    SamplingParams,
)
from quire.base.messages.step import Chunk, SampledRow, SequenceStart, StepPlan, StepResult

__all__ = [
    "GENERATION_CONFIG_FIELDS",
    "NAN_IN_LOGITS",
    "NOTHING_TO_CHOOSE",
    "REFUSED_ARGUMENTS",
    "BlockStay",
    "Chunk",
    "EngineRequest",
    "EngineStats",
    "FinishReason",
    "OutputKind",
    "PooledRows",
    "PoolingParams",
    "PositionLogprobs",
    "PromptEmbeddings",
    "RepetitionDetection",
    "RequestTimes",
    "SampledRow",
    "SamplingParams",
    "SequenceStart",
    "StepPlan",
    "StepResult",
    "ThinkingBudget",
    "TokenEvent",
]
