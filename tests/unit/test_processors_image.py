"""Images: what comes out of a picture, and that no file, however it is made, gets anything else out."""

import json
import logging
import subprocess
import sys
import zlib
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pyvips

from chalicelib.errors import Rejected
from chalicelib.processors import Result
from chalicelib.processors import image as image_module
from chalicelib.processors.image import MAX_DECODED_BYTES, MAX_FRAMES, process
from tests.files import pictures
from tests.files.pictures import (
    BLUE,
    GREEN,
    HEIC,
    MEDIA_TYPES,
    RED,
    WHITE,
    chunk,
    corners,
    decoded,
    encoded,
    exif,
    noise,
    plain,
    png,
    segment,
    with_blob,
    with_segments,
    zeros_deflated,
)
from tests.unit.sources import source

ROOT = Path(__file__).parents[2]
SRGB_GREEN_IN_P3 = (117, 251, 76)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>48.8583 secret</rdf:RDF></x:xmpmeta>'


class Made:
    """What came out of one file."""

    def __init__(self, result: Result) -> None:
        self.metadata = result.metadata
        self.bodies = {output.name: output.body for output in result.outputs}
        self.types = {output.name: output.content_type for output in result.outputs}

    def body(self, name: str) -> bytes:
        body = self.bodies[name]
        assert isinstance(body, bytes)
        return body

    @property
    def thumbnail(self) -> pyvips.Image:
        return decoded(self.body("thumbnail.webp"))

    @property
    def preview(self) -> pyvips.Image:
        return decoded(self.body("preview.jpg"))


class Maker:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, body: bytes, kind: str = "jpeg", **caps: Any) -> Made:
        media_type = MEDIA_TYPES.get(kind, f"image/{kind}")
        return Made(process(source(self._directory, body, f"picture.{kind}", media_type, **caps)))

    def rejection(self, body: bytes, kind: str = "jpeg", **caps: Any) -> Rejected:
        with pytest.raises(Rejected) as caught:
            self(body, kind, **caps)
        return caught.value


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def assert_colour(image: pyvips.Image, x: int, y: int, colour: tuple[float, ...], within: float = 12) -> None:
    found = image(x, y)
    assert len(found) == len(colour), found
    assert all(abs(a - b) <= within for a, b in zip(found, colour, strict=True)), (found, colour)


def assert_corners(image: pyvips.Image, *colours: tuple[float, ...]) -> None:
    """From the left to the right and from the top down."""
    right, bottom = image.width - 4, image.height - 4
    for (x, y), colour in zip([(3, 3), (right, 3), (3, bottom), (right, bottom)], colours, strict=True):
        assert_colour(image, x, y, colour)


