"""Requests signed one by one: what is signed for whom, and what is not."""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from chalicelib import keys, signing
from chalicelib.errors import BadRequest, NotFound
from chalicelib.settings import GiB, Settings, TiB

ALICE, BOB = keys.owner_segment("alice"), keys.owner_segment("bob")


@pytest.fixture
def settings(env: dict[str, str]) -> Settings:
    return Settings.from_env(env)


def query_of(signed: dict[str, Any]) -> dict[str, str]:
    query = parse_qs(urlsplit(signed["url"]).query, keep_blank_values=True)
    return {name: value for name, (value,) in query.items() if not name.startswith("X-Amz-")}


def test_a_new_upload_gets_a_key_of_the_servers_choosing(settings: Settings) -> None:
    for method, query in [("PUT", {}), ("POST", {"uploads": ""})]:
        signed = signing.sign(settings, ALICE, {"method": method, "key": "../bob/photo of a cat.jpg"})

        place = keys.parse(settings, signed["key"])
        assert place
        assert (place.owner, place.filename) == (ALICE, "photo of a cat.jpg")
        assert query_of(signed) == query


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_the_type_of_a_file_is_signed(settings: Settings, method: str) -> None:
    signed = signing.sign(
        settings, ALICE, {"method": method, "key": "notes.txt", "contentType": "text/plain"}
    )

    assert signed["headers"] == {"Content-Type": "text/plain"}
    assert "content-type" in parse_qs(urlsplit(signed["url"]).query)["X-Amz-SignedHeaders"][0].split(";")


def test_a_size_is_signed_where_something_is_sent_and_left_to_the_client_to_send(settings: Settings) -> None:
    key = signing.sign(settings, ALICE, {"method": "POST", "key": "film.mp4", "size": 7})["key"]
    part = {"key": key, "uploadId": "an-id", "partNumber": 1}

    def signed_headers(wish: dict[str, Any]) -> list[str]:
        signed = signing.sign(settings, ALICE, wish)
        assert signed["headers"] == {}
        query = parse_qs(urlsplit(str(signed["url"])).query)
        return query["X-Amz-SignedHeaders"][0].split(";")

    for put in ({"method": "PUT", "key": "a"}, {"method": "PUT", **part}):
        assert signed_headers(put) == ["host"]
        assert signed_headers({**put, "size": 7}) == ["content-length", "host"]
    for other in ({"method": "POST", "key": "a"}, {"method": "GET", **part}, {"method": "DELETE", **part}):
        assert signed_headers({**other, "size": 7}) == ["host"]


def test_no_more_is_signed_than_the_deployment_and_s3_take(settings: Settings) -> None:
    key = signing.sign(settings, ALICE, {"method": "POST", "key": "film.mp4"})["key"]
    part = {"method": "PUT", "key": key, "uploadId": "an-id", "partNumber": 1}
    large = replace(settings, max_upload_bytes=TiB)

    assert signing.sign(large, ALICE, {"method": "POST", "key": "a", "size": TiB})
    for allowing, wish in (
        (settings, {"method": "POST", "key": "a", "size": settings.max_upload_bytes + 1}),
        (large, {"method": "PUT", "key": "a", "size": 5 * GiB + 1}),
        (large, {**part, "size": 5 * GiB + 1}),
    ):
        with pytest.raises(BadRequest) as refused:
            signing.sign(allowing, ALICE, wish)
        assert refused.value.details == {"field": "size"}


def test_what_belongs_to_an_upload_is_signed_for_its_owner_alone(settings: Settings) -> None:
    key = signing.sign(settings, ALICE, {"method": "POST", "key": "film.mp4"})["key"]
    wishes: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"method": "PUT", "partNumber": 7}, {"partNumber": "7", "uploadId": "an-id"}),
        ({"method": "GET"}, {"uploadId": "an-id"}),
        ({"method": "POST"}, {"uploadId": "an-id"}),
        ({"method": "DELETE"}, {"uploadId": "an-id"}),
    ]
    for wish, query in wishes:
        wish |= {"key": key, "uploadId": "an-id"}
        signed = signing.sign(settings, ALICE, wish)
        assert (signed["key"], query_of(signed)) == (key, query)
        with pytest.raises(NotFound):
            signing.sign(settings, BOB, wish)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"method": "GET", "key": "notes.txt"}, "uploadId"),
        ({"method": "DELETE", "key": "notes.txt"}, "uploadId"),
        ({"method": "PUT", "key": "KEY", "uploadId": "an-id"}, "partNumber"),
    ],
)
def test_a_request_that_no_uploader_makes_is_refused(
    settings: Settings, wish: dict[str, Any], field: str
) -> None:
    key = signing.sign(settings, ALICE, {"method": "POST", "key": "film.mp4"})["key"]
    wish = {**wish, "key": key if wish["key"] == "KEY" else wish["key"]}

    with pytest.raises(BadRequest) as refused:
        signing.sign(settings, ALICE, wish)

    assert refused.value.details == {"field": field}
