"""A processor at work on bytes, and the bytes that it makes of them."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chalicelib.processors import Output, Processor, Result
from tests.unit.sources import source


def result_of(process: Processor, body: bytes, filename: str, media_type: str, **caps: Any) -> Result:
    """What the processor returns, its outputs read into memory."""
    with TemporaryDirectory() as directory:
        result = process(source(Path(directory), body, filename, media_type, **caps))
        outputs = [replace(output, body=content(output)) for output in result.outputs]
    return replace(result, outputs=outputs)


def content(output: Output) -> bytes:
    return output.body if isinstance(output.body, bytes) else output.body.read_bytes()
