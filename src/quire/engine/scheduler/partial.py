"""PartialPrefills: how many prompts may be computed in part at a time, and who goes ahead when long ones wait."""

from __future__ import annotations

from collections.abc import Iterable

from quire.base.config import SchedulerConfig
from quire.engine.scheduler.draft import PlanDraft
from quire.engine.scheduler.queues import WaitingQueue
from quire.engine.scheduler.sequence import Sequence


class PartialPrefills:
    """Counts, within one plan, the prompts of which this step leaves a part for later ones."""

    def __init__(self, config: SchedulerConfig, running: Iterable[Sequence], draft: PlanDraft) -> None:
        self._config = config
        unfinished = [s for s in running if s.num_to_compute > max(1, draft.num_tokens_of(s))]
        self._num = len(unfinished)
        self._num_long = sum(map(self._is_long, unfinished))

    def next_in_line(self, waiting: WaitingQueue) -> Sequence | None:
        """The head, or the first short prompt behind it while there are as many long ones as allowed."""
        most_long = self._config.max_long_partial_prefills
        if not most_long or self._num_long < most_long:
            return waiting.head()
        return next((sequence for sequence in waiting if not self._is_long(sequence)), None)

    def has_room(self) -> bool:
        """Whether one more prompt may be computed in part."""
        most = self._config.max_num_partial_prefills
        return not most or self._num < most

    def note(self, sequence: Sequence) -> None:
        """Count a prompt that was admitted with a part of its tokens."""
        self._num += 1
        self._num_long += self._is_long(sequence)

    def _is_long(self, sequence: Sequence) -> bool:
        """By its whole length, so that a long prompt stays one until its last token."""
        return len(sequence.token_ids) > self._config.long_prefill_token_threshold > 0
