"""Delivering events to webhooks over HTTP.

An endpoint's URL is a stranger's: it may try to make this function knock at doors that only it can reach.
So the host is resolved anew for every attempt, every address found must be public, and the connection goes
to one that was checked, without asking the resolver, or following a redirect, again.

    notify ─▶ read the event ─▶ the owner's webhooks ─▶ attempt, side by side ─▶ an Outcome each
                                                           │
                                   Sender.post: resolve ─▶ check ─▶ connect ─▶ POST ─▶ status
"""

import http.client
import io
import json
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chalicelib import endpoints, webhook_signature, webhooks
from chalicelib.endpoints import Endpoint
from chalicelib.errors import BadRequest, Unavailable
from chalicelib.settings import Settings
from chalicelib.telemetry import log, owner_hash
from chalicelib.webhooks import Webhook

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONTENT_TYPE = "application/cloudevents+json"  # CloudEvents HTTP binding 1.0.2, "Structured Content Mode"

_HEADER_TEXT = re.compile(r"[\x21-\x7e]{1,256}")

Resolve = Callable[[str, int], Sequence[str]]
"""Host and port to IP addresses; raises OSError where there are none."""


class DeliveryFailed(Unavailable):
    """Some webhooks did not take the event: the platform has to bring it again."""

    code = "delivery_failed"


class PrivateAddress(Exception):
    """A host that is, or also is, at an address which is not public."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event on its way: `body` goes out byte for byte as it was published."""

    id: str
    type: str
    owner: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to; `status` is None where no answer arrived, and `reason` says why."""

    status: int | None = None
    reason: str | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status <= 299


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: float = 5.0
    """For each address of a host, and for the TLS handshake."""
    total: float = 10.0
    """For an attempt as a whole, from looking the host up to the status of the answer."""


def notify(
    settings: Settings,
    event: Mapping[str, Any],
    *,
    sender: "Sender | None" = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Send each event of an SNS invocation to the webhooks that its owner has for it.

    A repeated invocation sends to all of them again, under the same `webhook-id`, by which receivers tell.

    Raises:
        DeliveryFailed: after every webhook has been tried, if any did not take the event.
    """
    sender = sender or Sender(allow_insecure=settings.webhook_allow_insecure)
    failed: list[str] = []
    for record in event["Records"]:
        message = _read(record)
        if message is None:
            # Nothing a retry could mend: another message came to the topic than those published here.
            log("event.bad", level=logging.ERROR)
            continue
        receivers = webhooks.subscribed(settings, message.owner, message.type)
        for webhook, outcome in _attempt_all(sender, receivers, message, clock):
            _log(webhook, message, outcome)
            if not outcome.delivered:
                failed.append(webhook.id)
    if failed:
        raise DeliveryFailed(f"{len(failed)} webhooks did not take their event: {', '.join(failed)}.")


def attempt(sender: "Sender", webhook: Webhook, message: Message, clock: Callable[[], float]) -> Outcome:
    """One try for one webhook, signed anew with the time of the try."""
    signed = webhook_signature.headers(webhook.secrets, message.id, int(clock()), message.body)
    return sender.post(webhook.url, {"Content-Type": CONTENT_TYPE} | signed, message.body)


def _attempt_all(
    sender: "Sender", receivers: list[Webhook], message: Message, clock: Callable[[], float]
) -> list[tuple[Webhook, Outcome]]:
    if not receivers:
        return []
    pool = ThreadPoolExecutor(len(receivers), thread_name_prefix="deliver")
    try:
        futures = [pool.submit(attempt, sender, webhook, message, clock) for webhook in receivers]
        # Everything in an attempt keeps to its time but the system's resolver, which cannot be hurried: a
        # thread that still waits for it is left behind, and sends nothing when it wakes.
        done, _ = wait(futures, timeout=sender.timeouts.total)
        outcomes = [future.result() if future in done else Outcome(reason="timeout") for future in futures]
        return list(zip(receivers, outcomes, strict=True))
    finally:
        pool.shutdown(wait=False)


