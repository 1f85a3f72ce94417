"""Keys from a file: read at the start, again when it changes, and never lost over a bad one."""

from __future__ import annotations

import os

import pytest

from quire.api.server.keys import KeyRing
from quire.base.errors import ConfigError


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_keys_of_a_file_open_beside_those_given(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# ours\nfirst\n\n  second  \n")
    ring = KeyRing(["third"], str(path))
    assert all(map(ring.opens, (b"first", b"second", b"third")))
    assert not any(map(ring.opens, (b"", b"# ours", b"ours", b"first\n", b"fourth")))
    assert ring and not KeyRing([])


def test_a_changed_file_is_read_again_once_a_second_and_a_bad_one_changes_nothing(tmp_path, caplog):
    path, clock = tmp_path / "keys", Clock()
    path.write_text("old\n")
    ring = KeyRing([], str(path), clock)
    (tmp_path / "new").write_text("new\n")
    os.replace(tmp_path / "new", path)
    assert ring.opens(b"old") and not ring.opens(b"new")
    clock.now_s = 1.5
    assert ring.opens(b"new") and not ring.opens(b"old")
    for spoil in (lambda: path.write_text("\n"), path.unlink):
        spoil()
        clock.now_s += 1.5
        assert ring.opens(b"new") and not ring.opens(b"")
        assert "stay" in caplog.text
        caplog.clear()
    path.write_text("back\n")
    clock.now_s += 1.5
    assert ring.opens(b"back") and not ring.opens(b"new")


def test_a_file_without_keys_is_refused_at_the_start(tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("# none\n")
    for path, message in ((empty, "holds no key"), (tmp_path / "gone", "cannot be read")):
        with pytest.raises(ConfigError, match=rf"--api-key-file: .*{message}"):
            KeyRing(["given"], str(path))


async def test_a_server_with_a_key_file_is_closed_to_everybody_else(make_service, connect, tmp_path):
    path = tmp_path / "keys"
    path.write_text("one\n")
    async with connect(make_service(api_key_file=str(path))) as http:
        assert (await http.get("/v1/models")).status_code == 401
        assert (await http.get("/v1/models", headers={"authorization": "Bearer one"})).status_code == 200
        assert (await http.get("/health")).status_code == 200