class TestSizes:
    @pytest.mark.parametrize("kind", MEDIA_TYPES)
    def test_each_format_gives_both_pictures_and_its_measures(self, make: Maker, kind: str) -> None:
        made = make(encoded(noise(600, 300), kind), kind)

        assert made.types == {"thumbnail.webp": "image/webp", "preview.jpg": "image/jpeg"}
        assert (made.thumbnail.width, made.thumbnail.height) == (512, 256)
        assert (made.preview.width, made.preview.height) == (600, 300)
        assert {name: made.metadata[name] for name in ("width", "height", "format", "frames")} == {
            "width": 600,
            "height": 300,
            "format": kind,
            "frames": 1,
        }
        json.dumps(made.metadata)

    @pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
    @pytest.mark.parametrize("side", [2049, 4000, 4099, 8200])
    def test_what_is_larger_than_the_preview_is_made_to_fit(self, make: Maker, kind: str, side: int) -> None:
        made = make(encoded(plain(side // 3, side), kind), kind)

        assert made.preview.height == 2048
        assert abs(made.preview.width - 2048 / 3) <= 1
        assert made.thumbnail.height == 512
        assert (made.metadata["width"], made.metadata["height"]) == (side // 3, side)

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (17, 3), (512, 512)])
    def test_what_is_small_stays_as_it_is(self, make: Maker, width: int, height: int) -> None:
        made = make(png(width, height), "png")

        assert (made.thumbnail.width, made.thumbnail.height) == (width, height)
        assert (made.preview.width, made.preview.height) == (width, height)

    @pytest.mark.parametrize(("width", "height"), [(60_000, 1), (1, 60_000), (60_000, 20)])
    def test_extremes_keep_at_least_one_pixel(self, make: Maker, width: int, height: int) -> None:
        made = make(png(width, height), "png")

        assert sorted((made.thumbnail.width, made.thumbnail.height)) == [1, 512]
        assert sorted((made.preview.width, made.preview.height)) == [1, 2048]

    @pytest.mark.parametrize(
        ("kind", "width", "height"),
        [
            ("jpeg", 4200, 1),
            ("jpeg", 8300, 3),
            ("jpeg", 17_000, 7),
            ("jpeg", 7, 65_000),
            ("webp", 4200, 1),
            ("webp", 8300, 2),
            ("webp", 3, 16_000),
        ],
    )
    def test_a_decoder_that_shrinks_leaves_one_pixel_of_a_narrow_one(
        self, make: Maker, kind: str, width: int, height: int
    ) -> None:
        made = make(encoded(plain(width, height), kind), kind)

        assert sorted((made.preview.width, made.preview.height)) == [1, 2048]
        assert_colour(made.preview, 0, 0, RED)

    @pytest.mark.parametrize(
        ("kind", "options"),
        [("jpeg", {"interlace": True}), ("png", {"interlace": True}), ("tiff", {"tile": True})],
    )
    def test_other_layouts_of_a_file_make_no_difference(
        self, make: Maker, kind: str, options: dict[str, Any]
    ) -> None:
        assert_corners(make(encoded(corners(), kind, **options), kind).preview, RED, GREEN, BLUE, WHITE)


class TestOrientation:
    UPRIGHT = (RED, GREEN, BLUE, WHITE)

    @pytest.mark.parametrize(
        ("orientation", "seen"),
        [
            (1, (RED, GREEN, BLUE, WHITE)),
            (2, (GREEN, RED, WHITE, BLUE)),
            (3, (WHITE, BLUE, GREEN, RED)),
            (4, (BLUE, WHITE, RED, GREEN)),
            (5, (RED, BLUE, GREEN, WHITE)),
            (6, (BLUE, RED, WHITE, GREEN)),
            (7, (WHITE, GREEN, BLUE, RED)),
            (8, (GREEN, WHITE, RED, BLUE)),
        ],
    )
    def test_the_picture_is_turned_as_its_exif_says(
        self, make: Maker, orientation: int, seen: tuple[tuple[int, ...], ...]
    ) -> None:
        made = make(
            with_segments(
                encoded(corners(96, 64), "jpeg", keep="none"), segment(0xE1, exif(orientation=orientation))
            )
        )

        size = (64, 96) if orientation >= 5 else (96, 64)
        assert (made.metadata["width"], made.metadata["height"]) == size
        for image in (made.preview, made.thumbnail):
            assert (image.width, image.height) == size
            assert_corners(image, *seen)

    @pytest.mark.parametrize("orientation", [0, 9, 65_535])
    def test_an_orientation_that_there_is_not_turns_nothing(self, make: Maker, orientation: int) -> None:
        body = with_segments(
            encoded(corners(), "jpeg", keep="none"), segment(0xE1, exif(orientation=orientation))
        )

        made = make(body)

        assert_corners(made.preview, *self.UPRIGHT)
        assert (made.metadata["width"], made.metadata["height"]) == (96, 64)

    @pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "avif"])
    def test_every_format_that_knows_of_it_is_turned(self, make: Maker, kind: str) -> None:
        turned = with_blob(corners(), "exif-data", exif(orientation=6))
        turned.set_type(pyvips.GValue.gint_type, "orientation", 6)

        made = make(encoded(turned, kind), kind)

        assert (made.metadata["width"], made.metadata["height"]) == (64, 96)
        assert_corners(made.preview, BLUE, RED, WHITE, GREEN)

    def test_a_large_one_is_turned_and_shrunk(self, make: Maker) -> None:
        made = make(
            with_segments(
                encoded(corners(4800, 3200), "jpeg", keep="none"), segment(0xE1, exif(orientation=8))
            )
        )

        assert (made.preview.width, made.preview.height) == (1365, 2048)
        assert (made.metadata["width"], made.metadata["height"]) == (3200, 4800)
        assert_corners(made.preview, GREEN, WHITE, RED, BLUE)


