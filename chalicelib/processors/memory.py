"""Memory: how decoders say that there was not enough of it. In C, that is one error among all others."""

_WORDS = (
    "out of memory",
    "cannot allocate",
    "unable to allocate",
    "bad alloc",
    "insufficient memory",  # libjpeg
    "memory allocation error (",  # libheif; with a colon, a limit of its own follows, which the file exceeds
)


def ran_out(error: Exception) -> bool:
    """Whether memory is what the decoder was short of, and not that the file is wrong."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in _WORDS)
