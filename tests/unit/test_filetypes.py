"""What a file is: by its bytes, and by its name only where the bytes leave a choice."""

import bz2
import codecs
import gzip
import io
import lzma
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Iterable
from contextlib import closing

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chalicelib.filetypes import HEAD_BYTES, FileType, detect
from chalicelib.processors import REGISTRY

BINARY = b"\x00\x01\x02\x03" * 8
OPEN_XML = "application/vnd.openxmlformats-officedocument."


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    """The first box of a file of the ISO base media format."""
    return box(b"ftyp", major + b"\x00\x00\x02\x00" + b"".join(compatible)) + box(b"free", BINARY)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def moov(*handlers: bytes) -> bytes:
    tracks = (box(b"hdlr", bytes(8) + handler + bytes(13)) for handler in handlers)
    return box(b"moov", box(b"mvhd", bytes(100)) + b"".join(box(b"trak", track) for track in tracks))


def zipped(*names: str, first: bytes = b"x") -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, first if number == 0 else b"x")
    return file.getvalue()


def streamed_zip(*names: str) -> bytes:
    """As written into a pipe: sizes come behind the entries."""

    class Pipe(io.BytesIO):
        def seek(self, *_: object) -> int:
            raise io.UnsupportedOperation

        def seekable(self) -> bool:
            return False

    with zipfile.ZipFile(pipe := Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, b"x" * 1_000)
    return pipe.getvalue()


def matroska(doc_type: bytes, *codecs_of_tracks: bytes) -> bytes:
    header = b"\x42\x82" + bytes([0x80 | len(doc_type)]) + doc_type
    tracks = b"".join(b"\x86" + bytes([0x80 | len(codec)]) + codec for codec in codecs_of_tracks)
    return b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(header)]) + header + BINARY + tracks


def ogg(packet: bytes) -> bytes:
    return b"OggS\x00\x02" + b"\x00" * 20 + b"\x01" + bytes([len(packet)]) + packet


def compound(stream: str) -> bytes:
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 504 + (stream + "\0").encode("utf-16-le")


def tarred(version: int) -> bytes:
    with tarfile.open(fileobj=(file := io.BytesIO()), mode="w", format=version) as archive:
        entry = tarfile.TarInfo("report.pdf")
        entry.size = len(b"%PDF-1.4\n")
        archive.addfile(entry, io.BytesIO(b"%PDF-1.4\n"))
    return file.getvalue()


def old_tar() -> bytes:
    """With nothing where later formats have their signature."""
    header = bytearray(tarred(tarfile.USTAR_FORMAT)[:512])
    header[257:345] = bytes(88)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + BINARY


def database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table t (a)")
        return connection.serialize()


MP3_FRAME = b"\xff\xfb\x90\x64" + b"\x00" * 413  # 128 kbit/s at 44.1 kHz
MP3_PADDED_FRAME = b"\xff\xfb\x92\x64" + b"\x00" * 414
MP3_SLOW_FRAME = b"\xff\xf3\x40\xc4" + b"\x00" * 100  # 32 kbit/s at 22.05 kHz
ADTS_FRAME = b"\xff\xf1\x50\x80\x20\x1f\xfc" + b"\x00" * 249  # of 256 bytes
TS_PACKET = b"\x47\x40\x11\x10" + b"\x00" * 184
BITMAP = b"BM" + struct.pack("<IHHIIiiHH", 70, 0, 0, 54, 40, 2, 2, 1, 24) + b"\x00" * 40
ICON = b"\x00\x00\x01\x00\x01\x00\x10\x10\x00\x00\x01\x00\x20\x00" + BINARY

IMAGES = [
    (b"\x89PNG\r\n\x1a\n" + BINARY, "image/png"),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/jpeg"),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00<html><script>alert(1)</script></html>", "image/jpeg"),
    (b"GIF87a" + BINARY, "image/gif"),
    (b"GIF89a" + BINARY, "image/gif"),
    (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
    (b"II*\x00" + BINARY, "image/tiff"),
    (b"MM\x00*" + BINARY, "image/tiff"),
    (b"II+\x00\x08\x00\x00\x00" + BINARY, "image/tiff"),
    (b"MM\x00+\x00\x08\x00\x00" + BINARY, "image/tiff"),
    (ftyp(b"avif", b"mif1", b"miaf"), "image/avif"),
    (ftyp(b"avis", b"msf1"), "image/avif"),
    (ftyp(b"mif1", b"miaf", b"avif"), "image/avif"),
    (ftyp(b"heic", b"mif1"), "image/heic"),
    (ftyp(b"heix", b"mif1"), "image/heic"),
    (ftyp(b"mif1", b"heic"), "image/heic"),
    (ftyp(b"mif1", b"unif"), "image/heif"),
]

