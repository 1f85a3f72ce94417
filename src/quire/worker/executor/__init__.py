"""Executors: who carries out plans, and where. Today one process, one device."""

from quire.worker.executor.uniproc import UniprocExecutor

__all__ = ["UniprocExecutor"]
