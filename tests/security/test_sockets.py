"""T-01 to T-04: nothing but the HTTP port listens, and no byte sent anywhere becomes an object."""

from __future__ import annotations

import os
import pickle
import random
import socket
import struct
import sys
from pathlib import Path

import msgspec
import pytest

from quire.base.errors import EngineFault
from quire.base.wire import Codec, Downward, Upward
from tests.security.conftest import Guarded, writes_canary

LOOPBACK = {"0100007F", "00000000000000000000000001000000"}
LISTEN = "0A"


class Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (writes_canary(self.canary),)


def listening(pid: int) -> list[tuple[str, int]]:
    """(address in hex, port) of every TCP socket the process listens on."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and fields[9] in inodes:
                address, port = fields[1].split(":")
                found.append((address, int(port, 16)))
    return found


def test_only_the_http_port_listens(guarded: Guarded) -> None:
    """T-03, T-04: CVE-2025-47277, CVE-2025-30202. No process of the tree listens on TCP but the server, once."""
    server = guarded.server
    assert [port for _, port in listening(server.process.pid)] == [server.port]
    assert all(address in LOOPBACK for address, _ in listening(server.process.pid))
    for pid in server.children():
        assert listening(pid) == []


def test_the_engines_socket_is_out_of_reach(guarded: Guarded) -> None:
    """T-01: CVE-2024-9052 and its kin. Once both ends are connected the socket has no name to connect to."""
    num_sockets = 0
    for pid in [guarded.server.process.pid, *guarded.server.children()]:
        mine = {
            os.readlink(entry)[8:-1]
            for entry in Path(f"/proc/{pid}/fd").iterdir()
            if os.path.lexists(entry) and os.readlink(entry).startswith("socket:[")
        }
        for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
            fields = line.split()
            num_sockets += fields[6] in mine
            if fields[6] in mine and len(fields) > 7:
                assert not os.path.exists(fields[7]), f"{fields[7]} can be connected to"
    assert num_sockets >= 2  # both ends were looked at


def hostile_frames(canary: Path) -> list[bytes]:
    generator = random.Random(1)
    valid = msgspec.msgpack.encode(["abort", {"request_id": "x"}])
    return [
        pickle.dumps(Bomb(canary)),
        pickle.dumps(Bomb(canary), protocol=0),
        b"",
        b"\xc1",
        b"\xdf" + struct.pack(">I", 2**32 - 1),  # a map that says it has four thousand million entries
        b"\xdd" + struct.pack(">I", 2**32 - 1),
        b"\xc6" + struct.pack(">I", 2**30),
        b"\x91" * 100_000,
        *(valid[:cut] for cut in range(len(valid))),
        *(generator.randbytes(generator.randrange(200)) for _ in range(10_000)),
    ]


@pytest.mark.parametrize("direction", [Upward, Downward], ids=["to the server", "to the engine"])
def test_hostile_frames_are_named_and_make_nothing(direction: object, canary: Path) -> None:
    """T-01: pickles, lengths that lie, truncation, noise: a fault, never an object, a crash or a large allocation."""
    codec = Codec(direction)
    for frame in hostile_frames(canary):
        with pytest.raises(EngineFault):
            codec.decode(frame)
    assert not canary.exists()


def test_hostile_bytes_on_the_http_port(guarded: Guarded, canary: Path) -> None:
    """T-01: what is no HTTP is turned away; the server goes on."""
    for frame in hostile_frames(canary)[:300]:
        guarded.raw(frame, timeout_s=0.2 if len(frame) < 8 else 2.0) if frame else None
    assert not canary.exists()


def test_a_client_that_never_reads_holds_nobody_up(guarded: Guarded) -> None:
    """T-04: CVE-2025-30202. 20 streams nobody reads, and the control request is as quick as ever (see `guarded`)."""
    body = b'{"prompt": "Once", "max_tokens": 200, "ignore_eos": true, "stream": true}'
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    deaf = []
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", guarded.server.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.sendall(head % len(body) + body)
        deaf.append(connection)
    assert guarded.control() == guarded.answer
    for connection in deaf:
        connection.close()


def test_transfer_of_kv_is_refused_by_name() -> None:
    """T-02: CVE-2025-29783, CVE-2025-32444. No port for KV transfer is opened, because there is none."""
    import subprocess

    command = [
        sys.executable,
        "-m",
        "quire",
        "serve",
        "--kv-transfer-config",
        '{"kv_connector": "MooncakeConnector"}',
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "kv-transfer-config" in done.stderr
