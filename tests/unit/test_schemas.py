"""What the API takes: each field's limits, and a refusal that names the field and says what it takes."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chalicelib import schemas
from chalicelib.errors import BadRequest
from chalicelib.jobs import EVENT_TYPES, Status
from chalicelib.schemas import (
    JOBS_QUERY,
    MULTIPART,
    MULTIPART_BATCH_QUERY,
    MULTIPART_PARTS,
    MULTIPART_QUERY,
    NOTHING,
    PRESIGN,
    S3_PARAMS_QUERY,
    WEBHOOK,
    Schema,
)

SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
HOOK = "https://hooks.example.com/waybill"

WRONG_TYPES: list[Any] = [None, True, 1, 1.5, [], ["a"], {}, {"a": "b"}, ""]


def refusal(schema: Schema, value: dict[str, Any]) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        schemas.check(schema, value)
    return caught.value


def assert_names(error: BadRequest, field: str) -> None:
    """The field is named to a program and to a person, in a sentence without any regular expression."""
    assert error.details == {"field": field}
    assert error.message.startswith(f"{field}: ")
    assert error.message.endswith(".")
    assert "^" not in error.message
    assert "[" not in error.message
    assert len(error.message) < 250


def part(number: Any, etag: Any = "e") -> dict[str, Any]:
    return {"PartNumber": number, "ETag": etag}


class TestPresign:
    @pytest.mark.parametrize(
        "wish",
        [
            {},
            {"filename": "a"},
            {"filename": "é" * 4096},
            {"filename": "../../etc/passwd"},
            {"contentType": "text/plain"},
            {"contentType": "text/csv; charset=utf-8"},
            {"contentType": "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
            {"contentType": 'multipart/form-data; boundary="a b"'},
            {"contentType": "image/svg+xml"},
            {"size": 1},
            {"size": 10**30},
            {"size": 5.0},
            {"sha256": SHA256},
            {"sha256": SHA256.upper()},
            {"metadata": {}},
            {"metadata": {"order": "7"}},
            {"metadata": {"a" * 63: "x" * 256}},
            {"metadata": {f"n{n}": "x" for n in range(20)}},
            {"metadata": {"0-a": "two words"}},
            {"method": "PUT"},
            {"method": "POST"},
            {"filename": "a", "contentType": "a/b", "size": 1, "sha256": SHA256, "method": "PUT"},
        ],
    )
    def test_what_is_in_order_passes(self, wish: dict[str, Any]) -> None:
        schemas.check(PRESIGN, wish)

    @pytest.mark.parametrize("value", WRONG_TYPES)
    @pytest.mark.parametrize("field", ["filename", "contentType", "sha256", "method"])
    def test_a_text_must_be_one(self, field: str, value: Any) -> None:
        assert_names(refusal(PRESIGN, {field: value}), field)

    @pytest.mark.parametrize(
        "value", [None, True, False, "1", 1.5, -1, 0, -(10**30), float("inf"), float("nan"), [], {}]
    )
    def test_a_size_is_a_whole_number_from_1(self, value: Any) -> None:
        error = refusal(PRESIGN, {"size": value})

        assert_names(error, "size")
        assert "at least 1" in error.message or "a whole number" in error.message

    @pytest.mark.parametrize(
        "value",
        [
            "text",
            "/plain",
            "text/",
            "text/plain/more",
            "text plain",
            "text/plain;",
            "text/plain\n",
            "text/plain\r\nX-Evil: 1",
            "text/plain; charset=utf-8\n",
            "text/plain; naïve",
            "tëxt/plain",
            "a/" + "b" * 254,
            "a/b;" + " " * 10_000,
        ],
    )
    def test_a_content_type_is_a_media_type(self, value: str) -> None:
        assert_names(refusal(PRESIGN, {"contentType": value}), "contentType")

    @pytest.mark.parametrize(
        "value", [SHA256[:-1], SHA256 + "0", SHA256[:-1] + "g", SHA256 + "\n", "x" * 10_000]
    )
    def test_a_checksum_is_64_hexadecimal_digits(self, value: str) -> None:
        error = refusal(PRESIGN, {"sha256": value})

        assert_names(error, "sha256")
        assert "64 hexadecimal digits" in error.message

    @pytest.mark.parametrize("value", [None, True, 1, "a", [], ["a"]])
    def test_metadata_is_an_object(self, value: Any) -> None:
        assert_names(refusal(PRESIGN, {"metadata": value}), "metadata")

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "A",
            "é",
            "a b",
            "a_b",
            "a.b",
            "-a",
            "a\n",
            "a:b",
            "a" * 64,
            "waybill-etag",
            "{a}",
            "%s",
            "a[0]",
        ],
    )
    def test_names_of_metadata_go_into_a_header(self, name: str) -> None:
        """S3 keeps them in lower case; those that begin with waybill- are this service's own."""
        assert_names(refusal(PRESIGN, {"metadata": {name: "x"}}), "metadata")

    @pytest.mark.parametrize(
        "value", [None, 1, True, [], {}, "", " ", " a", "a ", "é", "a\n", "a\nb", "a\r\nb", "\x7f", "x" * 257]
    )
    def test_values_of_metadata_go_into_a_header(self, value: Any) -> None:
        assert_names(refusal(PRESIGN, {"metadata": {"order": value}}), "metadata.order")

    def test_metadata_has_its_limits(self) -> None:
        error = refusal(PRESIGN, {"metadata": {f"n{n}": "x" for n in range(21)}})

        assert_names(error, "metadata")
        assert "20" in error.message

    @pytest.mark.parametrize("value", ["post", "put", "DELETE", "GET", "PUT, POST"])
    def test_an_unknown_method_is_told_which_there_are(self, value: str) -> None:
        error = refusal(PRESIGN, {"method": value})

        assert_names(error, "method")
        assert "PUT, POST" in error.message

    @pytest.mark.parametrize(
        ("filename", "said"), [("", "must not be empty"), ("x" * 4097, "at most 4096 characters")]
    )
    def test_a_filename_has_its_limits(self, filename: str, said: str) -> None:
        error = refusal(PRESIGN, {"filename": filename})

        assert_names(error, "filename")
        assert said in error.message


