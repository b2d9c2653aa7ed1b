"""What a file is: by its bytes, and by its name only where the bytes leave a choice."""

import codecs

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chalicelib.filetypes import FileType, detect
from chalicelib.processors import REGISTRY

BINARY = b"\x00\x01\x02\x03" * 8


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n" + BINARY, "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/jpeg"),
        (b"GIF87a" + BINARY, "image/gif"),
        (b"GIF89a" + BINARY, "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"II*\x00" + BINARY, "image/tiff"),
        (b"MM\x00*" + BINARY, "image/tiff"),
        (b"%PDF-1.7\n" + BINARY, "application/pdf"),
        (b"%PDF-1.4\nall of it plain text\n%%EOF\n", "application/pdf"),
        (b"PK\x03\x04" + BINARY, "application/zip"),
        (b"\x1f\x8b\x08\x00" + BINARY, "application/gzip"),
        (b"MZ\x90\x00" + BINARY, "application/vnd.microsoft.portable-executable"),
        (b"\x7fELF\x02\x01\x01\x00" + BINARY, "application/x-elf"),
        (b"ID3\x04\x00" + BINARY, "audio/mpeg"),
        (b"fLaC\x00\x00\x00\x22" + BINARY, "audio/flac"),
        (b"OggS\x00\x02" + BINARY, "application/ogg"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"RIFF\x24\x00\x00\x00AVI LIST", "video/x-msvideo"),
        (b"\x00\x00\x00\x18ftypmp42" + BINARY, "video/mp4"),
        (b"\x1aE\xdf\xa3" + BINARY, "video/x-matroska"),
        (BINARY, "application/octet-stream"),
        (b"text with a \x00 in it", "application/octet-stream"),
    ],
)
@pytest.mark.parametrize("filename", ["file", "invoice.pdf", "order.json", "notes.txt", "a.csv"])
def test_the_bytes_say_what_a_binary_file_is_and_no_name_can_change_it(
    head: bytes, media_type: str, filename: str
) -> None:
    assert detect(head, filename) == FileType("other", media_type)


@pytest.mark.parametrize(
    "text",
    [
        b"A TIDAL WAVE of orders",
        b"MZ is the first name of somebody",
        b"ID3 tags, explained",
        b"OggS begins every page",
        b"GIF89a is how it starts",
        b"the ftyp box",
        b"I think AVI is old",
        b"fLaC, four letters",
        b"Compare WEBP with PNG",
    ],
)
def test_prose_that_holds_a_signature_is_still_text(text: bytes) -> None:
    assert detect(text, "notes.txt") == FileType("text", "text/plain")


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.csv", FileType("text", "text/csv")),
        ("a.htm", FileType("text", "text/html")),
        ("a.HTML", FileType("text", "text/html")),
        ("a.json", FileType("data", "application/json")),
        ("a.JSON", FileType("data", "application/json")),
        ("a.tar.json", FileType("data", "application/json")),
        ("a.jsonl", FileType("data", "application/x-ndjson")),
        ("a.ndjson", FileType("data", "application/x-ndjson")),
        ("a.md", FileType("text", "text/markdown")),
        ("a.markdown", FileType("text", "text/markdown")),
        ("a.svg", FileType("text", "image/svg+xml")),
        ("a.tsv", FileType("text", "text/tab-separated-values")),
        ("a.xml", FileType("text", "text/xml")),
        ("a.txt", FileType("text", "text/plain")),
        ("a.log", FileType("text", "text/plain")),
        ("a.json.bak", FileType("text", "text/plain")),
        ("json", FileType("text", "text/plain")),
        ("file", FileType("text", "text/plain")),
        ("a.exe", FileType("text", "text/plain")),
    ],
)
def test_among_texts_the_extension_decides(filename: str, expected: FileType) -> None:
    assert detect(b"some,text\n", filename) == expected


@pytest.mark.parametrize(
    "head",
    [
        b'{"id": 1}',
        b"{}",
        b"{ }",
        b'  \r\n\t{\n  "id": 1}',
        b"[]",
        b"[ ]",
        b'[{"id": 1}]',
        b'["a"]',
        b"[[1]]",
        b'\xef\xbb\xbf{"id": 1}',
        b'{"id": 1',
    ],
)
def test_without_an_extension_text_that_starts_like_json_is_json(head: bytes) -> None:
    """`/presign` without a body names the file `file`."""
    assert detect(head, "file") == FileType("data", "application/json")
    assert detect(head, "notes.txt") == FileType("text", "text/plain")


@pytest.mark.parametrize("head", [b"{curly} prose", b"[1] a footnote", b"[x] done", b"42", b'"quoted"', b"{"])
def test_without_an_extension_other_text_is_text(head: bytes) -> None:
    assert detect(head, "file") == FileType("text", "text/plain")


def test_a_broken_document_that_is_called_json_is_json_so_that_it_is_told() -> None:
    assert detect(b"no json at all", "order.json").family == "data"


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_utf_16_with_its_mark_is_text_for_all_its_zeros(mark: bytes) -> None:
    encoding = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"

    assert detect(mark + "plain".encode(encoding), "a.txt").media_type == "text/plain"
    assert detect(mark + '{"a": 1}'.encode(encoding), "a.json").media_type == "application/json"


@pytest.mark.parametrize("text", ["tab\tand\r\nlines\x0c", "\x1b$B日本\x1b(B"])
def test_the_control_characters_that_texts_do_hold_are_allowed(text: str) -> None:
    assert detect(text.encode(), "a.txt").family == "text"


def test_nothing_at_all_is_empty_text() -> None:
    assert detect(b"", "file") == FileType("text", "text/plain")


@hypothesis_settings(deadline=None, max_examples=500)
@given(st.binary(max_size=200), st.text(max_size=40))
@example(b"\xff\xfe", "\x00")
@example(b"{", ".json")
def test_no_bytes_and_no_name_raise_and_a_processor_is_always_there(head: bytes, filename: str) -> None:
    found = detect(head, filename)

    assert found.family in REGISTRY
    assert found.media_type.count("/") == 1


@hypothesis_settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=100))
def test_text_is_text_in_any_language(text: str) -> None:
    assert text.startswith("%PDF-") or detect(text.encode(), "a.txt").family == "text"
