"""Hundreds of broken files of every family through the sandbox, and some of them all the way: all end."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from chalicelib.errors import DecodeFailed, Rejected
from chalicelib.filetypes import HEAD_BYTES, detect
from chalicelib.jobs import Status
from chalicelib.sandbox.pool import Pool
from chalicelib.settings import Settings
from tests.files import pdfs, pictures
from tests.files.mutations import mutated
from tests.unit.flow import Flow
from tests.unit.sources import source

FILES = 200
"""Of each family."""
THROUGH_THE_QUEUE = 20
"""As many of them as jobs: beside the work on the file, a job's steps are the same for all."""

ORDER = b'{"id": "%d", "total": 12.50, "lines": [{"sku": "a", "n": 1e3}, null, "\\u00e9"]}'

SOUND: dict[str, dict[str, bytes]] = {
    "image": {
        f"corners.{kind}": pictures.encoded(pictures.corners(), kind)
        for kind in ("jpeg", "png", "webp", "gif", "tiff", "avif")
    },
    "pdf": {"letter.pdf": pdfs.with_lines("Dear reader", "Grüße", "日本語")},
    "data": {
        "order.json": b"[" + ORDER % 1 + b",\n" + ORDER % 2 + b"]",
        "orders.ndjson": b"\n".join(ORDER % number for number in range(9)),
        "people.csv": b'name,born,"note, quoted"\r\n' + 'Åsa,2001-02-03,"two\r\nlines"\r\n'.encode() * 40,
    },
    "text": {
        "notes.txt": "Grüße aus Köln, e\u0301 und 🎉\r\n".encode() * 20,
        "latin.txt": "Grüße aus Köln\n".encode("latin-1") * 20,
        "wide.txt": "Grüße\n".encode("utf-16") * 20,
    },
}


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(1, memory_bytes=2**30)
    yield pool
    pool.close()


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch, sandboxed=True)


def broken(family: str) -> Iterator[tuple[str, bytes]]:
    each = -(-FILES // len(SOUND[family]))
    for name, body in SOUND[family].items():
        for file in mutated(body, each, seed=len(name)):
            yield name, file or b"\0"


@pytest.mark.parametrize("family", SOUND)
def test_whatever_is_wrong_with_a_file_it_is_read_or_refused(
    pool: Pool, tmp_path: Path, family: str, figure: Callable[[str], None]
) -> None:
    ended: Counter[str] = Counter()
    for name, body in broken(family):
        file_type = detect(body[:HEAD_BYTES], name)
        original = source(tmp_path, body, name, file_type.media_type)
        try:
            pool.run(file_type.family, original, cpu_seconds=10, wall_seconds=15.0)
            ended["read"] += 1
        except (Rejected, DecodeFailed) as error:
            ended[error.code] += 1

    assert ended.total() >= FILES
    assert ended["read"] > 0
    figure(f"{ended.total()} broken files, family {family}: {dict(sorted(ended.items()))}")


@pytest.mark.parametrize("family", SOUND)
def test_whatever_is_wrong_with_a_file_its_job_ends(flow: Flow, family: str) -> None:
    sent = []
    for number, (name, body) in enumerate(islice(broken(family), None, None, FILES // THROUGH_THE_QUEUE), 1):
        key = flow.new_key(name, owner=family)
        flow.upload(key, body)
        sent.append(key)
        if number % 10 == 0:
            flow.consume()
    flow.consume()

    jobs = {job.source_key: job for job in flow.jobs(family)}
    assert [key for key in sent if not jobs[key].status.ended] == []
    assert len({job.job_id for job in jobs.values()}) == len(sent) >= THROUGH_THE_QUEUE
    assert [key for key in flow.object_keys() if key.startswith("uploads/")] == []
    assert all((job.error is None) == (job.status is Status.COMPLETED) for job in jobs.values())
    assert "processing_failed" not in {(job.error or {"code": ""})["code"] for job in jobs.values()}


@pytest.mark.parametrize(("family", "name"), [(family, name) for family in SOUND for name in SOUND[family]])
def test_sound_files_are_of_the_family_that_they_stand_for(family: str, name: str) -> None:
    assert detect(SOUND[family][name][:HEAD_BYTES], name).family == family


TYPICAL: dict[str, tuple[str, Callable[[], bytes]]] = {
    "image": ("photo of 12 megapixels.jpg", lambda: pictures.encoded(pictures.plain(4000, 3000), "jpeg")),
    "pdf": ("book of 300 pages.pdf", lambda: pdfs.with_lines(*["A line of a book"] * 300)),
    "data": ("table of 48 MiB.csv", lambda: b"id,name,price\n" + b"12345,something,67.89\n" * 2_300_000),
    "text": ("log of 48 MiB.txt", lambda: "2026-01-02 Grüße aus Köln, Zeile\n".encode() * 1_400_000),
    "other": ("archive of 48 MiB.bin", lambda: b"\0\1\2\3" * 12 * 1024 * 1024),
}


@pytest.mark.parametrize("family", TYPICAL)
def test_the_peak_memory_of_one_file_is_shown(
    pool: Pool, family: str, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    name, make = TYPICAL[family]
    body = make()
    media_type = detect(body[:HEAD_BYTES], name).media_type
    original = source(tmp_path, body, name, media_type, rows=5_000_000)
    result = pool.run(family, original, cpu_seconds=30, wall_seconds=45.0)
    assert result.metadata
    figure(f"{family:<6} {peak_of(pool._idle[0].pid) / 2**20:4.0f} MiB at the peak: {name}")


def peak_of(pid: int) -> int:
    """Bytes of memory that a process has had at most: Linux, proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
