"""PDF: what can be read of it comes out, what cannot is said, and nothing in it is followed or run."""

import random
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pyvips

from chalicelib.errors import Rejected
from chalicelib.processors import REGISTRY, Output, Result
from chalicelib.processors import pdf as pdf_module
from chalicelib.processors.text import MAX_MARKS
from tests.files.pdfs import document, encrypted, of_pages, stream, text, with_lines
from tests.unit.sources import source

Process = Callable[..., Result]


@pytest.fixture
def processed(tmp_path: Path) -> Process:
    def process(body: bytes, **caps: Any) -> Result:
        return REGISTRY["pdf"](source(tmp_path, body, "a.pdf", "application/pdf", **caps))

    return process


def bytes_of(output: Output) -> bytes:
    return output.body if isinstance(output.body, bytes) else output.body.read_bytes()


def text_of(result: Result) -> str:
    (output,) = (output for output in result.outputs if output.name == "text.txt")
    assert output.content_type == "text/plain; charset=utf-8"
    return bytes_of(output).decode()


def picture_of(result: Result, name: str = "preview.jpg") -> Any:
    (output,) = (output for output in result.outputs if output.name == name)
    return pyvips.Image.new_from_buffer(bytes_of(output), "")


def pixel(image: Any, x: float, y: float) -> list[int]:
    """At a place between 0 and 1; 0 for dark and 255 for light, each channel rounded to one of them."""
    return [255 * (value > 127) for value in image(int(x * (image.width - 1)), int(y * (image.height - 1)))]


WHITE, RED, BLUE = [255, 255, 255], [255, 0, 0], [0, 0, 255]


class TestText:
    def test_the_pages_follow_each_other_with_form_feeds_between(self, processed: Process) -> None:
        result = processed(with_lines("one page", "", "and another"))

        assert text_of(result) == "one page\f\fand another"
        assert result.metadata == {"pages": 3, "encrypted": False, "characters": 19, "words": 4}

    @pytest.mark.parametrize(
        "line", ["これは日本語の文章です。", "Съешь же ещё этих мягких булок", "Größe, naïve", "🎉 done"]
    )
    def test_any_language_comes_through(self, processed: Process, line: str) -> None:
        assert text_of(processed(with_lines(line))) == line

    def test_what_was_decomposed_is_composed(self, processed: Process) -> None:
        assert text_of(processed(with_lines("e\u0301"))) == "é"

    def test_marks_without_end_are_parted(self, processed: Process) -> None:
        """To order n marks in a row takes n² steps: UAX #15, section 13, caps them at 30."""
        marks = "\u0301\u0323" * 500
        info = b"/Title<feff%s>" % f"a{marks}".encode("utf-16-be").hex().encode()
        result = processed(of_pages([text("a" + marks)], info=info))

        for clean in (text_of(result), result.metadata["title"]):
            assert max(map(len, clean.split("\u034f"))) <= MAX_MARKS + 1

    def test_lines_end_as_in_unix(self, processed: Process) -> None:
        lines = text("one") + b" BT /F1 24 Tf 72 600 Td <00740077006f> Tj ET"

        assert text_of(processed(of_pages([lines]))) == "one\ntwo"

    def test_a_word_that_was_parted_for_its_line_is_one_again(self, processed: Process) -> None:
        lines = text("exam-") + b" BT /F1 24 Tf 72 670 Td <0070006c0065> Tj ET"

        assert text_of(processed(of_pages([lines]))) == "example"

    def test_a_page_cannot_fake_the_end_of_a_page(self, processed: Process) -> None:
        assert "\f" not in text_of(processed(with_lines("a\fb\x00c\x1bd\u2028e")))

    def test_text_beyond_the_cap_is_cut_and_that_is_said(
        self, processed: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pdf_module, "MAX_CHARACTERS", 10)
        whole, cut = processed(with_lines("123", "4567890")), processed(with_lines("123", "45678901", "x"))

        assert text_of(whole) == "123\f4567890"
        assert text_of(cut) == "123\f4567890"
        assert "textTruncated" not in whole.metadata
        assert cut.metadata["textTruncated"] is True
        assert (cut.metadata["pages"], cut.metadata["characters"]) == (3, 10)

    def test_what_grows_when_it_is_composed_is_cut_as_well(
        self, processed: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pdf_module, "MAX_CHARACTERS", 3)

        assert text_of(processed(with_lines("\u0958\u0958", "x"))) == "\u0915\u093c\u0915\f"

    def test_pages_by_the_hundred(self, processed: Process) -> None:
        result = processed(with_lines(*(f"page {number}" for number in range(300))), pages=300)

        assert text_of(result).split("\f") == [f"page {number}" for number in range(300)]
        assert result.metadata["pages"] == 300


