"""Sound and films: what is made of every kind, opened again and looked at."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from chalicelib import transcription
from chalicelib.errors import Rejected
from chalicelib.filetypes import HEAD_BYTES, detect
from chalicelib.processors import REGISTRY, Output, Result, Source
from chalicelib.processors.recording import process
from tests.unit import recordings
from tests.unit.processing import content, result_of
from tests.unit.recordings import RATE, recording, sound, with_cover
from tests.unit.sources import source

SLACK = 0.12
"""Seconds: what codecs put before the first sample, or behind the last."""


def made_of(body: bytes, name: str = "file", **caps: Any) -> Result:
    found = detect(body[:HEAD_BYTES], name)
    assert found.family in ("audio", "video")
    return result_of(REGISTRY[found.family], body, name, found.media_type, **caps)


def output(result: Result, name: str) -> bytes:
    return next(content(output) for output in result.outputs if output.name == name)


def names(result: Result) -> list[str]:
    return [output.name for output in result.outputs]


@dataclass
class Mp4:
    """What is in an MP4, and when."""

    body: bytes
    pictures: list[Any] = field(default_factory=list)
    sounds: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        with av.open(io.BytesIO(self.body), "r") as container:
            self.seconds = (container.duration or 0) / 1_000_000
            self.tags = dict(container.metadata)
            self.kinds = [(stream.type, stream.codec_context.name) for stream in container.streams]
            for frame in container.decode(*container.streams):
                (self.pictures if isinstance(frame, av.VideoFrame) else self.sounds).append(frame)

    @property
    def times(self) -> list[float]:
        return [round(picture.time, 3) for picture in self.pictures]

    @property
    def plays_at_once(self) -> bool:
        kinds = [kind for kind, _, _ in recordings.boxes(self.body)]
        return kinds.index("moov") < kinds.index("mdat")


def white_corner(frame: Any) -> str:
    """Where the white field of `recordings.picture` lies."""
    grey = frame.reformat(format="gray")
    stride, luma = grey.planes[0].line_size, bytes(grey.planes[0])
    right, bottom = grey.width - 3, grey.height - 3
    spots = {"top left": (2, 2), "top right": (right, 2), "bottom left": (2, bottom)}
    spots["bottom right"] = (right, bottom)
    return max(spots, key=lambda spot: luma[spots[spot][1] * stride + spots[spot][0]])


FILMS: dict[str, tuple[Callable[[], bytes], dict[str, Any], tuple[int, int]]] = {
    "MP4": (lambda: recording("mp4"), {"videoCodec": "h264", "audioCodec": "aac"}, (64, 48)),
    "MOV": (lambda: recording("mov", video="mpeg4"), {"videoCodec": "mpeg4"}, (64, 48)),
    "Matroska": (lambda: recording("matroska"), {"streams": 2}, (64, 48)),
    "WebM": (
        lambda: recording("webm", video="libvpx", audio="libopus", rate=48_000),
        {"videoCodec": "vp8", "audioCodec": "opus"},
        (64, 48),
    ),
    "AVI": (
        lambda: recording("avi", video="mpeg4", audio="libmp3lame", rate=44_100),
        {"audioCodec": "mp3"},
        (64, 48),
    ),
    "MPEG-TS": (lambda: recording("mpegts"), {"videoCodec": "h264"}, (64, 48)),
    "MPEG": (
        lambda: recording("mpeg", video="mpeg1video", audio="mp2", rate=44_100),
        {"videoCodec": "mpeg1video"},
        (64, 48),
    ),
    "FLV": (lambda: recording("flv", rate=44_100), {"videoCodec": "h264"}, (64, 48)),
    "3GP": (lambda: recording("3gp"), {"videoCodec": "h264"}, (64, 48)),
    "Ogg": (
        lambda: recording("ogg", video="libvpx", audio="libopus", rate=48_000),
        {"videoCodec": "vp8"},
        (64, 48),
    ),
    "ASF": (
        lambda: recording("asf", video="msmpeg4", audio="libmp3lame", rate=44_100),
        {"videoCodec": "msmpeg4v3"},
        (64, 48),
    ),
    "no sound": (lambda: recording("mp4", audio=None), {"streams": 1, "duration": 1.0}, (64, 48)),
    "odd": (
        lambda: recording("matroska", video="ffv1", size=(63, 47)),
        {"width": 63, "height": 47},
        (62, 46),
    ),
    "10 bits": (lambda: recording("mp4", pixel_format="yuv420p10le"), {"width": 64}, (64, 48)),
    "4:2:2": (
        lambda: recording("mov", video="prores_ks", pixel_format="yuv422p10le"),
        {"videoCodec": "prores"},
        (64, 48),
    ),
    "RGB": (
        lambda: recording("matroska", video="libx264rgb", pixel_format="rgb24"),
        {"videoCodec": "h264"},
        (64, 48),
    ),
    "wide pixels": (
        lambda: recording("mp4", aspect=Fraction(2)),
        {"width": 128, "height": 48},
        (128, 48),
    ),
    "on its side": (
        lambda: recording("mp4", turn=(-90, False)),
        {"width": 48, "height": 64, "rotation": 90},
        (48, 64),
    ),
    "two films": (lambda: recording("matroska", videos=2), {"streams": 3, "width": 64}, (64, 48)),
    "large": (
        lambda: recording("mp4", size=(1920, 1080), seconds=0.2),
        {"width": 1920, "height": 1080},
        (1280, 720),
    ),
    "large and standing": (
        lambda: recording("mp4", size=(720, 1600), seconds=0.2, audio=None),
        {"width": 720, "height": 1600},
        (576, 1280),
    ),
    "tiny": (lambda: recording("matroska", video="ffv1", size=(2, 2), stripe=False), {"width": 2}, (2, 2)),
    "5.1": (lambda: recording("matroska", audio="flac", layout="5.1"), {"audioCodec": "flac"}, (64, 48)),
}


@pytest.mark.parametrize("kind", FILMS)
def test_of_every_film_there_is_one_that_everything_plays(kind: str) -> None:
    make, expected, size = FILMS[kind]
    result = made_of(make())

    assert names(result) == ["video.mp4", "poster.jpg"]
    assert result.metadata | expected | {"kind": "video"} == result.metadata
    assert not {"truncated", "damaged"} & set(result.metadata)
    film = Mp4(output(result, "video.mp4"))
    assert film.kinds == [("video", "h264"), ("audio", "aac")][: 1 + ("audioCodec" in result.metadata)]
    assert film.plays_at_once
    assert {(p.width, p.height, p.format.name) for p in film.pictures} == {(*size, "yuv420p")}
    assert film.seconds == pytest.approx(result.metadata["duration"], abs=SLACK)
    with av.open(io.BytesIO(output(result, "poster.jpg")), "r") as poster:
        (shown,) = poster.decode(video=0)
        assert (shown.width, shown.height) == size


SOUNDS: dict[str, tuple[Callable[[], bytes], dict[str, Any], tuple[int, str]]] = {
    "MP3": (lambda: sound("mp3", "libmp3lame", rate=44_100), {"codec": "mp3"}, (44_100, "mono")),
    "WAV": (lambda: sound("wav", "pcm_s16le"), {"codec": "pcm_s16le", "duration": 1.0}, (16_000, "mono")),
    "96 kHz": (
        lambda: sound("wav", "pcm_s16le", rate=96_000, layout="stereo"),
        {"sampleRate": 96_000, "channels": 2},
        (48_000, "stereo"),
    ),
    "FLAC": (lambda: sound("flac", "flac"), {"codec": "flac"}, (16_000, "mono")),
    "5.1": (lambda: sound("flac", "flac", layout="5.1"), {"channels": 6}, (16_000, "stereo")),
    "Opus": (lambda: sound("ogg", "libopus", rate=48_000), {"codec": "opus"}, (48_000, "mono")),
    "M4A": (lambda: sound("ipod", "aac"), {"codec": "aac"}, (16_000, "mono")),
    "AAC": (lambda: sound("adts", "aac", rate=44_100), {"codec": "aac"}, (44_100, "mono")),
    "AIFF": (lambda: sound("aiff", "pcm_s16be"), {"codec": "pcm_s16be"}, (16_000, "mono")),
    "CAF": (lambda: sound("caf", "pcm_s16be"), {"channels": 1}, (16_000, "mono")),
    "AU": (lambda: sound("au", "pcm_s16be"), {"channels": 1}, (16_000, "mono")),
    "AMR": (lambda: sound("amr", "libopencore_amrnb", rate=8_000), {"codec": "amr_nb"}, (8_000, "mono")),
    "sound in MP4": (lambda: sound("mp4", "aac"), {"codec": "aac"}, (16_000, "mono")),
    "sound in MOV": (lambda: sound("mov", "pcm_s16le"), {"codec": "pcm_s16le"}, (16_000, "mono")),
    "sound in WebM": (lambda: sound("webm", "libopus", rate=48_000), {"codec": "opus"}, (48_000, "mono")),
    "sound in MPEG-TS": (lambda: sound("mpegts", "aac"), {"codec": "aac"}, (16_000, "mono")),
    "sound in FLV": (lambda: sound("flv", "aac", rate=44_100), {"codec": "aac"}, (44_100, "mono")),
    "MP3 with a cover": (with_cover, {"codec": "mp3", "channels": 2}, (44_100, "stereo")),
}


@pytest.mark.parametrize("kind", SOUNDS)
def test_of_every_sound_there_is_one_that_everything_plays(kind: str) -> None:
    make, expected, (rate, layout) = SOUNDS[kind]
    result = made_of(make())

    assert names(result) == ["audio.m4a", "waveform.png"]
    assert result.metadata | expected | {"kind": "audio"} == result.metadata
    assert result.metadata["duration"] == pytest.approx(1.0, abs=SLACK)
    assert result.metadata["bitRate"] > 0
    played = Mp4(output(result, "audio.m4a"))
    assert played.kinds == [("audio", "aac")]
    assert played.plays_at_once
    assert {(piece.sample_rate, piece.layout.name) for piece in played.sounds} == {(rate, layout)}
    assert played.seconds == pytest.approx(1.0, abs=SLACK)


@pytest.mark.parametrize("name", ["memo.m4a", "film.mp4"])
def test_a_film_that_is_called_a_sound_is_a_film(name: str) -> None:
    assert names(made_of(recording("mp4"), name)) == ["video.mp4", "poster.jpg"]


@pytest.mark.parametrize(
    ("turn", "rotation", "corner"),
    [
        ((0, False), 0, "top left"),
        ((-90, False), 90, "top right"),
        ((180, False), 180, "bottom right"),
        ((90, False), 270, "bottom left"),
        ((0, True), 0, "top right"),
    ],
)
def test_a_film_is_set_upright(turn: tuple[float, bool], rotation: int, corner: str) -> None:
    result = made_of(recording("mp4", turn=turn, audio=None, seconds=0.4))

    assert result.metadata["rotation"] == rotation
    film = Mp4(output(result, "video.mp4"))
    assert {white_corner(picture) for picture in film.pictures} == {corner}
    assert {picture.rotation for picture in film.pictures} == {0}
    with av.open(io.BytesIO(output(result, "poster.jpg")), "r") as poster:
        assert white_corner(next(poster.decode(video=0))) == corner


class TestTime:
    def test_pictures_stay_where_they_were(self) -> None:
        stamps = [0, 40, 90, 200, 500, 1_200, 1_300, 2_000, 2_001]
        body = recording(
            "matroska",
            audio=None,
            seconds=len(stamps) / RATE,
            stamps=stamps.__getitem__,
            time_base=Fraction(1, 1000),
        )

        film = Mp4(output(made_of(body), "video.mp4"))

        assert film.times == [stamp / 1000 for stamp in stamps[:-1]]  # nobody sees one for a millisecond

    def test_a_film_that_begins_late_begins_at_once(self) -> None:
        body = recording("mpegts", stamps=lambda number: number + 30 * RATE, sound_from=30.0)

        result = made_of(body)

        assert result.metadata["duration"] == pytest.approx(1.0, abs=SLACK)
        assert Mp4(output(result, "video.mp4")).seconds == pytest.approx(1.0, abs=SLACK)

    def test_a_clock_that_begins_anew_is_one_film(self) -> None:
        part = recording("mpegts", stamps=lambda number: number + 50 * RATE, sound_from=50.0)

        result = made_of(part + recording("mpegts"))

        assert result.metadata["duration"] == pytest.approx(2.0, abs=2 * SLACK)
        film = Mp4(output(result, "video.mp4"))
        assert film.seconds == pytest.approx(2.0, abs=2 * SLACK)
        assert len(film.pictures) == 2 * RATE
        assert film.times == sorted(set(film.times))

    def test_sound_that_sets_in_later_stays_where_it_was(self) -> None:
        film = Mp4(output(made_of(recording("mp4", sound_from=0.5)), "video.mp4"))

        loud = [piece.time for piece in film.sounds if max(map(abs, samples_of(piece))) > 0.1]
        assert loud[0] == pytest.approx(0.5, abs=SLACK)

    def test_more_pictures_than_anybody_sees_are_left_out(self) -> None:
        body = recording("mp4", audio=None, time_base=Fraction(1, 240))

        film = Mp4(output(made_of(body), "video.mp4"))

        assert film.times == [round(step / 60, 3) for step in range(7)]


def samples_of(piece: Any) -> list[float]:
    return list(struct.unpack(f"<{piece.samples}f", bytes(piece.planes[0])[: 4 * piece.samples]))


class TestColours:
    def test_hdr_becomes_what_every_screen_shows(self) -> None:
        body = recording(
            "matroska",
            video="libx265",
            audio=None,
            pixel_format="yuv420p10le",
            colours=(9, 16, 9),
            seconds=0.2,
            options=None,
        )

        result = made_of(body)

        assert result.metadata["hdr"] is True
        picture = Mp4(output(result, "video.mp4")).pictures[0]
        assert (picture.color_primaries, picture.color_trc, picture.colorspace) == (1, 1, 1)

    def test_what_the_numbers_mean_is_kept(self) -> None:
        result = made_of(recording("mp4", audio=None, colours=(6, 6, 6), seconds=0.2))

        picture = Mp4(output(result, "video.mp4")).pictures[0]
        assert (picture.color_primaries, picture.color_trc, picture.colorspace) == (6, 6, 6)
        assert "hdr" not in result.metadata


class TestThePoster:
    def test_it_is_not_the_black_that_films_begin_with(self) -> None:
        body = recording(
            "mp4", audio=None, seconds=2.0, paint=lambda number: (16 if number < 20 else 150, 128, 128)
        )

        assert brightness(output(made_of(body), "poster.jpg")) > 120

    def test_where_there_is_nothing_but_black_it_is_black(self) -> None:
        body = recording("mp4", audio=None, paint=lambda _: (16, 128, 128), stripe=False)

        assert brightness(output(made_of(body), "poster.jpg")) < 10

    def test_its_colours_are_those_of_the_film(self) -> None:
        body = recording("mp4", audio=None, paint=lambda _: (81, 90, 240), colours=(1, 1, 1))

        with av.open(io.BytesIO(output(made_of(body), "poster.jpg")), "r") as poster:
            rgb = bytes(next(poster.decode(video=0)).reformat(format="rgb24").planes[0])
        red, green, blue = rgb[-600:-597]
        assert red > 200
        assert green < 60
        assert blue < 60


def brightness(jpeg: bytes) -> int:
    """In the middle."""
    with av.open(io.BytesIO(jpeg), "r") as poster:
        grey = next(poster.decode(video=0)).reformat(format="gray")
    return bytes(grey.planes[0])[grey.planes[0].line_size * (grey.height // 2) + grey.width // 2]


class TestTheWaveform:
    def test_it_shows_where_the_sound_is(self) -> None:
        rows = pixels(output(made_of(sound("wav", "pcm_s16le")), "waveform.png"))
        assert height_at(rows, 600) > 40
        rows = pixels(output(made_of(sound("wav", "pcm_s16le", hertz=0)), "waveform.png"))
        assert height_at(rows, 600) == 1

    def test_it_is_as_wide_for_a_moment_as_for_an_hour(self) -> None:
        short = pixels(output(made_of(sound("wav", "pcm_s16le", seconds=0.01)), "waveform.png"))
        longer = pixels(output(made_of(sound("wav", "pcm_s16le", seconds=9.0)), "waveform.png"))

        assert len(short) == len(longer)
        assert {len(row) for row in short} == {len(row) for row in longer}
        assert height_at(longer, 1_199) > 40


def pixels(png: bytes) -> list[bytes]:
    width, height = struct.unpack(">II", png[16:24])
    begin = png.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", png[begin - 8 : begin - 4])
    raw = zlib.decompress(png[begin : begin + length])
    step = 1 + width // 8
    return [raw[row * step + 1 : (row + 1) * step] for row in range(height)]


def height_at(rows: list[bytes], x: int) -> int:
    return sum(row[x // 8] >> (7 - x % 8) & 1 for row in rows)


class TestTags:
    def test_they_are_cleaned_and_cut(self) -> None:
        tags = {"title": "A\x07 \u202etitle\n" + "x" * 500, "artist": "Åsa", "comment": "no", "track": "3/9"}

        found = made_of(sound("mp3", "libmp3lame", rate=44_100, tags=tags)).metadata["tags"]

        assert found == {"title": ("A title " + "x" * 500)[:200], "artist": "Åsa", "track": "3/9"}

    def test_ogg_has_them_on_its_stream(self) -> None:
        body = sound("ogg", "libopus", rate=48_000, tags={"title": "Song"})

        assert made_of(body).metadata["tags"] == {"title": "Song"}

    @pytest.mark.parametrize("container", ["mp4", "mov", "matroska"])
    def test_nothing_of_them_is_in_what_is_made(self, container: str) -> None:
        where = "+48.8577+002.2950/"
        tags = {
            "title": "Holidays",
            "location": where,
            "com.apple.quicktime.location.ISO6709": where,
            "artist": "Jane",
            "creation_time": "2024-05-06T07:08:09.000000Z",
        }
        body = recording(container, tags=tags, options={"movflags": "use_metadata_tags"})
        assert b"Holidays" in body

        result = made_of(body)

        assert where not in json.dumps(result.metadata)
        assert result.metadata["tags"] == {"artist": "Jane", "title": "Holidays"}
        assert result.metadata["capturedAt"] == "2024-05-06T07:08:09Z"
        for made in result.outputs:
            for personal in (b"Holidays", b"+48.8", b"Jane", b"2024"):
                assert personal not in content(made)

    @pytest.mark.parametrize(
        "when", ["1904-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "2024-13-01T00:00:00Z", "x"]
    )
    def test_an_absurd_time_is_none(self, when: str) -> None:
        from chalicelib.media.tags import captured_at

        assert captured_at({"creation_time": when}) is None


def test_the_same_file_makes_the_same() -> None:
    body = recording("mp4")

    assert [content(one) for one in made_of(body).outputs] == [content(one) for one in made_of(body).outputs]


class TestTheTranscript:
    @pytest.fixture
    def heard(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """What a recogniser is given, who writes down one word."""
        heard: dict[str, Any] = {}

        def recognise(name: str, pcm: Any, on_seconds: Any, max_seconds: float) -> transcription.Transcript:
            heard.update(name=name, pcm=b"".join(pcm), most=max_seconds)
            on_seconds(0.5)
            word = transcription.Word("hello", 0.1, 0.4)
            return transcription.Transcript("en-US", (word,), name)

        monkeypatch.setattr(transcription, "recognise", recognise)
        return heard

    def transcribed(self, body: bytes, tmp_path: Path) -> tuple[Result, list[float]]:
        reports: list[float] = []
        media_type = detect(body[:HEAD_BYTES], "file").media_type
        plain = source(tmp_path, body, "file", media_type)
        result = process(
            Source(
                plain.path,
                plain.filename,
                plain.media_type,
                plain.scratch,
                plain.caps,
                transcriber="pocketsphinx",
                report=reports.append,
            )
        )
        return result, reports

    @pytest.mark.parametrize(
        "make",
        [
            lambda: recording("mp4"),
            lambda: sound("flac", "flac", layout="5.1"),
            lambda: sound("wav", "pcm_s16le"),
        ],
    )
    def test_it_is_made_of_the_sound(
        self, heard: dict[str, Any], tmp_path: Path, make: Callable[[], bytes]
    ) -> None:
        result, reports = self.transcribed(make(), tmp_path)

        assert names(result)[2:] == ["transcript.json", "transcript.txt", "transcript.vtt"]
        told = {"language": "en-US", "words": 1, "source": "pocketsphinx"}
        assert result.metadata["transcript"] == told
        assert (heard["name"], heard["most"]) == ("pocketsphinx", 3_600)
        assert len(heard["pcm"]) / 2 / transcription.SAMPLE_RATE == pytest.approx(1.0, abs=SLACK)
        assert max(abs(sample) for (sample,) in struct.iter_unpack("<h", heard["pcm"])) > 5_000
        assert reports[-1] > 0.5

    def test_where_there_is_no_sound_there_is_none(self, heard: dict[str, Any], tmp_path: Path) -> None:
        result, _ = self.transcribed(recording("mp4", audio=None), tmp_path)

        assert names(result) == ["video.mp4", "poster.jpg"]
        assert heard == {}


def refusal(body: bytes, media_type: str = "", **caps: Any) -> Rejected:
    media_type = media_type or detect(body[:HEAD_BYTES], "file").media_type
    with pytest.raises(Rejected) as caught:
        result_of(process, body, "file", media_type, **caps)
    assert caught.value.message.endswith(".")
    return caught.value


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "make",
        [lambda: recording("mp4", seconds=3.0), lambda: sound("mp3", "libmp3lame", rate=44_100, seconds=3.0)],
    )
    def test_what_says_that_it_is_too_long(self, make: Callable[[], bytes]) -> None:
        error = refusal(make(), seconds=2)

        assert error.code == "too_long"
        assert "2 seconds" in error.message

    def test_what_is_too_long_and_does_not_say_so(self) -> None:
        with_no_end = recording("matroska", seconds=3.0, options={"live": "1"})

        assert refusal(with_no_end, seconds=2).code == "too_long"
        assert made_of(with_no_end, seconds=4).metadata["duration"] == pytest.approx(3.0, abs=SLACK)

    def test_what_is_too_long_and_says_that_it_is_not(self) -> None:
        body = bytearray(recording("mp4", seconds=3.0))
        shorten(body, 1.0)

        assert refusal(bytes(body), seconds=2).code == "too_long"

    def test_pictures_that_are_too_large_are_never_decoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from chalicelib.media import decoding

        monkeypatch.setattr(decoding.Decoding, "_decoded", None)

        error = refusal(recording("mp4"), pixels=64 * 48 - 1)

        assert error.code == "too_many_pixels"

    @pytest.mark.parametrize(
        "media_type", ["video/mp4", "video/x-matroska", "audio/mpeg", "video/mp2t", "audio/wav"]
    )
    @pytest.mark.parametrize(
        "body",
        [
            b"just some text",
            b"",
            b"\0" * 5_000,
            b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n",
            b"<html></html>",
        ],
    )
    def test_what_is_something_else(self, media_type: str, body: bytes) -> None:
        assert refusal(body, media_type).code == "corrupt_media"

    def test_what_nothing_here_reads(self) -> None:
        assert refusal(b"MThd\0\0\0\6", "audio/midi").code == "unsupported_media"

    def test_a_codec_that_nobody_knows(self) -> None:
        body = recording("mp4", audio=None).replace(b"avc1", b"zzzz")

        assert refusal(body, "video/mp4").code == "unsupported_media"

    @pytest.mark.parametrize("channels", [9, 200])
    def test_more_channels_than_have_a_name(self, channels: int) -> None:
        error = refusal(recordings.wav(channels), "audio/wav")

        assert error.code == "unsupported_media"
        assert f"{channels} channels" in error.message

    @pytest.mark.parametrize("matrix", [8, 10, 11])  # YCgCo, BT.2020 constant luminance, SMPTE ST 2085
    def test_colours_that_nothing_here_converts(self, matrix: int) -> None:
        body = recording("matroska", video="ffv1", audio=None, seconds=0.2, colours=(1, 1, matrix))

        assert refusal(body).code == "unsupported_media"

    def test_an_index_that_is_missing(self) -> None:
        body = recording("mp4")
        begin = next(begin for kind, begin, _ in recordings.boxes(body) if kind == "moov")

        assert refusal(body[:begin]).code == "corrupt_media"

    def test_a_film_that_breaks_off_too_early(self) -> None:
        body = recording("mp4", seconds=2.0, options={"movflags": "+faststart"})
        begin, end = next((begin, end) for kind, begin, end in recordings.boxes(body) if kind == "mdat")

        assert refusal(body[: begin + (end - begin) // 10]).code == "corrupt_media"

    def test_pictures_that_are_none(self) -> None:
        body = bytearray(recording("mp4", audio=None, options={"movflags": "+faststart"}))
        begin, end = next(
            (begin, end) for kind, begin, end in recordings.boxes(bytes(body)) if kind == "mdat"
        )
        body[begin + 8 : end] = b"\x55" * (end - begin - 8)

        assert refusal(bytes(body)).code == "corrupt_media"

    def test_no_picture_at_all(self) -> None:
        body = recording("matroska", audio=None)
        first = body.index(b"\x1f\x43\xb6\x75")  # the first cluster (RFC 9559, section 5.1.3)

        assert refusal(body[:first]).code == "corrupt_media"


def shorten(body: bytearray, seconds: float) -> None:
    """Have an MP4 say that it is shorter than it is (ISO/IEC 14496-12, sections 8.2.2, 8.3.2 and 8.4.2)."""
    for kind, at_scale, at_duration in ((b"mvhd", 16, 20), (b"mdhd", 16, 20)):
        begin = -1
        while (begin := body.find(kind, begin + 1)) >= 0:
            (scale,) = struct.unpack_from(">I", body, begin + at_scale)
            struct.pack_into(">I", body, begin + at_duration, round(seconds * scale))
    begin = -1
    while (begin := body.find(b"tkhd", begin + 1)) >= 0:
        struct.pack_into(">I", body, begin + 24, round(seconds * 1000))


class TestDamage:
    def test_of_a_film_without_its_end_there_is_the_rest(self) -> None:
        body = recording("mp4", seconds=4.0, options={"movflags": "+faststart"})
        begin, end = next((begin, end) for kind, begin, end in recordings.boxes(body) if kind == "mdat")

        result = made_of(body[: begin + (end - begin) * 7 // 10])

        assert result.metadata["truncated"] is True
        assert 2.0 < result.metadata["duration"] < 3.5
        assert Mp4(output(result, "video.mp4")).seconds == pytest.approx(
            result.metadata["duration"], abs=SLACK
        )

    def test_of_a_sound_with_a_hole_there_is_the_rest(self) -> None:
        body = bytearray(sound("ipod", "aac", seconds=2.0))
        body[3_000:5_000] = b"\xff" * 2_000

        result = made_of(bytes(body))

        assert result.metadata["damaged"] is True
        assert result.metadata["duration"] == pytest.approx(2.0, abs=0.5)


class TestWhatIsDeclared:
    def test_of_a_guess_it_is_not_believed(self) -> None:
        """AAC without a container says nothing of its length, and silence takes far fewer bits than music."""
        silence = sound("adts", "aac", rate=44_100, hertz=0)

        result = made_of(silence + sound("adts", "aac", rate=44_100, seconds=9.0, hertz=3_000.0))

        assert result.metadata["duration"] == pytest.approx(10.0, abs=2 * SLACK)
        assert result.metadata["bitRate"] > 20_000
        assert "truncated" not in result.metadata

    @pytest.mark.parametrize("size", [0, 0x7FFF_F000, 0xFFFF_FFFF])
    def test_a_recorder_that_did_not_know_is_forgiven(self, size: int) -> None:
        body = bytearray(sound("wav", "pcm_s16le"))
        struct.pack_into("<I", body, body.index(b"data") + 4, size)

        assert made_of(bytes(body)).metadata["duration"] == 1.0

    def test_fragments_are_a_film(self) -> None:
        body = recording("mp4", seconds=2.0, options={"movflags": "frag_keyframe+empty_moov"})

        assert made_of(body).metadata["duration"] == pytest.approx(2.0, abs=SLACK)
        assert refusal(body, seconds=1).code == "too_long"


class TestProgress:
    @pytest.mark.parametrize("make", [lambda: recording("mp4"), lambda: sound("flac", "flac")])
    def test_it_goes_by_the_time_that_a_file_lasts(self, tmp_path: Path, make: Callable[[], bytes]) -> None:
        body = make()
        reports: list[float] = []
        plain = source(tmp_path, body, "file", detect(body[:HEAD_BYTES], "file").media_type)
        process(
            Source(plain.path, "file", plain.media_type, plain.scratch, plain.caps, report=reports.append)
        )

        assert all(0 <= fraction <= 1 for fraction in reports)
        assert reports[-1] > 0.9
        assert len(reports) > 10


def test_outputs_are_files_in_the_scratch_directory(tmp_path: Path) -> None:
    original = source(tmp_path, recording("mp4"), "file", "video/mp4")

    outputs: list[Output] = process(original).outputs

    assert isinstance(outputs[0].body, Path)
    assert outputs[0].body.parent == original.scratch
