"""What `GET /openapi.json` answers: the routes as they are wired, and what each has declared, in OpenAPI 3.1.

One source: the schemas that requests are checked with are the ones that are shown, and a route's line of
documentation is its view's docstring.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from chalicelib import answers, schemas
from chalicelib.schemas import Schema

VERSION = "0.1.0"

PATH_PARAMETERS: Mapping[str, Schema] = {
    "job_id": {"type": "string", "format": "uuid"},
    "name": {"type": "string", "minLength": 1, "description": "`original`, or the name of an output"},
}
"""What is known of a parameter of any path; one that is not here is some text."""

_ANY_TEXT: Schema = {"type": "string", "minLength": 1}
_PARAMETER = r"\{(\w+)\}"

_ERRORS = {
    400: "The request is not as described: the message says what to change, `field` where.",
    401: "There is no token, or not a good one.",
    404: "There is no such thing under this caller, whoever else may have one.",
    413: "The body is too large.",
    415: "The body is of another type.",
    500: "Something failed on our side.",
    503: "Not now: try again.",
}


class Contract(NamedTuple):
    """What a route takes and answers."""

    body: Schema = schemas.NOTHING
    query: Schema = schemas.NOTHING
    answer: Schema | None = None
    status: int = 200
    also: Mapping[int, str] = MappingProxyType({})
    """Other answers, status to description: redirects, and errors in the one error shape."""
    media_type: str = "application/json"
    etag: bool = False
    open: bool = False
    """Anyone may call it."""
    hidden: bool = False
    """Not part of the API: it is there to say so, with a 405."""

    @property
    def complete(self) -> bool:
        return self.hidden or self.status == 204 or self.answer is not None


def document(
    routes: Mapping[str, Mapping[str, Any]], base_url: str, *, authenticated: bool
) -> dict[str, Any]:
    """
    Args:
        routes: Chalice's own table of them, `app.routes`.
        authenticated: whether this deployment wants to know who calls.
    """
    components = _Components()
    paths: dict[str, dict[str, Any]] = {}
    for path, method, route, contract in _described(routes):
        if contract and not contract.hidden:
            operation = _operation(route, contract, components, authenticated)
            paths.setdefault(_camel_path(path), {})[method.lower()] = operation
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Waybill",
            "version": VERSION,
            "description": "Takes files in, processes them, and keeps a record of each.",
        },
        "servers": [{"url": base_url}],
        "paths": paths,
        "components": {"schemas": components.schemas},
    }
    if authenticated:
        bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        made["components"]["securitySchemes"] = {"bearer": bearer}
        made["security"] = [{"bearer": []}]
    return made


def undescribed(routes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Method and path of every route that does not say what it answers."""
    return [
        f"{method} {path}"
        for path, method, route, contract in _described(routes)
        if contract is None or not contract.complete or not _summary(route.view_function)
    ]


def _described(
    routes: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, str, Any, Contract | None]]:
    for path, methods in routes.items():
        for method, route in methods.items():
            yield path, method, route, getattr(route.view_function, "contract", None)


class _Components:
    """Schemas with an `$id`, each kept once and referred to."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}

    def put(self, schema: Any) -> Any:
        """The schema as it stands in the document."""
        if isinstance(schema, list):
            return [self.put(entry) for entry in schema]
        if not isinstance(schema, Mapping):
            return schema
        shown = {name: self.put(value) for name, value in schema.items() if name != "$id"}
        if "$id" not in schema:
            return shown
        name = "".join(part[:1].upper() + part[1:] for part in schema["$id"].split("-"))
        if self.schemas.setdefault(name, shown) != shown:
            raise ValueError(f"Two schemas are called {name}.")
        return {"$ref": f"#/components/schemas/{name}"}


def _operation(
    route: Any, contract: Contract, components: _Components, authenticated: bool
) -> dict[str, Any]:
    view = route.view_function
    operation: dict[str, Any] = {
        "operationId": _camel(view.__name__),
        "summary": _summary(view),
        "responses": _responses(route, contract, components, authenticated),
    }
    if parameters := [*_path_parameters(route), *_query_parameters(contract)]:
        operation["parameters"] = parameters
    if contract.etag:
        asked = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}
        operation.setdefault("parameters", []).append(asked)
    if contract.body["properties"]:
        operation["requestBody"] = {
            "required": bool(contract.body.get("required")),
            "content": {"application/json": {"schema": components.put(contract.body)}},
        }
    if contract.open and authenticated:
        operation["security"] = []
    return operation


def _path_parameters(route: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": _camel(name),
            "in": "path",
            "required": True,
            "schema": dict(PATH_PARAMETERS.get(name, _ANY_TEXT)),
        }
        for name in route.view_args
    ]


def _query_parameters(contract: Contract) -> list[dict[str, Any]]:
    required = contract.query.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": dict(schema)}
        for name, schema in contract.query["properties"].items()
    ]


def _responses(
    route: Any, contract: Contract, components: _Components, authenticated: bool
) -> dict[str, Any]:
    responses: dict[int, dict[str, Any]] = {contract.status: {"description": _summary(route.view_function)}}
    if contract.status != 204:
        schema = components.put(contract.answer or {})
        responses[contract.status]["content"] = {contract.media_type: {"schema": schema}}
    if contract.etag:
        tag = {"ETag": {"required": True, "schema": {"type": "string"}}}
        responses[contract.status]["headers"] = tag
        responses[304] = {"description": "What the client has is still good.", "headers": tag}
    for status, description in {**_expected_errors(route, contract, authenticated), **contract.also}.items():
        responses[status] = {"description": description}
        if status >= 400:
            responses[status]["content"] = {"application/json": {"schema": components.put(answers.ERROR)}}
        else:
            responses[status]["headers"] = {"Location": {"required": True, "schema": {"type": "string"}}}
    return {str(status): responses[status] for status in sorted(responses)}


def _expected_errors(route: Any, contract: Contract, authenticated: bool) -> dict[int, str]:
    """The errors that follow from what a route takes."""
    takes_body = route.method in ("POST", "PUT", "PATCH")
    expected = {
        400: not contract.open,  # unknown parameters are refused everywhere else
        401: authenticated and not contract.open,
        404: bool(route.view_args),
        413: takes_body,
        415: "*/*" not in route.content_types,
        500: True,
        503: not contract.open,
    }
    return {status: _ERRORS[status] for status, may_come in expected.items() if may_come}


def _summary(view: Any) -> str:
    return (inspect.getdoc(view) or "").partition("\n")[0]


def _camel_path(path: str) -> str:
    return re.sub(_PARAMETER, lambda found: f"{{{_camel(found[1])}}}", path)


def _camel(snake: str) -> str:
    first, *rest = snake.split("_")
    return first + "".join(part.capitalize() for part in rest)
