"""A stand-in for the platform's job API on loopback: hands out jobs, takes items and results, sends stop signals.

The real SDK talks to it. Polls are held open until there is something to say, like the platform holds them.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

HOLD_S = 30.0
LOOK_S = 0.01


@dataclass
class Record:
    """What the platform heard about one job."""

    items: list[Any] = field(default_factory=list)
    result: dict[str, Any] | None = None
    is_stream: str = ""
    num_result_posts: int = 0

    @property
    def state(self) -> str:
        if self.result is None:
            return "IN_PROGRESS"
        return "FAILED" if self.result.get("error") else "COMPLETED"


class Platform:
    """Runs in a thread. `records` by job id; `most_at_once` is how many jobs were ever under way together."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.waiting: list[dict[str, Any]] = []
        self.stops: list[str] = []
        self.taken: list[str] = []
        self.pings: list[str] = []
        self.refusals: list[int] = []  # statuses the next job-takes answer with
        self.post_failures = 0  # how many posts of results or items answer 500
        self.most_at_once = 0
        self.num_open_takes = 0
        self.keys: set[str | None] = set()
        routes = [
            Route("/job-take/{worker}", self._take),
            Route("/job-take-batch/{worker}", self._take),
            Route("/job-stop/{worker}", self._stop_signals),
            Route("/job-stream/{worker}/{job}", self._stream, methods=["POST"]),
            Route("/job-done/{worker}/{job}", self._done, methods=["POST"]),
            Route("/ping/{worker}", self._ping),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(LOOK_S)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def environ(self) -> dict[str, str]:
        """What the platform sets for a worker."""
        base = f"http://127.0.0.1:{self.port}"
        return {
            "RUNPOD_POD_ID": "pod1",
            "RUNPOD_AI_API_KEY": "platform-key",
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "1000",
        }

    def submit(self, job_id: str, fields: Any) -> Record:
        self.records[job_id] = Record()
        self.waiting.append({"id": job_id, "input": fields})
        return self.records[job_id]

    def finished(self, record: Record, limit_s: float = 60.0) -> Record:
        """The record once its result is in."""
        deadline_s = time.monotonic() + limit_s
        while record.result is None:
            assert time.monotonic() < deadline_s, f"no result; items so far: {record.items[-3:]}"
            time.sleep(LOOK_S)
        return record

    def run(self, job_id: str, fields: Any) -> Record:
        return self.finished(self.submit(job_id, fields))

    def under_way(self) -> int:
        return sum(self.records[job_id].result is None for job_id in self.taken)

    async def _take(self, request: Request) -> Response:
        self.keys.add(request.headers.get("authorization"))
        if self.refusals:
            return Response(status_code=self.refusals.pop(0))
        count = int(request.query_params.get("batch_size", "1"))
        self.num_open_takes += 1
        try:
            has_jobs = await self._held(request, lambda: bool(self.waiting))
        finally:
            self.num_open_takes -= 1
        if not has_jobs:
            return Response(status_code=204)
        jobs, self.waiting = self.waiting[:count], self.waiting[count:]
        self.taken += [job["id"] for job in jobs]
        self.most_at_once = max(self.most_at_once, self.under_way())
        return JSONResponse(jobs if "batch" in request.url.path else jobs[0])

    async def _stop_signals(self, request: Request) -> Response:
        if not await self._held(request, lambda: bool(self.stops)):
            return Response(status_code=204)
        stops, self.stops = self.stops, []
        return JSONResponse({"jobsToStop": stops})

    async def _held(self, request: Request, is_news: Any) -> bool:
        """Hold the poll until there is news; False when time is up or the caller hung up."""
        deadline_s = time.monotonic() + HOLD_S
        while not is_news():
            if time.monotonic() > deadline_s or self._server.should_exit or await request.is_disconnected():
                return False
            await asyncio.sleep(LOOK_S)
        return not await request.is_disconnected()

    async def _stream(self, request: Request) -> Response:
        if self.post_failures:
            self.post_failures -= 1
            return Response(status_code=500)
        body = json.loads(await request.body())
        self.records[request.path_params["job"]].items.append(body["output"])
        return Response()

    async def _done(self, request: Request) -> Response:
        record = self.records[request.path_params["job"]]
        record.num_result_posts += 1
        if self.post_failures:
            self.post_failures -= 1
            return Response(status_code=500)
        record.is_stream = request.query_params["isStream"]
        record.result = json.loads(await request.body())
        return Response()

    async def _ping(self, request: Request) -> Response:
        self.pings.append(request.query_params.get("job_id", ""))
        return Response()
