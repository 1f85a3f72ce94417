"""T-29 to T-31: what a request may make the server fetch or decode, which is nothing, whatever the URL looks like."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.security.conftest import Guarded


@pytest.fixture
def listener() -> Iterator[tuple[int, list[str]]]:
    """A port on loopback that notes who comes; (port, visits)."""
    visits: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        stopping = threading.Event()

        def accept() -> None:
            while not stopping.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                visits.append(str(address))
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1], visits
        stopping.set()
        thread.join()


def urls(port: int) -> list[str]:
    hosts = [
        f"127.0.0.1:{port}",
        f"localhost:{port}",
        f"2130706433:{port}",
        f"0x7f000001:{port}",
        f"0177.0.0.1:{port}",
        f"127.1:{port}",
        f"[::1]:{port}",
        f"[::ffff:127.0.0.1]:{port}",
        f"[::]:{port}",
        f"0.0.0.0:{port}",
        f"127.0.0.1.:{port}",
        f"a\\@127.0.0.1:{port}",
        f"example.org@127.0.0.1:{port}",
        f"127.0.0.1:{port}@example.org",
        f"①②⑦.0.0.1:{port}",
        "169.254.169.254/latest/meta-data",
        "metadata.google.internal",
    ]
    return [
        *(f"{scheme}://{host}/x.png" for host in hosts for scheme in ("http", "https", "ftp", "gopher")),
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "data:image/png;base64," + "A" * 100_000,
        "javascript:1",
        "//127.0.0.1/x",
    ]


@pytest.mark.parametrize(
    "kind", ["image_url", "audio_url", "video_url", "input_audio", "file", "image_embeds"]
)
def test_no_kind_of_media_is_fetched_or_decoded(
    kind: str, guarded: Guarded, listener: tuple[int, list[str]]
) -> None:
    """T-29: CVE-2025-6242, CVE-2026-24779, CVE-2026-34753 (fetching), T-30: CVE-2025-46560, CVE-2026-22773
    (decoding), T-31: CVE-2025-46722 (hashing)."""
    port, visits = listener
    for url in urls(port):
        content = [{"type": "text", "text": "x"}, {"type": kind, kind: {"url": url, "data": url}}]
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 1}
        guarded.refused("/v1/chat/completions", body, "messages[0].content[1]")
    assert visits == []


def test_a_link_in_the_text_stays_text(guarded: Guarded, listener: tuple[int, list[str]]) -> None:
    """T-29: CVE-2026-0599: a picture in Markdown is not fetched."""
    port, visits = listener
    for text in (f"![x](http://127.0.0.1:{port}/x.png)", f"<img src='http://127.0.0.1:{port}/'>"):
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 1}
        assert guarded.post("/v1/chat/completions", body)[0] == 200
    assert visits == []
