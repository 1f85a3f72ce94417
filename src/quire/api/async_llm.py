"""AsyncLLM: an engine process for programs with an event loop. The server's session, without the server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from quire.api.llm import DEFAULT_MAX_TOKENS
from quire.api.prompts import Prompt, read_prompt
from quire.api.startup import Startup, prepare_startup
from quire.base.commands import FreeKV, Part, ResetPrefixes, StartProfile, StopProfile
from quire.base.config import Asked
from quire.base.errors import EngineDead
from quire.base.messages import SamplingParams
from quire.engine.client import Administrator, EngineState, Level, Mode, ProcessClient
from quire.text.session import RequestOutput, Session
from quire.text.template import ChatTemplate
from quire.text.tokenizer import Tokenizer


class AsyncLLM:
    """A model in a process of its own, which is replaced when it dies. Keywords are `quire serve`'s options with
    underscores; raises ConfigError or CheckpointError as `LLM` does, some of it at the first use.

    Made anywhere, used on one event loop; `shutdown` ends the process.
    """

    def __init__(self, model: str | None = None, **settings: Any) -> None:
        self._prepare(prepare_startup(Asked.from_keywords({"model": model, **settings})))

    @classmethod
    def from_engine_args(cls, engine_args: Mapping[str, Any]) -> AsyncLLM:
        """Of a mapping of the same keywords."""
        return cls(**engine_args)

    @classmethod
    def started(cls, startup: Startup) -> AsyncLLM:
        """The model of a startup that is already resolved."""
        llm = cls.__new__(cls)
        llm._prepare(startup)
        return llm

    def _prepare(self, startup: Startup) -> None:
        self.config = startup.resolution.engine
        server = startup.resolution.server
        self._takes_vectors = server.enable_prompt_embeds
        self._client = ProcessClient(self.config)
        self._client.spawn()  # it imports while the tokenizer is read here
        self._connection: asyncio.Task[None] | None = None
        self._administrator = Administrator(self._client, may_sleep=self.config.enable_sleep_mode)
        folder = Path(self.config.text_folder)
        self._session = Session(
            self._client,
            self.config,
            Tokenizer.load(folder),
            ChatTemplate.load(folder, server.chat_template),
            server.sampling_defaults,
        )

    # ---- requests ----

    async def generate(
        self,
        prompt: Prompt,
        sampling_params: SamplingParams | None = None,
        request_id: str | None = None,
        *,
        priority: int = 0,
    ) -> AsyncGenerator[RequestOutput, None]:
        """What comes of a prompt, as it comes: everything so far, or as `output_kind` says. Leaving the loop early
        ends the request. Raises InvalidValue naming the field, EngineAsleep, EngineFault."""
        await self._ready()
        parts = read_prompt(prompt, self.config, takes_vectors=self._takes_vectors)
        request = await self._session.prepare(
            parts.body,
            sampling_params or self.get_default_sampling_params(),
            request_id=request_id or uuid.uuid4().hex,
            priority=priority,
            cache_salt=parts.cache_salt,
            add_special_tokens=parts.add_special_tokens,
        )
        text = parts.body if isinstance(parts.body, str) else None
        async with aclosing(self._session.stream(request, text)) as outputs:
            async for output in outputs:
                yield output

    async def abort(self, request_id: str | Iterable[str]) -> None:
        """End requests by their ids; those that have ended are ignored."""
        await self._ready()
        self._administrator.abort([request_id] if isinstance(request_id, str) else request_id)

    def get_tokenizer(self) -> Tokenizer:
        return self._session.tokenizer

    def get_default_sampling_params(self) -> SamplingParams:
        """What a call without `sampling_params` uses: the model's generation_config.json, 16 tokens."""
        return self._session.sampling_params({"max_tokens": DEFAULT_MAX_TOKENS})

    # ---- administration: docs/administration.md ----

    async def pause_generation(self, *, mode: Mode = "abort", clear_cache: bool = True) -> None:
        await self._ready()
        await self._administrator.pause(mode, clear_cache=clear_cache)

    async def resume_generation(self) -> None:
        await self._ready()
        await self._administrator.resume()

    async def is_paused(self) -> bool:
        return self._administrator.is_paused

    async def sleep(self, level: Level = 1, mode: Mode = "abort") -> None:
        await self._ready()
        await self._administrator.sleep(level, mode)

    async def wake_up(self, tags: Sequence[Part] | None = None) -> None:
        await self._ready()
        await self._administrator.wake_up(tags)

    async def is_sleeping(self) -> bool:
        return self._administrator.is_sleeping

    async def reset_prefix_cache(self, reset_running_requests: bool = False) -> bool:
        """Compute prompts anew that begin like earlier ones; returns whether nothing is remembered any more."""
        await self._ready()
        return await self._client.ask(ResetPrefixes(with_running=reset_running_requests))

    async def release_kv_cache_memory(self) -> None:
        """Give the memory of the KV cache back until it is needed again."""
        await self._ready()
        await self._client.ask(FreeKV())

    async def collective_rpc(
        self,
        method: str,
        timeout: float | None = None,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> list[Any]:
        """What each worker's method returns: there is one worker. It must be numbers, texts, lists or objects."""
        await self._ready()
        return [await self._administrator.call_worker(method, args, kwargs, timeout)]

    async def start_profile(self, profile_prefix: str | None = None) -> None:
        await self._ready()
        await self._client.ask(StartProfile(profile_prefix or ""))

    async def stop_profile(self) -> str:
        """The trace's path."""
        await self._ready()
        return await self._client.ask(StopProfile())

    async def check_health(self) -> None:
        """Raises EngineDead when there is no engine any more, and no new one on its way."""
        if self._client.state is EngineState.DEAD:
            raise EngineDead(self._client.failure)

    async def shutdown(self) -> None:
        """End the engine process; streams still open end with EngineDead."""
        if self._connection is None:
            self._client.reap()
            return
        await self._client.shutdown()
        await asyncio.gather(self._connection, return_exceptions=True)

    async def _ready(self) -> None:
        if self._connection is None:
            self._connection = asyncio.create_task(self._client.connect(), name="engine start")
        await asyncio.shield(self._connection)
