"""Every format of tool calls, by vLLM's name. Automatic choice takes the first whose signs a template shows."""

from __future__ import annotations

from quire.text.parsers.formats import JsonCall, NamedCall, PythonCall, TaggedCall, ToolFormat, short_id


def _kimi_name(text: str) -> tuple[str, str]:
    """`functions.get_weather:0` is the call's id, the name is in the middle of it."""
    call_id = text.strip()
    name = call_id.removeprefix("functions.")
    head, colon, number = name.rpartition(":")
    return (head if colon and number.isdigit() else name), call_id


_QWEN_TAGS = TaggedCall(
    call_open="<function=",
    name_ends=(">",),
    call_close="</function>",
    parameter_open="<parameter=",
    key_ends=(">",),
    parameter_close="</parameter>",
    trims_line=True,
)

_FORMATS = (
    ToolFormat(
        name="openai",
        models="gpt-oss",
        syntax=NamedCall(name_ends=("<|message|>",)),  # read by harmony.py
        signs=(("<|channel|>", "<|message|>"),),
    ),
    ToolFormat(
        name="kimi_k2",
        models="Kimi K2",
        syntax=NamedCall(name_ends=("<|tool_call_argument_begin|>",), read_name=_kimi_name),
        begins=("<|tool_call_begin|>",),
        ends=("<|tool_call_end|>",),
        dropped=("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
        signs=(("<|tool_calls_section_begin|>",),),
    ),
    ToolFormat(
        name="deepseek_v32",
        models="DeepSeek V3.2",
        syntax=TaggedCall(
            call_open='<｜DSML｜invoke name="',
            name_ends=('">',),
            call_close="</｜DSML｜invoke>",
            parameter_open='<｜DSML｜parameter name="',
            key_ends=('" string="true">', '" string="false">', '">'),
            string_key_end='" string="true">',
            parameter_close="</｜DSML｜parameter>",
        ),
        begins=("<｜DSML｜function_calls>",),
        ends=("</｜DSML｜function_calls>",),
        signs=(("｜DSML｜",),),
    ),
    ToolFormat(
        name="deepseek_v3",
        models="DeepSeek V3, V3-0324, R1-0528",
        syntax=NamedCall(before_name="<｜tool▁sep｜>", name_ends=("\n",)),
        begins=("<｜tool▁call▁begin｜>",),
        ends=("<｜tool▁call▁end｜>",),
        dropped=("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
        signs=(("<｜tool▁sep｜>", "```json"),),
    ),
    ToolFormat(
        name="deepseek_v31",
        models="DeepSeek V3.1",
        syntax=NamedCall(name_ends=("<｜tool▁sep｜>",)),
        begins=("<｜tool▁call▁begin｜>",),
        ends=("<｜tool▁call▁end｜>",),
        dropped=("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
        signs=(("<｜tool▁sep｜>",),),
    ),
    ToolFormat(
        name="minimax_m2",
        models="MiniMax M2",
        syntax=TaggedCall(
            call_open='<invoke name="',
            name_ends=('">',),
            call_close="</invoke>",
            parameter_open='<parameter name="',
            key_ends=('">',),
            parameter_close="</parameter>",
        ),
        begins=("<minimax:tool_call>",),
        ends=("</minimax:tool_call>",),
        signs=(("<minimax:tool_call>",),),
    ),
    ToolFormat(
        name="seed_oss",
        models="Seed-OSS",
        syntax=TaggedCall(
            call_open="<function=",
            name_ends=(">",),
            call_close="</function>",
            parameter_open="<parameter=",
            key_ends=(">",),
            parameter_close="</parameter>",
        ),
        begins=("<seed:tool_call>",),
        ends=("</seed:tool_call>",),
        signs=(("<seed:tool_call>",),),
    ),
    ToolFormat(
        name="glm45",
        models="GLM-4.5, GLM-4.6",
        syntax=TaggedCall(
            call_open="",
            name_ends=("\n", "<arg_key>", "</tool_call>"),
            call_close="</tool_call>",
            parameter_open="<arg_key>",
            key_ends=("</arg_key>",),
            value_open="<arg_value>",
            parameter_close="</arg_value>",
        ),
        begins=("<tool_call>",),
        ends=("</tool_call>",),
        signs=(("<arg_key>",),),
    ),
    ToolFormat(
        name="step3",
        models="Step-3",
        syntax=TaggedCall(
            call_open='<steptml:invoke name="',
            name_ends=('">',),
            call_close="</steptml:invoke>",
            parameter_open='<steptml:parameter name="',
            key_ends=('">',),
            parameter_close="</steptml:parameter>",
        ),
        begins=("<｜tool_call_begin｜>",),
        ends=("<｜tool_call_end｜>",),
        dropped=("<｜tool_calls_begin｜>", "<｜tool_calls_end｜>", "<｜tool_sep｜>"),
        signs=(("steptml:",),),
    ),
    ToolFormat(
        name="qwen3_coder",
        models="Qwen3-Coder, Nemotron 3",
        syntax=_QWEN_TAGS,
        begins=("<tool_call>", "<function="),  # some models forget the outer tag
        ends=("</tool_call>",),
        signs=(("<tool_call>", "<function="),),
    ),
    ToolFormat(
        name="qwen3_xml",
        models="as qwen3_coder",
        syntax=_QWEN_TAGS,
        begins=("<tool_call>", "<function="),
        ends=("</tool_call>",),
    ),
    ToolFormat(
        name="functiongemma",
        models="FunctionGemma",
        syntax=NamedCall(before_name="call:", name_ends=("{",), quote="<escape>"),
        begins=("<start_function_call>",),
        ends=("<end_function_call>",),
        signs=(("<start_function_call>",),),
    ),
    ToolFormat(
        name="gemma4",
        models="Gemma 4",
        syntax=NamedCall(before_name="call:", name_ends=("{",), quote='<|"|>'),
        begins=("<|tool_call>",),
        ends=("<tool_call|>",),
        signs=(("<|tool_call>", "<tool_call|>"),),
    ),
    ToolFormat(
        name="cohere_command3",
        models="Command A Reasoning",
        syntax=JsonCall(name_keys=("tool_name", "name")),
        begins=("<|START_ACTION|>",),
        ends=("<|END_ACTION|>",),
        dropped=("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        signs=(("<|START_ACTION|>",),),
    ),
    ToolFormat(
        name="mistral",
        models="Mistral 7B v0.3 and later, Nemo, Small, Large, Magistral, Devstral",
        syntax=NamedCall(name_ends=("[ARGS]", "[CALL_ID]", "{"), or_json=True),
        begins=("[TOOL_CALLS]",),
        signs=(("[TOOL_CALLS]",),),
        new_id=short_id,
    ),
    ToolFormat(
        name="internlm",
        models="InternLM 2.5",
        syntax=JsonCall(),
        begins=("<|action_start|><|plugin|>",),
        ends=("<|action_end|>",),
        signs=(("<|plugin|>",),),
    ),
    ToolFormat(
        name="phi4_mini_json",
        models="Phi-4-mini",
        syntax=JsonCall(),
        begins=("functools",),
        signs=(("functools",),),
    ),
    ToolFormat(
        name="olmo3",
        models="Olmo 3",
        syntax=PythonCall(),
        begins=("<function_calls>",),
        ends=("</function_calls>",),
        signs=(("<function_calls>",),),
    ),
    ToolFormat(
        name="llama4_pythonic",
        models="Llama 4",
        syntax=PythonCall(),
        begins=("<|python_start|>",),
        ends=("<|python_end|>",),
        at_start="[",
        signs=(("<|python_start|>",),),
        model_types=("llama4", "llama4_text"),
    ),
    ToolFormat(
        name="llama3_json",
        models="Llama 3.1, 3.2, 3.3",
        syntax=JsonCall(),
        begins=("<|python_tag|>",),
        at_start="{",
        signs=(("<|python_tag|>",), ("Environment: ipython", '"parameters"')),
    ),
    ToolFormat(
        name="granite",
        models="Granite 3.0 to 3.3",
        syntax=JsonCall(),
        begins=("<|tool_call|>", "<tool_call>"),
        at_start="[",
        signs=(("<|tool_call|>", "<|start_of_role|>"),),
    ),
    ToolFormat(
        name="granite4",
        models="Granite 4.0",
        syntax=JsonCall(),
        begins=("<tool_call>",),
        ends=("</tool_call>",),
        signs=(("<tool_call>", "<|start_of_role|>"),),
    ),
    ToolFormat(
        name="ernie45",
        models="ERNIE 4.5 Thinking",
        syntax=JsonCall(),
        begins=("<tool_call>",),
        ends=("</tool_call>",),
        signs=(("<tool_call>",),),
        model_types=("ernie4_5", "ernie4_5_moe"),
    ),
    ToolFormat(
        name="hermes",
        models="Hermes 2 Pro and 3, Qwen2.5, Qwen3, QwQ, and many that follow them",
        syntax=JsonCall(),
        begins=("<tool_call>",),
        ends=("</tool_call>",),
        signs=(("<tool_call>", '"name"'), ("<tool_call>", '\\"name\\"'), ("<tool_call>", "'name'")),
    ),
    ToolFormat(
        name="minimax",
        models="MiniMax M1",
        syntax=JsonCall(),
        begins=("<tool_calls>",),
        ends=("</tool_calls>",),
        signs=(("<tool_calls>",),),
        model_types=("minimax", "minimax_m1"),
    ),
    ToolFormat(
        name="hunyuan_a13b",
        models="Hunyuan A13B",
        syntax=JsonCall(),
        begins=("<tool_calls>",),
        ends=("</tool_calls>",),
        signs=(("<tool_calls>",),),
        model_types=("hunyuan", "hunyuan_v1_moe", "hunyuan_v1_dense"),
    ),
    ToolFormat(
        name="jamba",
        models="Jamba 1.5",
        syntax=JsonCall(),
        begins=("<tool_calls>",),
        ends=("</tool_calls>",),
        signs=(("<tool_calls>",),),
    ),
    ToolFormat(
        name="xlam",
        models="xLAM 1 and 2",
        syntax=JsonCall(),
        begins=("[TOOL_CALLS]", "<tool_call>"),
        ends=("</tool_call>",),
        at_start="[",
    ),
    ToolFormat(
        name="pythonic",
        models="Llama 3.2 (pythonic template), ToolACE",
        syntax=PythonCall(),
        at_start="[",
    ),
)

# what a model writes that is made to call and whose own form no grammar of JSON can hold; it needs no teaching then
GENERIC_CALLS = ToolFormat(name="json", models="any", syntax=JsonCall(), at_start="[")

TOOL_FORMATS: dict[str, ToolFormat] = {one.name: one for one in _FORMATS}
