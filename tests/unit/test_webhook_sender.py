"""POST requests to real HTTP servers on this machine: which addresses are called, and what comes of it."""

import datetime as dt
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib.webhooks import sender as sender_module
from chalicelib.webhooks.sender import Outcome, Sender, Timeouts
from tests.unit.receivers import (
    Answer,
    Start,
    after_a_pause,
    after_early_hints,
    byte_by_byte,
    in_another_protocol,
    not_at_all,
    status,
    without_end,
)

QUICK = Timeouts(connect=1.0, total=0.8)
HOST = "hooks.example.com"
PUBLIC, OTHER_PUBLIC = "93.184.215.14", "2606:4700::1111"


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
            (after_early_hints, Outcome(status=200)),
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

    def test_a_hanging_resolver_is_not_waited_for_and_nothing_is_sent_when_it_wakes(
        self, start: Start
    ) -> None:
        receiver, found, awake = start(), threading.Event(), threading.Event()

        def resolve(_host: str, _port: int) -> list[str]:
            found.wait(10)
            awake.set()
            return ["127.0.0.1"]

        sender = Sender(allow_insecure=True, timeouts=QUICK, resolve=resolve)
        outcome = sender.post(f"http://lost.example.com:{receiver.port}/", {}, b"{}")
        assert outcome == Outcome(reason="timeout")
        assert not awake.is_set()
        left_behind = [thread for thread in threading.enumerate() if thread.name.startswith("resolve")]
        found.set()
        for thread in left_behind:
            thread.join()
        assert awake.is_set()
        assert receiver.got == []

    def test_what_an_answer_says_of_the_next_attempt_is_kept(self, start: Start) -> None:
        receiver = start(status(503, **{"Retry-After": "120"}))
        outcome = Sender(allow_insecure=True).post(receiver.url, {}, b"{}")
        assert outcome == Outcome(status=503, retry_after="120")

    def test_the_systems_resolver_gives_each_address_once(self) -> None:
        addresses = sender_module.resolve("localhost", 443)
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
