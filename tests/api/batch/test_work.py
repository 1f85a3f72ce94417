"""A batch, interrupted anywhere any number of times, comes to one result for each line, in order."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from quire.api.batch import lines as batch_lines
from quire.api.batch.lines import parse_line, read_lines
from quire.api.batch.output import BatchOutput
from quire.api.batch.work import WAITING_PER_SEAT, BatchWork
from quire.base.errors import ConfigError


def request(number, url="/v1/completions", **body):
    return {"custom_id": f"r{number}", "method": "POST", "url": url, "body": {"n": number, **body}}


class Route1:
    """Answers after as many turns of the loop as the body says; counts what is under way."""

    def __init__(self):
        self.now = self.most = 0

    async def answer(self, asked):
        body = await asked.json()
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(body.get("turns", 0)):
                await asyncio.sleep(0)
        finally:
            self.now -= 1
        if "fail" in body:
            return JSONResponse({"error": {"message": "no"}}, body["fail"])
        return JSONResponse({"echo": body["n"]})

    @property
    def app(self):
        return Starlette(routes=[Route("/v1/completions", self.answer, methods=["POST"])])


def write_input(path, rows):
    path.write_bytes(
        b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)
    )


async def run(source, target, *, seats=3, turns=None, folder=None, is_over=lambda: False, route=None):
    """One run, cancelled after `turns` turns of the loop; whether it came to its end."""
    route = route or Route1()
    output = BatchOutput(target, folder)
    with source.open("rb") as file:
        output.continue_with(read_lines(file))
        file.seek(0)
        lines = read_lines(file)
        for _ in range(output.num_done):
            next(lines)
        work = BatchWork(route.app, output, 0, max_inflight=seats, is_over=is_over)
        task = asyncio.create_task(work.run(lines))
        try:
            if turns is not None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
            if not await task:
                return False
        except asyncio.CancelledError:
            return False
        finally:
            if not task.done() or task.cancelled() or not task.result():
                output.close()
    output.finish()
    return True


def results(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@settings(max_examples=40, deadline=None)
@given(
    turns_of=st.lists(st.integers(0, 9), min_size=1, max_size=25),
    stops=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 80)), max_size=4),
    seats=st.integers(1, 5),
)
def test_no_line_is_lost_or_doubled_wherever_it_is_killed(turns_of, stops, seats):
    """Each stop cancels the run after some turns, then cuts bytes off, as a machine that lost power might."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in", Path(folder) / "out"
        write_input(source, [request(number, turns=turns) for number, turns in enumerate(turns_of)])

        async def whole():
            for turns, num_bytes in stops:
                if await run(source, target, seats=seats, turns=turns):
                    return
                partial = BatchOutput(target).partial
                data = partial.read_bytes()
                partial.write_bytes(data[: max(0, len(data) - num_bytes)])
            assert await run(source, target, seats=seats)

        asyncio.run(whole())
        found = results(target)
        assert [one["custom_id"] for one in found] == [f"r{number}" for number in range(len(turns_of))]
        assert [one["response"]["body"]["echo"] for one in found] == list(range(len(turns_of)))
        assert not BatchOutput(target).partial.exists()


async def test_a_line_that_fails_has_its_own_error_and_no_other(tmp_path):
    rows = [
        request(0),
        request(1, fail=400),
        b"nonsense\n",
        b"\n",
        b'{"custom_id": "half", "url": "/v1/completions"}\n',
        request(3, url="/v1/files"),
        {**request(4), "method": "GET"},
        request(5, stream=True),
        {**request(6), "body": [1]},
        request(7),
    ]
    write_input(tmp_path / "in", rows)
    assert await run(tmp_path / "in", tmp_path / "out")
    found = results(tmp_path / "out")
    assert [one["custom_id"] for one in found] == ["r0", "r1", None, "half", "r3", "r4", "r5", "r6", "r7"]
    assert [one["error"] and one["error"]["code"] for one in found] == [
        None,
        "400",
        *["invalid_request"] * 6,
        None,
    ]
    assert found[1]["error"]["message"] == "no"
    assert found[1]["response"]["status_code"] == 400
    assert len({one["id"] for one in found}) == len(found)


async def test_an_engine_that_has_ended_writes_no_results(tmp_path):
    write_input(tmp_path / "in", [request(0), request(1, fail=503), request(2)])
    assert not await run(tmp_path / "in", tmp_path / "out", seats=1, is_over=lambda: True)
    assert not (tmp_path / "out").exists()
    assert [one["custom_id"] for one in results(tmp_path / "out.partial")] == ["r0"]
    assert await run(tmp_path / "in", tmp_path / "out")
    assert [one["custom_id"] for one in results(tmp_path / "out")] == ["r0", "r1", "r2"]


async def test_a_slow_line_holds_up_only_so_many(tmp_path):
    """Results wait for the line before them; how many may is bounded, whatever the input's length."""
    release = asyncio.Event()
    begun = []

    async def app(scope, receive, send):
        number = json.loads((await receive())["body"])["n"]
        begun.append(number)
        if number == 0:
            await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    write_input(tmp_path / "in", [request(number) for number in range(200)])
    output = BatchOutput(tmp_path / "out")
    output.continue_with([])
    with (tmp_path / "in").open("rb") as file:
        work = BatchWork(app, output, 200, max_inflight=2, is_over=lambda: False)
        task = asyncio.create_task(work.run(read_lines(file)))
        for _ in range(500):
            await asyncio.sleep(0)
        assert len(begun) == 2 * WAITING_PER_SEAT
        release.set()
        assert await task
    assert output.num_done == 200 and begun == list(range(200))
    output.close()


async def test_no_more_are_asked_at_a_time_than_may_be(tmp_path):
    write_input(tmp_path / "in", [request(number, turns=5) for number in range(30)])
    route = Route1()
    assert await run(tmp_path / "in", tmp_path / "out", seats=4, route=route)
    assert route.most == 4


async def test_results_gather_where_they_are_told_to(tmp_path):
    write_input(tmp_path / "in", [request(0), request(1, turns=50)])
    assert not await run(tmp_path / "in", tmp_path / "out", folder=tmp_path / "there", turns=30, seats=1)
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["out.partial"]
    assert await run(tmp_path / "in", tmp_path / "out", folder=tmp_path / "there")
    assert not list((tmp_path / "there").iterdir())
    assert len(results(tmp_path / "out")) == 2


def test_results_of_another_input_are_not_gone_on_with(tmp_path):
    (tmp_path / "out.partial").write_text('{"custom_id": "a"}\n{"custom_id": "b"}\n')
    with pytest.raises(ConfigError, match="another input: line 2 does not answer"):
        BatchOutput(tmp_path / "out").continue_with([b'{"custom_id": "a"}', b'{"custom_id": "c"}'])
    with pytest.raises(ConfigError, match="another input"):
        BatchOutput(tmp_path / "out").continue_with([b'{"custom_id": "a"}'])


def test_a_line_too_long_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_lines, "MAX_LINE_BYTES", 100)
    write_input(tmp_path / "in", [b"x" * 350 + b"\n", request(1), b"y" * 350])
    with (tmp_path / "in").open("rb") as file:
        found = [parse_line(line) for line in read_lines(file)]
    assert ["longer" in line.problem for line in found] == [True, False, True]
    assert found[1].custom_id == "r1"
