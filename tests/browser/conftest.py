"""What the browser's tests share: the running stack of the whole-stack tests, and windows onto it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.browser import browser
from tests.browser.browser import Browser
from tests.stack.conftest import stack

__all__ = ["stack", "window"]

MISSING = " and ".join(
    name for name, path in [("chromium", browser.CHROMIUM), ("chromedriver", browser.DRIVER)] if not path
)


HOW = f"needs {MISSING}: apt-get install chromium chromium-driver"


@pytest.fixture(scope="session", autouse=True)
def _chromium() -> None:
    if MISSING:
        pytest.skip(HOW)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for all of them, without being asked for it."""
    if MISSING:
        terminalreporter.write_line(f"The browser's tests were skipped: {HOW}")


@pytest.fixture
def window() -> Iterator[Callable[..., Browser]]:
    """Opens windows that are closed after the test: `window(width=360, dark=True)`."""
    with ExitStack() as opened:

        def open_window(**how: Any) -> Browser:
            return opened.enter_context(Browser(**how))

        yield open_window
