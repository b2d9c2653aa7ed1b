"""JSON: which events a file holds, exactly, and what is said of one that is broken."""

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chalicelib import items
from chalicelib.errors import Rejected
from chalicelib.processors import Event, Result
from chalicelib.processors.columns import MAX_COLUMNS, MAX_NAME
from chalicelib.processors.data import (
    MAX_BY_REFERENCE,
    MAX_INLINE_BYTES,
    MAX_NAMES,
    NDJSON,
    process,
)
from chalicelib.processors.fitting import MAX_NESTING
from chalicelib.processors.sample import MAX_BYTES, MAX_ROWS
from tests.unit.processing import content, result_of
from tests.unit.sources import CAPS

MAX_EVENTS = CAPS.events


def processed(body: bytes | str, media_type: str = "application/json", **caps: int) -> Result:
    raw = body.encode() if isinstance(body, str) else body
    return result_of(process, raw, "events.json", media_type, **caps)


def value(event: Event) -> Any:
    return None if event.json is None else json.loads(event.json, parse_float=Decimal, parse_int=Decimal)


def values(body: bytes | str) -> list[Any]:
    return [value(event) for event in processed(body).events]


def refusal(body: bytes | str, media_type: str = "application/json") -> Rejected:
    with pytest.raises(Rejected) as caught:
        processed(body, media_type)
    return caught.value


def place(error: Rejected) -> tuple[int, int]:
    """Where it says that the file broke: the same to a program and to a person."""
    line, column = error.details["line"], error.details["column"]
    assert f"line {line}, column {column}" in error.message
    return line, column


class TestEvents:
    def test_a_document_is_one_event(self) -> None:
        result = processed('{"id": "o-1", "total": 12.50}')

        (event,) = result.events
        assert (event.id, event.index, event.output) == ("o-1", 0, None)
        assert value(event) == {"id": "o-1", "total": Decimal("12.50")}
        assert result.metadata == {"format": "json", "events": 1, "byReference": 0}
        assert result.outputs == []

    def test_an_array_is_as_many_events_as_it_has_elements(self) -> None:
        result = processed(' [ {"id": "a"} , 2,\n"three", null, [4] ] \n')

        assert [value(event) for event in result.events] == [{"id": "a"}, 2, "three", None, [4]]
        assert [event.index for event in result.events] == [0, 1, 2, 3, 4]
        assert result.metadata["format"] == "json"

    @pytest.mark.parametrize("body", ["[]", " [\n] \r\n"])
    def test_an_empty_array_is_no_event_and_no_error(self, body: str) -> None:
        result = processed(body)

        assert (result.events, result.metadata["events"]) == ([], 0)

    @pytest.mark.parametrize(
        "body",
        [
            '{"a": 1}\n{"a": 2}\n',
            '{"a": 1}\r\n{"a": 2}',
            '\n\n{"a": 1}\n\n\n{"a": 2}\n\n',
            '{"a": 1} {"a": 2}',
            '{"a": 1}{"a": 2}',
            '{\n  "a": 1\n}\n{\n  "a": 2\n}',
        ],
    )
    def test_documents_one_after_the_other_are_an_event_each(self, body: str) -> None:
        result = processed(body)

        assert [value(event) for event in result.events] == [{"a": 1}, {"a": 2}]
        assert result.metadata["format"] == "ndjson"

    def test_scalars_are_events_when_white_space_parts_them(self) -> None:
        assert values("1 2\ttrue\nnull\r\n-0.5") == [1, 2, True, None, Decimal("-0.5")]
        assert values('"a""b"') == ["a", "b"]

    @pytest.mark.parametrize(
        "body", ["01", "-01", "1-1", "truefalse", "nulltrue", "1true", '1{"a":2}', "007"]
    )
    def test_scalars_that_touch_are_broken_and_not_two(self, body: str) -> None:
        assert refusal(body).code == "invalid_json"

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ('{"id": "o-1"}', "o-1"),
            ('{"id": 7}', "7"),
            ('{"id": 7.10}', "7.10"),
            ('{"id": 1E+2}', "1E+2"),
            ('{"id": 12345678901234567890}', "12345678901234567890"),
            ('{"id": ""}', None),
            ('{"id": null}', None),
            ('{"id": true}', None),
            ('{"id": {"a": 1}}', None),
            ('{"no": 1}', None),
            ('["id"]', None),
            ('"id"', None),
            ('{"id": "' + "é" * 256 + '"}', "é" * 256),
            ('{"id": "' + "é" * 257 + '"}', None),
            ('{"id": "\\ud800"}', None),
        ],
    )
    def test_an_event_has_the_id_it_brings_where_that_can_be_a_key(
        self, body: str, expected: str | None
    ) -> None:
        result = processed(body)

        assert [event.id for event in result.events] == [expected]

    def test_of_a_name_given_twice_the_last_value_counts(self) -> None:
        assert values('{"a": 1, "a": 2}') == [{"a": 2}]

    def test_more_events_than_allowed_are_refused(self) -> None:
        assert len(values(json.dumps([0] * MAX_EVENTS))) == MAX_EVENTS
        assert refusal(json.dumps([0] * (MAX_EVENTS + 1))).code == "too_many_events"
        assert refusal("{}\n" * (MAX_EVENTS + 1)).code == "too_many_events"


