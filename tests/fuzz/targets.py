"""What is fuzzed: each target reads bytes as a part of Quire does, and may only end in that part's named errors."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from random import Random
from typing import ClassVar

import msgspec
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import quire
from quire.api.batch.lines import encode_line, parse_line, refused_line
from quire.api.serverless.failures import JobError
from quire.api.serverless.job_input import read_input
from quire.api.serverless.worker_settings import Compat, WorkerSettings
from quire.base.errors import CheckpointError, EngineFault, UserError
from quire.base.messages import EngineRequest, SamplingParams
from quire.base.wire import Abort, Codec, Downward, Submit, Upward
from quire.model.checkpoint import read_card, read_generation_config
from quire.model.checkpoint.headers import read_headers
from quire.text.parsers import REASONING_FORMATS, TOOL_FORMATS
from quire.text.template import ChatTemplate
from quire.text.tokenizer import Tokenizer
from tests.api.server.scripted_engine import write_model_folder
from tests.fuzz.bodies import BODIES
from tests.fuzz.mutate import mutated_bytes, mutated_json, mutated_text
from tests.fuzz.target import Target
from tests.text.parsers.transcripts import CALLS_BY_FORMAT, parsed

BUILT_IN = Path(quire.__file__).parent / "assets" / "folio"


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


class BatchLine(Target):
    """A line of a batch file; one that cannot be asked gets a result that says so."""

    name = "batch_line"
    mutate = staticmethod(mutated_json)

    def seeds(self) -> list[bytes]:
        bodies = {
            "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}], "stream": False},
            "/v1/embeddings": {"input": "x"},
        }
        lines = [
            {"custom_id": "a", "method": "POST", "url": url, "body": body} for url, body in bodies.items()
        ]
        return [json.dumps(line).encode() for line in lines]

    def run(self, data: bytes) -> None:
        line = parse_line(data)
        if line.problem:
            said = json.loads(encode_line(refused_line(line)))
            assert said["error"]["message"] and said["custom_id"] == line.custom_id
        else:
            assert line.url.startswith("/") and line.body.startswith(b"{")


class Job(Target):
    """A job's input, read as each generation of workers read it; its call must be one that can be sent."""

    name = "job"
    mutate = staticmethod(mutated_json)
    _settings: ClassVar = [WorkerSettings(compat=compat) for compat in Compat]

    def seeds(self) -> list[bytes]:
        body = {"messages": [{"role": "user", "content": "x"}], "stream": True, "n": 2}
        inputs = (
            {"openai_route": "/v1/chat/completions", "openai_input": body},
            {"route": "/v1/completions", "method": "POST", "body": {"prompt": "x"}},
            {"prompt": "x", "sampling_params": {"max_tokens": 3, "temperature": 0.5}, "max_batch_size": 4},
            {**body, "apply_chat_template": True, "min_batch_size": 1, "batch_size_growth_factor": 2},
        )
        return [json.dumps(one).encode() for one in inputs]

    def run(self, data: bytes) -> None:
        try:
            fields = json.loads(data)
        except (ValueError, RecursionError):
            return  # the platform hands over objects
        for settings in self._settings:
            try:
                call = read_input(fields, settings)
            except (JobError, UserError):
                continue
            json.dumps(call.body)
            assert call.route.startswith("/") and call.method in ("GET", "POST") and call.num_choices


class TraceHeaders(Target):
    """The headers by which a caller says what trace a request belongs to: traceparent, a line end, tracestate."""

    name = "trace_headers"
    mutate = staticmethod(mutated_bytes)
    _propagator: ClassVar = TraceContextTextMapPropagator()

    def seeds(self) -> list[bytes]:
        return [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nvendor=a:b,other@tenant=c"]

    def run(self, data: bytes) -> None:
        parent, _, state = data.decode("latin-1").partition("\n")
        self._propagator.extract({"traceparent": parent, "tracestate": state})


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *BODIES,
        *(ReplyParsers(), Headers()),
        *(ModelConfig(), TokenizerFile(), Templates(), Frames()),
        *(BatchLine(), Job(), TraceHeaders()),
    )
}
