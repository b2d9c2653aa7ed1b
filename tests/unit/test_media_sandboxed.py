"""Sound and films in the real sandbox: progress, limits, damage of every kind, and no way out of the file."""

import os
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from chalicelib import sandbox
from chalicelib.errors import DecodeFailed, Rejected
from chalicelib.filetypes import HEAD_BYTES, detect
from chalicelib.processors import REGISTRY, Result
from chalicelib.sandbox.pool import Pool
from chalicelib.settings import GiB, MiB
from tests.unit.recordings import recording, silence, sound
from tests.unit.sources import source

LONG = 120.0
CODES = {
    *("corrupt_media", "unsupported_media", "too_long", "too_many_pixels"),
    *("decode_timeout", "decode_out_of_memory", "decode_crashed"),
}
MUTATIONS = 12


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = Pool(1, 3 * GiB)
    yield pool
    pool.close()


def run(
    pool: Pool, place: Path, body: bytes, name: str = "file", media_type: str = "", **limits: Any
) -> Result:
    found = detect(body[:HEAD_BYTES], name)
    caps = {name: limits.pop(name) for name in ("seconds", "pixels") if name in limits}
    original = source(place, body, name, media_type or found.media_type, **caps)
    family = found.family if found.family in ("audio", "video") else "video"
    return pool.run(family, original, **({"cpu_seconds": 60, "wall_seconds": LONG} | limits))


def children(pool: Pool) -> list[int]:
    return [child.pid for child in pool._idle]


@pytest.mark.parametrize("make", [lambda: recording("mp4"), lambda: sound("mp3", "libmp3lame", rate=44_100)])
def test_a_result_comes_across(pool: Pool, tmp_path: Path, make: Callable[[], bytes]) -> None:
    result = run(pool, tmp_path, make())

    assert result.metadata["duration"] > 0.9
    assert [output.name for output in result.outputs] in (
        ["video.mp4", "poster.jpg"],
        ["audio.m4a", "waveform.png"],
    )
    assert all(isinstance(output.body, Path) and output.body.stat().st_size for output in result.outputs)


def test_progress_is_told(pool: Pool, tmp_path: Path) -> None:
    heard: list[float] = []
    body = sound("adts", "aac", rate=44_100, hertz=0, seconds=1.0) * 400

    run(pool, tmp_path, body, on_progress=heard.append)

    assert heard
    assert heard == sorted(heard)
    assert all(0 < fraction <= 1 for fraction in heard)


def test_a_film_that_takes_too_long_to_read_ends_with_its_child(pool: Pool, tmp_path: Path) -> None:
    body = sound("adts", "aac", rate=44_100, seconds=1.0) * 1_000

    with pytest.raises(DecodeFailed) as caught:
        run(pool, tmp_path, body, cpu_seconds=1)

    assert caught.value.code == "decode_timeout"
    assert children(pool) == []


def test_a_film_that_takes_too_much_memory_says_so(tmp_path: Path) -> None:
    body = recording("mp4", size=(3840, 2160), seconds=0.2, audio=None)
    small = Pool(1, 320 * MiB)

    with pytest.raises(DecodeFailed) as caught:
        run(small, tmp_path, body)

    assert caught.value.code == "decode_out_of_memory"
    assert children(small) == []


def test_the_usual_limit_on_memory_is_enough_for_a_large_film(pool: Pool, tmp_path: Path) -> None:
    body = recording("mp4", size=(3840, 2160), seconds=0.2, audio=None)

    assert run(pool, tmp_path, body).metadata["width"] == 3840


def test_eight_hours_of_silence_are_refused_by_their_stamps(pool: Pool, tmp_path: Path) -> None:
    """To decode them takes minutes."""
    with pytest.raises(Rejected) as caught:
        run(pool, tmp_path, silence(8 * 3600), seconds=3600, cpu_seconds=20)

    assert caught.value.code == "too_long"


