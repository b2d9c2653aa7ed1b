"""How app.py declares a route: path, what it takes, what it answers.

What is declared is what requests are checked with, and what `GET /openapi.json` says of the route.
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypedDict, Unpack

from chalice.app import Chalice, Request, Response

from chalicelib import api, keys, schemas, telemetry
from chalicelib.errors import MethodNotAllowed, WaybillError
from chalicelib.openapi import Contract

View = Callable[..., Any]


class Declared(TypedDict, total=False):
    """What a route says of itself.

    `body` and `query` are what it takes; anything else is a 400. `answer` is what it answers with `status`,
    left out for a 204. `also` are other answers, status to description, as the view may give them (302) or
    raise them (409). `etag` lets a client that has the answer ask whether it is still good.
    """

    body: schemas.Schema
    query: schemas.Schema
    max_body: int
    answer: schemas.Schema
    status: int
    also: Mapping[int, str]
    etag: bool


class Routes:
    """Decorators for views: functions of an `api.Call` and the path's parameters.

    What a view returns becomes the JSON answer; a `WaybillError` becomes its status in the one error shape.
    """

    def __init__(self, app: Chalice) -> None:
        self._app = app

    def get(self, path: str, **declared: Unpack[Declared]) -> Callable[[View], View]:
        return self._route("GET", path, **declared)

    def post(self, path: str, **declared: Unpack[Declared]) -> Callable[[View], View]:
        return self._route("POST", path, **declared)

    def delete(self, path: str, **declared: Unpack[Declared]) -> Callable[[View], View]:
        return self._route("DELETE", path, **declared)

    def open(
        self, path: str, *, answer: schemas.Schema, media_type: str = "application/json"
    ) -> Callable[[View], View]:
        """A GET that is open to anyone; its view is Chalice's own kind, without a `Call`."""
        contract = Contract(answer=answer, media_type=media_type, open=True)

        def register(view: View) -> View:
            return self._register("GET", path, _declaring(contract, view))

        return register

    def mistake(self, path: str, methods: list[str], *, allow: str, message: str) -> None:
        """Answer who takes one route for another with a 405; `{here}` becomes the URL of the API.

        API Gateway itself would answer an undeclared method with "Missing Authentication Token".
        """

        def refuse() -> Response:
            """The path is there, and takes another method."""
            said = message.format(here=api.here(self._app))
            return api.error_response(MethodNotAllowed(said, allow=allow))

        view = _declaring(Contract(hidden=True), refuse)
        self._app.route(path, methods=methods, content_types=api.ANY_TYPE, cors=api.CORS)(view)

    def _route(
        self,
        method: str,
        path: str,
        *,
        body: schemas.Schema = schemas.NOTHING,
        query: schemas.Schema = schemas.NOTHING,
        max_body: int = api.MAX_BODY_BYTES,
        answer: schemas.Schema | None = None,
        status: int = 200,
        also: Mapping[int, str] = MappingProxyType({}),
        etag: bool = False,
    ) -> Callable[[View], View]:
        contract = Contract(body, query, answer, status, dict(also), etag=etag)

        def register(view: View) -> View:
            @functools.wraps(view)
            def respond(**path: str) -> Response:
                request = api.current(self._app)
                if "job_id" in path and keys.is_job_id(path["job_id"]):
                    telemetry.note(jobId=path["job_id"])
                try:
                    made = view(api.checked(request, body, query, max_body), **path)
                except WaybillError as error:
                    return api.refused(request, error)
                except Exception as error:
                    return api.unexpected(request, error)
                return _response(request, made, status, etag=etag)

            return self._register(method, path, _declaring(contract, respond))

        return register

    def _register(self, method: str, path: str, view: View) -> View:
        taken = {"content_types": api.ANY_TYPE} if method == "POST" else {}
        registered: View = self._app.route(path, methods=[method], cors=api.CORS, **taken)(view)
        return registered


def _declaring(contract: Contract, view: View) -> View:
    vars(view)["contract"] = contract
    return view


def _response(request: Request, made: Any, status: int, *, etag: bool) -> Response:
    if isinstance(made, Response):
        return made
    if status == 204:
        return api.no_content()
    response = api.json_response(status, made)
    return api.unless_known(request, response) if etag else response