class TestLines:
    """NDJSON: a line is an event, and all of them are a table."""

    ORDERS = '{"id": 1, "total": 2.5, "paid": true}\n{"id": 2, "total": 3, "note": null, "to": {"a": [1]}}\n'

    def test_the_table_is_told_beside_the_events(self) -> None:
        result = processed(self.ORDERS, NDJSON)

        assert [event.id for event in result.events] == ["1", "2"]
        assert result.metadata == {
            "format": "ndjson",
            "events": 2,
            "byReference": 0,
            "rows": 2,
            "columns": 5,
            "columnTypes": [
                {"name": "id", "type": "integer"},
                {"name": "total", "type": "number"},
                {"name": "paid", "type": "boolean"},
                {"name": "note", "type": "empty"},
                {"name": "to", "type": "object"},
            ],
            "typesFrom": 2,
            "sampleRows": 2,
        }

    def test_the_sample_is_the_first_lines_exactly(self) -> None:
        lines = ['{"n": 1.50}', "[2]", "12345678901234567890.10"] + ["{}"] * MAX_ROWS

        (output,) = processed("\r\n".join(lines), NDJSON).outputs

        assert (output.name, output.content_type) == ("sample.json", "application/json")
        assert content(output).decode() == "[\n" + ",\n".join(lines[:MAX_ROWS]) + "\n]\n"

    def test_the_sample_ends_before_a_line_that_does_not_fit(self) -> None:
        result = processed("1\n" + json.dumps("x" * MAX_BYTES) + "\n2\n", NDJSON)

        assert json.loads(content(result.outputs[-1])) == [1]
        assert result.metadata["sampleRows"] == 1

    @pytest.mark.parametrize("line", ["[1, 2]", "[]", "null", "3", '"x"', '{"a": [1]}'])
    def test_whatever_a_line_is_it_is_one_event(self, line: str) -> None:
        result = processed(f"{line}\n{line}\n{line}", NDJSON)

        assert [value(event) for event in result.events] == [json.loads(line)] * 3

    def test_one_line_is_ndjson_as_well_where_it_is_called_so(self) -> None:
        assert processed("[1, 2]\n", NDJSON).metadata["format"] == "ndjson"
        assert processed("[1, 2]\n").metadata["format"] == "json"

    def test_documents_on_one_line_are_an_event_each(self) -> None:
        assert len(processed('{"a": 1} {"a": 2}\n3 4', NDJSON).events) == 4

    def test_lines_with_nothing_on_them_do_not_count(self) -> None:
        assert len(processed("\n\n{}\n \t\r\n{}\n\n", NDJSON).events) == 2

    @pytest.mark.parametrize("body", ["", "\n", " \n\t\r\n"])
    def test_a_file_without_a_document_is_refused(self, body: str) -> None:
        assert refusal(body, NDJSON).code == "invalid_json"

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (["1", "2.0"], "number"),
            (["1e2"], "number"),
            (["1", '"x"'], "mixed"),
            (['"2024-01-01"', '"2024-01-01T10:00:00Z"'], "datetime"),
            (['"2024-01-01"', '"so"'], "text"),
            (['"7"'], "text"),
            (['""'], "text"),
            (["{}", "[]"], "mixed"),
            (["[]", "null"], "array"),
            (["true", "1"], "mixed"),
        ],
    )
    def test_a_name_has_the_type_of_all_its_values(self, values: list[str], expected: str) -> None:
        result = processed("".join(f'{{"a": {value}}}\n' for value in values), NDJSON)

        assert result.metadata["columnTypes"] == [{"name": "a", "type": expected}]

    def test_names_are_counted_and_some_are_shown(self) -> None:
        lines = "".join(json.dumps({f"name {n}": 1, "x" * 100: 2}) + "\n" for n in range(300))

        metadata = processed(lines, NDJSON).metadata

        assert (metadata["columns"], len(metadata["columnTypes"])) == (301, MAX_COLUMNS)
        assert max(len(column["name"]) for column in metadata["columnTypes"]) == MAX_NAME

    def test_half_a_character_in_a_name_is_shown_as_a_replacement(self) -> None:
        metadata = processed('{"\\ud800": 1, "\\ud83c\\udf89": 1}\n{"a": 2}\n', NDJSON).metadata

        assert [column["name"] for column in metadata["columnTypes"]] == ["\ufffd", "🎉", "a"]

    def test_so_many_names_are_told_from_each_other(self) -> None:
        lines = "".join(json.dumps({f"{row}-{n}": 1 for n in range(1_000)}) + "\n" for row in range(20))

        assert processed(lines, NDJSON).metadata["columns"] == MAX_NAMES

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
    def test_other_forms_of_unicode_are_lines_as_well(self, encoding: str) -> None:
        body = '{"id": "ä"}\n{"id": "\u010a"}\n'  # U+010A has the line feed's byte in it

        assert [event.id for event in processed(body.encode(encoding), NDJSON).events] == ["ä", "\u010a"]


