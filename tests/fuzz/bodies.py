"""Bodies of requests, one target for each route that reads one."""

from __future__ import annotations

import asyncio
import json
from functools import cached_property
from typing import Any, ClassVar

import msgspec
import numpy as np

from quire.api.server import Service, create_app
from quire.base.config import PoolerConfig
from quire.base.messages import EngineRequest, PooledRows, TokenEvent
from quire.engine.client import EventStream
from quire.text.session import Session
from quire.text.template import ChatTemplate
from quire.text.tokenizer import Tokenizer
from tests.api.server.scripted_engine import ScriptedEngine, engine_config, server_config, write_model_folder
from tests.fuzz.mutate import mutated_json
from tests.fuzz.target import Target


class ScriptedPooler(ScriptedEngine):
    """Answers with numbers of the shape that was asked for."""

    async def _play(self, request: EngineRequest, stream: EventStream) -> None:
        asked = request.pooling
        assert asked is not None and asked.task is not None
        width = (
            asked.dimensions or 8 if asked.task.endswith("embed") else len(asked.returned_token_ids or LABELS)
        )
        shape = [len(request.prompt_token_ids), width] if asked.task.startswith("token_") else [width]
        pooled = PooledRows(shape, np.ones(shape, np.float32).tobytes())
        self._streams.pop(request.request_id, None)
        stream.put(
            TokenEvent(
                request_id=request.request_id, index=0, token_ids=[], finish_reason="stop", pooled=pooled
            )
        )


class HttpBody(Target):
    """A request's body through the whole app, on a scripted engine: never a 5xx, never an exception."""

    mutate = staticmethod(mutated_json)
    path: ClassVar[str]
    pooler: ClassVar[PoolerConfig | None] = None

    @cached_property
    def _app(self) -> Any:
        write_model_folder(self.folder)
        config = msgspec.structs.replace(engine_config(self.folder), pooler=self.pooler)
        kind = ScriptedEngine if self.pooler is None else ScriptedPooler
        engine = kind(lambda _request, _index: [5, 6], config.card.eos_token_ids[0])
        service = Service(engine, config, server_config(enable_scale_out=True))
        tokenizer, template = Tokenizer.load(self.folder), ChatTemplate.load(self.folder)
        service.session = Session(engine, config, tokenizer, template, service.config.sampling_defaults)
        return create_app(service)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.new_event_loop()

    def answer(self, data: bytes) -> tuple[int, bytes]:
        """Status and body of the reply. Raises TimeoutError."""
        return self._loop.run_until_complete(asyncio.wait_for(self._post(data), 5.0))

    def run(self, data: bytes) -> None:
        status, body = self.answer(data)
        assert 200 <= status < 500, (status, body[:500])
        if status >= 400:
            assert json.loads(body)["error"]["message"]

    async def _post(self, data: bytes) -> tuple[int, bytes]:
        asked: list[dict[str, Any]] = [{"type": "http.request", "body": data, "more_body": False}]
        answered: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if asked:
                return asked.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            answered.append(message)

        headers = [(b"content-type", b"application/json"), (b"host", b"x")]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 1),
        }
        await self._app(scope, receive, send)
        return answered[0]["status"], b"".join(message.get("body", b"") for message in answered[1:])


_SAMPLING: dict[str, Any] = {
    "n": 2,
    "max_tokens": 3,
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 4,
    "min_p": 0.1,
    "seed": 7,
    "stop": ["x", "y"],
    "stop_token_ids": [3],
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "repetition_penalty": 1.1,
    "logit_bias": {"5": 1.5},
    "allowed_token_ids": [5, 6],
    "bad_words": ["no"],
    "min_tokens": 1,
    "ignore_eos": True,
    "stream": False,
    "cache_salt": "s",
    "priority": 1,
    "return_token_ids": True,
}
_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


class ChatBody(HttpBody):
    name, path = "chat", "/v1/chat/completions"

    def seeds(self) -> list[bytes]:
        messages = [
            {"role": "system", "content": "short"},
            {"role": "user", "content": [{"type": "text", "text": "hello"}]},
            {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "look", "arguments": "{}"}, "id": "1"}],
            },
            {"role": "tool", "content": "it rains", "tool_call_id": "1"},
        ]
        plain = {"messages": messages[1:2]}
        full = {
            "messages": messages,
            "tools": [_TOOL],
            "tool_choice": "none",
            "logprobs": True,
            "top_logprobs": 2,
        }
        stream = {**plain, "stream": True, "stream_options": {"include_usage": True}}
        return [json.dumps(body).encode() for body in (plain, {**full, **_SAMPLING}, stream)]


