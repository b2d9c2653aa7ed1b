"""Speech: synthetic voices, made with Flite, and what each of them says.

flite -voice slt -t "The ship sailed into the harbor …" -o harbor.wav
"""

from pathlib import Path

import av
from av import AudioFrame, AudioResampler, VideoFrame

from chalicelib.transcription import SAMPLE_RATE

FOLDER = Path(__file__).parent / "speech"

SAID = {
    "harbor": "The ship sailed into the harbor early in the morning. "
    "The captain counted every barrel on the deck.",
    "invoice": "Please call the office tomorrow and ask for the second invoice. "
    "It should arrive before the end of the week.",
    "water": "Water boils at one hundred degrees. When it cools down it becomes quiet and clear again.",
}
"""Name of a sample → what it says. The voices are slt, rms and kal16."""

SILENCE = bytes(2 * SAMPLE_RATE)
"""A second of it."""


def path(name: str) -> Path:
    """A sample as FLAC, mono."""
    return FOLDER / f"{name}.flac"


def words(name: str) -> list[str]:
    return SAID[name].lower().replace(".", "").split()


def pcm(name: str) -> bytes:
    """A sample as `transcription.recognise` takes it."""
    resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(str(path(name))) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)


def film(place: Path, name: str) -> Path:
    """A sample with a plain picture to it: H.264 and AAC, in the container that the extension names."""
    spoken = pcm(name)
    with av.open(str(place), "w") as container:
        picture = container.add_stream("libx264", rate=10)
        picture.width, picture.height, picture.pix_fmt = 320, 240, "yuv420p"
        voice = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for number in range(len(spoken) * 10 // (2 * SAMPLE_RATE)):
            frame = VideoFrame(320, 240, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([128]) * plane.buffer_size)
            frame.pts = number
            container.mux(picture.encode(frame))
        sound = AudioFrame(format="s16", layout="mono", samples=len(spoken) // 2, align=1)
        sound.sample_rate, sound.pts = SAMPLE_RATE, 0
        sound.planes[0].update(spoken)
        resampler = AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE, frame_size=1024)
        for part in [*resampler.resample(sound), *resampler.resample(None)]:
            container.mux(voice.encode(part))
        container.mux(picture.encode(None))
        container.mux(voice.encode(None))
    return place
