"""The stand-in for the engine process: answers each request with scripted tokens, as real TokenEvents."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from quire.base.commands import Command, ResetPrefixes
from quire.base.config import CacheConfig, EngineConfig, ModelCard, SchedulerConfig, ServerConfig
from quire.base.errors import EngineDead, Quarantined
from quire.base.messages import EngineRequest, EngineStats, PositionLogprobs, RequestTimes, TokenEvent
from quire.base.wire import Ready
from quire.engine.client import EngineState, EventStream, Standing

EOS = "<|im_end|>"
CHAT_TEMPLATE = (
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% if not (loop.last and continue_final_message) %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if mood is defined %}({{ mood }}) {% endif %}{% endif %}"
)
CORPUS = [
    "hello world, how are you today?",
    "the quick brown fox jumps over the lazy dog",
    "one two three",
] * 4


def write_model_folder(folder: Path) -> None:
    """A byte-level tokenizer and a ChatML template: all a server reads of a model."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<|im_start|>", EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.save(str(folder / "tokenizer.json"))
    config = {"eos_token": EOS, "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def engine_config(folder: Path, *, max_model_len: int = 256) -> EngineConfig:
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    card = ModelCard(
        folder=str(folder),
        name="scripted",
        model_type="qwen3",
        architecture="Qwen3ForCausalLM",
        dtype="float32",
        vocab_size=backend.get_vocab_size(),
        hidden_size=8,
        max_model_len=max_model_len,
        num_layers=1,
        kv_heads=[1],
        head_dim=8,
        eos_token_ids=[backend.token_to_id(EOS)],
        weight_bytes=1000,
        hf_config={},
    )
    return EngineConfig(
        card=card,
        dtype="float32",
        max_model_len=max_model_len,
        cache=CacheConfig(block_size=16, num_blocks=64, dtype="float32"),
        scheduler=SchedulerConfig(max_num_batched_tokens=64, max_num_seqs=8),
    )


def server_config(**changes: object) -> ServerConfig:
    return ServerConfig(**{"served_model_names": ["scripted", "alias"], **changes})  # type: ignore[arg-type]


Script = Callable[[EngineRequest, int], list[int]]


class ScriptedEngine:
    """What Service and Session need of ProcessClient.

    `script(request, index)` gives a sample's tokens; an id of -1 ends the sample with an error, -2 kills the
    engine. After `pause_after` tokens every stream waits for `resume`.
    """

    def __init__(self, script: Script, eos_token_id: int) -> None:
        self.script = script
        self.state = EngineState.READY
        self.stats = EngineStats(num_blocks=64)
        self.ready: Ready | None = None
        self.step_sizes = Counter({1: 3, 20: 1})
        self.listeners: list[Callable[[EngineStats], None]] = []
        self.load_done_bytes, self.load_total_bytes = 0, 0
        self.failure = ""
        self.pause_after: int | None = None
        self.num_cached_tokens = 0
        self.num_preemptions = 0
        self.aborted: list[str] = []
        self.standing = Standing()
        self.asked: list[Command] = []
        self.answers: dict[type[Command], object] = {ResetPrefixes: True}
        self.requests: list[EngineRequest] = []
        self.num_shutdowns = 0
        self.num_reaps = 0
        self.seconds_per_token = 0.0
        self.quarantined = False
        self.error = "row 3 of logits held NaN at 0x7fffdeadbeef"
        self._eos_token_id = eos_token_id
        self._streams: dict[str, EventStream] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._resume = asyncio.Event()

    @property
    def num_streams(self) -> int:
        return len(self._streams)

    @property
    def num_unheard_tokens(self) -> int:
        return 0

    def resume(self) -> None:
        self._resume.set()

    def check(self, request: EngineRequest) -> None:
        if self.quarantined:
            raise Quarantined("refused")

    def submit(self, request: EngineRequest) -> EventStream:
        if self.state is EngineState.DEAD:
            raise EngineDead(self.failure)
        self.requests.append(request)
        stream = self._streams[request.request_id] = EventStream(request.sampling.n)
        self._tasks[request.request_id] = asyncio.create_task(self._play(request, stream))
        return stream

    def abort(self, request_id: str, index: int | None = None) -> None:
        self.aborted.append(request_id)
        self._streams.pop(request_id, None)
        if request_id in self._tasks:
            self._tasks.pop(request_id).cancel()

    def request_ids(self) -> list[str]:
        return list(self._streams)

    @property
    def num_in_flight(self) -> int:
        return len(self._streams)

    async def drained(self) -> None:
        while self._streams:
            await asyncio.sleep(0.001)

    def let_in(self) -> None:
        return

    async def ask(self, command: Command) -> object:
        """What `answers` has for it, raised where that is an error."""
        self.asked.append(command)
        answer = self.answers.get(type(command))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def die(self, reason: str) -> None:
        self.state, self.failure = EngineState.DEAD, reason
        for stream in self._streams.values():
            stream.fail(EngineDead(reason))
        self._streams.clear()

    async def connect(self) -> None:
        self.state = EngineState.READY

    async def shutdown(self) -> None:
        self.num_shutdowns += 1
        if self.state is not EngineState.DEAD:
            self.die("the server is shutting down")

    def reap(self) -> None:
        self.num_reaps += 1

    async def _play(self, request: EngineRequest, stream: EventStream) -> None:
        """One token per sample and round, with a breath between rounds, as steps of an engine are."""
        answers = [self.script(request, index) for index in range(request.sampling.n)]
        started_s = time.monotonic()
        for place in range(max(map(len, answers))):
            if place == self.pause_after:
                await self._resume.wait()
            for index, answer in enumerate(answers):
                if place < len(answer) and place < (request.sampling.max_tokens or 0):
                    if answer[place] == -2:
                        self.die("killed by signal 9 at /usr/lib/engine.py 0x7fffdeadbeef")
                        return
                    stream.put(self._event(request, index, answer, place, started_s))
            await asyncio.sleep(self.seconds_per_token)
        self._streams.pop(request.request_id, None)

    def _event(
        self, request: EngineRequest, index: int, answer: list[int], place: int, started_s: float
    ) -> TokenEvent:
        token_id, sampling = answer[place], request.sampling
        reason = None
        if token_id == -1:
            reason = "error"
        elif token_id in request.eos_token_ids:
            reason = "stop"
        elif place + 1 in (len(answer), sampling.max_tokens):
            reason = "length"
        listed = sampling.logprob_token_ids or []
        tells_logprobs = sampling.logprobs is not None or bool(listed)
        is_first = index == 0 and place == 0 and sampling.prompt_logprobs is not None
        return TokenEvent(
            request_id=request.request_id,
            index=index,
            token_ids=[] if token_id == -1 else [token_id],
            logprobs=[_logprobs(token_id, sampling.logprobs or 0, listed)] if tells_logprobs else None,
            prompt_logprobs=_prompt_logprobs(request) if is_first else None,
            finish_reason=reason,
            error=self.error if reason == "error" else None,
            num_cached_tokens=self.num_cached_tokens,
            num_preemptions=self.num_preemptions if reason else 0,
            times=_times(request, started_s) if reason else None,
        )


def _logprobs(token_id: int, num_top: int, listed: Sequence[int] = ()) -> PositionLogprobs:
    """The chosen token is the second most likely; the others are the lowest ids that are not it. Those that were
    asked for by name are all equally likely."""
    others = [other for other in range(num_top + 1) if other != token_id][:num_top]
    others[1:1] = [token_id] if num_top > 1 else []
    others = others[:num_top]
    told = [-1.0, *(-0.5 * (place + 1) for place in range(num_top)), *(-2.0 for _ in listed)]
    return PositionLogprobs([token_id, *others, *listed], told, 2, len(listed))


def _prompt_logprobs(request: EngineRequest) -> list[PositionLogprobs | None]:
    num_top = request.sampling.prompt_logprobs or 0
    return [None, *(_logprobs(token_id, num_top) for token_id in request.prompt_token_ids[1:])]


def _times(request: EngineRequest, started_s: float) -> RequestTimes:
    return RequestTimes(request.arrival_s, started_s, started_s, time.monotonic())