class TestPictures:
    def test_page_1_is_drawn_on_white_paper_in_its_colours(self, processed: Process) -> None:
        left_red, lower_blue = b"1 0 0 rg 0 200 100 100 re f ", b"0 0 1 rg 0 0 200 100 re f"
        result = processed(of_pages([left_red + lower_blue, text("other")], box=(200, 300)))

        for name in ("preview.jpg", "thumbnail.webp"):
            picture = picture_of(result, name)
            assert pixel(picture, 0.25, 0.15) == RED
            assert pixel(picture, 0.75, 0.15) == WHITE
            assert pixel(picture, 0.75, 0.9) == BLUE
        assert [output.content_type for output in result.outputs[1:]] == ["image/jpeg", "image/webp"]

    @pytest.mark.parametrize(
        ("box", "page", "size"),
        [
            ((595, 842), b"", (1447, 2048)),
            ((842, 595), b"", (2048, 1447)),
            ((595, 842), b"/Rotate 90", (2048, 1447)),
            ((72, 36), b"", (300, 150)),
            ((14_400, 14_400), b"/UserUnit 75000", (2048, 2048)),
            ((1, 14_400), b"", (1, 2048)),
            ((14_400, 1), b"", (2048, 1)),
            ((1e30, 1e30), b"", (1583, 2048)),  # as other readers do, it takes a letter's size for nonsense
            ((0, 0), b"", (1583, 2048)),
            ((1000, 1000), b"/CropBox[0 0 100 50]", (417, 208)),
        ],
    )
    def test_any_page_fits_the_preview(
        self, processed: Process, box: tuple[float, float], page: bytes, size: tuple[int, int]
    ) -> None:
        result = processed(of_pages([text("x")], box=box, page=page))

        preview, thumbnail = picture_of(result), picture_of(result, "thumbnail.webp")
        assert (preview.width, preview.height) == size
        assert max(thumbnail.width, thumbnail.height) == min(512, max(size))

    def test_a_turned_page_is_drawn_as_it_is_read(self, processed: Process) -> None:
        result = processed(of_pages([b"1 0 0 rg 0 150 100 150 re f"], box=(200, 300), page=b"/Rotate 90"))

        assert pixel(picture_of(result), 0.75, 0.25) == RED
        assert pixel(picture_of(result), 0.25, 0.25) == WHITE

    def test_what_is_marked_on_the_page_is_drawn(self, processed: Process) -> None:
        marked = b"/Annots[<</Type/Annot/Subtype/Square/F 4/Rect[0 0 200 300]/AP<</N 8 0 R>>>>]"
        appearance = stream(b"1 0 0 rg 0 0 200 300 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 200 300]")
        result = processed(of_pages([b""], box=(200, 300), page=marked, more=[appearance]))

        assert pixel(picture_of(result), 0.5, 0.5) == RED

    def test_the_pictures_carry_nothing_but_pixels(self, processed: Process) -> None:
        fields = picture_of(processed(with_lines("x"))).get_fields()

        assert not [field for field in fields if field.startswith(("exif", "icc", "xmp", "iptc"))]


class TestInformation:
    def test_title_and_author(self, processed: Process) -> None:
        title = "報告書".encode("utf-16-be").hex().encode()
        result = processed(of_pages([b""], info=b"/Title<feff%s>/Author( J.\\n Doe\\000\\001 )" % title))

        assert (result.metadata["title"], result.metadata["author"]) == ("報告書", "J. Doe")

    def test_what_says_nothing_is_left_out(self, processed: Process) -> None:
        result = processed(of_pages([b""], info=b"/Title( \\n )/Author()"))

        assert not {"title", "author"} & set(result.metadata)

    def test_a_title_without_end_is_cut(self, processed: Process) -> None:
        result = processed(of_pages([b""], info=b"/Title(%s)" % (b"ab " * 1_000_000)))

        assert len(result.metadata["title"]) == 300

    @pytest.mark.parametrize("info", [b"/Title 12", b"/Title[1 2]", b"/Title<feffd83c>/Author<feffdc00d83c>"])
    def test_a_title_that_is_none_does_no_harm(self, processed: Process, info: bytes) -> None:
        assert processed(of_pages([b""], info=info)).metadata["pages"] == 1


