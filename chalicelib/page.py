"""The upload page at `/`: one file, built from `web/`, with a policy that lets it talk to nobody else.

The built file is part of the repository, because `chalice deploy` packages what lies here, and neither it nor
`make run` should need Node.js and a package registry for a page that changes seldom.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from chalice.app import Response

from chalicelib.jsontext import to_json
from chalicelib.settings import Settings

BUILT = Path(__file__).with_name("page.html")

INDEX = {"service": "waybill", "start": "POST /presign", "jobs": "GET /jobs", "health": "GET /health"}

NOT_BUILT = "The upload page has not been built here: run `make page`. The API works without it.\n"

Headers = dict[str, str | list[str]]

_VARY: Headers = {"Vary": "Accept"}
_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def answer(settings: Settings, headers: Mapping[str, str]) -> Response:
    """The page, or the JSON index for who asks for JSON and not for HTML.

    Args:
        headers: of the request, found whatever the case of their names.
    """
    accepted = headers.get("accept") or "*/*"
    if "application/json" in accepted and "text/html" not in accepted:
        return Response(to_json(INDEX), headers=_VARY | {"Content-Type": "application/json"})
    if not BUILT.exists():
        return Response(NOT_BUILT, headers=_VARY | {"Content-Type": "text/plain; charset=utf-8"})
    html, hashes = _load(BUILT)
    policy = content_security_policy(settings, hashes)
    etag = f'"{hashlib.sha256((policy + html).encode()).hexdigest()[:32]}"'
    sent: Headers = _VARY | {
        "Cache-Control": "no-cache",  # kept, but asked for each time: a new deployment shows at once
        "Content-Security-Policy": policy,
        "ETag": etag,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    if etag in (headers.get("if-none-match") or ""):
        return Response("", headers=sent, status_code=304)
    return Response(html, headers=sent | {"Content-Type": "text/html; charset=utf-8"})


def content_security_policy(settings: Settings, hashes: dict[str, str]) -> str:
    """Only the inlined style and script, by their hashes; over the network only this API and the bucket; and
    no string is ever parsed as HTML (W3C Content Security Policy Level 3, Trusted Types)."""
    bucket = settings.location.origin
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {hashes['script']}",
            f"style-src {hashes['style']}",
            f"connect-src 'self' {bucket}",
            f"img-src {bucket} blob: data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]
    )


@lru_cache(maxsize=1)
def _load(built: Path) -> tuple[str, dict[str, str]]:
    html = built.read_text(encoding="utf-8")
    return html, {
        found[1]: f"'sha256-{base64.b64encode(hashlib.sha256(found[2].encode()).digest()).decode()}'"
        for found in _INLINE.finditer(html)
    }
