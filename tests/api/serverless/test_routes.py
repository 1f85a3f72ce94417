"""Routes a job may and may not ask for."""

from __future__ import annotations

import pytest

from quire.api.serverless.failures import JobError
from quire.api.serverless.routes import checked_method, checked_route


@pytest.mark.parametrize(
    "route",
    [
        "/v1/chat/completions",
        "/v1/models",
        "/v1/models/org/name-1.5:latest",
        "/v2/rerank",
        "/tokenize",
        "/health",
        "/metrics",
        "/v1/responses/resp_1?stream=true",
    ],
)
def test_an_open_route_is_itself(route):
    assert checked_route(route) == route


@pytest.mark.parametrize(
    "route",
    [
        "@evil.example/x",
        "/@evil.example/x",
        "//evil.example/v1/x",
        "http://evil.example/v1",
        "v1/models",
        "/v1/../pause",
        "/v1/./models",
        "/v1//models",
        "/v1/%2e%2e/pause",
        "/v1\\..\\pause",
        "/v1/models#x",
        "/v1/models\r\nX: y",
        "/v1/models HTTP/1.1",
        "/v1/models?x=@evil/y",
        "/v1/mödels",
        "/v1/",
        "/",
        "",
        "/pause",
        "/update_weights",
        "/v10/models",
        "/tokenize/x",
        ":8080/v1/models",
        7,
        None,
    ],
)
def test_anything_else_is_refused(route):
    with pytest.raises(JobError, match="Invalid route"):
        checked_route(route)


def test_the_operator_may_open_more():
    assert checked_route("/pause", ["/pause"]) == "/pause"
    assert checked_route("/admin/x/y", ["/admin/*"]) == "/admin/x/y"
    with pytest.raises(JobError):
        checked_route("/administer", ["/admin/*"])
    with pytest.raises(JobError):
        checked_route("/admin/../pause", ["/admin/*"])


def test_methods():
    assert checked_method(None, has_body=True) == "POST"
    assert checked_method("", has_body=False) == "GET"
    assert checked_method("delete", has_body=False) == "DELETE"
    for method in ("CONNECT", "PUT", "GET /x", 5):
        with pytest.raises(JobError, match="method"):
            checked_method(method, has_body=False)