class TestEncrypted:
    def test_without_its_password_it_is_kept_and_said_to_be_encrypted(self, processed: Process) -> None:
        result = processed(encrypted("for your eyes", password="secret"))

        assert (result.metadata, result.outputs) == ({"encrypted": True}, [])

    def test_what_anybody_may_open_is_read(self, processed: Process) -> None:
        result = processed(encrypted("for all eyes", password=""))

        assert text_of(result) == "for all eyes"
        assert result.metadata["encrypted"] is True
        assert len(result.outputs) == 3

    def test_a_handler_that_nobody_here_knows_is_encryption_as_well(self, processed: Process) -> None:
        body = encrypted("x", password="").replace(b"/Filter/Standard", b"/Filter/Unheard1")

        assert processed(body).metadata == {"encrypted": True}


class TestLimits:
    @pytest.mark.parametrize(("pages", "cap"), [(4, 3), (300, 299)])
    def test_more_pages_than_allowed_are_refused(self, processed: Process, pages: int, cap: int) -> None:
        with pytest.raises(Rejected, match=f"{pages} pages; at most {cap} are") as caught:
            processed(with_lines(*["x"] * pages), pages=cap)
        assert caught.value.code == "too_many_pages"

    def test_so_many_pages_as_are_claimed_are_not_looked_for(self, processed: Process) -> None:
        with pytest.raises(Rejected) as caught:
            processed(with_lines("x").replace(b"/Count 1/", b"/Count 1000000/"))
        assert caught.value.code == "too_many_pages"

    def test_an_image_that_is_larger_than_memory_is_not_drawn(self, processed: Process) -> None:
        image = stream(
            b"\x80" * 50_000,
            b"/Type/XObject/Subtype/Image/Width 50000/Height 50000/ColorSpace/DeviceRGB/BitsPerComponent 8",
            packed=True,
        )
        drawn = b"q 500 0 0 500 50 50 cm /I Do Q"
        result = processed(of_pages([drawn], resources=b"/XObject<</I 8 0 R>>", more=[image]))

        assert result.metadata["pages"] == 1

    def test_a_form_that_draws_itself_is_drawn_no_more_than_once(self, processed: Process) -> None:
        form = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X %d 0 R>>>>"
        loop = [stream(b"/X Do", form % 9), stream(b"/X Do", form % 8)]

        assert processed(of_pages([b"/X Do"], resources=b"/XObject<</X 8 0 R>>", more=loop)).metadata["pages"]