class TestNoWayOut:
    """What names other files or servers reaches neither."""

    @pytest.fixture
    def server(self) -> Iterator[tuple[str, Callable[[], int]]]:
        """An address, and how often somebody has called there."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()

            def calls() -> int:
                """Those that wait come before one of our own."""
                with socket.create_connection(address) as ours:
                    others = 0
                    while True:
                        connection, who = listener.accept()
                        connection.close()
                        if who == ours.getsockname():
                            return others
                        others += 1

            yield f"http://127.0.0.1:{address[1]}", calls

    @pytest.mark.parametrize(
        "text",
        [
            "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n",
            "ffconcat version 1.0\nfile '{url}'\n",
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>',
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
            "rtsptext{url}",
        ],
        ids=["HLS", "concat", "DASH", "SDP", "RTSP text"],
    )
    def test_a_list_of_other_files(
        self, pool: Pool, tmp_path: Path, server: tuple[str, Callable[[], int]], text: str
    ) -> None:
        url, calls = server
        (marker := tmp_path / "secret.ts").write_bytes(recording("mpegts"))
        os.utime(marker, (1, 1))
        for target in (f"{url}/film.ts", f"file://{marker}", str(marker), marker.name):
            body = text.replace("{url}", target).encode()
            assert detect(body, "film.mp4").family not in ("audio", "video")
            for media_type in (
                "video/mp4",
                "video/mp2t",
                "video/x-matroska",
                "audio/mpeg",
                "application/vnd.ms-asf",
            ):
                with pytest.raises(Rejected) as caught:
                    run(pool, tmp_path, body, "film.mp4", media_type)
                assert caught.value.code == "corrupt_media"
        assert calls() == 0
        assert marker.stat().st_atime == 1

    def test_a_reader_that_takes_playlists_would_have_called(
        self, tmp_path: Path, server: tuple[str, Callable[[], int]]
    ) -> None:
        """The server hears who calls: that nobody did, in the other tests, says something."""
        url, calls = server
        (playlist := tmp_path / "list.m3u8").write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}/film.ts\n#EXT-X-ENDLIST\n"
        )

        with pytest.raises(av.FFmpegError):
            av.open(
                str(playlist),
                options={"protocol_whitelist": "file,http,tcp", "rw_timeout": "200000"},
                timeout=2,
            )

        assert calls() >= 1

    def test_a_playlist_that_begins_like_a_film(
        self, pool: Pool, tmp_path: Path, server: tuple[str, Callable[[], int]]
    ) -> None:
        url, calls = server
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}/film.ts\n".encode()
        for body in (
            b"\x00\x00\x01\xba" + playlist,
            b"ID3\x04\x00\x00\x00\x00\x00\x00" + playlist,
            b"\x47" + playlist,
        ):
            with pytest.raises(Rejected):
                run(pool, tmp_path, body, "film.m3u8")
        assert calls() == 0


DAMAGED: dict[str, Callable[[], bytes]] = {
    "mp4": lambda: recording("mp4", seconds=0.5),
    "mp4 from its beginning": lambda: recording("mp4", seconds=0.5, options={"movflags": "+faststart"}),
    "mov": lambda: recording("mov", video="mpeg4", audio="pcm_s16le", seconds=0.5, turn=(-90, False)),
    "matroska": lambda: recording("matroska", seconds=0.5),
    "webm": lambda: recording("webm", video="libvpx", audio="libopus", rate=48_000, seconds=0.4),
    "avi": lambda: recording("avi", video="mpeg4", audio="libmp3lame", rate=44_100, seconds=0.5),
    "mpegts": lambda: recording("mpegts", seconds=0.5),
    "flv": lambda: recording("flv", rate=44_100, seconds=0.5),
    "mp3": lambda: sound("mp3", "libmp3lame", rate=44_100, seconds=0.5, tags={"title": "Song"}),
    "flac": lambda: sound("flac", "flac", seconds=0.5),
    "ogg": lambda: sound("ogg", "libopus", rate=48_000, seconds=0.5),
    "wav": lambda: sound("wav", "pcm_s16le", seconds=0.5),
    "m4a": lambda: sound("ipod", "aac", seconds=0.5),
    "aac": lambda: sound("adts", "aac", rate=44_100, seconds=0.5),
}


def damaged(body: bytes, seed: str) -> Iterator[bytes]:
    """Bits flipped, most where a file describes itself; its end cut off, parts put in, taken out, doubled."""
    chance = random.Random(seed)
    for _ in range(MUTATIONS):
        broken = bytearray(body)
        for _ in range(chance.randint(1, 12)):
            whole = len(broken)
            at = chance.choice(
                (
                    chance.randrange(min(whole, 600)),
                    chance.randrange(whole),
                    whole - 1 - chance.randrange(min(whole, 900)),
                )
            )
            match chance.choice(("flip", "flip", "number", "cut", "insert", "delete", "repeat")):
                case "flip":
                    broken[at] ^= 1 << chance.randrange(8)
                case "number":
                    broken[at : at + 4] = chance.choice(
                        (b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", chance.randbytes(4))
                    )
                case "cut" if chance.random() < 0.2 and at > 64:
                    del broken[at:]
                case "insert":
                    broken[at:at] = chance.randbytes(chance.randint(1, 9))
                case "delete":
                    del broken[at : at + chance.randint(1, 40)]
                case "repeat":
                    broken[at:at] = broken[at : at + 200] * chance.randint(1, 4)
        yield bytes(broken)


def test_whatever_is_wrong_with_a_file_it_ends_with_a_result_or_a_code(
    pool: Pool, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    ended: Counter[str] = Counter()
    for kind, make in DAMAGED.items():
        body = make()
        media_type = detect(body[:HEAD_BYTES], "file").media_type
        for broken in damaged(body, kind):
            try:
                result = run(pool, tmp_path, broken, "file", media_type, cpu_seconds=20)
            except (Rejected, DecodeFailed) as error:
                ended[error.code] += 1
            else:
                assert result.metadata["duration"] >= 0
                ended["a result"] += 1
    assert ended.total() == len(DAMAGED) * MUTATIONS
    assert set(ended) <= {"a result", *CODES}
    assert ended["a result"]
    assert ended["corrupt_media"]
    figure(f"{ended.total()} damaged recordings: {dict(sorted(ended.items()))}")


def test_a_longer_file_takes_no_more_memory(tmp_path: Path, figure: Callable[[str], None]) -> None:
    peaks = {}
    for seconds in (2, 12):
        alone = Pool(1, 3 * GiB)
        body = recording("mp4", size=(320, 240), seconds=seconds, rate=44_100)
        run(alone, tmp_path, body)
        peaks[seconds] = peak_of(children(alone)[0])
        alone.close()
    figure(f"film of {peaks} (seconds: bytes at the peak)")
    assert peaks[12] < peaks[2] + 8 * MiB


def peak_of(pid: int) -> int:
    """Bytes of memory that a process has had at most: Linux, proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_both_families_have_the_processor() -> None:
    assert REGISTRY["audio"] is REGISTRY["video"]
    assert sandbox.wall_seconds(3_600) == 5_400
