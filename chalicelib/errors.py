"""What can go wrong, in one small hierarchy.

Every class knows the HTTP status it is answered with, the code that clients match on, and whether trying
the same thing again can help. The message is for a person: it says what to do.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar


class WaybillError(Exception):
    """The root; `details` travel into the answer beside `error` and `message`."""

    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    code = "internal_error"
    headers: Mapping[str, str] = MappingProxyType({})
    """What HTTP wants beside such an answer."""

    def __init__(self, message: str, *, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        if code is not None:
            self.code = code

    def body(self) -> dict[str, Any]:
        """The one error shape: `{"error": code, "message": what to do about it}`."""
        return {"error": self.code, "message": self.message, **self.details}


class SettingsError(WaybillError):
    """The deployment is configured wrongly; nothing should start."""

    code = "bad_settings"


class BadRequest(WaybillError):
    status = 400
    code = "bad_request"


class Unauthorized(WaybillError):
    status = 401
    code = "unauthorized"
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})  # RFC 9110, section 15.5.2


class TokenRefused(Unauthorized):
    """There is a token, and it opens nothing (RFC 6750, section 3.1)."""

    code = "token_invalid"
    headers = MappingProxyType({"WWW-Authenticate": 'Bearer error="invalid_token"'})


class NotFound(WaybillError):
    status = 404
    code = "not_found"


class MethodNotAllowed(WaybillError):
    """`allow` names the methods that the path does take, as RFC 9110, section 15.5.6, wants it."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.headers = {"Allow": allow}


class Conflict(WaybillError):
    """What was asked for does not go with the state that things are in."""

    status = 409
    code = "conflict"


class StillEnding(Conflict):
    """The job's end is known and not complete: what is asked for can be done in a moment."""

    code = "still_ending"
    retryable = True
    headers = MappingProxyType({"Retry-After": "2"})  # RFC 9110, section 10.2.3


class PayloadTooLarge(WaybillError):
    status = 413
    code = "payload_too_large"


class TooManyRequests(WaybillError):
    """Not before something has ended; `after` is in seconds (RFC 6585, section 4)."""

    status = 429
    code = "too_many_requests"
    retryable = True

    def __init__(self, message: str, *, code: str, after: int) -> None:
        super().__init__(message, code=code)
        self.headers = {"Retry-After": str(after)}


class Unavailable(WaybillError):
    status = 503
    code = "unavailable"
    retryable = True


class Rejected(WaybillError):
    """The file is not acceptable, and no retry can change that: the job ends REJECTED."""

    status = 422
    code = "rejected"


class DecodeFailed(WaybillError):
    """A decoder did not survive the file, and would not the next time: the job ends FAILED."""

    status = 422
    code = "decode_crashed"


class DecodeStalled(DecodeFailed):
    """A decoder did not come to an end, and it may have been for want of the machine's time or memory."""

    code = "decode_timeout"
    retryable = True


class NoTurn(Unavailable):
    """There was no room to begin in time: nothing was tried, and it counts as no attempt."""

    code = "no_turn"


class AwaitingScan(Unavailable):
    """The file has not been scanned yet: nothing was tried, and it counts as no attempt."""

    code = "awaiting_scan"


class ScanFailed(WaybillError):
    """Nobody can say whether the file is clean: the job ends FAILED, and a retry has it scanned anew."""

    status = 422
    code = "scan_failed"


class Superseded(WaybillError):
    """A newer upload lies on the key: this run has nothing left to do, its successor has its own message."""

    status = 409
    code = "superseded"


class LeaseLost(WaybillError):
    """Another worker took the job over; whatever this one still wanted to write must not be written."""

    status = 409
    code = "lease_lost"


class RetryLater(Unavailable):
    """Not now, but another attempt may succeed; `after` is in seconds."""

    code = "retry_later"

    def __init__(self, message: str, after: int) -> None:
        super().__init__(message)
        self.after = after
