"""Choosing tokens: logits of a step's last positions in, sampled tokens and log-probabilities out."""

from quire.worker.sampling.own_steps import Processors
from quire.worker.sampling.rows import SampleRequest
from quire.worker.sampling.sampler import Sampler

__all__ = ["Processors", "SampleRequest", "Sampler"]
