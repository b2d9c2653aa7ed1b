"""One invocation of a function, as its log tells of it: whose line each is, and under which id; and of a
request to the API a line of its own."""

import os
import time
from collections.abc import Callable
from typing import Any

from chalice.app import Request, Response

from chalicelib import metrics, settings, telemetry


def told(event: Any, answer: Callable[[Any], Any]) -> Any:
    """Middleware of Chalice's, around every handler."""
    if isinstance(event, Request):
        return _request_told(event, answer)
    if event is None:  # no request, where one was to be: Chalice has the answer
        return answer(event)
    with telemetry.about(**_invocation(event.context)):
        return answer(event)


def _request_told(request: Request, answer: Callable[[Any], Any]) -> Response:
    """Chalice sets no access log up at API Gateway: this line is all there is of a request that went well."""
    begun = time.perf_counter()
    gateway_id = request.context.get("requestId")
    with telemetry.about(**_invocation(request.lambda_context), apiRequestId=gateway_id):
        response: Response = answer(request)
        signed = metrics.UPLOADS_SIGNED.name in telemetry.noted()
        measured = metrics.measured(settings.get().stage, {metrics.UPLOADS_SIGNED: 1}) if signed else {}
        telemetry.log(
            "request",
            method=request.method,
            route=request.path,  # the pattern: a path itself may have a file's name in it
            status=response.status_code,
            ms=round((time.perf_counter() - begun) * 1000, 2),
            **measured,
        )
    return response


def _invocation(context: Any) -> dict[str, Any]:
    """`context` is Lambda's. The environment has an id of X-Ray's, whether or not it traces this invocation
    (Lambda Developer Guide, "Defined runtime environment variables")."""
    trace = os.environ.get("_X_AMZN_TRACE_ID", "")
    return {
        "function": getattr(context, "function_name", None),
        "requestId": getattr(context, "aws_request_id", None),
        "traceId": trace if "Sampled=1" in trace else None,
    }
