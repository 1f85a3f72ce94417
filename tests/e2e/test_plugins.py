"""Plugin files and --reasoning-config on a real server: a format of one's own, a class written for vLLM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ServerProcess
from tests.e2e.test_tools import ASK_PHONE, PHONE

CALLS = """
import json

from vllm.entrypoints.openai.protocol import (
    DeltaFunctionCall, DeltaMessage, DeltaToolCall, ExtractedToolCallInformation, FunctionCall, ToolCall,
)
from vllm.tool_parsers import ToolParser, ToolParserManager


@ToolParserManager.register_module("tagged")
class Tagged(ToolParser):
    def extract_tool_calls(self, model_output, request):
        if any(tool.function.name == "raise" for tool in request.tools):
            raise ValueError("as asked")
        call = json.loads(model_output.partition("<tool_call>")[2].partition("</tool_call>")[0])
        function = FunctionCall(name=call["name"], arguments=json.dumps(call["arguments"]))
        return ExtractedToolCallInformation(tools_called=True, tool_calls=[ToolCall(function=function)])

    def extract_tool_calls_streaming(self, previous_text, current_text, delta_text, *_, request, **__):
        if "</tool_call>" not in current_text or self.current_tool_id >= 0:
            return None
        self.current_tool_id = 0
        (call,) = self.extract_tool_calls(current_text, request).tool_calls
        told = DeltaFunctionCall(name="my_" + call.function.name, arguments=call.function.arguments)
        return DeltaMessage(tool_calls=[DeltaToolCall(index=0, function=told)])
"""
REASONING = """
from quire.text.parsers.authoring import ReasoningFormat
FORMATS = [ReasoningFormat(name="mine", begins=("<think>",), ends=("</think>",))]
"""
ASK_SUM = {
    "messages": [{"role": "user", "content": "What is 12 + 30? Think first."}],
    "temperature": 0,
    "max_tokens": 60,
    "chat_template_kwargs": {"enable_thinking": True},
}


@pytest.fixture(scope="module")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("plugins")
    (folder / "calls.py").write_text(CALLS)
    (folder / "reasoning.py").write_text(REASONING)
    config = {"reasoning_parser": "mine", "reasoning_end_str": " So that is it.</think>"}
    with ServerProcess(
        folder / "log.txt",
        *("--tool-parser-plugin", str(folder / "calls.py"), "--tool-call-parser", "tagged"),
        *(
            "--reasoning-parser-plugin",
            str(folder / "reasoning.py"),
            "--reasoning-config",
            json.dumps(config),
        ),
    ) as running:
        yield running


def call_phone(server: ServerProcess, tools: list) -> dict:
    status, reply = server.post(
        "/v1/chat/completions",
        {"messages": ASK_PHONE, "tools": tools, "temperature": 0, "max_tokens": 300},
    )
    assert status == 200, reply
    return reply["choices"][0]


def test_a_class_written_for_vllm_reads_a_real_models_calls(plugged: ServerProcess) -> None:
    choice = call_phone(plugged, [PHONE])
    (call,) = choice["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == (
        "get_phone",
        {"name": "Mia"},
    )
    assert choice["finish_reason"] == "tool_calls"


def test_what_it_raises_is_the_matter_of_one_reply(plugged: ServerProcess) -> None:
    other = {
        "type": "function",
        "function": {"name": "raise", "parameters": {"type": "object", "properties": {}}},
    }
    choice = call_phone(plugged, [PHONE, other])
    assert "tool_calls" not in choice["message"]
    assert choice["message"]["content"]
    assert "Tagged of a plugin file failed" in plugged.log.read_text()
    assert call_phone(plugged, [PHONE])["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("limit", [0, 3])
def test_a_spent_budget_ends_in_the_sentence_that_was_given(plugged: ServerProcess, limit: int) -> None:
    status, free = plugged.post("/v1/chat/completions", ASK_SUM)
    assert status == 200
    status, bounded = plugged.post("/v1/chat/completions", {**ASK_SUM, "thinking_token_budget": limit})
    assert status == 200, bounded
    free, bounded = (one["choices"][0]["message"] for one in (free, bounded))
    assert bounded["reasoning"].endswith("So that is it.")
    assert free["reasoning"].startswith(bounded["reasoning"].removesuffix("So that is it.").strip())
    assert bounded["content"] and "think>" not in bounded["content"]
