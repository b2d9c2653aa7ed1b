"""CSV and TSV: how a table is written, how large it is, what its columns hold, and where it is broken."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chalicelib.errors import Rejected
from chalicelib.processors import Result
from chalicelib.processors.columns import MAX_COLUMNS, MAX_NAME, TYPED_CELLS
from chalicelib.processors.data import process
from chalicelib.processors.rows import MAX_CELL, MAX_ROW, MAX_WIDTH
from chalicelib.processors.sample import MAX_BYTES, MAX_ROWS
from chalicelib.processors.tables import CSV, SHOWN_CHARACTERS, TSV
from tests.unit.processing import content, result_of

ORDERS = 'id,customer,total,paid,day\n1,Müller,12.50,true,2024-01-31\n2,"Dupont, fils",7,false,2024-02-01\n'


def processed(body: bytes | str, media_type: str = CSV, **caps: int) -> Result:
    raw = body.encode() if isinstance(body, str) else body
    return result_of(process, raw, "table.csv", media_type, **caps)


def metadata(body: bytes | str, media_type: str = CSV, **caps: int) -> dict[str, Any]:
    return processed(body, media_type, **caps).metadata


def sample(body: bytes | str) -> list[Any]:
    (output,) = processed(body).outputs
    assert (output.name, output.content_type) == ("sample.json", "application/json")
    rows = json.loads(content(output))
    assert isinstance(rows, list)
    return rows


def names(body: bytes | str) -> list[str]:
    return [column["name"] for column in metadata(body)["columnTypes"]]


def types(body: bytes | str) -> list[str]:
    return [column["type"] for column in metadata(body)["columnTypes"]]


def refusal(body: bytes | str, **caps: int) -> Rejected:
    with pytest.raises(Rejected) as caught:
        processed(body, CSV, **caps)
    return caught.value


class TestShape:
    def test_a_table_is_counted_typed_and_shown(self) -> None:
        result = processed(ORDERS)

        assert result.metadata == {
            "format": "csv",
            "encoding": "utf-8",
            "delimiter": ",",
            "header": True,
            "rows": 2,
            "columns": 5,
            "raggedRows": 0,
            "columnTypes": [
                {"name": "id", "type": "integer"},
                {"name": "customer", "type": "text"},
                {"name": "total", "type": "number"},
                {"name": "paid", "type": "boolean"},
                {"name": "day", "type": "date"},
            ],
            "typesFrom": 2,
            "sampleRows": 2,
        }
        assert result.events == []
        assert sample(ORDERS)[1] == {
            "id": "2",
            "customer": "Dupont, fils",
            "total": "7",
            "paid": "false",
            "day": "2024-02-01",
        }

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_a_line_may_end_as_it_likes_and_the_last_one_not_at_all(self, end: str) -> None:
        for last in ("", end, end * 3):
            shape = metadata(f"a,b{end}1,2{end}{end}3,4{last}")

            assert (shape["rows"], shape["columns"], shape["raggedRows"]) == (2, 2, 0)

    def test_quoted_cells_hold_delimiters_quotes_and_line_ends(self) -> None:
        body = 'name,note\r\n"a, b","she said ""hi"""\r\n"two\r\nlines",\r\n'

        assert sample(body) == [
            {"name": "a, b", "note": 'she said "hi"'},
            {"name": "two\r\nlines", "note": ""},
        ]
        assert metadata(body)["rows"] == 2

    def test_a_quote_inside_of_a_bare_cell_is_a_quote(self) -> None:
        assert sample('size,part\n5" pipe,x\n') == [{"size": '5" pipe', "part": "x"}]

    def test_rows_of_another_width_are_counted_and_kept(self) -> None:
        body = "a,b,c\n1,2,3\n1,2\n1,2,3,4\n1,2,3\n"

        assert metadata(body)["raggedRows"] == 2
        assert metadata(body)["columns"] == len(metadata(body)["columnTypes"]) == 3
        assert sample(body)[1] == {"a": "1", "b": "2"}
        assert sample(body)[2] == {"a": "1", "b": "2", "c": "3", "column_4": "4"}

    @pytest.mark.parametrize("body", ["\n", "\r\n\r\n", "\ufeff"])
    def test_a_file_without_a_row_is_an_empty_table(self, body: str) -> None:
        shape = metadata(body)

        assert (shape["rows"], shape["columns"], shape["columnTypes"], sample(body)) == (0, 0, [], [])

    def test_a_row_may_end_just_where_a_piece_of_the_file_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        body = "".join(f'{number},"x\r\n{number}",é🎉\r\n' for number in range(200))
        for size in (1, 2, 3, 7, 100):
            monkeypatch.setattr("chalicelib.processors.rows._PIECE", size)

            assert sample(body) == [[str(n), f"x\r\n{n}", "é🎉"] for n in range(MAX_ROWS)]
            assert metadata(body)["rows"] == 200

    @hypothesis_settings(max_examples=200)
    @given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=4), min_size=1, max_size=5))
    def test_what_is_written_by_the_rules_is_read_back(self, rows: list[list[str]]) -> None:
        clean = [[cell.encode(errors="ignore").decode().replace("\0", "") for cell in row] for row in rows]
        text = "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in clean)

        shown = sample("1,2,3,4,5\n" + text)

        assert shown[1:] == clean


