"""Log lines as the settings want them: level, prefix, stream, a file of one's own, no set-up, quiet paths."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.base.config.conftest import make_card, make_machine

from quire.base.config import Asked, LogConfig, resolve
from quire.base.errors import ConfigError
from quire.base.logs import set_up_logging

SCRIPT = """
import json, logging, logging.config, sys
import msgspec
from quire.api.server.logs import log_config
from quire.base.config import LogConfig
config = msgspec.convert(json.loads(sys.argv[1]), LogConfig)
dictionary = log_config("info", config, ["/health"])
if dictionary is not None:
    logging.config.dictConfig(dictionary)
for level in ("debug", "info", "error"):
    getattr(logging.getLogger("quire.server"), level)("a line")
access = logging.getLogger("uvicorn.access")
for path in ("/health", "/health?x=1", "/v1/models"):
    access.info('%s - "%s %s HTTP/%s" %d', "host:1", "GET", path, "1.1", 200)
"""


def settings(**environ: str) -> LogConfig:
    return resolve(Asked.from_arguments([], environ), make_card(), make_machine()).engine.log


def lines(**environ: str) -> tuple[list[str], list[str]]:
    """(stdout, stderr) of a process that is set up by these variables."""
    import msgspec

    config = json.dumps(msgspec.to_builtins(settings(**environ)))
    done = subprocess.run([sys.executable, "-c", SCRIPT, config], capture_output=True, text=True, check=True)
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_our_lines_go_to_stderr_from_info_on():
    out, err = lines()
    assert err == ["INFO a line", "ERROR a line"]
    assert len(out) == 1 and "/v1/models" in out[0]  # the access log, without the quiet path


def test_level_prefix_and_stream():
    environ = {
        "VLLM_LOGGING_LEVEL": "debug",
        "VLLM_LOGGING_PREFIX": "100% ",
        "VLLM_LOGGING_STREAM": "ext://sys.stdout",
    }
    out, err = lines(**environ)
    assert out[:3] == ["100% DEBUG a line", "100% INFO a line", "100% ERROR a line"]
    assert err == []


def test_a_file_takes_the_place_of_everything(tmp_path):
    path, log = tmp_path / "log.json", tmp_path / "log.txt"
    dictionary = {
        "version": 1,
        "handlers": {"file": {"class": "logging.FileHandler", "filename": str(log)}},
        "root": {"handlers": ["file"], "level": "ERROR"},
    }
    path.write_text(json.dumps(dictionary))
    assert lines(VLLM_LOGGING_CONFIG_PATH=str(path)) == ([], [])
    assert log.read_text() == "a line\n"


def test_nothing_is_set_up_where_it_is_not_wanted():
    out, err = lines(VLLM_CONFIGURE_LOGGING="0")
    assert (out, err) == ([], ["a line"])  # Python's own last resort


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 7}', None])
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, text):
    path = tmp_path / "log.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(
        ConfigError, match=r"^VLLM_LOGGING_CONFIG_PATH: \S+log.json cannot be used: "
    ) as caught:
        set_up_logging(LogConfig(path=str(path)))
    assert "\n" not in str(caught.value)
