"""A run of one target over many inputs: what was tried, how fast, and what was found."""

from __future__ import annotations

import hashlib
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fuzz.target import Target

CORPUS = Path(__file__).parent / "corpus"
MAX_SECONDS = 1.0  # of processor time, for one input


@dataclass
class Campaign:
    """`findings` maps what happened to the first input that made it happen."""

    target: Target
    num_inputs: int = 0
    slowest_s: float = 0.0
    findings: dict[str, bytes] = field(default_factory=dict)

    def replay(self) -> None:
        """The corpus: seeds and what once failed."""
        for data in self.known():
            self._try(data)

    def explore(self, num_inputs: int, seed: int) -> None:
        """Mutations of the corpus, mutations of mutations among them. Equal seeds try equal inputs."""
        random = Random(f"{self.target.name} {seed}")
        known = self.known()
        data = random.choice(known)
        for _ in range(num_inputs):
            data = type(self.target).mutate(data if random.random() < 0.3 else random.choice(known), random)
            self._try(data)

    def known(self) -> list[bytes]:
        kept = sorted((CORPUS / self.target.name).glob("*"))
        return [*self.target.seeds(), *(path.read_bytes() for path in kept)]

    def keep(self) -> None:
        """Writes the findings to the corpus."""
        folder = CORPUS / self.target.name
        folder.mkdir(parents=True, exist_ok=True)
        for data in self.findings.values():
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def _try(self, data: bytes) -> None:
        self.num_inputs += 1
        started_s = time.process_time()
        try:
            self.target.run(data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  (whatever comes is the finding, panics of Rust too)
            self._found(_what_and_where(error), data)
        seconds = time.process_time() - started_s
        self.slowest_s = max(self.slowest_s, seconds)
        if seconds > MAX_SECONDS:
            self._found("too slow", data)

    def _found(self, what: str, data: bytes) -> None:
        self.findings.setdefault(what, data)


def _what_and_where(error: BaseException) -> str:
    """Equal for equal faults: the kind of error and the innermost line that is ours."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "quire" in frame.filename]
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else f": {error}"
    return f"{type(error).__name__}{place}"
