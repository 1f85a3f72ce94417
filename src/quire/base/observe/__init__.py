"""What a person watching sees of work under way."""

from quire.base.observe.progress import ByteProgress

__all__ = ["ByteProgress"]
