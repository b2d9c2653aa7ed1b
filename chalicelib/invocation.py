"""One invocation of a function, as its log tells of it: whose line each is, and under which id.

A request that is refused, fails or takes long leaves a line of its own. One that goes well does not, as that
would cost a quarter of what signing an upload does: those are counted, and who wants each of them has API
Gateway keep an access log.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from chalice.app import Request, Response

from chalicelib import telemetry

SLOW = 1.0
"""Seconds after which an answer is worth a line."""


def told(event: Any, answer: Callable[[Any], Any]) -> Any:
    """Middleware of Chalice's, around every handler."""
    if isinstance(event, Request):
        return _request_told(event, answer)
    if event is None:  # no request, where one was to be: Chalice has the answer
        return answer(event)
    context = event.context
    with telemetry.about(function=_name(context), requestId=_id(context)):
        return answer(event)


def _request_told(request: Request, answer: Callable[[Any], Any]) -> Response:
    begun = time.perf_counter()
    context, gateway_id = request.lambda_context, request.context.get("requestId")
    with telemetry.about(function=_name(context), requestId=_id(context), apiRequestId=gateway_id):
        response: Response = answer(request)
        seconds = time.perf_counter() - begun
        if response.status_code >= 400 or seconds >= SLOW:
            telemetry.log(
                "request",
                level=logging.WARNING if response.status_code >= 500 else logging.INFO,
                method=request.method,
                route=request.path,  # the pattern: a path itself may have a file's name in it
                status=response.status_code,
                ms=round(seconds * 1000, 1),
            )
    return response


def _name(context: Any) -> str | None:
    """Of the function, as Lambda's context has it."""
    return getattr(context, "function_name", None)


def _id(context: Any) -> str | None:
    return getattr(context, "aws_request_id", None)
