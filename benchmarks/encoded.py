"""Real H264 for a server that decodes: a moving picture, encoded once and published in a loop.

The other benchmarks' packets only look like H264 from outside; a decoder would refuse them. These
carry no mark, so of this video only packets and frames can be counted; G.711 is as always.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from .media import FPS, GOP_SECONDS, PACKET, RTP_HEADER, Media, Packet
from .publisher import Publisher

WIDTH, HEIGHT = 640, 360


def nal_units(annexb: bytes) -> list[bytes]:
    """The NAL units between start codes (H.264 annex B)."""
    return [unit for unit in re.split(rb"\x00{2,3}\x01", annexb) if unit]


def payloads(units: list[bytes], room: int = PACKET - RTP_HEADER) -> Iterator[bytes]:
    """RTP payloads of at most ``room`` bytes: a NAL unit each, or its FU-A fragments (RFC 6184)."""
    for unit in units:
        if len(unit) <= room:
            yield unit
            continue
        head, rest = unit[0], unit[1:]
        parts = [rest[at : at + room - 2] for at in range(0, len(rest), room - 2)]
        for number, part in enumerate(parts):
            bits = (number == 0) << 7 | (number == len(parts) - 1) << 6
            yield bytes([head & 0xE0 | 28, bits | head & 0x1F]) + part


def encode(bitrate: int) -> list[list[bytes]]:
    """NAL units of each frame of one group of pictures, beginning with a key frame."""
    import av  # comes with aiortc, which alone needs this
    import numpy

    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    codec.framerate, codec.time_base = Fraction(FPS), Fraction(1, FPS)
    codec.bit_rate = bitrate
    codec.options = {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline"}
    codec.options |= {"x264-params": f"keyint={FPS * GOP_SECONDS}:scenecut=0:nal-hrd=cbr"}
    codec.options |= {"maxrate": str(bitrate), "bufsize": str(bitrate // 2)}
    noise = numpy.random.default_rng(1).integers(0, 256, (2 * HEIGHT, 2 * WIDTH), numpy.uint8)
    frames = []
    for number in range(FPS * GOP_SECONDS):
        picture = numpy.full((HEIGHT * 3 // 2, WIDTH), 128, numpy.uint8)
        picture[:HEIGHT] = noise[number * 3 :, number * 5 :][:HEIGHT, :WIDTH] // 4 + 64
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = number
        frames.append(b"".join(bytes(packet) for packet in codec.encode(frame)))
    return [nal_units(frame) for frame in frames]


class EncodedMedia(Media):
    """:class:`Media` whose video is decodable."""

    def __init__(self, bitrate: int, video_ssrc: int, audio_ssrc: int) -> None:
        super().__init__(bitrate, video_ssrc, audio_ssrc)
        self._frames = encode(bitrate)
        self._at = 0

    def video_frame(self, key: bool, timestamp: int) -> list[Packet]:
        self._at = 0 if key else (self._at + 1) % len(self._frames)
        parts = list(payloads(self._frames[self._at]))
        return [
            self._packet("video", key, number == len(parts), part, len(part), timestamp)
            for number, part in enumerate(parts, 1)
        ]


class EncodedPublisher(Publisher):
    def _make_media(self, bitrate: int, video_ssrc: int, audio_ssrc: int, even: bool) -> Media:
        return EncodedMedia(bitrate, video_ssrc, audio_ssrc)
