"""A small server in a thread that speaks just enough of the API for the terminal clients, and keeps what it got."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers each POST with the next of `server.answers`: (status, content type, body)."""

    server: Recorder

    def do_GET(self):
        self.server.paths.append(self.path)
        if self.path == "/v1/models":
            self.reply(200, "application/json", json.dumps({"data": [{"id": "folio"}, {"id": "b"}]}))
        else:
            self.reply(404, "application/json", json.dumps({"error": {"message": "no such path."}}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.paths.append(self.path)
        self.server.requests.append(body)
        self.server.keys.append(self.headers.get("Authorization"))
        self.reply(*self.server.answers.pop(0))

    def reply(self, status: int, content_type: str, text: str):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Quiet."""


class Recorder(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answering)
        self.paths: list[str] = []
        self.requests: list[dict] = []
        self.keys: list[str | None] = []
        self.answers: list[tuple[int, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def will_stream(self, *chunks: dict, ending: str = "data: [DONE]\n\n"):
        text = ": keep-alive\n\n" + "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        self.answers.append((200, "text/event-stream", text + ending))


@pytest.fixture
def recorder(monkeypatch) -> Iterator[Recorder]:
    for name in ("QUIRE_API_KEY", "VLLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    server = Recorder()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
