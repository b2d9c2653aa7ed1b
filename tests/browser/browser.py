"""Chromium, as the tests use it: headless, with a profile of its own, and with a record of what it did."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")

PATIENCE = 60.0
MB = 1_000_000

# A name for each place where somebody puts them: Debian, other Linuxes, Google's own.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

_QUIET = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have; nothing but our own page is opened
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)


class Browser:
    """One window; use it as a context manager. Elements are named by CSS selectors."""

    def __init__(self, *, width: int = 1100, height: int = 900, dark: bool = False) -> None:
        assert CHROMIUM
        assert DRIVER
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in (*_QUIET, f"--user-data-dir={self._profile.name}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=ChromeService(DRIVER))
        self._events: list[dict[str, Any]] = []
        self._said: list[str] = []
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.driver.quit()
        self._profile.cleanup()

    def open(self, url: str) -> None:
        self.driver.get(url)

    def cdp(self, command: str, **parameters: Any) -> Any:
        """A command of the Chrome DevTools Protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    # --- Look -----------------------------------------------------------------------------------------------

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        """What is to be read there; empty while there is no such element."""
        try:
            return " ".join(element.text for element in self.all(selector))
        except StaleElementReferenceException:  # replaced while it was being read
            return ""

    def until(self, look: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.05)
        raise AssertionError(f"{what}: not within {patience:.0f} s; the page reads:\n{self.text('body')}")

    def one(self, selector: str, patience: float = PATIENCE) -> WebElement:
        def look() -> WebElement | None:
            found = self.all(selector)
            return found[0] if found and found[0].is_displayed() else None

        return self.until(look, selector, patience)

    def style(self, selector: str, name: str) -> str:
        value: str = self.run(
            "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name
        )
        return value

    def focused(self, expression: str) -> Any:
        """A property of the element that has the focus."""
        return self.run(f"return document.activeElement.{expression}")

    # --- Act ------------------------------------------------------------------------------------------------

    def click(self, selector: str) -> None:
        self.one(selector).click()

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def drop(self, selector: str, files: Sequence[Path]) -> None:
        """Drag files over an element and let go, as from a file manager."""
        box: Any = self.one(selector).rect
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.cdp("Input.dispatchDragEvent", type=kind, data=data, **place)

    def limit_upload(self, bytes_per_second: int) -> None:
        self.cdp("Network.enable")
        self.cdp(
            "Network.emulateNetworkConditions",
            offline=False,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=bytes_per_second,
        )

    # --- What it did ----------------------------------------------------------------------------------------

    def events(self, method: str) -> list[dict[str, Any]]:
        """Parameters of all DevTools events of this kind since the window opened."""
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            self._events.append(json.loads(entry["message"])["message"])
        return [event["params"] for event in self._events if event["method"] == method]

    def requests(self) -> list[tuple[str, str]]:
        """Method and URL of every request."""
        sent = (event["request"] for event in self.events("Network.requestWillBeSent"))
        return [(request["method"], request["url"]) for request in sent]

    def origins(self) -> set[str]:
        """Every place that was asked for something over the network."""
        urls = (urlsplit(url) for _, url in self.requests())
        return {f"{url.scheme}://{url.netloc}" for url in urls if url.scheme.startswith(("http", "ws"))}

    def complaints(self) -> list[str]:
        """What went to the console as a warning or an error."""
        for entry in self.driver.get_log("browser"):  # type: ignore[no-untyped-call]
            if entry["level"] in ("WARNING", "SEVERE"):
                self._said.append(entry["message"])
        return self._said