class TestNumbers:
    @pytest.mark.parametrize(
        "digits",
        [
            "12.50",
            "0.1",
            "-0.1234567890123456789012345678",
            "12345678901234567890123456789012345678",
            "1.2345678901234567890123456789012345678E-128",
            "0E+125",
            "-0",
            "9.9999999999999999999999999999999999999E+125",
            "1e0",
            "0.00",
            "0",
            "1" + "0" * 100,
            "0." + "0" * 100 + "1",
            "1.5" + "0" * 60,
        ],
    )
    def test_what_a_table_can_hold_is_held_exactly(self, digits: str) -> None:
        (event,) = processed(digits).events

        assert str(value(event)) == str(Decimal(digits))
        stored = items.from_item(items.to_item({"n": value(event)}))["n"]
        assert Decimal(stored) == Decimal(digits)

    @pytest.mark.parametrize(
        "digits",
        [
            "1" * 39,
            "0.1" + "0" * 37 + "1",
            "1e400",
            "-1e400",
            "1e126",
            "1e-129",
            "1.2345678901234567890123456789012345678e-130",
            "1e999999999999",
            "1e-999999999999",
            "0e500",
            "0e-500",
            "9" * 10_000,
        ],
    )
    @pytest.mark.parametrize("form", ["%s", '{"n": %s}', '[[[%s]], "x"]', '{"a": [1, {"b": %s}]}'])
    def test_what_no_table_can_hold_is_kept_to_the_last_digit_by_reference(
        self, digits: str, form: str
    ) -> None:
        result = processed(form % digits)

        assert [output for output in result.outputs if digits.encode() in content(output)]
        assert next(event for event in result.events if event.output).json is None

    @pytest.mark.parametrize("digits", ["1e9999999999999999999999", "-1e-9999999999999999999999"])
    def test_what_nothing_can_hold_is_refused(self, digits: str) -> None:
        error = refusal(f'[1,\n {{"n": {digits}}}]')

        assert error.code == "number_out_of_range"
        assert digits in error.message
        assert place(error) == (2, 2)

    @pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
    def test_what_is_no_number_in_json_is_refused(self, name: str) -> None:
        error = refusal(f'{{"a": 1}}\n{{"b": {name}}}')

        assert error.code == "invalid_json"
        assert f"holds {name}" in error.message
        assert place(error) == (2, 1)

    @hypothesis_settings(max_examples=200)
    @given(st.decimals(-(10**31), 10**31, places=6))  # 38 digits are what DynamoDB takes
    @example(Decimal("0.000000"))
    def test_every_decimal_comes_out_as_it_went_in(self, number: Decimal) -> None:
        assert str(values(str(number))[0]) == str(number)


