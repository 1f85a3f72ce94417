"""The chat template renders exactly the text that training reads."""

import json
from pathlib import Path

import jinja2.sandbox
import pytest
from chat_format import MARKER_TOKENS, SPECIAL_TOKENS
from corpus import WEIGHTS
from probes import Probe, draw_probes, on_the_wire
from rows import RowMaker
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "src/quire/assets/folio"


@pytest.fixture(scope="module")
def template():
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    environment.filters["tojson"] = json.dumps
    return environment.from_string((ROOT / "tools/builtin_model/chat_template.jinja").read_text())


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def rendered(template, messages, **keywords):
    return template.render(
        **{"messages": messages, "tools": None, "add_generation_prompt": True, "enable_thinking": False}
        | keywords
    )


def prompt_of(probe: Probe) -> str:
    return "".join(text for text, _ in probe.segments()[:-1])


@pytest.mark.parametrize("wire", [False, True], ids=["arguments as objects", "arguments as text"])
def test_the_template_renders_what_training_reads(template, wire):
    for probe in draw_probes(1, "validation", 10):
        messages = on_the_wire(probe.messages) if wire else probe.messages
        text = rendered(template, messages, tools=probe.tools, enable_thinking=probe.enable_thinking)
        assert text == prompt_of(probe)


def test_the_shipped_template_and_tokens_are_the_ones_here(tokenizer):
    source = (ROOT / "tools/builtin_model/chat_template.jinja").read_text()
    assert (FOLDER / "chat_template.jinja").read_text() == source
    for token in (*SPECIAL_TOKENS, *MARKER_TOKENS):
        assert len(tokenizer.encode(token).ids) == 1


def test_earlier_reasoning_is_left_out_and_parts_are_joined(template):
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Say: "}, {"type": "text", "text": "sun"}]},
        {
            "role": "assistant",
            "content": "<think>\nI say the same again.\n</think>\n\nsun",
            "tool_calls": None,
        },
        {"role": "user", "content": "Say: moon"},
    ]
    assert rendered(template, messages, enable_thinking=True) == (
        "<|im_start|>user\nSay: sun<|im_end|>\n<|im_start|>assistant\nsun<|im_end|>\n"
        "<|im_start|>user\nSay: moon /think<|im_end|>\n<|im_start|>assistant\n"
    )


def test_segments_tokenise_as_the_whole_text_does(tokenizer):
    for probe in draw_probes(2, "validation", 5):
        parts = [number for text, _ in probe.segments() for number in tokenizer.encode(text).ids]
        assert parts == tokenizer.encode("".join(text for text, _ in probe.segments())).ids


def test_every_digit_is_one_token(tokenizer):
    assert len(tokenizer.encode("1234567890").ids) == 10


def test_rows_are_full_and_learn_only_what_the_assistant_says(tokenizer):
    maker = RowMaker(tokenizer, seed=3, weights=WEIGHTS)
    maker.row_weights = {"plain": 1, "tools": 1, "think": 1}
    for length in (160, 320):
        for _ in range(30):
            ids, learned = maker.row(length)
            assert len(ids) == len(learned) == length + 1
            read = tokenizer.decode(ids[~learned].tolist(), skip_special_tokens=False)
            said = tokenizer.decode(ids[learned].tolist(), skip_special_tokens=False)
            assert said.count("<|im_start|>") == 0
            assert read.count("<|im_end|>") <= read.count("<|im_start|>")
            assert ids[0] == tokenizer.token_to_id("<|im_start|>")


def test_rows_of_sums_learn_only_the_results(tokenizer):
    maker = RowMaker(tokenizer, seed=4, weights=WEIGHTS)
    maker.row_weights = {"sums": 1}
    ids, learned = maker.row(160)
    lines = tokenizer.decode(ids.tolist()).split("\n")[:-1]
    results = tokenizer.decode(ids[learned].tolist()).split("\n")
    assert len(lines) >= 10
    assert results[: len(lines)] == [line.split("= ")[1] for line in lines]
