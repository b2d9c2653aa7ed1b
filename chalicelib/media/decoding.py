"""The frames of a file, one after the other, with the time at which each begins."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from chalicelib.media import faults, opening
from chalicelib.media.timeline import FORWARDS, Clock, Timeline

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

    Stream = AudioStream | VideoStream
    Frame = AudioFrame | VideoFrame

MOST_FRAMES_A_SECOND = 1_000
"""That a file is believed to have."""


@dataclass(slots=True)
class Damage:
    """What could not be read."""

    packets: int = 0
    lost: int = 0
    """Of the packets."""
    cut: bool = False
    """Whether the file breaks off."""
    blurred: bool = False
    """Whether there are frames of which something is missing."""

    @property
    def found(self) -> bool:
        return self.blurred or self.lost > 0


@dataclass
class Decoding:
    """Goes through a file once.

    Raises, while it is gone through:
        Rejected: `too_long`, as soon as a frame lies beyond `limit` seconds.
    """

    container: "InputContainer"
    streams: "list[Stream]"
    limit: int
    damage: Damage = field(default_factory=Damage)
    ends: dict[int, float] = field(default_factory=dict)
    """Of each stream, by its index: when its last frame was over, in seconds."""

    def __iter__(self) -> Iterator[tuple[int, Any, float]]:
        """Index of the stream, frame, and when it begins."""
        timeline = Timeline(_start(self.streams), _forwards(self.container))
        clocks = {stream.index: timeline.clock() for stream in self.streams}
        for stream, frame in self._frames():
            yield stream.index, frame, self._place(timeline, clocks[stream.index], stream, frame)

    def _place(self, timeline: Timeline, clock: Clock, stream: "Stream", frame: "Frame") -> float:
        stamp = frame.pts
        begins = timeline.place(
            clock,
            None if stamp is None or stream.time_base is None else float(stamp * stream.time_base),
            _duration(stream, frame),
        )
        if begins > self.limit:
            raise faults.too_long(self.limit)
        self.ends[stream.index] = clock.end or 0.0
        return begins

    def _frames(self) -> "Iterator[tuple[Stream, Frame]]":
        for stream, packet in self._packets():
            if packet is not None and packet.size:
                self.damage.packets += 1
            for frame in self._decoded(stream, packet):
                self.damage.blurred |= frame.is_corrupt
                yield stream, frame

    def _packets(self) -> "Iterator[tuple[Stream, Any]]":
        """And None behind the last packet of each stream: some frames only come then."""
        from av import error

        ended = set()
        try:
            for packet in self.container.demux(*self.streams):
                if not packet.size:
                    ended.add(packet.stream_index)
                yield cast("Stream", packet.stream), packet
        except error.MemoryError:
            raise
        except error.FFmpegError:
            self.damage.cut = True
        for stream in self.streams:
            if stream.index not in ended:
                yield stream, None

    def _decoded(self, stream: "Stream", packet: Any) -> "list[Frame]":
        from av import error

        try:
            return list(stream.decode(packet))
        except error.EOFError:
            return []
        except error.MemoryError:
            raise
        except error.FFmpegError:
            self.damage.lost += 1
            return []


def scanned_seconds(container: "InputContainer", streams: "list[Stream]", limit: int) -> float:
    """How long it lasts by the stamps of its packets, as nothing is decoded; just beyond `limit` at most."""
    from av import error

    timeline = Timeline(_start(streams), _forwards(container))
    clocks = {stream.index: timeline.clock() for stream in streams}
    end = 0.0
    try:
        for packet in container.demux(*streams):
            if packet.size and packet.time_base:
                stamp = packet.pts if packet.pts is not None else packet.dts
                timeline.place(
                    clock := clocks[packet.stream_index],
                    None if stamp is None else float(stamp * packet.time_base),
                    float((packet.duration or 0) * packet.time_base),
                )
                end = max(end, clock.end or 0.0)
                if end > limit:
                    break
    except error.MemoryError:
        raise
    except error.FFmpegError:
        pass
    return end


def declared_seconds(container: "InputContainer") -> float:
    """How long the file says that it lasts; 0 where it does not say."""
    return max(0, container.duration or 0) / 1_000_000


def _start(streams: "list[Stream]") -> float:
    starts = [float(s.start_time * s.time_base) for s in streams if s.start_time is not None and s.time_base]
    return min(starts, default=0.0)


def _forwards(container: "InputContainer") -> float:
    if opening.reader_of(container) in opening.RESTARTING:
        return FORWARDS
    return max(FORWARDS, declared_seconds(container))


def _duration(stream: "Stream", frame: "Frame") -> float:
    if samples := getattr(frame, "samples", 0):
        return float(samples / (frame.sample_rate or 1))  # type: ignore[union-attr]  # only sound has samples
    if frame.duration and stream.time_base:
        return float(frame.duration * stream.time_base)
    rate = stream.average_rate
    return float(1 / rate) if rate and rate < MOST_FRAMES_A_SECOND else 1 / MOST_FRAMES_A_SECOND
