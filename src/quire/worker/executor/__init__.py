"""Executors: who carries out plans, and where. Today one process, one device, one worker."""

from quire.worker.executor.uniproc import UniprocExecutor
from quire.worker.executor.worker import Worker

__all__ = ["UniprocExecutor", "Worker"]
