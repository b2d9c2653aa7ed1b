"""A good file and several bad ones of every family, through the deployed functions: what each one ends as."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from ops.stack import LocalStack
from tests.files import pdfs, pictures
from tests.stack.user import User, eventually

PHOTO = pictures.with_segments(
    pictures.encoded(pictures.corners(), "jpeg"), pictures.segment(0xE1, pictures.exif(orientation=6))
)
PNG = pictures.encoded(pictures.corners(), "png")
LETTER = pdfs.with_lines("Dear reader", "Yours")
PAGE = b"<!doctype html><script src='http://127.0.0.1:1/x'></script><img src='file:///etc/passwd'>"
DRAWING = (
    b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/>'
    b'<image href="http://127.0.0.1:1/x"/></svg>'
)
FORM = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X %d 0 R>>>>"
NESTED = [pdfs.stream(b"/X Do " * 10, FORM % (9 + level)) for level in range(12)] + [
    pdfs.stream(b"0 0 m", FORM % 8)
]
"""Forms that draw each the next one ten times: a million millions in all."""


@dataclass(frozen=True)
class Case:
    name: str
    body: bytes
    status: str
    code: str = ""
    """One of these, with spaces between them."""
    type: str | None = None
    outputs: set[str] = field(default_factory=set)

    @property
    def codes(self) -> list[str]:
        return self.code.split(" ")


CASES = [
    # Pictures
    Case("photo.jpg", PHOTO, "COMPLETED", type="image/jpeg", outputs={"thumbnail.webp", "preview.jpg"}),
    Case(
        "named-wrongly.txt.exe", PNG, "COMPLETED", type="image/png", outputs={"thumbnail.webp", "preview.jpg"}
    ),
    Case(
        "with-a-page.jpg",
        PHOTO + PAGE,
        "COMPLETED",
        type="image/jpeg",
        outputs={"thumbnail.webp", "preview.jpg"},
    ),
    Case(
        "wide.png",
        pictures.png(60_000, 1),
        "COMPLETED",
        type="image/png",
        outputs={"thumbnail.webp", "preview.jpg"},
    ),
    Case("cut-off.jpg", PHOTO[: len(PHOTO) // 2], "REJECTED", "corrupt_image"),
    Case("cut-off.png", PNG[:-30], "REJECTED", "corrupt_image"),
    Case("bomb.png", pictures.png(60_000, 60_000, pixels=b""), "REJECTED", "too_many_pixels"),
    Case(
        "square.png",
        pictures.png(50_000, 50_000, pixels=pictures.zeros_deflated(64)),
        "REJECTED",
        "too_many_pixels",
    ),
    # PDF
    Case(
        "letter.pdf",
        LETTER,
        "COMPLETED",
        type="application/pdf",
        outputs={"text.txt", "preview.jpg", "thumbnail.webp"},
    ),
    Case("secret.pdf", pdfs.encrypted("Hush", password="open sesame"), "COMPLETED", type="application/pdf"),
    Case("cut-off.pdf", LETTER[:60], "REJECTED", "corrupt_pdf"),
    Case(
        "endless.pdf",
        pdfs.of_pages([b"/X Do"], resources=b"/XObject<</X 8 0 R>>", more=NESTED),
        "FAILED",
        "decode_timeout decode_out_of_memory decode_crashed",
    ),
    # Data
    Case(
        "order.json", b'\xef\xbb\xbf{"id": "families-1", "total": 1.10}', "COMPLETED", type="application/json"
    ),
    Case(
        "lines.ndjson",
        b'{"id": "families-2"}\n[1]\n',
        "COMPLETED",
        type="application/x-ndjson",
        outputs={"sample.json"},
    ),
    Case(
        "people.csv",
        "name;age\nÅsa;36\n".encode("utf-16"),
        "COMPLETED",
        type="text/csv",
        outputs={"sample.json"},
    ),
    Case("broken.json", b'{"id": 1,\n "n": }', "REJECTED", "invalid_json"),
    Case("broken.ndjson", b'{"id": 1}\n{"id": }\n', "REJECTED", "invalid_json"),
    Case("deep.json", b"[" * 100_000, "REJECTED", "too_deep"),
    Case("unclosed.csv", b'a,b\n1,"2\n3,4\n', "REJECTED", "invalid_csv"),
    # Text
    Case("notes.txt", "Grüße".encode("latin-1"), "COMPLETED", type="text/plain", outputs={"text.txt"}),
    Case("page.jpg", PAGE, "COMPLETED", type="text/html", outputs={"text.txt"}),
    Case("drawing.png", DRAWING, "COMPLETED", type="image/svg+xml", outputs={"text.txt"}),
    Case("belied.txt", b"\xff\xfea", "REJECTED", "broken_encoding"),
    # Anything else
    Case(
        "invoice.pdf",
        b"MZ\x90\x00" + bytes(60),
        "COMPLETED",
        type="application/vnd.microsoft.portable-executable",
    ),
    Case("archive.gz", gzip.compress(bytes(10_000_000)), "COMPLETED", type="application/gzip"),
    Case("nothing.jpg", b"", "REJECTED", "empty_file"),
]


def test_every_file_ends_as_it_must_and_leaves_nothing_open(
    stack: LocalStack, figure: Callable[[str], None]
) -> None:
    user = User(stack)
    signed = [user.upload(case.body, filename=case.name) for case in CASES]

    jobs = [user.ended(one["jobId"], patience=180) for one in signed]

    wrong = {
        case.name: (job["status"], job.get("error"))
        for case, job in zip(CASES, jobs, strict=True)
        if job["status"] != case.status or (job.get("error") or {"code": ""})["code"] not in case.codes
    }
    assert wrong == {}
    for case, job in zip(CASES, jobs, strict=True):
        if case.status == "COMPLETED":
            assert (job["detectedType"], {output["name"] for output in job["outputs"]}) == (
                case.type,
                case.outputs,
            ), case
        else:
            assert job["error"]["message"].endswith((".", "…")), case
            assert job["outputs"] == [], case
    left = [key for key in user.keys("uploads/") if any(one["jobId"] in key for one in signed)]
    eventually(lambda: not [k for k in left if k in user.keys("uploads/")], "nothing is left under uploads/")
    ended = Counter(job["status"] for job in jobs)
    figure(f"{len(CASES)} good and bad files of every family: {dict(ended)}")


def test_where_a_photo_was_taken_stays_in_the_original_alone(stack: LocalStack) -> None:
    user = User(stack)
    assert b"Canon" in PHOTO

    job = user.ended(user.upload(PHOTO, filename="photo.jpg")["jobId"])

    assert user.object(job["key"]) == PHOTO
    assert "gps" not in json.dumps(job).lower()
    for output in job["outputs"]:
        body = user.object(output["key"])
        assert not [mark for mark in (b"Exif", b"Canon", b"adobe") if mark in body]
    width, height = job["metadata"]["width"], job["metadata"]["height"]
    thumbnail = pictures.decoded(
        user.object(next(o["key"] for o in job["outputs"] if o["name"].endswith("webp")))
    )
    assert (thumbnail.width, thumbnail.height) == (width, height) == (64, 96)


@pytest.mark.parametrize("name", ["page.html", "drawing.svg"])
def test_what_could_run_in_a_browser_is_never_shown_by_one(stack: LocalStack, name: str) -> None:
    user = User(stack)
    job = user.ended(user.upload(PAGE if name == "page.html" else DRAWING, filename=name)["jobId"])

    for file in ("original", "text.txt"):
        url = user.call("GET", f"/jobs/{job['jobId']}/files/{file}", Accept="application/json").json["url"]
        assert "attachment" in url
