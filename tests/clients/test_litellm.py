"""`litellm`, which reaches the server as any OpenAI-like one and as vLLM."""

from __future__ import annotations

import json

import pytest

from tests.clients.conftest import ASK_PHONE, MODEL, PHONE, SUM

# it fetches a price list when imported, unless told to use its own
pytest.MonkeyPatch().setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
litellm = pytest.importorskip("litellm", reason="litellm is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # its own, by the dozen


@pytest.fixture(params=["openai", "hosted_vllm"])
def ask(request, url):
    def send(**fields):
        fields = {"messages": SUM, "temperature": 0, "max_tokens": 64, **fields}
        return litellm.completion(
            model=f"{request.param}/{MODEL}", api_base=url, api_key="none", num_retries=0, **fields
        )

    return send


def test_whole_and_streamed_agree(ask):
    whole = ask()
    assert "8" in whole.choices[0].message.content
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    chunks = ask(stream=True)
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    )


def test_a_tool_is_called(ask):
    (call,) = ask(messages=ASK_PHONE, tools=[PHONE]).choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_phone", {"name": "Mia"})


def test_reasoning(ask):
    reply = ask(extra_body={"chat_template_kwargs": {"enable_thinking": True}}, max_tokens=200)
    assert reply.choices[0].message.reasoning_content


def test_a_refusal_is_its_error(ask):
    with pytest.raises(litellm.BadRequestError, match="temperature"):
        ask(temperature=-1)


def test_text_completion(url):
    reply = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="Once", api_base=url, api_key="none", max_tokens=4
    )
    assert reply.choices[0].text
