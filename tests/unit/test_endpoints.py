"""The rules for the URLs of webhooks."""

import pytest

from chalicelib import endpoints
from chalicelib.endpoints import Endpoint
from chalicelib.errors import BadRequest

URL = "https://hooks.example.com/waybill?key=1"


def refusal(url: str, *, allow_insecure: bool = False) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        endpoints.parse(url, allow_insecure=allow_insecure)
    return caught.value


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
        assert endpoints.parse(url, allow_insecure=False) == endpoint

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
        assert len(endpoints.parse(longest, allow_insecure=False).target) == 2048 - len(
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
        assert endpoints.parse(url, allow_insecure=True) == endpoint

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
        assert not endpoints.is_public(address)

    @pytest.mark.parametrize(
        "address",
        ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
    )
    def test_public_addresses_are_public(self, address: str) -> None:
        assert endpoints.is_public(address)

    @pytest.mark.parametrize(
        "address",
        [address for address in PRIVATE_ADDRESSES.values() if "%" not in address],
    )
    def test_a_url_that_names_a_private_address_is_refused_at_once(self, address: str) -> None:
        host = f"[{address}]" if ":" in address else address
        assert refusal(f"https://{host}/").message == "url: must not name a private address."
