"""The corpus: the same for a seed, right by recomputation, and never showing what is held out."""

import json
import random
import re

import pytest
from corpus import DRAWS, draw_exchange, draw_scene
from probes import heldout_lines
from score import HELDOUT
from tasks.exchange import draw_for, split_of
from tasks.odd import draw_notable, draw_odd_echo
from tasks.stories import HEROES, tell

from quire.api.bench.tasks import read_tasks

TASKS = [*DRAWS, "recall", "tools"]


def is_right_sum(text):
    """Whether "a + b = c" or "a - b = c" holds and c is not negative."""
    problem, value = text.split(" = ")
    left, sign, right = problem.split()
    return int(value) == (int(left) + int(right) if sign == "+" else int(left) - int(right)) >= 0


def exchanges(seed, task, count, split="train"):
    rng = random.Random(seed)
    drawn = []
    for _ in range(count):
        scene = draw_scene(rng, split, num_tools=3 if task == "tools" else 0)
        drawn.append(draw_exchange(rng, split, scene, task))
    return drawn


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_gives_the_same_exchanges(task):
    assert exchanges(3, task, 20) == exchanges(3, task, 20)
    assert exchanges(3, task, 20) != exchanges(4, task, 20)


@pytest.mark.parametrize("task", TASKS)
def test_training_never_draws_held_out_content(task):
    for drawn in exchanges(5, task, 200):
        assert drawn.belongs_to("train")


def test_no_held_out_question_is_asked_in_training():
    heldout = {(p["task"], p["messages"][-1]["content"]) for p in read_tasks(HELDOUT) if not p["thinking"]}
    for task in ("arithmetic", "facts", "echo", "reverse", "sort", "count", "extraction"):
        asked = {(task, drawn.messages[0]["content"]) for drawn in exchanges(6, task, 1500)}
        assert not asked & heldout


def test_arithmetic_is_right_and_its_thought_leads_to_the_answer():
    for drawn in exchanges(7, "arithmetic", 300):
        value = drawn.messages[1]["content"].split(" = ")[1]
        assert is_right_sum(drawn.messages[1]["content"])
        digits = re.findall(r"write (\d)", drawn.thought)
        carried = re.findall(r"carry (\d)", drawn.thought)[-1:]
        assert int("".join([*carried, *reversed(digits)])) == int(value)


def test_list_answers_are_the_operations_named():
    operations = {
        "echo": lambda items: items,
        "reverse": lambda items: items[::-1],
        "sort": lambda items: sorted(items, key=lambda item: (int(item) if item.isdigit() else 0, item)),
    }
    for task, operation in operations.items():
        for drawn in exchanges(8, task, 200):
            items = drawn.key.split()[1:]
            assert re.split(r",? ", drawn.messages[1]["content"]) == operation(items)
    for drawn in exchanges(8, "count", 200):
        assert drawn.messages[1]["content"] == str(len(drawn.key.split()) - 1)


def test_practice_outside_the_pools_is_right_too():
    rng = random.Random(13)
    for _ in range(200):
        assert is_right_sum(draw_notable(rng).messages[1]["content"])
        question, answer = (message["content"] for message in draw_odd_echo(rng).messages)
        assert question.endswith(": " + answer)


def test_extraction_answers_are_json_with_values_from_the_text():
    for drawn in exchanges(9, "extraction", 200):
        question, answer = (message["content"] for message in drawn.messages)
        for field, value in json.loads(answer).items():
            assert field in question
            assert str(value) in question


def test_recall_answers_only_what_was_told():
    rng = random.Random(10)
    for _ in range(100):
        scene = draw_scene(rng, "train")
        for _ in range(6):
            drawn = draw_exchange(rng, "train", scene, "recall")
            answer = drawn.messages[1]["content"]
            told = [value for kind, value in scene.person.facts.items() if kind in scene.person.told]
            assert drawn.task == "tell" or "do not know" in answer or any(value in answer for value in told)


def test_a_tool_call_names_an_offered_tool_and_its_parameters():
    rng = random.Random(11)
    for _ in range(100):
        scene = draw_scene(rng, "train", num_tools=2)
        offered = {
            tool["function"]["name"]: tool["function"]["parameters"]["properties"] for tool in scene.tools
        }
        for call in draw_exchange(rng, "train", scene, "tools").messages[1]["tool_calls"]:
            assert set(call["function"]["arguments"]) <= set(offered[call["function"]["name"]])


def test_stories_have_the_promised_length_and_variety():
    rng = random.Random(12)
    stories = {tell(rng, rng.choice(HEROES)) for _ in range(200)}
    assert len(stories) == 200
    assert all(90 <= len(story.split()) <= 220 for story in stories)


def test_the_splits_are_a_fiftieth_each():
    splits = [split_of(f"key {number}") for number in range(20_000)]
    assert splits.count("heldout") == pytest.approx(400, rel=0.2)
    assert splits.count("validation") == pytest.approx(400, rel=0.2)


def test_a_task_without_held_out_content_says_so():
    with pytest.raises(LookupError, match="draw_small_talk"):
        draw_for("heldout", DRAWS["small_talk"], random.Random(0))


def test_the_held_out_file_is_what_its_script_writes():
    assert HELDOUT.read_text().splitlines() == heldout_lines()
