"""Probes: questions with one exact answer, drawn from the validation or the held-out split.

    python tools/builtin_model/probes.py tests/golden/builtin/heldout.jsonl

writes the held-out file. It is fixed: scores of later work are compared on it, so it is not written again.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chat_format import THINK_REQUEST, Segment, answer_text, message_segments, system_segments, thinking_text
from corpus import THINK_SUFFIXES, Scene, draw_exchange, draw_scene
from tasks.exchange import Exchange, Message, Split
from tasks.recall import ASK, draw_ask, draw_tell
from tasks.stories import HEROES, REQUESTS

TASKS = (
    "arithmetic", "facts", "echo", "reverse", "sort", "count", "recall", "extraction", "tool_call", "tool_answer",
    "thinking",
)  # fmt: skip
THINKING_TASKS = ("arithmetic", "arithmetic", "reverse", "sort", "count")
NUM_HELDOUT = 80
HELDOUT_SEED = 20261121


@dataclass
class Probe:
    """One question: everything a chat request holds, and the answer that counts as right.

    `thinking` says whether the answer must reason; `enable_thinking` whether the template is to ask for it
    (otherwise the question does).
    """

    id: str
    task: str
    messages: list[Message]
    tools: list[dict[str, Any]]
    thinking: bool
    enable_thinking: bool
    expected: dict[str, Any]
    thought: str | None = None

    def segments(self) -> list[Segment]:
        """The probe as a conversation with its right answer, only that answer marked as learned."""
        system = [message["content"] for message in self.messages if message["role"] == "system"]
        rest = [dict(message) for message in self.messages if message["role"] != "system"]
        if self.enable_thinking:
            rest[-1]["content"] += THINK_REQUEST
        before = [
            (text, False)
            for text, _ in system_segments(system[0] if system else None, self.tools) + message_segments(rest)
        ]
        answer = self.expected.get("content") or answer_text(
            {"content": "", "tool_calls": [{"function": call} for call in self.expected["tool_calls"]]}
        )
        text = thinking_text(self.thought, answer) if self.thought else answer
        return [*before, ("<|im_start|>assistant\n", False), (text + "<|im_end|>", True)]


def probe_of(name: str, task: str, scene: Scene, before: list[Message], last: Exchange) -> Probe:
    """The probe that ends with the question of `last` (its result for `tool_answer`)."""
    place = 1 if task == "tool_call" else len(last.messages) - 1
    question, answer = last.messages[:place], last.messages[place]
    system: list[Message] = [{"role": "system", "content": scene.system}] if scene.system is not None else []
    calls = [call["function"] for call in answer.get("tool_calls", [])]
    expected = {"tool_calls": calls} if calls else {"content": answer["content"]}
    return Probe(name, task, [*system, *before, *question], scene.tools, False, False, expected)


def draw_probe(rng: random.Random, split: Split, task: str, name: str) -> Probe:
    """One probe of a task."""
    if task == "recall":
        return draw_recall_probe(rng, split, name)
    if task.startswith("tool_"):
        return draw_tool_probe(rng, split, task, name)
    scene = draw_scene(rng, split)
    if task != "thinking":
        return probe_of(name, task, scene, [], draw_exchange(rng, split, scene, task))
    last = draw_exchange(rng, split, scene, rng.choice(THINKING_TASKS))
    probe = probe_of(name, task, scene, [], last)
    probe.thinking, probe.thought = True, last.thought
    probe.enable_thinking = rng.random() < 0.5
    if not probe.enable_thinking:
        question = dict(probe.messages[-1])
        question["content"] = question["content"].rstrip(".?") + "." + rng.choice(THINK_SUFFIXES)
        probe.messages[-1] = question
    return probe


def draw_tool_probe(rng: random.Random, split: Split, task: str, name: str) -> Probe:
    """A question that calls for a tool, or its result; offers without content for the split are drawn again."""
    while True:
        scene = draw_scene(rng, split, num_tools=rng.randint(1, 3))
        try:
            return probe_of(name, task, scene, [], draw_exchange(rng, split, scene, "tools"))
        except LookupError:
            continue


def draw_recall_probe(rng: random.Random, split: Split, name: str) -> Probe:
    """Someone tells one to three things, talks of others, and asks for one of them."""
    scene = draw_scene(rng, split)
    kinds = rng.sample(sorted(ASK), rng.randint(1, 3))
    before: list[Message] = []
    for kind in kinds:
        before += draw_tell(rng, scene.person, kind).messages
        for _ in range(rng.randint(0, 2)):
            before += draw_exchange(
                rng, split, scene, rng.choice(("arithmetic", "facts", "echo", "sort"))
            ).messages
    return probe_of(name, "recall", scene, before, draw_ask(rng, scene.person, rng.choice(kinds)))


def draw_probes(seed: int, split: Split, count: int) -> list[Probe]:
    """`count` probes of each task."""
    rng = random.Random(seed)
    return [draw_probe(rng, split, task, f"{task}-{number:03d}") for task in TASKS for number in range(count)]


def wire_function(function: dict[str, Any]) -> dict[str, Any]:
    """A called function with its arguments as JSON text."""
    return function | {"arguments": json.dumps(function["arguments"])}


def on_the_wire(messages: list[Message]) -> list[Message]:
    """Messages as an OpenAI request holds them: tool calls with ids and arguments as JSON text."""
    wire: list[Message] = []
    open_ids: list[str] = []
    for place, message in enumerate(messages):
        message = dict(message)
        if "tool_calls" in message:
            open_ids = [f"call_{place}_{number}" for number in range(len(message["tool_calls"]))]
            message["tool_calls"] = [
                {"id": name, "type": "function", "function": wire_function(call["function"])}
                for name, call in zip(open_ids, message["tool_calls"], strict=True)
            ]
            message["content"] = None
        elif message["role"] == "tool":
            del message["name"]
            message["tool_call_id"] = open_ids.pop(0)
        wire.append(message)
    return wire


def heldout_lines() -> list[str]:
    """The held-out file: probes of every task, and a story about every hero."""
    probes = draw_probes(HELDOUT_SEED, "heldout", NUM_HELDOUT)
    rng = random.Random(HELDOUT_SEED)
    for number, hero in enumerate(HEROES):
        message = {"role": "user", "content": rng.choice(REQUESTS).format(h=hero)}
        probes.append(Probe(f"stories-{number:03d}", "stories", [message], [], False, False, {"story": hero}))
    lines = []
    for probe in probes:
        fields = asdict(probe) | {"messages": on_the_wire(probe.messages)}
        del fields["thought"]
        lines.append(json.dumps(fields))
    return lines


if __name__ == "__main__":
    lines = heldout_lines()
    Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True)
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")
    print(f"{len(lines)} probes written to {sys.argv[1]}")
