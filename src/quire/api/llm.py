"""LLM: the offline entry. The engine runs in this process; prompts in, finished outputs out, in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from quire.api.beams import BeamSearchOutput, search_beams
from quire.api.engine_metrics import Metric, engine_metrics
from quire.api.llm_pooling import OfflinePooling, Params
from quire.api.prompts import Prompt, read_prompt
from quire.api.startup import Startup, prepare_startup
from quire.base.commands import (
    PARTS,
    SLEEP_IS_OFF,
    CallWorker,
    FreeKV,
    Part,
    ResetPrefixes,
    Sleep,
    StartProfile,
    StopProfile,
    WakeUp,
)
from quire.base.config import Asked
from quire.base.dotted import dotted_path
from quire.base.errors import EngineAsleep, InvalidValue
from quire.base.messages import OutputKind, SamplingParams
from quire.base.observe import Progress
from quire.engine.client import MODES, InProcessClient, Level, Mode, Standing
from quire.text.parsers import reasoning_of
from quire.text.pooling import (
    ClassificationRequestOutput,
    EmbeddingRequestOutput,
    PoolingRequestOutput,
    ScoringRequestOutput,
)
from quire.text.session import BeamSearchParams, OutputStream, RequestOutput, Session
from quire.text.template import ChatTemplate
from quire.text.tokenizer import AbsentTokenizer, Tokenizer

if TYPE_CHECKING:
    from tqdm import tqdm

QUIET_LOADING_S = 1.5  # loading that takes longer shows its progress
DEFAULT_MAX_TOKENS = 16  # SamplingParams' own default, as users of `LLM` expect it
Message = dict[str, Any]


class LLM:
    """A model loaded into this process. Keywords are `quire serve`'s options with underscores.

    Raises ConfigError or CheckpointError when the model cannot be loaded as asked. Without a model, the
    built-in one is used. `logits_processors` may hold classes.
    """

    def __init__(self, model: str | None = None, **settings: Any) -> None:
        if classes := settings.get("logits_processors"):
            settings["logits_processors"] = [c if isinstance(c, str) else dotted_path(c) for c in classes]
        self._load(prepare_startup(Asked.from_keywords({"model": model, **settings})))

    @classmethod
    def started(cls, startup: Startup) -> LLM:
        """The model of a startup that is already resolved."""
        llm = cls.__new__(cls)
        llm._load(startup)
        return llm

    def _load(self, startup: Startup) -> None:
        self.config = startup.resolution.engine
        server = startup.resolution.server
        weights = Progress("weights", self.config.card.weight_bytes, quiet_s=QUIET_LOADING_S)
        self._client = InProcessClient(self.config, lambda done_bytes, _: weights.update(done_bytes))
        weights.finish()
        has_text, folder = self.config.has_tokenizer, Path(self.config.text_folder)
        self._session = Session(
            None,  # this class steps the engine itself
            self.config,
            Tokenizer.load(folder) if has_text else AbsentTokenizer(self.config.card.vocab_size),
            ChatTemplate.load(folder, server.chat_template) if has_text else None,
            server.sampling_defaults,
        )
        self._reasoning = reasoning_of(server)
        self._takes_vectors = server.enable_prompt_embeds
        self._session.extra_arguments = frozenset(self._client.extra_arguments)
        self._request_ids = map(str, itertools.count())
        self._pooling = OfflinePooling(self._client, self._session, self._request_ids)
        self._standing = Standing()

    def get_tokenizer(self) -> Tokenizer:
        return self._session.tokenizer

    def get_default_sampling_params(self) -> SamplingParams:
        """What a call without `sampling_params` uses: the model's generation_config.json, 16 tokens."""
        return self._session.sampling_params({"max_tokens": DEFAULT_MAX_TOKENS})

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
        priority: Sequence[int] | None = None,
    ) -> list[RequestOutput]:
        """Complete every prompt; outputs come in the order of the prompts.

        A prompt is text, token ids, or a dict with "prompt" or "prompt_token_ids" and optionally "cache_salt"; with
        `enable_prompt_embeds`, a dict may hold "prompt_embeds" in their place: vectors, (tokens, hidden size).
        Raises InvalidValue naming the field before anything is computed.
        """
        asked = _as_list(prompts)
        params = self._params_for(sampling_params, len(asked))
        priorities = list(priority or [0] * len(asked))
        if len(priorities) != len(asked):
            raise InvalidValue(
                f"priority has {len(priorities)} entries for {len(asked)} prompts", field="priority"
            )
        streams = [
            self._open(prompt, wish, rank, takes_vectors=self._takes_vectors)
            for prompt, wish, rank in zip(asked, params, priorities, strict=True)
        ]
        return self._finish(streams, use_tqdm)

    def beam_search(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: BeamSearchParams,
        *,
        use_tqdm: bool = False,
        concurrency_limit: int | None = None,
    ) -> list[BeamSearchOutput]:
        """The best `params.beam_width` continuations of every prompt, best first, in the order of the prompts.

        At most `concurrency_limit` prompts are worked on at a time. Raises InvalidValue naming the field before
        anything is computed.
        """
        sampling = SamplingParams(
            n=params.beam_width,
            max_tokens=params.max_tokens,
            logprobs=params.num_candidates,
            ignore_eos=params.ignore_eos,
            allowed_token_ids=params.allowed_token_ids,
            skip_special_tokens=params.skip_special_tokens,
            include_stop_str_in_output=params.include_stop_str_in_output,
        )
        params.step_sampling(params.num_candidates, self.config.max_logprobs)
        streams = [self._open(prompt, sampling) for prompt in _as_list(prompts)]
        return search_beams(
            self._client, self._session, [stream.request for stream in streams], params,
            at_once=concurrency_limit or len(streams), bar=_progress(len(streams), use_tqdm),
        )  # fmt: skip

    def chat(
        self,
        messages: Sequence[Message] | Sequence[list[Message]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
        chat_template: str = "",
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: list[dict[str, Any]] | None = None,
        chat_template_kwargs: dict[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """Answer one conversation or several; each is rendered by the model's chat template."""
        prompts: list[Prompt] = []
        for conversation in _conversations(messages):
            text = self._session.render_chat(
                conversation,
                tools=tools,
                chat_template=chat_template,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                template_kwargs=chat_template_kwargs,
            )
            # The template writes the special tokens itself, so none are added.
            prompts.append({"prompt": text, "add_special_tokens": False})
        return self.generate(prompts, sampling_params, use_tqdm=use_tqdm)

    def embed(
        self, prompts: Prompt | Sequence[Prompt], *, pooling_params: Params = None, use_tqdm: bool = True
    ) -> list[EmbeddingRequestOutput]:
        """A vector for each prompt, of a model that is pooled (`runner="pooling"`)."""
        asked = _as_list(prompts)
        return self._pooling.embed(asked, pooling_params, _progress(len(asked), use_tqdm))

    def classify(
        self, prompts: Prompt | Sequence[Prompt], *, pooling_params: Params = None, use_tqdm: bool = True
    ) -> list[ClassificationRequestOutput]:
        """Probabilities of the classifier's labels for each prompt."""
        asked = _as_list(prompts)
        return self._pooling.classify(asked, pooling_params, _progress(len(asked), use_tqdm))

    def encode(
        self,
        prompts: Prompt | Sequence[Prompt],
        pooling_params: Params = None,
        *,
        pooling_task: str | None = None,
        use_tqdm: bool = True,
    ) -> list[PoolingRequestOutput]:
        """Whatever the model is pooled into, as arrays; `pooling_task` picks among what it can do."""
        asked = _as_list(prompts)
        bar = _progress(len(asked), use_tqdm)
        return self._pooling.encode(asked, pooling_params, bar, task=pooling_task)

    def reward(
        self, prompts: Prompt | Sequence[Prompt], *, pooling_params: Params = None, use_tqdm: bool = True
    ) -> list[PoolingRequestOutput]:
        """A reward model's scores of every token."""
        asked = _as_list(prompts)
        return self._pooling.reward(asked, pooling_params, _progress(len(asked), use_tqdm))

    def score(
        self,
        data_1: str | Sequence[str],
        data_2: str | Sequence[str],
        *,
        pooling_params: Params = None,
        use_tqdm: bool = True,
    ) -> list[ScoringRequestOutput]:
        """How well texts go together: one of `data_1` with each of `data_2`, or pair by pair."""
        num_texts = 1 if isinstance(data_2, str) else len(data_2)
        return self._pooling.score(data_1, data_2, pooling_params, _progress(num_texts, use_tqdm))

    # ---- administration: docs/administration.md ----

    def reset_prefix_cache(self, reset_running_requests: bool = False) -> bool:
        """Compute prompts anew that begin like earlier ones; returns whether nothing is remembered any more."""
        return self._client.ask(ResetPrefixes(with_running=reset_running_requests))

    def release_kv_cache_memory(self) -> None:
        """Give the memory of the KV cache back until it is needed again."""
        self._client.ask(FreeKV())

    def sleep(self, level: Level = 1, mode: Mode = "abort") -> None:
        """Give memory back: none at level 0, that of weights and KV cache at 1 and 2. Between calls nothing is under
        way, so the mode decides nothing. Raises InvalidValue without `enable_sleep_mode`."""
        if level not in (0, 1, 2) or mode not in MODES:
            raise InvalidValue(f"level must be 0, 1 or 2 and mode one of {', '.join(MODES)}", field="level")
        if not self.config.enable_sleep_mode:
            raise InvalidValue(SLEEP_IS_OFF, field="enable_sleep_mode")
        if level:
            self._client.ask(Sleep(level))
        self._standing.fall_asleep(level)

    def wake_up(self, tags: Sequence[Part] | None = None) -> None:
        """Bring back what is named, or everything. Raises CheckpointError when the weights cannot be loaded."""
        parts = list(tags or PARTS)
        if not set(parts) <= set(PARTS):
            raise InvalidValue(f"tags must be among {', '.join(PARTS)}", field="tags")
        self._client.ask(WakeUp(parts))
        self._standing.missing -= set(parts)
        if not self._standing.missing:
            self._standing.sleep_level = None

    def is_sleeping(self) -> bool:
        return not self._standing.computes

    def collective_rpc(
        self,
        method: str | Callable[..., Any],
        timeout: float | None = None,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> list[Any]:
        """What each worker's method returns, or a function of the worker: there is one worker, in this process."""
        if timeout is not None:
            raise InvalidValue(
                "timeout: a call in this process cannot be cut off; leave it out", field="timeout"
            )
        if callable(method):
            return [method(self._client.worker, *args, **(kwargs or {}))]
        return [self._client.ask(CallWorker(method, list(args), dict(kwargs or {})))]

    def apply_model(self, function: Callable[[Any], Any]) -> list[Any]:
        """What the function makes of each worker's network, a torch module."""
        return [function(self._client.worker.model)]

    def start_profile(self, profile_prefix: str | None = None) -> None:
        self._client.ask(StartProfile(profile_prefix or ""))

    def stop_profile(self) -> str:
        """The trace's path."""
        return self._client.ask(StopProfile())

    def get_metrics(self) -> list[Metric]:
        """The engine's numbers since it was loaded."""
        return engine_metrics(self._client.stats, self.config.card.name)

    def get_world_size(self) -> int:
        """Workers that compute together."""
        return 1

    # ---- inside ----

    def _params_for(
        self, given: SamplingParams | Sequence[SamplingParams] | None, num_prompts: int
    ) -> list[SamplingParams]:
        if given is None or isinstance(given, SamplingParams):
            return [given or self.get_default_sampling_params()] * num_prompts
        if len(given) != num_prompts:
            raise InvalidValue(
                f"sampling_params has {len(given)} entries for {num_prompts} prompts; give one, or one each",
                field="sampling_params",
            )
        return list(given)

    def _open(
        self, prompt: Prompt, sampling: SamplingParams, priority: int = 0, *, takes_vectors: bool = False
    ) -> OutputStream:
        parts = read_prompt(prompt, self.config, takes_vectors=takes_vectors)
        request = self._session.prepare_now(
            parts.body,
            msgspec.structs.replace(sampling, output_kind=OutputKind.FINAL_ONLY),
            request_id=next(self._request_ids),
            priority=priority,
            cache_salt=parts.cache_salt,
            add_special_tokens=parts.add_special_tokens,
            reasoning=self._reasoning,
        )
        text = parts.body if isinstance(parts.body, str) else None
        return OutputStream(request, self._session.tokenizer, text)

    def _finish(self, streams: list[OutputStream], use_tqdm: bool) -> list[RequestOutput]:
        """Submit all, step until all have ended; on any exception abort what is left, so the next call is clean."""
        if self.is_sleeping():
            raise EngineAsleep("this LLM is asleep; call wake_up() first")
        by_id = {stream.request.request_id: stream for stream in streams}
        outputs: dict[str, RequestOutput] = {}
        try:
            for stream in streams:
                self._client.submit(stream.request)
            for output in self._outputs(by_id, _progress(len(streams), use_tqdm)):
                outputs[output.request_id] = output
        finally:
            for request_id in by_id.keys() - outputs.keys():
                self._client.abort(request_id)
            while self._client.has_work:
                self._client.step()
        return [outputs[stream.request.request_id] for stream in streams]

    def _outputs(self, streams: dict[str, OutputStream], bar: tqdm[Any] | None) -> Iterator[RequestOutput]:
        num_tokens, open_ids = 0, set(streams)
        while open_ids:
            for event in self._client.step():
                num_tokens += len(event.token_ids)
                stream = streams[event.request_id]
                output = stream.apply(event)
                for index in stream.take_aborts():
                    self._client.abort(event.request_id, index)
                if output is not None and output.finished and event.request_id in open_ids:
                    open_ids.remove(event.request_id)
                    if bar is not None:
                        bar.set_postfix_str(f"{num_tokens / max(bar.format_dict['elapsed'], 1e-9):.0f} tok/s")
                        bar.update()
                    yield output
        if bar is not None:
            bar.close()


def _as_list(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """One prompt or many: a list of ints is one prompt of token ids."""
    if isinstance(prompts, (str, dict)):
        return [prompts]
    token_ids = [item for item in prompts if isinstance(item, int)]
    if token_ids and len(token_ids) == len(prompts):
        return [token_ids]
    return [item for item in prompts if not isinstance(item, int)]


def _conversations(messages: Sequence[Message] | Sequence[list[Message]]) -> list[list[Message]]:
    """One conversation or many: a list of dicts is one."""
    single = [message for message in messages if isinstance(message, dict)]
    return [single] if single else [item for item in messages if isinstance(item, list)]


def _progress(num_prompts: int, use_tqdm: bool) -> tqdm[Any] | None:
    if not use_tqdm:
        return None
    from tqdm import tqdm

    return tqdm(total=num_prompts, desc="Prompts", unit="prompt", dynamic_ncols=True)
