"""What is fuzzed: each target reads bytes as a part of Quire does, and may only end in that part's named errors."""

from __future__ import annotations

import asyncio
import json
import struct
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import msgspec

import quire
from quire.api.server import Service, create_app
from quire.base.errors import CheckpointError, EngineFault, UserError
from quire.base.messages import EngineRequest, SamplingParams
from quire.base.wire import Abort, Codec, Downward, Submit, Upward
from quire.model.checkpoint import read_card, read_generation_config
from quire.model.checkpoint.headers import read_headers
from quire.text.parsers import REASONING_FORMATS, TOOL_FORMATS
from quire.text.session import Session
from quire.text.template import ChatTemplate
from quire.text.tokenizer import Tokenizer
from tests.api.server.scripted_engine import ScriptedEngine, engine_config, server_config, write_model_folder
from tests.fuzz.mutate import mutated_bytes, mutated_json, mutated_text
from tests.text.parsers.transcripts import CALLS_BY_FORMAT, parsed

BUILT_IN = Path(quire.__file__).parent / "assets" / "folio"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Target(ABC):
    """`run` returns when all is well; anything it raises is a finding."""

    name: ClassVar[str]
    mutate: ClassVar[Callable[[bytes, Random], bytes]]

    @abstractmethod
    def seeds(self) -> list[bytes]: ...

    @abstractmethod
    def run(self, data: bytes) -> None: ...

    @cached_property
    def folder(self) -> Path:
        """A folder of its own, in memory where the system has one."""
        self._temporary = tempfile.TemporaryDirectory(prefix="quire-fuzz-", dir=MEMORY)
        return Path(self._temporary.name)


class HttpBody(Target):
    """A request's body through the whole app, on a scripted engine: never a 5xx, never an exception."""

    mutate = staticmethod(mutated_json)
    path: ClassVar[str]

    @cached_property
    def _app(self) -> Any:
        write_model_folder(self.folder)
        config = engine_config(self.folder)
        engine = ScriptedEngine(lambda _request, _index: [5, 6], config.card.eos_token_ids[0])
        service = Service(engine, config, server_config())
        tokenizer, template = Tokenizer.load(self.folder), ChatTemplate.load(self.folder)
        service.session = Session(engine, config, tokenizer, template, service.config.sampling_defaults)
        return create_app(service)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.new_event_loop()

    def run(self, data: bytes) -> None:
        status, body = self._loop.run_until_complete(asyncio.wait_for(self._post(data), 5.0))
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


