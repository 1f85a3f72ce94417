"""The union of inputs."""

from __future__ import annotations

import pytest

from quire.api.serverless.batching import BatchGrowth
from quire.api.serverless.failures import JobError
from quire.api.serverless.job_input import CHAT_ROUTE, MISSING_INPUT, TEXT_ROUTE, Call, read_input
from quire.api.serverless.worker_settings import Compat, WorkerSettings

AUTO = WorkerSettings()
MESSAGES = [{"role": "user", "content": "Hi"}]


def test_openai_input_comes_first_and_goes_to_chat_unless_told():
    body = {"messages": MESSAGES}
    fields = {"openai_input": body, "prompt": "x", "route": "/v1/models"}
    assert read_input(fields, AUTO) == Call("POST", CHAT_ROUTE, body, is_openai=True)
    fields["openai_route"] = TEXT_ROUTE
    assert read_input(fields, AUTO).route == TEXT_ROUTE


@pytest.mark.parametrize("body", [None, {}])
def test_openai_route_alone_is_a_get(body):
    call = read_input({"openai_route": "/v1/models", "openai_input": body, "prompt": "x"}, AUTO)
    assert call == Call("GET", "/v1/models", None, is_openai=True)


def test_route_takes_body_and_method():
    assert read_input({"route": "/health", "messages": MESSAGES}, AUTO) == Call("GET", "/health", None)
    assert read_input({"route": "/tokenize", "body": {"prompt": "x"}}, AUTO).method == "POST"
    assert read_input({"route": "/v1/responses/1", "method": "delete"}, AUTO).method == "DELETE"


def test_messages_win_over_prompt():
    call = read_input({"messages": MESSAGES, "prompt": "x"}, AUTO)
    assert call == Call("POST", CHAT_ROUTE, {"max_tokens": 16, "messages": MESSAGES}, native=BatchGrowth())


def test_a_prompt_is_raw_text_unless_the_chat_template_is_asked_for():
    assert read_input({"prompt": "x"}, AUTO) == Call(
        "POST", TEXT_ROUTE, {"max_tokens": 16, "prompt": "x"}, native=BatchGrowth()
    )
    call = read_input({"prompt": "x", "apply_chat_template": True}, AUTO)
    assert call.route == CHAT_ROUTE
    assert call.body == {"max_tokens": 16, "messages": [{"role": "user", "content": "x"}]}


def test_a_native_stream_asks_for_one_output_for_each_token():
    call = read_input({"prompt": "x", "stream": True, "max_batch_size": 4}, AUTO)
    assert call.is_stream
    assert call.body["return_token_ids"] is True
    assert call.native == BatchGrowth(most=4)


@pytest.mark.parametrize(
    ("compat", "max_tokens"), [(Compat.AUTO, 16), (Compat.V1, 16), (Compat.V2, 100), (Compat.V3, None)]
)
def test_the_default_of_max_tokens_is_the_generations(compat, max_tokens):
    call = read_input({"prompt": "x"}, WorkerSettings(compat=compat))
    assert call.body.get("max_tokens") == max_tokens
    assert (call.native is None) == (compat is Compat.V3)


def test_sampling_parameters_become_fields():
    sampling = {"temperature": 0.5, "n": 2, "best_of": 2, "logprobs": 3, "stop": None, "max_tokens": 5}
    text = read_input({"prompt": "x", "sampling_params": sampling}, AUTO)
    assert text.body == {"temperature": 0.5, "n": 2, "logprobs": 3, "max_tokens": 5, "prompt": "x"}
    assert text.num_choices == 2
    chat = read_input({"messages": MESSAGES, "sampling_params": sampling}, AUTO)
    assert (chat.body["logprobs"], chat.body["top_logprobs"]) == (True, 3)


def test_use_openai_format_was_never_read():
    assert read_input({"prompt": "x", "use_openai_format": True}, AUTO).native is not None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, MISSING_INPUT),
        ({"messages": []}, MISSING_INPUT),
        (None, MISSING_INPUT),
        ([1], MISSING_INPUT),
        ({"openai_input": "x"}, "openai_input must be an object"),
        ({"openai_route": "/pause"}, "Invalid route"),
        ({"route": "@evil.example/x"}, "Invalid route"),
        ({"prompt": "x", "max_tokens": 5}, "sampling_params"),
        ({"prompt": "x", "max_batchsize": 5}, "did you mean max_batch_size"),
        ({"prompt": ["x", "y"]}, "prompt must be text"),
        ({"prompt": "x", "sampling_params": [1]}, "sampling_params must be an object"),
        ({"prompt": "x", "sampling_params": {"prompt": "y"}}, "prompt does not belong"),
        ({"prompt": "x", "stream": "yes"}, "stream must be true or false"),
        ({"prompt": "x", "stream": True, "min_batch_size": "a"}, "min_batch_size"),
    ],
)
def test_what_is_wrong_is_said(fields, words):
    with pytest.raises(JobError) as caught:
        read_input(fields, AUTO)
    assert words in caught.value.message
