"""TLS by real handshakes: certificates, those of clients, ciphers, and a certificate renewed under way."""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from tests.api.server.scripted_engine import server_config
from tests.api.server.test_lifecycle import LIMIT_S, Running

from quire.api.server.file_stamp import FileStamp
from quire.api.server.tls import load_again, tls_refusal

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")


def make_certificate(folder: Path, name: str) -> tuple[str, str]:
    """Self-signed for localhost: (certificate, key)."""
    certificate, key = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    subprocess.run(
        [*command, "-days", "2", "-keyout", key, "-out", certificate, *subject],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> dict[str, tuple[str, str]]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: make_certificate(folder, name) for name in ("first", "second", "caller")}


class Encrypted(Running):
    """Spoken to over TLS, by callers who trust one certificate and may show one."""

    trusted = ""
    shown: tuple[str, str] | None = None

    def connection(self) -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=self.trusted)
        if self.shown:
            context.load_cert_chain(*self.shown)
        self._connections.append(
            http.client.HTTPSConnection("localhost", self.port, timeout=10, context=context)
        )
        return self._connections[-1]


@pytest.fixture
def run(model_folder, tmp_path):
    servers: list[Encrypted] = []

    def start(trusted: str, shown: tuple[str, str] | None = None, **changes) -> Encrypted:
        server = Encrypted(model_folder, tmp_path, **changes)
        servers.append(server)
        server.trusted, server.shown = trusted, shown
        return server

    yield start
    for server in servers:
        server.close()


def peer_name(server: Encrypted) -> str:
    """Whose certificate the server shows now."""
    connection = server.connection()
    connection.connect()
    subject = dict(pair for (pair,) in connection.sock.getpeercert()["subject"])
    connection.close()
    return str(subject["commonName"])


def test_a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on(run, certificates, tmp_path):
    certificate, key = tmp_path / "c.pem", tmp_path / "c.key"
    for place, source in ((certificate, certificates["first"][0]), (key, certificates["first"][1])):
        shutil.copy(source, place)
    server = run(
        certificates["first"][0], ssl_certfile=str(certificate), ssl_keyfile=str(key), enable_ssl_refresh=True
    )
    server.load()
    assert peer_name(server) == "first"
    old = server.connection()
    old.request("GET", "/version")
    old.getresponse().read()
    server.trusted = certificates["second"][0]
    for place, source in ((key, certificates["second"][1]), (certificate, certificates["second"][0])):
        shutil.copy(source, tmp_path / "new")
        os.replace(tmp_path / "new", place)
    deadline_s = time.monotonic() + LIMIT_S
    while True:
        try:
            assert peer_name(server) == "second"
            break
        except ssl.SSLError:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    old.request("GET", "/version")
    assert old.getresponse().status == 200


def test_a_caller_without_a_certificate_is_turned_away_where_one_is_needed(run, certificates):
    (certificate, key), caller = certificates["first"], certificates["caller"]
    server = run(
        certificate, caller, ssl_certfile=certificate, ssl_keyfile=key, ssl_ca_certs=caller[0], ssl_cert_reqs=2,
        ssl_ciphers="ECDHE+AESGCM",
    )  # fmt: skip
    server.load()
    assert server.get("/version") == 200
    server.shown = None
    assert server.get("/version") == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ssl_certfile": "/no/such.pem"}, "cannot serve TLS with /no/such.pem and "),
        ({"ssl_ciphers": "NO-SUCH-CIPHER"}, "--ssl-ciphers: OpenSSL knows none of 'NO-SUCH-CIPHER'"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(changes, message, run, certificates):
    certificate, key = certificates["first"]
    server = run(certificate, **{"ssl_certfile": certificate, "ssl_keyfile": key, **changes})
    code, out, err = server.end()
    assert code == 2 and message in out and "Traceback" not in err


def test_a_half_written_certificate_leaves_the_old_one(certificates, tmp_path, caplog):
    certificate, key = certificates["first"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    half = tmp_path / "half.pem"
    half.write_text(Path(certificate).read_text()[:100])
    config = server_config(ssl_certfile=str(half), ssl_keyfile=key)
    assert not load_again(config, context) and "the old one stays" in caplog.text
    half.write_text(Path(certificate).read_text())
    assert load_again(config, context)
    assert "check --ssl-certfile" in str(tls_refusal(config, OSError(2, "No such file")))


def test_changes_are_looked_for_once_a_second(tmp_path):
    now_s = 0.0
    path = tmp_path / "a"
    stamp = FileStamp([str(path)], lambda: now_s)
    path.write_text("x")
    assert not stamp.has_changed()
    now_s = 1.1
    assert stamp.has_changed() and not stamp.has_changed()
    now_s = 2.2
    assert not stamp.has_changed()
    path.unlink()
    now_s = 3.3
    assert stamp.has_changed()
