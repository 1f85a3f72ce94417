"""The OpenAPI document: valid, whole, and in agreement with what the routes take and refuse."""

from __future__ import annotations

import pytest
from starlette.routing import Route

from quire.api.server import create_app
from quire.api.server.openai.protocol_chat import CHAT_FIELDS
from quire.api.server.routing import DocumentedRoute
from quire.api.server.web import PAGE_PATHS
from quire.api.server.web.descriptions import DESCRIPTIONS


@pytest.fixture
async def document(http):
    reply = await http.get("/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    return reply.json()


async def test_it_is_valid_openapi(document):
    validator = pytest.importorskip(
        "openapi_spec_validator", reason="openapi-spec-validator is not installed"
    )
    validator.validate(document)
    assert document["openapi"] == "3.1.0"


def test_every_route_is_described(make_service):
    app = create_app(make_service(has_dev_routes=True))
    own = {*PAGE_PATHS, "/openapi.json"}
    routes = [route for route in app.routes if isinstance(route, Route) and route.path not in own]
    assert not [route.path for route in routes if not isinstance(route, DocumentedRoute)]


def test_routes_that_only_refuse_are_left_out(document):
    assert "/v1/load_lora_adapter" not in document["paths"]
    assert "/v1/chat/completions" in document["paths"]


def test_descriptions_do_not_repeat_each_other(make_service):
    specs = [route.spec for route in create_app(make_service()).routes if isinstance(route, DocumentedRoute)]
    requests = [spec.request for spec in specs if spec.request is not None]
    assert len(requests) == len(set(requests))  # a request's component holds the fields of one route's table


async def test_a_request_lists_what_is_taken_and_not_what_is_refused(document):
    request = document["components"]["schemas"]["ChatRequest"]
    properties, refused = request["properties"], request["x-refused-fields"]
    number = {"type": "number", "minimum": 0.0, "maximum": 1000.0}
    assert properties["temperature"]["anyOf"] == [number, {"type": "null"}]
    assert properties["stream"]["anyOf"] == [{"type": "boolean"}, {"type": "null"}]
    assert properties["messages"]["items"] == {"$ref": "#/components/schemas/ChatMessage"}
    assert request["required"] == ["messages"]
    assert request["additionalProperties"] is False
    assert properties["user"]["type"] == ["string", "null"]
    assert properties["best_of"]["enum"] == [1, None]
    assert "audio" not in properties
    assert refused["audio"] == "this model takes and gives text only"
    assert sorted([*properties, *refused]) == CHAT_FIELDS.names


def requests_of(make_service):
    specs = [route.spec for route in create_app(make_service()).routes if isinstance(route, DocumentedRoute)]
    return [spec for spec in specs if spec.request is not None]


async def test_every_field_has_a_sentence_and_every_sentence_a_field(document, make_service):
    told = set()
    for spec in requests_of(make_service):
        name = spec.request.__name__
        fields = document["components"]["schemas"][name]["properties"]
        assert not [f"{name}.{field}" for field, schema in fields.items() if "description" not in schema]
        told |= {f"{name}.{field}" for field in fields} | set(fields)
    assert not set(DESCRIPTIONS) - told


def ends_of(schema):
    """(field's range, step to a number outside of it) where the document has one that is not its type's."""
    for option in schema.get("anyOf", [schema]):
        if option.get("type") in ("integer", "number"):
            step = 1 if option["type"] == "integer" else 1e-6
            for end, sign in (("minimum", -1), ("exclusiveMinimum", 0), ("maximum", 1)):
                if end in option and abs(option[end]) < 2**62:
                    yield option[end] + sign * step, sign


NEEDED = {  # beside a number, for it to be looked at
    "ChatRequest.top_logprobs": {"logprobs": True},
    "ResponsesRequest.top_logprobs": {"include": ["message.output_text.logprobs"]},
    "ChatRequest.stream_interval": {"stream": True},
    "CompletionRequest.stream_interval": {"stream": True},
}


@pytest.mark.parametrize(
    ("path", "name", "body"),
    [
        ("/v1/chat/completions", "ChatRequest", {"messages": [{"role": "user", "content": "hello"}]}),
        ("/v1/completions", "CompletionRequest", {"prompt": "hello"}),
        ("/v1/responses", "ResponsesRequest", {"input": "hello"}),
        (
            "/v1/messages",
            "MessagesRequest",
            {"max_tokens": 3, "messages": [{"role": "user", "content": "hello"}]},
        ),
    ],
)
async def test_numbers_outside_of_their_range_are_refused(path, name, body, document, http):
    properties = document["components"]["schemas"][name]["properties"]
    num_tried = 0
    for field, schema in properties.items():
        needed = NEEDED.get(f"{name}.{field}", {})
        for value, _ in ends_of(schema):
            reply = await http.post(path, json={**body, **needed, field: value})
            assert reply.status_code == 400, (field, value, reply.text)
            assert field in reply.json()["error"]["message"]
            num_tried += 1
    assert num_tried >= 6


async def test_replies_streams_and_errors(document):
    replies = document["paths"]["/v1/chat/completions"]["post"]["responses"]
    content = replies["200"]["content"]
    assert content["application/json"]["schema"]["$ref"].endswith("/ChatReply")
    assert content["text/event-stream"]["x-event"]["$ref"].endswith("/ChatChunk")
    assert replies["4XX"] == replies["5XX"] == {"$ref": "#/components/responses/Error"}
    error = document["components"]["schemas"]["ErrorDetail"]
    assert set(error["properties"]) == {"message", "type", "param", "code"}
    model = document["paths"]["/v1/models/{model}"]["get"]
    assert [parameter["name"] for parameter in model["parameters"]] == ["model"]


@pytest.mark.parametrize(("keys", "guarded"), [([], []), (["k"], [{"key": []}])])
async def test_who_needs_a_key(keys, guarded, make_service, connect):
    async with connect(make_service(api_keys=keys)) as client:
        reply = await client.get("/openapi.json", headers={"authorization": "Bearer k"})
    paths = reply.json()["paths"]
    assert paths["/v1/models"]["get"]["security"] == guarded
    assert paths["/health"]["get"]["security"] == []


async def test_a_proxys_prefix_is_the_server(make_service, connect):
    async with connect(make_service(root_path="/llm")) as client:
        assert (await client.get("/openapi.json")).json()["servers"] == [{"url": "/llm"}]