class ResponsesBody(HttpBody):
    name, path = "responses", "/v1/responses"

    def seeds(self) -> list[bytes]:
        items = [
            {"role": "developer", "content": [{"type": "input_text", "text": "short"}]},
            {"role": "user", "content": "hello"},
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "hm"}],
            },
            {
                "type": "function_call",
                "call_id": "c",
                "name": "look",
                "arguments": "{}",
                "status": "completed",
            },
            {"type": "function_call_output", "call_id": "c", "output": "it rains"},
        ]
        full = {
            "input": items,
            "instructions": "be brief",
            "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}],
            "tool_choice": "none",
            "text": {"format": {"type": "text"}, "verbosity": "medium"},
            "reasoning": {"summary": "auto"},
            "include": ["message.output_text.logprobs"],
            "top_logprobs": 2,
            "metadata": {"a": "b"},
            "max_output_tokens": 3,
            "truncation": "auto",
        }
        return [json.dumps(body).encode() for body in ({"input": "hello", "stream": True}, full)]


class MessagesBody(HttpBody):
    name, path = "messages", "/v1/messages"

    def seeds(self) -> list[bytes]:
        said = [
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "text", "text": "I look.", "cache_control": {"type": "ephemeral"}},
            {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}},
        ]
        result = {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [{"type": "text", "text": "no"}],
            "is_error": True,
        }
        full = {
            "max_tokens": 3,
            "system": [{"type": "text", "text": "short"}],
            "messages": [
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": said},
                {"role": "user", "content": [result, {"type": "text", "text": "go on"}]},
            ],
            "tools": [{"name": "look", "description": "d", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "none"},
            "thinking": {"type": "disabled"},
            "stop_sequences": ["x"],
            "metadata": {"user_id": "me"},
        }
        plain = {"max_tokens": 2, "messages": [{"role": "user", "content": "hello"}], "stream": True}
        return [json.dumps(body).encode() for body in (plain, full)]


class CompletionsBody(HttpBody):
    name, path = "completions", "/v1/completions"

    def seeds(self) -> list[bytes]:
        bodies = (
            {"prompt": "hello", **_SAMPLING, "logprobs": 2, "echo": True},
            {"prompt": [[5, 6], [7]], "prompt_logprobs": 1},
            {"prompt": ["a", "b"], "stream": True},
        )
        return [json.dumps(body).encode() for body in bodies]


class TokenizeBody(HttpBody):
    name, path = "tokenize", "/tokenize"

    def seeds(self) -> list[bytes]:
        bodies = (
            {"prompt": "x", "return_token_strs": True},
            {"messages": [{"role": "user", "content": "x"}]},
        )
        return [json.dumps(body).encode() for body in bodies]


class ChatBatchBody(HttpBody):
    name, path = "chat_batch", "/v1/chat/completions/batch"

    def seeds(self) -> list[bytes]:
        one = [{"role": "user", "content": "hello"}]
        full = {"messages": [one, one], "tools": [_TOOL], "tool_choice": "none", **_SAMPLING, "n": 1}
        bodies = ({"messages": [one]}, {"messages": [one], "logprobs": True, "top_logprobs": 1}, full)
        return [json.dumps(body).encode() for body in bodies]


class CountBody(HttpBody):
    name, path = "count_tokens", "/v1/messages/count_tokens"

    def seeds(self) -> list[bytes]:
        names = ("model", "messages", "system", "tools", "tool_choice", "thinking")
        bodies = [json.loads(seed) for seed in MessagesBody().seeds()]
        return [json.dumps({name: body[name] for name in names if name in body}).encode() for body in bodies]


class DetokenizeBody(HttpBody):
    name, path = "detokenize", "/detokenize"

    def seeds(self) -> list[bytes]:
        return [b'{"model": "scripted", "tokens": [1, 2, 300]}']


class ScoringBody(HttpBody):
    name, path = "scoring", "/generative_scoring"

    def seeds(self) -> list[bytes]:
        bodies = (
            {"query": "is it", "items": ["wet", "dry"], "label_token_ids": [5, 6], "item_first": True},
            {"query": [5, 6], "items": [[7], [8, 9]], "label_token_ids": [5], "apply_softmax": False},
        )
        return [json.dumps(body).encode() for body in bodies]


class GenerateBody(HttpBody):
    name, path = "generate", "/inference/v1/generate"

    def seeds(self) -> list[bytes]:
        refused = ("stop", "stream", "cache_salt", "priority", "return_token_ids", "bad_words")
        sampling = {key: value for key, value in _SAMPLING.items() if key not in refused}
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        bodies = (
            {"token_ids": [1, 2], "sampling_params": {**sampling, "logprobs": 2}, "request_id": "r"},
            {"token_ids": [1, 2], "priority": 1, "cache_salt": "s", **stream},
            {"token_ids": [1, 2], "sampling_params": {"max_tokens": 2, "stop_token_ids": [3]}},
        )
        return [json.dumps(body).encode() for body in bodies]


class RenderBody(ChatBody):
    name, path = "render", "/v1/chat/completions/render"


class InvocationsBody(HttpBody):
    name, path = "invocations", "/invocations"

    def seeds(self) -> list[bytes]:
        return [*ChatBody().seeds(), *CompletionsBody().seeds()]


LABELS = ("no", "yes")
_VECTORS = PoolerConfig(
    task="embed", tasks=["embed", "token_embed"], sequence="LAST", tokens="ALL", is_matryoshka=True
)
_SCORES = PoolerConfig(
    task="classify",
    tasks=["classify", "token_classify"],
    sequence="LAST",
    tokens="ALL",
    head="sequence",
    num_labels=len(LABELS),
    labels=list(LABELS),
)
_PAIR = {"max_tokens_per_query": 4, "max_tokens_per_doc": 5, "truncate_prompt_tokens": 9, "priority": 1}


class EmbeddingsBody(HttpBody):
    name, path, pooler = "embeddings", "/v1/embeddings", _VECTORS

    def seeds(self) -> list[bytes]:
        bodies = (
            {"input": "hello", "dimensions": 4, "encoding_format": "base64", "embed_dtype": "float16"},
            {
                "input": [[5, 6], [7]],
                "truncate_prompt_tokens": 9,
                "truncation_side": "left",
                "request_id": "r",
            },
            {"input": ["a", "b"], "encoding_format": "bytes", "endianness": "big", "use_activation": False},
            {"messages": [{"role": "user", "content": "x"}], "add_generation_prompt": True},
        )
        return [json.dumps(body).encode() for body in bodies]


class EmbedBody(HttpBody):
    name, path, pooler = "embed", "/v2/embed", _VECTORS

    def seeds(self) -> list[bytes]:
        kinds = ["float", "binary", "ubinary", "base64"]
        bodies = (
            {"texts": ["a", "b"], "input_type": "search_query", "embedding_types": kinds},
            {"texts": ["a"], "truncate": "START", "max_tokens": 3, "output_dimension": 4},
        )
        return [json.dumps(body).encode() for body in bodies]


class PoolingBody(HttpBody):
    name, path, pooler = "pooling", "/pooling", _VECTORS

    def seeds(self) -> list[bytes]:
        bodies = (
            {"input": ["a", "b"], "task": "token_embed", "cache_salt": "s"},
            {"input": "a", "task": "embed", "dimensions": 4, "encoding_format": "bytes_only"},
            {"input": [1, 2], "step_tag_id": 1, "returned_token_ids": [0, 1]},
        )
        return [json.dumps(body).encode() for body in bodies]


class ClassifyBody(HttpBody):
    name, path, pooler = "classify", "/classify", _SCORES

    def seeds(self) -> list[bytes]:
        bodies = (
            {"input": ["a", "b"], "use_activation": True, "add_special_tokens": False},
            {"messages": [{"role": "user", "content": "x"}], "continue_final_message": False},
        )
        return [json.dumps(body).encode() for body in bodies]


class ScoreBody(HttpBody):
    name, path, pooler = "score", "/v1/score", _VECTORS

    def seeds(self) -> list[bytes]:
        bodies = (
            {"queries": "a", "documents": ["b", "c"], **_PAIR},
            {"text_1": ["a", "b"], "text_2": ["c", "d"], "use_activation": True},
        )
        return [json.dumps(body).encode() for body in bodies]


class RerankBody(HttpBody):
    name, path = "rerank", "/v1/rerank"
    pooler = msgspec.structs.replace(_SCORES, num_labels=1, labels=["yes"])

    def seeds(self) -> list[bytes]:
        bodies = (
            {"query": "a", "documents": ["b", {"text": "c"}], "top_n": 1, "return_documents": True},
            {"query": "a", "documents": ["b"], **_PAIR},
        )
        return [json.dumps(body).encode() for body in bodies]


BODIES: tuple[HttpBody, ...] = (
    *(ChatBody(), ChatBatchBody(), ResponsesBody(), MessagesBody(), CountBody(), CompletionsBody()),
    *(TokenizeBody(), DetokenizeBody(), ScoringBody(), GenerateBody(), RenderBody(), InvocationsBody()),
    *(EmbeddingsBody(), EmbedBody(), PoolingBody(), ClassifyBody(), ScoreBody(), RerankBody()),
)
