"""A server that knows token ids only, with a logits processor of the user's own: ids in, ids out, texts refused."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from quire.api.llm import LLM
from quire.base.errors import Unsupported
from quire.base.messages import SamplingParams
from tests.e2e.conftest import ServerProcess

PROMPT = [5, 6, 7, 8]
ASKED = {"prompt": PROMPT, "max_tokens": 4, "temperature": 0, "ignore_eos": True}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(
        tmp_path_factory.mktemp("bare") / "log.txt",
        "--skip-tokenizer-init",
        *("--logits-processors", "tests.worker.sampling.test_own_steps:OnlyEven"),
    ) as server:
        yield server


def test_ids_come_in_and_go_out(bare: ServerProcess) -> None:
    status, reply = bare.post("/v1/completions", {**ASKED, "logprobs": 1})
    assert status == 200, reply
    (choice,) = reply["choices"]
    llm = LLM(skip_tokenizer_init=True, max_model_len=256)
    sampling = SamplingParams(temperature=0, max_tokens=4, ignore_eos=True)
    (offline,) = llm.generate([PROMPT], sampling, use_tqdm=False)
    assert choice["text"] == offline.outputs[0].text == ""
    assert choice["token_ids"] == offline.outputs[0].token_ids and len(choice["token_ids"]) == 4
    assert choice["prompt_token_ids"] == PROMPT
    assert choice["logprobs"]["tokens"] == [f"token_id:{token_id}" for token_id in choice["token_ids"]]
    with pytest.raises(Unsupported, match=r"^prompt must be token ids: this server runs without a tokenizer"):
        llm.generate("text", use_tqdm=False)
    with pytest.raises(Unsupported, match=r"^messages are not taken"):
        llm.chat([{"role": "user", "content": "hi"}], use_tqdm=False)


def test_streams_carry_ids(bare: ServerProcess) -> None:
    body = json.dumps({**ASKED, "stream": True}).encode()
    asked = urllib.request.Request(
        bare.base_url + "/v1/completions", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=30) as reply:
        lines = reply.read().decode().split("\n\n")
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    ids = [token_id for chunk in chunks for token_id in chunk["choices"][0]["token_ids"]]
    assert ids == bare.post("/v1/completions", ASKED)[1]["choices"][0]["token_ids"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/completions", {"prompt": "text"}, "prompt"),
        ("/v1/completions", {"prompt": ["text"]}, "prompt"),
        ("/v1/completions", {**ASKED, "stop": ["x"]}, "stop"),
        ("/v1/completions", {**ASKED, "bad_words": ["x"]}, "bad_words"),
        ("/v1/completions", {**ASKED, "structured_outputs": {"regex": "a"}}, "structured_outputs"),
        ("/v1/completions", {**ASKED, "response_format": {"type": "json_object"}}, "response_format"),
        ("/v1/completions", {**ASKED, "echo": True}, "echo"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, "messages"),
        ("/tokenize", {"prompt": "text"}, "prompt"),
        ("/detokenize", {"tokens": PROMPT}, "tokens"),
        ("/v1/completions", {**ASKED, "vllm_xargs": {"odd": 1}}, "vllm_xargs"),
        ("/v1/completions", {**ASKED, "vllm_xargs": {"only_even": "yes"}}, "vllm_xargs"),
    ],
)
def test_texts_and_unknown_arguments_are_refused_by_name(
    bare: ServerProcess, path: str, body: dict[str, Any], field: str
) -> None:
    status, reply = bare.post(path, body)
    assert (status, reply["error"]["param"]) == (400, field), reply


def test_a_processor_changes_the_requests_that_ask_for_it_and_fails_alone(bare: ServerProcess) -> None:
    status, reply = bare.post("/v1/completions", {**ASKED, "vllm_xargs": {"only_even": True}})
    assert status == 200
    assert all(token_id % 2 == 0 for token_id in reply["choices"][0]["token_ids"])
    assert bare.post("/v1/completions", {**ASKED, "vllm_xargs": {"breaks": True}})[0] == 500
    assert bare.post("/v1/completions", ASKED)[0] == 200
