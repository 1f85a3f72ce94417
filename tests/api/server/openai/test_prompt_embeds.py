"""prompt_embeds: what safetensors and torch.save write is read without torch, and nothing else is (T-23)."""

from __future__ import annotations

import base64
import collections
import io
import json
import random
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as save_safetensors
from tests.api.server.scripted_engine import engine_config

from quire.api.server.openai.prompt_embeds import read_embeddings
from quire.base.errors import InvalidValue

COMPLETIONS = "/v1/completions"
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def torch_file(content: object, **options: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def one_tensor(tensor: torch.Tensor) -> bytes:
    return save_safetensors({"rows": tensor})


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def config(model_folder):
    return engine_config(model_folder)


@pytest.fixture
def matrix(config) -> torch.Tensor:
    return torch.randn(5, config.card.hidden_size, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("write", [torch_file, one_tensor])
@pytest.mark.parametrize("batch", [False, True])
def test_both_kinds_of_files_are_read_to_the_bit(config, matrix, write, dtype, batch):
    sent = matrix.to(dtype)
    read = read_embeddings(text(write(sent[None] if batch else sent)), config)
    assert (read.dtype, read.num_tokens) == (str(dtype).removeprefix("torch."), 5)
    assert torch.frombuffer(bytearray(read.data), dtype=dtype).view(5, -1).equal(sent)


class Canary:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.path, "here")


def refused(data: bytes | str, config, message: str) -> None:
    with pytest.raises(InvalidValue, match=f"^prompt_embeds .*{message}") as caught:
        read_embeddings(data if isinstance(data, str) else text(data), config)
    assert caught.value.field == "prompt_embeds"


def test_a_pickle_that_does_more_is_not_followed(config, matrix, tmp_path):
    canary = tmp_path / "canary"
    for content in (
        Canary(canary),
        [matrix, Canary(canary)],
        {"a": matrix},
        collections.OrderedDict(a=matrix),
    ):
        refused(torch_file(content), config, "is no (file of torch.save|plain tensor)")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.t(), "is no plain tensor"),
        (lambda rows: rows[:, :-1], "is no plain tensor"),
        (lambda rows: rows[1:], "is no plain tensor"),
        (lambda rows: rows[:1].expand(5, -1), "is no plain tensor"),
        (lambda rows: torch.nn.Parameter(rows), "is no (file of torch.save|plain tensor)"),
        (lambda rows: rows.clone().requires_grad_(), "is no file of torch.save"),
        (lambda rows: rows.to_sparse(), "is no (file of torch.save|plain tensor)"),
        (lambda rows: rows.double(), "is no plain tensor"),
        (lambda rows: rows.int(), "is no plain tensor"),
        (lambda rows: rows.flatten(), r"has the shape \(\d+,\)"),
        (lambda rows: rows[:, :-1].clone(), r"has the shape \(5, "),
        (lambda rows: rows[:0].clone(), "is no plain tensor"),
        (lambda rows: torch.stack([rows, rows]), r"has the shape \(2, 5"),
        (lambda rows: rows.index_fill(0, torch.tensor([2]), torch.nan), "not finite"),
        (lambda rows: rows.index_fill(0, torch.tensor([4]), -torch.inf).half(), "not finite"),
        (lambda rows: rows.index_fill(0, torch.tensor([0]), torch.inf).bfloat16(), "not finite"),
    ],
)
def test_other_tensors_are_refused(config, matrix, change, message):
    refused(torch_file(change(matrix)), config, message)


def test_other_files_are_refused(config, matrix):
    refused("AAAA", config, "is neither a file")
    refused("é" * 8, config, "is no base64")
    refused("A" * 10**8, config, "has more numbers than")
    refused(torch_file(matrix, _use_new_zipfile_serialization=False), config, "is neither")
    refused(save_safetensors({"a": matrix, "b": matrix.clone()}), config, "with one tensor")
    refused(save_safetensors({"a": matrix.double()}), config, "with one tensor")
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(torch_file(matrix))) as source, zipfile.ZipFile(packed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name), zipfile.ZIP_DEFLATED)
    refused(packed.getvalue(), config, "is compressed")


@pytest.mark.parametrize(
    "entry",
    [
        {"data_offsets": [0, 10**12]},
        {"data_offsets": [-8, 8]},
        {"data_offsets": "ab"},
        {"shape": [2**40, 2**40]},
        {"shape": [-5, -64]},
        {"shape": [True, 64]},
        {"shape": "55"},
        {"dtype": ["F32"]},
    ],
)
def test_headers_that_lie_are_refused(config, matrix, entry):
    data = one_tensor(matrix)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["rows"] |= entry
    written = json.dumps(header).encode()
    refused(len(written).to_bytes(8, "little") + written + data[8 + size :], config, "")


@pytest.mark.parametrize("write", [torch_file, one_tensor])
def test_whatever_is_changed_a_file_is_read_or_refused(config, matrix, write):
    draw, whole = random.Random(3), write(matrix[:1].clone())
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        if draw.random() < 0.2:
            del data[draw.randrange(len(data)) :]
        try:
            read = read_embeddings(text(bytes(data)), config)
        except InvalidValue:
            continue
        assert (read.num_tokens, len(read.data)) == (1, config.card.hidden_size * 4)


@pytest.fixture
def taking(make_service):
    return make_service(enable_prompt_embeds=True)


async def test_a_request_of_vectors_goes_to_the_engine(taking, connect, matrix):
    async with connect(taking) as http:
        body = {
            "prompt": "",
            "prompt_embeds": [text(torch_file(matrix)), text(torch_file(matrix + 1))],
            "return_token_ids": True,
        }
        reply = await http.post(COMPLETIONS, json=body)
    assert reply.status_code == 200, reply.text
    one, other = taking.client.requests
    assert one.embeddings.num_tokens == len(one.prompt_token_ids) == 5
    assert len(one.media_keys) == len(other.media_keys) == 1
    assert one.media_keys != other.media_keys
    assert reply.json()["usage"]["prompt_tokens"] == 10
    assert "prompt_token_ids" not in reply.json()["choices"][0]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": "a"}, "prompt_embeds"),
        ({"echo": True}, "prompt_embeds"),
        ({"use_beam_search": True}, "prompt_embeds"),
        ({"prompt_logprobs": 1}, "prompt_logprobs"),
        ({"truncate_prompt_tokens": 2}, "truncate_prompt_tokens"),
        ({"prompt_embeds": []}, "prompt_embeds"),
        ({"prompt_embeds": {"a": 1}}, "prompt_embeds"),
        ({"prompt_embeds": None}, "prompt"),
    ],
)
async def test_what_does_not_go_together_is_refused_by_name(taking, connect, matrix, fields, field):
    async with connect(taking) as http:
        reply = await http.post(COMPLETIONS, json={"prompt_embeds": text(torch_file(matrix)), **fields})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, field), reply.text


async def test_more_rows_than_the_context_holds_are_refused(taking, connect, config):
    rows = torch.zeros(config.max_model_len, config.card.hidden_size)
    async with connect(taking) as http:
        reply = await http.post(COMPLETIONS, json={"prompt_embeds": text(torch_file(rows.half()))})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "prompt_embeds"), reply.text


async def test_vectors_are_not_taken_unless_switched_on(http, matrix):
    reply = await http.post(COMPLETIONS, json={"prompt_embeds": text(torch_file(matrix))})
    assert reply.status_code == 400
    assert "--enable-prompt-embeds" in reply.json()["error"]["message"]
