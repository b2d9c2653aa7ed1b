"""Images: a thumbnail and a preview, upright, in sRGB, and with nothing in them but the picture."""

import logging
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from chalicelib.errors import Rejected
from chalicelib.processors import exif, memory
from chalicelib.processors.base import Output, Result, Source

if TYPE_CHECKING:
    from pyvips import Image

PREVIEW_SIDE = 2048
THUMBNAIL_SIDE = 512
"""The square, in pixels, that each fits into; neither is ever enlarged."""

MAX_FRAMES = 10_000

MAX_DECODED_BYTES = 448 * 1024 * 1024
"""Of a frame that its decoder has to hold as a whole: half of what the process of a decoder may take."""

_LOADERS = {
    "image/jpeg": "jpegload",
    "image/png": "pngload",
    "image/webp": "webpload",
    "image/gif": "gifload",
    "image/tiff": "tiffload",
    "image/avif": "heifload",
    "image/heic": "heifload",
    "image/heif": "heifload",
}
_LOADER_CLASSES = ("Jpeg", "Png", "Webp", "Nsgif", "Tiff", "Heif")

_SAMPLES = ("uchar", "ushort")
_SPACES = ("scrgb", "xyz", "lab", "labs")
"""Where samples of other formats have a scale of their own. Elsewhere, nothing says which number is white."""

_EXIF_ROTATED = range(5, 9)  # orientations that swap width and height (CIPA DC-008, tag 0112)

_DOMINANT_SIDE = 64


def process(source: Source) -> Result:
    """`thumbnail.webp` and `preview.jpg` of the first frame; what is known of the picture.

    A HEIC is described only, with `decoded: false`: the codec of its pixels, HEVC, is not on board.

    Raises:
        Rejected: `too_many_pixels` and `too_many_frames` before anything is decoded, `corrupt_image`,
            `unsupported_image`.
        MemoryError: the limit of the process was too low for the file, which may be a good one.
    """
    vips = _vips()
    try:
        return _processed(source)
    except (vips.Error, UnicodeDecodeError) as error:  # the latter where a decoder quotes the file in it
        vips.vips_lib.vips_error_clear()  # which pyvips then leaves to be part of the next file's
        if memory.ran_out(error):
            raise MemoryError from None
        raise Rejected(
            "The picture cannot be read: it is damaged or incomplete, or written in a rare way. "
            "Upload the original again, or save it as JPEG or PNG and upload that.",
            code="corrupt_image",
        ) from None


def _processed(source: Source) -> Result:
    header = _open(source)
    _check_frames(_frames(header))
    metadata = _described(header, source)
    if _field(header, "heif-compression", "av1") != "av1":
        return Result(metadata={**metadata, "decoded": False})

    _check_samples(header)
    _check_size(header, source.caps.pixels)
    picture = _upright_in_srgb(_shrunk(header, source))
    thumbnail = picture.thumbnail_image(THUMBNAIL_SIDE, height=THUMBNAIL_SIDE, size="down").copy_memory()
    if colour := _dominant_colour(thumbnail):
        metadata["dominantColor"] = colour
    flat = picture.flatten(background=255) if picture.hasalpha() else picture
    return Result(
        metadata=metadata,
        outputs=[
            Output("thumbnail.webp", "image/webp", thumbnail.webpsave_buffer(Q=80, keep="none")),
            Output("preview.jpg", "image/jpeg", flat.jpegsave_buffer(Q=80, keep="none")),
        ],
    )


def _described(header: "Image", source: Source) -> dict[str, Any]:
    """What the header says, the measures as they are to be seen."""
    width, height = header.width, header.height
    if _field(header, "orientation", 1) in _EXIF_ROTATED:
        width, height = height, width
    return {
        "width": width,
        "height": height,
        "format": source.media_type.removeprefix("image/"),
        "frames": _frames(header),
        "hasAlpha": bool(header.hasalpha()),
        **exif.metadata({name: _exif_text(header, name) for name in exif.FIELDS}),
    }


@cache
def _vips() -> Any:
    """libvips with one thread, without a cache, quiet, and with no way in but the loaders of `_LOADERS`."""
    logging.getLogger("pyvips").setLevel(logging.CRITICAL + 1)  # it warns of what is in users' files
    import pyvips

    pyvips.concurrency_set(1)
    pyvips.cache_set_max(0)  # it knows files by their names
    pyvips.operation_block_set("VipsForeignLoad", True)
    for name in _LOADER_CLASSES:
        pyvips.operation_block_set(f"VipsForeignLoad{name}", False)
    pyvips.block_untrusted_set(True)  # closes one of them again, should libvips come to call it unfuzzed
    return pyvips


def _open(source: Source, **options: float) -> "Image":
    """The first frame, or a HEIF's primary image, of which no pixel has been read yet."""
    if not (loader := _LOADERS.get(source.media_type)):
        raise Rejected(
            f"Pictures of the type {source.media_type} cannot be read here: save it as JPEG or PNG.",
            code="unsupported_image",
        )
    if loader == "webpload":  # libwebp takes the square of their number to list them
        _check_frames(source.read().count(b"ANMF"))
    # Of the levels, `error` is the lowest at which a TIFF with strips missing is not filled up with black.
    return _vips().Operation.call(loader, str(source.path), access="sequential", fail_on="error", **options)


