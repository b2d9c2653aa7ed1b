"""Files of no family: kept as they are, with a checksum; and the registry of all families."""

import hashlib
from pathlib import Path

import pytest

from chalicelib.processors import REGISTRY, Result
from chalicelib.processors.other import process
from tests.unit.sources import source


@pytest.mark.parametrize("body", [b"", b"\x00\xff" * 1000, b"text as well"])
def test_the_checksum_is_of_the_very_bytes(body: bytes, tmp_path: Path) -> None:
    result = process(source(tmp_path, body, "a.bin", "application/octet-stream"))

    assert result == Result(metadata={"sha256": hashlib.sha256(body).hexdigest()})


@pytest.mark.parametrize("family", ["data", "text", "other"])
def test_every_family_makes_of_a_file_what_can_be_stored(family: str, tmp_path: Path) -> None:
    result = REGISTRY[family](source(tmp_path, b'{"id": "1"}', "a.json", "application/json"))

    assert result.metadata
    assert all(output.name and "/" not in output.name for output in result.outputs)
    assert [event.id for event in result.events] == (["1"] if family == "data" else [])


def test_results_share_nothing() -> None:
    """The lists of one file must not turn up in another's."""
    first, second = Result(), Result()
    first.metadata["a"] = 1

    assert second.metadata == {}
    assert first.outputs is not second.outputs
    assert first.events is not second.events