class TestWebhook:
    @pytest.mark.parametrize(
        "request_",
        [
            {"url": HOOK},
            {"url": HOOK, "types": ["waybill.job.failed"]},
            {"url": HOOK, "types": list(EVENT_TYPES)},
        ],
    )
    def test_what_is_in_order_passes(self, request_: dict[str, Any]) -> None:
        schemas.check(WEBHOOK, request_)

    @pytest.mark.parametrize("request_", [{}, {"types": ["waybill.job.failed"]}, {"types": 5}])
    def test_the_url_must_be_there(self, request_: dict[str, Any]) -> None:
        error = refusal(WEBHOOK, request_)

        assert_names(error, "url")
        assert "missing" in error.message

    @pytest.mark.parametrize("value", [*WRONG_TYPES, "x" * 2049])
    def test_the_url_is_a_text(self, value: Any) -> None:
        error = refusal(WEBHOOK, {"url": value})

        assert_names(error, "url")
        assert "missing" not in error.message

    @pytest.mark.parametrize(
        "value", [None, True, 1, "waybill.job.failed", {}, [], ["waybill.job.failed"] * 2]
    )
    def test_types_are_an_array_of_some_that_differ(self, value: Any) -> None:
        assert_names(refusal(WEBHOOK, {"url": HOOK, "types": value}), "types")

    @pytest.mark.parametrize("value", [None, True, 1, "", "job.failed", {}, [], ["waybill.job.failed"]])
    def test_each_type_is_one_that_there_is(self, value: Any) -> None:
        error = refusal(WEBHOOK, {"url": HOOK, "types": ["waybill.job.completed", value]})

        assert_names(error, "types.1")
        assert all(known in error.message for known in EVENT_TYPES)

    def test_the_types_are_those_that_are_sent(self) -> None:
        known = ["waybill.job.completed", "waybill.job.rejected", "waybill.job.failed"]
        assert WEBHOOK["properties"]["types"]["items"]["enum"] == known


