"""The worker through the real SDK, against the stand-in of the platform, with the built-in model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("runpod", reason="the worker's extra is not installed")

from tests.api.serverless.given_variables import FORM_DEFAULTS, SEED_DEFAULTS
from tests.api.serverless.platform_standin import Platform
from tests.api.serverless.worker_process import WorkerProcess

import quire
from quire.api.serverless.failures import UNHEALTHY

MAX_CONCURRENCY = 3
LONG = {"max_tokens": 400, "ignore_eos": True}
ENDLESS = {"max_tokens": 1900, "ignore_eos": True}
CHAT = {"messages": [{"role": "user", "content": "What is 17 + 25?"}], "temperature": 0}


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    running = Platform()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def worker(platform, tmp_path_factory) -> Iterator[WorkerProcess]:
    environ = SEED_DEFAULTS | platform.environ() | {"MAX_CONCURRENCY": str(MAX_CONCURRENCY)}
    platform.refusals += [204, 400, 429]
    running = WorkerProcess(tmp_path_factory.mktemp("worker"), environ)
    try:
        running.wait_log("quire worker: ready after")
        yield running
        assert running.stop() == 0, running.text()
        assert running.connections.read_text().count("127.0.0.1") > 10
        assert running.strangers() == []
        assert running.server_pids() == []
    finally:
        running.stop()


def texts(record) -> str:
    return "".join(delta for item in record.items for delta in item["choices"][0]["tokens"])


def running_requests(platform: Platform, name: str) -> float:
    """The server's own count, asked for by a job."""
    record = platform.run(name, {"route": "/metrics"})
    lines = record.items[0].splitlines()
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("vllm:num_requests_running")
    )


def test_a_native_stream_comes_in_growing_items_in_order_and_as_one_list(worker, platform):
    sampling = {"max_tokens": 64, "temperature": 0, "ignore_eos": True}
    streamed = platform.run("s1", {"prompt": "Once upon a time", "stream": True, "sampling_params": sampling})
    assert streamed.state == "COMPLETED"
    assert streamed.is_stream == "true"
    assert streamed.result["output"] == streamed.items
    assert [len(item["choices"][0]["tokens"]) for item in streamed.items] == [1, 3, 9, 27, 24]
    assert [item["usage"]["output"] for item in streamed.items] == [1, 4, 13, 40, 64]
    whole = platform.run("s2", {"prompt": "Once upon a time", "sampling_params": sampling})
    assert len(whole.items) == 1
    assert whole.items[0]["choices"] == [{"tokens": [texts(streamed)]}]
    assert whole.items[0]["usage"] == streamed.items[-1]["usage"]


def test_an_openai_stream_is_event_text_whose_frames_are_whole(worker, platform):
    body = {**CHAT, "stream": True, "max_tokens": 20}
    record = platform.run("o1", {"openai_route": "/v1/chat/completions", "openai_input": body})
    assert all(item.endswith("\n\n") for item in record.items)
    frames = "".join(record.items).split("\n\n")[:-1]
    assert frames[-1] == "data: [DONE]"
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_a_whole_openai_reply_and_the_list_of_models(worker, platform):
    reply = platform.run("o2", {"openai_route": "/v1/chat/completions", "openai_input": CHAT}).items[0]
    assert reply["object"] == "chat.completion"
    models = platform.run("o3", {"openai_route": "/v1/models"}).items[0]
    assert models["data"][0]["id"] == "quire-folio"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": "x", "sampling_params": {"temperature": -1}}, "temperature"),
        ({"openai_route": "/v1/chat/completions", "openai_input": {"messages": 5}}, "messages"),
        ({"openai_route": "/v1/chat/completions", "openai_input": {**CHAT, "model": "other"}}, "other"),
        ({"route": "@127.0.0.1:1/x"}, "Invalid route"),
        ({"route": "/v1/nowhere"}, "no route"),
        ({"nothing": 1}, "must contain"),
    ],
)
def test_an_error_marks_the_job_failed_with_json_text(worker, platform, fields, words):
    record = platform.run(f"e-{words}", fields)
    assert record.state == "FAILED"
    assert record.items == []
    detail = json.loads(record.result["error"])
    assert words in detail["message"]
    assert set(detail) == {"message", "type", "param", "code"}


