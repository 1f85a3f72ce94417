"""What the worker itself reads."""

from __future__ import annotations

import pytest

from quire.api.serverless.batching import BatchGrowth
from quire.api.serverless.worker_settings import Compat, Mode, WorkerSettings, read_settings
from quire.base.errors import ConfigError


def test_nothing_given():
    assert read_settings({}) == WorkerSettings()
    assert read_settings({"MAX_CONCURRENCY": "", "RAW_OPENAI_OUTPUT": "None"}) == WorkerSettings()


def test_all_given():
    environ = {
        "RUNPOD_COMPAT": "V2",
        "DEFAULT_BATCH_SIZE": "20",
        "DEFAULT_MIN_BATCH_SIZE": "2",
        "DEFAULT_BATCH_SIZE_GROWTH_FACTOR": "1.5",
        "RAW_OPENAI_OUTPUT": "false",
        "MAX_CONCURRENCY": "7",
        "VLLM_PORT": "9001",
        "VLLM_STARTUP_TIMEOUT": "5",
        "REQUEST_TIMEOUT": "1.5",
        "WORKER_ALLOWED_ROUTES": "/pause, /admin/*",
    }
    assert read_settings(environ) == WorkerSettings(
        compat=Compat.V2,
        growth=BatchGrowth(20, 2, 1.5),
        is_raw_openai=False,
        max_concurrency=7,
        server_port=9001,
        startup_timeout_s=5.0,
        request_timeout_s=1.5,
        more_routes=("/pause", "/admin/*"),
    )


def test_the_first_generation_took_three_hundred_jobs():
    assert read_settings({"RUNPOD_COMPAT": "v1"}).max_concurrency == 300
    assert read_settings({"RUNPOD_COMPAT": "v1", "MAX_CONCURRENCY": "4"}).max_concurrency == 4


def test_the_documented_names_of_batching_win_over_those_the_code_once_read():
    older = {"MIN_BATCH_SIZE": "4", "BATCH_SIZE_GROWTH_FACTOR": "2"}
    assert read_settings(older).growth == BatchGrowth(50, 4, 2.0)
    both = older | {"DEFAULT_MIN_BATCH_SIZE": "6", "DEFAULT_BATCH_SIZE_GROWTH_FACTOR": "1.5"}
    assert read_settings(both).growth == BatchGrowth(50, 6, 1.5)


def test_ports_of_the_load_balancer_mode():
    found = read_settings({"PORT": "8000", "PORT_HEALTH": "8001"}, "load-balancer")
    assert (found.mode, found.port, found.health_port, found.server_port) == (
        Mode.LOAD_BALANCER,
        8000,
        8001,
        8002,
    )
    assert read_settings({"WORKER_MODE": "load-balancer"}).health_port == 80
    # a container's PORT means something else to the queue mode
    assert read_settings({"PORT": "tcp://10.0.0.1:80"}).server_port == 8000


def test_the_servers_address_is_loopback():
    assert read_settings({"VLLM_BASE_URL": "http://127.0.0.1:8123"}).server_port == 8123
    assert read_settings({"VLLM_BASE_URL": "http://localhost:8123/", "VLLM_PORT": "8123"}).server_port == 8123


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"RUNPOD_COMPAT": "v4"}, "RUNPOD_COMPAT"),
        ({"WORKER_MODE": "x"}, "WORKER_MODE"),
        ({"MAX_CONCURRENCY": "0"}, "MAX_CONCURRENCY"),
        ({"DEFAULT_BATCH_SIZE": "1.5"}, "DEFAULT_BATCH_SIZE"),
        ({"DEFAULT_BATCH_SIZE_GROWTH_FACTOR": "nan"}, "DEFAULT_BATCH_SIZE_GROWTH_FACTOR"),
        ({"BATCH_SIZE_GROWTH_FACTOR": "x"}, "BATCH_SIZE_GROWTH_FACTOR"),
        ({"RAW_OPENAI_OUTPUT": "2"}, "RAW_OPENAI_OUTPUT"),
        ({"VLLM_PORT": "99999"}, "VLLM_PORT"),
        ({"VLLM_BASE_URL": "http://example.org:8000"}, "VLLM_BASE_URL"),
        ({"VLLM_BASE_URL": "http://127.0.0.1:80@example.org:1"}, "VLLM_BASE_URL"),
        ({"VLLM_BASE_URL": "http://127.0.0.1:x"}, "VLLM_BASE_URL"),
        ({"VLLM_BASE_URL": "http://127.0.0.1:1", "VLLM_PORT": "2"}, "VLLM_BASE_URL"),
        ({"VLLM_STARTUP_TIMEOUT": "0"}, "VLLM_STARTUP_TIMEOUT"),
        ({"REQUEST_TIMEOUT": "inf"}, "REQUEST_TIMEOUT"),
        ({"WORKER_ALLOWED_ROUTES": "pause"}, "WORKER_ALLOWED_ROUTES"),
        ({"WORKER_ALLOWED_ROUTES": "/*"}, "WORKER_ALLOWED_ROUTES"),
        ({"WORKER_MODE": "load-balancer", "PORT": "81", "VLLM_PORT": "81"}, "VLLM_PORT"),
    ],
)
def test_a_wrong_value_is_named(environ, name):
    with pytest.raises(ConfigError, match=name):
        read_settings(environ)
