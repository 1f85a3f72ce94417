"""Scheduler: who computes which tokens in the next step, and what a step's result means for everyone.

plan()   decodes first, then prefills under way, then admissions, until the token budget, the seats
         (max_num_seqs) or the KV blocks run out; a sequence without blocks preempts the last in line
apply()  the only place where a sequence grows, forks or ends
"""

from __future__ import annotations

import time
from collections.abc import Callable

from quire.base.config import CacheConfig, SchedulerConfig
from quire.base.errors import InvalidValue
from quire.base.messages import (
    EngineRequest,
    EngineStats,
    FinishReason,
    PositionLogprobs,
    SampledRow,
    StepPlan,
    StepResult,
    TokenEvent,
)
from quire.engine.kv import BlockTable, KVCache, NoKVCache
from quire.engine.scheduler.draft import PlanDraft
from quire.engine.scheduler.partial import PartialPrefills
from quire.engine.scheduler.queues import POLICIES
from quire.engine.scheduler.sequence import Sequence


class Scheduler:
    """Owns every live sequence and the KV books. Never sees a tensor."""

    def __init__(
        self,
        config: SchedulerConfig,
        cache: CacheConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._clock = clock
        self.kv = (KVCache if config.has_kv else NoKVCache)(
            cache.num_blocks,
            cache.block_size,
            enable_prefix_caching=cache.enable_prefix_caching,
            hash_algorithm=cache.hash_algorithm,
        )
        self._waiting = POLICIES[config.policy]()
        self._running: dict[Sequence, None] = {}  # in order of admission
        self._paused: dict[Sequence, None] = {}  # neither seat nor blocks until they are resumed
        self._by_id: dict[int, Sequence] = {}
        self._by_request: dict[str, list[Sequence]] = {}
        self._ended_ids: list[int] = []
        self._events: list[TokenEvent] = []
        self._next_sequence_id = 0
        self._num_steps = 0
        self._step_tokens = 0
        self._num_preemptions = 0
        self._num_queried_tokens = 0
        self._num_hit_tokens = 0

    # ---- requests ----

    def add(self, request: EngineRequest) -> None:
        """Queue a request. One that could never fit the KV pool ends at once, with an error event."""
        num_tokens = len(request.prompt_token_ids) + (request.sampling.max_tokens or 1)
        if request.request_id in self._by_request:
            raise InvalidValue(f"request_id {request.request_id!r} is already in use", field="request_id")
        if num_tokens - 1 > self.kv.capacity_tokens:
            self.reject(
                request,
                f"prompt and max_tokens need {num_tokens - 1} KV tokens, the pool holds "
                f"{self.kv.capacity_tokens}; lower max_tokens or raise --kv-cache-memory-bytes",
            )
        else:
            self._by_request[request.request_id] = self._first_sequences(request)
            for sequence in self._by_request[request.request_id]:
                self._waiting.add(sequence)

    def _first_sequences(self, request: EngineRequest) -> list[Sequence]:
        """One sequence that forks after the prompt; of a request taken up again, each sample that goes on."""
        if not request.emitted:
            return [self._new_sequence(request, 0, list(request.prompt_token_ids))]
        family = [
            self._new_sequence(request, index, [*request.prompt_token_ids, *emitted])
            for index, emitted in enumerate(request.emitted)
            if index not in request.ended_samples
        ]
        for sequence in family:
            sequence.has_forked = True
        return family

    def abort(self, request_id: str, index: int | None = None) -> None:
        """End a request, or one sample of it. What is not there is ignored: its end may have crossed the abort."""
        for sequence in list(self._by_request.get(request_id, ())):
            if index is None or index == sequence.sample_index:
                self._end(sequence, "abort")

    def pause(self, request_id: str) -> None:
        """Stop computing for a request until `resume`; it gives its seats and blocks to others."""
        for sequence in self._by_request.get(request_id, ()):
            if sequence in self._paused:
                continue
            if sequence in self._running:
                self._unseat(sequence)
            else:
                self._waiting.remove(sequence)
            self._paused[sequence] = None

    def resume(self, request_id: str) -> None:
        """Go on with a paused request. What is not paused is ignored."""
        for sequence in self._by_request.get(request_id, ()):
            if sequence in self._paused:
                del self._paused[sequence]
                self._waiting.put_back(sequence)

    def unseat_all(self) -> None:
        """Preempt everybody: no block is held afterwards, and whatever was computed is computed again."""
        for sequence in reversed(list(self._running)):
            self._preempt(sequence)

    @property
    def has_work(self) -> bool:
        return bool(self._running) or len(self._waiting) > 0 or bool(self._events)

    @property
    def has_news(self) -> bool:
        """Events that nobody has taken yet."""
        return bool(self._events)

    # ---- plan ----

    def plan(self) -> StepPlan:
        """Claim blocks for one step and say what it computes; empty when nothing can run."""
        draft = PlanDraft(self._config.max_num_batched_tokens)
        decoding = [sequence for sequence in self._running if sequence.num_to_compute == 1]
        prefilling = [sequence for sequence in self._running if sequence.num_to_compute > 1]
        num_preempted = self._num_preemptions
        for sequence in (*decoding, *prefilling):
            self._continue(sequence, draft)
        if self._num_preemptions == num_preempted:
            self._admit(draft)
        plan = draft.finish(self._num_steps, self._ended_ids)
        self._ended_ids = []
        return plan

    def _continue(self, sequence: Sequence, draft: PlanDraft) -> None:
        """Give a running sequence its chunk, preempting the last in line while blocks are short."""
        while sequence in self._running:
            num_tokens = self._chunk_tokens(sequence, draft.budget_tokens)
            if num_tokens == 0:
                return
            copies = self.kv.extend(sequence.table, sequence.num_computed, sequence.num_computed + num_tokens)
            if copies is not None:
                draft.add(sequence, num_tokens, copies)
                return
            victim = self._waiting.victim(self._running)
            draft.drop(victim)
            self._preempt(victim)

    def _admit(self, draft: PlanDraft) -> None:
        """Seat waiting sequences in order until one does not fit: nobody overtakes but as `partial` says."""
        partial = PartialPrefills(self._config, self._running, draft)
        while len(self._waiting) and len(self._running) < self._config.max_num_seqs:
            sequence = partial.next_in_line(self._waiting)
            if sequence is None:
                return
            num_cached = 0
            if sequence.reads_prefix:
                num_cached = self.kv.claim_prefix(sequence.table, sequence.token_ids)
            sequence.num_computed = num_cached
            num_tokens = self._chunk_tokens(sequence, draft.budget_tokens)
            is_whole = num_tokens == sequence.num_to_compute
            may_start = num_tokens and (is_whole or (partial.has_room() and self._holds_whole(sequence)))
            copies = (
                self.kv.extend(sequence.table, num_cached, num_cached + num_tokens) if may_start else None
            )
            if copies is None:
                self.kv.release(sequence.table)
                sequence.num_computed = 0
                return
            self._waiting.remove(sequence)
            self._running[sequence] = None
            draft.add(sequence, num_tokens, copies)
            if not is_whole:
                partial.note(sequence)
            self._note_admission(sequence, num_cached)

    def _holds_whole(self, sequence: Sequence) -> bool:
        """Whether the pool has room for the rest of this prompt beside the rests of those under way."""
        if not self._config.reserve_whole_prompts:
            return True
        num_promised = sum(self.kv.num_missing(other.table, len(other.token_ids)) for other in self._running)
        num_missing = self.kv.num_missing(sequence.table, len(sequence.token_ids))
        return num_promised + num_missing <= self.kv.pool.num_free

    def _chunk_tokens(self, sequence: Sequence, budget_tokens: int) -> int:
        """How many tokens the sequence may compute now; 0 when it has to wait for the next step."""
        num_tokens = sequence.num_to_compute
        if not self._config.enable_chunked_prefill:
            return num_tokens if num_tokens <= budget_tokens else 0
        if self._config.long_prefill_token_threshold:
            num_tokens = min(num_tokens, self._config.long_prefill_token_threshold)
        return min(num_tokens, budget_tokens)

    def _note_admission(self, sequence: Sequence, num_cached: int) -> None:
        if sequence.scheduled_s:
            return  # back after a preemption: its own blocks are no news about the cache
        sequence.scheduled_s = self._clock()
        sequence.num_cached_tokens = num_cached
        if self.kv.enable_prefix_caching:
            self._num_queried_tokens += len(sequence.token_ids)
            self._num_hit_tokens += num_cached
            self.kv.note_found(sequence.table, num_cached)

    def _preempt(self, sequence: Sequence) -> None:
        self._unseat(sequence)
        sequence.num_preemptions += 1
        self._num_preemptions += 1
        self._waiting.put_back(sequence)

    def _unseat(self, sequence: Sequence) -> None:
        """Take blocks and seat; the tokens stay and are computed again later."""
        del self._running[sequence]
        self.kv.release(sequence.table)
        sequence.num_computed = 0
        sequence.prompt_logprobs.clear()

    # ---- apply ----

    def apply(self, plan: StepPlan, result: StepResult) -> list[TokenEvent]:
        """Take in what a step computed; returns the news, one terminal event per ended stream."""
        broken = {row.sequence_id for row in result.rows if row.error is not None}
        for chunk in plan.chunks:
            sequence = self._by_id[chunk.sequence_id]
            sequence.num_computed = chunk.end
            if chunk.sequence_id not in broken:  # before the rows: a sequence may end with this very step
                self.kv.publish(sequence.table, sequence.token_ids, sequence.num_computed)
            if chunk.sequence_id in result.prompt_logprobs:
                self._collect_prompt_logprobs(sequence, result.prompt_logprobs[chunk.sequence_id])
        forks: dict[int, list[SampledRow]] = {}
        for row in result.rows:
            forks.setdefault(row.sequence_id, []).append(row)
        for sequence_id, rows in forks.items():
            self._apply_rows(self._by_id[sequence_id], rows)
        self._num_steps += 1
        self._step_tokens = plan.num_tokens
        return self.take_events()

    def take_events(self) -> list[TokenEvent]:
        events, self._events = self._events, []
        return events

    def _collect_prompt_logprobs(self, sequence: Sequence, entries: list[PositionLogprobs]) -> None:
        if not sequence.prompt_logprobs:
            sequence.prompt_logprobs += [None] * sequence.first_scored
        sequence.prompt_logprobs.extend(entries)

    def _apply_rows(self, sequence: Sequence, rows: list[SampledRow]) -> None:
        """One row for a stream that goes on; n rows where the request forks after its prompt."""
        family = [sequence]
        if len(rows) > 1:
            sequence.has_forked = True
            family += [self._fork(sequence, row.sample_index) for row in rows[1:]]
        for member, row in zip(family, rows, strict=True):
            self._apply_row(member, row)

    def _fork(self, parent: Sequence, sample_index: int) -> Sequence:
        """A sibling over the same blocks; without a free seat it waits and recomputes its prompt."""
        child = self._new_sequence(parent.request, sample_index, list(parent.token_ids))
        child.has_forked = True
        child.num_cached_tokens = parent.num_cached_tokens
        child.scheduled_s = parent.scheduled_s
        self._by_request[parent.request.request_id].append(child)
        if len(self._running) < self._config.max_num_seqs:
            child.table = self.kv.fork(parent.table)
            child.num_computed = parent.num_computed
            self._running[child] = None
        else:
            self._waiting.add(child)
        return child

    def _apply_row(self, sequence: Sequence, row: SampledRow) -> None:
        if row.error is not None:
            self._end(sequence, "error", error=row.error)
            return
        if not sequence.first_token_s:
            sequence.first_token_s = self._clock()
        if row.pooled is not None:
            event = TokenEvent(request_id=sequence.request.request_id, pooled=row.pooled)
            self._end(sequence, "stop", last=event)
            return
        is_first = sequence.num_outputs == 0
        finish: tuple[FinishReason, int | None] | None = None
        num_kept = 0
        for token_id in row.token_ids:
            sequence.token_ids.append(token_id)
            num_kept += 1
            if finish := self._finish_of(sequence, token_id):
                break
        event = TokenEvent(
            request_id=sequence.request.request_id,
            index=sequence.sample_index,
            token_ids=row.token_ids[:num_kept],
            logprobs=row.logprobs[:num_kept] if row.logprobs is not None else None,
            prompt_logprobs=_owed_prompt_logprobs(sequence) if is_first else None,
            num_cached_tokens=sequence.num_cached_tokens,
            times=sequence.times(finished_s=0.0) if is_first else None,
        )
        if finish is None:
            self._events.append(event)
        else:
            self._end(sequence, finish[0], stop_reason=finish[1], last=event)

    def _finish_of(self, sequence: Sequence, token_id: int) -> tuple[FinishReason, int | None] | None:
        """Why the sequence ends with its newest token, and the stop token if one did it."""
        request, sampling = sequence.request, sequence.request.sampling
        if sequence.num_outputs >= sampling.min_tokens:
            if token_id in request.eos_token_ids and not sampling.ignore_eos:
                return "stop", None
            if sampling.stop_token_ids and token_id in sampling.stop_token_ids:
                return "stop", token_id
        if sampling.repetition_detection is not None and sampling.repetition_detection.ends(
            sequence.token_ids, sequence.num_prompt_tokens
        ):
            return "repetition", None
        if sampling.max_tokens is not None and sequence.num_outputs >= sampling.max_tokens:
            return "length", None
        return None

    # ---- ends ----

    def _end(
        self,
        sequence: Sequence,
        reason: FinishReason,
        *,
        stop_reason: int | None = None,
        error: str | None = None,
        last: TokenEvent | None = None,
    ) -> None:
        """Release everything the sequence holds and say so, once."""
        if sequence in self._running:
            del self._running[sequence]
        elif sequence in self._paused:
            del self._paused[sequence]
        else:
            self._waiting.remove(sequence)
        self.kv.release(sequence.table, trusted=reason != "error")
        del self._by_id[sequence.sequence_id]
        siblings = self._by_request[sequence.request.request_id]
        siblings.remove(sequence)
        if not siblings:
            del self._by_request[sequence.request.request_id]
        if sequence.is_known_to_worker:
            self._ended_ids.append(sequence.sequence_id)
        unforked = sequence.sample_index == 0 and not sequence.has_forked and sequence.num_outputs == 0
        num_streams = sequence.request.sampling.n if unforked else 1
        for index in range(sequence.sample_index, sequence.sample_index + num_streams):
            self._events.append(
                TokenEvent(
                    request_id=sequence.request.request_id,
                    index=index,
                    token_ids=last.token_ids if last else [],
                    logprobs=last.logprobs if last else None,
                    prompt_logprobs=last.prompt_logprobs if last else None,
                    finish_reason=reason,
                    stop_reason=stop_reason,
                    error=error,
                    num_cached_tokens=sequence.num_cached_tokens,
                    num_preemptions=sequence.num_preemptions,
                    times=sequence.times(self._clock()),
                    pooled=last.pooled if last else None,
                )
            )

    def reject(self, request: EngineRequest, error: str) -> None:
        """End a request that was never queued."""
        for index in range(request.sampling.n):
            self._events.append(
                TokenEvent(request_id=request.request_id, index=index, finish_reason="error", error=error)
            )

    def _new_sequence(self, request: EngineRequest, sample_index: int, token_ids: list[int]) -> Sequence:
        table = BlockTable(request.cache_salt, request.adapter, request.media_keys)
        sequence = Sequence(self._next_sequence_id, request, token_ids, table, sample_index)
        self._by_id[sequence.sequence_id] = sequence
        self._next_sequence_id += 1
        return sequence

    # ---- books ----

    def stats(self) -> EngineStats:
        return EngineStats(
            num_running=len(self._running),
            num_waiting=len(self._waiting),
            num_blocks=self.kv.pool.num_blocks,
            num_blocks_used=self.kv.num_used,
            num_preemptions=self._num_preemptions,
            prefix_cache_queries_tokens=self._num_queried_tokens,
            prefix_cache_hits_tokens=self._num_hit_tokens,
            num_steps=self._num_steps,
            step_tokens=self._step_tokens,
        )

    def audit(self) -> None:
        """Raise AssertionError unless sequences, queues and KV books agree. Cheap enough for every test step."""
        waiting = [*self._waiting, *self._paused]
        if {*self._running, *waiting} != set(self._by_id.values()) or self._running.keys() & set(waiting):
            raise AssertionError("a live sequence is in no queue, or in two")
        if any(sequence.table.block_ids or sequence.num_computed for sequence in waiting):
            raise AssertionError("a waiting sequence holds blocks")
        for sequence in self._running if self._config.has_kv else ():
            num_held = len(sequence.table.block_ids) * self.kv.block_size
            if not sequence.num_computed <= num_held:
                raise AssertionError(f"sequence {sequence.sequence_id} computed more than it holds")
        self.kv.audit(sequence.table for sequence in self._by_id.values())


def _owed_prompt_logprobs(sequence: Sequence) -> list[PositionLogprobs | None] | None:
    """Hands the collected entries over. A prompt with nothing to score owes a None for each of its tokens."""
    if sequence.sample_index or sequence.request.sampling.prompt_logprobs is None:
        return None
    collected, sequence.prompt_logprobs = sequence.prompt_logprobs, []
    return collected or [None] * sequence.num_prompt_tokens
