"""Plugin files, as text: one of Quire's own formats, and one of classes that were written for vLLM."""

OWN = '''
from quire.text.parsers.authoring import CallDraft, JsonCall, OwnCalls, ReasoningFormat, ToolFormat, copy_arguments


def read(source, outbox, ends, is_bare):
    """name -> {...}"""
    draft = CallDraft(source, outbox)
    name = []
    found = yield from source.until(("->",), name.append, limit=64)
    if not found or not draft.set_name("".join(name).strip()):
        return False
    if draft.name == "raise":
        raise ZeroDivisionError("oh")
    yield from source.skip_space()
    yield from copy_arguments(source, draft, stops=ends)
    yield from source.skip_space()
    yield from source.take_marker(ends)
    return draft.finish()


FORMATS = [
    ToolFormat(name="listed", syntax=JsonCall(), begins=("<do>",), ends=("</do>",), signs=(("<do>",),)),
    ToolFormat(name="arrows", syntax=OwnCalls(read=read), begins=("((",), ends=("))",)),
    ReasoningFormat(name="musing", begins=("{{",), ends=("}}",), signs=(("<do>",),)),
]
'''

VLLM = '''
import json
from collections.abc import Sequence

from vllm.entrypoints.openai.protocol import (
    ChatCompletionRequest,
    DeltaFunctionCall,
    DeltaMessage,
    DeltaToolCall,
    ExtractedToolCallInformation,
    FunctionCall,
    ToolCall,
)
from vllm.entrypoints.openai.tool_parsers.abstract_tool_parser import ToolParser, ToolParserManager
from vllm.logger import init_logger
from vllm.reasoning import ReasoningParser, ReasoningParserManager
from vllm.reasoning.deepseek_r1_reasoning_parser import DeepSeekR1ReasoningParser
from vllm.transformers_utils.tokenizer import AnyTokenizer

logger = init_logger(__name__)


@ToolParserManager.register_module(["shouted", "loud"])
class Shouted(ToolParser):
    """CALL name {json} to the end of the reply."""

    def __init__(self, tokenizer: AnyTokenizer):
        super().__init__(tokenizer)
        assert self.vocab

    def extract_tool_calls(self, model_output: str, request: ChatCompletionRequest) -> ExtractedToolCallInformation:
        before, mark, call = model_output.partition("CALL ")
        if not mark:
            return ExtractedToolCallInformation(tools_called=False, tool_calls=[], content=model_output)
        name, _, arguments = call.partition(" ")
        assert name in [tool.function.name for tool in request.tools]
        function = FunctionCall(name=name, arguments=json.dumps(json.loads(arguments)))
        made = ToolCall(type="function", function=function)
        return ExtractedToolCallInformation(tools_called=True, tool_calls=[made], content=before or None)

    def extract_tool_calls_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
        request: ChatCompletionRequest,
    ) -> DeltaMessage | None:
        assert current_text == previous_text + delta_text
        assert list(current_token_ids) == [*previous_token_ids, *delta_token_ids]
        if "C" not in current_text:
            return DeltaMessage(content=delta_text)
        name, space, arguments = current_text.partition("CALL ")[2].partition(" ")
        if not space:
            return None
        if self.current_tool_id < 0:
            self.current_tool_id = 0
            self.prev_tool_call_arr = [{"name": name, "arguments": {}}]
            function = DeltaFunctionCall(name=name).model_dump(exclude_none=True)
            return DeltaMessage(tool_calls=[DeltaToolCall(index=0, type="function", function=function)])
        if arguments.endswith("}"):  # the rest is left for the end of the reply
            self.prev_tool_call_arr[0]["arguments"] = json.loads(arguments)
        return None


@ToolParserManager.register_module("whole")
class Whole(ToolParser):
    def extract_tool_calls(self, model_output, request):
        calls = [ToolCall(function=FunctionCall(name=name, arguments="{}")) for name in model_output.split()]
        return ExtractedToolCallInformation(tools_called=True, tool_calls=calls)


@ToolParserManager.register_module("refusing")
class Refusing(Whole):
    def adjust_request(self, request):
        request.skip_special_tokens = False
        return request

    def extract_tool_calls_streaming(self, *_, **__):
        raise NotImplementedError


class Broken(ToolParser):
    def extract_tool_calls(self, model_output, request):
        return json.loads(model_output)

    def extract_tool_calls_streaming(self, previous_text, current_text, delta_text, **_):
        return DeltaMessage(content=delta_text if len(current_text) < 9 else 1 / 0)


ToolParserManager.register_module(name="broken", module=Broken)


@ToolParserManager.register_module()
class Unmade(ToolParser):
    def __init__(self, tokenizer):
        raise RuntimeError("no such token")


@ToolParserManager.register_module("held")
class Held(ToolParser):
    """[name name …] at the reply's end. Whatever could be the beginning of that is held back while it streams."""

    def extract_tool_calls(self, model_output, request):
        before, mark, names = model_output.partition("[")
        if not mark or not names.endswith("]"):
            return ExtractedToolCallInformation(tools_called=False, tool_calls=[], content=model_output)
        calls = [ToolCall(function=FunctionCall(name=name, arguments="{}")) for name in names[:-1].split()]
        return ExtractedToolCallInformation(tools_called=True, tool_calls=calls, content=before or None)

    def extract_tool_calls_streaming(self, previous_text, current_text, delta_text, *_, **__):
        before, mark, names = current_text.partition("[")
        if not mark:
            return DeltaMessage(content=delta_text)
        if before[len(previous_text):]:
            return DeltaMessage(content=before[len(previous_text):])
        if "!" in names:
            raise ValueError("no names")
        return None


@ReasoningParserManager.register_module("nano")
class Nano(DeepSeekR1ReasoningParser):
    def extract_reasoning_content(self, model_output, request):
        """By the name that it had before."""
        reasoning, content = super().extract_reasoning_content(model_output, request)
        return reasoning.strip(), content.strip()


@ReasoningParserManager.register_module("halves")
class Halves(ReasoningParser):
    def extract_reasoning(self, model_output, request):
        reasoning, _, content = model_output.partition("|")
        return reasoning, content

    def extract_reasoning_streaming(self, previous_text, current_text, delta_text, *_, **__):
        if "|" in previous_text:
            return DeltaMessage(content=delta_text)
        reasoning, _, content = delta_text.partition("|")
        return DeltaMessage(reasoning_content=reasoning or None, content=content or None)


@ReasoningParserManager.register_module("hasty")
class Hasty(Halves):
    """Holds back every space, in case the mark follows."""

    def extract_reasoning_streaming(self, previous_text, current_text, *_, **__):
        told = len("".join(previous_text.partition("|")).rstrip())
        reasoning, mark, content = current_text.rstrip()[told:].partition("|")
        if "|" in previous_text:
            return DeltaMessage(content=reasoning)
        return DeltaMessage(reasoning=reasoning or None, content=content or None)
'''
