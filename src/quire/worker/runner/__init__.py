"""One step on one device."""

from quire.worker.runner.caches import allocate_caches, return_pages
from quire.worker.runner.runner import ModelRunner

__all__ = ["ModelRunner", "allocate_caches", "return_pages"]