def test_jobs_run_side_by_side_up_to_the_limit_and_none_is_lost(worker, platform):
    sampling = {"max_tokens": 60, "ignore_eos": True}
    names = [f"c{number}" for number in range(8)]
    records = [
        platform.submit(name, {"prompt": name, "stream": True, "sampling_params": sampling}) for name in names
    ]
    for record in records:
        assert platform.finished(record).state == "COMPLETED"
        assert record.items[-1]["usage"]["output"] == 60
        assert record.num_result_posts == 1
    assert platform.most_at_once == MAX_CONCURRENCY
    assert sorted(name for name in platform.taken if name.startswith("c")) == names


def test_cancelling_a_job_ends_its_work_in_the_engine(worker, platform):
    record = platform.submit("k1", {"prompt": "x", "stream": True, "sampling_params": ENDLESS})
    deadline_s = time.monotonic() + 30
    while not record.items:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    platform.stops.append("k1")
    while platform.stops:
        time.sleep(0.005)
    assert running_requests(platform, "k1-metrics") == 0
    assert record.result is None
    assert record.items[-1]["usage"]["output"] < 1900
    platform.taken.remove("k1")


def test_a_result_that_the_platform_did_not_take_is_sent_again(worker, platform):
    platform.post_failures = 2
    record = platform.run("r1", {"prompt": "x", "sampling_params": {"max_tokens": 2}})
    assert record.state == "COMPLETED"
    assert len(record.items) == 1
    assert platform.post_failures == 0


def test_the_platform_hears_that_the_worker_lives(worker, platform):
    deadline_s = time.monotonic() + 10
    while not platform.pings:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    assert platform.keys == {"platform-key"}


def test_answers_stay_out_of_the_log(worker, platform):
    platform.run("l1", {"prompt": "An unmistakable prompt", "sampling_params": {"max_tokens": 4}})
    assert "unmistakable" not in worker.text()


def test_sigterm_lets_running_jobs_finish_and_takes_no_others(worker, platform):
    record = platform.submit("d1", {"prompt": "x", "stream": True, "sampling_params": LONG})
    deadline_s = time.monotonic() + 30
    while not record.items:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    worker.process.send_signal(signal.SIGTERM)
    while (
        platform.num_open_takes
    ):  # the poll for jobs is hung up; what is submitted now stays with the platform
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    late = platform.submit("d2", {"prompt": "x"})
    assert worker.process.wait(60) == 0, worker.text()
    assert record.state == "COMPLETED"
    assert record.items[-1]["usage"]["output"] == LONG["max_tokens"]
    assert late.result is None
    assert "d2" not in platform.taken
    platform.waiting.clear()


def test_a_dead_server_is_replaced_and_no_job_completes_by_halves(platform, tmp_path):
    platform.taken.clear()
    model = shutil.copytree(Path(quire.__file__).parent / "assets" / "folio", tmp_path / "model")
    running = WorkerProcess(tmp_path, FORM_DEFAULTS | platform.environ() | {"MODEL_NAME": str(model)})
    try:
        running.wait_log("quire worker: ready after")
        streamed = platform.submit("x1", {"prompt": "x", "stream": True, "sampling_params": LONG})
        whole = platform.submit("x2", {"prompt": "x", "sampling_params": LONG})
        deadline_s = time.monotonic() + 30
        while not streamed.items or len(platform.taken) < 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        (server,) = running.server_pids()
        os.kill(server, signal.SIGKILL)
        assert platform.finished(streamed).state == "FAILED"
        assert platform.finished(whole).state == "COMPLETED"  # nothing of it had been sent: asked again
        assert whole.items[0]["usage"]["output"] == LONG["max_tokens"]
        assert running.server_pids() != [server]
        # now it cannot come back: the job under way fails, none is taken any more, the worker ends
        last = platform.submit("x3", {"prompt": "x", "sampling_params": ENDLESS})
        while "x3" not in platform.taken:
            assert time.monotonic() < deadline_s + 60
            time.sleep(0.005)
        shutil.rmtree(model)
        os.kill(running.server_pids()[0], signal.SIGKILL)
        assert running.process.wait(60) == 1, running.text()
        assert last.state == "FAILED"
        assert json.loads(last.result["error"])["message"] == UNHEALTHY
    finally:
        running.stop()
