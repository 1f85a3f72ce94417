"""Every way of marking reasoning, by vLLM's name. Automatic choice takes the first whose signs a template shows."""

from __future__ import annotations

from quire.text.parsers.formats import ReasoningFormat

_THINK, _END_THINK = ("<think>",), ("</think>",)

_FORMATS = (
    ReasoningFormat(
        name="openai_gptoss",
        models="gpt-oss",
        begins=("<|channel|>analysis<|message|>",),  # read by harmony.py
        ends=("<|end|>",),
        signs=(("<|channel|>", "<|message|>"),),
    ),
    ReasoningFormat(
        name="gemma4",
        models="Gemma 4",
        begins=("<|channel>",),
        ends=("<channel|>",),
        also_ends=("<|tool_call>",),
        label="thought\n",
        anywhere=True,
        signs=(("<|channel>", "<channel|>"),),
    ),
    ReasoningFormat(
        name="mistral",
        models="Magistral",
        begins=("[THINK]",),
        ends=("[/THINK]",),
        signs=(("[THINK]",),),
    ),
    ReasoningFormat(
        name="cohere_command3",
        models="Command A Reasoning",
        begins=("<|START_THINKING|>",),
        ends=("<|END_THINKING|>",),
        dropped=("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        signs=(("<|START_THINKING|>",),),
    ),
    ReasoningFormat(
        name="seed_oss",
        models="Seed-OSS",
        begins=("<seed:think>",),
        ends=("</seed:think>",),
        signs=(("<seed:think>",),),
    ),
    ReasoningFormat(
        name="granite",
        models="Granite 3.2, 3.3",
        begins=("Here is my thought process:", "Here's my thought process:", "<think>"),
        ends=("Here is my response:", "Here's my response:", "</think>"),
        dropped=("<response>", "</response>"),
        signs=(("thought process", "<|start_of_role|>"),),
    ),
    ReasoningFormat(
        name="hunyuan_a13b",
        models="Hunyuan A13B",
        begins=_THINK,
        ends=_END_THINK,
        dropped=("<answer>", "</answer>"),
        signs=(("<think>", "<answer>"),),
    ),
    ReasoningFormat(
        name="minimax_m2",
        models="MiniMax M2",
        begins=_THINK,
        ends=_END_THINK,
        starts_inside=True,
        signs=(("<minimax:tool_call>",),),
    ),
    ReasoningFormat(
        name="kimi_k2",
        models="Kimi K2 Thinking",
        begins=_THINK,
        ends=_END_THINK,
        also_ends=("<|tool_calls_section_begin|>",),
        starts_inside=True,
        signs=(("<think>", "<|im_middle|>"),),
    ),
    ReasoningFormat(
        name="glm45",
        models="GLM-4.5, GLM-4.6",
        begins=_THINK,
        ends=_END_THINK,
        signs=(("</think>", "[gMASK]"),),
    ),
    ReasoningFormat(
        name="deepseek_v3",
        models="DeepSeek V3.1, V3.2",
        begins=_THINK,
        ends=_END_THINK,
        signs=(("</think>", "<｜Assistant｜>", "not thinking"), ("</think>", "｜DSML｜")),
    ),
    ReasoningFormat(
        name="deepseek_r1",
        models="DeepSeek R1 and its distillations, QwQ",
        begins=_THINK,
        ends=_END_THINK,
        starts_inside=True,
        signs=(("</think>", "<｜Assistant｜>"),),
    ),
    ReasoningFormat(
        name="ernie45",
        models="ERNIE 4.5 Thinking",
        begins=_THINK,
        ends=_END_THINK,
        starts_inside=True,
        dropped=("<response>", "</response>"),
        signs=(("</think>",),),
        model_types=("ernie4_5", "ernie4_5_moe"),
    ),
    ReasoningFormat(
        name="step3",
        models="Step-3",
        begins=_THINK,
        ends=_END_THINK,
        starts_inside=True,
        signs=(("</think>", "steptml:"),),
    ),
    ReasoningFormat(
        name="nemotron_v3",
        models="Nemotron 3",
        begins=_THINK,
        ends=_END_THINK,
        starts_inside=True,
        signs=(("</think>",),),
        model_types=("nemotron_h",),
    ),
    ReasoningFormat(
        name="olmo3",
        models="Olmo 3 Think",
        begins=_THINK,
        ends=_END_THINK,
        signs=(("<think>",),),
        model_types=("olmo3",),
    ),
    ReasoningFormat(
        name="qwen3",
        models="Qwen3, SmolLM3, and others that write <think> themselves",
        begins=_THINK,
        ends=_END_THINK,
        signs=(("</think>",),),
    ),
)

REASONING_FORMATS: dict[str, ReasoningFormat] = {one.name: one for one in _FORMATS}