class TestByReference:
    def test_an_event_too_large_for_an_item_is_an_output(self) -> None:
        large = json.dumps({"id": "big", "text": "x" * MAX_INLINE_BYTES})

        result = processed(f'[{{"id": "small"}},\n {large} , 3]')

        small, big, three = result.events
        assert (value(small), small.output) == ({"id": "small"}, None)
        assert (big.id, value(big), big.output) == ("big", None, "event-1.json")
        assert (value(three), three.index) == (3, 2)
        (output,) = result.outputs
        assert (output.name, output.content_type) == ("event-1.json", "application/json")
        assert content(output) == large.encode()
        assert result.metadata["byReference"] == 1

    def test_the_limit_counts_bytes_and_not_characters(self) -> None:
        text = "é" * ((MAX_INLINE_BYTES - 2) // 2)

        assert processed(f'"{text}"').outputs == []
        assert len(processed(f'"{text}a"').outputs) == 1

    @pytest.mark.parametrize(
        "body",
        [
            '"\\ud800"',
            '{"a": ["\\udfff"]}',
            '{"\\ud800": 1}',
            '{"": 1}',
            '{"a": {"": 1}}',
            '{"' + "n" * 65_536 + '": 1}',
        ],
        ids=["text", "inside", "name", "empty name", "empty name inside", "long name"],
    )
    def test_what_an_item_would_refuse_or_change_is_kept_as_it_came(self, body: str) -> None:
        result = processed(body)

        assert [content(output).decode() for output in result.outputs] == [body]

    def test_nesting_up_to_what_an_item_takes_is_inline_and_beyond_by_reference(self) -> None:
        def nested(depth: int) -> str:
            return '{"a":' * depth + "1" + "}" * depth

        assert processed(nested(MAX_NESTING)).outputs == []
        assert len(processed(nested(MAX_NESTING + 1)).outputs) == 1

    def test_so_many_of_them_that_the_job_could_not_list_them_are_refused(self) -> None:
        def array(length: int) -> str:
            return json.dumps([10**400] * length)

        assert len(processed(array(MAX_BY_REFERENCE)).outputs) == MAX_BY_REFERENCE
        assert refusal(array(MAX_BY_REFERENCE + 1)).code == "too_many_events"

    def test_names_of_outputs_are_fixed_so_that_a_second_run_overwrites_the_first(self) -> None:
        body = "1\n1e400\n2\n1e401\n"

        first, second = processed(body), processed(body)

        assert [output.name for output in first.outputs] == ["event-1.json", "event-3.json", "sample.json"]
        assert first == second


class TestBroken:
    @pytest.mark.parametrize(
        ("body", "line", "column", "said"),
        [
            ("", 1, 1, "expected a document"),
            (" \n ", 2, 2, "expected a document"),
            ("{", 1, 2, "expected property name"),
            ('{"a"', 1, 5, "expected ':'"),
            ('{"a":', 1, 6, "expected value"),
            ('{"a": 1', 1, 8, "expected ','"),
            ('{"a": 1, 2}', 1, 10, "expected property name"),
            ("{a: 1}", 1, 2, "expected property name"),
            ("{'a': 1}", 1, 2, "expected property name"),
            ('{"id": 1,\n "total": }', 2, 11, "expected value"),
            ("[1", 1, 3, "expected ',' or ']'"),
            ("[1,", 1, 4, "expected value"),
            ("[1,]", 1, 4, "expected value"),
            ("[1 2]", 1, 4, "expected ',' or ']'"),
            ("[01]", 1, 3, "expected ',' or ']'"),
            ("[", 1, 2, "expected value"),
            ("]", 1, 1, "expected value"),
            ("[1]]", 1, 4, "expected the end"),
            ("[1] x", 1, 5, "expected the end"),
            ("[]\n[]", 2, 1, "expected the end"),
            ('{"a": 1} x', 1, 10, "expected value"),
            ('{"a": 1}}', 1, 9, "expected value"),
            ('{"a": 1},\n{"a": 2}', 1, 9, "expected value"),
            ("tru", 1, 1, "expected value"),
            ("undefined", 1, 1, "expected value"),
            ("// no\n1", 1, 1, "expected value"),
            ('{"a": "x', 1, 7, "a string begins here and never ends"),
            ('{"a": "x\ny"}', 1, 9, "control character"),
            ('{"a": "\\q"}', 1, 8, "no such escape"),
            ('{"a": "\\u12"}', 1, 9, "four hexadecimal digits"),
            ("01", 1, 2, "white space"),
            ("<html>", 1, 1, "expected value"),
        ],
    )
    def test_the_place_and_what_was_expected_there_are_told(
        self, body: str, line: int, column: int, said: str
    ) -> None:
        error = refusal(body)

        assert error.code == "invalid_json"
        assert place(error) == (line, column)
        assert said in error.message

    @pytest.mark.parametrize(
        ("body", "line", "column"),
        [
            ('{"a": 1}\n{"a": }\n{"a": 3}\n', 2, 7),
            ('{"a": 1}\n{"a": \n{"a": 3}\n', 2, 7),
            ('{"a": 1}\n{"a": 2\n{"a": 3}\n', 2, 8),
            ('{"a": 1}\r\n\r\n{"a": 2,\r\n{"a": 3}\r\n', 3, 10),
            ('{"a": 1}\n{"a": 2}\n{"a": 3', 3, 8),
            ('{"a": 1}\n{"a": 2}}\n', 2, 9),
            ('{"a": "x\n"}', 1, 7),
            ('{\n"a": 1}\n', 1, 2),
        ],
    )
    def test_of_ndjson_the_bad_line_itself_is_named(self, body: str, line: int, column: int) -> None:
        """A document that its line cuts off would otherwise be found wrong somewhere in the next one."""
        assert place(refusal(body, NDJSON)) == (line, column)

    def test_one_bad_line_refuses_the_file_as_a_whole(self) -> None:
        assert refusal('{"id": "good"}\n' * 500 + "{bad}\n").details["line"] == 501

    @pytest.mark.parametrize("media_type", ["application/json", NDJSON])
    @pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
    def test_nesting_without_end_is_refused(self, opening: str, media_type: str) -> None:
        error = refusal("{}\n" + opening * 100_000, media_type)

        assert error.code == "too_deep"
        assert place(error) == (2, 1)

    def test_nesting_that_does_end_is_refused_as_well(self) -> None:
        assert refusal("[1,\n" + "[" * 100_000 + "]" * 100_000 + "]").details["line"] == 2

    @hypothesis_settings(max_examples=200)
    @given(
        st.binary(max_size=60)
        | st.text(st.sampled_from('{}[]",:0123456789.eE+-truefalsn\\u \n'), max_size=60).map(str.encode)
    )
    def test_bytes_are_either_events_or_refused(self, body: bytes) -> None:
        for media_type in ("application/json", NDJSON):
            with suppress(Rejected):
                result = processed(body, media_type)
                assert len(result.events) == result.metadata["events"]

    @hypothesis_settings(max_examples=200)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
            max_leaves=20,
        )
    )
    def test_what_a_json_library_writes_is_read_back(self, anything: Any) -> None:
        (event, *_) = processed(json.dumps({"value": anything})).events
        if event.output is None:
            assert value(event) == {"value": anything}


