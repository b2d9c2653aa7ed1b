"""The page at `/` of a running stack, in a window."""

from collections.abc import Callable
from pathlib import Path

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.remote.webelement import WebElement

from ops.stack import LocalStack
from tests.browser.browser import Browser

DASHBOARD = ".uppy-Dashboard-inner"


class Page:
    def __init__(self, stack: LocalStack, window: Browser) -> None:
        self.window = window
        window.open(f"{stack.api_url}/")
        window.one(".uppy-Dashboard-browse")

    def drop(self, *files: Path) -> None:
        self.window.drop(DASHBOARD, files)

    def job(self, filename: str) -> WebElement:
        """The card of the latest job of this name, as soon as there is one."""
        return self._card(filename, lambda _: True, "is shown")

    def job_with(self, filename: str, status: str) -> WebElement:
        """The card, as soon as it shows this status."""
        return self._card(filename, lambda card: status in card.text.splitlines(), f"is {status}")

    def has(self, filename: str) -> bool:
        return filename in self.filenames()

    def filenames(self) -> list[str]:
        names: list[str] = self.window.run(
            "return [...document.querySelectorAll('#list h3')].map((name) => name.textContent)"
        )
        return names

    def _card(self, filename: str, wanted: Callable[[WebElement], bool], what: str) -> WebElement:
        def look() -> WebElement | None:
            # In one step, because cards are replaced while their jobs change.
            card: WebElement | None = self.window.run(
                "return [...document.querySelectorAll('.job')]"
                ".find((card) => card.querySelector('h3').textContent === arguments[0])",
                filename,
            )
            try:
                return card if card is not None and wanted(card) else None
            except StaleElementReferenceException:
                return None

        return self.window.until(look, f"the job of {filename} {what}")
