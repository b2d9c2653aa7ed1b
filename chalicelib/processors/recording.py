"""Sound and films: which of the two a file is shows when it is opened, as most containers hold either."""

from chalicelib.media import looking
from chalicelib.processors import audio, video
from chalicelib.processors.base import Result, Source


def process(source: Source) -> Result:
    """As `audio.made` or as `video.made`, whatever the file passes for.

    Raises:
        Rejected: `corrupt_media`, `unsupported_media`, `too_long`, `too_many_pixels`.
    """
    look = looking.look(source.path, source.media_type, pixels=source.caps.pixels, limit=source.caps.seconds)
    return video.made(source, look, look.film) if look.film else audio.made(source, look)