PDFS = [
    (b"%PDF-1.7\n" + BINARY, "application/pdf"),
    (b"%PDF-1.4\nall of it plain text\n%%EOF\n", "application/pdf"),
    (b"\x00" * 1_024 + b"%PDF-1.4\n" + BINARY, "application/pdf"),
    (b"\xef\xbb\xbf%PDF-1.4\n1 0 obj\n<<>>\n", "application/pdf"),
    (b"Content-Type: application/pdf\r\n\r\n%PDF-1.4\n1 0 obj\n<<>>\n", "application/pdf"),
]

SOUNDS = [
    (b"ID3\x04\x00" + BINARY, "audio/mpeg"),
    (b"ID3\x03\x00\x00\x00\x00\x00\x02\x00\x00" + MP3_FRAME, "audio/mpeg"),
    (b"ID3\x04\x00\x00\x00\x00\x7f\x7f" + BINARY, "audio/mpeg"),
    (MP3_FRAME * 3, "audio/mpeg"),
    (MP3_FRAME * 2, "audio/mpeg"),
    (MP3_SLOW_FRAME * 3, "audio/mpeg"),
    (MP3_PADDED_FRAME * 3, "audio/mpeg"),
    (ADTS_FRAME * 3, "audio/aac"),
    (b"ID3\x04\x00\x00\x00\x00\x00\x02\x00\x00" + ADTS_FRAME, "audio/aac"),
    (b"ID3\x04\x00\x00\x00\x00\x00\x02\x00\x00fLaC" + BINARY, "audio/flac"),
    (b"fLaC\x00\x00\x00\x22" + BINARY, "audio/flac"),
    (ogg(b"OpusHead\x01"), "audio/ogg"),
    (ogg(b"\x01vorbis"), "audio/ogg"),
    (b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav"),
    (b"RF64\xff\xff\xff\xffWAVEds64\x1c\x00\x00\x00", "audio/wav"),
    (b"FORM\x00\x00\x00\x24AIFFCOMM" + BINARY, "audio/aiff"),
    (ftyp(b"M4A ", b"mp42", b"isom"), "audio/mp4"),
    (ftyp(b"mp42", b"isom") + moov(b"soun"), "audio/mp4"),
    (ftyp(b"3gp4", b"isom") + moov(b"soun", b"soun"), "audio/3gpp"),
    (ftyp(b"isom") + box(b"free", BINARY) + moov(b"soun"), "audio/mp4"),
    (b".snd\x00\x00\x00\x18" + BINARY, "audio/basic"),
    (b"caff\x00\x01\x00\x00desc", "audio/x-caf"),
    (b"#!AMR\n" + BINARY, "audio/amr"),
    (b"#!AMR-WB\n" + BINARY, "audio/amr"),
    (matroska(b"webm", b"A_OPUS"), "audio/webm"),
    (matroska(b"matroska", b"A_FLAC", b"A_AAC"), "audio/x-matroska"),
]

FILMS = [
    (ftyp(b"mp42", b"isom"), "video/mp4"),
    (ftyp(b"isom", b"iso2", b"avc1"), "video/mp4"),
    (ftyp(b"M4V ", b"isom"), "video/mp4"),
    (ftyp(b"XAVC", b"mp42"), "video/mp4"),
    (ftyp(b"qt  "), "video/quicktime"),
    (b"\x00\x00\x00\x08wide\x00\x00\x01\x00mdat", "video/quicktime"),
    (b"\x00\x00\x01\x00mdat" + BINARY, "video/quicktime"),
    (b"\x00\x00\x01\x00moov\x00\x00\x00\x6cmvhd", "video/quicktime"),
    (ftyp(b"3gp4", b"isom"), "video/3gpp"),
    (ftyp(b"3g2a"), "video/3gpp2"),
    (b"RIFF\x24\x00\x00\x00AVI LIST", "video/x-msvideo"),
    (b"\x1a\x45\xdf\xa3" + BINARY, "video/x-matroska"),
    (matroska(b"matroska", b"V_MPEG4/ISO/AVC", b"A_AAC"), "video/x-matroska"),
    (matroska(b"webm", b"A_OPUS", b"V_VP9"), "video/webm"),
    (ogg(b"\x80theora"), "video/ogg"),
    (TS_PACKET * 5, "video/mp2t"),
    ((b"\x00\x00\x00\x00" + TS_PACKET) * 5, "video/mp2t"),
    (b"\x00\x00\x01\xba" + BINARY, "video/mpeg"),
    (ftyp(b"mp42", b"isom") + moov(b"vide", b"soun"), "video/mp4"),
    (ftyp(b"mp42", b"isom") + moov(b"soun")[:-9], "video/mp4"),
    (ftyp(b"mp42", b"isom") + moov(), "video/mp4"),
    (ftyp(b"mp42", b"isom") + b"\x00\x00\x00\x00mdat" + moov(b"soun"), "video/mp4"),
    (ftyp(b"qt  ") + moov(b"soun"), "video/quicktime"),
    (b"FLV\x01\x05\x00\x00\x00\x09", "video/x-flv"),
    (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + BINARY, "application/vnd.ms-asf"),
]

OTHERS = [
    (zipped("a.txt"), "application/zip"),
    (zipped(), "application/zip"),
    (streamed_zip("a.txt", "b.txt"), "application/zip"),
    (
        zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
        OPEN_XML + "wordprocessingml.document",
    ),
    (zipped("docProps/app.xml", "xl/workbook.xml"), OPEN_XML + "spreadsheetml.sheet"),
    (streamed_zip("_rels/.rels", "ppt/presentation.xml"), OPEN_XML + "presentationml.presentation"),
    (zipped("letters/a.docx", first=zipped("[Content_Types].xml", "word/document.xml")), "application/zip"),
    (zipped("word/a.txt"), "application/zip"),
    (
        zipped("mimetype", "content.xml", first=b"application/vnd.oasis.opendocument.text"),
        "application/vnd.oasis.opendocument.text",
    ),
    (zipped("mimetype", "a.xhtml", first=b"application/epub+zip"), "application/epub+zip"),
    (zipped("mimetype", "a", first=b"image/png"), "application/zip"),
    (zipped("mimetyp", "a", first=b" application/epub+zip"), "application/zip"),
    (zipped("[Content_Types].xml", "word/document.xml"), OPEN_XML + "wordprocessingml.document"),
    (zipped("META-INF/MANIFEST.MF", "A.class"), "application/java-archive"),
    (zipped("AndroidManifest.xml", "META-INF/MANIFEST.MF"), "application/vnd.android.package-archive"),
    (compound("WordDocument"), "application/msword"),
    (compound("Workbook"), "application/vnd.ms-excel"),
    (compound("PowerPoint Document"), "application/vnd.ms-powerpoint"),
    (compound("__properties_version1.0"), "application/vnd.ms-outlook"),
    (compound("Something"), "application/x-ole-storage"),
    (gzip.compress(b"a", mtime=0), "application/gzip"),
    (bz2.compress(b"a"), "application/x-bzip2"),
    (lzma.compress(b"a"), "application/x-xz"),
    (b"\x28\xb5\x2f\xfd" + BINARY, "application/zstd"),
    (b"7z\xbc\xaf\x27\x1c" + BINARY, "application/x-7z-compressed"),
    (b"Rar!\x1a\x07\x01\x00" + BINARY, "application/vnd.rar"),
    (tarred(tarfile.USTAR_FORMAT), "application/x-tar"),
    (tarred(tarfile.GNU_FORMAT), "application/x-tar"),
    (tarred(tarfile.PAX_FORMAT), "application/x-tar"),
    (old_tar(), "application/x-tar"),
    (b"\x00" * 32_769 + b"CD001", "application/vnd.efi.iso"),
    (b"MZ\x90\x00" + BINARY, "application/vnd.microsoft.portable-executable"),
    (b"\x7fELF\x02\x01\x01\x00" + BINARY, "application/x-elf"),
    (b"\xcf\xfa\xed\xfe" + BINARY, "application/x-mach-binary"),
    (b"\xca\xfe\xba\xbe\x00\x00\x00\x0b" + BINARY, "application/x-mach-binary"),
    (b"\xca\xfe\xba\xbe\x00\x00\x00\x3d" + BINARY, "application/java-vm"),
    (b"\x00asm\x01\x00\x00\x00", "application/wasm"),
    (b"#!/bin/sh\nrm -rf /\n", "application/x-shellscript"),
    (b"#! /usr/bin/env python3\n", "application/x-shellscript"),
    (database(), "application/vnd.sqlite3"),
    (b"PAR1\x15\x00" + BINARY, "application/vnd.apache.parquet"),
    (b"OTTO\x00\x0a" + BINARY, "font/otf"),
    (b"\x00\x01\x00\x00\x00\x0a" + BINARY, "font/ttf"),
    (b"wOF2\x00\x01\x00\x00", "font/woff2"),
    (b"{\\rtf1\\ansi hello}", "application/rtf"),
    (b"%!PS-Adobe-3.0\nshowpage\n", "application/postscript"),
    (BITMAP, "image/bmp"),
    (ICON, "image/vnd.microsoft.icon"),
    (b"8BPS\x00\x01" + BINARY, "image/vnd.adobe.photoshop"),
    (b"II*\x00\x10\x00\x00\x00CR\x02\x00" + BINARY, "image/x-canon-cr2"),
    (ftyp(b"crx "), "image/x-canon-cr3"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n" + BINARY, "image/jxl"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + BINARY, "image/jp2"),
    (b"DDS |\x00\x00\x00" + BINARY, "image/vnd.ms-dds"),
    (b"\x76\x2f\x31\x01" + BINARY, "image/x-exr"),
    (b"icns" + BINARY, "image/icns"),
    (b"AT&TFORM\x00\x00\x01\x00DJVU", "image/vnd.djvu"),
    (b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x60MTrk", "audio/midi"),
    (b"PK\x07\x08PK\x03\x04" + BINARY, "application/zip"),
    (b"\x04\x22\x4d\x18" + BINARY, "application/x-lz4"),
    (b"MSCF\x00\x00\x00\x00" + BINARY, "application/vnd.ms-cab-compressed"),
    (b"!<arch>\ndebian-binary   1700000000" + BINARY, "application/vnd.debian.binary-package"),
    (b"\xed\xab\xee\xdb\x03\x00" + BINARY, "application/x-rpm"),
    (b"\xfe\xed\xfa\xce" + BINARY, "application/x-mach-binary"),
    (b"\xfe\xed\xfa\xcf" + BINARY, "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe" + BINARY, "application/x-mach-binary"),
    (b"dex\n035\x00" + BINARY, "application/vnd.android.dex"),
    (b"L\x00\x00\x00\x01\x14\x02\x00" + BINARY, "application/x-ms-shortcut"),
    (b"FWS\x0a" + BINARY, "application/vnd.adobe.flash.movie"),
    (b"CWS\x0a" + BINARY, "application/vnd.adobe.flash.movie"),
    (b"ttcf\x00\x01\x00\x00", "font/collection"),
    (b"wOFF\x00\x01\x00\x00", "font/woff"),
    (b"ARROW1\x00\x00" + BINARY, "application/vnd.apache.arrow.file"),
    (b"Obj\x01\x04\x16avro.schema", "application/vnd.apache.avro"),
    (b"\x89HDF\r\n\x1a\n" + BINARY, "application/x-hdf5"),
    (b"\x93NUMPY\x01\x00v\x00", "application/x-npy"),
    (b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00", "application/vnd.tcpdump.pcap"),
    (b"\xa1\xb2\xc3\xd4\x00\x02\x00\x04", "application/vnd.tcpdump.pcap"),
    (ftyp(b"what"), "application/mp4"),
    (ogg(b"\x7fwhat"), "application/ogg"),
    (BINARY, "application/octet-stream"),
    (b"text with a \x00 in it", "application/octet-stream"),
]


def by_type(value: object) -> str:
    """What a case is called: some heads hold the time at which they were made, and differ every time."""
    return value.media_type if isinstance(value, FileType) else ""


def family(name: str, cases: Iterable[tuple[bytes, str]]) -> list[tuple[bytes, FileType]]:
    return [(head, FileType(name, media_type)) for head, media_type in cases]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        *family("image", IMAGES),
        *family("pdf", PDFS),
        *family("audio", SOUNDS),
        *family("video", FILMS),
        *family("other", OTHERS),
    ],
    ids=by_type,
)
@pytest.mark.parametrize("filename", ["file", "invoice.pdf", "order.json", "notes.txt", "a.csv", "photo.jpg"])
def test_the_bytes_say_what_a_binary_file_is_and_no_name_can_change_it(
    head: bytes, expected: FileType, filename: str
) -> None:
    assert detect(head, filename) == expected


@pytest.mark.parametrize(
    ("head", "filename", "expected"),
    [
        (ftyp(b"mp42", b"isom"), "memo.m4a", FileType("audio", "audio/mp4")),
        (ftyp(b"3gp4"), "memo.M4A", FileType("audio", "audio/mp4")),
        (compound("Unknown"), "old.doc", FileType("other", "application/msword")),
        (compound("Unknown"), "setup.msi", FileType("other", "application/x-msi")),
        (b"II*\x00" + BINARY, "raw.dng", FileType("other", "image/x-adobe-dng")),
        (b"II*\x00" + BINARY, "scan.tif", FileType("image", "image/tiff")),
    ],
)
def test_of_the_readings_that_a_container_leaves_the_name_picks_one(
    head: bytes, filename: str, expected: FileType
) -> None:
    assert detect(head, filename) == expected


@pytest.mark.parametrize(
    "head",
    [
        MP3_FRAME + BINARY * 100,
        MP3_FRAME,
        b"\xff\xff" * 500 + b"\x00",
        b"\x47" + b"\x00" * 1_000,
        TS_PACKET * 2 + BINARY,
        b"BM\x00\x00" + BINARY,
        b"ID3\xff\x00" + BINARY,
        b"ID3\x04\x00\x00\xff\xff\xff\xff" + BINARY,
        (b"\xff\xeb\x90\x64" + b"\x00" * 518) * 3,
        b"\xff\xfb\x9c\x64" + b"\x00" * 518,
        b"\x00\x00\x01\x00" + b"\x00" * 20,
        old_tar().replace(b"report", b"Report"),
        b"\x00\x00\x01\x00\x00\x00" + BINARY,
        b"RIFF\x00\x00\x00\x00ACON" + BINARY,
        b"FORM\x00\x00\x00\x00ILBM" + BINARY,
        b"\x00" * 1_033 + b"%PDF-1.4\n" + BINARY,
        b"\x00" * 600,
    ],
)
def test_a_beginning_that_leads_nowhere_is_no_format(head: bytes) -> None:
    assert detect(head, "file") == FileType("other", "application/octet-stream")


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
        b"BM is a car without its W",
        b"RIFF RAFF: WAVE after WAVE",
        b"PK\x0a and then some",
        b"OTTO came home late",
        b"BZh, said the bee",
        b"G" + b"G" * 1_000,
        b"A PDF begins with %PDF-1.7 and ends with %%EOF",
        b"#!, the shebang",
    ],
)
def test_prose_that_holds_a_signature_is_still_text(text: bytes) -> None:
    assert detect(text, "notes.txt") == FileType("text", "text/plain")


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.csv", FileType("data", "text/csv")),
        ("a.CSV", FileType("data", "text/csv")),
        ("a.htm", FileType("text", "text/html")),
        ("a.HTML", FileType("text", "text/html")),
        ("a.json", FileType("data", "application/json")),
        ("a.JSON", FileType("data", "application/json")),
        ("a.geojson", FileType("data", "application/json")),
        ("a.tar.json", FileType("data", "application/json")),
        ("a.jsonl", FileType("data", "application/x-ndjson")),
        ("a.ndjson", FileType("data", "application/x-ndjson")),
        ("a.md", FileType("text", "text/markdown")),
        ("a.markdown", FileType("text", "text/markdown")),
        ("a.svg", FileType("text", "image/svg+xml")),
        ("a.tsv", FileType("data", "text/tab-separated-values")),
        ("a.tab", FileType("data", "text/tab-separated-values")),
        ("a.xml", FileType("text", "text/xml")),
        ("a.txt", FileType("text", "text/plain")),
        ("a.log", FileType("text", "text/plain")),
        ("a.json.bak", FileType("text", "text/plain")),
        ("json", FileType("text", "text/plain")),
        ("file", FileType("text", "text/plain")),
        ("a.exe", FileType("text", "text/plain")),
        ("photo.jpg", FileType("text", "text/plain")),
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
        b'{"a": 1}\n',
        '{"id": 1}'.encode("utf-16"),
    ],
)
def test_where_no_extension_tells_text_that_starts_like_json_is_json(head: bytes) -> None:
    """`/presign` without a body names the file `file`."""
    assert detect(head, "file") == FileType("data", "application/json")
    assert detect(head, "orders.dat") == FileType("data", "application/json")
    assert detect(head, "notes.txt") == FileType("text", "text/plain")