class TestColours:
    def test_an_embedded_profile_is_turned_into_srgb(self, make: Maker) -> None:
        """The same numbers are another colour in Display P3: what comes out looks as it did before."""
        in_srgb = plain(64, 64, (100, 160, 200))
        in_p3 = in_srgb.icc_import(input_profile="srgb").icc_export(output_profile="p3", depth=8)
        assert max(abs(a - b) for a, b in zip(in_p3(5, 5), in_srgb(5, 5), strict=True)) > 4

        for kind in ("jpeg", "png", "webp", "tiff", "avif"):
            made = make(encoded(in_p3, kind), kind)
            assert_colour(made.preview, 5, 5, (100, 160, 200), within=4)
            assert_colour(made.thumbnail, 5, 5, (100, 160, 200), within=6)

    @pytest.mark.parametrize("keep", ["all", "none"])
    @pytest.mark.parametrize("kind", ["jpeg", "tiff"])
    def test_cmyk_is_for_screens_with_a_profile_or_without(self, make: Maker, kind: str, keep: str) -> None:
        cmyk = plain(64, 64, (120, 160, 200)).icc_import(input_profile="srgb")
        cmyk = cmyk.icc_export(output_profile="cmyk", depth=8)
        assert cmyk.bands == 4

        made = make(encoded(cmyk, kind, keep=keep), kind)

        assert_colour(made.preview, 5, 5, (120, 160, 200))
        assert_colour(made.thumbnail, 5, 5, (120, 160, 200))
        assert made.metadata["hasAlpha"] is False

    def test_lab_is_for_screens(self, make: Maker) -> None:
        made = make(encoded(plain(64, 64).colourspace("lab"), "tiff"), "tiff")

        assert_colour(made.preview, 5, 5, RED)

    @pytest.mark.parametrize("kind", ["png", "tiff"])
    def test_sixteen_bits_become_eight(self, make: Maker, kind: str) -> None:
        deep = (plain(64, 64) * 257).cast("ushort").copy(interpretation="rgb16")

        made = make(encoded(deep, kind), kind)

        assert_colour(made.preview, 5, 5, RED)
        assert made.preview.format == made.thumbnail.format == "uchar"

    @pytest.mark.parametrize("space", ["scrgb", "xyz", "lab", "labs"])
    def test_spaces_that_say_what_their_numbers_mean_are_for_screens(self, make: Maker, space: str) -> None:
        image = plain(64, 64).colourspace(space)
        assert image.format in ("float", "short")

        assert_colour(make(encoded(image, "tiff"), "tiff").preview, 5, 5, RED)

    @pytest.mark.parametrize(
        ("sample", "bands"),
        [(sample, bands) for sample in ("char", "short", "uint", "int") for bands in (1, 3)] + [("float", 1)],
    )
    def test_numbers_that_may_be_of_any_brightness_are_refused(
        self, make: Maker, sample: str, bands: int
    ) -> None:
        """They would come out black, or white."""
        image = plain(64, 64, [100] * bands).cast(sample)

        rejected = make.rejection(encoded(image, "tiff"), "tiff")

        assert (rejected.code, "8 or 16 bits" in rejected.message) == ("unsupported_image", True)

    @pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
    def test_grey_stays_grey(self, make: Maker, kind: str) -> None:
        made = make(encoded(plain(64, 64, (90,)), kind), kind)

        assert_colour(made.preview, 5, 5, (90, 90, 90), within=3)
        assert made.metadata["dominantColor"] == "#5a5a5a"

    def test_grey_with_sixteen_bits_and_alpha(self, make: Maker) -> None:
        deep = (plain(64, 64, (90, 255)) * 257).cast("ushort").copy(interpretation="grey16")

        made = make(encoded(deep, "png"), "png")

        assert_colour(made.preview, 5, 5, (90, 90, 90), within=3)
        assert made.metadata["hasAlpha"] is True

    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    def test_a_palette_gives_its_colours(self, make: Maker, bits: int) -> None:
        body = encoded(plain(64, 64), "png", palette=True, bitdepth=bits)
        assert b"PLTE" in body

        assert_colour(make(body, "png").preview, 5, 5, RED)

    @pytest.mark.parametrize("bands", [2, 5, 7])
    def test_channels_that_no_screen_shows_do_no_harm(self, make: Maker, bands: int) -> None:
        image = plain(32, 32, [100] * bands).copy(interpretation="multiband")

        assert make(encoded(image, "tiff"), "tiff").preview.bands == 3

    def test_the_alpha_of_a_tiff_with_more_channels_is_the_fourth(self, make: Maker) -> None:
        image = plain(600, 64, (*RED, 255, 0))

        made = make(encoded(image, "tiff"), "tiff")

        assert_colour(made.preview, 5, 5, RED)
        assert_colour(made.thumbnail, 5, 5, RED)

    def test_cmyk_may_have_alpha(self, make: Maker) -> None:
        image = plain(600, 64, (0, 254, 239, 40, 0)).copy(interpretation="cmyk")

        made = make(encoded(image, "tiff"), "tiff")

        assert (made.metadata["hasAlpha"], made.thumbnail(5, 5)[3]) == (True, 0)
        assert_colour(made.preview, 5, 5, WHITE)

    @pytest.mark.parametrize("profile", [b"", b"x" * 500, bytes(200)])
    @pytest.mark.parametrize("colour", [(90,), RED])
    def test_a_profile_that_is_none_is_ignored(
        self, make: Maker, profile: bytes, colour: tuple[int, ...]
    ) -> None:
        body = encoded(plain(64, 64, colour), "jpeg", keep="none")

        made = make(with_segments(body, segment(0xE2, b"ICC_PROFILE\0\1\1" + profile)))

        assert_colour(made.preview, 5, 5, RED if len(colour) == 3 else (90, 90, 90))

    def test_a_profile_for_other_channels_is_ignored(self, make: Maker) -> None:
        profile = plain(8, 8).icc_transform("p3", input_profile="srgb").get("icc-profile-data")
        body = encoded(plain(64, 64, (90,)), "jpeg", keep="none")

        made = make(with_segments(body, segment(0xE2, b"ICC_PROFILE\0\1\1" + profile)))

        assert_colour(made.preview, 5, 5, (90, 90, 90))


class TestTransparency:
    @pytest.mark.parametrize("kind", ["png", "webp", "tiff", "avif"])
    def test_it_stays_in_the_thumbnail_and_is_white_in_the_preview(self, make: Maker, kind: str) -> None:
        left, right = plain(64, 64, (*BLUE, 0)), plain(64, 64, (*BLUE, 255))

        made = make(encoded(left.join(right, "horizontal"), kind), kind)

        assert made.metadata["hasAlpha"] is True
        assert made.thumbnail(5, 5)[3] == 0
        assert_colour(made.thumbnail, 120, 5, (*BLUE, 255))
        assert_colour(made.preview, 5, 5, WHITE)
        assert_colour(made.preview, 120, 5, BLUE)

    def test_what_is_half_transparent_is_mixed_with_white(self, make: Maker) -> None:
        made = make(encoded(plain(64, 64, (0, 0, 0, 128)), "png"), "png")

        assert_colour(made.preview, 5, 5, (127, 127, 127))

    def test_a_gif_may_have_it(self, make: Maker) -> None:
        left, right = plain(64, 64, (*BLUE, 0)), plain(64, 64, (*BLUE, 255))

        made = make(encoded(left.join(right, "horizontal"), "gif"), "gif")

        assert made.thumbnail(5, 5)[3] == 0
        assert_colour(made.preview, 120, 5, BLUE)

    def test_without_it_the_thumbnail_has_none(self, make: Maker) -> None:
        made = make(encoded(plain(64, 64), "png"), "png")

        assert (made.metadata["hasAlpha"], made.thumbnail.bands) == (False, 3)


