"""What is said of a file that cannot be worked on."""

from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.errors import Rejected


def corrupt(what: str = "The file cannot be read: it is damaged or incomplete.") -> Rejected:
    return Rejected(
        f"{what} Upload the original again, or save it anew and upload that.", code="corrupt_media"
    )


def unsupported(what: str) -> Rejected:
    return Rejected(
        f"{what} Convert it to MP4 (H.264 and AAC) or MP3 and upload that.", code="unsupported_media"
    )


def too_long(seconds: int) -> Rejected:
    return Rejected(
        f"It lasts longer than the {seconds} seconds that are allowed: cut it into parts.", code="too_long"
    )


def too_large(width: int, height: int, pixels: int) -> Rejected:
    return Rejected(
        f"Its picture has {width * height:,} pixels ({width} by {height}), and {pixels:,} are allowed: "
        "make it smaller.",
        code="too_many_pixels",
    )


@contextmanager
def told_of_the_file() -> Iterator[None]:
    """FFmpeg's errors become what they mean for the file; a want of memory stays what it is."""
    from av import error

    try:
        yield
    except error.MemoryError:
        raise
    except (
        error.DecoderNotFoundError,
        error.DemuxerNotFoundError,
        error.NotImplementedError,
        error.PatchWelcomeError,
    ):
        raise unsupported("It is written in a way that cannot be read here.") from None
    except (error.FFmpegError, UnicodeDecodeError):
        raise corrupt() from None
