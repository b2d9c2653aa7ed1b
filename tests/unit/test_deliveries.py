"""Deliveries to real HTTP servers on this machine."""

import datetime as dt
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook as ReferenceWebhook

from chalicelib import deliveries, webhooks
from chalicelib.deliveries import DeliveryFailed, Outcome, Sender, Timeouts
from chalicelib.jsontext import to_json
from chalicelib.settings import Settings

QUICK = Timeouts(connect=1.0, total=0.8)
HOST = "hooks.example.com"
PUBLIC, OTHER_PUBLIC = "93.184.215.14", "2606:4700::1111"

Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


OK = status(200)


def after_a_pause(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(5)
    OK(handler)


def byte_by_byte(handler: BaseHTTPRequestHandler) -> None:
    """A proper answer in the end; each byte of it comes well within what a socket's own timeout allows."""
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


def without_end(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65_536)


def in_another_protocol(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n")


def not_at_all(_handler: BaseHTTPRequestHandler) -> None:
    """The connection is closed without a word."""


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Somebody's endpoint: keeps what it gets and answers as told."""

    answer: Answer
    port: int = 0
    got: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=hidden"


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """Senders that hang up are what some of these tests are about."""


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.got.append(Request(self.path, headers, body))
            receiver.answer(self)

        def log_message(self, *_args: object) -> None:
            pass

    with QuietServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


Start = Callable[..., Receiver]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts an endpoint that answers as told, until the end of the test."""
    with ExitStack() as stack:
        yield lambda answer=OK, tls=None: stack.enter_context(serving(answer, tls))


@pytest.fixture
def own(aws: Settings) -> Settings:
    """A stack on one's own machine, whose webhooks may be on the same."""
    return replace(aws, webhook_allow_insecure=True)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(deliveries, "log", lambda event, **fields: lines.append({"event": event, **fields}))
    return lines


def an_event(owner: str = "alice", end: str = "completed", **data: Any) -> str:
    return to_json(
        {
            "specversion": "1.0",
            "id": f"01936b2e-7c1a-7d3e-8f00-0123456789ab.{end}.1",
            "type": f"waybill.job.{end}",
            "data": {"owner": owner, **data},
        }
    )


def invocation(*messages: object) -> dict[str, Any]:
    """What Lambda gets from SNS (AWS Lambda Developer Guide, "Using AWS Lambda with Amazon SNS")."""
    return {
        "Records": [
            {
                "EventVersion": "1.0",
                "EventSource": "aws:sns",
                "Sns": {"Type": "Notification", "Subject": "s", "Message": message, "MessageAttributes": {}},
            }
            for message in messages
        ]
    }


class TestNotify:
    def test_the_event_arrives_as_published_and_verifies(self, own: Settings, start: Start) -> None:
        receiver = start()
        secret = webhooks.register(own, "alice", {"url": receiver.url})["secret"]
        published = an_event(metadata={"total": Decimal("19.90"), "title": "é ☃"})
        deliveries.notify(own, invocation(published))
        (request,) = receiver.got
        assert request.body == published.encode()
        assert request.path == "/hook?key=hidden"
        assert request.headers["content-type"] == "application/cloudevents+json"
        assert request.headers["webhook-id"] == json.loads(published)["id"]
        assert ReferenceWebhook(secret).verify(request.body, request.headers) == json.loads(published)

    def test_a_repeated_delivery_keeps_its_id_and_renews_its_timestamp(
        self, own: Settings, start: Start
    ) -> None:
        receiver = start()
        secret = webhooks.register(own, "alice", {"url": receiver.url})["secret"]
        now = time.time()
        deliveries.notify(own, invocation(an_event()), clock=lambda: now)
        deliveries.notify(own, invocation(an_event()), clock=lambda: now + 60)
        first, second = (request.headers for request in receiver.got)
        assert first["webhook-id"] == second["webhook-id"]
        assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 60
        assert first["webhook-signature"] != second["webhook-signature"]
        for request in receiver.got:
            ReferenceWebhook(secret).verify(request.body, request.headers)

    def test_only_events_of_the_wanted_types_are_sent(self, own: Settings, start: Start) -> None:
        receiver = start()
        webhooks.register(own, "alice", {"url": receiver.url, "types": ["waybill.job.failed"]})
        deliveries.notify(
            own, invocation(*(an_event(end=end) for end in ("completed", "failed", "rejected")))
        )
        assert [json.loads(request.body)["type"] for request in receiver.got] == ["waybill.job.failed"]

    def test_owners_get_their_own_events_only(self, own: Settings, start: Start) -> None:
        receivers = {owner: start() for owner in ("alice", "bob")}
        for owner, receiver in receivers.items():
            webhooks.register(own, owner, {"url": receiver.url})
        deliveries.notify(own, invocation(an_event("alice"), an_event("alice"), an_event("bob")))
        for owner, count in (("alice", 2), ("bob", 1)):
            owners = [json.loads(request.body)["data"]["owner"] for request in receivers[owner].got]
            assert owners == [owner] * count

    def test_an_owner_without_webhooks_is_no_failure(self, own: Settings, logged: list[Any]) -> None:
        deliveries.notify(own, invocation(an_event()))
        assert logged == []

    @pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
    def test_any_2xx_is_a_delivery(self, own: Settings, start: Start, code: int) -> None:
        receiver = start(status(code))
        webhooks.register(own, "alice", {"url": receiver.url})
        deliveries.notify(own, invocation(an_event()))
        assert len(receiver.got) == 1

    @pytest.mark.parametrize("code", [302, 304, 400, 404, 410, 429, 500, 503])
    def test_any_other_status_is_a_failure(self, own: Settings, start: Start, code: int) -> None:
        receiver = start(status(code))
        webhooks.register(own, "alice", {"url": receiver.url})
        with pytest.raises(DeliveryFailed):
            deliveries.notify(own, invocation(an_event()))
        assert len(receiver.got) == 1

    def test_an_endpoint_that_fails_stops_neither_its_neighbours_nor_other_events(
        self, own: Settings, start: Start
    ) -> None:
        broken, before, after = start(status(500)), start(), start()
        failing = [
            webhooks.register(own, "alice", {"url": receiver.url})["id"]
            for receiver in (before, broken, after)
        ][1]
        with pytest.raises(DeliveryFailed) as caught:
            deliveries.notify(own, invocation(an_event(end="completed"), an_event(end="failed")))
        assert [len(receiver.got) for receiver in (before, broken, after)] == [2, 2, 2]
        assert caught.value.retryable
        assert caught.value.message.count(failing) == 2
        assert "127.0.0.1" not in caught.value.message

    def test_a_hanging_endpoint_is_given_up_while_its_neighbour_is_served(
        self, own: Settings, start: Start
    ) -> None:
        hanging, neighbour = start(after_a_pause), start()
        for receiver in (hanging, neighbour):
            webhooks.register(own, "alice", {"url": receiver.url})
        with pytest.raises(DeliveryFailed, match="1 webhook"):
            deliveries.notify(own, invocation(an_event()), sender=Sender(allow_insecure=True, timeouts=QUICK))
        assert len(neighbour.got) == 1

    def test_a_hanging_resolver_is_not_waited_for_and_sends_nothing_when_it_wakes(
        self, own: Settings, start: Start
    ) -> None:
        receiver, found, awake = start(), threading.Event(), threading.Event()
        lost = f"http://lost.example.com:{receiver.port}/lost"
        for url in (lost, receiver.url):
            webhooks.register(own, "alice", {"url": url})

        def resolve(host: str, _port: int) -> list[str]:
            if host == "lost.example.com":
                found.wait(10)
                awake.set()
            return ["127.0.0.1"]

        sender = Sender(allow_insecure=True, timeouts=QUICK, resolve=resolve)
        with pytest.raises(DeliveryFailed, match="1 webhook"):
            deliveries.notify(own, invocation(an_event()), sender=sender)
        assert not awake.is_set()
        left_behind = [thread for thread in threading.enumerate() if thread.name.startswith("deliver")]
        found.set()
        for thread in left_behind:
            thread.join()
        assert awake.is_set()
        assert [request.path for request in receiver.got] == ["/hook?key=hidden"]

    @pytest.mark.parametrize(
        "message",
        [
            "",
            "not JSON",
            "[]",
            "7",
            "null",
            "{}",
            '{"id": "1", "type": "waybill.job.completed"}',
            '{"id": "1", "type": "waybill.job.completed", "data": null}',
            '{"id": "1", "type": "waybill.job.completed", "data": {}}',
            '{"id": "1", "type": "waybill.job.completed", "data": {"owner": ""}}',
            '{"id": "1", "type": "waybill.job.completed", "data": {"owner": 7}}',
            '{"id": "1", "type": 7, "data": {"owner": "alice"}}',
            '{"id": 1, "type": "waybill.job.completed", "data": {"owner": "alice"}}',
            '{"id": "", "type": "waybill.job.completed", "data": {"owner": "alice"}}',
            '{"id": "1\\r\\nX-Injected: 1", "type": "waybill.job.completed", "data": {"owner": "alice"}}',
            '{"id": "1", "type": "waybill.job.completed", "data": {"owner": "alice"}, "x": "\ud800"}',
            "[" * 100_000,
            None,
            7,
        ],
    )
    def test_a_message_that_is_no_event_is_skipped_and_logged(
        self, own: Settings, start: Start, logged: list[dict[str, Any]], message: object
    ) -> None:
        receiver = start()
        webhooks.register(own, "alice", {"url": receiver.url})
        deliveries.notify(own, invocation(message, an_event()))
        assert len(receiver.got) == 1
        assert [line["event"] for line in logged] == ["event.bad", "webhook.delivered"]

    def test_a_record_of_another_service_is_skipped(
        self, own: Settings, logged: list[dict[str, Any]]
    ) -> None:
        deliveries.notify(own, {"Records": [{"eventSource": "aws:s3"}]})
        assert [line["event"] for line in logged] == ["event.bad"]

    def test_the_log_tells_the_outcome_and_no_secrets(
        self, own: Settings, start: Start, logged: list[dict[str, Any]]
    ) -> None:
        good, bad = start(), start(status(500))
        made = [webhooks.register(own, "alice", {"url": receiver.url}) for receiver in (good, bad)]
        with pytest.raises(DeliveryFailed):
            deliveries.notify(own, invocation(an_event(filename="private.txt")))
        outcomes = {line["webhookId"]: (line["event"], line["status"]) for line in logged}
        assert outcomes == {
            made[0]["id"]: ("webhook.delivered", 200),
            made[1]["id"]: ("webhook.failed", 500),
        }
        text = str(logged)
        for secret in ("hidden", "alice", "private.txt", *(webhook["secret"] for webhook in made)):
            assert secret not in text

    def test_a_registration_from_laxer_days_is_not_served(
        self, aws: Settings, own: Settings, start: Start
    ) -> None:
        receiver = start()
        webhooks.register(own, "alice", {"url": receiver.url})
        with pytest.raises(DeliveryFailed):
            deliveries.notify(aws, invocation(an_event()))
        assert receiver.got == []


class TestAnswers:
    def test_a_redirect_is_not_followed(self, start: Start) -> None:
        target = start()
        for code in (301, 302, 303, 307, 308):
            origin = start(status(code, Location=target.url))
            assert Sender(allow_insecure=True).post(origin.url, {}, b"{}") == Outcome(status=code)
        assert target.got == []

    @pytest.mark.parametrize(
        ("answer", "outcome"),
        [
            (after_a_pause, Outcome(reason="timeout")),
            (byte_by_byte, Outcome(reason="timeout")),
            (in_another_protocol, Outcome(reason="bad_answer")),
            (not_at_all, Outcome(reason="connection")),
            (without_end, Outcome(status=200)),
        ],
    )
    def test_strange_answers_have_a_defined_outcome(
        self, start: Start, answer: Answer, outcome: Outcome
    ) -> None:
        sender = Sender(allow_insecure=True, timeouts=QUICK)
        assert sender.post(start(answer).url, {}, b"{}") == outcome

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_peer_that_never_reads_is_given_up(self, scheme: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
            sender = Sender(allow_insecure=True, timeouts=QUICK)
            assert sender.post(url, {}, b"x" * 16_000_000) == Outcome(reason="timeout")

    def test_a_peer_that_reads_too_slowly_is_given_up(self) -> None:
        """Every piece is taken within what a socket's own timeout allows; after three seconds it hangs up."""

        def read_slowly(server: socket.socket) -> None:
            peer, _ = server.accept()
            with peer:
                for _ in range(150):
                    peer.recv(65_536)
                    time.sleep(0.02)

        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            reader = threading.Thread(target=read_slowly, args=(server,))
            reader.start()
            sender = Sender(allow_insecure=True, timeouts=QUICK)
            outcome = sender.post(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, b"x" * 32_000_000)
            reader.join()
        assert outcome == Outcome(reason="timeout")

    def test_a_closed_port_is_a_failed_connection(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        outcome = Sender(allow_insecure=True).post(f"http://127.0.0.1:{port}/", {}, b"{}")
        assert outcome == Outcome(reason="connection")

    def test_a_host_that_does_not_exist_is_named_so(self) -> None:
        def resolve(_host: str, _port: int) -> list[str]:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")

        outcome = Sender(resolve=resolve).post(f"https://{HOST}/", {}, b"{}")
        assert outcome == Outcome(reason="unknown_host")

    def test_the_systems_resolver_gives_each_address_once(self) -> None:
        addresses = deliveries.resolve("localhost", 443)
        assert "127.0.0.1" in addresses
        assert len(addresses) == len(set(addresses))


@dataclass
class Network:
    """The Internet, as far as these tests need one: every connection is kept, and leads to one server."""

    dialled: list[str] = field(default_factory=list)
    unreachable: set[str] = field(default_factory=set)
    port: int = 0


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network, connect = Network(), socket.create_connection

    def dial(address: tuple[str, int], timeout: float) -> socket.socket:
        network.dialled.append(address[0])
        if address[0] in network.unreachable:
            raise ConnectionRefusedError(address[0])
        return connect(("127.0.0.1", network.port), timeout)

    monkeypatch.setattr(socket, "create_connection", dial)
    return network


@dataclass(frozen=True)
class Trust:
    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """A server's certificate for HOST, and a client that trusts nothing else."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return Trust(server, ssl.create_default_context(cafile=str(pem)))


class TestPublicEndpoints:
    """As deployed: https only, public addresses only."""

    def test_the_connection_goes_to_the_checked_address_under_the_hosts_name(
        self, network: Network, trust: Trust, start: Start
    ) -> None:
        receiver = start(tls=trust.server)
        network.port = receiver.port
        asked: list[tuple[str, int]] = []

        def resolve(host: str, port: int) -> list[str]:
            asked.append((host, port))
            return [PUBLIC]

        sender = Sender(resolve=resolve, trust=lambda: trust.client)
        assert sender.post(f"https://{HOST}/hook", {"X-A": "b"}, b"{}") == Outcome(status=200)
        assert asked == [(HOST, 443)]
        assert network.dialled == [PUBLIC]
        assert receiver.got[0].headers["host"] == HOST
        assert receiver.got[0].headers["x-a"] == "b"

    def test_the_next_address_is_tried_where_one_cannot_be_reached(
        self, network: Network, trust: Trust, start: Start
    ) -> None:
        network.port = start(tls=trust.server).port
        network.unreachable.add(OTHER_PUBLIC)
        sender = Sender(resolve=lambda *_: [OTHER_PUBLIC, PUBLIC], trust=lambda: trust.client)
        assert sender.post(f"https://{HOST}/", {}, b"{}").delivered
        assert network.dialled == [OTHER_PUBLIC, PUBLIC]

    def test_it_is_a_failed_connection_where_no_address_can_be_reached(self, network: Network) -> None:
        network.unreachable.update((OTHER_PUBLIC, PUBLIC))
        sender = Sender(resolve=lambda *_: [OTHER_PUBLIC, PUBLIC])
        assert sender.post(f"https://{HOST}/", {}, b"{}") == Outcome(reason="connection")

    @pytest.mark.parametrize(
        "addresses",
        [
            ["127.0.0.1"],
            ["169.254.169.254"],
            ["100.64.0.1"],
            ["::1"],
            ["::ffff:10.0.0.1"],
            ["fe80::1%eth0"],
            ["64:ff9b::a9fe:a9fe"],
            [PUBLIC, "10.0.0.1"],
            [OTHER_PUBLIC, PUBLIC, "fd00::1"],
        ],
    )
    def test_no_connection_is_made_where_any_address_is_private(
        self, network: Network, addresses: list[str]
    ) -> None:
        outcome = Sender(resolve=lambda *_: addresses).post(f"https://{HOST}/", {}, b"{}")
        assert outcome == Outcome(reason="private_address")
        assert network.dialled == []

    def test_the_host_is_checked_again_at_every_attempt(
        self, network: Network, trust: Trust, start: Start
    ) -> None:
        network.port = start(tls=trust.server).port
        answers = iter([[PUBLIC], ["127.0.0.1"], [PUBLIC]])
        sender = Sender(resolve=lambda *_: next(answers), trust=lambda: trust.client)
        outcomes = [sender.post(f"https://{HOST}/", {}, b"{}") for _ in range(3)]
        assert outcomes == [Outcome(status=200), Outcome(reason="private_address"), Outcome(status=200)]
        assert network.dialled == [PUBLIC, PUBLIC]

    def test_a_redirect_to_the_metadata_service_leads_nowhere(
        self, network: Network, trust: Trust, start: Start
    ) -> None:
        receiver = start(status(307, Location="http://169.254.169.254/latest/meta-data/"), trust.server)
        network.port = receiver.port
        sender = Sender(resolve=lambda *_: [PUBLIC], trust=lambda: trust.client)
        assert sender.post(f"https://{HOST}/", {}, b"{}") == Outcome(status=307)
        assert network.dialled == [PUBLIC]

    @pytest.mark.parametrize(
        "url", [f"http://{HOST}/", f"https://{HOST}:8443/", "https://127.0.0.1/", f"https://a:b@{HOST}/"]
    )
    def test_the_rules_for_urls_hold_at_delivery_too(self, network: Network, url: str) -> None:
        assert Sender(resolve=lambda *_: [PUBLIC]).post(url, {}, b"{}") == Outcome(reason="bad_url")
        assert network.dialled == []

    def test_a_certificate_for_another_name_is_refused(
        self, network: Network, trust: Trust, start: Start
    ) -> None:
        receiver = start(tls=trust.server)
        network.port = receiver.port
        sender = Sender(resolve=lambda *_: [PUBLIC], trust=lambda: trust.client)
        assert sender.post("https://other.example.com/", {}, b"{}") == Outcome(reason="tls")
        assert receiver.got == []

    def test_a_certificate_that_nobody_vouches_for_is_refused(
        self, network: Network, trust: Trust, start: Start
    ) -> None:
        receiver = start(tls=trust.server)
        network.port = receiver.port
        assert Sender(resolve=lambda *_: [PUBLIC]).post(f"https://{HOST}/", {}, b"{}") == Outcome(
            reason="tls"
        )
        assert receiver.got == []
