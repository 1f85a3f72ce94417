"""What crosses rooms and processes: frozen typed values and their msgpack encoding."""

from quire.base.messages.events import (
    EngineStats,
    FinishReason,
    PositionLogprobs,
    RequestTimes,
    TokenEvent,
)
from quire.base.messages.pooling import POOLING_TASKS, PooledRows, PoolingParams, PoolingTask
from quire.base.messages.request import UNSAMPLED, EngineRequest
from quire.base.messages.sampling import GENERATION_CONFIG_FIELDS, OutputKind, SamplingParams
from quire.base.messages.step import Chunk, SampledRow, SequenceStart, StepPlan, StepResult

__all__ = [
    "GENERATION_CONFIG_FIELDS",
    "POOLING_TASKS",
    "UNSAMPLED",
    "Chunk",
    "EngineRequest",
    "EngineStats",
    "FinishReason",
    "OutputKind",
    "PooledRows",
    "PoolingParams",
    "PoolingTask",
    "PositionLogprobs",
    "RequestTimes",
    "SampledRow",
    "SamplingParams",
    "SequenceStart",
    "StepPlan",
    "StepResult",
    "TokenEvent",
]