class TestDamage:
    @pytest.mark.parametrize(
        "body",
        [
            b"%PDF-1.4\n",
            b"%PDF-1.4\njunk\n%%EOF\n",
            with_lines("a", "b")[:-300],
            of_pages([]),
            document(b"<</Type/Catalog>>"),
            document(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 5/Kids[2 0 R 2 0 R]>>"),
            document(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 2/Kids[8 0 R 9 0 R]>>"),
        ],
        ids=["header", "junk", "truncated", "no pages", "no tree", "tree in a circle", "pages missing"],
    )
    def test_what_has_no_readable_page_is_refused(self, processed: Process, body: bytes) -> None:
        with pytest.raises(Rejected, match="make it again") as caught:
            processed(body)
        assert caught.value.code == "corrupt_pdf"

    @pytest.mark.parametrize(
        ("kids", "expected", "outputs"),
        [
            (b"8 0 R 99 0 R 10 0 R", "one\f\ftwo", ["text.txt", "preview.jpg", "thumbnail.webp"]),
            (b"99 0 R 8 0 R 10 0 R", "\fone\ftwo", ["text.txt"]),
        ],
    )
    def test_of_missing_pages_the_others_are_read(
        self, processed: Process, kids: bytes, expected: str, outputs: list[str]
    ) -> None:
        body = with_lines("one", "two").replace(b"/Count 2/Kids[8 0 R 10 0 R]", b"/Count 3/Kids[%s]" % kids)
        result = processed(body)

        assert text_of(result) == expected
        assert result.metadata["damaged"] is True
        assert [output.name for output in result.outputs] == outputs

    def test_a_wrong_table_of_objects_is_made_anew(self, processed: Process) -> None:
        assert text_of(processed(with_lines("one").replace(b"0000000015", b"0000000099"))) == "one"

    @pytest.mark.parametrize("length", [5, 20])
    def test_a_file_without_its_end_is_read_and_said_to_be_damaged(
        self, processed: Process, length: int
    ) -> None:
        result = processed(with_lines("one")[:-length])

        assert text_of(result) == "one"
        assert result.metadata["damaged"] is True

    def test_junk_before_and_after_is_no_damage(self, processed: Process) -> None:
        result = processed(b"junk\n" * 100 + with_lines("one") + b"\x00" * 500)

        assert text_of(result) == "one"
        assert "damaged" not in result.metadata

    def test_a_page_that_cannot_be_drawn_still_has_its_text(
        self, processed: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_size(_: Any) -> Any:
            raise pdf_module._NoSize

        monkeypatch.setattr(pdf_module, "_drawn", no_size)
        result = processed(with_lines("one"))

        assert ([output.name for output in result.outputs], text_of(result)) == (["text.txt"], "one")
        assert result.metadata["damaged"] is True


class TestReach:
    def test_a_stream_in_another_file_is_not_fetched(self, processed: Process, tmp_path: Path) -> None:
        (other := tmp_path / "other").write_bytes(text("secret"))
        for place in (str(other), f"file://{other}"):
            content = b"<</Length 0/F(%s)/FFilter/FlateDecode>>\nstream\n\nendstream" % place.encode()
            body = of_pages([b""]).replace(stream(b""), content)
            assert b"/F(" in body
            assert text_of(processed(body)) == ""

    def test_no_script_runs(self, processed: Process) -> None:
        script = b"/OpenAction<</S/JavaScript/JS(this.getField\\('x'\\); while \\(true\\) {})>>"
        body = with_lines("one").replace(b"<</Type/Catalog", b"<</Type/Catalog" + script)

        assert text_of(processed(body)) == "one"


def test_all_that_was_opened_is_closed(processed: Process) -> None:
    from pypdfium2.internal.bases import ObjectTracker

    missing = with_lines("one").replace(b"/Count 1/", b"/Count 3/")
    for body in (with_lines("one"), missing, encrypted("x", password=""), with_lines(*"abcd")):
        with suppress(Rejected):
            processed(body, pages=3)
        assert [len(open_now) for open_now in ObjectTracker.values() if open_now] == []


CHILD = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from chalicelib.errors import Rejected
from chalicelib.processors.pdf import process
from tests.unit.sources import source

directory = Path(sys.argv[1])
for file in sorted(directory.glob("*.pdf")):
    try:
        result = process(source(directory, file.read_bytes(), file.name, "application/pdf"))
        print("read" if result.outputs else "encrypted")
    except Rejected as error:
        print(error.code)
"""


def test_whatever_is_wrong_with_a_file_it_is_read_or_refused(tmp_path: Path) -> None:
    """In a process of its own, as in production: the decoder is C++."""
    chance = random.Random(7)
    image = b"/Type/XObject/Subtype/Image/Width 8/Height 8/ColorSpace/DeviceGray/BitsPerComponent 8"
    whole = [
        with_lines("one", "Größe 東京", "three"),
        encrypted("one", password=""),
        of_pages(
            [text("one") + b" q 90 0 0 90 9 9 cm /I Do Q"],
            resources=b"/XObject<</I 8 0 R>>",
            more=[stream(zlib.compress(bytes(64)), image + b"/Filter/FlateDecode")],
        ),
    ]
    for number in range(90):
        broken = bytearray(whole[number % len(whole)])
        for _ in range(chance.choice((1, 3, 30))):
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        if number % 4 == 0:
            del broken[chance.randrange(len(broken)) :]
        (tmp_path / f"{number}.pdf").write_bytes(b"%PDF-1.7\n" + broken)

    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (child.returncode, child.stderr) == (0, "")
    outcomes = child.stdout.split()
    assert len(outcomes) == 90
    assert {"read", "corrupt_pdf"} <= set(outcomes) <= {"read", "corrupt_pdf", "encrypted", "too_many_pages"}
