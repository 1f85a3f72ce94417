"""Shapes of items, from scripted replies."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.api.serverless.batching import BatchGrowth
from quire.api.serverless.failures import JobError
from quire.api.serverless.job_input import Call, read_input
from quire.api.serverless.outputs import (
    ChunkLists,
    EventText,
    NativeStream,
    failed_item,
    shape_for,
    whole_item,
)
from quire.api.serverless.worker_settings import Compat, WorkerSettings

DONE = "data: [DONE]\n\n"


def frame(value) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def text_chunk(text, ids=(1,), index=0, prompt_tokens=4) -> str:
    choice = {"index": index, "text": text, "token_ids": list(ids)}
    return frame({"choices": [choice], "usage": {"prompt_tokens": prompt_tokens}})


def fed(shape, frames) -> list:
    items = [item for one in frames for item in shape.feed([one])]
    return items + shape.finish()


def test_native_items_grow_and_count_from_the_start():
    items = fed(NativeStream(BatchGrowth(), 1), [*(text_chunk(str(n)) for n in range(6)), DONE])
    assert items == [
        {"choices": [{"tokens": ["0"]}], "usage": {"input": 4, "output": 1}},
        {"choices": [{"tokens": ["1", "2", "3"]}], "usage": {"input": 4, "output": 4}},
        {"choices": [{"tokens": ["4", "5"]}], "usage": {"input": 4, "output": 6}},
    ]


def test_no_empty_item_after_an_exact_one_and_one_for_an_answer_without_tokens():
    assert len(fed(NativeStream(BatchGrowth(most=2), 1), [text_chunk("a"), text_chunk("b"), DONE])) == 2
    empty = fed(NativeStream(BatchGrowth(), 2), [frame({"choices": [], "usage": {"prompt_tokens": 3}}), DONE])
    assert empty == [{"choices": [{"tokens": []}, {"tokens": []}], "usage": {"input": 3, "output": 0}}]


def test_with_two_choices_the_first_item_holds_one_delta_of_the_first():
    frames = [text_chunk("a"), text_chunk("b", index=1), text_chunk("c"), text_chunk("d", index=1)]
    items = fed(NativeStream(BatchGrowth(), 2), frames)
    assert items[0]["choices"] == [{"tokens": ["a"]}, {"tokens": []}]
    assert items[1]["choices"] == [{"tokens": ["c"]}, {"tokens": ["b", "d"]}]


def test_a_token_whose_text_was_held_back_is_an_empty_delta():
    items = fed(NativeStream(BatchGrowth(most=2, least=2), 1), [text_chunk("é", ids=(1, 2, 3)), DONE])
    assert [item["choices"][0]["tokens"] for item in items] == [["", ""], ["é"]]
    assert items[-1]["usage"]["output"] == 3


def test_chat_chunks_are_read_too_and_the_role_is_no_output():
    role = {"index": 0, "delta": {"role": "assistant", "content": ""}}
    word = {"index": 0, "delta": {"content": "Hi"}, "token_ids": [5]}
    late = {"index": 0, "delta": {"content": "!"}, "token_ids": []}
    frames = [frame({"choices": [choice]}) for choice in (role, word, late)]
    items = fed(NativeStream(BatchGrowth(), 1), [*frames, DONE])
    assert [item["choices"][0]["tokens"] for item in items] == [["Hi"], ["!"]]
    assert items[-1]["usage"]["output"] == 1


@given(
    st.lists(st.tuples(st.integers(0, 2), st.text(max_size=3), st.integers(0, 3)), max_size=40),
    st.integers(1, 9),
    st.integers(0, 9),
    st.floats(0, 4, allow_nan=False),
)
def test_the_deltas_of_each_choice_join_to_its_text(chunks, most, least, factor):
    shape = NativeStream(BatchGrowth(most, least, factor), 3)
    items = fed(shape, [text_chunk(text, range(count), index) for index, text, count in chunks])
    for index in range(3):
        joined = "".join(delta for item in items for delta in item["choices"][index]["tokens"])
        assert joined == "".join(text for at, text, _ in chunks if at == index)
    assert items[-1]["usage"]["output"] == sum(count for _, _, count in chunks)


FRAMES = [frame({"n": n}) for n in range(4)]


def test_raw_text_is_batched_with_done_and_without_comments():
    items = fed(EventText(BatchGrowth(), needs_done=True), [FRAMES[0], ": alive\n\n", *FRAMES[1:], DONE])
    assert items == [FRAMES[0], "".join(FRAMES[1:]), DONE]


def test_lists_of_chunks_leave_done_out():
    items = fed(ChunkLists(BatchGrowth(), needs_done=True), [*FRAMES, DONE])
    assert items == [[{"n": 0}], [{"n": 1}, {"n": 2}, {"n": 3}]]


def test_todays_shape_is_whatever_came_together():
    shape = EventText(None, needs_done=True)
    assert shape.feed(FRAMES[:3]) == ["".join(FRAMES[:3])]
    assert shape.feed([]) == []
    assert not shape.is_done
    assert shape.feed([FRAMES[3], DONE]) == [FRAMES[3] + DONE]
    assert shape.is_done


@pytest.mark.parametrize("make", [NativeStream, EventText, ChunkLists])
def test_an_error_in_a_stream_is_an_error_in_every_shape(make):
    shape = make(BatchGrowth(), 1) if make is NativeStream else make(BatchGrowth(), needs_done=True)
    with pytest.raises(JobError, match="not finite"):
        shape.feed([frame({"error": {"message": "not finite"}})])


def test_which_shape():
    stream = {"stream": True}
    auto, lists, v3 = WorkerSettings(), WorkerSettings(is_raw_openai=False), WorkerSettings(compat=Compat.V3)
    chat = Call("POST", "/v1/chat/completions", stream, is_openai=True)
    assert isinstance(shape_for(read_input({"prompt": "x", "stream": True}, auto), auto), NativeStream)
    assert isinstance(shape_for(chat, auto), EventText)
    assert isinstance(shape_for(chat, lists), ChunkLists)
    together = shape_for(chat, v3).feed(FRAMES)
    assert together == ["".join(FRAMES)]
    each = shape_for(Call("POST", "/v1/responses", stream), auto)
    assert each.feed(["event: a\n" + FRAMES[0], "event: b\n" + FRAMES[1]]) == [
        "event: a\n" + FRAMES[0],
        "event: b\n" + FRAMES[1],
    ]


def test_whole_replies():
    settings = WorkerSettings()
    reply = {
        "choices": [{"text": "a"}, {"text": "b"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 7},
    }
    native = Call("POST", "/v1/completions", {}, native=BatchGrowth())
    assert whole_item(native, reply, settings) == {
        "choices": [{"tokens": ["a"]}, {"tokens": ["b"]}],
        "usage": {"input": 2, "output": 7},
    }
    plain = Call("POST", "/v1/completions", {}, is_openai=True)
    assert whole_item(plain, reply, settings) is reply
    models = Call("GET", "/v1/models", None, is_openai=True)
    both = {"object": "list", "data": [{"id": "a"}, {"id": "b"}]}
    assert whole_item(models, both, settings) == both
    assert whole_item(models, both, WorkerSettings(compat=Compat.V1))["data"] == [{"id": "a"}]


def test_errors_are_json_text_except_for_openai_jobs_of_the_first_generation():
    error = JobError("nö", kind="t", param="p", code="c")
    openai = Call("POST", "/v1/completions", {}, is_openai=True)
    detail = {"message": "nö", "type": "t", "param": "p", "code": "c"}
    assert json.loads(str(failed_item(error, openai, WorkerSettings())["error"])) == detail
    v1 = WorkerSettings(compat=Compat.V1)
    assert failed_item(error, openai, v1) == {"object": "error", **detail}
    assert "error" in failed_item(error, Call("POST", "/v1/completions", {}), v1)