def _read(record: Mapping[str, Any]) -> Message | None:
    """The event in an SNS record; None where it is no CloudEvent of an owner."""
    try:
        text = record["Sns"]["Message"]
        event = json.loads(text)
        message = Message(event["id"], event["type"], event["data"]["owner"], text.encode())
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    named = (message.id, message.type, message.owner)
    if not all(isinstance(name, str) and name for name in named) or not _HEADER_TEXT.fullmatch(message.id):
        return None
    return message


def _log(webhook: Webhook, message: Message, outcome: Outcome) -> None:
    log(
        "webhook.delivered" if outcome.delivered else "webhook.failed",
        level=logging.INFO if outcome.delivered else logging.WARNING,
        owner=owner_hash(message.owner),
        webhookId=webhook.id,
        eventId=message.id,
        status=outcome.status,
        reason=outcome.reason,
    )


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
        deadline = _Deadline(self.timeouts.total)
        try:
            endpoint = endpoints.parse(url, allow_insecure=self._allow_insecure)
            addresses = self._addresses(endpoint)
            connection = _PinnedConnection(
                endpoint,
                addresses,
                trust=self._trust() if endpoint.tls else None,
                deadline=deadline,
                connect_timeout=self.timeouts.connect,
            )
            with closing(connection):
                connection.request("POST", endpoint.target, body, {**headers, **_OWN_HEADERS})
                with connection.getresponse() as response:
                    return Outcome(status=response.status)
        except tuple(_REASONS) as error:
            return Outcome(
                reason=next(reason for kind, reason in _REASONS.items() if isinstance(error, kind))
            )

    def _addresses(self, endpoint: Endpoint) -> Sequence[str]:
        """All of a host's addresses, or none: a host that mixes private ones in is up to something.

        Raises:
            PrivateAddress: one of them is not public.
            OSError: there is no such host.
        """
        addresses = self._resolve(endpoint.host, endpoint.port)
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


class _Deadline:
    """The time that an attempt has, over all the calls it makes of it."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, at_most: float = float("inf")) -> float:
        """
        Raises:
            TimeoutError: nothing is left.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the attempt's time is over")
        return min(seconds, at_most)


class _PinnedConnection(http.client.HTTPConnection):
    """Connects to given addresses, while Host header and TLS know the endpoint by its name."""

    def __init__(
        self,
        endpoint: Endpoint,
        addresses: Sequence[str],
        *,
        trust: ssl.SSLContext | None,
        deadline: _Deadline,
        connect_timeout: float,
    ) -> None:
        super().__init__(endpoint.host, endpoint.port)
        self.default_port = 443 if endpoint.tls else 80  # left out of the Host header
        self._addresses = addresses
        self._trust = trust
        self._deadline = deadline
        self._connect_timeout = connect_timeout

    def connect(self) -> None:
        sock = self._dial()
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body are two writes
            if self._trust is not None:
                sock.settimeout(self._deadline.left(self._connect_timeout))
                sock = self._trust.wrap_socket(sock, server_hostname=self.host)
        except OSError:
            sock.close()
            raise
        self.sock = _TimedSocket(sock, self._deadline)

    def _dial(self) -> socket.socket:
        *others, last = self._addresses
        for address in others:
            with suppress(OSError):
                return self._dial_one(address)
        return self._dial_one(last)

    def _dial_one(self, address: str) -> socket.socket:
        return socket.create_connection((address, self.port), self._deadline.left(self._connect_timeout))


class _TimedSocket:
    """As much of a socket as `http.client` uses, with one deadline over all of its calls.

    A socket's own timeout begins anew with every byte, so that one byte now and then would hold us for good.
    """

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(self._deadline.left())
            rest = rest[self._sock.send(rest) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))

    def close(self) -> None:
        self._sock.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        # A file of the socket's own, as that keeps it open until both are closed.
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        self._sock.settimeout(self._deadline.left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
