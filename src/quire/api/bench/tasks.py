"""Scoring answers to questions with known answers: one JSON object per line, as the built-in model's held-out set."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from quire.base.errors import ConfigError

STORY_WORDS = range(70, 260)
TOOL_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
THINK = re.compile(r"\A\s*<think>(.*?)</think>\s*", re.DOTALL)

Probe = dict[str, Any]
Answer = str | Mapping[str, Any]


def read_tasks(path: Path) -> list[Probe]:
    """All questions, in order. Raises ConfigError naming the line that is none."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"--tasks: {path} cannot be read ({problem})") from None
    tasks = []
    for number, line in enumerate(lines, 1):
        try:
            probe: Probe = json.loads(line)
            missing = {
                "id",
                "task",
                "messages",
                "tools",
                "thinking",
                "enable_thinking",
                "expected",
            } - probe.keys()
        except (ValueError, AttributeError) as problem:
            raise ConfigError(f"--tasks: {path}, line {number} is no JSON object ({problem})") from None
        if missing:
            raise ConfigError(f"--tasks: {path}, line {number} lacks {', '.join(sorted(missing))}")
        tasks.append(probe)
    if not tasks:
        raise ConfigError(f"--tasks: {path} holds no questions")
    return tasks


def parsed(answer: Answer) -> tuple[str, str, list[dict[str, Any]]]:
    """Reasoning, content and tool calls of an answer, whether a server took it apart or it is raw text."""
    message: Mapping[str, Any] = {"content": answer} if isinstance(answer, str) else answer
    content = message.get("content") or ""
    reasoning = message.get("reasoning") or message.get("reasoning_content") or ""
    thought = THINK.match(content)
    if thought:
        reasoning, content = thought.group(1), content[thought.end() :]
    calls = [call.get("function", call) for call in message.get("tool_calls") or []]
    for text in TOOL_CALL.findall(content):
        try:
            calls.append(json.loads(text))
        except json.JSONDecodeError:
            calls.append({"name": text, "arguments": None})
    return reasoning.strip(), TOOL_CALL.sub("", content).strip(), [plain_call(call) for call in calls]


def plain_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Name and arguments of a call, the arguments as a JSON value."""
    arguments = call.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError:
            arguments = None
    return {"name": call.get("name"), "arguments": arguments}


def is_right(probe: Probe, answer: Answer) -> bool:
    """Exact text, equal JSON or equal calls; reasoning exactly where it was asked for."""
    reasoning, content, calls = parsed(answer)
    expected = probe["expected"]
    if bool(reasoning) != probe["thinking"]:
        return False
    if "tool_calls" in expected:
        return calls == [plain_call(call) for call in expected["tool_calls"]]
    if "story" in expected:
        return is_story(content, expected["story"]) and not calls
    return content == expected["content"] and not calls


def is_story(text: str, hero: str) -> bool:
    """Long enough, not endless, about the hero, and ended as a story ends."""
    return len(text.split()) in STORY_WORDS and hero in text and text[-1] in '.!"'


def score_answers(heldout: Iterable[Probe], answers: Mapping[str, Answer]) -> dict[str, dict[str, Any]]:
    """Per task: right, total, accuracy and the ids that were wrong. Every question needs an answer under its id."""
    scores: dict[str, dict[str, Any]] = {}
    for probe in heldout:
        score = scores.setdefault(probe["task"], {"right": 0, "total": 0, "accuracy": 0.0, "wrong": []})
        score["total"] += 1
        if is_right(probe, answers[probe["id"]]):
            score["right"] += 1
        else:
            score["wrong"].append(probe["id"])
        score["accuracy"] = score["right"] / score["total"]
    return scores
