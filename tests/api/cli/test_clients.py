"""`quire chat` and `quire complete` against a server that streams."""

from __future__ import annotations

import io
import socket

import pytest

from quire.api.cli import main
from quire.api.cli.client import ServerProblem, read_events


def delta(text: str) -> dict:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}}


def test_quick_chat_prints_the_answer(recorder, capsys):
    recorder.will_stream(
        {"choices": [{"delta": {"role": "assistant"}}]}, delta("Grüß "), delta("dich"), USAGE
    )
    words = ["chat", "--url", recorder.url, "--system_prompt", "Be kind", "-q", "hello", "--api-key", "k"]
    assert main(words) == 0
    assert capsys.readouterr().out == "Grüß dich\n"
    (request,) = recorder.requests
    assert request["model"] == "folio"  # the server's first
    assert request["messages"] == [
        {"role": "system", "content": "Be kind"},
        {"role": "user", "content": "hello"},
    ]
    assert request["stream"] is True
    assert recorder.keys == ["Bearer k"]
    assert recorder.paths == ["/v1/models", "/v1/chat/completions"]


def test_stats_count_the_servers_tokens(recorder, capsys):
    recorder.will_stream(delta("a"), delta("b"), USAGE)
    assert main(["chat", "--url", recorder.url, "--model-name", "b", "-q", "hello", "--stats"]) == 0
    assert "[7 tokens in " in capsys.readouterr().out
    assert recorder.requests[0]["model"] == "b"
    assert recorder.paths == ["/v1/chat/completions"]  # a named model needs no look-up


def test_a_conversation_remembers_its_answers_and_survives_a_refusal(recorder, capsys, monkeypatch):
    recorder.will_stream(delta("one"))
    recorder.answers.append((400, "application/json", '{"error": {"message": "prompt is too long."}}'))
    recorder.will_stream(delta("two"))
    monkeypatch.setattr("sys.stdin", io.StringIO("first\n\nrefused\nsecond\n"))
    assert main(["chat", "--url", recorder.url]) == 0
    assert [message["content"] for message in recorder.requests[2]["messages"]] == ["first", "one", "second"]
    output = capsys.readouterr().out
    assert "one\n" in output
    assert "answered 400: prompt is too long\n" in output
    assert output.endswith("two\n")


def test_complete_sends_prompt_and_limit(recorder, capsys, monkeypatch):
    recorder.will_stream({"choices": [{"text": " upon"}]}, {"choices": [{"text": " a time"}]})
    assert main(["complete", "--url", recorder.url, "-q", "Once", "--max-tokens", "5"]) == 0
    assert capsys.readouterr().out == " upon a time\n"
    assert recorder.requests[0]["prompt"] == "Once"
    assert recorder.requests[0]["max_tokens"] == 5
    assert recorder.paths[-1] == "/v1/completions"
    recorder.will_stream({"choices": [{"text": "x"}]})
    monkeypatch.setattr("sys.stdin", io.StringIO("line\n"))
    assert main(["complete", "--url", recorder.url]) == 0
    assert "max_tokens" not in recorder.requests[1]


def test_the_servers_own_key_variable_is_used(recorder, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "from-env")
    recorder.will_stream(delta("x"))
    assert main(["chat", "--url", recorder.url, "-q", "hello"]) == 0
    assert recorder.keys == ["Bearer from-env"]


def test_no_server(capsys):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
        assert main(["chat", "--url", url, "-q", "hello"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"quire: no server answers at {url} (")
    assert "`quire serve`" in error


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (
            401,
            '{"error": "Unauthorized"}',
            "answered 401: Unauthorized; give the server's key with --api-key",
        ),
        (
            503,
            '{"error": {"message": "The model is loading."}}',
            "answered 503: The model is loading; it may still",
        ),
        (500, "<html>oops", "answered 500: <html>oops"),
        (502, "", "answered 502: no explanation"),
    ],
)
def test_refusals_are_explained(recorder, capsys, status, body, sentence):
    recorder.answers.append((status, "application/json", body))
    assert main(["chat", "--url", recorder.url, "-q", "hello"]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_a_wrong_base_path_is_explained(recorder, capsys):
    assert main(["chat", "--url", recorder.url.removesuffix("/v1"), "-q", "hello"]) == 1
    assert "check --url (it usually ends in /v1)" in capsys.readouterr().err


def test_an_error_in_mid_stream_ends_with_its_message(recorder, capsys):
    recorder.will_stream(delta("par"), ending='data: {"error": {"message": "the engine died"}}\n\n')
    assert main(["chat", "--url", recorder.url, "-q", "hello"]) == 1
    assert capsys.readouterr() == ("par\n", "quire: the engine died\n")


def test_events_of_several_lines_and_other_fields():
    lines = [b"event: x\n", b'data: {"a":\r\n', b"data: 1}\n", b"\n", b"data: [DONE]\n", b"\n"]
    assert list(read_events(iter(lines))) == [{"a": 1}]


def test_a_stream_that_breaks_off_is_an_error():
    with pytest.raises(ServerProblem, match="before the answer was complete"):
        list(read_events(iter([b'data: {"a": 1}\n', b"\n"])))
