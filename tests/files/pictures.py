"""Pictures of every kind, encoded by libvips or put together by hand where it would not do such a thing."""

import base64
import struct
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import pyvips

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 180, 40), (40, 60, 220), (255, 255, 255)

MEDIA_TYPES = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "tiff": "image/tiff",
    "avif": "image/avif",
}

HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAb5tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ADRpbG9jAAAAAERAAAIAAQAAAAAB4gABAAAAAAAAAB0AAgAAAAAB/wABAAAAAAAAAFwAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAA"
    "AAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAA"
    "kAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq"
    "5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xh"
    "cAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAA"
    "ABppcmVmAAAAAAAAAA5jZHNjAAIAAQABAAAAgW1kYXQAAAAZKAGvE4D1J4E//+BJR/+x7nh+BYF+efLU8AAAAAZFeGlmAABNTQAq"
    "AAAACAACAQ8AAgAAAAYAAAAmh2kABAAAAAEAAAAsAAAAAEFwcGxlAAABkAMAAgAAABQAAAA+AAAAADIwMjQ6MDU6MDYgMDc6MDg6"
    "MDkA"
)
"""64 by 48 pixels, encoded by x265, with date and camera in its EXIF: this libvips has no such encoder."""


def plain(width: int, height: int, colour: Sequence[float] = RED) -> pyvips.Image:
    """One colour, of as many bands as are given."""
    image = (pyvips.Image.black(width, height, bands=len(colour)) + list(colour)).cast("uchar")
    return image.copy(interpretation="srgb" if len(colour) > 2 else "b-w")


def corners(width: int = 96, height: int = 64) -> pyvips.Image:
    """Red, green, blue and white quarters, from the left to the right and from the top down."""
    quarters = [plain(width // 2, height // 2, colour) for colour in (RED, GREEN, BLUE, WHITE)]
    return pyvips.Image.arrayjoin(quarters, across=2)


def noise(width: int, height: int) -> pyvips.Image:
    bands = [pyvips.Image.gaussnoise(width, height, mean=128, sigma=40, seed=seed) for seed in (1, 2, 3)]
    return bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb")


def with_blob(image: pyvips.Image, name: str, blob: bytes) -> pyvips.Image:
    """A copy with one of libvips' fields: `exif-data`, `xmp-data`, `iptc-data`, `icc-profile-data`."""
    copy = image.copy()
    copy.set_type(pyvips.GValue.blob_type, name, blob)
    return copy


def encoded(image: pyvips.Image, kind: str, **options: Any) -> bytes:
    if kind == "avif":
        options = {"compression": "av1", "effort": 0, "Q": 90, **options}
        return bytes(image.heifsave_buffer(**options))
    if kind in ("gif", "webp"):
        options = {"effort": 1, **options}
    if kind == "jpeg":
        options = {"Q": 95, "subsample_mode": "off", **options}
    return bytes(getattr(image, f"{kind}save_buffer")(**options))


def decoded(body: bytes) -> pyvips.Image:
    """A JPEG or WebP, as it lies in the file: without turning it."""
    loader = pyvips.Image.jpegload_buffer if body.startswith(b"\xff\xd8") else pyvips.Image.webpload_buffer
    return loader(body)


def exif(
    *,
    orientation: int = 1,
    make: bytes = b"Canon",
    model: bytes = b"EOS 5D",
    taken: bytes = b"2024:05:06 07:08:09",
    offset: bytes = b"+02:00",
) -> bytes:
    """`Exif`, then a TIFF structure (CIPA DC-008, section 4.5) with a place on earth in it."""
    ascii_, short, long, rational = 2, 3, 4, 5
    tags: list[list[tuple[int, int, bytes]]] = [
        [
            (0x010F, ascii_, make + b"\0"),
            (0x0110, ascii_, model + b"\0"),
            (0x0112, short, struct.pack("<H", orientation)),
            (0x8769, long, b"<exif>"),
            (0x8825, long, b"<gps>"),
        ],
        [(0x9003, ascii_, taken + b"\0"), (0x9011, ascii_, offset + b"\0")],
        [
            (1, ascii_, b"N\0"),
            (2, rational, struct.pack("<6I", 48, 1, 51, 1, 29, 1)),
            (3, ascii_, b"E\0"),
            (4, rational, struct.pack("<6I", 2, 1, 17, 1, 40, 1)),
        ],
    ]
    starts = [8]
    for directory in tags:
        starts.append(starts[-1] + 2 + 12 * len(directory) + 4)
    links = {b"<exif>": struct.pack("<I", starts[1]), b"<gps>": struct.pack("<I", starts[2])}
    directories, values = b"", b""
    for directory in tags:
        directories += struct.pack("<H", len(directory))
        for tag, kind, value in directory:
            content = links.get(value, value)
            count = len(content) // {ascii_: 1, short: 2, long: 4, rational: 8}[kind]
            directories += struct.pack("<HHI", tag, kind, count)
            if len(content) <= 4:
                directories += content.ljust(4, b"\0")
            else:
                directories += struct.pack("<I", starts[-1] + len(values))
                values += content
        directories += struct.pack("<I", 0)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + directories + values


def segment(marker: int, content: bytes) -> bytes:
    """Of a JPEG (ITU-T T.81, section B.1.1.4)."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def chunk(kind: bytes, content: bytes) -> bytes:
    """Of a PNG (W3C PNG, section 5.3)."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes, pixels: bytes | None = None) -> bytes:
    """RGB of 8 bits, mid-grey; its data are of that size unless given, deflated, as `pixels`."""
    if pixels is None:
        pixels = zlib.compress((b"\0" + b"\x80" * 3 * width) * height, 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@cache
def zeros_deflated(mebibytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(mebibytes)) + packer.flush()


def gif(frames: int, width: int = 1, height: int = 1) -> bytes:
    """Frames of so many pixels, of which but one is there (GIF89a, section 20)."""
    control = b"\x21\xf9\x04\x00\x0a\x00\x00\x00"
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00"
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return screen + (control + image) * frames + b";"


def webp(frames: int) -> bytes:
    """An animation of one-pixel frames (RFC 9649, section 2.7)."""
    still = encoded(plain(1, 1), "webp", lossless=True, keep="none")[12:]
    place = bytes(12) + b"\x64\0\0" + b"\0"
    frame = b"ANMF" + struct.pack("<I", len(place + still)) + place + still
    head = b"VP8X" + struct.pack("<IB9x", 10, 2) + b"ANIM" + struct.pack("<I6x", 6)
    body = b"WEBP" + head + frame * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(width: int, height: int, *, strip_bytes: int = 16, pages: int = 1) -> bytes:
    """Grey pages that share sixteen bytes of pixels, whatever size they claim (TIFF 6.0, section 2)."""
    pixels = b"\x80" * 16
    body = b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels
    for page in range(pages):
        entries = [
            (256, width),
            (257, height),
            (258, 8),
            (259, 1),
            (262, 1),
            (273, 8),
            (277, 1),
            (278, height),
            (279, strip_bytes),
        ]
        following = len(body) + 2 + 12 * len(entries) + 4 if page < pages - 1 else 0
        body += struct.pack("<H", len(entries))
        body += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
        body += struct.pack("<I", following)
    return body