def _shrunk(header: "Image", source: Source) -> "Image":
    """The frame, as much smaller as its decoder makes it for nothing, but no smaller than the preview.

    Nor narrower than a pixel, which decoders round down to none.
    """
    shrink = min(max(header.width, header.height) / PREVIEW_SIDE, min(header.width, header.height))
    match source.media_type:
        case "image/jpeg" if shrink >= 2:
            return _open(source, shrink=max(factor for factor in (2, 4, 8) if factor <= shrink))
        case "image/webp" if shrink > 1:
            return _open(source, scale=1 / shrink)
    return header


def _upright_in_srgb(image: "Image") -> "Image":
    """The picture that both outputs are made from, in memory: red, green, blue, and perhaps alpha."""
    if image.bands > 4 and image.interpretation != "cmyk":  # the last is taken for alpha, which is the fourth
        image = image.extract_band(0, n=4)
    profiles = {"output_profile": "srgb"} if image.get_typeof("icc-profile-data") else {}
    fitted = image.thumbnail_image(PREVIEW_SIDE, height=PREVIEW_SIDE, size="down", **profiles)
    return fitted.colourspace("srgb").copy_memory()


def _check_frames(frames: int) -> None:
    if frames > MAX_FRAMES:
        raise Rejected(
            f"The picture has more than {MAX_FRAMES:,} frames or pages: split it up.", code="too_many_frames"
        )


def _check_samples(header: "Image") -> None:
    if header.format not in _SAMPLES and header.interpretation not in _SPACES:
        raise Rejected(
            "The picture's pixels are fractions, or numbers of 32 bits or with a sign, and it does not say "
            "which of them is white: save it with 8 or 16 bits a channel, or as JPEG or PNG.",
            code="unsupported_image",
        )


def _check_size(header: "Image", pixels: int) -> None:
    held = _held_bytes_per_pixel(header)
    allowed = min(pixels, MAX_DECODED_BYTES // held) if held else pixels
    if header.width * header.height > allowed:
        raise Rejected(
            f"The picture has {header.width * header.height:,} pixels ({header.width} by {header.height}), "
            f"and {allowed:,} are allowed in a file like this one: make it smaller.",
            code="too_many_pixels",
        )


def _held_bytes_per_pixel(header: "Image") -> int:
    """What its decoder keeps of the whole frame at once, as measured; 0 where it goes line by line."""
    sample = {"uchar": 1, "ushort": 2}.get(header.format, 8)
    match _field(header, "vips-loader", ""):
        case "jpegload":  # the coefficients of all scans
            return 2 * header.bands if _field(header, "jpeg-multiscan", 0) else 0
        case "pngload":
            return header.bands * sample if _field(header, "interlaced", 0) else 0
        case "webpload":  # one more canvas, where frames build on each other
            return 8 if _frames(header) > 1 else 4
        case "gifload":
            return 5
        case "heifload":  # planes before and after the conversion of colours
            return 18 if sample == 1 else 26
    return int(header.bands) * sample  # a TIFF may be a single strip


def _frames(header: "Image") -> int:
    return int(_field(header, "n-pages", 1))


def _exif_text(header: "Image", name: str) -> str:
    """The text itself, which libvips gives as `text (text, ASCII, 5 components, 5 bytes)`."""
    twice = str(_field(header, f"exif-{name}", ""))
    for bracket in re.finditer(r" \(", twice):
        text = twice[: bracket.start()]
        if twice.startswith(f"{text}, ASCII", bracket.end()):
            return text
    return ""


def _field(header: "Image", name: str, absent: Any) -> Any:
    return header.get(name) if header.get_typeof(name) else absent


def _dominant_colour(thumbnail: "Image") -> str | None:
    """The mean, as `#rrggbb`, of the fullest of 512 equal boxes of colours; None where nothing can be seen.

    A mean of the whole picture would be brown or grey for most of them.
    """
    small = thumbnail.thumbnail_image(_DOMINANT_SIDE, height=_DOMINANT_SIDE, size="down")
    samples = iter(bytes(small.write_to_memory()))
    boxes: dict[tuple[int, int, int], Counter[tuple[int, int, int]]] = {}
    for red, green, blue, *alpha in zip(*[samples] * small.bands, strict=True):
        box = boxes.setdefault((red >> 5, green >> 5, blue >> 5), Counter())
        box[red, green, blue] += alpha[0] if alpha else 255
    fullest = max(boxes.values(), key=Counter.total)
    if not fullest.total():
        return None
    means = (
        sum(colour[channel] * count for colour, count in fullest.items()) / fullest.total()
        for channel in range(3)
    )
    return "#" + "".join(f"{round(mean):02x}" for mean in means)
