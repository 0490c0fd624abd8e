"""The source: real H264 or VP8 whose pictures carry their number, and a beep at each whole second.

The number is drawn as the code strip of the test pattern (rtcfwd/client/pattern.py), so a browser
can say which picture it has decoded, and when; the rest is moving grain that takes the bitrate.
Sound and pictures have one clock, and the sender reports say so: their skew at the source is zero,
however late the sound is sent. By default the pictures are encoded once, kept in build/quality/,
sent in a loop, and key-frame requests are ignored, as OBS and FFmpeg do; a ``live`` source encodes
as it goes and answers them.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rtcfwd.client.pattern import COLUMNS, ROWS, STRIP, code_bits

from ..encoded import nal_units, payloads
from ..media import AUDIO_BYTES, AUDIO_PER_SECOND, FPS, PACKET, RTP_HEADER, Media, Packet
from ..publisher import Publisher

CACHE = Path(__file__).resolve().parents[2] / "build" / "quality"
BEEP_BLOCKS = 3  # of 20 ms, at the begin of each second
_SILENCE = b"\xd5" * AUDIO_BYTES
_TONE = (b"\x8d" * 4 + b"\x0d" * 4) * (AUDIO_BYTES // 8)  # A-law, 1 kHz, square


@dataclass(frozen=True, slots=True)
class Source:
    """What is sent. ``first``: the first picture's number; ``audio_late``: seconds that sound is
    sent after its time."""

    bitrate: int = 1_500_000
    gop: int = 10  # seconds
    seconds: int = 20  # of the loop; numbers repeat after it
    width: int = 640
    height: int = 360
    first: int = 0
    audio_late: float = 0.0
    live: bool = False  # H264 alone
    codec: str = "H264"  # or VP8


class Encoder:
    """x264 or libvpx as a live encoder is set: no B-frames, constant bitrate."""

    def __init__(self, source: Source) -> None:
        import av
        import numpy

        self._numpy, self._av, self._source = numpy, av, source
        width, height = source.width, source.height
        vp8 = source.codec == "VP8"
        codec: Any = av.CodecContext.create("libvpx" if vp8 else "libx264", "w")
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.framerate, codec.time_base = Fraction(FPS), Fraction(1, FPS)
        codec.bit_rate = source.bitrate
        keyint = 3600 * FPS if source.live else source.gop * FPS
        if vp8:
            codec.gop_size = keyint
            codec.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
            codec.options |= {"keyint_min": str(keyint), "minrate": str(source.bitrate)}
        else:
            codec.options = {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline"}
            codec.options |= {"x264-params": f"keyint={keyint}:scenecut=0:nal-hrd=cbr"}
        codec.options |= {"maxrate": str(source.bitrate), "bufsize": str(source.bitrate // 2)}
        self._codec = codec
        noise = numpy.random.default_rng(1).integers(0, 256, (2 * height, 2 * width), numpy.uint8)
        self._noise = noise // 4 + 64
        self._strip = int(height - height / STRIP) & ~1

    def encode(self, number: int, key: bool = False) -> list[bytes]:
        """NAL units of the picture that carries ``number``; of VP8, its one frame."""
        numpy, source = self._numpy, self._source
        picture = numpy.full((source.height * 3 // 2, source.width), 128, numpy.uint8)
        down, right = number * 3 % source.height, number * 5 % source.width
        picture[: self._strip] = self._noise[down:, right:][: self._strip, : source.width]
        cells = numpy.array(code_bits(number), numpy.uint8).reshape(ROWS, COLUMNS) * 219 + 16
        height = source.height - self._strip
        rows = numpy.arange(height) * ROWS // height
        columns = numpy.arange(source.width) * COLUMNS // source.width
        picture[self._strip : source.height] = cells[rows][:, columns]
        frame = self._av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = number - source.first
        if key:
            frame.pict_type = self._av.video.frame.PictureType.I
        coded = b"".join(bytes(packet) for packet in self._codec.encode(frame))
        return [coded] if source.codec == "VP8" else nal_units(coded)


def loop(source: Source) -> list[list[bytes]]:
    """What :meth:`Encoder.encode` makes of each picture of the loop; made once, then read from
    build/quality/."""
    name = "-".join(str(value) for value in astuple(source)[:6])
    if source.codec != "H264":
        name += f"-{source.codec}"
    path = CACHE / f"clip-{name}.pickle"
    if path.exists():
        frames: list[list[bytes]] = pickle.loads(path.read_bytes())
        return frames
    encoder = Encoder(source)
    frames = [encoder.encode(source.first + at) for at in range(source.seconds * FPS)]
    CACHE.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{time.monotonic_ns()}")
    part.write_bytes(pickle.dumps(frames))
    part.rename(path)
    return frames


def vp8_payloads(frame: bytes, room: int = PACKET - RTP_HEADER) -> Iterator[bytes]:
    """RTP payloads of a VP8 frame: the shortest descriptor (RFC 7741 4.2) and a part each."""
    for at in range(0, len(frame), room - 1):
        yield (b"\0" if at else b"\x10") + frame[at : at + room - 1]


class NumberedMedia(Media):
    """:class:`Media` with real pictures and beeps."""

    def __init__(self, source: Source, video_ssrc: int, audio_ssrc: int) -> None:
        super().__init__(source.bitrate, video_ssrc, audio_ssrc)
        self._frames = [] if source.live else loop(source)
        self._encoder = Encoder(source) if source.live else None
        self._at = 0
        self._first, self._codec = source.first, source.codec
        self.key_wanted = False

    def video_frame(self, key: bool, timestamp: int) -> list[Packet]:
        """The next picture; whether it is a key frame is the source's own matter."""
        units = self._units()
        if self._codec == "VP8":
            key = not units[0][0] & 1  # RFC 7741 4.3
            parts = list(vp8_payloads(units[0]))
        else:
            key = any(unit[0] & 31 == 5 for unit in units)
            parts = list(payloads(units))
        return [
            self._packet("video", key, number == len(parts), part, len(part), timestamp)
            for number, part in enumerate(parts, 1)
        ]

    def _units(self) -> list[bytes]:
        at = self._at
        self._at += 1
        if self._encoder is None:
            return self._frames[at % len(self._frames)]
        wanted, self.key_wanted = self.key_wanted, False
        return self._encoder.encode(self._first + at, wanted)

    def audio_frame(self, timestamp: int) -> Packet:
        block = timestamp // AUDIO_BYTES
        sound = _TONE if block % AUDIO_PER_SECOND < BEEP_BLOCKS else _SILENCE
        return self._packet("audio", False, True, sound, len(sound), timestamp)


