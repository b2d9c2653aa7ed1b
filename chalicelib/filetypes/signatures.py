"""What the formats that are not text begin with, as their specifications and IANA's registrations say."""

import re
import struct
from collections.abc import Callable

Container = Callable[[bytes], str | None]
"""Looks into a format that several types share; None where it is none of them after all."""

MAX_JUNK_BYTES = 1024
"""What readers of PDF skip before its header (Adobe's PDF Reference 1.7, appendix H, note 13)."""

# What is looked at within the head, whatever a file claims to hold.
MAX_BRANDS = 64
MAX_ENTRIES = 100
MAX_TRACKS_BYTES = 8 * 1024

OLE = "application/x-ole-storage"
ZIP = "application/zip"
OPEN_XML = "application/vnd.openxmlformats-officedocument."
OPEN_DOCUMENT = "application/vnd.oasis.opendocument."

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    # Images
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00\x10\x00\x00\x00CR", "image/x-canon-cr2"),  # before the TIFF that it also is
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"II+\x00\x08\x00\x00\x00", "image/tiff"),
    (0, b"MM\x00+\x00\x08\x00\x00", "image/tiff"),
    (0, b"8BPS\x00", "image/vnd.adobe.photoshop"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"DDS |\x00\x00\x00", "image/vnd.ms-dds"),
    (0, b"\x76\x2f\x31\x01", "image/x-exr"),
    (0, b"icns", "image/icns"),
    (0, b"AT&TFORM", "image/vnd.djvu"),
    # Sound and films
    (0, b"fLaC", "audio/flac"),
    (0, b"MThd\x00\x00\x00\x06", "audio/midi"),
    (0, b".snd\x00\x00", "audio/basic"),
    (0, b"caff\x00\x01", "audio/x-caf"),
    (0, b"#!AMR\n", "audio/amr"),
    (0, b"#!AMR-WB\n", "audio/amr"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", "application/vnd.ms-asf"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (4, b"moov", "video/quicktime"),  # from before files had a brand
    (4, b"mdat", "video/quicktime"),
    (4, b"wide", "video/quicktime"),
    # Archives
    (0, b"PK\x05\x06", ZIP),  # with nothing in it
    (0, b"PK\x07\x08", ZIP),  # a part of several
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"\x04\x22\x4d\x18", "application/x-lz4"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"MSCF\x00\x00\x00\x00", "application/vnd.ms-cab-compressed"),
    (0, b"!<arch>\ndebian-binary", "application/vnd.debian.binary-package"),
    (0, b"\xed\xab\xee\xdb", "application/x-rpm"),
    (32769, b"CD001", "application/vnd.efi.iso"),
    # Programs
    (0, b"MZ", "application/vnd.microsoft.portable-executable"),
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (0, b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (0, b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\x00asm\x01\x00\x00\x00", "application/wasm"),
    (0, b"dex\n03", "application/vnd.android.dex"),
    (0, b"L\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut"),
    (0, b"FWS", "application/vnd.adobe.flash.movie"),
    (0, b"CWS", "application/vnd.adobe.flash.movie"),
    # Fonts
    (0, b"OTTO\x00", "font/otf"),
    (0, b"\x00\x01\x00\x00\x00", "font/ttf"),
    (0, b"ttcf\x00", "font/collection"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    # Tables
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"ARROW1\x00\x00", "application/vnd.apache.arrow.file"),
    (0, b"Obj\x01", "application/vnd.apache.avro"),
    (0, b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (0, b"\x93NUMPY", "application/x-npy"),
    (0, b"\xd4\xc3\xb2\xa1", "application/vnd.tcpdump.pcap"),
    (0, b"\xa1\xb2\xc3\xd4", "application/vnd.tcpdump.pcap"),
)

# Letters may begin prose as well as a file ("A TIDAL WAVE"): in what is text they prove nothing.
_NEVER_TEXT = tuple(signature for signature in _SIGNATURES if not signature[1].isascii())

# These are text themselves, at least at their beginning.
_TEXTUAL: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"{\\rtf", "application/rtf"),
    (b"%!PS", "application/postscript"),
    (b"#!/", "application/x-shellscript"),
    (b"#! /", "application/x-shellscript"),
)

