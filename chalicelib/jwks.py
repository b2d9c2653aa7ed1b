"""The public keys of a token issuer, as it publishes them: a JSON Web Key Set (RFC 7517, section 5).

                  fetched                     a token names an unknown key,
    (nothing) ───────────────▶ keys kept ◀─── or the keys are an hour old: fetched again,
        │                          │          a minute after the last time at the earliest
        └── failed: 503            └── failed: what is kept stays good

However many tokens name keys that do not exist, the issuer is asked once a minute.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chalicelib.errors import Unavailable
from chalicelib.telemetry import cause, log

if TYPE_CHECKING:
    from jwt import PyJWK

FRESH_SECONDS = 3600
REFETCH_SECONDS = 60
RETRY_SECONDS = 5
"""How soon a fetch that failed may be tried again."""
TIMEOUT_SECONDS = 3
MAX_BYTES = 256 * 1024

ALGORITHMS = ("RS256", "ES256")
MIN_RSA_BITS = 2048  # RFC 7518, section 3.3


class KeySet:
    """Keys by their `kid`; safe to share between threads."""

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] = time.time,  # time.monotonic stands still while Lambda freezes a process
    ) -> None:
        self._url = url
        self._fetch = fetch or _fetch
        self._clock = clock
        self._keys: list[PyJWK] = []
        self._fetched = self._next_try = float("-inf")
        self._lock = threading.Lock()

    def find(self, kid: object) -> "PyJWK | None":
        """The key that a token names; the only one there is, for a token that names none.

        Raises:
            Unavailable: there has never been an answer from the issuer.
        """
        with self._lock:
            found = self._pick(kid)
            if found is None or self._clock() >= self._fetched + FRESH_SECONDS:
                self._refresh()
                found = self._pick(kid)
            if not self._keys:
                raise Unavailable(
                    "Tokens cannot be checked just now: their issuer's keys cannot be had. Try again.",
                    code="keys_unavailable",
                )
            return found

    def _pick(self, kid: object) -> "PyJWK | None":
        if kid is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == kid), None)

    def _refresh(self) -> None:
        now = self._clock()
        if now < self._next_try:
            return
        try:
            self._keys = _usable(json.loads(self._fetch(self._url)))
            self._fetched, self._next_try = now, now + REFETCH_SECONDS
        except Exception as error:  # whatever it is, callers keep what there was
            self._next_try = now + RETRY_SECONDS
            log("jwks.failed", level=logging.WARNING, error=cause(error), kept=len(self._keys))


def _usable(published: Any) -> list["PyJWK"]:
    """Those keys that sign with one of ALGORITHMS, and are strong enough.

    Raises:
        ValueError: it is no key set, or none of its keys is usable.
    """
    from jwt import PyJWK, PyJWTError

    usable = []
    for entry in published["keys"]:
        try:
            key = PyJWK(entry)
        except (PyJWTError, AttributeError, TypeError, ValueError):
            continue  # of a kind that is not known here; its neighbours may be
        strong = key.algorithm_name != "RS256" or key.key.key_size >= MIN_RSA_BITS
        if key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig") and strong:
            usable.append(key)
    if not usable:
        raise ValueError(f"no key for {' or '.join(ALGORITHMS)}")
    return usable


def _fetch(url: str) -> bytes:
    import urllib.request

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            """Keys come from where the settings say, and from nowhere else."""

    opener = urllib.request.build_opener(NoRedirects)
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
        body: bytes = response.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    return body