class TestJobsQuery:
    @pytest.mark.parametrize("limit", ["1", "9", "10", "99", "100"])
    def test_limits_that_are_in_order_pass(self, limit: str) -> None:
        schemas.check(JOBS_QUERY, {"limit": limit})

    @pytest.mark.parametrize(
        "limit", ["", "0", "-1", "101", "1000", "1.5", "1e1", " 1", "1\n", "01", "ten", "²", "\u0663"]
    )
    def test_others_do_not(self, limit: str) -> None:
        error = refusal(JOBS_QUERY, {"limit": limit})

        assert_names(error, "limit")
        assert "1 to 100" in error.message

    def test_a_status_is_one_of_the_job_s(self) -> None:
        shown = set(Status) - {Status.DELETED}
        assert set(JOBS_QUERY["properties"]["status"]["enum"]) == shown
        for status in shown:
            schemas.check(JOBS_QUERY, {"status": str(status)})
        for other in ("", "queued", "DONE", "DELETED"):
            assert_names(refusal(JOBS_QUERY, {"status": other}), "status")

    def test_a_cursor_has_a_limit(self) -> None:
        schemas.check(JOBS_QUERY, {"cursor": "x" * 200})
        assert_names(refusal(JOBS_QUERY, {"cursor": "x" * 201}), "cursor")


class TestCompanion:
    @pytest.mark.parametrize(
        ("schema", "value"),
        [
            (S3_PARAMS_QUERY, {}),
            (
                S3_PARAMS_QUERY,
                {"filename": "Fête.jpg", "type": "image/jpeg", "metadata[relativePath]": "a/é"},
            ),
            (S3_PARAMS_QUERY, {"filename": "", "type": "", "metadata[any name at all]": ""}),
            (MULTIPART, {}),
            (
                MULTIPART,
                {"filename": "a", "type": "text/csv; charset=utf-8", "size": 1, "metadata": {"n": 7}},
            ),
            (MULTIPART, {"filename": "", "type": "", "metadata": None}),
            (MULTIPART_QUERY, {"key": ""}),
            (MULTIPART_BATCH_QUERY, {"key": "k", "partNumbers": "1,2,10000"}),
            (
                MULTIPART_PARTS,
                {"parts": [{"PartNumber": 1, "ETag": '"e"', "Size": 5, "LastModified": "now"}]},
            ),
        ],
    )
    def test_what_an_uploader_sends_passes(self, schema: Schema, value: dict[str, Any]) -> None:
        schemas.check(schema, value)

    @pytest.mark.parametrize(
        ("schema", "value", "field", "said"),
        [
            (S3_PARAMS_QUERY, {"type": "image"}, "type", "media type"),
            (S3_PARAMS_QUERY, {"type": "image/"}, "type", "media type"),
            (MULTIPART, {"filename": "x" * 4097}, "filename", "4096"),
            (MULTIPART, {"type": None}, "type", "a string"),
            (MULTIPART, {"size": 0}, "size", "at least 1"),
            (MULTIPART, {"metadata": "order=7"}, "metadata", "an object"),
            (MULTIPART_QUERY, {}, "key", "missing"),
            (MULTIPART_QUERY, {"key": "x" * 1025}, "key", "1024"),
            (MULTIPART_BATCH_QUERY, {"key": "k"}, "partNumbers", "missing"),
            (MULTIPART_BATCH_QUERY, {"key": "k", "partNumbers": "1,"}, "partNumbers", "such as 1,2,3"),
            (MULTIPART_BATCH_QUERY, {"key": "k", "partNumbers": "1\n"}, "partNumbers", "such as 1,2,3"),
            (MULTIPART_BATCH_QUERY, {"key": "k", "partNumbers": "1," * 3000 + "1"}, "partNumbers", "6000"),
            (MULTIPART_PARTS, {}, "parts", "missing"),
            (MULTIPART_PARTS, {"parts": []}, "parts", "not be empty"),
            (MULTIPART_PARTS, {"parts": {}}, "parts", "an array"),
            (MULTIPART_PARTS, {"parts": [{}] * 10_001}, "parts", "at most 10000 entries"),
            (MULTIPART_PARTS, {"parts": [1]}, "parts.0", "an object"),
            (MULTIPART_PARTS, {"parts": [{"PartNumber": 1}]}, "parts.0", "PartNumber and ETag"),
            (MULTIPART_PARTS, {"parts": [part(0)]}, "parts.0.PartNumber", "at least 1"),
            (MULTIPART_PARTS, {"parts": [part(1), part(10_001)]}, "parts.1.PartNumber", "at most 10000"),
            (MULTIPART_PARTS, {"parts": [part(True)]}, "parts.0.PartNumber", "a whole number"),
            (MULTIPART_PARTS, {"parts": [part(1.5)]}, "parts.0.PartNumber", "a whole number"),
            (MULTIPART_PARTS, {"parts": [part(1, "")]}, "parts.0.ETag", "not be empty"),
            (MULTIPART_PARTS, {"parts": [part(1, "x" * 129)]}, "parts.0.ETag", "128"),
        ],
    )
    def test_what_is_wrong_is_named(
        self, schema: Schema, value: dict[str, Any], field: str, said: str
    ) -> None:
        error = refusal(schema, value)

        assert_names(error, field)
        assert said in error.message


