"""The URL of a webhook: what it may be, and whether the address that its host resolves to may be called."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from chalicelib.errors import BadRequest
from chalicelib.schemas import MAX_URL_LENGTH

_URL_TEXT = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+")  # RFC 3986, without the fragment's `#`
# A last label of digits would be one of the old spellings of an IPv4 address (127.1, 0x7f.1, 2130706433),
# which resolvers still understand.
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*"
    r"(?!\d+$|0x[0-9a-f]*$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291, section 2.4, as IANA assigns from it


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A webhook's URL, taken apart once its rules are met."""

    tls: bool
    host: str
    port: int
    target: str
    """Path and query, as they go into the request line."""


def parse(url: str, *, allow_insecure: bool) -> Endpoint:
    """Check a URL by itself; what its host resolves to is checked at each delivery.

    Raises:
        BadRequest: `bad_url`, with what to change.
    """
    if len(url) > MAX_URL_LENGTH:
        raise _bad_url(f"must have at most {MAX_URL_LENGTH} characters")
    if not _URL_TEXT.fullmatch(url):
        raise _bad_url(
            "must hold only the ASCII characters of a URL, and no fragment: percent-encode the path, and "
            "write an international host name in its xn-- form"
        )
    try:
        parts = urlsplit(url)
        given_port = parts.port
    except ValueError:
        raise _bad_url("must be a URL") from None
    host = parts.hostname or ""
    if problem := _problem(parts, host, given_port, allow_insecure):
        raise _bad_url(problem)
    tls = parts.scheme == "https"
    return Endpoint(
        tls=tls,
        host=host,
        port=given_port or (443 if tls else 80),
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


def is_public(address: str) -> bool:
    """Whether an IP address is one that anybody on the Internet can reach.

    Stricter than `is_global`, which also says yes to multicast, to the old site-local range, and to IPv6
    forms that only wrap an IPv4 address; those are judged by what they wrap, or refused where nothing uses
    them any more (6to4, IPv4-compatible).
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or (ipaddress.IPv4Address(ip.packed[-4:]) if ip in _NAT64 else None)
        if wrapped is None:
            return ip in _GLOBAL_UNICAST and ip.is_global and ip.sixtofour is None
        ip = wrapped
    return ip.is_global and not ip.is_multicast


def _problem(parts: SplitResult, host: str, port: int | None, allow_insecure: bool) -> str | None:
    schemes = ("https", "http") if allow_insecure else ("https",)
    if parts.scheme not in schemes:
        return f"must start with {' or '.join(scheme + '://' for scheme in schemes)}"
    if "@" in parts.netloc:
        return "must not hold a user name or password: the signature is what proves the sender"
    if port == 0 or not (allow_insecure or port in (None, 443)):
        return "must leave the port at 443"
    if _is_address(host):
        return None if allow_insecure or is_public(host) else "must not name a private address"
    if "[" in parts.netloc or not _HOST_NAME.fullmatch(host):
        return "must name a host"
    if not allow_insecure and "." not in host:
        return "must name a public host"
    return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bad_url(problem: str) -> BadRequest:
    return BadRequest(f"url: {problem}.", code="bad_url", field="url")