# Where even a format's own bytes leave a choice, the name decides: extension → media type.
_READINGS: dict[str, dict[str, str]] = {
    OLE: {
        ".doc": "application/msword",
        ".msg": "application/vnd.ms-outlook",
        ".msi": "application/x-msi",
        ".ppt": "application/vnd.ms-powerpoint",
        ".xls": "application/vnd.ms-excel",
    },
    "image/tiff": {
        ".arw": "image/x-sony-arw",
        ".dng": "image/x-adobe-dng",
        ".nef": "image/x-nikon-nef",
        ".pef": "image/x-pentax-pef",
    },
    "video/mp4": {".m4a": "audio/mp4", ".m4b": "audio/mp4"},
    "video/3gpp": {".m4a": "audio/mp4"},
}


def media_type(head: bytes, extension: str, *, is_text: bool) -> str | None:
    """The media type of what is not text, and of the formats that only look like it; None for all else."""
    for signature, found in _TEXTUAL:
        if head.startswith(signature):
            return found
    for offset, signature, found in _NEVER_TEXT if is_text else _SIGNATURES:
        if head.startswith(signature, offset):
            return _READINGS.get(found, {}).get(extension, found)
    if not is_text:
        for offset, signature, container in _CONTAINERS:
            if head.startswith(signature, offset) and (inner := container(head)):
                return _READINGS.get(inner, {}).get(extension, inner)
    return "application/pdf" if _is_late_pdf(head, is_text=is_text) else None


_PDF_HEADER = re.compile(rb"%PDF-[12]\.\d")
_PDF_OBJECT = re.compile(rb"^\d+ \d+ obj\b", re.MULTILINE)


def _is_late_pdf(head: bytes, *, is_text: bool) -> bool:
    """A header behind some junk; in text, there must be an object as well, and not only talk of one."""
    found = _PDF_HEADER.search(head, 0, MAX_JUNK_BYTES + len("%PDF-1.7"))
    return found is not None and (
        not is_text or _PDF_OBJECT.search(head, found.end(), found.end() + MAX_JUNK_BYTES) is not None
    )


