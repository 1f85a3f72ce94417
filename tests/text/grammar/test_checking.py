"""The process that tries grammars: what hangs, crashes or is refused, and what is remembered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import pytest
from tools.reliability.server import descendants, state

from quire.base.constraints import Grammar, GrammarConfig, StructuredOutputsParams
from quire.base.errors import InvalidValue
from quire.model.checkpoint import BUILTIN_MODEL, locate_model
from quire.text.grammar import GrammarChecker, ask_grammar, forced_format, tool_call_grammar
from quire.text.parsers import TOOL_FORMATS, CallArguments, CallBegin, ReplyParser
from quire.worker.grammar.checker import MAX_CHILDREN
from tests.api.server.scripted_engine import engine_config

ENDLESS = Grammar("outlines", "json_schema", '{"type": "object"}')  # minutes of index


def outlines_checker(timeout_s: float) -> GrammarChecker:
    folder = locate_model(BUILTIN_MODEL, revision=None, download_dir=None)
    config = engine_config(folder)
    card = msgspec.structs.replace(config.card, vocab_size=2048, eos_token_ids=[2037])
    grammar = GrammarConfig(backend="outlines", compile_timeout_s=timeout_s)
    return GrammarChecker(msgspec.structs.replace(config, card=card, grammar=grammar))


def living(pids: list[int]) -> list[int]:
    return [pid for pid in pids if state(pid) not in ("", "Z")]


@pytest.fixture(scope="module")
def checker() -> Iterator[GrammarChecker]:
    made = outlines_checker(1.0)
    yield made
    made.close()


def test_a_compile_that_takes_too_long_is_killed_and_remembered(checker):
    with pytest.raises(InvalidValue, match="takes more than 1 s to compile"):
        checker.check_now(ENDLESS, "structured_outputs")
    started_s = time.monotonic()
    with pytest.raises(InvalidValue, match="takes more than 1 s"):
        checker.check_now(ENDLESS, "structured_outputs")
    assert time.monotonic() - started_s < 0.1


async def test_others_are_checked_meanwhile(checker):
    import asyncio

    endless = [Grammar("outlines", "json_schema", f'{{"type": "object", "title": "{n}"}}') for n in range(4)]
    waiting = [asyncio.create_task(checker.check(one, "structured_outputs")) for one in endless]
    await asyncio.sleep(0.1)
    assert await checker.check(Grammar("guidance", "regex", "a+"), "structured_outputs") >= 0
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, InvalidValue) for outcome in outcomes)


def test_a_process_that_is_gone_is_started_again(checker):
    checker.check_now(Grammar("guidance", "regex", "b+"), "structured_outputs")
    os.kill(checker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, checker.pid, os.WEXITED | os.WNOWAIT)
    checker.check_now(Grammar("guidance", "regex", "c+"), "structured_outputs")


def test_whoever_asked_takes_along_what_is_still_starting():
    """It imports for a second, in which it cannot look whether anybody is there."""
    code = """
import threading
from tests.text.grammar.test_checking import Grammar, outlines_checker
checker = outlines_checker(60.0)
grammar = Grammar("guidance", "regex", "a")
threading.Thread(target=checker.check_now, args=(grammar, "x"), daemon=True).start()
while checker.pid is None:
    pass
print(checker.pid, flush=True)
threading.Event().wait()
"""
    asker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with asker:
        checker_pid = int(asker.stdout.readline())
        time.sleep(0.05)
        asker.kill()
    ended_s = time.monotonic()
    while living([checker_pid]):
        assert time.monotonic() - ended_s < 0.5
        time.sleep(0.005)


@pytest.mark.parametrize("num_grammars", [1, pytest.param(MAX_CHILDREN + 2, marks=pytest.mark.slow)])
def test_whoever_asked_takes_the_whole_family_along(num_grammars):
    """Killed while grammars are compiled, as many as may be at once or more."""
    code = f"""
import threading
from tests.text.grammar.test_checking import Grammar, outlines_checker
checker = outlines_checker(60.0)
checker.check_now(Grammar("guidance", "regex", "a"), "x")
for n in range({num_grammars}):
    grammar = Grammar("outlines", "json_schema", '{{"type": "object", "title": "%d"}}' % n)
    threading.Thread(target=checker.check_now, args=(grammar, "x"), daemon=True).start()
print(checker.pid, flush=True)
threading.Event().wait()
"""
    asker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with asker:
        checker_pid = int(asker.stdout.readline())
        compiling: list[int] = []
        while len(compiling) < min(num_grammars, MAX_CHILDREN):
            time.sleep(0.2)  # whoever tried the grammar of the start has ended by then
            compiling = living(descendants(checker_pid))
        asker.kill()
    deadline_s = time.monotonic() + 2.0
    while living([checker_pid, *compiling]):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.mark.parametrize("text", ["(?=a)b", "(", r"\bfoo"])
def test_a_refusal_says_why(checker, text):
    with pytest.raises(InvalidValue, match=r"structured_outputs cannot be used: .*regex"):
        checker.check_now(Grammar("guidance", "regex", text), "structured_outputs")


@pytest.mark.parametrize("name", TOOL_FORMATS)
@pytest.mark.parametrize("several", [False, True])
def test_forced_calls_compile_and_are_read_back(checker, name, several):
    tools = forced_format(TOOL_FORMATS[name])
    functions = {"look": {"properties": {"at": {"enum": ["sky"]}}, "required": ["at"]}, "wait": None}
    checker.check_now(tool_call_grammar(tools, functions, several=several), "tools")
    keys = tools.json_syntax.name_keys[0], tools.json_syntax.argument_keys[0]
    text = f'{{"{keys[0]}": "look", "{keys[1]}": {{"at": "sky"}}}}'
    begin, end = (tools.begins or ("",))[0], (tools.ends or ("",))[0]
    if end:
        text = f"{begin}\n{text}\n{end}"
    elif tools.at_start != "{":
        text = f"{begin}[{text}]"
    parser = ReplyParser(tools, None, functions=functions)
    events = parser.feed(text) + parser.finish()
    assert [event.name for event in events if isinstance(event, CallBegin)] == ["look"]
    assert "".join(event.text for event in events if isinstance(event, CallArguments)) == '{"at": "sky"}'


def test_objects_are_closed_where_asked_and_only_schemas_are_changed():
    schema = {"properties": {"properties": {"type": "object"}, "x": {"properties": {"y": {}}}}}
    grammar = ask_grammar(
        StructuredOutputsParams(json=schema, disable_additional_properties=True, disable_any_whitespace=True),
        GrammarConfig(),
    )
    assert not grammar.any_whitespace
    assert grammar.text == (
        '{"properties": {"properties": {"type": "object"}, "x": {"properties": {"y": {}}, '
        '"additionalProperties": false}}, "additionalProperties": false}'
    )