class NumberedPublisher(Publisher):
    """:class:`Publisher` of a :class:`Source`."""

    def __init__(self, url: str, source: Source) -> None:
        self._source = source
        self._first_sent = 0.0
        super().__init__(url, "127.0.0.1", source.bitrate)
        self.peer.codec = source.codec

    def _make_media(self, bitrate: int, video_ssrc: int, audio_ssrc: int, even: bool) -> Media:
        return NumberedMedia(self._source, video_ssrc, audio_ssrc)

    def begin(self) -> None:
        super().begin()
        self._next_audio += self._source.audio_late

    def clock(self) -> tuple[float, float]:
        """On the monotonic clock: when the first picture was due, and when all of it was sent
        (0.0: not yet). Picture i is due i/FPS later; beeps are due when the picture of the same
        moment is: whole seconds after the epoch, one picture before the first."""
        return self._epoch + 1 / FPS, self._first_sent

    def _burst(self, kind: str) -> None:
        super()._burst(kind)
        if kind == "audio":
            self._next_audio += self._source.audio_late
        elif not self._first_sent:
            self._first_sent = time.monotonic()

    def _rtcp(self, data: bytes) -> list[str]:
        names = super()._rtcp(data)
        if {"rtcp_206_1", "rtcp_206_4"} & set(names) and isinstance(self.media, NumberedMedia):
            self.media.key_wanted = True
        return names


def unwrap(numbers: Iterator[int] | list[int], period: int) -> list[int]:
    """Numbers of a loop of ``period`` pictures as ever-growing ones: each is taken to be less than
    half a loop from the one before it."""
    out: list[int] = []
    for number in numbers:
        if out:
            step = (number - out[-1] + period // 2) % period - period // 2
            number = out[-1] + step
        out.append(number)
    return out
