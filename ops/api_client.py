"""HTTP to a deployment's API and to S3, with patience: connections break, and servers have bad moments."""

import json
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

ATTEMPTS = 6
FIRST_PAUSE = 0.5  # seconds; doubled each time, and up to as much again at random
LONGEST_PAUSE = 20.0
BLOCK_BYTES = 256 * 1024


class Stopped(Exception):
    """Somebody wants all of it to end."""


class RequestFailed(Exception):
    """A request that was answered with an error, or not at all; the message is for a person.

    No URL and no token is in it: a signed URL is as good as a key.
    """

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later: no answer, too busy, or the server's own fault."""
        return self.status in (0, 408, 429) or self.status >= 500


@dataclass(frozen=True)
class Answer:
    headers: Mapping[str, str]
    body: bytes


class Http:
    """Safe to share between threads. `stop` ends pauses and, by Stopped, whatever is under way."""

    def __init__(self, stop: threading.Event, connections: int) -> None:
        self.stop = stop
        self._connections = connections
        self._pools: dict[str | None, urllib3.PoolManager] = {}
        self._making = threading.Lock()

    def patiently(self, attempt: Callable[[], Answer]) -> Answer:
        """What `attempt` answers, tried again while that may help."""
        for number in range(ATTEMPTS):
            try:
                return attempt()
            except RequestFailed as error:
                if not error.may_pass or number == ATTEMPTS - 1:
                    raise
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**number)
            self.stop.wait(pause * (1 + random.random()))
            self.check()
        raise AssertionError("the last attempt returns or raises")

    def check(self) -> None:
        if self.stop.is_set():
            raise Stopped

    def once(
        self, method: str, url: str, headers: Mapping[str, str], body: "bytes | IO[bytes] | None" = None
    ) -> Answer:
        """
        Raises:
            RequestFailed: unless the answer is a success.
        """
        self.check()
        try:
            response = self._pool(url).request(
                method,
                url,
                body=body,
                headers=dict(headers),
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=10, read=120),
            )
        except urllib3.exceptions.HTTPError as error:
            self.check()
            raise RequestFailed(f"no answer from {urlsplit(url).netloc} ({type(error).__name__})") from None
        if response.status >= 300:
            raise _failure(response.status, response.data)
        return Answer(response.headers, response.data)

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = getproxies().get(parts.scheme)
        if proxy and proxy_bypass(parts.netloc):
            proxy = None
        with self._making:
            if proxy not in self._pools:
                options: Any = {"maxsize": self._connections, "block": False, "blocksize": BLOCK_BYTES}
                self._pools[proxy] = (
                    urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
                )
            return self._pools[proxy]


class Api:
    """A deployment's API, by the URL of its root."""

    def __init__(self, http: Http, url: str, token: str | None) -> None:
        self.http = http
        self.url = url.rstrip("/")
        self._bearer = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, asked for again while that may help.

        Raises:
            RequestFailed: with the API's own code and message where it gave any.
        """
        return self._parsed(self.http.patiently(lambda: self._request(method, path, body)))

    def once(self, method: str, path: str, body: Any = None) -> Any:
        """The same for those who have a patience of their own."""
        return self._parsed(self._request(method, path, body))

    def _request(self, method: str, path: str, body: Any) -> Answer:
        raw = None if body is None else json.dumps(body).encode()
        headers = {**self._bearer, **({"Content-Type": "application/json"} if raw else {})}
        return self.http.once(method, self.url + path, headers, raw)

    def _parsed(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.body)
        except ValueError:
            message = f"{self.url} does not answer like Waybill: is this the API?"
            raise RequestFailed(message, status=200) from None


def _failure(status: int, body: bytes) -> RequestFailed:
    """The API's one error shape, or the code of S3's XML."""
    try:
        said = json.loads(body)
        return RequestFailed(f"{said['error']}: {said['message']}", status=status, code=str(said["error"]))
    except (ValueError, KeyError, TypeError):
        text = body.decode("utf-8", "replace")
        code = text.partition("<Code>")[2].partition("</Code>")[0]
        message = text.partition("<Message>")[2].partition("</Message>")[0]
        return RequestFailed(f"{code or 'HTTP'} {status}: {message}".rstrip(": "), status=status, code=code)
