"""What is served at `/`: the page with its policy, the JSON index, and plain words where there is no page."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from chalice.app import Response

from chalicelib import page
from chalicelib.settings import Settings

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def settings(env: dict[str, str]) -> Settings:
    return Settings.from_env(env)


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    target = tmp_path / "page.html"
    target.write_text("<style>a</style><p>é</p><script>b='<style>c</style>'</script>", encoding="utf-8")
    monkeypatch.setattr(page, "BUILT", target)
    return target


def policy(response: Response) -> dict[str, list[str]]:
    header = str(response.headers["Content-Security-Policy"])
    return {name: sources for name, *sources in (directive.split() for directive in header.split("; "))}


def sha256(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("headers", [HTML, {}, {"accept": "*/*"}])
def test_the_page_is_for_everybody_who_does_not_ask_for_json(
    settings: Settings, built: Path, headers: Mapping[str, str]
) -> None:
    response = page.answer(settings, headers)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.body == built.read_text(encoding="utf-8")


def test_who_asks_for_json_gets_the_index(settings: Settings, built: Path) -> None:
    response = page.answer(settings, {"accept": "application/json"})

    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(response.body)["start"] == "POST /presign"
    assert built.exists()


@pytest.mark.usefixtures("built")
def test_its_policy_allows_its_own_script_the_api_and_the_bucket_alone(settings: Settings) -> None:
    allowed = policy(page.answer(settings, HTML))

    bucket = f"https://{settings.bucket}.s3.{settings.region}.amazonaws.com"
    assert allowed["default-src"] == ["'none'"]
    assert allowed["script-src"] == [sha256("b='<style>c</style>'")]
    assert allowed["style-src"] == [sha256("a")]
    assert allowed["connect-src"] == ["'self'", bucket]
    assert allowed["img-src"] == [bucket, "blob:", "data:"]
    assert allowed["frame-ancestors"] == ["'none'"]
    assert allowed["require-trusted-types-for"] == ["'script'"]


@pytest.mark.usefixtures("built")
def test_an_unchanged_page_is_not_sent_again(settings: Settings) -> None:
    first = page.answer(settings, HTML)

    again = page.answer(settings, {**HTML, "if-none-match": f"W/{first.headers['ETag']}"})

    assert (again.status_code, again.body) == (304, "")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert page.answer(settings, {**HTML, "if-none-match": '"another"'}).status_code == 200


def test_a_page_that_is_not_built_is_no_failure(settings: Settings, built: Path) -> None:
    built.unlink()

    response = page.answer(settings, HTML)

    assert response.status_code == 200
    assert "make page" in response.body


def test_the_page_in_the_repository_names_no_other_host() -> None:
    """Not in what a browser loads by itself; the policy refuses the rest."""
    html = page.BUILT.read_text(encoding="utf-8")

    assert len(html.encode()) < 1_000_000, "Lambda returns 6 MB at most, and phones have other plans"
    assert '<script src="' not in html
    assert '<link rel="stylesheet"' not in html
    assert "url(http" not in html
