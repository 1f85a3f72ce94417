"""Event streams cut anywhere by the network come out whole."""

from __future__ import annotations

import json

import pytest

from quire.api.serverless.events import FrameSplitter, frame_data, frame_json
from quire.api.serverless.failures import JobError, ServerLost

TEXT = 'data: {"a": "né\u2028 🎈"}\n\n: alive\n\nevent: x\r\ndata: 1\r\n\r\ndata: [DONE]\n\n'
FRAMES = ['data: {"a": "né\u2028 🎈"}\n\n', ": alive\n\n", "event: x\r\ndata: 1\r\n\r\n", "data: [DONE]\n\n"]


def test_cut_at_every_byte():
    data = TEXT.encode()
    for cut in range(len(data) + 1):
        splitter = FrameSplitter()
        assert splitter.feed(data[:cut]) + splitter.feed(data[cut:]) == FRAMES
        assert splitter.is_empty


def test_byte_by_byte():
    splitter = FrameSplitter()
    assert [frame for byte in TEXT.encode() for frame in splitter.feed(bytes([byte]))] == FRAMES


def test_a_frame_that_was_not_finished_is_noticed():
    splitter = FrameSplitter()
    assert splitter.feed(b"data: 1\n\ndata: 2\n") == ["data: 1\n\n"]
    assert not splitter.is_empty


def test_data_of_a_frame():
    assert [frame_data(frame) for frame in FRAMES] == ['{"a": "né\u2028 🎈"}', "", "1", "[DONE]"]
    assert frame_data("data: a\ndata:b\n\n") == "a\nb"
    assert frame_json(FRAMES[0]) == {"a": "né\u2028 🎈"}
    assert [frame_json(frame) for frame in FRAMES[1:]] == [None, None, None]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "no", "type": "t", "param": "p", "code": "c"}, JobError),
        ({"message": "gone", "type": "t", "code": "engine_dead"}, ServerLost),
        ("plain", JobError),
    ],
)
def test_an_error_among_the_events_is_raised(error, kind):
    with pytest.raises(kind) as caught:
        frame_json(f"data: {json.dumps({'error': error})}\n\n")
    assert caught.value.message == (error if isinstance(error, str) else error["message"])


def test_a_chunk_that_only_mentions_an_error_is_a_chunk():
    assert frame_json('data: {"choices": [], "error": null}\n\n') == {"choices": [], "error": None}
