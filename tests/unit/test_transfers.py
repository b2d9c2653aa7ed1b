"""Originals of any size, range by range, each of the content that was opened."""

from pathlib import Path

import pytest

from chalicelib import storage, transfers
from chalicelib.errors import LeaseLost, NotFound, Superseded
from chalicelib.settings import Settings
from chalicelib.storage import Original
from tests.unit.flow import Flow

BODY = bytes(range(256)) * 41 + b"end"


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    monkeypatch.setattr(transfers, "RANGE", 1000)
    monkeypatch.setattr(transfers, "CHUNK", 300)
    return Flow(aws, monkeypatch)


def opened(flow: Flow) -> tuple[str, Original]:
    key = flow.new_key("much.bin")
    flow.upload(key, BODY)
    original = storage.open_original(flow.settings, flow.job(key))
    original.body.close()
    return key, original


def test_the_file_on_disk_is_the_original(flow: Flow, tmp_path: Path) -> None:
    _, original = opened(flow)
    told: list[int] = []
    transfers.download(flow.settings, original, tmp_path / "original", told.append)

    assert (tmp_path / "original").read_bytes() == BODY
    assert (told == sorted(told), told[-1]) == (True, len(BODY))


def test_chunks_come_in_order(flow: Flow) -> None:
    _, original = opened(flow)

    assert b"".join(transfers.chunks(flow.settings, original)) == BODY


def test_a_newer_upload_is_not_mixed_in(flow: Flow, tmp_path: Path) -> None:
    key, original = opened(flow)
    flow.put(key, BODY[::-1])

    with pytest.raises(Superseded):
        transfers.download(flow.settings, original, tmp_path / "original", lambda _: None)
    with pytest.raises(Superseded):
        list(transfers.chunks(flow.settings, original))


def test_an_original_that_is_removed_meanwhile_is_missed(flow: Flow, tmp_path: Path) -> None:
    key, original = opened(flow)
    flow.s3.delete_object(Bucket=flow.settings.bucket, Key=key)

    with pytest.raises(NotFound):
        transfers.download(flow.settings, original, tmp_path / "original", lambda _: None)


def test_who_is_told_may_end_it(flow: Flow, tmp_path: Path) -> None:
    _, original = opened(flow)

    def lost(_: int) -> None:
        raise LeaseLost("somebody else's")

    with pytest.raises(LeaseLost):
        transfers.download(flow.settings, original, tmp_path / "original", lost)
