"""Session: the one way from a prompt to the engine and back. Whatever the route, a request is validated here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Protocol, TypeAlias

import msgspec

from quire.base.config import EngineConfig
from quire.base.constraints import Constraint, Grammar
from quire.base.errors import EngineFault, InvalidValue, Unsupported
from quire.base.messages import EngineRequest, PromptEmbeddings, SamplingParams, TokenEvent
from quire.text.grammar import GrammarChecker, after_reasoning, ask_grammar
from quire.text.parsers import ReasoningFormat
from quire.text.session import prompt as prompts
from quire.text.session.beam_stream import search_beams
from quire.text.session.beams import BeamSearchParams
from quire.text.session.limits import RequestLimits, check_extra_args, check_token_ids
from quire.text.session.outputs import RequestOutput
from quire.text.session.resolving import resolve_sampling, spell_bad_words
from quire.text.session.stream import OutputStream
from quire.text.session.thinking import thinking_budget
from quire.text.template import ChatTemplate
from quire.text.tokenizer import WITHOUT, Tokenizer

Prompt: TypeAlias = str | list[int] | PromptEmbeddings
STRUCTURED = "structured_outputs"
_THREAD_CHARS = 20_000  # tokenising more than this would hold the event loop for tens of milliseconds


class EngineClient(Protocol):
    """What a session needs of the engine: streams of events for requests, and a way to give one up."""

    def submit(self, request: EngineRequest) -> AsyncIterator[list[TokenEvent]]: ...

    def abort(self, request_id: str, index: int | None = None) -> None: ...


class Session:
    """Joins one engine, its tokenizer and its chat template. One per served model; safe for many requests at once.

    `sampling_defaults` are SamplingParams fields (from generation_config.json and overrides) for whatever a
    caller leaves out; its `max_tokens`, if any, bounds requests that name none. Without a client, requests can
    be prepared and not streamed.
    """

    def __init__(
        self,
        client: EngineClient | None,
        config: EngineConfig,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        sampling_defaults: Mapping[str, Any] | None = None,
        *,
        limits: RequestLimits | None = None,
        stream_interval_tokens: int = 1,
    ) -> None:
        self.client = client
        self.config = config
        self.tokenizer = tokenizer
        self.template = template
        self.limits = limits or RequestLimits(max_n=config.max_n)
        self.grammars = GrammarChecker(config)
        self.extra_arguments: frozenset[str] = frozenset()  # the engine says which its logits processors read
        self._stream_interval_tokens = stream_interval_tokens
        self._default_max_tokens = (sampling_defaults or {}).get("max_tokens")
        self._defaults = {key: v for key, v in (sampling_defaults or {}).items() if key != "max_tokens"}

    def sampling_params(self, asked: Mapping[str, Any]) -> SamplingParams:
        """SamplingParams of the given fields over this model's defaults. Fields given as None count as left out."""
        given = {name: value for name, value in asked.items() if value is not None}
        unknown = given.keys() - set(SamplingParams.__struct_fields__)
        if unknown:
            name = min(unknown)
            raise InvalidValue(f"{name} is not a sampling parameter", field=name)
        return SamplingParams(**{"max_tokens": None, **self._defaults, **given})

    def prepare_now(
        self,
        prompt: Prompt,
        sampling: SamplingParams,
        *,
        request_id: str,
        priority: int = 0,
        cache_salt: str = "",
        add_special_tokens: bool = True,
        reasoning: ReasoningFormat | None = None,
    ) -> EngineRequest:
        """The request the engine accepts. Raises InvalidValue naming the field that breaks a limit.

        `reasoning` is what `thinking_token_budget` counts.
        """
        begun = self._begin(prompt, sampling, request_id, priority, cache_salt)
        token_ids = self._token_ids(prompt, sampling, add_special_tokens)
        request = self._finish(begun, token_ids, reasoning)
        grammar = self._grammar_of(sampling)
        if grammar is None:
            return request
        num_bytes = self.grammars.check_now(grammar, STRUCTURED)
        return msgspec.structs.replace(request, constraint=Constraint(grammar=grammar, num_bytes=num_bytes))

    async def prepare(
        self,
        prompt: Prompt,
        sampling: SamplingParams,
        *,
        request_id: str,
        priority: int = 0,
        cache_salt: str = "",
        add_special_tokens: bool = True,
        grammar: Grammar | None = None,
        reasoning: ReasoningFormat | None = None,
    ) -> EngineRequest:
        """`prepare_now`, with long texts tokenised in a thread so that other streams go on.

        `grammar` holds the reply in place of the one that `sampling` asks for. A reply that may begin with
        `reasoning` is held to it from the end of that on, unless the server is told otherwise.
        """
        begun = self._begin(prompt, sampling, request_id, priority, cache_salt)
        if isinstance(prompt, str) and len(prompt) > _THREAD_CHARS:
            token_ids = await asyncio.to_thread(self._token_ids, prompt, sampling, add_special_tokens)
        else:
            token_ids = self._token_ids(prompt, sampling, add_special_tokens)
        request = self._finish(begun, token_ids, reasoning)
        grammar = grammar or self._grammar_of(sampling)
        if grammar is None:
            return request
        constraint = Constraint(grammar=grammar, num_bytes=await self.grammars.check(grammar, STRUCTURED))
        if reasoning is not None and isinstance(prompt, str) and not self.config.grammar.enable_in_reasoning:
            constraint = after_reasoning(constraint, reasoning, self.tokenizer, prompt)
        return msgspec.structs.replace(request, constraint=constraint)

    async def stream(
        self,
        request: EngineRequest,
        prompt_text: str | None = None,
        *,
        shown_ids: frozenset[int] = frozenset(),
    ) -> AsyncGenerator[RequestOutput, None]:
        """Run `request` and yield what comes of it, events that wait together in one output.

        `shown_ids` are special tokens that the text shows even where it skips the others: a parser reads them.

        Ends after the output with `finished`. When it is closed early, or stop strings ended every sample, the
        engine's request is aborted: close it (`contextlib.aclosing`) when you stop reading. Raises EngineFault
        when the engine fails.
        """
        assert self.client is not None
        output_stream = OutputStream(
            request,
            self.tokenizer,
            prompt_text,
            shown_ids=shown_ids,
            interval_tokens=self._stream_interval_tokens,
        )
        events = self.client.submit(request)
        engine_works = True
        try:
            async for batch in events:
                output = output_stream.apply_all(batch)
                engine_works = not output_stream.finished
                for index in output_stream.take_aborts():  # before the reader takes its time over the output
                    self.client.abort(request.request_id, index)
                if output is not None:
                    yield output
                if output_stream.finished:
                    return
            engine_works = False
            raise EngineFault(f"the engine ended request {request.request_id} without a finish reason")
        except EngineFault:
            engine_works = False
            raise
        finally:
            if engine_works:
                self.client.abort(request.request_id)

    async def beam_search(
        self,
        request: EngineRequest,
        params: BeamSearchParams,
        prompt_text: str | None = None,
        *,
        shown_ids: frozenset[int] = frozenset(),
    ) -> AsyncGenerator[RequestOutput, None]:
        """Like `stream`, for the best continuations of the prompt: one output, when all have been found."""
        assert self.client is not None
        yield await search_beams(
            self.client, request, params, self.tokenizer, self.config, prompt_text, shown_ids
        )

    def render_chat(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        chat_template: str = "",
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt text of a conversation. `chat_template`, where the caller may give one, replaces the model's."""
        if not self.config.has_tokenizer:
            raise Unsupported(f"messages are not taken: {WITHOUT}; send token ids", field="messages")
        template = self.template
        if chat_template:
            template = (template or ChatTemplate({})).replaced_by(chat_template)
        if template is None:
            raise InvalidValue(
                "this model has no chat template; start the server with --chat-template, or use completions",
                field="chat_template",
            )
        return template.render(
            messages,
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            template_kwargs=template_kwargs,
        )

    def detokenize(self, token_ids: list[int]) -> str:
        """Text of ids that a caller gave. Raises InvalidValue naming `tokens` when one is out of vocabulary."""
        if not self.config.has_tokenizer:
            raise Unsupported(f"tokens cannot be spelled: {WITHOUT}", field="tokens")
        check_token_ids("tokens", token_ids, max(self.config.card.vocab_size, self.tokenizer.vocab_size))
        return self.tokenizer.decode(token_ids, skip_special_tokens=False)

    def _begin(
        self,
        prompt: Prompt,
        sampling: SamplingParams,
        request_id: str,
        priority: int,
        cache_salt: str,
    ) -> EngineRequest:
        """Everything that can be refused before tokenising is; the request without what only the tokens tell."""
        arrival_s = time.monotonic()
        if self.config.pooler is not None:
            raise Unsupported("this model is pooled into vectors or scores and generates nothing")
        self.limits.verify_names(request_id, priority, cache_salt)
        self.limits.verify_sampling(sampling, self.config)
        check_extra_args(sampling.extra_args, self.extra_arguments)
        if not self.config.has_tokenizer:
            self._refuse_texts(sampling)
        vectors: PromptEmbeddings | None = None
        if isinstance(prompt, PromptEmbeddings):
            prompts.check_goes_with_vectors(sampling)
            vectors = prompt
        else:
            prompts.check_prompt(prompt, self.config)
        return EngineRequest(
            request_id=request_id,
            prompt_token_ids=[],
            sampling=sampling,
            eos_token_ids=self.config.card.eos_token_ids,
            priority=priority,
            arrival_s=arrival_s,
            cache_salt=cache_salt,
            embeddings=vectors,
            media_keys=[] if vectors is None else [prompts.vectors_key(vectors)],
        )

    def _refuse_texts(self, sampling: SamplingParams) -> None:
        """What speaks of text means nothing to an engine that knows ids only."""
        for field, is_asked in (
            ("stop", bool(sampling.stop_strings)),
            ("bad_words", bool(sampling.bad_words)),
            (STRUCTURED, sampling.structured_outputs is not None),
        ):
            if is_asked:
                raise Unsupported(f"{field} is not supported: {WITHOUT}", field=field)

    def _grammar_of(self, sampling: SamplingParams) -> Grammar | None:
        asked = sampling.structured_outputs
        if asked is None:
            return None
        if not self.config.card.eos_token_ids:
            raise Unsupported(
                "structured_outputs is not supported: this model has no token that ends a reply",
                field=STRUCTURED,
            )
        return ask_grammar(asked, self.config.grammar)

    def _token_ids(self, prompt: Prompt, sampling: SamplingParams, add_special_tokens: bool) -> list[int]:
        if isinstance(prompt, PromptEmbeddings):
            return [0] * prompt.num_tokens  # they only hold the places
        keep_tokens = prompts.truncated_length(sampling, self.config)
        keeps_start = sampling.truncation_side == "right"
        if isinstance(prompt, str):
            return prompts.encode_prompt(
                prompt,
                self.tokenizer,
                self.config,
                keep_tokens=keep_tokens,
                keeps_start=keeps_start,
                add_special_tokens=add_special_tokens,
            )
        if keep_tokens is None:
            return list(prompt)
        return prompt[:keep_tokens] if keeps_start else prompt[-keep_tokens:]

    def _finish(
        self, begun: EngineRequest, token_ids: list[int], reasoning: ReasoningFormat | None
    ) -> EngineRequest:
        """Check what only the tokens tell, resolve what was left open, and seal the request."""
        sampling = begun.sampling
        prompts.check_length(token_ids, sampling, self.config)
        resolved = resolve_sampling(
            sampling,
            self.config,
            num_prompt_tokens=len(token_ids),
            default_max_tokens=self._default_max_tokens,
        )
        assert resolved.seed is not None
        return msgspec.structs.replace(
            begun,
            prompt_token_ids=token_ids,
            sampling=resolved,
            seed=resolved.seed,
            bad_words_token_ids=spell_bad_words(sampling.bad_words or [], self.tokenizer, self.limits),
            thinking=thinking_budget(sampling, reasoning, self.tokenizer, token_ids),
        )
