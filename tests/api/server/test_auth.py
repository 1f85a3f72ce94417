"""API keys: every route but the probes needs one, whatever way its path is written."""

from __future__ import annotations

import httpx
import pytest
from starlette.routing import Route

from quire.api.server import create_app
from quire.api.server.auth import PUBLIC_PATHS

KEYS = ["first-key", "second-key"]


@pytest.fixture
def guarded(make_service, connect):
    return connect(make_service(api_keys=KEYS, has_dev_routes=True))


async def test_every_route_that_is_not_public_needs_a_key(guarded, make_service):
    routes = [
        route for route in create_app(make_service(has_dev_routes=True)).routes if isinstance(route, Route)
    ]
    assert len(routes) >= 45
    for route in routes:
        for method in route.methods or ():
            reply = await guarded.request(method, route.path)
            if route.path in PUBLIC_PATHS:
                assert reply.status_code in (200, 204), route.path
            else:
                assert reply.status_code == 401, f"{method} {route.path} is open"
                assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path",
    [
        "//v1/models",
        "/v1/../v1/models",
        "/health/../v1/models",
        "/v1/models/",
        "/V1/models",
        "/%76%31/models",
        "/health%2f..%2fv1%2fmodels",
        "/healthx",
        "/health/",
        "/no/such/route",
    ],
)
async def test_no_spelling_of_a_path_gets_past_the_key(path, make_service):
    transport = httpx.ASGITransport(create_app(make_service(api_keys=KEYS)))
    for host in ("test", "test/health", "health"):
        scope_path = httpx.URL(f"http://test{path}")
        async with httpx.AsyncClient(transport=transport) as client:
            reply = await client.get(scope_path, headers={"host": host})
        assert reply.status_code == 401


@pytest.mark.parametrize("key", KEYS)
async def test_each_key_opens(key, guarded):
    reply = await guarded.get("/v1/models", headers={"authorization": f"Bearer {key}"})
    assert reply.status_code == 200
    reply = await guarded.get("/v1/models", headers={"x-api-key": key})
    assert reply.status_code == 200


@pytest.mark.parametrize("value", ["", "first", "first-key2", "Bearer first-key", "é"])
async def test_nothing_else_opens_in_anthropic_s_header(value, guarded):
    reply = await guarded.get("/v1/models", headers={"x-api-key": value.encode()})
    assert reply.status_code == 401


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer first",
        "Basic first-key",
        "first-key",
        "Bearer first-key2",
        "Bearer é",
    ],
)
async def test_nothing_else_opens(value, guarded):
    reply = await guarded.get("/v1/models", headers={"authorization": value.encode()})
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"


async def test_a_public_path_stays_public_under_a_root_path(make_service):
    app = create_app(make_service(api_keys=KEYS, root_path="/llm"))
    transport = httpx.ASGITransport(app, root_path="/llm")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/llm/health")).status_code == 200
        assert (await client.get("/llm/v1/models")).status_code == 401
