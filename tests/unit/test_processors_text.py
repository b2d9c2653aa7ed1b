"""Text: whatever it was written in, it comes out as UTF-8, and its counts are true."""

import codecs
import unicodedata
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chalicelib.errors import Rejected
from chalicelib.filetypes import HEAD_BYTES, detect
from chalicelib.processors import Result, charsets
from chalicelib.processors import text as text_module
from chalicelib.processors.charsets import SAMPLE_BYTES, charset_of
from chalicelib.processors.text import MAX_MARKS, _stands_alone, process
from tests.unit.processing import content, result_of

GERMAN = "Fünf Vögel flogen über die Straße nach Köln, und Jürgen hörte sie schon früh.\n"
FRENCH = "Le cœur a ses raisons, et l\u2019être ne les connaît point : ce n\u2019est pas « ça », très cher.\n"
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy a všichni se tomu smáli až do rána.\n"
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю.\n"
JAPANESE = "これは日本語の文章です。漢字とかなが混ざっています。\n"


def processed(body: bytes) -> Result:
    return result_of(process, body, "notes.txt", "text/plain")


def normalised(body: bytes) -> str:
    (output,) = processed(body).outputs
    assert (output.name, output.content_type) == ("text.txt", "text/plain; charset=utf-8")
    return content(output).decode()


def metadata(body: bytes | str) -> dict[str, Any]:
    return processed(body.encode() if isinstance(body, str) else body).metadata


def decode(body: bytes) -> tuple[str, str]:
    """The text as it stands, and the name of its encoding."""
    with TemporaryDirectory() as directory:
        (path := Path(directory, "text")).write_bytes(body)
        charset = charset_of(path)
        return path.read_bytes().decode(charset.codec), charset.name


class TestEncodings:
    @pytest.mark.parametrize(
        ("body", "encoding"),
        [
            (b"plain", "utf-8"),
            ("Größe 東京 🎉".encode(), "utf-8"),
            (codecs.BOM_UTF8 + "Größe".encode(), "utf-8"),
            (codecs.BOM_UTF16_LE + "Größe 東京 🎉".encode("utf-16-le"), "utf-16"),
            (codecs.BOM_UTF16_BE + "Größe 東京 🎉".encode("utf-16-be"), "utf-16"),
        ],
    )
    def test_unicode_is_known_by_its_mark_or_by_itself(self, body: bytes, encoding: str) -> None:
        assert metadata(body)["encoding"] == encoding
        assert "\ufeff" not in normalised(body)
        assert normalised(body) in ("plain", "Größe", "Größe 東京 🎉")

    @pytest.mark.parametrize(
        ("text", "encoding"),
        [
            (GERMAN, "latin-1"),
            (GERMAN, "cp1252"),
            (FRENCH, "cp1252"),
            ("naïve déjà vu, l\u2019été", "cp1252"),
            ("café", "latin-1"),
            (CZECH, "cp1250"),
            (RUSSIAN, "cp1251"),
            (RUSSIAN, "koi8-r"),
            (JAPANESE, "shift_jis"),
            (JAPANESE, "euc_jp"),
            ("这是一个中文句子\uff0c写在旧的编码里。\n", "gb18030"),
            ("안녕하세요 세계, 오늘은 날씨가 좋습니다.\n", "euc_kr"),
        ],
    )
    def test_the_encodings_of_older_systems_are_recognised(self, text: str, encoding: str) -> None:
        assert normalised(text.encode(encoding)) == text
        assert metadata(text.encode(encoding))["encoding"] not in ("utf-8", "")

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
    @pytest.mark.parametrize("text", [GERMAN, RUSSIAN, JAPANESE * 2 + "\n\n", "id,name\n1,Ann\n"])
    def test_utf_16_without_a_mark_is_known_by_its_zeros(self, text: str, encoding: str) -> None:
        assert normalised(text.encode(encoding)) == text
        assert metadata(text.encode(encoding))["encoding"] == "utf-16"

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
    @pytest.mark.parametrize(
        "text",
        [
            "The quick brown fox. " * 30 + "一 and more\n",
            "abc一" * 500,
            "a plain word " * 160 + "漢一" * 40_000,
        ],
    )
    def test_what_is_taken_for_utf_16_without_a_mark_is_read_as_that(self, text: str, encoding: str) -> None:
        """Some characters have a zero in the half where others have none."""
        body = text.encode(encoding)
        assert detect(body[:HEAD_BYTES], "a.txt").family == "text"

        assert normalised(body) == text
        assert metadata(body)["encoding"] == "utf-16"

    @pytest.mark.parametrize(
        "body", [b"\0", b"a\0b", b"a\0b\0", b"\0a\0\0b\0", b"word\0" * 100, b"x" * 999 + b"\0"]
    )
    def test_zeros_in_other_texts_are_characters(self, body: bytes) -> None:
        assert normalised(body).encode() == body
        assert metadata(body)["encoding"] == "utf-8"

    def test_utf_32_is_known_by_its_mark(self) -> None:
        assert normalised("Größe 東京".encode("utf-32")) == "Größe 東京"

    def test_western_text_is_called_by_its_commonest_encoding(self) -> None:
        assert metadata(GERMAN.encode("latin-1"))["encoding"] == "cp1252"

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"\xff\xfea", "UTF-16"),
            (codecs.BOM_UTF16_LE + b"\x00\xd8\x00\x00", "UTF-16"),
            (codecs.BOM_UTF16_BE + b"\xdc\x00", "UTF-16"),
            (codecs.BOM_UTF8 + b"\xff", "UTF-8"),
        ],
    )
    def test_a_mark_that_the_rest_belies_is_refused(self, body: bytes, said: str) -> None:
        with pytest.raises(Rejected, match=f"says {said}") as caught:
            processed(body)
        assert caught.value.code == "broken_encoding"

    def test_bytes_that_are_text_in_no_encoding_are_refused(self) -> None:
        with pytest.raises(Rejected, match="save it as UTF-8") as caught:
            processed(bytes(range(0x80, 0x100)) * 20)
        assert caught.value.code == "unknown_encoding"

    @hypothesis_settings(max_examples=200)
    @given(st.binary(max_size=100))
    @example(b"\xff\xfe\x00")
    @example(b"+ACE-\xff")
    def test_bytes_are_either_text_or_refused(self, body: bytes) -> None:
        with suppress(Rejected):
            counted = processed(body)
            assert len(content(counted.outputs[0]).decode()) == counted.metadata["characters"]

    @hypothesis_settings(max_examples=200)
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
    def test_all_of_unicode_comes_through(self, text: str) -> None:
        for body in (text.encode(), codecs.BOM_UTF16_BE + text.encode("utf-16-be")):
            expected = text.removeprefix("\ufeff") if body == text.encode() else text
            lines = expected.replace("\r\n", "\n").replace("\r", "\n")
            assert normalised(body).replace("\u034f", "") == (
                unicodedata.normalize("NFC", lines).replace("\u034f", "")
            )


