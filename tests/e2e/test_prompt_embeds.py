"""Prompts of vectors, and a server of tokens alone: rows of the built-in model say what its tokens say."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import torch
from safetensors.torch import load_file

import quire
from quire.text.tokenizer import Tokenizer
from tests.e2e.conftest import ServerProcess

FOLDER = Path(quire.__file__).parent / "assets" / "folio"
TEXT = "<|im_start|>user\nWhat is 12 + 30?<|im_end|>\n<|im_start|>assistant\n"
ASK = {"temperature": 0, "max_tokens": 12, "logprobs": 1}


@pytest.fixture(scope="module")
def token_ids() -> list[int]:
    return Tokenizer.load(FOLDER).encode(TEXT)


@pytest.fixture(scope="module")
def table() -> torch.Tensor:
    """The model's own vectors of its tokens."""
    tensors = load_file(FOLDER / "model.safetensors")
    return next(rows for name, rows in tensors.items() if "embed_tokens" in name)


@pytest.fixture(scope="module")
def taking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("embeds") / "log.txt"
    with ServerProcess(log, "--enable-prompt-embeds", "--enable-prompt-tokens-details") as running:
        yield running


def encoded(rows: torch.Tensor) -> str:
    file = io.BytesIO()
    torch.save(rows, file)
    return base64.b64encode(file.getvalue()).decode()


def complete(server: ServerProcess, **fields: object) -> tuple[str, list[float], int]:
    """Text, log-probabilities, and how many prompt tokens came from the prefix cache."""
    status, reply = server.post("/v1/completions", {**ASK, **fields})
    assert status == 200, reply
    (choice,) = reply["choices"]
    return (
        choice["text"],
        choice["logprobs"]["token_logprobs"],
        reply["usage"]["prompt_tokens_details"]["cached_tokens"],
    )


def test_vectors_of_tokens_are_continued_as_the_tokens(
    taking: ServerProcess, token_ids: list[int], table: torch.Tensor
) -> None:
    rows = table[torch.tensor(token_ids)]
    text, logprobs, _ = complete(taking, prompt=token_ids)
    first, again = (complete(taking, prompt_embeds=encoded(rows)) for _ in range(2))
    assert first == (text, logprobs, 0)  # the same prefix in tokens is another prefix
    assert again[:2] == first[:2] and again[2] > 0
    other = complete(taking, prompt_embeds=encoded(rows.flip(0)))
    assert other[1] != logprobs and other[2] == 0


async def test_vectors_outlive_a_killed_engine(taking: ServerProcess, table: torch.Tensor) -> None:
    """The same HTTP replies go on, equal to undisturbed ones."""
    draws = torch.Generator().manual_seed(5)
    prompts = [encoded(table[torch.randint(len(table), (9 + 30 * n,), generator=draws)]) for n in range(4)]

    async def collect(client: openai.AsyncOpenAI, number: int) -> dict[int, tuple[str, list[float]]]:
        said: dict[int, tuple[str, list[float]]] = {}
        asked = {"prompt_embeds": prompts[number], "ignore_eos": True}
        async for chunk in await client.completions.create(
            model="quire-folio", prompt="", extra_body=asked, stream=True, logprobs=1,
            n=1 + number % 2, seed=number, temperature=0.9 * (number % 2), max_tokens=150,
        ):  # fmt: skip
            for choice in chunk.choices:
                text, logprobs = said.get(choice.index, ("", []))
                more = choice.logprobs.token_logprobs if choice.logprobs else []
                said[choice.index] = text + choice.text, logprobs + more
        return said

    async with openai.AsyncOpenAI(base_url=f"{taking.base_url}/v1", api_key="none", timeout=60) as client:
        expected = await asyncio.gather(*(collect(client, number) for number in range(4)))
        crowd = [asyncio.create_task(collect(client, number)) for number in range(4)]
        await asyncio.to_thread(taking.kill_engine, after_tokens=50)
        assert await asyncio.gather(*crowd) == expected
    assert all(len(logprobs) == 150 for said in expected for _, logprobs in said.values())
    await asyncio.to_thread(taking.wait_metric, "vllm:num_requests_running", 0)


def test_a_server_of_tokens_alone(tmp_path: Path, token_ids: list[int]) -> None:
    with ServerProcess(tmp_path / "log.txt", "--tokens-only") as running:
        body = {"token_ids": token_ids, "sampling_params": {"temperature": 0, "max_tokens": 12}}
        status, reply = running.post("/inference/v1/generate", body)
        assert status == 200
        assert Tokenizer.load(FOLDER).decode(reply["choices"][0]["token_ids"]).startswith("12 + 30 = 42")
        assert running.post("/v1/completions", {"prompt": TEXT})[0] == 404
        assert running.post("/abort_requests", {}) == (200, {"num_aborted": 0})
