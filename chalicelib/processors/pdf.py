"""PDF: its text, and what its first page looks like. No script or form in it runs, no link is followed."""

import ctypes
import math
import re
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.errors import Rejected
from chalicelib.processors.base import Output, Result, Source
from chalicelib.processors.text import nfc

if TYPE_CHECKING:
    import pyvips
    from pypdfium2 import PdfDocument, PdfPage

MAX_CHARACTERS = 5_000_000
MAX_TITLE = 300

PREVIEW_PIXELS = 2_048
THUMBNAIL_PIXELS = 512

MAX_SCALE = 300 / 72
"""Pixels a point: what is small on paper is not blown up beyond print."""

END_BYTES = 1_024
"""Where the end of a whole file has its mark (Adobe's PDF Reference 1.7, appendix H, note 18)."""

_WORD = re.compile(r"\S+")
_LINE_END = re.compile("\r\n?|[\f\v\x85\u2028\u2029]")

# PDFium puts U+FFFE for a hyphen that only parts a word at the end of its line.
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")


def process(source: Source) -> Result:
    """`text.txt`, its pages parted by form feeds; `preview.jpg` and `thumbnail.webp` of page 1.

    A file that does not open without its password has none of them, and `encrypted` says so. Of a damaged
    file there is what could be read, and `damaged` says so.

    Raises:
        Rejected: `corrupt_pdf`, `too_many_pages`.
    """
    from pypdfium2 import PdfDocument, PdfiumError, raw

    try:
        document = PdfDocument(source.path)
    except PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            return Result(metadata={"encrypted": True})
        raise _corrupt() from None
    with closing(document):
        if len(document) > source.caps.pages:
            raise Rejected(
                f"The PDF says that it has {len(document)} pages; at most {source.caps.pages} are processed: "
                "split it up.",
                code="too_many_pages",
            )
        text = Text(source.scratch / "text.txt")
        text.write(document)
        if text.unreadable == len(document):
            raise _corrupt()
        pictures = _pictures(document)
        metadata = {
            "pages": len(document),
            "encrypted": raw.FPDF_GetSecurityHandlerRevision(document) != -1,
            **_information(document),
            **text.metadata(),
        }
    if text.unreadable or not pictures or not _has_its_end(source.path):
        metadata["damaged"] = True
    return Result(metadata, [Output("text.txt", "text/plain; charset=utf-8", text.path), *pictures])


def _corrupt() -> Rejected:
    return Rejected(
        "The PDF is damaged beyond reading: make it again, or print it to a new one.", code="corrupt_pdf"
    )


def _has_its_end(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - END_BYTES))
        return b"%%EOF" in file.read()


class Text:
    """The text of all pages, as far as there is room for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable = 0
        """Pages."""
        self._characters = self._words = 0
        self._is_cut = False

    def write(self, document: "PdfDocument") -> None:
        with self.path.open("w", encoding="utf-8", newline="") as file:
            for index in range(len(document)):
                if self._is_cut:
                    break
                page = self._page(document, index)
                self._characters += len(page)
                self._words += sum(1 for _ in _WORD.finditer(page))
                file.write("\f" * (index > 0) + page)

    def _page(self, document: "PdfDocument", index: int) -> str:
        from pypdfium2 import PdfiumError

        room = MAX_CHARACTERS - self._characters
        try:
            with closing(document[index]) as page:
                text, is_cut = _text_of(page, room)
        except PdfiumError:
            self.unreadable += 1
            return ""
        self._is_cut |= is_cut
        return text

    def metadata(self) -> dict[str, Any]:
        counts = {"characters": self._characters, "words": self._words}
        return {**counts, "textTruncated": True} if self._is_cut else counts


def _text_of(page: "PdfPage", room: int) -> tuple[str, bool]:
    """At most so many characters of the page's text, and whether there would have been more.

    Raises:
        PdfiumError: the page cannot be read.
    """
    from pypdfium2 import raw

    with closing(page.get_textpage()) as textpage:
        there = max(0, textpage.count_chars())
        wanted = min(there, room)
        buffer = (ctypes.c_ushort * (wanted + 1))()  # and a zero, which is counted as well
        written = raw.FPDFText_GetText(textpage, 0, wanted, buffer) if wanted else 1
    text = bytes(memoryview(buffer)[: written - 1]).decode("utf-16-le", "ignore")
    text = nfc(_NOT_TEXT.sub("", _LINE_END.sub("\n", text)))
    return text[:room], there > room


def _information(document: "PdfDocument") -> dict[str, str]:
    """Of the document information dictionary (ISO 32000-1, section 14.3.3), what says something."""
    found = {}
    for entry in ("Title", "Author"):
        with suppress(UnicodeDecodeError):
            value = document.get_metadata_value(entry)[: 2 * MAX_TITLE]
            value = " ".join(_NOT_TEXT.sub("", nfc(value)).split())[:MAX_TITLE]
            if value:
                found[entry.lower()] = value
    return found


def _pictures(document: "PdfDocument") -> list[Output]:
    """Of page 1, or none where it cannot be drawn."""
    from pypdfium2 import PdfiumError

    try:
        with closing(document[0]) as page:
            image = _drawn(page)
    except (PdfiumError, _NoSize):
        return []
    thumbnail = image.thumbnail_image(THUMBNAIL_PIXELS, height=THUMBNAIL_PIXELS, size="down")
    return [
        Output("preview.jpg", "image/jpeg", image.jpegsave_buffer(Q=85, optimize_coding=True, keep="none")),
        Output("thumbnail.webp", "image/webp", thumbnail.webpsave_buffer(Q=80, keep="none")),
    ]


class _NoSize(Exception):
    """The page's box is no rectangle."""


def _drawn(page: "PdfPage") -> "pyvips.Image":
    """The page on white paper, in no more pixels than the preview has, however large its box."""
    import pyvips
    from pypdfium2 import PdfBitmap, raw

    size = page.get_size()
    if not all(0 < length < math.inf for length in size):
        raise _NoSize
    scale = min(PREVIEW_PIXELS / max(size), MAX_SCALE)
    width, height = (max(1, round(length * scale)) for length in size)
    bitmap = PdfBitmap.new_native(width, height, raw.FPDFBitmap_BGR)
    with closing(bitmap):
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
        flags = raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER | raw.FPDF_RENDER_LIMITEDIMAGECACHE
        raw.FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, flags)
    image = pyvips.Image.new_from_memory(bitmap.buffer, width, height, 3, "uchar")
    return image.copy(interpretation="srgb")