class TestFrames:
    @pytest.mark.parametrize("kind", ["gif", "webp", "tiff"])
    def test_they_are_counted_and_the_first_is_shown(self, make: Maker, kind: str) -> None:
        frames = [plain(64, 48, colour) for colour in (GREEN, RED, BLUE)]
        roll = pyvips.Image.arrayjoin(frames, across=1)

        made = make(encoded(roll, kind, page_height=48), kind)

        assert made.metadata["frames"] == 3
        assert (made.metadata["width"], made.metadata["height"]) == (64, 48)
        for image in (made.preview, made.thumbnail):
            assert (image.width, image.height) == (64, 48)
            assert_colour(image, 5, 5, GREEN)

    def test_a_large_animation_is_shrunk(self, make: Maker) -> None:
        roll = pyvips.Image.arrayjoin([plain(3000, 1000, colour) for colour in (GREEN, RED)], across=1)

        made = make(encoded(roll, "webp", page_height=1000), "webp")

        assert (made.preview.width, made.preview.height) == (2048, 683)
        assert_colour(made.preview, 1000, 600, GREEN)

    @pytest.mark.parametrize("kind", ["gif", "webp", "tiff"])
    def test_too_many_are_refused(self, make: Maker, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        monkeypatch.setattr(image_module, "MAX_FRAMES", 20)

        def file(frames: int) -> bytes:
            match kind:
                case "gif":
                    return pictures.gif(frames)
                case "webp":
                    return pictures.webp(frames)
            return pictures.tiff(1, 1, pages=frames)

        assert make(file(20), kind).metadata["frames"] == 20
        rejected = make.rejection(file(21), kind)

        assert (rejected.code, "more than 20 frames" in rejected.message) == ("too_many_frames", True)

    def test_those_of_a_webp_are_counted_before_its_decoder_lists_them(self, make: Maker) -> None:
        """The file is cut off, which is what its decoder would see first, after minutes for a long one."""
        assert make.rejection(pictures.webp(MAX_FRAMES + 1)[:-1], "webp").code == "too_many_frames"
        assert make.rejection(pictures.webp(50)[:-1], "webp").code == "corrupt_image"


class TestMetadata:
    def taken(self, make: Maker, **tags: Any) -> Any:
        body = encoded(plain(16, 16), "jpeg", keep="none")
        return make(with_segments(body, segment(0xE1, exif(**tags)))).metadata.get("capturedAt")

    def camera(self, make: Maker, make_: bytes, model: bytes) -> Any:
        body = encoded(plain(16, 16), "jpeg", keep="none")
        tags = segment(0xE1, exif(make=make_, model=model))
        return make(with_segments(body, tags)).metadata.get("camera")

    @pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif"])
    def test_the_time_and_the_camera_are_told_and_the_place_is_not(self, make: Maker, kind: str) -> None:
        made = make(encoded(with_blob(plain(64, 64), "exif-data", exif()), kind), kind)

        assert made.metadata["capturedAt"] == "2024-05-06T07:08:09+02:00"
        assert made.metadata["camera"] == "Canon EOS 5D"
        assert set(made.metadata) == {
            *("width", "height", "format", "frames", "hasAlpha", "dominantColor", "capturedAt", "camera")
        }

    def test_a_time_without_an_offset_is_local(self, make: Maker) -> None:
        assert self.taken(make, offset=b"") == "2024-05-06T07:08:09"

    @pytest.mark.parametrize(
        "offset", [b"Z", b"+2:00", b"+15:00", b"+02:60", b"+02:000", b"\xff\xfe", b"garbage"]
    )
    def test_an_absurd_offset_is_none(self, make: Maker, offset: bytes) -> None:
        assert self.taken(make, offset=offset) == "2024-05-06T07:08:09"

    @pytest.mark.parametrize(
        "taken",
        [
            b"0000:00:00 00:00:00",
            b"    :  :     :  :  ",
            b"2023:02:29 10:00:00",
            b"2024:05:06 24:00:00",
            b"1825:01:01 00:00:00",
            b"9999:12:31 23:59:59",
            b"2024:05:06",
            b"2024-05-06 07:08:09",
            "\u0662024:05:06 07:08:09".encode(),
            b"2024:05:06 07:08:091",
            b"\xff" * 19,
            b"",
        ],
    )
    def test_an_absurd_time_is_none(self, make: Maker, taken: bytes) -> None:
        assert self.taken(make, taken=taken) is None

    def test_the_future_is_absurd_but_not_where_it_is_tomorrow_already(self, make: Maker) -> None:
        now = datetime.now(UTC)
        soon, later = (f"{now + timedelta(hours=hours):%Y:%m:%d %H:%M:%S}".encode() for hours in (14, 48))

        assert self.taken(make, taken=soon) is not None
        assert self.taken(make, taken=later) is None

    @pytest.mark.parametrize(
        ("maker", "model", "camera"),
        [
            (b"Canon", b"Canon EOS 5D", "Canon EOS 5D"),
            (b"NIKON CORPORATION", b"NIKON D90", "NIKON D90"),
            (b"Panasonic", b"DMC-FZ (Lumix)", "Panasonic DMC-FZ (Lumix)"),
            (b"Apple", b"", "Apple"),
            (b"", b"X100", "X100"),
            (b"", b"", None),
            (b"  Canon \n\t", b"\x1b[31mEOS\x07", "Canon [31mEOS"),
            (b"\xff\xfe", b"\xe9", None),
            ("Ca\u202enon".encode(), "\u0065\u0301OS".encode(), "Canon \u00e9OS"),
            (b"M" * 300, b"m" * 300, "m" * 80),
            (b"x, ASCII (", b") (, ASCII, 1", "x, ASCII ( ) (, ASCII, 1"),
        ],
    )
    def test_the_camera_is_one_clean_line(
        self, make: Maker, maker: bytes, model: bytes, camera: str | None
    ) -> None:
        assert self.camera(make, maker, model) == camera

    def test_exif_that_is_none_says_nothing(self, make: Maker) -> None:
        body = encoded(plain(16, 16), "jpeg", keep="none")

        for rubbish in (
            b"Exif\0\0" + b"\xff" * 200,
            b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
            b"Exif",
            exif()[:40],
        ):
            metadata = make(with_segments(body, segment(0xE1, rubbish))).metadata
            assert (metadata.get("capturedAt"), metadata["width"]) == (None, 16)


class TestDominantColour:
    def test_it_is_that_of_most_of_the_picture(self, make: Maker) -> None:
        sky, ground = plain(100, 70, (90, 160, 220)), plain(100, 30, GREEN)

        made = make(encoded(sky.join(ground, "vertical"), "png"), "png")

        assert made.metadata["dominantColor"] == "#5aa0dc"

    def test_it_is_no_mean_of_all_colours(self, make: Maker) -> None:
        made = make(encoded(plain(60, 100, RED).join(plain(40, 100, GREEN), "horizontal"), "png"), "png")

        assert made.metadata["dominantColor"] == "#dc1e1e"

    def test_what_cannot_be_seen_does_not_count(self, make: Maker) -> None:
        unseen, seen = plain(90, 100, (*RED, 0)), plain(10, 100, (*BLUE, 255))

        made = make(encoded(unseen.join(seen, "horizontal"), "png"), "png")

        assert made.metadata["dominantColor"] == "#283cdc"

    def test_a_picture_of_nothing_has_none(self, make: Maker) -> None:
        assert "dominantColor" not in make(encoded(plain(10, 10, (*RED, 0)), "png"), "png").metadata


class TestPrivacy:
    SECRETS = (b"Exif", b"GPS", b"http", b"adobe", b"xmp", b"XMP", b"ICC", b"Photoshop", b"secret", b"EOS 5D")

    @pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "avif"])
    def test_nothing_but_the_picture_is_in_what_is_made(self, make: Maker, kind: str) -> None:
        image = plain(64, 64).icc_transform("p3", input_profile="srgb")
        assert image.get_typeof("icc-profile-data")
        for name, blob in (
            ("exif-data", exif()),
            ("xmp-data", XMP),
            ("iptc-data", b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0asecret"),
        ):
            image = with_blob(image, name, blob)
        original = encoded(image, kind)
        assert b"EOS 5D" in original or b"secret" in original

        made = make(original, kind)

        for name in ("thumbnail.webp", "preview.jpg"):
            assert not [secret for secret in self.SECRETS if secret in made.body(name)]
            fields = decoded(made.body(name)).get_fields()
            assert not [field for field in fields if field.startswith(("exif", "xmp", "iptc", "icc"))]

    def test_the_preview_has_no_segments_of_applications_nor_comments(self, make: Maker) -> None:
        original = with_segments(
            encoded(plain(64, 64), "jpeg", keep="none"),
            segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
            segment(0xED, b"Photoshop 3.0\0secret"),
            segment(0xEE, b"secret"),
            segment(0xFE, b"a comment"),
        )

        body = make(original).body("preview.jpg")

        assert [marker for marker in segments_of(body) if 0xE1 <= marker <= 0xEF or marker == 0xFE] == []

    def test_the_thumbnail_is_one_chunk_of_pixels(self, make: Maker) -> None:
        original = encoded(with_blob(plain(64, 64), "exif-data", exif()), "webp")

        body = make(original, "webp").body("thumbnail.webp")

        assert (body[:4], body[8:16]) == (b"RIFF", b"WEBPVP8 ")
        assert int.from_bytes(body[16:20], "little") == len(body) - 20

    def test_what_hangs_on_to_a_picture_or_hides_in_it_does_not_come_along(self, make: Maker) -> None:
        page = b"<html><script>alert(1)</script></html>"
        body = encoded(noise(64, 64), "jpeg", keep="none")

        made = make(with_segments(body, segment(0xFE, page)) + page + b"PK\x03\x04")

        for name in made.bodies:
            assert b"<script" not in made.body(name)
            assert b"PK\x03\x04" not in made.body(name)


def segments_of(jpeg: bytes) -> list[int]:
    """The markers before the pixels."""
    markers, position = [], 2
    while jpeg[position + 1] != 0xDA:
        markers.append(jpeg[position + 1])
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    return markers


class TestHeic:
    def test_it_is_described_without_its_codec(self, make: Maker) -> None:
        made = make(HEIC, "heic")

        assert made.bodies == {}
        assert made.metadata == {
            "width": 64,
            "height": 48,
            "format": "heic",
            "frames": 1,
            "hasAlpha": False,
            "capturedAt": "2024-05-06T07:08:09",
            "camera": "Apple",
            "decoded": False,
        }

    def test_it_may_be_of_any_size_as_it_is_not_decoded(
        self, make: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(image_module, "MAX_DECODED_BYTES", 1)

        assert make(HEIC, "heic", pixels=1).metadata["width"] == 64

    @pytest.mark.parametrize("media_type", ["heic", "heif"])
    def test_its_type_may_be_of_the_container(self, make: Maker, media_type: str) -> None:
        assert make(HEIC, media_type).metadata["format"] == media_type

    def test_a_container_of_av1_is_decoded_whatever_it_is_called(self, make: Maker) -> None:
        assert make(encoded(plain(16, 16), "avif"), "heif").preview.width == 16

    def test_a_broken_one_is_refused(self, make: Maker) -> None:
        assert make.rejection(HEIC[:100], "heic").code == "corrupt_image"

    def test_words_of_the_decoder_that_quote_the_file_are_not_left_to_the_next(self, make: Maker) -> None:
        assert b"clap" in HEIC

        assert make.rejection(HEIC.replace(b"clap", b"cla\x80"), "heic").code == "corrupt_image"

        with pytest.raises(pyvips.Error):  # and no UnicodeDecodeError
            pyvips.Image.new_from_buffer(b"no picture", "")


class TestLimits:
    def test_pixels_are_counted_before_they_are_decoded(self, make: Maker) -> None:
        rejected = make.rejection(png(60_000, 60_000, pixels=b"no pixels at all"), "png")

        assert rejected.code == "too_many_pixels"
        assert "3,600,000,000 pixels (60000 by 60000)" in rejected.message
        assert "100,000,000 are allowed" in rejected.message

    @pytest.mark.parametrize("kind", MEDIA_TYPES)
    def test_the_cap_is_exact_in_each_format(self, make: Maker, kind: str) -> None:
        body = encoded(plain(40, 30), kind)

        assert make(body, kind, pixels=1200).metadata["width"] == 40
        assert make.rejection(body, kind, pixels=1199).code == "too_many_pixels"

    def test_the_cap_is_of_one_frame(self, make: Maker) -> None:
        roll = pyvips.Image.arrayjoin([plain(40, 30, colour) for colour in (RED, GREEN)], across=1)

        assert make(encoded(roll, "gif", page_height=30), "gif", pixels=1200).metadata["frames"] == 2

    @pytest.mark.parametrize(
        ("kind", "options", "bytes_per_pixel"),
        [
            ("jpeg", {"interlace": True}, 6),
            ("png", {"interlace": True}, 3),
            ("tiff", {}, 3),
            ("gif", {}, 5),
            ("webp", {}, 4),
            ("avif", {}, 18),
        ],
    )
    def test_a_frame_that_has_to_be_held_as_a_whole_has_to_fit(
        self,
        make: Maker,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        options: dict[str, Any],
        bytes_per_pixel: int,
    ) -> None:
        body = encoded(plain(40, 30), kind, **options)

        monkeypatch.setattr(image_module, "MAX_DECODED_BYTES", 1200 * bytes_per_pixel)
        assert make(body, kind).metadata["width"] == 40
        monkeypatch.setattr(image_module, "MAX_DECODED_BYTES", 1200 * bytes_per_pixel - 1)
        assert "1,199 are allowed" in make.rejection(body, kind).message

    def test_an_animation_is_held_twice(self, make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        roll = pyvips.Image.arrayjoin([plain(40, 30, colour) for colour in (RED, GREEN)], across=1)
        body = encoded(roll, "webp", page_height=30)

        monkeypatch.setattr(image_module, "MAX_DECODED_BYTES", 1200 * 8 - 1)
        assert make.rejection(body, "webp").code == "too_many_pixels"

    @pytest.mark.parametrize("kind", ["jpeg", "png"])
    def test_one_that_goes_line_by_line_has_not(
        self, make: Maker, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        monkeypatch.setattr(image_module, "MAX_DECODED_BYTES", 1)

        assert make(encoded(plain(40, 30), kind), kind).metadata["width"] == 40

    def test_a_progressive_jpeg_of_the_common_size_fits(self) -> None:
        assert MAX_DECODED_BYTES // 6 >= 64_000_000


class TestHostileFiles:
    @pytest.mark.parametrize("kind", MEDIA_TYPES)
    def test_a_truncated_one_is_refused_with_a_clear_word(self, make: Maker, kind: str) -> None:
        body = encoded(noise(300, 200), kind)

        for end in (len(body) // 2, len(body) * 9 // 10, 200, 20):
            rejected = make.rejection(body[:end], kind)
            assert rejected.code == "corrupt_image"
            assert "damaged or incomplete" in rejected.message
            assert not any(
                word in rejected.message for word in ("vips", "Vips", "png", "lib", "tiff", "heif")
            )

    @pytest.mark.parametrize("interlace", [False, True])
    @pytest.mark.parametrize("kind", ["jpeg", "png"])
    def test_a_large_one_that_is_cut_off_near_its_end_is_noticed(
        self, make: Maker, kind: str, interlace: bool
    ) -> None:
        """Decoders shrink large ones, and must not stop to look at the last lines for that."""
        body = encoded(noise(4200, 200), kind, interlace=interlace)

        assert make.rejection(body[: len(body) * 98 // 100], kind).code == "corrupt_image"

    @pytest.mark.parametrize("kind", MEDIA_TYPES)
    @pytest.mark.parametrize("body", [b"", b"\0" * 100, b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
    def test_what_is_no_picture_is_refused(self, make: Maker, kind: str, body: bytes) -> None:
        assert make.rejection(body, kind).code == "corrupt_image"

    def test_the_decoder_is_that_of_the_detected_type(self, make: Maker) -> None:
        assert make.rejection(encoded(plain(8, 8), "png"), "jpeg").code == "corrupt_image"

    @pytest.mark.parametrize("kind", ["svg+xml", "x-icon", "bmp", "jxl"])
    def test_a_type_without_a_decoder_is_said_to_be_so(self, make: Maker, kind: str) -> None:
        rejected = make.rejection(b"<svg/>", kind)

        assert (rejected.code, f"image/{kind}" in rejected.message) == ("unsupported_image", True)

    @pytest.mark.parametrize(
        "bomb",
        [
            lambda: chunk(b"zTXt", b"Comment\0\0" + zeros_deflated(100)),
            lambda: chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros_deflated(100)),
            lambda: chunk(b"iCCP", b"icc\0\0" + zeros_deflated(100)),
            lambda: chunk(b"zTXt", b"Comment\0\0" + zeros_deflated(7)) * 50,
            lambda: chunk(b"tEXt", b"Comment\0x") * 50_000,
        ],
        ids=["zTXt", "iTXt", "iCCP", "many zTXt", "many tEXt"],
    )
    def test_bombs_beside_the_pixels_of_a_png_do_not_go_off(self, make: Maker, bomb: Any) -> None:
        assert make(png(10, 10, bomb()), "png").metadata["width"] == 10

    def test_more_pixels_than_a_png_has_room_for_are_left_out(self, make: Maker) -> None:
        assert make(png(10, 10, pixels=zeros_deflated(100)), "png").preview.width == 10

    @pytest.mark.parametrize("strip_bytes", [16, 9_000 * 9_000, 2**32 - 1])
    def test_a_tiff_without_the_pixels_that_it_claims_is_refused(self, make: Maker, strip_bytes: int) -> None:
        """And not filled up, least of all with what else is in memory."""
        body = pictures.tiff(9_000, 9_000, strip_bytes=strip_bytes)

        assert make.rejection(body, "tiff").code == "corrupt_image"

    def test_a_tiff_that_goes_round_in_circles_ends(self, make: Maker) -> None:
        body = pictures.tiff(4, 4, pages=3)
        first = body[4:8]

        assert make(body[:-4] + first, "tiff").metadata["frames"] == 3

    def test_a_gif_whose_frames_are_larger_than_it_is_measured_by_them(self, make: Maker) -> None:
        body = bytearray(pictures.gif(3, 65_535, 65_535))
        body[6:10] = b"\1\0\1\0"

        assert make.rejection(bytes(body), "gif").code == "too_many_pixels"

    def test_scans_without_end_are_refused(self, make: Maker) -> None:
        body = encoded(noise(400, 400), "jpeg", interlace=True, Q=50)
        last = body[body.rindex(b"\xff\xda") : -2]

        assert make.rejection(body[:-2] + last[:14] * 100_000 + b"\xff\xd9").code == "corrupt_image"

    def test_many_segments_are_only_so_many_bytes(self, make: Maker) -> None:
        body = encoded(plain(16, 16), "jpeg", keep="none")

        many = segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 50

        assert make(with_segments(body, many)).metadata["width"] == 16

    def test_a_picture_with_a_gain_map_is_a_jpeg(self, make: Maker) -> None:
        """Ultra HDR: a second JPEG behind the first one, which a loader that is shut would read as well."""
        glowing = plain(64, 48, RED).colourspace("scrgb") * 3
        body = bytes(glowing.copy(interpretation="scrgb").uhdrsave_buffer())
        assert body.count(b"\xff\xd8\xff") == 2

        made = make(body)

        assert (made.preview.width, made.body("preview.jpg").count(b"\xff\xd8\xff")) == (64, 1)
        assert_colour(made.preview, 5, 5, RED)

    def test_compressed_rows_may_be_broken_behind_a_good_header(self, make: Maker) -> None:
        body = png(200, 200, pixels=zlib.compress(b"\0" + b"\x80" * 600) * 200)

        assert make.rejection(body, "png").code == "corrupt_image"


class TestLoaders:
    def test_only_those_of_the_list_are_open(self, tmp_path: Path, make: Maker) -> None:
        make(encoded(plain(8, 8), "png"), "png")
        for name in ("picture.v", "picture.csv", "picture.mat"):
            plain(8, 8, (90,)).write_to_file(str(tmp_path / name))
            with pytest.raises(pyvips.Error):
                pyvips.Image.new_from_file(str(tmp_path / name))
        for body in (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", b"%PDF-1.4"):
            with pytest.raises(pyvips.Error):
                pyvips.Image.new_from_buffer(body, "")

    @pytest.mark.parametrize("name", ["svgload", "rawload", "vipsload", "csvload", "matrixload", "uhdrload"])
    def test_the_others_do_not_run_when_called_by_name(self, tmp_path: Path, make: Maker, name: str) -> None:
        make(encoded(plain(8, 8), "png"), "png")
        (svg := tmp_path / "a").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>")

        with pytest.raises(pyvips.Error, match="blocked"):
            pyvips.Operation.call(name, str(svg), *([9, 9, 3] if name == "rawload" else []))

    def test_it_runs_in_one_thread_and_remembers_nothing(self, make: Maker) -> None:
        make(encoded(plain(8, 8), "png"), "png")

        assert pyvips.concurrency_get() == 1
        assert pyvips.cache_get_max() == 0

    def test_a_second_file_at_the_same_place_is_read_anew(self, tmp_path: Path) -> None:
        first = source(tmp_path, encoded(plain(32, 32, RED), "png"), "a.png", "image/png")
        colours = []
        for colour in (RED, GREEN, BLUE):
            first.path.write_bytes(encoded(plain(32, 32, colour), "png"))
            colours.append(process(first).metadata["dominantColor"])

        assert colours == ["#dc1e1e", "#1eb428", "#283cdc"]

    def test_it_is_quiet(self, make: Maker, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            make(encoded(plain(8, 8), "png"), "png")
            make.rejection(encoded(noise(64, 64), "jpeg")[:500])

        assert [record for record in caplog.records if record.name.startswith("pyvips")] == []

    def test_the_same_file_gives_the_same_bytes(self, make: Maker) -> None:
        body = encoded(noise(700, 700), "jpeg")

        assert all(one.bodies == other.bodies for one, other in pairwise(make(body) for _ in range(3)))


WITHOUT_ROOM = """
import resource, sys
from pathlib import Path
from chalicelib.processors.image import process
from tests.unit.sources import source

directory = Path(sys.argv[1])
picture = source(directory, (directory / "good").read_bytes(), "picture", "image/png")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
print(process(picture).metadata["width"])
"""


def test_what_goes_line_by_line_is_put_down_nowhere(tmp_path: Path) -> None:
    """What is not read in order, libvips would unpack to a file of its own from 100 MB of pixels on."""
    (tmp_path / "good").write_bytes(png(7_000, 5_000))

    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_ROOM, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (child.stdout, child.stderr) == ("7000\n", "")


WITHOUT_MEMORY = """
import resource, sys
from pathlib import Path
from chalicelib.processors.image import process
from tests.unit.sources import source

directory, media_type = Path(sys.argv[1]), sys.argv[2]
small, large = (source(directory, (directory / name).read_bytes(), name, media_type) for name in ("s", "l"))
process(small)
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 40 * 2**20,) * 2)
try:
    process(large)
except MemoryError as error:
    print(repr(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
@pytest.mark.parametrize(
    ("kind", "options"),
    [("jpeg", {"interlace": True}), ("png", {"interlace": True}), ("webp", {}), ("avif", {})],
)
def test_a_picture_that_memory_does_not_suffice_for_is_not_called_damaged(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    (tmp_path / "s").write_bytes(encoded(plain(50, 50), kind, **options))
    (tmp_path / "l").write_bytes(encoded(plain(5000, 5000), kind, **options))

    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMORY, str(tmp_path), MEDIA_TYPES[kind]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (child.stdout, child.stderr) == ("MemoryError()\n", "")


IN_A_CHILD = """
import json, sys, tempfile
from collections import Counter
from pathlib import Path
from chalicelib.errors import Rejected
from chalicelib.processors.image import process
from tests.files.mutations import mutated
from tests.unit.sources import source

directory, media_type, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
ends = Counter()
for body in mutated((directory / "good").read_bytes(), count, seed=4):
    (directory / "last").write_bytes(body)
    try:
        result = process(source(directory, body, "picture", media_type, pixels=1_000_000))
    except Rejected as rejected:
        ends[rejected.code] += 1
    else:
        assert [output.name for output in result.outputs] == ["thumbnail.webp", "preview.jpg"]
        assert all(len(output.body) > 20 for output in result.outputs)
        json.dumps(result.metadata)
        ends["made"] += 1
print(json.dumps(ends))
"""


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_files_broken_at_random_are_made_or_refused(tmp_path: Path, kind: str) -> None:
    """In a process of their own, whose end by a signal would be seen, and anything that it prints."""
    image = noise(48, 32).icc_transform("p3", input_profile="srgb")
    image = with_blob(image, "exif-data", exif(orientation=6))
    (tmp_path / "good").write_bytes(encoded(image, kind))

    child = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD, str(tmp_path), MEDIA_TYPES[kind], "60"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (child.returncode, child.stderr) == (0, "")
    ends = json.loads(child.stdout)
    assert sum(ends.values()) == 60
    assert set(ends) <= {"made", "corrupt_image", "too_many_pixels", "too_many_frames"}
    assert ends["corrupt_image"] > 5
