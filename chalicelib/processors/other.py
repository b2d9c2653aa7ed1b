"""Anything that is allowed and has no processor of its own: kept, with its size and checksum."""

import hashlib

from chalicelib.processors.base import Result, Source


def process(source: Source) -> Result:
    with source.path.open("rb") as file:
        return Result(metadata={"sha256": hashlib.file_digest(file, "sha256").hexdigest()})
