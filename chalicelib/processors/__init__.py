"""The processors, one module a family: bytes in, outputs and metadata out. None of them talks to AWS."""

from chalicelib.processors import data, image, other, pdf, recording, text
from chalicelib.processors.base import Caps, Event, Output, Processor, Result, Source

__all__ = ["REGISTRY", "Caps", "Event", "Output", "Processor", "Result", "Source"]

REGISTRY: dict[str, Processor] = {
    "image": image.process,
    "pdf": pdf.process,
    "data": data.process,
    "text": text.process,
    "other": other.process,
    "audio": recording.process,
    "video": recording.process,
}
"""Family, as `filetypes` names it → what processes it."""
