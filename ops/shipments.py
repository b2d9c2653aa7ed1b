"""What `make demo` sends, and what must become of each."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

FILM = Path(__file__).with_name("harbor.mkv")
"""Three seconds of a drawn ship, H.264 of 1,920 by 1,080 pixels, and a synthetic voice (Flite) in Opus."""

# A small PDF (ISO 32000-1, annex H), without the table of its objects, which readers make up for.
LETTER = b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R
  /Resources<</Font<</F <</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>> endobj
4 0 obj <</Length 44>> stream
BT /F 24 Tf 72 760 Td (Dear reader) Tj ET
endstream endobj
trailer <</Root 1 0 R/Size 5>>
%%EOF
"""


@dataclass(frozen=True)
class Shipment:
    """A file to send, and what must have become of it."""

    name: str
    body: bytes
    status: str
    expect: str
    """What is special about it, in words."""
    drop: str | None = None
    """The key to drop it at; None sends it by /presign."""
    presign: dict[str, Any] | None = field(default_factory=dict)
    """What is asked of /presign besides the file's name; None asks with no body at all."""
    events: dict[str, Any] = field(default_factory=dict)
    """What the events table must hold: id → data."""
    outputs: dict[str, str | None] = field(default_factory=dict)
    """What must be made of it: name → its very text, where that is known."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Some of what must be known of it."""
    said: str | None = None
    """What must be in the transcript."""
    private: tuple[bytes, ...] = ()
    """What none of the outputs may hold."""
    error: str | None = None


def shipments() -> tuple[Shipment, ...]:
    return (
        Shipment(
            "order.json",
            b'{"id": "order-1", "total": 12.50, "weight": 0.1234567890123456789012345678901234567}',
            "COMPLETED",
            "an order, sent as the classic lab does: POST /presign with no body",
            presign=None,
            events={
                "order-1": {
                    "id": "order-1",
                    "total": Decimal("12.50"),
                    "weight": Decimal("0.1234567890123456789012345678901234567"),
                }
            },
        ),
        Shipment(
            "orders.json",
            b'[{"id": "order-2", "total": 7}, {"id": "order-3", "total": 19.99}]',
            "COMPLETED",
            "two orders in one document, dropped into incoming/ by a machine",
            drop="incoming/orders.json",
            events={
                "order-2": {"id": "order-2", "total": Decimal(7)},
                "order-3": {"id": "order-3", "total": Decimal("19.99")},
            },
        ),
        Shipment(
            "notes.txt",
            "Grüße\r\naus Köln\r\n".encode("latin-1"),
            "COMPLETED",
            "a text in Latin-1 with Windows line ends",
            presign={"contentType": "text/plain"},
            outputs={"text.txt": "Grüße\naus Köln\n"},
        ),
        Shipment(
            "people.csv",
            b"name,age\nAda,36\nGrace,85\n",
            "COMPLETED",
            "a CSV, its length declared and signed",
            presign={"contentType": "text/csv", "size": 25},
            outputs={"sample.json": None},
            metadata={"rows": 2, "columns": 2, "header": True},
        ),
        Shipment(
            "Fête 100% + café 🎉.txt",
            b"Everything in a name that URLs find hard.\n",
            "COMPLETED",
            "a name with spaces, +, %, é and an emoji",
            outputs={"text.txt": "Everything in a name that URLs find hard.\n"},
        ),
        Shipment(
            "photo.jpg",
            _photo(),
            "COMPLETED",
            "a photo, taken with the camera on its side, and telling where",
            outputs={"thumbnail.webp": None, "preview.jpg": None},
            metadata={"width": 600, "height": 800, "format": "jpeg", "camera": "Waybill Demo"},
            private=(b"Exif", b"Demo"),
        ),
        Shipment(
            "letter.pdf",
            LETTER,
            "COMPLETED",
            "a letter as PDF",
            outputs={"text.txt": "Dear reader", "preview.jpg": None, "thumbnail.webp": None},
            metadata={"pages": 1, "encrypted": False},
        ),
        Shipment(
            "harbor.mkv",
            FILM.read_bytes(),
            "COMPLETED",
            "a short film in which somebody speaks, and which tells where: work for the state machine",
            outputs={
                "video.mp4": None,
                "poster.jpg": None,
                "transcript.json": None,
                "transcript.txt": None,
                "transcript.vtt": None,
            },
            metadata={"kind": "video", "width": 1920, "height": 1080, "videoCodec": "h264"},
            said="the ship sailed into the harbor",
            private=(b"+48.8582", b"The harbor"),
        ),
        Shipment(
            "report.docx.pdf",
            b"MZ\x90\x00" + bytes(60),
            "COMPLETED",
            "a program that calls itself a PDF: it is kept as what it is",
        ),
        Shipment(
            "cut-off.jpg",
            _photo()[:5_000],
            "REJECTED",
            "a photo of which the end is missing",
            error="corrupt_image",
        ),
        Shipment(
            "broken.json",
            b'{"id": "order-4",\n "total": }',
            "REJECTED",
            "a document that breaks in its second line",
            error="invalid_json",
        ),
    )


def _photo() -> bytes:
    """800 by 600 pixels as they lie in the file, to be turned by a right angle; with EXIF and a place."""
    import pyvips

    across = pyvips.Image.xyz(800, 600)
    picture = (
        across[0]
        .linear(0.3, 0)
        .bandjoin([across[1].linear(0.4, 0), 90])
        .cast("uchar")
        .copy(interpretation="srgb")
    )
    said = {
        "exif-ifd0-Orientation": "6",
        "exif-ifd0-Make": "Waybill",
        "exif-ifd0-Model": "Demo",
        "exif-ifd2-DateTimeOriginal": "2026:05:04 10:20:30",
        "exif-ifd3-GPSLatitude": "48/1 51/1 29/1",
        "exif-ifd3-GPSLatitudeRef": "N",
    }
    for name, value in said.items():
        picture.set_type(pyvips.GValue.gstr_type, name, value)
    picture.set_type(pyvips.GValue.gint_type, "orientation", 6)
    body: bytes = picture.jpegsave_buffer(Q=80)
    return body
