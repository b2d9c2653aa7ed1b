"""Registering webhooks, the rules for their URLs, and the signature."""

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as ReferenceWebhook

from chalicelib import clients, webhooks
from chalicelib.errors import BadRequest, NotFound
from chalicelib.notifications import EVENT_TYPES
from chalicelib.settings import Settings
from chalicelib.webhooks import Endpoint, Webhook

URL = "https://hooks.example.com/waybill?key=1"


def refusal(url: str, *, allow_insecure: bool = False) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        webhooks.endpoint(url, allow_insecure=allow_insecure)
    return caught.value


class TestRegistration:
    def test_the_answer_holds_all_there_is_to_know(self, aws: Settings) -> None:
        made = webhooks.register(aws, "alice", {"url": URL})
        assert set(made) == {"id", "url", "types", "secret", "createdAt"}
        assert made["url"] == URL
        assert made["types"] == list(EVENT_TYPES)
        assert datetime.fromisoformat(made["createdAt"]).tzinfo == UTC

    def test_every_webhook_has_a_secret_of_its_own(self, aws: Settings) -> None:
        made = [webhooks.register(aws, "alice", {"url": URL})["secret"] for _ in range(2)]
        assert made[0] != made[1]
        for secret in made:
            assert secret.startswith("whsec_")
            assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64

    def test_the_listing_shows_it_again_without_the_secret(self, aws: Settings) -> None:
        made = webhooks.register(aws, "alice", {"url": URL, "types": ["waybill.job.failed"]})
        secret = made.pop("secret")
        assert webhooks.listing(aws, "alice") == {"webhooks": [made]}
        assert secret not in str(webhooks.subscribed(aws, "alice", "waybill.job.failed"))

    def test_the_listing_is_in_the_order_of_registration(self, aws: Settings) -> None:
        made = [webhooks.register(aws, "alice", {"url": URL})["id"] for _ in range(4)]
        times = [webhook["createdAt"] for webhook in webhooks.listing(aws, "alice")["webhooks"]]
        assert times == sorted(times)
        assert {webhook["id"] for webhook in webhooks.listing(aws, "alice")["webhooks"]} == set(made)

    def test_owners_see_only_their_own(self, aws: Settings) -> None:
        mine = webhooks.register(aws, "alice", {"url": URL})["id"]
        theirs = webhooks.register(aws, "bob", {"url": URL})["id"]
        assert [w["id"] for w in webhooks.listing(aws, "alice")["webhooks"]] == [mine]
        assert [w["id"] for w in webhooks.listing(aws, "bob")["webhooks"]] == [theirs]
        assert webhooks.listing(aws, "carol") == {"webhooks": []}

    def test_the_types_decide_who_is_subscribed(self, aws: Settings) -> None:
        everything = webhooks.register(aws, "alice", {"url": URL})["id"]
        failures = webhooks.register(aws, "alice", {"url": URL, "types": ["waybill.job.failed"]})["id"]
        on_failure = {webhook.id for webhook in webhooks.subscribed(aws, "alice", "waybill.job.failed")}
        on_success = {webhook.id for webhook in webhooks.subscribed(aws, "alice", "waybill.job.completed")}
        assert (on_failure, on_success) == ({everything, failures}, {everything})

    def test_a_bad_url_leaves_nothing_behind(self, aws: Settings) -> None:
        with pytest.raises(BadRequest):
            webhooks.register(aws, "alice", {"url": "http://hooks.example.com/"})
        assert webhooks.listing(aws, "alice") == {"webhooks": []}

    def test_the_eleventh_is_refused_until_one_is_deleted(self, aws: Settings) -> None:
        made = [webhooks.register(aws, "alice", {"url": URL})["id"] for _ in range(10)]
        with pytest.raises(BadRequest) as caught:
            webhooks.register(aws, "alice", {"url": URL})
        assert caught.value.body()["error"] == "too_many_webhooks"
        assert {w["id"] for w in webhooks.listing(aws, "alice")["webhooks"]} == set(made)
        webhooks.register(aws, "bob", {"url": URL})
        webhooks.remove(aws, "alice", made[0])
        webhooks.register(aws, "alice", {"url": URL})

    def test_the_last_place_goes_to_one_at_most_when_many_reach_for_it(self, aws: Settings) -> None:
        for _ in range(9):
            webhooks.register(aws, "alice", {"url": URL})
        with ThreadPoolExecutor(4) as pool:
            tries = [pool.submit(webhooks.register, aws, "alice", {"url": URL}) for _ in range(4)]
        accepted = [attempt.result()["id"] for attempt in tries if attempt.exception() is None]
        kept = {webhook["id"] for webhook in webhooks.listing(aws, "alice")["webhooks"]}
        assert len(accepted) <= 1
        assert len(kept) == 9 + len(accepted)
        assert set(accepted) <= kept


