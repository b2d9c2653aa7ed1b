"""Directories of jobs: room for them, what goes in, and that nothing stays behind."""

import io
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chalicelib import scratch
from chalicelib.errors import NoTurn
from chalicelib.scratch import CHUNK, LARGE_PREFIX, PREFIX, ROOM, SETTLING


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place of its own for temporary files, and a process that has not begun."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch._room.cache_clear()
    yield tmp_path
    scratch._room.cache_clear()


def left_behind(temporary: Path, name: str, age: float) -> Path:
    (path := temporary / name).mkdir()
    (path / "original").write_bytes(b"secret")
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, 3 * CHUNK + 1])
def test_an_original_is_put_together_from_its_head_and_the_rest(size: int) -> None:
    body = os.urandom(size)
    stream = io.BytesIO(body)
    head = stream.read(1000)
    with scratch.place(size) as place:
        place.receive(head, stream)
        assert place.original.read_bytes() == body


def test_it_begins_with_nothing_and_leaves_nothing(temporary: Path) -> None:
    with scratch.place(1) as place:
        assert list(place.scratch.iterdir()) == []
        assert not place.original.exists()
        (place.scratch / "a").write_bytes(b"a")
        (place.scratch / "b").mkdir()
    assert list(temporary.iterdir()) == []


def test_an_error_leaves_nothing_either(temporary: Path) -> None:
    with pytest.raises(ValueError, match="broken"), scratch.place(1):
        raise ValueError("broken")
    assert list(temporary.iterdir()) == []


def test_each_job_has_its_own() -> None:
    with scratch.place(1) as one, scratch.place(1) as other:
        assert one.original != other.original
        assert one.scratch != other.scratch


def test_only_so_much_lies_there_at_a_time() -> None:
    now = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(scratch.place(ROOM - 10))
        stack.enter_context(scratch.place(10))
        with pytest.raises(NoTurn), scratch.place(1, now):
            pass
    with scratch.place(1, now):
        pass


def test_what_killed_processes_left_is_deleted_and_nothing_else(temporary: Path) -> None:
    """The function's next process has the disk of the one that ran out of time, and as it left it."""
    old = left_behind(temporary, PREFIX + "old", SETTLING + 1)
    kept = [left_behind(temporary, PREFIX + "fresh", 0), left_behind(temporary, "waybill-demo", 3600)]
    (target := temporary / "target").mkdir()
    (link := temporary / (PREFIX + "link")).symlink_to(target)
    os.utime(link, (0, 0), follow_symlinks=False)
    with scratch.place(1):
        assert not old.exists()
        assert all((path / "original").exists() for path in kept)
        assert target.exists()
        assert link.is_symlink()


def test_a_leftover_that_is_somebody_else_s_is_left_to_them(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = left_behind(temporary, PREFIX + "old", SETTLING + 1)
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    scratch.remove_leftovers(PREFIX)
    assert path.exists()


def test_what_another_process_is_at_stays(temporary: Path) -> None:
    with scratch.place(1) as one:
        one.original.write_bytes(b"a photo")
        os.utime(one.original.parent, (0, 0))
        scratch._room.cache_clear()  # as in a process that has not begun
        with scratch.place(1):
            assert one.original.exists()
    assert list(temporary.iterdir()) == []


def test_the_next_worker_deletes_at_once_what_a_killed_one_has_left(temporary: Path) -> None:
    old = left_behind(temporary, LARGE_PREFIX + "old", SETTLING + 1)
    fresh = left_behind(temporary, LARGE_PREFIX + "fresh", 0)
    with scratch.large_place():
        assert not old.exists()
        assert fresh.exists()


def test_what_another_worker_is_at_stays_however_long_that_takes(temporary: Path) -> None:
    with scratch.large_place() as one:
        one.original.write_bytes(b"a film")
        os.utime(one.original.parent, (0, 0))
        with scratch.large_place() as other:
            assert one.original.exists()
            assert other.original != one.original
        assert one.original.exists()
    assert list(temporary.iterdir()) == []
