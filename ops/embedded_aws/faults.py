"""Bad days: a share of the requests is answered with an error, as AWS itself does now and then.

Off, unless `--faults` says otherwise. Spared is root, who sets the stack up and looks at it; what functions,
the HTTP API and holders of signed URLs ask is not. Half of the faulty requests have been carried out all the
same: their answers got lost. One fault in ten is there for each attempt of the SDK at that call, so that it
reaches the code above the SDK's patience.
"""

import hashlib
import json
import random
import re
from collections.abc import Callable
from typing import Any

LASTING = 0.1
"""Of all faults: the share that the SDK's own retries do not get over."""

SPARED = "test"
"""The access key of root (`ops.stack.ROOT_KEYS`)."""

_CREDENTIAL = re.compile(r"Credential=([^/,]+)/[0-9]{8}/[^/]+/([a-z0-9-]+)/aws4_request")
_SIGNED_URL = re.compile(r"X-Amz-Credential=([A-Za-z0-9]+)(?:%2F|/)")

# Status and code of what each service says when it has too much to do, and when it is broken.
ERRORS: dict[str, tuple[tuple[int, str], ...]] = {
    "s3": ((503, "SlowDown"), (500, "InternalError"), (503, "ServiceUnavailable")),
    "dynamodb": ((400, "ProvisionedThroughputExceededException"), (500, "InternalServerError")),
    "sqs": ((400, "RequestThrottled"), (503, "ServiceUnavailable")),
    "sns": ((400, "Throttling"), (500, "InternalFailure")),
}


class Faults:
    """Stands in front of the ASGI application; says every fault on standard output."""

    def __init__(self, app: Callable[..., Any], share: float, seed: int) -> None:
        self._app = app
        self._share = share
        self._seed = seed
        self._random = random.Random(seed)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        service = _service(scope)
        if service not in ERRORS or not self._strikes(scope):
            await self._app(scope, receive, send)
            return
        status, code = self._random.choice(ERRORS[service])
        carried_out = self._random.random() < 0.5
        print(f"fault {service} {code}{' after the call' if carried_out else ''}", flush=True)
        if carried_out:
            await self._app(scope, receive, _unheard)
        else:
            while (await receive()).get("more_body"):
                pass
        media_type, body = _answer(service, code)
        headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _strikes(self, scope: Any) -> bool:
        call = _headers(scope).get("amz-sdk-invocation-id")  # the same for every attempt at a call
        if call is not None:
            digest = hashlib.sha256(f"{self._seed} {call}".encode()).digest()
            if int.from_bytes(digest[:8]) < self._share * LASTING * 2**64:
                return True
        return self._random.random() < self._share * (1 - LASTING)


async def _unheard(_message: object) -> None:
    """The answer that gets lost."""


def _headers(scope: Any) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _service(scope: Any) -> str:
    """Which service is asked, by whom faults may meet; empty for all else."""
    if scope["type"] != "http":
        return ""
    if found := _CREDENTIAL.search(_headers(scope).get("authorization", "")):
        return "" if found[1] == SPARED else found[2]
    if found := _SIGNED_URL.search(scope.get("query_string", b"").decode("latin-1")):
        return "" if found[1] == SPARED else "s3"
    return ""


def _answer(service: str, code: str) -> tuple[str, bytes]:
    """Media type and body of an error, in the protocol that the service speaks."""
    message = "A fault that was asked for."
    if service == "s3":
        return "application/xml", f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    if service == "sns":
        error = f"<Error><Type>Receiver</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        return "text/xml", f"<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>".encode()
    return "application/x-amz-json-1.0", json.dumps({"__type": code, "message": message}).encode()