class TestDelimiters:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_it_is_found_by_the_lines_it_parts_evenly(self, delimiter: str) -> None:
        rows = [["name", "price", "note"], ["Ann", "1.50", "said so"], ["Bob", "2", "x"]]

        shape = metadata("".join(delimiter.join(row) + "\n" for row in rows))

        assert (shape["delimiter"], shape["columns"]) == (delimiter, 3)

    @pytest.mark.parametrize(
        ("body", "delimiter"),
        [
            ("name;price\nA;1,50\nB;2,25\n", ";"),
            ("1,5;2,5;3,5\n4,5;5,5;6,5\n", ";"),
            ('a,b\n"x;y;z",1\n"x;y",2\n', ","),
            ("a,b\nx;y,1\nx,2\n", ","),
            ("a\tb\nx, y\t1\nz, w\t2\n", "\t"),
            ("a|b\n1,2|3\n4,5|6\n", "|"),
            ('"a","b;c"\n"d","e;f"\n', ","),
        ],
    )
    def test_others_inside_of_cells_do_not_mislead(self, body: str, delimiter: str) -> None:
        assert metadata(body)["delimiter"] == delimiter

    def test_where_there_is_none_every_line_is_a_cell(self) -> None:
        body = "city\nKöln\nParis\n"

        assert (metadata(body)["delimiter"], metadata(body, TSV)["delimiter"]) == (",", "\t")
        assert sample(body) == [{"city": "Köln"}, {"city": "Paris"}]

    def test_a_line_that_the_head_cuts_off_does_not_count(self) -> None:
        body = "a,b\n" + ("x;" + "y" * 20_000 + ",1\n") * 4

        assert metadata(body)["delimiter"] == ","

    @pytest.mark.parametrize(
        ("body", "delimiter"),
        [
            ("sep=;\r\nname;age\r\nBob;3\r\nAl;4\r\n", ";"),
            ("\ufeffsep=|\nname|age\nBob|3\nAl|4\n", "|"),
            ('"sep=;"\rname;age\rBob;3\rAl;4\r', ";"),
            ("SEP=\t\nname\tage\nBob\t3\nAl\t4\n", "\t"),
            ("sep=^\nname^age\nBob^3\nAl^4\n", "^"),
            ("sep=;\nname;age\nBob;3,5,7\nAl;4,5,6\n", ";"),
        ],
    )
    def test_a_first_line_for_spreadsheets_says_it_and_is_no_row(self, body: str, delimiter: str) -> None:
        shape = metadata(body)

        assert (shape["delimiter"], shape["header"], shape["rows"]) == (delimiter, True, 2)
        assert [row["name"] for row in sample(body)] == ["Bob", "Al"]

    def test_such_a_line_does_not_count_among_the_rows_allowed(self) -> None:
        assert metadata("sep=;\nname;age\nBob;3\nAl;4\n", rows=2)["rows"] == 2

    def test_a_line_is_broken_where_it_is_in_the_file_also_behind_such_a_line(self) -> None:
        assert refusal('sep=;\nname;age\n"Bob;3\n').details["line"] == 3

    @pytest.mark.parametrize("body", ["sep=\n1\n", "sep=ab,c\n1,2\n", "sep,x\n1,2\n", 'sep="\n1\n'])
    def test_what_only_looks_like_it_is_a_row(self, body: str) -> None:
        assert (metadata(body)["delimiter"], metadata(body)["header"], metadata(body)["rows"]) == (
            ",",
            True,
            1,
        )