@pytest.mark.parametrize(
    "head",
    [
        b'{"id": 1}\n{"id": 2}\n',
        b'{"id": 1}\r\n{"id": 2}',
        b'{"id": {"a": 1}}\n\n{"id": 2}\n',
        b'\xef\xbb\xbf{"id": 1}\n{"id": 2}\n',
    ],
)
def test_where_no_extension_tells_lines_of_json_are_ndjson(head: bytes) -> None:
    assert detect(head, "file") == FileType("data", "application/x-ndjson")
    assert detect(head, "a.txt") == FileType("text", "text/plain")


@pytest.mark.parametrize(
    "head",
    [
        b"{curly} prose",
        b"[1] a footnote",
        b"[x] done",
        b"42",
        b'"quoted"',
        b"{",
        b"[[Start]] of a wiki",
        b"< 5 and > 3",
    ],
)
def test_without_an_extension_other_text_is_text(head: bytes) -> None:
    assert detect(head, "file") == FileType("text", "text/plain")


def test_a_broken_document_that_is_called_json_is_json_so_that_it_is_told() -> None:
    assert detect(b"no json at all", "order.json").family == "data"


TABLE = 'id,name,price\n1,"Smith, John",1.5\n2,"Doe, Jane",2\n3,"with\nlines",3\n'


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        (TABLE, "text/csv"),
        (TABLE.replace(",", ";"), "text/csv"),
        (TABLE.replace(",", "|"), "text/csv"),
        (TABLE.replace(",", "\t"), "text/tab-separated-values"),
        (TABLE.replace("\n", "\r\n"), "text/csv"),
        ("\ufeff" + TABLE, "text/csv"),
        ("id,näme\n" + "1,Müller\n" * 2_000, "text/csv"),
        ("id,name,price\n" + "100,ab,1.5\n" * 2_000, "text/csv"),
        ('"id","first name"\n1,a\n2,b\n', "text/csv"),
    ],
)
@pytest.mark.parametrize("filename", ["file", "export.dat", "export.csv.1"])
def test_where_no_extension_tells_a_table_is_csv(text: str, media_type: str, filename: str) -> None:
    assert detect(text.encode(), filename) == FileType("data", media_type)
    assert detect(text.encode("utf-16"), filename) == FileType("data", media_type)
    assert detect(text.encode(), "a.txt").family == "text"