class ReplyParsers(Target):
    """Model output in every tool and reasoning format: no exception, and the same however it was cut."""

    name = "parsers"
    mutate = staticmethod(mutated_text)
    _pairs: ClassVar = [
        *((tools, "") for tools in sorted(TOOL_FORMATS)),
        *(("", reasoning) for reasoning in sorted(REASONING_FORMATS)),
    ]

    def seeds(self) -> list[bytes]:
        thought = "<think>why not</think>Because.[THINK]a[/THINK]b<|channel|>analysis<|message|>x<|end|>"
        return [text.encode() for text in [*CALLS_BY_FORMAT.values(), thought]]

    def run(self, data: bytes) -> None:
        random = Random(len(data) + sum(data[:64]))
        text = data.decode("utf-8", "replace")
        tools, reasoning = random.choice(self._pairs)
        whole = parsed([text], tools, reasoning)
        cuts = sorted(random.randrange(len(text) + 1) for _ in range(random.randrange(1, 12)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        in_pieces = parsed(pieces, tools, reasoning)
        whole.ids, in_pieces.ids = [], []  # random by nature
        assert in_pieces == whole, (tools, reasoning)


class Headers(Target):
    """A safetensors file's header."""

    name = "headers"

    @staticmethod
    def mutate(source: bytes, random: Random) -> bytes:
        if random.random() < 0.5 or len(source) < 8:
            return mutated_bytes(source, random)
        (length,) = struct.unpack("<Q", source[:8])
        header = mutated_json(source[8 : 8 + length], random)
        return struct.pack("<Q", len(header)) + header + source[8 + length :]

    def seeds(self) -> list[bytes]:
        header = {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
            "b": {"dtype": "BF16", "shape": [4], "data_offsets": [16, 24]},
        }
        written = json.dumps(header).encode()
        return [struct.pack("<Q", len(written)) + written + bytes(24)]

    def run(self, data: bytes) -> None:
        (self.folder / "model.safetensors").write_bytes(data)
        try:
            entries = read_headers(self.folder)
        except CheckpointError:
            return
        for entry in entries.values():
            assert 0 <= entry.begin <= entry.end <= len(data)


class ModelConfig(Target):
    """config.json and generation_config.json."""

    name = "config"
    mutate = staticmethod(mutated_json)

    def seeds(self) -> list[bytes]:
        return [(BUILT_IN / "config.json").read_bytes(), (BUILT_IN / "generation_config.json").read_bytes()]

    def run(self, data: bytes) -> None:
        for file in ("config.json", "generation_config.json"):
            (self.folder / file).write_bytes(data)
        for read in (lambda: read_card(self.folder, name="x"), lambda: read_generation_config(self.folder)):
            try:
                read()
            except (CheckpointError, UserError):
                continue


class TokenizerFile(Target):
    """tokenizer.json and tokenizer_config.json; what loads must also encode and decode."""

    name = "tokenizer"
    mutate = staticmethod(mutated_json)

    def seeds(self) -> list[bytes]:
        write_model_folder(self.folder)
        return [(self.folder / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")]

    def run(self, data: bytes) -> None:
        name = "tokenizer.json" if b'"model"' in data else "tokenizer_config.json"
        write_model_folder(self.folder) if not (self.folder / "tokenizer.json").exists() else None
        before = (self.folder / name).read_bytes()
        (self.folder / name).write_bytes(data)
        try:
            tokenizer = Tokenizer.load(self.folder)
            tokenizer.decode(tokenizer.encode("hello world"))
        except (CheckpointError, UserError):
            return
        finally:
            (self.folder / name).write_bytes(before)


class Templates(Target):
    """A chat template from a stranger's folder."""

    name = "templates"
    mutate = staticmethod(mutated_text)

    def seeds(self) -> list[bytes]:
        return [
            (BUILT_IN / "chat_template.jinja").read_bytes(),
            b"{% for m in messages %}{{ m.role | upper ~ m['content'][:3] }}{% endfor %}{{ tools | tojson }}",
            b"{% macro f(x) %}{{ x * 3 }}{% endmacro %}{% set ns = namespace(a=1) %}{{ f('a') }}{{ range(9) }}",
        ]

    def run(self, data: bytes) -> None:
        messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "x"}]
        try:
            ChatTemplate({"default": data.decode("utf-8", "replace")}, {}).render(messages)
        except UserError:
            return


class Frames(Target):
    """A frame between the two processes, in both directions."""

    name = "frames"
    mutate = staticmethod(mutated_bytes)
    _codecs: ClassVar = [Codec(Upward), Codec(Downward)]

    def seeds(self) -> list[bytes]:
        request = EngineRequest(
            request_id="r", prompt_token_ids=[1, 2], sampling=SamplingParams(max_tokens=2), seed=1
        )
        messages = [Submit(request=request), Abort(request_id="r", index=1)]
        return [msgspec.msgpack.encode(message) for message in messages]

    def run(self, data: bytes) -> None:
        for codec in self._codecs:
            try:
                codec.decode(data)
            except EngineFault:
                continue


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *(ChatBody(), ResponsesBody(), MessagesBody(), CompletionsBody(), TokenizeBody()),
        *(ReplyParsers(), Headers()),
        *(ModelConfig(), TokenizerFile(), Templates(), Frames()),
    )
}