class TestHeader:
    @pytest.mark.parametrize(
        "body",
        [
            "id,name\n1,Ann\n2,Bob\n",
            "first,last\nAnn,Lee\nBob,Ray\n",
            ",a,b\n0,1,2\n1,3,4\n",
            "name\nAnn\nBob\n",
            "only,a,header\n",
            "a,a\n1,2\n",
        ],
    )
    def test_words_over_the_columns_are_a_header(self, body: str) -> None:
        assert metadata(body)["header"] is True

    @pytest.mark.parametrize(
        "body",
        [
            "1,Ann\n2,Bob\n",
            "Ann,2024-01-01\nBob,2024-01-02\n",
            "Ann,true\nBob,false\n",
            "Berlin,DE\nParis,FR\nKöln,DE\n",
            "Report of May\nid,name,city\n1,Ann,Rome\n2,Bob,Oslo\n",
            ",,\n1,2,3\n",
            "1,2,3\n",
        ],
    )
    def test_values_words_that_come_again_and_titles_are_none(self, body: str) -> None:
        assert metadata(body)["header"] is False
        assert all(isinstance(row, list) for row in sample(body))

    def test_a_header_is_no_row_and_without_one_columns_are_numbered(self) -> None:
        assert metadata("a,b\n1,2\n")["rows"] == 1
        assert metadata("1,2\n3,4\n")["rows"] == 2
        assert names("1,2\n3,4\n") == ["column_1", "column_2"]

    def test_names_are_unique_and_never_empty(self) -> None:
        body = "a,a,,a_2,a\n1,2,3,4,5\n"

        assert sample(body) == [{"a": "1", "a_2": "2", "column_3": "3", "a_2_2": "4", "a_3": "5"}]

    def test_a_long_name_is_cut(self) -> None:
        body = f"{'n' * 100},{'n' * 99}\n1,2\n"

        assert list(map(len, names(body))) == [MAX_NAME, MAX_NAME + 2]