@pytest.mark.parametrize(
    "text",
    [
        "Roses are red, violets blue,\nSugar is sweet, and so are you,\nAs is the end, the start is too,\n",
        "Dear all,\nsee you soon,\nyours,\n",
        "Dear all,friends\nit is late, I know\nso good night, all\n",
        "2024-01-01 12:00:00,123 INFO on\n2024-01-01 12:00:01,124 INFO up\n2024-01-01 12:00:02,125 INFO\n",
        "int a = 1;\nint b = 2;\nint c = 3;\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n",
        "id,name\n1,a\n",
        "a,b\n1,2\n3,4,5\n",
        "a,a\n1,2\n3,4\n",
        "one\ntwo\nthree\n",
        "",
    ],
)
def test_prose_logs_and_source_code_are_no_tables(text: str) -> None:
    assert detect(text.encode(), "file") == FileType("text", "text/plain")


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        ("<!DOCTYPE html>\n<html></html>", "text/html"),
        ("  <HTML><body>x", "text/html"),
        ("<!-- hello -->\n<html>", "text/html"),
        ("<script>alert(1)</script>", "text/html"),
        ("<!DOCTYPE html>\n<main>x", "text/html"),
        ("<?xml version='1.0'?>\n<html >", "text/html"),
        ("<svg/>", "image/svg+xml"),
        ("<svg xmlns='http://www.w3.org/2000/svg' onload='x()'></svg>", "image/svg+xml"),
        ("<?xml version='1.0'?>\n<!-- a --><!-- b -->\n<svg >", "image/svg+xml"),
        (
            "<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg >",
            "image/svg+xml",
        ),
        ("<?xml version='1.0'?><svg:svg xmlns:svg='x'>", "image/svg+xml"),
        ("<?xml version='1.0'?><rss></rss>", "text/xml"),
    ],
)
@pytest.mark.parametrize("filename", ["file", "photo.jpg", "photo.png"])
def test_markup_in_disguise_is_markup_and_never_an_image(text: str, media_type: str, filename: str) -> None:
    assert detect(text.encode(), filename) == FileType("text", media_type)
    assert detect(text.encode(), "notes.txt") == FileType("text", "text/plain")


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_utf_16_with_its_mark_is_text_for_all_its_zeros(mark: bytes) -> None:
    encoding = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"

    assert detect(mark + "plain".encode(encoding), "a.txt").media_type == "text/plain"
    assert detect(mark + '{"a": 1}'.encode(encoding), "a.json").media_type == "application/json"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_text_where_every_other_byte_is_zero(encoding: str) -> None:
    assert detect("Grüße, in plain words.\r\n".encode(encoding), "a.txt") == FileType("text", "text/plain")
    assert detect('{"id": 1}\n'.encode(encoding), "file") == FileType("data", "application/json")
    assert detect("a\0b\0c\0d\0e\0".encode(encoding), "a.txt").family == "other"
    assert detect("\x01\x02\x03\x04\x05".encode(encoding), "a.txt").family == "other"
    assert detect("abc".encode(encoding), "a.txt").family == "other"
    assert detect("A\u8141\u8141".encode(encoding) * 20, "a.txt").family == "other"