class TestUnknownFields:
    @pytest.mark.parametrize(
        ("schema", "value"),
        [
            (PRESIGN, {"filenam": "a"}),
            (PRESIGN, {"Filename": "a", "filename": "b"}),
            (WEBHOOK, {"url": HOOK, "secret": "x"}),
            (WEBHOOK, {"uri": HOOK}),
            (JOBS_QUERY, {"page": "2"}),
            (NOTHING, {"anything": 1}),
            (S3_PARAMS_QUERY, {"metadata": "7"}),
            (S3_PARAMS_QUERY, {"metadata[]": "7"}),
            (S3_PARAMS_QUERY, {"metadata[a": "7"}),
            (S3_PARAMS_QUERY, {"xmetadata[a]": "7"}),
            (S3_PARAMS_QUERY, {"metadata[a]b": "7"}),
            (S3_PARAMS_QUERY, {"metadata[a[b]]": "7"}),
        ],
    )
    def test_the_field_is_named_and_so_are_those_that_there_are(
        self, schema: Schema, value: dict[str, Any]
    ) -> None:
        error = refusal(schema, value)

        (unknown,) = set(value) - set(schema["properties"])
        assert error.details == {"field": unknown}
        assert error.message.startswith(f"'{unknown}': no such field")
        assert all(known in error.message for known in schema["properties"])

    def test_of_several_the_first_in_the_alphabet_is_named(self) -> None:
        assert refusal(PRESIGN, {"b": 1, "a": 2}).details == {"field": "a"}

    @pytest.mark.parametrize("name", ["", "a.b[0]", "{x}", "%s", "\x00", "\ud800", "data", "x" * 60_000])
    def test_odd_names_are_named_as_far_as_that_helps(self, name: str) -> None:
        error = refusal(PRESIGN, {name: 1})

        assert error.details == {"field": name[:60]}
        assert len(error.message) < 300


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("schema", schemas._ALL, ids=lambda schema: schema["$id"])
def test_whatever_comes_passes_or_is_refused(schema: Schema) -> None:
    fields = st.sampled_from([*schema["properties"], "other", "$id"])

    @hypothesis_settings(max_examples=50)
    @given(st.dictionaries(fields | st.text(), ANYTHING))
    @example({"metadata": {"{": "{"}})
    @example({"types": [{}]})
    def check(value: dict[str, Any]) -> None:
        try:
            schemas.check(schema, value)
        except BadRequest as error:
            field = error.details["field"]
        else:
            field = None
        # Not one error but BadRequest, and that always with the field of one that was sent or is missing.
        assert field is None or field.split(".")[0] in {
            *schema.get("required", ()),
            *(name[:60].split(".")[0] for name in value),
        }

    check()


@pytest.mark.parametrize("schema", schemas._ALL, ids=lambda schema: schema["$id"])
def test_every_expression_has_words_for_it(schema: Schema) -> None:
    def walk(part: Any) -> None:
        if isinstance(part, dict):
            assert "pattern" not in part or "description" in part or part == schema_of_names
            for inner in part.values():
                walk(inner)

    schema_of_names = PRESIGN["properties"]["metadata"]["propertyNames"]
    walk(schema)
