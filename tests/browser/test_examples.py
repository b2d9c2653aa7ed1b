"""The pages of examples/uppy, as a front-end developer serves them: from an origin that is not the API's."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ops.stack import LocalStack
from tests.browser import node
from tests.browser.browser import MB, Browser
from tests.stack.user import User

pytestmark = pytest.mark.skipif(not node.FOUND, reason=node.MISSING)

START = ".uppy-StatusBar-actionBtn--upload"
PAUSE = ".uppy-StatusBar-actions button[title=Pause]"
RESUME = ".uppy-StatusBar-actions button[title=Resume]"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def example(name: str, target: Path) -> Iterator[str]:
    project = node.installed(f"examples/uppy/{name}", target)
    node.run(project, node.NPM, "run", "build")
    with served(project) as origin:
        yield origin


def upload(browser: Browser, *files: Path) -> None:
    browser.one(".uppy-Dashboard-browse")
    browser.drop(".uppy-Dashboard-inner", files)
    browser.click(START)


def arrived(browser: Browser, user: User, count: int) -> list[Any]:
    """The jobs of as many files as the page says have arrived, ended."""
    browser.until(lambda: len(browser.all("#arrived li")) == count, "all have arrived")
    browser.until(lambda: len(user.all_jobs()) >= count, "all have their jobs")
    return [user.ended(job["jobId"]) for job in user.all_jobs()[:count]]


def asked_with(browser: Browser, api: str) -> set[str | None]:
    """The Authorization headers of all requests to the API, but for the preflights."""
    sent = [event["request"] for event in browser.events("Network.requestWillBeSent")]
    return {
        request["headers"].get("Authorization")
        for request in sent
        if request["url"].startswith(f"{api}/") and request["method"] != "OPTIONS"
    }


def test_uppy_5_uploads_by_its_endpoint_and_sends_the_token(
    stack: LocalStack, window: Callable[..., Browser], tmp_path: Path
) -> None:
    browser, user = window(), User(stack)
    small = tmp_path / "grüße & more.txt"
    small.write_text("hello")

    with example("endpoint", tmp_path) as origin:
        browser.open(f"{origin}/#api={stack.api_url}&token=a.b.c")
        upload(browser, small)
        (job,) = arrived(browser, user, 1)

    assert (job["status"], job["filename"]) == ("COMPLETED", small.name)
    assert asked_with(browser, stack.api_url) == {"Bearer a.b.c"}
    assert browser.complaints() == []


def test_uppy_6_uploads_with_requests_signed_one_by_one(
    stack: LocalStack, window: Callable[..., Browser], tmp_path: Path
) -> None:
    browser, user = window(), User(stack)
    small, large = tmp_path / "grüße & more.txt", tmp_path / "large.bin"
    small.write_text("hello")
    with large.open("wb") as sparse:
        sparse.truncate(150 * MB)

    with example("sign-request", tmp_path) as origin:
        browser.open(f"{origin}/#api={stack.api_url}&token=a.b.c")
        browser.limit_upload(60 * MB)
        upload(browser, small, large)
        browser.until(lambda: parts_sent(browser) > 3, "parts are under way")
        browser.click(PAUSE)
        browser.one(RESUME)
        browser.click(RESUME)
        jobs = arrived(browser, user, 2)

    assert {(job["filename"], job["size"], job["status"]) for job in jobs} == {
        (small.name, 5, "COMPLETED"),
        (large.name, 150 * MB, "COMPLETED"),
    }
    assert any(method == "GET" and "uploadId=" in url for method, url in browser.requests()), "resumed"
    assert asked_with(browser, stack.api_url) == {"Bearer a.b.c"}
    assert browser.complaints() == []


def parts_sent(browser: Browser) -> int:
    return sum(1 for method, url in browser.requests() if method == "PUT" and "partNumber=" in url)
