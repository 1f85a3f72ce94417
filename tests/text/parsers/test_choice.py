"""Which formats a chat template shows."""

from __future__ import annotations

import pytest

from quire.base.errors import ConfigError
from quire.text.parsers import REASONING_FORMATS, TOOL_FORMATS, find_parsers, reasoning_format, tool_format
from tests.text.shared_data import FOLDER, needs_shared_data

REAL = {
    "ByteDance-Seed-OSS": ("seed_oss", "seed_oss"),
    "GLM-4.6": ("glm45", "glm45"),
    "HuggingFaceTB-SmolLM3-3B": ("", "qwen3"),
    "Kimi-K2-Instruct": ("kimi_k2", ""),
    "MiniMax-M2": ("minimax_m2", "minimax_m2"),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": ("hermes", ""),
    "Qwen-Qwen2.5-7B-Instruct": ("hermes", ""),
    "Qwen-Qwen3-0.6B": ("hermes", "qwen3"),
    "Qwen3-Coder": ("qwen3_coder", ""),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": ("deepseek_v3", "deepseek_r1"),
    "deepseek-ai-DeepSeek-V3.1": ("deepseek_v31", "deepseek_v3"),
    "ibm-granite-granite-3.3-2B-Instruct": ("granite", "granite"),
    "ibm-granite-granite-4.0": ("granite4", ""),
    "microsoft-Phi-3.5-mini-instruct": ("", ""),
    "mistralai-Mistral-Nemo-Instruct-2407": ("mistral", ""),
    "openai-gpt-oss-120b": ("openai", "openai_gptoss"),
}


@needs_shared_data
@pytest.mark.parametrize("template", sorted(REAL))
def test_real_templates(template):
    source = (FOLDER / "chat_templates" / f"{template}.jinja").read_text("utf-8")
    found = find_parsers({"default": source}, "llama")
    assert (found.tool, found.reasoning) == REAL[template]
    for name, reason in ((found.tool, found.tool_reason), (found.reasoning, found.reasoning_reason)):
        assert reason.startswith("the chat template has" if name else "the chat template shows no")


def test_a_model_type_tells_formats_that_look_alike():
    template = {"default": "{{ '<tool_calls>[' }} <think> <answer>"}
    assert find_parsers(template, "hunyuan_v1_moe").tool == "hunyuan_a13b"
    assert find_parsers(template, "jamba").tool == "jamba"
    found = find_parsers({"default": '<tool_call>{"name": </think>'}, "ernie4_5_moe")
    assert (found.tool, found.reasoning) == ("ernie45", "ernie45")
    assert "of type ernie4_5_moe" in found.tool_reason


def test_any_of_several_templates_may_show_it():
    templates = {"default": "{{ messages }}", "tool_use": '<tool_call>{"name": …}</tool_call>'}
    assert find_parsers(templates, "llama").tool == "hermes"
    assert find_parsers({}, "llama").tool_reason == ""


def test_signs_are_reachable():
    """No format is hidden behind one further up the table with weaker signs."""
    for formats, place in ((TOOL_FORMATS, 0), (REASONING_FORMATS, 1)):
        for one in formats.values():
            for signs in one.signs:
                model_type = one.model_types[0] if one.model_types else "other"
                found = find_parsers({"default": " ".join(signs)}, model_type)
                assert (found.tool, found.reasoning)[place] == one.name


def test_marks_of_a_reasoning_config_add_to_the_format():
    told = reasoning_format("qwen3", start="Hm:", end="Enough.</think>\n\n")
    assert (told.begins, told.ends, told.forced_end) == (("<think>", "Hm:"), ("</think>",), "Enough.</think>")
    assert reasoning_format("qwen3", start="<think>\n").begins == ("<think>",)
    assert reasoning_format("qwen3", start="<th").begins == ("<th",)
    assert reasoning_format("", start="Hm:") is None
    with pytest.raises(ConfigError, match="must close with </think>") as caught:
        reasoning_format("qwen3", end="</think> Well:")
    assert caught.value.setting == "reasoning_config"


def test_names_are_checked():
    assert tool_format("none") is None
    assert reasoning_format("") is None
    with pytest.raises(ConfigError, match=r"--tool-call-parser 'hermse' is not known; known are .*hermes"):
        tool_format("hermse")
    with pytest.raises(ConfigError, match="--reasoning-parser 'r1' is not known"):
        reasoning_format("r1")