class TestRemoval:
    def test_a_removed_webhook_is_gone(self, aws: Settings) -> None:
        made = webhooks.register(aws, "alice", {"url": URL})["id"]
        webhooks.remove(aws, "alice", made)
        assert webhooks.listing(aws, "alice") == {"webhooks": []}

    def test_absent_foreign_and_impossible_ids_are_the_same_404(self, aws: Settings) -> None:
        theirs = webhooks.register(aws, "bob", {"url": URL})["id"]
        answers = []
        for webhook_id in (theirs, "wh_" + "0" * 24, "", "no-id", "wh_" + "0" * 3000, theirs + "\n"):
            with pytest.raises(NotFound) as caught:
                webhooks.remove(aws, "alice", webhook_id)
            answers.append((caught.value.status, caught.value.body()))
        status, body = answers[0]
        assert answers == [(status, body)] * len(answers)
        assert (status, body["error"]) == (404, "webhook_not_found")
        assert set(body) == {"error", "message"}
        assert [w["id"] for w in webhooks.listing(aws, "bob")["webhooks"]] == [theirs]

    @pytest.mark.parametrize("webhook_id", ["", "no-id", "wh_" + "0" * 3000, "wh_" + "0" * 24 + "\n"])
    def test_an_id_that_cannot_be_is_not_asked_for(
        self, aws: Settings, monkeypatch: pytest.MonkeyPatch, webhook_id: str
    ) -> None:
        """DynamoDB would refuse an empty key, or one of over 1,024 bytes, with an error of its own."""
        calls: list[object] = []
        monkeypatch.setattr(clients.dynamodb(), "delete_item", lambda **call: calls.append(call))
        with pytest.raises(NotFound):
            webhooks.remove(aws, "alice", webhook_id)
        assert calls == []

    def test_a_second_removal_is_a_404(self, aws: Settings) -> None:
        made = webhooks.register(aws, "alice", {"url": URL})["id"]
        webhooks.remove(aws, "alice", made)
        with pytest.raises(NotFound):
            webhooks.remove(aws, "alice", made)


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "endpoint"),
        [
            (URL, Endpoint(True, "hooks.example.com", 443, "/waybill?key=1")),
            ("https://hooks.example.com", Endpoint(True, "hooks.example.com", 443, "/")),
            ("HTTPS://Hooks.Example.COM:443/A", Endpoint(True, "hooks.example.com", 443, "/A")),
            ("https://xn--caf-dma.example/?a=%2F", Endpoint(True, "xn--caf-dma.example", 443, "/?a=%2F")),
            ("https://8.8.8.8/", Endpoint(True, "8.8.8.8", 443, "/")),
            ("https://[2606:4700::1111]/", Endpoint(True, "2606:4700::1111", 443, "/")),
            ("https://1.example.com/", Endpoint(True, "1.example.com", 443, "/")),
        ],
    )
    def test_good_urls_are_taken_apart(self, url: str, endpoint: Endpoint) -> None:
        assert webhooks.endpoint(url, allow_insecure=False) == endpoint

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "hooks.example.com/path",
            "//hooks.example.com/",
            "http://hooks.example.com/",
            "ftp://hooks.example.com/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://",
            "https:///path",
            "https://:443/",
            "https://user@hooks.example.com/",
            "https://user:pass@hooks.example.com/",
            "https://hooks.example.com@10.0.0.1/",
            "https://hooks.example.com\\@10.0.0.1/",
            "https://hooks.example.com:8443/",
            "https://hooks.example.com:80/",
            "https://hooks.example.com:0/",
            "https://hooks.example.com:65536/",
            "https://hooks.example.com:x/",
            "https://hooks.example.com/#part",
            "https://hooks.example.com/#",
            "https://hooks.example.com/a b",
            "https://hooks.example.com/a\r\nX-Injected: 1",
            "https://hooks.exa\tmple.com/",
            " https://hooks.example.com/",
            "https://café.example/",
            "https://hooks.example.com/\u202e",
            "https://hooks.example.com./",
            "https://hooks..example.com/",
            "https://-hooks.example.com-/",
            "https://hooks%2eexample.com/",
            f"https://{'a' * 64}.example.com/",
            f"https://{'a.' * 130}example.com/",
            "https://[::1/",
            "https://[v1.fe80]/",
            "https://localhost/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.0x1/",
            "https://0177.0.0.1/",
            "https://010.0.0.1/",
        ],
    )
    def test_bad_urls_are_refused_by_the_name_of_the_field(self, url: str) -> None:
        error = refusal(url)
        assert (error.status, error.code, error.details) == (400, "bad_url", {"field": "url"})
        assert error.message.startswith("url: must ")

    def test_the_length_is_limited(self) -> None:
        longest = "https://hooks.example.com/".ljust(2048, "a")
        assert len(webhooks.endpoint(longest, allow_insecure=False).target) == 2048 - len(
            "https://hooks.example.com"
        )
        assert "2048" in refusal(longest + "a").message

    @pytest.mark.parametrize(
        ("url", "endpoint"),
        [
            ("http://localhost:9000/hook", Endpoint(False, "localhost", 9000, "/hook")),
            ("http://127.0.0.1/", Endpoint(False, "127.0.0.1", 80, "/")),
            ("https://[::1]:8443/", Endpoint(True, "::1", 8443, "/")),
            ("https://10.0.0.1/", Endpoint(True, "10.0.0.1", 443, "/")),
        ],
    )
    def test_a_stack_of_ones_own_takes_plain_http_private_hosts_and_any_port(
        self, url: str, endpoint: Endpoint
    ) -> None:
        assert webhooks.endpoint(url, allow_insecure=True) == endpoint

    @pytest.mark.parametrize(
        "url",
        ["ftp://localhost/", "http://a:b@localhost/", "http:///x", "http://localhost:0/", "http://127.1/"],
    )
    def test_a_stack_of_ones_own_still_wants_a_proper_url(self, url: str) -> None:
        assert refusal(url, allow_insecure=True).code == "bad_url"


