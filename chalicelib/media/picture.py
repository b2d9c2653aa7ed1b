"""Pictures of a film on their way to its new version: upright, small enough, 8 bits, of square pixels."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from chalicelib.media import faults, opening
from chalicelib.media.looking import Film

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph

LONG_SIDE, SHORT_SIDE = 1280, 720
"""The box, lying or standing, that a film fits into; it is never enlarged."""

TICKS = 90_000
"""A second."""

PAUSE = TICKS // 60
"""Between two pictures; where they come faster, some are left out."""

EARLY = PAUSE // 5
"""By so much one may come before its time: stamps are rounded."""

_BT709 = "out_color_matrix=bt709:out_primaries=bt709:out_transfer=bt709"


def size_of(film: Film) -> tuple[int, int]:
    """Width and height in pixels, both even, as 4:2:0 wants them."""
    long, short = max(film.width, film.height), min(film.width, film.height)
    scale = min(Fraction(1), Fraction(LONG_SIDE, long), Fraction(SHORT_SIDE, short))
    return _even(film.width * scale), _even(film.height * scale)


def _even(side: Fraction) -> int:
    return max(2, int(side) // 2 * 2)


class Pictures:
    """Frames as they were decoded go in, frames as they are to be encoded come out, in ticks from 0."""

    def __init__(self, film: Film) -> None:
        self._film = film
        self._width, self._height = size_of(film)
        self._graph: Graph | None = None
        self._shape: tuple[object, ...] = ()
        self._due = 0

    def feed(self, frame: "VideoFrame", seconds: float) -> "Iterator[VideoFrame]":
        """What comes out of one frame: one at most, but where the film changes its shape."""
        ticks = round(seconds * TICKS)
        if ticks < max(0, self._due - EARLY):
            return
        self._due = max(self._due, ticks - EARLY) + PAUSE
        shape = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        if shape != self._shape:
            yield from self.flush()
            with faults.told_of_the_file():
                self._graph, self._shape = self._filters(frame), shape
        lasts = frame.duration * frame.time_base if frame.time_base else 0
        frame.pts, frame.duration, frame.time_base = ticks, round(lasts * TICKS), Fraction(1, TICKS)
        yield from self._filtered(frame)

    def flush(self) -> "Iterator[VideoFrame]":
        """What is still on its way."""
        if self._graph is not None:
            yield from self._filtered(None)
            self._graph = None

    def _filtered(self, frame: "VideoFrame | None") -> "Iterator[VideoFrame]":
        assert self._graph is not None
        with faults.told_of_the_file():
            self._graph.vpush(frame)
        while (made := self._pulled(self._graph)) is not None:
            if made.pts is not None and made.time_base:
                made.pts = round(made.pts * made.time_base * TICKS)
                made.duration = round(made.duration * made.time_base * TICKS)
            made.time_base = Fraction(1, TICKS)
            made.pict_type = 0  # the encoder decides
            yield made

    def _pulled(self, graph: "Graph") -> "VideoFrame | None":
        from av import error

        with faults.told_of_the_file():
            try:
                return graph.vpull()
            except (error.BlockingIOError, error.EOFError):
                return None

    def _filters(self, frame: "VideoFrame") -> "Graph":
        from av.filter import Graph

        graph = Graph()
        graph.threads = opening.threads()
        told = (
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/{TICKS}:"
            f"colorspace={frame.colorspace}:range={frame.color_range}"
        )
        nodes = [graph.add("buffer", told)]
        if self._film.interlaced:
            nodes.append(graph.add("bwdif", "mode=send_frame:deint=interlaced"))
        nodes += [graph.add(name, arguments or None) for name, arguments in self._film.turn.filters()]
        colours = f":{_BT709}" if self._film.colours.are_hdr else ""
        nodes += [
            graph.add("scale", f"{self._width}:{self._height}:flags=bicubic:out_range=tv{colours}"),
            graph.add("setsar", "1"),
            graph.add("format", "yuv420p"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes)
        graph.configure()
        return graph