class TestTypes:
    @pytest.mark.parametrize(
        ("cells", "expected"),
        [
            (["1", "-2", "+3", "0"], "integer"),
            (["1", "2.5"], "number"),
            (["1.5", ".5", "-1e9", "2,5", "5."], "number"),
            (["007", "12"], "text"),
            (["1 000"], "text"),
            (["true", "FALSE", "Yes", "no"], "boolean"),
            (["2024-02-29", "31.12.2024", "12/31/2024", "1/2/2024", "2024/1/2"], "date"),
            (["2024-02-29", "2024-02-29T10:00:00Z"], "datetime"),
            (["2024-02-29 10:00", "2024-02-29T10:00:00.123+02:00"], "datetime"),
            (["2024-13-01"], "text"),
            (["2024-01-32"], "text"),
            (["31.31.2024"], "text"),
            (["10.01.2024", "1.5"], "text"),
            (["", " ", ""], "empty"),
            (["", "5", " 6 "], "integer"),
            (["1", "true"], "text"),
            (["1", "x"], "text"),
            (["NaN"], "text"),
            (["٣"], "text"),
            (["9" * 1_000], "text"),
        ],
    )
    def test_a_column_has_the_type_that_all_its_cells_have(self, cells: list[str], expected: str) -> None:
        rows = "".join(f"{number};{cell};z\n" for number, cell in enumerate(cells))

        assert types("number;value;end\n" + rows)[1] == expected

    def test_they_are_inferred_from_so_many_rows_and_that_is_said(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("chalicelib.processors.tables.TYPED_CELLS", 10)

        shape = metadata("a,b\n" + "1,2\n" * 50 + "x,y\n")

        assert (shape["rows"], shape["typesFrom"]) == (51, 5)
        assert [column["type"] for column in shape["columnTypes"]] == ["integer", "integer"]

    def test_a_value_far_down_counts_as_well(self) -> None:
        rows = 300_000
        assert rows * 2 < TYPED_CELLS
        body = "a,b\n" + "1,some words\n" * rows + "x,\n"

        assert types(body) == ["text", "text"]
        assert metadata(body)["typesFrom"] == rows + 1

    def test_so_many_columns_are_named_and_all_are_counted(self) -> None:
        body = ",".join(f"c{number}" for number in range(1_000)) + "\n" + ",".join("1" * 1_000) + "\n"

        shape = metadata(body)

        assert (shape["columns"], len(shape["columnTypes"])) == (1_000, MAX_COLUMNS)
        assert len(sample(body)[0]) == MAX_COLUMNS


class TestSample:
    def test_it_is_the_first_rows(self) -> None:
        body = "n\n" + "".join(f"{number}\n" for number in range(1_000))

        assert sample(body) == [{"n": str(number)} for number in range(MAX_ROWS)]
        assert metadata(body)["sampleRows"] == MAX_ROWS

    def test_a_long_cell_is_cut_and_shows_it(self) -> None:
        whole, cut = sample(f"1,{'x' * SHOWN_CHARACTERS},{'y' * (SHOWN_CHARACTERS + 1)}\n")[0][1:]

        assert whole == "x" * SHOWN_CHARACTERS
        assert cut == "y" * (SHOWN_CHARACTERS - 1) + "…"

    def test_it_ends_before_it_is_too_large_and_holds_one_row_at_least(self) -> None:
        row = ",".join(["\x01" * 1_000] * MAX_COLUMNS) + "\n"
        (output,) = processed(row * 5).outputs

        assert len(json.loads(content(output))) == metadata(row * 5)["sampleRows"] == 1
        assert len(content(output)) <= MAX_BYTES + len("[\n\n]\n")

    @pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\0", "é", "\u2028"])
    def test_cells_are_shown_as_they_are(self, cell: str) -> None:
        assert sample(f"1,{cell}\n2,b\n")[0] == ["1", cell]


class TestEncodings:
    BODY = "Straße;Größe;Preis\nKölner Straße;groß für Jürgen;12,50\nMünchner Straße;schön;3\n"

    @pytest.mark.parametrize(
        ("encoding", "name"),
        [
            ("utf-8", "utf-8"),
            ("utf-8-sig", "utf-8"),
            ("utf-16", "utf-16"),
            ("utf-16-le", "utf-16"),
            ("utf-16-be", "utf-16"),
            ("utf-32", "utf-32"),
            ("latin-1", "cp1252"),
            ("cp1252", "cp1252"),
        ],
    )
    def test_it_is_recognised(self, encoding: str, name: str) -> None:
        shape = metadata(self.BODY.encode(encoding))

        assert (shape["encoding"], shape["delimiter"], shape["rows"]) == (name, ";", 2)
        assert sample(self.BODY.encode(encoding))[0] == {
            "Straße": "Kölner Straße",
            "Größe": "groß für Jürgen",
            "Preis": "12,50",
        }

    def test_what_is_text_in_none_is_refused(self) -> None:
        assert refusal(bytes(range(0x80, 0x100)) * 20).code == "unknown_encoding"
        assert refusal(b"\xff\xfea").code == "broken_encoding"


class TestBroken:
    @pytest.mark.parametrize(
        ("body", "line"),
        [
            ('a,b\n1,"x\n', 2),
            ('"', 1),
            ('a,b\n1,2\n"x\ny","z\n3,4\n', 4),
            ('a,b\n"x\ny\n', 2),
            ('a,b\r\n1,"x\r\n2,y\r\n', 2),
            ('a,b\n1,"x ""y""\n', 2),
            ("a\n" * 1_000 + 'b,"c\n' + "d\n" * 100_000, 1_001),
        ],
    )
    def test_a_quote_that_is_never_closed_is_named_by_its_line(self, body: str, line: int) -> None:
        error = refusal(body)

        assert (error.code, error.details["line"]) == ("invalid_csv", line)
        assert f"A quote opens a cell on line {line} and never closes it." in error.message

    @pytest.mark.parametrize(
        ("body", "line"),
        [
            ('a,b\n1,"x"y\n', 2),
            ('a,b\n"x\n1,"y",2\n', 2),
            ('a,b\n1,"x" ,2\n', 2),
            ('a,b\n1,2\n3,"say "hi" now"\n', 3),
        ],
    )
    def test_what_stands_behind_a_closing_quote_is_refused(self, body: str, line: int) -> None:
        error = refusal(body)

        assert (error.code, error.details["line"]) == ("invalid_csv", line)
        assert f"on line {line} goes on behind its closing quote" in error.message

    def test_a_cell_may_be_large_and_not_larger(self) -> None:
        assert metadata(f"a,b\n1,{'x' * MAX_CELL}\n")["rows"] == 1
        for cell in ("x" * (MAX_CELL + 1), '"' + "x\n" * MAX_CELL + '"'):
            error = refusal(f"a,b\n1,2\n3,{cell}\n")

            assert (error.code, error.details["line"]) == ("field_too_large", 3)

    def test_a_quote_that_is_written_twice_counts_once(self) -> None:
        cell = '"' + '""' * MAX_CELL + '"'

        assert metadata(f"a,b\n1,{cell}\n")["rows"] == 1
        assert refusal(f'a,b\n1,{cell}\n2,"x\n').details["line"] == 3
        assert refusal(f'a,b,c\n1,{cell},"x"y\n').code == "invalid_csv"

    def test_where_a_quote_may_be_missing_that_is_said(self) -> None:
        error = refusal('a,b\n1,"x\n' + "y,z\n" * MAX_CELL + '1,"x"\n')

        assert (error.code, error.details["line"]) == ("field_too_large", 2)
        assert "closing quote missing" in error.message

    def test_a_line_may_not_be_endless(self) -> None:
        error = refusal("a,b\n1,2\n" + "x," * MAX_ROW)

        assert (error.code, error.details["line"]) == ("row_too_large", 3)

    def test_nor_may_a_row_of_many_lines(self) -> None:
        error = refusal("a,b\n1,2\n" + '"\n",' * (2 * MAX_ROW))

        assert (error.code, error.details["line"]) == ("row_too_large", 3)

    def test_a_row_may_be_wide_and_not_wider(self) -> None:
        assert metadata("1," * (MAX_WIDTH - 1) + "1\n")["columns"] == MAX_WIDTH
        error = refusal("a,b\n" + "1," * MAX_WIDTH + "1\n")

        assert (error.code, error.details["line"]) == ("too_many_columns", 2)

    @pytest.mark.parametrize("header", ["", "a,b\n"])
    def test_more_rows_than_allowed_are_refused(self, header: str) -> None:
        assert metadata(header + "1,2\n" * 300, rows=300)["rows"] == 300
        assert refusal(header + "1,2\n" * 301, rows=300).code == "too_many_rows"
        assert refusal(header + "1,2\n" * 3, rows=2).code == "too_many_rows"

    def test_lines_with_nothing_on_them_are_no_way_around_it(self) -> None:
        assert metadata("1,2\n" + "\n" * 300, rows=300)["rows"] == 1
        assert refusal("1,2\n" + "\n" * 301, rows=300).code == "too_many_rows"
