"""Downloads: what is signed, and what can never be in it."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import downloads, keys
from chalicelib.downloads import Download, attachment, safe_type, sign
from chalicelib.errors import Conflict, NotFound
from chalicelib.jobs import Ending, Status
from chalicelib.ledger import open_ledger
from chalicelib.settings import Settings
from tests.unit.flow import upload_at

JOB_ID = "01936b2e-7c1a-7d3e-8f00-0123456789ab"
OUTPUT = f"processed/_/{JOB_ID}/outputs/text.txt"


def finished(
    settings: Settings, status: Status = Status.COMPLETED, key: str = "", filename: str = "a.txt"
) -> None:
    ledger = open_ledger(settings)
    ledger.record(upload_at(f"uploads/_/{JOB_ID}/{filename}"))
    _, job = ledger.claim("_", JOB_ID, "e1")
    assert job is not None
    outputs = [{"name": "text.txt", "contentType": "text/plain; charset=utf-8", "size": 1, "key": OUTPUT}]
    key = key or f"processed/_/{JOB_ID}/{filename}"
    ledger.finish(job, Ending(status, key, detected_type="text/html", outputs=outputs))


def signed_query(download: Download) -> dict[str, list[str]]:
    return parse_qs(urlsplit(download.url).query)


def test_an_output_is_signed_where_it_lies(aws: Settings) -> None:
    finished(aws)

    download = sign(aws, "_", JOB_ID, "text.txt")

    assert urlsplit(download.url).path == f"/{OUTPUT}"
    query = signed_query(download)
    assert query["response-content-type"] == ["text/plain; charset=utf-8"]
    assert query["response-content-disposition"][0].startswith("attachment;")
    assert query["response-cache-control"] == ["no-store"]
    assert query["X-Amz-Expires"] == [str(download.expires_in)] == ["300"]


def test_the_original_is_of_the_type_of_its_bytes_where_that_is_harmless(aws: Settings) -> None:
    finished(aws)

    assert signed_query(sign(aws, "_", JOB_ID, "original"))["response-content-type"] == [downloads.OPAQUE]


def test_a_deployment_of_shorter_urls_has_shorter_downloads(aws: Settings, env: dict[str, str]) -> None:
    finished(aws)

    short = Settings.from_env(env | {"EXPIRES_IN": "60"})

    assert sign(short, "_", JOB_ID, "original").expires_in == 60


def test_before_the_end_there_is_nothing_to_be_had(aws: Settings) -> None:
    open_ledger(aws).record(upload_at(f"uploads/_/{JOB_ID}/a.txt"))

    with pytest.raises(Conflict) as refused:
        sign(aws, "_", JOB_ID, "original")

    assert refused.value.code == "not_ended"


def test_a_lost_original_and_a_foreign_job_are_the_same_404(aws: Settings) -> None:
    finished(aws, Status.FAILED, key=f"uploads/_/{JOB_ID}/a.txt")
    bodies = []

    for owner, name in (("_", "original"), ("_", "none.txt"), ("mallory", "text.txt")):
        with pytest.raises(NotFound) as missing:
            sign(aws, owner, JOB_ID, name)
        bodies.append(missing.value.body())

    assert bodies[0] == bodies[1] == bodies[2]


@given(st.text(max_size=80))
def test_no_name_breaks_out_of_the_header(name: str) -> None:
    value = attachment(name)

    assert value.isascii()
    assert value.isprintable()
    quoted, encoded = value.removeprefix('attachment; filename="').split("\"; filename*=UTF-8''")
    assert not set(quoted) & set('"\\%')
    assert not set(encoded) & set(" \"\\;,'*()<>@:/[]?={}")
    assert unquote(encoded) == keys.safe_filename(name)


@pytest.mark.parametrize(
    ("content_type", "safe"),
    [
        ("text/plain", "text/plain"),
        ("Text/Plain; Charset=UTF-8", "text/plain; charset=utf-8"),
        ("text/plain; charset=utf-7", "text/plain"),
        ("image/png", "image/png"),
        ("application/pdf", "application/pdf"),
        ("text/html", downloads.OPAQUE),
        ("TEXT/HTML ; charset=utf-8", downloads.OPAQUE),
        ("image/svg+xml", downloads.OPAQUE),
        ("application/xhtml+xml", downloads.OPAQUE),
        ("text/xml", downloads.OPAQUE),
        ("text/javascript", downloads.OPAQUE),
        ("text/plain, text/html", downloads.OPAQUE),
        ("", downloads.OPAQUE),
    ],
)
def test_only_types_that_run_nothing_are_kept(content_type: str, safe: str) -> None:
    assert safe_type(content_type) == safe


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("", 302),
        ("*/*", 302),
        ("text/html,application/xhtml+xml,*/*;q=0.8", 302),
        ("application/json", 200),
        ("application/json, text/plain, */*", 200),
        ("text/html, Application/JSON;q=0.9", 200),
        ("application/json;q=0, */*", 302),
        ("application/json;q=0.000", 302),
        ("application/jsonl", 302),
    ],
)
def test_json_is_for_those_who_ask_for_it(accept: str, status: int) -> None:
    response = Download("https://example.com/x", 300).response(accept)

    assert response.status_code == status
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
