"""`quire run-batch`: a file of requests in OpenAI's batch format to a file of results, in this process, resumable."""

from quire.api.batch.command import run_batch

__all__ = ["run_batch"]
