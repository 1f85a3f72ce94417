"""What this machine grants the process: cores, memory, instruction sets. Never imports torch."""

from quire.base.hardware.machine import Machine, probe_machine

__all__ = ["Machine", "probe_machine"]