PRIVATE_ADDRESSES = {
    "this host": "0.0.0.0",
    "private 10": "10.0.0.1",
    "carrier-grade NAT": "100.64.0.1",
    "loopback": "127.0.0.1",
    "loopback, far end": "127.255.255.254",
    "instance metadata": "169.254.169.254",
    "container credentials": "169.254.170.2",
    "private 172": "172.31.255.255",
    "private 192": "192.168.1.1",
    "documentation": "192.0.2.1",
    "benchmarking": "198.18.0.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "v6 unspecified": "::",
    "v6 loopback": "::1",
    "v6 link-local": "fe80::1",
    "v6 link-local with zone": "fe80::1%eth0",
    "v6 unique local": "fd00::1",
    "v6 instance metadata": "fd00:ec2::254",
    "v6 site-local": "fec0::1",
    "v6 multicast": "ff0e::1",
    "v6 documentation": "2001:db8::1",
    "v4-mapped loopback": "::ffff:127.0.0.1",
    "v4-mapped metadata": "::ffff:169.254.169.254",
    "v4-mapped carrier-grade NAT": "::ffff:100.64.0.1",
    "v4-compatible loopback": "::127.0.0.1",
    "NAT64 of private": "64:ff9b::a00:1",
    "NAT64 of metadata": "64:ff9b::a9fe:a9fe",
    "local NAT64": "64:ff9b:1::a00:1",
    "6to4 of private": "2002:a00:1::",
    "Teredo": "2001:0:a00:1::1",
}


class TestAddresses:
    @pytest.mark.parametrize("address", PRIVATE_ADDRESSES.values(), ids=PRIVATE_ADDRESSES.keys())
    def test_private_addresses_are_not_public(self, address: str) -> None:
        assert not webhooks.is_public(address)

    @pytest.mark.parametrize(
        "address",
        ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
    )
    def test_public_addresses_are_public(self, address: str) -> None:
        assert webhooks.is_public(address)

    @pytest.mark.parametrize(
        "address",
        [address for address in PRIVATE_ADDRESSES.values() if "%" not in address],
    )
    def test_a_url_that_names_a_private_address_is_refused_at_once(self, address: str) -> None:
        host = f"[{address}]" if ":" in address else address
        assert refusal(f"https://{host}/").message == "url: must not name a private address."


class TestSignature:
    def test_the_signature_is_that_of_the_reference_libraries(self) -> None:
        """The vector that the test suites of all libraries of the Standard Webhooks project share."""
        signature = webhooks.sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
        )
        assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    @given(
        key=st.binary(min_size=24, max_size=64),
        message_id=st.from_regex(r"[a-z0-9.-]{1,60}", fullmatch=True),
        timestamp=st.integers(min_value=0, max_value=4_102_444_800),
        body=st.text(),
    )
    def test_it_agrees_with_the_reference_library_on_anything(
        self, key: bytes, message_id: str, timestamp: int, body: str
    ) -> None:
        secret = "whsec_" + base64.b64encode(key).decode()
        reference = ReferenceWebhook(secret).sign(message_id, datetime.fromtimestamp(timestamp, UTC), body)
        assert webhooks.sign(secret, message_id, timestamp, body.encode()) == reference

    def test_both_secrets_verify_while_one_replaces_the_other(self) -> None:
        old, new = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
        webhook = Webhook("alice", "wh_1", URL, EVENT_TYPES, (new, old), "2026-01-02T03:04:05.000Z")
        now = int(datetime.now(UTC).timestamp())
        for secret in (old, new):
            headers = webhooks.headers(webhook, "id", now, b'{"a":1}')
            assert ReferenceWebhook(secret).verify(b'{"a":1}', headers) == {"a": 1}
        assert headers["webhook-signature"].count("v1,") == 2


def test_settings_decide_what_registration_takes(aws: Settings) -> None:
    own = replace(aws, webhook_allow_insecure=True)
    made = webhooks.register(own, "alice", {"url": "http://127.0.0.1:9000/"})
    assert made["url"] == "http://127.0.0.1:9000/"
    assert clients.dynamodb().scan(TableName=aws.webhooks_table)["Count"] == 1
