"""Thumbnail and preview with Pillow, as most people write them."""

import io

from PIL import Image, ImageOps


def thumbnail(path: str) -> bytes:
    return _fitted(path, 512, "WEBP")


def preview(path: str) -> bytes:
    return _fitted(path, 2048, "JPEG")


def shrunk_on_load(path: str) -> None:
    """Both, as somebody writes them who knows that `thumbnail` has a JPEG decoded at a smaller scale, while
    nothing has asked for its pixels."""
    for side, kind in ((512, "WEBP"), (2048, "JPEG")):
        with Image.open(path) as opened:
            opened.thumbnail((side, side), Image.Resampling.LANCZOS)
            ImageOps.exif_transpose(opened).save(io.BytesIO(), kind, quality=80)


def _fitted(path: str, side: int, kind: str) -> bytes:
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, kind, quality=80)
        return buffer.getvalue()
