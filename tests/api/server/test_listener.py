"""The listening socket: what it can be bound to, and what an error says."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys

import pytest
from tests.api.server.scripted_engine import server_config

from quire.api.server.listener import bind
from quire.base.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"host": "203.0.113.7"}, "host"),
        ({"host": "a" * 300}, "host"),
        ({"uds": "/no/such/folder/quire.sock"}, "uds"),
    ],
)
def test_an_address_nobody_has_names_its_setting(changes, setting):
    with pytest.raises(ConfigError) as caught:
        bind(server_config(port=0, **changes))
    assert caught.value.setting == setting


def test_a_socket_file_somebody_listens_on_is_left_alone(tmp_path):
    path = str(tmp_path / "live.sock")
    with bind(server_config(uds=path)), pytest.raises(ConfigError, match="another process"):
        bind(server_config(uds=path))
    with bind(server_config(uds=path)):  # the file of a socket nobody listens on any more
        pass


@pytest.mark.parametrize("host", ["", "127.0.0.1", "::1", "localhost"])
def test_hosts_of_every_kind(host):
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with bind(server_config(host=host, port=0)) as listener:
        assert listener.getsockname()[1] > 0


def test_more_files_may_be_open_than_a_user_gets_by_default():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    code = (
        "import resource; from quire.api.server.listener import allow_connections as allow; allow(); allow();"
    )
    code += "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)),
    )
    assert done.stdout.strip() == str((min(hard, 65_536), hard))
