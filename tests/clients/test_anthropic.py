"""`anthropic`: /v1/messages, whole, streamed, and with a tool."""

from __future__ import annotations

import pytest

from tests.clients.conftest import ASK_PHONE, MODEL, PHONE, SUM

anthropic = pytest.importorskip("anthropic", reason="anthropic is not installed")


@pytest.fixture
def client(server):
    if server.post("/v1/messages", {})[0] == 404:
        pytest.skip("this server has no /v1/messages")
    with anthropic.Anthropic(base_url=server.base_url, api_key="none", max_retries=0) as made:
        yield made


def test_a_message_whole_and_streamed(client):
    asked = {"model": MODEL, "max_tokens": 64, "messages": SUM, "extra_body": {"temperature": 0}}
    whole = client.messages.create(**asked)
    assert "8" in whole.content[0].text
    with client.messages.stream(**asked) as stream:
        assert "".join(stream.text_stream) == whole.content[0].text
        assert stream.get_final_message().usage.output_tokens == whole.usage.output_tokens


def test_a_tool_is_called(client):
    function = PHONE["function"]
    tool = {
        "name": function["name"],
        "description": function["description"],
        "input_schema": function["parameters"],
    }
    reply = client.messages.create(
        model=MODEL, max_tokens=128, messages=ASK_PHONE, tools=[tool], extra_body={"temperature": 0}
    )
    (use,) = [block for block in reply.content if block.type == "tool_use"]
    assert (use.name, use.input, reply.stop_reason) == ("get_phone", {"name": "Mia"}, "tool_use")


def test_tokens_are_counted(client):
    assert client.messages.count_tokens(model=MODEL, messages=SUM).input_tokens > 5
