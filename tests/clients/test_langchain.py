"""`langchain-openai`: invoke, stream, batch, tools, structured output, log-probabilities."""

from __future__ import annotations

import pydantic
import pytest

from tests.clients.conftest import MODEL, PHONE

langchain_openai = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")


class Answer(pydantic.BaseModel):
    """What a sum comes to."""

    number: int


@pytest.fixture
def model(url):
    return langchain_openai.ChatOpenAI(
        base_url=url, api_key="none", model=MODEL, temperature=0, max_retries=0, max_tokens=64
    )


def test_invoke_stream_and_batch_agree(model):
    whole = model.invoke("What is 41-33?")
    assert "8" in whole.content
    assert whole.usage_metadata["output_tokens"] > 0
    assert "".join(chunk.content for chunk in model.stream("What is 41-33?")) == whole.content
    assert [reply.content for reply in model.batch(["What is 41-33?"] * 3)] == [whole.content] * 3


async def test_async(model):
    assert "8" in (await model.ainvoke("What is 41-33?")).content


def test_a_bound_tool_is_called(model):
    reply = model.bind_tools([PHONE]).invoke("Find the phone number of Mia.")
    (call,) = reply.tool_calls
    assert (call["name"], call["args"]) == ("get_phone", {"name": "Mia"})


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(method, model):
    assert isinstance(model.with_structured_output(Answer, method=method).invoke("What is 41-33?"), Answer)


def test_logprobs(model):
    reply = model.bind(logprobs=True, top_logprobs=2).invoke("What is 41-33?")
    entries = reply.response_metadata["logprobs"]["content"]
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)


def test_completions(url):
    model = langchain_openai.OpenAI(base_url=url, api_key="none", model=MODEL, temperature=0, max_tokens=8)
    assert model.invoke("Once upon a time")