class TestEncodings:
    DOCUMENT = '{"name": "Müller, 東京 🎉"}'

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_unicode_is_read_with_its_mark_or_without(self, encoding: str) -> None:
        assert values(self.DOCUMENT.encode(encoding)) == [json.loads(self.DOCUMENT)]

    def test_utf_16_may_be_big_endian(self) -> None:
        assert values(b"\xfe\xff" + self.DOCUMENT.encode("utf-16-be")) == [json.loads(self.DOCUMENT)]

    def test_any_other_encoding_is_refused_and_not_guessed_at(self) -> None:
        """A wrong guess would put "Kďln" into the table, and nobody would be told."""
        error = refusal(b'{"id": 1}\n{"name": "\xc3\xa9", "city": "K\xf6ln"}')

        assert error.code == "invalid_json"
        assert "UTF-8" in error.message
        assert place(error) == (2, 25)

    def test_a_mark_that_the_rest_belies_is_refused(self) -> None:
        assert refusal(b"\xff\xfe{\x00}").code == "broken_encoding"
        assert refusal(b"\xef\xbb\xbf{\xff}").code == "broken_encoding"

    @pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
    def test_a_mark_alone_is_no_document(self, mark: bytes) -> None:
        assert refusal(mark).code == "invalid_json"


class TestSize:
    """None of these ends in a lifetime if any part of the work grows with the square of the file."""

    def test_ten_megabytes_in_one_string(self) -> None:
        body = b'{"a": "' + b"x" * 10_000_000

        assert place(refusal(body + b'"')) == (1, len(body) + 2)
        assert place(refusal(body)) == (1, 7)
        assert len(processed(body + b'"}').outputs) == 1

    def test_ten_megabytes_of_lines_with_the_last_one_broken(self) -> None:
        lines = 1_000_000
        body = b'{"a": 1}\n' + b" \t\r\n" * lines + b'{"b": }\n'

        assert place(refusal(body)) == (lines + 2, 7)
        assert place(refusal(body, NDJSON)) == (lines + 2, 7)

    def test_ten_megabytes_of_white_space(self) -> None:
        assert place(refusal(b" " * 10_000_000))[0] == 1
        assert values(b"[" + b" " * 10_000_000 + b"]") == []

    def test_ten_megabytes_of_digits(self) -> None:
        (output,) = processed(b"9" * 10_000_000).outputs

        assert len(content(output)) == 10_000_000

    def test_ten_megabytes_of_escapes(self) -> None:
        (output,) = processed(b'"' + b"\\n" * 5_000_000 + b'"').outputs

        assert len(content(output)) == 10_000_002

    def test_events_by_the_hundred_thousand(self) -> None:
        result = processed(b'{"id": 1}\n' * 100_000, NDJSON, events=100_000)

        assert result.metadata["events"] == result.metadata["rows"] == 100_000
