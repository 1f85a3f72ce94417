"""The OpenAPI 3.1 document, made of the routes themselves and of the types and field tables they decode with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from quire import __version__
from quire.api.server.routing import DocumentedRoute, Spec
from quire.api.server.web.descriptions import DESCRIPTIONS
from quire.base.messages import SamplingParams

_REFERENCE = "#/components/schemas/{name}"
_PATH_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_JSON_TYPES: dict[type, str] = {str: "string", dict: "object", bool: "boolean", int: "integer", list: "array"}
_STREAM = (
    "The reply; server-sent events when the request says `stream: true`: each `data:` line holds one JSON object as "
    "described by `x-event`; the last one is `[DONE]`. An error on the way is an event, too."
)

Schema = dict[str, Any]


def openapi_document(
    routes: Iterable[DocumentedRoute], *, public_paths: Iterable[str], needs_key: bool, server_path: str = ""
) -> dict[str, Any]:
    """Describes `routes`, but those that only ever refuse. `public_paths` need no key even where `needs_key`;
    `server_path` is a proxy's prefix."""
    documented = [route for route in routes if route.spec.status < 400]
    schemas = _Schemas([route.spec for route in documented])
    paths: dict[str, dict[str, Any]] = {}
    for route in documented:
        path = _PATH_PARAMETER.sub(r"{\1}", route.path)
        is_open = not needs_key or route.path in public_paths
        for method in sorted((route.methods or set()) - {"HEAD"}):
            operation = _operation(route, method, schemas)
            operation["security"] = [] if is_open else [{"key": []}]
            paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Quire",
            "version": __version__,
            "description": "Text generation with OpenAI's routes. A field that is known and not taken is refused by "
            "name, see `x-refused-fields` of each request; nothing is silently ignored.",
        },
        "servers": [{"url": server_path or "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {
                _error_name(error): _error_response(error, schemas)
                for error in dict.fromkeys(route.spec.error for route in documented)
            },
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "One of the keys the server was started with (--api-key).",
                }
            },
        },
    }


def _operation(route: DocumentedRoute, method: str, schemas: _Schemas) -> dict[str, Any]:
    spec = route.spec
    operation: dict[str, Any] = {
        "operationId": _operation_id(method, route.path),
        "summary": spec.summary,
        "tags": [spec.tag],
        "responses": {
            str(spec.status): {
                "description": "The reply" if spec.event is None else _STREAM,
                "content": _content(spec, schemas),
            },
            "4XX": {"$ref": f"#/components/responses/{_error_name(spec.error)}"},
            "5XX": {"$ref": f"#/components/responses/{_error_name(spec.error)}"},
        },
    }
    if spec.reply is not None and spec.tag == "Probes":  # not well is an answer here, no error
        operation["responses"]["503"] = {"description": "No", "content": _content(spec, schemas)}
    parameters = [
        _parameter(name, "path", {"type": "string"}) for name in _PATH_PARAMETER.findall(route.path)
    ]
    parameters += [_parameter(name, "query", schema) for name, schema in (spec.query or {}).items()]
    if parameters:
        operation["parameters"] = parameters
    if spec.request is not None:
        body = {"schema": schemas.of(spec.request)}
        operation["requestBody"] = {"required": True, "content": {"application/json": body}}
    return operation