@pytest.mark.parametrize("text", ["tab\tand\r\nlines\x0c", "\x1b$B日本\x1b(B"])
def test_the_control_characters_that_texts_do_hold_are_allowed(text: str) -> None:
    assert detect(text.encode(), "a.txt").family == "text"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
def test_text_in_older_encodings_is_text(encoding: str) -> None:
    assert detect("Fünf Vögel über Köln".encode(encoding), "file") == FileType("text", "text/plain")


def test_nothing_at_all_is_empty_text() -> None:
    assert detect(b"", "file") == FileType("text", "text/plain")


@pytest.mark.parametrize(
    "head",
    [
        b"PK\x03\x04" + b"\xff" * 100,
        b"PK\x03\x04" * 16_000,
        ftyp(b"mif1", *[b"none"] * 16_000),
        b"<!--" * 16_000,
        b"<!doctype" + b"[ ]" * 20_000,
        b'{"' + b"}" * 60_000,
        b'"' * 65_535,
        b"a," * 32_000,
        b"\xff\xfb\x90\x64" * 16_000,
    ],
)
def test_what_is_made_to_be_slow_is_looked_at_as_quickly(head: bytes) -> None:
    """None of these comes to its end if a step of the work goes over all that is left."""
    for _ in range(100):
        detect(head[:HEAD_BYTES], "file")


@hypothesis_settings(max_examples=200)
@given(st.binary(max_size=200), st.text(max_size=40))
@example(b"\xff\xfe", "\x00")
@example(b"{", ".json")
def test_no_bytes_and_no_name_raise_and_a_processor_is_always_there(head: bytes, filename: str) -> None:
    found = detect(head, filename)

    assert found.family in {*REGISTRY, "image"}
    assert found.media_type.count("/") == 1


@hypothesis_settings(max_examples=200)
@given(
    st.sampled_from([head for head, _ in IMAGES + PDFS + SOUNDS + FILMS + OTHERS]),
    st.integers(0, 600),
    st.integers(0, 255),
    st.integers(0, 600),
)
def test_no_damage_raises(head: bytes, at: int, byte: int, length: int) -> None:
    broken = bytearray(head)
    broken[at % len(broken)] = byte

    assert detect(bytes(broken[:length]), "file").media_type


@hypothesis_settings(max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=100))
def test_text_is_text_in_any_language(text: str) -> None:
    formats = ("%PDF-", "%!PS", "{\\rtf", "#!/", "#! /")
    assert text.startswith(formats) or detect(text.encode(), "a.txt").family == "text"