def _riff(head: bytes) -> str | None:
    return {b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo", b"WEBP": "image/webp"}.get(head[8:12])


def _iff(head: bytes) -> str | None:
    return "audio/aiff" if head[8:12] in (b"AIFF", b"AIFC") else None


_HEIF, _HEIC, _AVIF = "image/heif", "image/heic", "image/avif"

# Registered at mp4ra.org. HEIF's own brands say nothing of the codec: a compatible brand does.
_BRANDS = {
    **dict.fromkeys((b"mif1", b"mif2", b"msf1"), _HEIF),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), _HEIC),
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "audio/mp4"),
    **dict.fromkeys((b"isom", b"mp41", b"mp42", b"avc1", b"dash", b"M4V ", b"M4VH", b"M4VP"), "video/mp4"),
    **dict.fromkeys((b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9"), "video/mp4"),
    b"qt  ": "video/quicktime",
    b"crx ": "image/x-canon-cr3",
    b"jp2 ": "image/jp2",
}


_SOUND_ONLY = {"video/mp4": "audio/mp4", "video/3gpp": "audio/3gpp"}
_HANDLER = re.compile(rb"hdlr.{8}(soun|vide)", re.DOTALL)


def _iso_base_media(head: bytes) -> str:
    """By the brands, and where the description of all tracks lies within the head, by what these are."""
    found = _by_brands(head)
    return _SOUND_ONLY.get(found, found) if _has_sound_alone(head) else found


def _has_sound_alone(head: bytes) -> bool:
    """By the handlers of all tracks (ISO/IEC 14496-12, section 8.4.3); no, where not all of them are here."""
    at = 0
    for _ in range(MAX_ENTRIES):
        size, kind = int.from_bytes(head[at : at + 4]), head[at + 4 : at + 8]
        if kind == b"moov":
            whole = size >= 8 and at + size <= len(head)
            return whole and set(_HANDLER.findall(head, at, at + size)) == {b"soun"}
        if size < 8:  # until the end of the file, or of 64 bits, as only what holds the samples is
            break
        at += size
    return False


def _by_brands(head: bytes) -> str:
    """In the `ftyp` box (ISO/IEC 14496-12, section 4.3)."""
    major = _brand(head[8:12])
    end = min(int.from_bytes(head[:4]), 16 + 4 * MAX_BRANDS, len(head))
    compatible = [_brand(head[at : at + 4]) for at in range(16, end, 4)]
    if major == _HEIF:
        return next((found for found in compatible if found in (_HEIC, _AVIF)), _HEIF)
    return major or next(filter(None, compatible), "application/mp4")


def _brand(brand: bytes) -> str | None:
    if brand.startswith((b"3g2", b"3gp")):
        return "video/3gpp2" if brand.startswith(b"3g2") else "video/3gpp"
    return _BRANDS.get(brand)


_DOC_TYPE_WEBM = re.compile(rb"\x42\x82(?:\x84|\x40\x04)webm")
_CODEC_ID = re.compile(rb"\x86[\x80-\xbf]([AV])_")


def _matroska(head: bytes) -> str:
    """By DocType and, of the tracks, the CodecID (RFC 9559, section 5.1.4.1.21)."""
    kinds = set(_CODEC_ID.findall(head, 0, MAX_TRACKS_BYTES))
    subtype = "webm" if _DOC_TYPE_WEBM.search(head, 0, 128) else "x-matroska"
    return f"{'audio' if kinds == {b'A'} else 'video'}/{subtype}"


def _ogg(head: bytes) -> str:
    """By the first packet of each stream, all of which come before any other (RFC 3533, section 4)."""
    first = head[:4096]
    if b"\x80theora" in first or b"OVP80" in first or b"\x01video" in first:
        return "video/ogg"
    sounds = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
    return "audio/ogg" if any(sound in first for sound in sounds) else "application/ogg"


def _id3(head: bytes) -> str | None:
    """What follows the tag (ID3v2.4, section 3.1); MP3, where that is beyond the head."""
    if len(head) < 10 or head[3] not in (2, 3, 4) or max(head[6:10]) > 0x7F:
        return None
    end = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    rest = head[end : end + 4]
    if rest == b"fLaC":
        return "audio/flac"
    return "audio/aac" if len(rest) == 4 and rest[0] == 0xFF and rest[1] & 0xF6 == 0xF0 else "audio/mpeg"


def _frames(head: bytes) -> str | None:
    """MP3 or AAC without any header: each frame tells where the next one is."""
    for length, found in ((_mp3_length, "audio/mpeg"), (_adts_length, "audio/aac")):
        at = count = 0
        while count < 3 and (step := length(head[at : at + 7])):
            at += step
            count += 1
        if count == 3 or (count == 2 and at >= len(head)):
            return found
    return None


_MP3_KBITS = (
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
_MP3_HERTZ = (44_100, 48_000, 32_000)


def _mp3_length(header: bytes) -> int:
    """Bytes of the frame with this header (ISO/IEC 11172-3, section 2.4.1.3), 0 if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, bit_rate, frequency = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bit_rate in (0, 15) or frequency == 3:
        return 0
    is_first = version == 3
    hertz = _MP3_HERTZ[frequency] >> (0 if is_first else 1 if version == 2 else 2)
    kbits = _MP3_KBITS[is_first][bit_rate - 1]
    return (144 if is_first else 72) * 1000 * kbits // hertz + (header[2] >> 1 & 1)


def _adts_length(header: bytes) -> int:
    """Bytes of the frame with this header (ISO/IEC 13818-7, section 6.2), 0 if it is none."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0


def _transport_stream(head: bytes) -> str | None:
    """Packets of 188 bytes (ISO/IEC 13818-1, section 2.4.3), each behind a time stamp of 4 on a disc."""
    for start, step in ((0, 188), (4, 192)):
        if len(head) > start + 2 * step and set(head[start : start + 5 * step : step]) == {0x47}:
            return "video/mp2t"
    return None


def _bitmap(head: bytes) -> str | None:
    """A length in the second header that some version of it has: two letters are not much to go by."""
    return "image/bmp" if int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124) else None


def _icon(head: bytes) -> str | None:
    """By its first entry: at least one, its reserved byte and the upper byte of its planes zero."""
    is_icon = int.from_bytes(head[4:6], "little") > 0 and head[9:10] == b"\x00" == head[11:12]
    return "image/vnd.microsoft.icon" if is_icon else None


def _bzip2(head: bytes) -> str | None:
    return "application/x-bzip2" if head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90") else None


def _class_or_universal(head: bytes) -> str:
    """Java's and Apple's formats begin alike: there a version follows, of at least 45, here a short count."""
    return "application/java-vm" if int.from_bytes(head[6:8]) >= 45 else "application/x-mach-binary"


def _old_tar(head: bytes) -> str | None:
    """From before there was a signature: by the checksum of the first header."""
    digits = head[148:156].strip(b" \x00")
    if len(head) < 512 or not digits or digits.strip(b"01234567"):
        return None
    total = sum(head[:148]) + sum(head[156:512]) + 8 * ord(" ")
    return "application/x-tar" if total == int(digits, 8) else None


# Streams of a compound file, in the UTF-16 of its directory.
_STREAMS = {
    "WordDocument": "application/msword",
    "Workbook": "application/vnd.ms-excel",
    "PowerPoint Document": "application/vnd.ms-powerpoint",
    "__properties_version1.0": "application/vnd.ms-outlook",
}


def _compound(head: bytes) -> str:
    """By the names in the directory, which may well lie beyond the head ([MS-CFB], section 2.6)."""
    for stream, found in _STREAMS.items():
        if (stream + "\0").encode("utf-16-le") in head:
            return found
    return OLE


_OPEN_XML_FOLDERS = {
    "word/": OPEN_XML + "wordprocessingml.document",
    "xl/": OPEN_XML + "spreadsheetml.sheet",
    "ppt/": OPEN_XML + "presentationml.presentation",
}
_PACKAGE = re.compile(rb"application/epub\+zip|application/vnd\.oasis\.opendocument\.[a-z-]+")
_LOCAL_HEADER = struct.Struct("<4x2xHH4x4xLLHH")


def _zip(head: bytes) -> str:
    """By the names of the entries that begin within the head (APPNOTE 6.3.10, section 4.3.7)."""
    names = _entries(head)
    if names[:1] == ["mimetype"] and (package := _PACKAGE.match(head, 38)):
        return package[0].decode()
    if "AndroidManifest.xml" in names:
        return "application/vnd.android.package-archive"
    if "[Content_Types].xml" in names or "_rels/.rels" in names or "docProps/app.xml" in names:
        for folder, found in _OPEN_XML_FOLDERS.items():
            if any(name.startswith(folder) for name in names):
                return found
    return "application/java-archive" if "META-INF/MANIFEST.MF" in names else ZIP


def _entries(head: bytes) -> list[str]:
    names: list[str] = []
    at = 0
    while at >= 0 and len(names) < MAX_ENTRIES and len(head) >= at + 30:
        flags, _method, size, _whole, name_length, extra_length = _LOCAL_HEADER.unpack_from(head, at)
        begin = at + 30
        names.append(head[begin : begin + name_length].decode("utf-8", "replace"))
        # An entry that was written as a stream has its size behind it: look for the next header.
        end = begin + name_length + extra_length + size
        at = head.find(b"PK\x03\x04", end) if flags & 8 else end
        if not head.startswith(b"PK\x03\x04", at):
            break
    return names


_CONTAINERS: tuple[tuple[int, bytes, Container], ...] = (
    (0, b"PK\x03\x04", _zip),
    (4, b"ftyp", _iso_base_media),
    (0, b"RIFF", _riff),
    (0, b"RF64", _riff),
    (0, b"\x1aE\xdf\xa3", _matroska),
    (0, b"OggS", _ogg),
    (0, b"ID3", _id3),
    (0, b"FORM", _iff),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _compound),
    (0, b"\xca\xfe\xba\xbe", _class_or_universal),
    (0, b"BM", _bitmap),
    (0, b"\x00\x00\x01\x00", _icon),
    (0, b"BZh", _bzip2),
    (0, b"\xff", _frames),
    (0, b"", _transport_stream),
    (0, b"", _old_tar),
)
