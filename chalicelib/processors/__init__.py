"""The processors, one module a family: bytes in, outputs and metadata out. None of them talks to AWS."""

from chalicelib.processors import data, other, text
from chalicelib.processors.base import Caps, Event, Output, Processor, Result, Source

__all__ = ["REGISTRY", "Caps", "Event", "Output", "Processor", "Result", "Source"]

REGISTRY: dict[str, Processor] = {
    "data": data.process,
    "text": text.process,
    "other": other.process,
    # Sound and films are kept as they are.
    "audio": other.process,
    "video": other.process,
}
"""Family, as `filetypes` names it → what processes it."""
