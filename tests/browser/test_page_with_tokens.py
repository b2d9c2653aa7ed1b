"""The page of a deployment that asks who calls."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops import tokens
from ops.stack import LocalStack
from tests.browser.browser import Browser
from tests.browser.page import Page
from tests.stack.user import User

SECRET = secrets.token_hex(32)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(
        state_dir=tmp_path_factory.mktemp("tokens"), variables={"AUTH_MODE": "jwt", "JWT_SECRET": SECRET}
    ) as running:
        yield running


def use_token(page: Page, token: str) -> None:
    page.window.one("#token").send_keys(token)
    page.window.click("#token-form .primary")


def test_the_page_asks_for_a_token_and_shows_each_user_their_own(
    stack: LocalStack, window: Callable[..., Browser], tmp_path: Path
) -> None:
    alice, bob = (tokens.make(name, SECRET) for name in ("alice", "bob"))
    secret_plan = tmp_path / "plan.txt"
    secret_plan.write_text("of alice alone")
    page = Page(stack, window())

    page.window.until(lambda: "give it a token" in page.window.text("#trouble"), "the page asks for a token")
    use_token(page, "no.such.token")
    page.window.until(
        lambda: "not accepted" in page.window.text("#trouble"), "the page says that it is wrong"
    )
    use_token(page, alice)
    page.window.until(lambda: not page.window.text("#trouble"), "the page is content")
    page.drop(secret_plan)
    page.job_with("plan.txt", "Completed")

    assert [job["filename"] for job in User(stack, token=alice).all_jobs()] == ["plan.txt"]
    assert page.window.run("return localStorage.length + document.cookie.length") == 0
    page.window.click("#token-toggle")
    use_token(page, bob)
    page.window.one("#empty")
    assert not page.has("plan.txt")


def test_an_upload_without_a_token_is_refused_in_words(
    stack: LocalStack, window: Callable[..., Browser], tmp_path: Path
) -> None:
    page = Page(stack, window())
    page.window.until(lambda: page.window.text("#trouble"), "the page asks for a token")
    page.window.click("#token-toggle")
    (tmp_path / "early.txt").write_text("too early")

    page.drop(tmp_path / "early.txt")

    page.window.one("#token")
    assert "give it a token" in page.window.text("#trouble")
    assert User(stack, token=tokens.make("anyone", SECRET)).all_jobs() == []
