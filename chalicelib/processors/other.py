"""Anything that is allowed and has no processor of its own: kept, with its size and checksum."""

import hashlib

from chalicelib.processors.base import Result, Source


def process(source: Source) -> Result:
    return Result(metadata={"sha256": hashlib.sha256(source.body).hexdigest()})
