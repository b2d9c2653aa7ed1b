"""POST requests to strangers' URLs.

An endpoint's URL is a stranger's: it may try to make this function knock at doors that only it can reach.
So the host is resolved anew for every attempt, every address found must be public, and the connection goes
to one that was checked, without asking the resolver, or following a redirect, again.

    Sender.post: resolve ─▶ check ─▶ connect ─▶ POST ─▶ an Outcome
"""

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache

from chalicelib import endpoints
from chalicelib.endpoints import Endpoint
from chalicelib.errors import BadRequest
from chalicelib.webhooks.connection import Deadline, PinnedConnection

Resolve = Callable[[str, int], Sequence[str]]
"""Host and port to IP addresses; raises OSError where there are none."""


class PrivateAddress(Exception):
    """A host that is, or also is, at an address which is not public."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to; `status` is None where no answer arrived, and `reason` says why."""

    status: int | None = None
    reason: str | None = None
    retry_after: str | None = None
    """The header of that name, as it came."""

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status <= 299

    @property
    def gone(self) -> bool:
        """The receiver wants nothing more (Standard Webhooks 1.0.0, "Delivery success and failure")."""
        return self.status == 410


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: float = 5.0
    """For each address of a host, and for the TLS handshake."""
    total: float = 10.0
    """For an attempt as a whole, from looking the host up to the status of the answer."""


def resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


@lru_cache(maxsize=1)
def _system_trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Sender:
    """Makes POST requests to strangers' URLs. Safe to share between threads."""

    def __init__(
        self,
        *,
        allow_insecure: bool = False,
        timeouts: Timeouts = Timeouts(),
        resolve: Resolve = resolve,
        trust: Callable[[], ssl.SSLContext] = _system_trust,
    ) -> None:
        self.timeouts = timeouts
        self._allow_insecure = allow_insecure
        self._resolve = resolve
        self._trust = trust

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """The status alone decides: the answer's body is not read, and a redirect is an answer like any."""
        deadline = Deadline(self.timeouts.total)
        try:
            endpoint = endpoints.parse(url, allow_insecure=self._allow_insecure)
            addresses = self._addresses(endpoint, deadline)
            connection = PinnedConnection(
                endpoint,
                addresses,
                trust=self._trust() if endpoint.tls else None,
                deadline=deadline,
                connect_timeout=self.timeouts.connect,
            )
            with closing(connection):
                connection.request("POST", endpoint.target, body, {**headers, **_OWN_HEADERS})
                with connection.getresponse() as response:
                    return Outcome(response.status, retry_after=response.getheader("Retry-After"))
        except tuple(_REASONS) as error:
            return Outcome(
                reason=next(reason for kind, reason in _REASONS.items() if isinstance(error, kind))
            )

    def _addresses(self, endpoint: Endpoint, deadline: Deadline) -> Sequence[str]:
        """All of a host's addresses, or none: a host that mixes private ones in is up to something.

        Raises:
            PrivateAddress: one of them is not public.
            OSError: there is no such host, or the resolver was too slow.
        """
        # The system's resolver cannot be hurried: a thread that still waits for it is left behind.
        pool = ThreadPoolExecutor(1, thread_name_prefix="resolve")
        try:
            found = pool.submit(self._resolve, endpoint.host, endpoint.port)
            addresses = found.result(deadline.left())
        finally:
            pool.shutdown(wait=False)
        if not self._allow_insecure and not all(map(endpoints.is_public, addresses)):
            raise PrivateAddress(endpoint.host)
        return addresses


_OWN_HEADERS = {"User-Agent": "waybill", "Connection": "close"}

# In this order, as the special kinds are kinds of OSError as well.
_REASONS: dict[type[Exception], str] = {
    BadRequest: "bad_url",
    PrivateAddress: "private_address",
    ssl.SSLError: "tls",
    socket.gaierror: "unknown_host",
    TimeoutError: "timeout",
    OSError: "connection",
    http.client.HTTPException: "bad_answer",
}