def _parameter(name: str, place: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _operation_id(method: str, path: str) -> str:
    words = re.findall(r"\w+", _PATH_PARAMETER.sub(r"by_\1", path))
    return "_".join([method.lower(), *words])


def _content(spec: Spec, schemas: _Schemas) -> dict[str, Any]:
    schema: Schema = schemas.of(spec.reply) if spec.reply is not None else {}
    content: dict[str, Any] = {spec.media_type: {"schema": schema} if schema else {}}
    if spec.event is not None:
        content["text/event-stream"] = {"x-event": schemas.of(spec.event)}
    return content


def _error_name(error: type) -> str:
    return error.__name__.removesuffix("Body")


def _error_response(error: type, schemas: _Schemas) -> dict[str, Any]:
    return {
        "description": "What was wrong, in words and by field. 503 and 429 carry Retry-After.",
        "content": {"application/json": {"schema": schemas.of(error)}},
    }


class _Schemas:
    """Every type of the routes as a component; a request's also knows the fields its table adds."""

    def __init__(self, specs: list[Spec]) -> None:
        self._types: list[Any] = []
        for type_ in (type_ for spec in specs for type_ in _types_of(spec)):
            if type_ not in self._types:
                self._types.append(type_)
        found, self.components = msgspec.json.schema_components(self._types, ref_template=_REFERENCE)
        self._schemas: list[Schema] = list(found)
        for spec in specs:
            if spec.request is not None and spec.fields is not None:
                self._complete(self._component(spec.request), spec)

    def of(self, type_: Any) -> Schema:
        return self._schemas[self._types.index(type_)]

    def _component(self, type_: Any) -> Schema:
        component: Schema = self.components[self.of(type_)["$ref"].rsplit("/", 1)[1]]
        return component

    def _complete(self, schema: Schema, spec: Spec) -> None:
        """Harmless fields are taken as they are, refused ones with the values that ask for nothing alone."""
        assert spec.fields is not None
        required = schema.get("required", [])
        taken: Mapping[str, Schema] = {
            **schema.get("properties", {}),
            **{name: self.of(type_) for name, type_ in (spec.inner or {}).items()},
        }
        properties = {name: taken[name] for name in required}
        properties |= {name: _or_null(part) for name, part in taken.items() if name not in required}
        properties = _told(properties, spec)
        for name, type_ in sorted(spec.fields.harmless.items()):
            properties[name] = {"type": [_JSON_TYPES[type_], "null"], "description": "Has no effect."}
        refused = sorted(spec.fields.refused.items())
        for name, refusal in refused:
            if refusal.unless:
                properties[name] = {
                    "enum": [*refusal.unless, None],
                    "description": f"Only what happens anyway: {refusal.reason}.",
                }
        schema["properties"] = properties
        schema["additionalProperties"] = False
        schema["x-refused-fields"] = {name: refusal.reason for name, refusal in refused if not refusal.unless}


def _told(properties: Mapping[str, Schema], spec: Spec) -> dict[str, Schema]:
    """The same with what each means, and the ranges that SamplingParams checks."""
    ranges: dict[str, Schema] = {}
    if spec.sampling is not None:
        ranges = dict(SamplingParams.ranges())
        ranges |= {other: ranges[name] for name, other in spec.sampling.items()}
    told = {}
    for name, schema in properties.items():
        text = DESCRIPTIONS.get(f"{spec.request.__name__}.{name}") or DESCRIPTIONS.get(name)
        bounded = _bounded(schema, ranges[name]) if name in ranges else schema
        told[name] = {**bounded, "description": text} if text else bounded
    return told


def _bounded(schema: Schema, ends: Schema) -> Schema:
    if schema.get("type") in ("integer", "number"):
        return {**schema, **ends}
    if "anyOf" not in schema:
        return schema
    return {**schema, "anyOf": [_bounded(option, ends) for option in schema["anyOf"]]}


def _types_of(spec: Spec) -> list[Any]:
    types = [spec.request, spec.reply, spec.event, spec.error, *(spec.inner or {}).values()]
    return [type_ for type_ in types if type_ is not None]


def _or_null(schema: Schema) -> Schema:
    """A `null` counts as left out."""
    options = schema.get("anyOf")
    if isinstance(options, list):
        if {"type": "null"} in options:
            return schema
        return {**schema, "anyOf": [*options, {"type": "null"}]}
    if "default" in schema:
        inner = {key: value for key, value in schema.items() if key != "default"}
        return {"anyOf": [inner, {"type": "null"}], "default": schema["default"]}
    return {"anyOf": [schema, {"type": "null"}]}
