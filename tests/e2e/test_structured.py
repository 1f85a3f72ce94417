"""Replies held to a grammar, through the whole server, as OpenAI's own client asks for them."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import jsonschema
import openai
import pydantic
import pytest

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["new", "old"]}, "maxItems": 2},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"enum": ["Köln", "Rome"]},
                "days": {"type": "integer", "maximum": 9, "minimum": 1},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
PHONE = {
    "type": "function",
    "function": {"name": "get_phone", "parameters": {"type": "object", "properties": {}}},
}
PHONE["function"]["parameters"]["additionalProperties"] = False
ANSWER = "41 - 33 = [0-9]{1,3}"
HELLO = [{"role": "user", "content": "Tell me about Mia."}]
HOSTILE = "(" * 6 + "a{1,200}" + "){1,200}" * 6  # more states than any compiler has time for


@pytest.fixture
def client(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, **fields):
    fields = {"messages": HELLO, "temperature": 1.0, "seed": 7, "max_tokens": 200, **fields}
    return client.chat.completions.create(model="quire-folio", **fields)


def structured(client: openai.OpenAI, asked: dict, **fields) -> str:
    return ask(client, extra_body={"structured_outputs": asked}, **fields).choices[0].message.content


def checkers(server) -> list[int]:
    """Processes that check grammars. A thread of the server started them, not its main one."""
    lists = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    pids = [int(pid) for one in lists for pid in one.read_text().split()]
    return [pid for pid in pids if "grammar" in Path(f"/proc/{pid}/cmdline").read_text()]


def test_a_schema_is_met_whole_and_streamed(client):
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    whole = ask(client, response_format=wanted).choices[0]
    assert whole.finish_reason == "stop"
    jsonschema.validate(json.loads(whole.message.content), SCHEMA)
    chunks = ask(client, response_format=wanted, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.message.content


def test_who_thinks_unasked_still_answers_in_the_schema(client):
    """The built-in model wants to end after its thoughts here; the thoughts end instead, and the answer comes."""
    schema = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    question = [{"role": "user", "content": "What is 41-33?"}]
    choice = ask(client, messages=question, response_format=wanted, temperature=0, max_tokens=100).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.reasoning
    jsonschema.validate(json.loads(choice.message.content), schema)


def test_parse_returns_the_model(client):
    class Person(pydantic.BaseModel):
        name: Literal["Mia", "Tom"]
        age: int = pydantic.Field(ge=0, le=150)

    reply = client.chat.completions.parse(
        model="quire-folio", messages=HELLO, response_format=Person, max_tokens=100, temperature=0
    )
    person = reply.choices[0].message.parsed
    assert isinstance(person, Person)


@pytest.mark.parametrize(
    ("asked", "pattern"),
    [
        ({"choice": ["red", "green"]}, "red|green"),
        ({"regex": "[0-9]{4}-[0-9]{2}"}, "[0-9]{4}-[0-9]{2}"),
        ({"grammar": 'root ::= "yes" | "no" " way"+'}, "yes|no( way)+"),
        ({"grammar": 'start: "yes" | "no"'}, "yes|no"),
        ({"json": {"enum": [1, "two"]}}, '1|"two"'),
    ],
)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_kind_is_met(client, asked, pattern, temperature):
    assert re.fullmatch(pattern, structured(client, asked, temperature=temperature, max_tokens=30))


def test_completions_and_samples(client):
    reply = client.completions.create(
        model="quire-folio", prompt=["One", "Two"], n=3, temperature=1.0, logprobs=2,
        extra_body={"structured_outputs": {"choice": ["alpha", "beta"]}},
    )  # fmt: skip
    assert len(reply.choices) == 6
    assert {choice.text for choice in reply.choices} <= {"alpha", "beta"}
    assert all(choice.finish_reason == "stop" and choice.logprobs for choice in reply.choices)


def test_a_stop_string_still_ends_a_reply(client):
    reply = ask(client, extra_body={"structured_outputs": {"regex": "a{3}bc{9}"}}, stop=["b"]).choices[0]
    assert (reply.message.content, reply.stop_reason) == ("aaa", "b")


def test_structural_tags(client):
    content = {"type": "regex", "pattern": "[0-9]{3}/x"}
    tag = {
        "type": "structural_tag",
        "format": {"type": "tag", "begin": "<id>", "content": content, "end": "</id>"},
    }
    assert re.fullmatch("<id>[0-9]{3}/x</id>", ask(client, response_format=tag).choices[0].message.content)


def test_reasoning_comes_before_the_grammar(client):
    thinking = {"chat_template_kwargs": {"enable_thinking": True}, "structured_outputs": {"regex": ANSWER}}
    messages = [{"role": "user", "content": "What is 41-33?"}]
    message = (
        ask(client, messages=messages, temperature=0, max_tokens=300, extra_body=thinking).choices[0].message
    )
    assert message.content == "41 - 33 = 8"
    assert "write 8" in message.reasoning


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_required_tool_is_called(client, parallel, temperature):
    (choice,) = ask(
        client, tools=[WEATHER, PHONE], tool_choice="required", parallel_tool_calls=parallel,
        temperature=temperature, max_tokens=400,
    ).choices  # fmt: skip
    assert choice.message.content is None
    assert choice.finish_reason in ("tool_calls", "length")
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in (WEATHER, PHONE)}
    calls = choice.message.tool_calls
    assert len(calls) == 1 or (parallel and len(calls) > 1)
    if choice.finish_reason == "tool_calls":
        for call in calls:
            jsonschema.validate(json.loads(call.function.arguments), schemas[call.function.name])


def test_a_named_tool_is_called_and_streamed_alike(client):
    choice = {"type": "function", "function": {"name": "get_weather"}}
    (whole,) = ask(client, tools=[PHONE, WEATHER], tool_choice=choice).choices[0].message.tool_calls
    assert whole.function.name == "get_weather"
    jsonschema.validate(json.loads(whole.function.arguments), WEATHER["function"]["parameters"])
    pieces = []
    for chunk in ask(client, tools=[PHONE, WEATHER], tool_choice=choice, stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            pieces.append(call.function.arguments or "")
    assert "".join(pieces) == whole.function.arguments


def test_hostile_grammars_are_refused_and_harm_nobody(server, client):
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        hostile = [threads.submit(structured, client, {"regex": HOSTILE + str(n)}) for n in range(8)]
        time.sleep(0.2)
        started_s = time.monotonic()
        assert structured(client, {"choice": ["left", "right"]}) in ("left", "right")
        took_s = time.monotonic() - started_s
        for future in hostile:  # some are followed for a while before they become too much
            error = future.exception(30)
            assert error is None or isinstance(error, openai.BadRequestError)
    assert took_s < 5
    assert len(checkers(server)) == 1


def test_a_checker_that_is_gone_is_started_again(server, client):
    assert structured(client, {"choice": ["one"]}) == "one"
    (checker,) = checkers(server)
    os.kill(checker, signal.SIGKILL)
    time.sleep(0.1)
    assert structured(client, {"choice": ["three"]}) == "three"


@pytest.mark.parametrize(
    "fields",
    [
        {"allowed_token_ids": [3], "stop_token_ids": [3], "min_tokens": 1},
        {"allowed_token_ids": [5], "structured_outputs": {"choice": ["red", "blue"]}},
    ],
    ids=["may not stop with its only token", "a grammar without the only token"],
)
def test_fields_that_leave_nothing_to_choose_are_the_callers_error(client, fields):
    with pytest.raises(openai.BadRequestError, match="leave no token to choose"):
        client.completions.create(model="quire-folio", prompt="hello", max_tokens=3, extra_body=fields)
