"""HTTP, between Chalice and the services: who calls, what was sent, and the one error shape."""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from chalice.app import Chalice, CORSConfig, Request, Response

from chalicelib import auth, schemas, settings
from chalicelib.conditional import matches, strong_etag
from chalicelib.errors import BadRequest, PayloadTooLarge, WaybillError
from chalicelib.jsontext import to_json
from chalicelib.settings import Settings
from chalicelib.telemetry import cause, log, note, owner_hash


class _Unchanging(CORSConfig):
    """What it says is put together once, and not for each request."""

    def __init__(self, **said: Any) -> None:
        super().__init__(**said)
        self._headers: dict[str, str] = super().get_access_control_headers()

    def get_access_control_headers(self) -> dict[str, str]:
        return dict(self._headers)


CORS = _Unchanging(
    allow_origin="*",  # callers bear a token; nothing here rests on cookies
    allow_headers=["Authorization", "Content-Type", "If-None-Match"],
    expose_headers=["ETag", "Location", "Retry-After"],
    max_age=600,
)

ANY_TYPE = ["*/*"]
"""Bodies are read as JSON whatever they are called: `curl -d` calls them a form."""

MAX_BODY_BYTES = 64 * 1024
MAX_PARTS_BODY = 2 * 1024 * 1024
"""Room for the numbers and ETags of 10,000 parts."""


class Call(NamedTuple):  # made for each request, in half the time of a frozen dataclass
    """One request, checked."""

    settings: Settings
    owner: str
    body: Mapping[str, Any]
    query: Mapping[str, str]
    base_url: str
    headers: Mapping[str, str]
    """Their names in any case."""


def unless_known(request: Request, response: Response) -> Response:
    """The response with its `ETag`, or 304 without a body for a client that has it."""
    tag = strong_etag(response.body)
    kept: dict[str, Any] = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if matches(request.headers.get("if-none-match", ""), tag):
        return Response("", headers=kept, status_code=304)
    response.headers.update(kept)
    return response


def here(app: Chalice) -> str:
    """The URL of this API, for a view without a `Call`."""
    return base_url(settings.get().public_url, current(app))


def headers(app: Chalice) -> Mapping[str, str]:
    """The headers of the current request, found whatever the case of their names."""
    sent: Mapping[str, str] = current(app).headers
    return sent


def current(app: Chalice) -> Request:
    request = app.current_request
    assert request is not None, "Chalice sets it before it calls a view"
    return request


def one_error_shape(request: Request, get_response: Callable[[Request], Response]) -> Response:
    """Middleware: Chalice's own refusals (method, media type) in the shape of all others, and with CORS."""
    response = get_response(request)
    known = response.body if isinstance(response.body, dict) else {}
    if response.status_code >= 400 and known.keys() == {"Code", "Message"}:
        code = _SNAKE_CODES.get(known["Code"], "bad_request")
        response.body = to_json({"error": code, "message": known["Message"].rstrip(".") + "."})
        response.headers = {
            **CORS.get_access_control_headers(),
            **response.headers,
            "Content-Type": "application/json",
        }
    return response


_SNAKE_CODES = {
    "MethodNotAllowedError": "method_not_allowed",
    "UnsupportedMediaType": "unsupported_media_type",
    "InternalServerError": "internal_error",
}


def json_response(status: int, body: Any) -> Response:
    return Response(to_json(body), headers={"Content-Type": "application/json"}, status_code=status)


def error_response(error: WaybillError) -> Response:
    response = json_response(error.status, error.body())
    response.headers.update(error.headers)
    return response


def no_content() -> Response:
    return Response("", status_code=204)


def base_url(configured: str | None, request: Request) -> str:
    """The URL that this API was called by, without a slash at the end."""
    if configured:
        return configured.rstrip("/")
    scheme = request.headers.get("x-forwarded-proto", "http").partition(",")[0].strip()
    host = request.headers.get("host", "localhost")
    return f"{scheme}://{host}{_before(request.path, str(request.context.get('path', '')))}"


@lru_cache(maxsize=64)  # of requests that are alike; a path with an id in it comes and goes
def _before(route: str, path: str) -> str:
    """Behind API Gateway a path starts with the stage, or with a domain's mapping: no part of the route."""
    segments = [segment for segment in path.split("/") if segment]
    of_route = sum(1 for segment in route.split("/") if segment)
    return "".join(f"/{segment}" for segment in segments[: max(0, len(segments) - of_route)])


def checked(request: Request, body: schemas.Schema, query: schemas.Schema, max_body: int) -> Call:
    configured = settings.get()
    owner = auth.owner(configured, request.headers)
    note(owner=owner_hash(owner))
    sent_query = dict(request.query_params or {})
    schemas.check(query, sent_query)
    sent = _json_object(request, max_body) if request.method in ("POST", "PUT", "PATCH") else {}
    schemas.check(body, sent)
    return Call(
        configured, owner, sent, sent_query, base_url(configured.public_url, request), request.headers
    )


def _json_object(request: Request, max_body: int) -> dict[str, Any]:
    """The body as a JSON object; an empty body counts as `{}`."""
    try:
        raw = request.raw_body
    except ValueError:
        raise BadRequest("The body is not the base64 that it claims to be.", code="bad_json") from None
    if len(raw) > max_body:
        raise PayloadTooLarge(
            f"The body has more than {max_body} bytes. Files do not go here: PUT them to uploadUrl."
        )
    if not raw.strip():
        return {}
    try:
        body = _decode(
            raw if isinstance(raw, str) else raw.decode(json.detect_encoding(raw), "surrogatepass")
        )
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON: send an object, such as {}.", code="bad_json") from None
    if not isinstance(body, dict):
        raise BadRequest("The body is JSON, but no object: send one, such as {}.", code="bad_json")
    return body


def _no_constant(name: str) -> None:
    raise ValueError(name)


_decode = json.JSONDecoder(parse_constant=_no_constant).decode  # `json.loads` makes a decoder for each call


def refused(request: Request, error: WaybillError) -> Response:
    if error.status >= 500:
        _log_failure(request, error)
    note(error=error.code)
    return error_response(error)


def unexpected(request: Request, error: Exception) -> Response:
    """No stack trace to the caller, but an id under which the log has it."""
    _log_failure(request, error)
    return error_response(
        WaybillError(
            "Something failed on our side. Try again; if it stays, report the requestId.",
            requestId=_request_id(request),
        )
    )


def _log_failure(request: Request, error: Exception) -> None:
    log(
        "request.failed",
        level=logging.ERROR,
        route=request.path,
        error=cause(error),
        trace=traceback.format_tb(error.__traceback__),
    )


def _request_id(request: Request) -> str:
    """API Gateway's, which its access log has as well; without a gateway, Lambda's."""
    return str(
        request.context.get("requestId") or getattr(request.lambda_context, "aws_request_id", "unknown")
    )