class TestLargeTexts:
    """None of these ends in a lifetime if any part of the work grows with the square of the file."""

    @pytest.fixture
    def samples(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """What the guess at an encoding was made from."""
        seen: list[bytes] = []
        guess = charsets._likeliest

        def watched(sample: bytes) -> list[str]:
            seen.append(sample)
            return guess(sample)

        monkeypatch.setattr(charsets, "_likeliest", watched)
        return seen

    def test_the_guess_is_made_from_a_sample(self, samples: list[bytes]) -> None:
        text = GERMAN * 150_000

        assert decode(text.encode("cp1252")) == (text, "cp1252")
        assert [len(sample) <= SAMPLE_BYTES for sample in samples] == [True]

    def test_the_sample_is_taken_where_the_text_stops_being_ascii(self, samples: list[bytes]) -> None:
        text = "plain words\n" * 1_000_000 + FRENCH

        assert decode(text.encode("cp1252")) == (text, "cp1252")
        assert samples == [FRENCH.encode("cp1252")]

    def test_a_long_line_does_not_push_the_sample_past_its_end(self, samples: list[bytes]) -> None:
        text = "x" * 1_000_000 + " " + FRENCH

        assert decode(text.encode("cp1252")) == (text, "cp1252")
        assert "œ".encode("cp1252") in samples[0]

    @pytest.mark.parametrize("shift", range(4))
    def test_no_character_is_cut_in_two_at_the_end_of_the_sample(self, shift: int) -> None:
        text = "." * shift + JAPANESE.replace("\n", " ") * 5_000

        assert decode(text.encode("shift_jis")) == (text, "cp932")

    def test_what_fits_the_sample_but_not_the_whole_is_not_passed_on(self) -> None:
        body = JAPANESE.encode("shift_jis") * 5_000 + b"\x81\xff"

        with pytest.raises(Rejected) as caught:
            decode(body)
        assert caught.value.code == "unknown_encoding"

    @pytest.mark.parametrize("marks", ["\u0301\u0323", "\u0f73", "\u0344\u0323"])
    def test_marks_without_end_are_parted(self, marks: str) -> None:
        """To order n marks in a row takes n² steps: UAX #15, section 13, caps them at 30."""
        body = ("a" + marks * 10_000).encode()

        text = normalised(body)

        longest = max(map(len, text.split("\u034f")))
        assert longest <= 1 + 3 * MAX_MARKS
        assert unicodedata.normalize("NFC", text[:10_000]) == text[:10_000]

    def test_so_many_marks_as_are_allowed_are_left_alone(self) -> None:
        text = "a" + "\u0323" * (MAX_MARKS - 1) + "b"
        boxes = "═" * 100 + "🎉" * 100

        assert normalised((text + boxes).encode()) == unicodedata.normalize("NFC", text) + boxes

    def test_words_by_the_million(self) -> None:
        assert metadata(b"ab " * 2_000_000)["words"] == 2_000_000


class TestPieces:
    """A text is worked on in pieces, and nothing of it shows where they were cut."""

    @pytest.fixture(params=[1, 2, 3, 5, 64])
    def _small_pieces(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(text_module, "PIECE_CHARACTERS", request.param)
        monkeypatch.setattr(charsets, "_PIECE_BYTES", request.param)

    @pytest.mark.usefixtures("_small_pieces")
    @pytest.mark.parametrize(
        "text",
        [
            "one two\r\nthree\rfour\n\r\n five",
            "e\u0301" * 50,
            "\u1100\u1161\u11a8" * 50,
            "a\u0323\u0307b" * 20,
            "\u09c7\u09be" * 20,
            "\U00011131\U00011127" * 20,
            "🎉é" * 30,
            "",
        ],
    )
    def test_the_outcome_is_that_of_the_whole(self, text: str) -> None:
        expected = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))

        for body in (text.encode(), text.encode("utf-16")):
            assert normalised(body) == expected
            counted = metadata(body)
            assert counted["characters"] == len(expected)
            assert counted["words"] == len(expected.split())

    @pytest.mark.usefixtures("_small_pieces")
    def test_a_legacy_character_may_lie_across_two_of_them(self) -> None:
        assert normalised(JAPANESE.encode("shift_jis")) == JAPANESE

    def test_a_text_of_nothing_but_marks_is_parted_and_none_is_lost(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(text_module, "PIECE_CHARACTERS", 1_001)
        for marks in ("\u0301", "\u09be", "\u09c7\u09be", "\u1161"):
            text = normalised((marks * 10_000).encode())

            assert unicodedata.normalize("NFD", text.replace("\u034f", "")) == marks * 10_000
            assert unicodedata.is_normalized("NFC", text)

    def test_pieces_begin_only_with_what_no_character_before_can_change(self) -> None:
        """All of Unicode's canonical compositions (UAX #15, section 1.2) are pairs of characters."""
        for character in map(chr, range(0x110000)):
            first, _, second = unicodedata.decomposition(character).partition(" ")
            if second and not first.startswith("<"):
                assert not _stands_alone(chr(int(second, 16)))
            if unicodedata.combining(character):
                assert not _stands_alone(character)


class TestNormalisation:
    def test_composed_and_decomposed_are_the_same(self) -> None:
        assert normalised("e\u0301".encode()) == normalised("é".encode()) == "é"

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_ends_are_line_feeds(self, end: str) -> None:
        assert normalised(f"one{end}two{end}{end}four".encode()) == "one\ntwo\n\nfour"

    def test_markup_is_text_and_stays_as_it_is(self) -> None:
        page = '<script src="http://evil.example/x.js"></script>&amp;<svg onload="x()"/>'

        assert normalised(page.encode()) == page


class TestCounts:
    @pytest.mark.parametrize(
        ("text", "characters", "words", "lines"),
        [
            ("one", 3, 1, 1),
            ("one\n", 4, 1, 1),
            ("one\ntwo", 7, 2, 2),
            ("one\r\ntwo\r\n", 8, 2, 2),
            ("\n", 1, 0, 1),
            ("\n\n", 2, 0, 2),
            ("  spaced\tout  words ", 20, 3, 1),
            ("東京 大阪", 5, 2, 1),
            ("e\u0301", 1, 1, 1),
            ("🎉", 1, 1, 1),
            ("a\u00a0b\u3000c", 5, 3, 1),
            ("\ufeff", 0, 0, 0),
        ],
    )
    def test_characters_words_and_lines(self, text: str, characters: int, words: int, lines: int) -> None:
        counted = metadata(text)

        assert (counted["characters"], counted["words"], counted["lines"]) == (characters, words, lines)
        assert type(counted["lines"]) is int
