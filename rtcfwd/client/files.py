"""A media file as live tracks, passed through where possible, else decoded for re-encoding.

Passed through: H264 without B-frames (RTP carries no decoding order that browsers would restore),
VP8, Opus, A-law and u-law, when that codec is the one to publish. Like OBS, a passed-through video
ignores key-frame requests. Everything else is decoded and aiortc encodes it: video at 30 frames a
second at most, audio as 20 ms of mono 8 kHz or stereo 48 kHz.

Each track opens the file by itself and reads it in a worker thread, so neither waits for the other;
both keep to one :class:`Pace`. A track raises MediaStreamError at the end of the file.
"""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler, Packet, VideoFrame
from av.audio import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer

from rtcfwd.client.whip import ClientError

AUDIO_CODECS = {"opus": "opus", "pcm_alaw": "pcma", "pcm_mulaw": "pcmu"}
VIDEO_CODECS = {"h264": "h264", "vp8": "vp8"}
MAX_FPS = 30
G711_BYTES = 160  # 20 ms; one byte a sample, mono
PROBE_PACKETS = 300  # looked at to find B-frames

Item = tuple[
    "VideoFrame | AudioFrame | Packet[Any]", float
]  # what to send, and its time in seconds


class Pace:
    """Lets an item go when its time has come; the clock starts with the first item asked for."""

    def __init__(self) -> None:
        self._start: float | None = None

    async def wait(self, seconds: float) -> None:
        now = time.monotonic()
        if self._start is None:
            self._start = now - seconds
        await asyncio.sleep(max(0.0, self._start + seconds - now))


class FileTrack(MediaStreamTrack):  # type: ignore[misc, unused-ignore]
    """One stream of the file; `items` yields what to send, in order."""

    def __init__(self, kind: str, items: Iterator[Item], pace: Pace) -> None:
        super().__init__()
        self.kind = kind
        self.frames = 0
        self.size: tuple[int, int] | None = None
        self.error: Exception | None = None  # why it ended before the end of the file
        self._items = items
        self._pace = pace

    async def recv(self) -> VideoFrame | AudioFrame | Packet[Any]:
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        try:
            item = await loop.run_in_executor(None, next, self._items, None)
        except Exception as error:  # a damaged file: whatever the demuxer or decoder says
            self.error, item = error, None
        if item is None:
            self.stop()
            raise MediaStreamError
        data, seconds = item
        await self._pace.wait(seconds)
        self.frames += 1
        return data


class Source:
    """A file opened for publishing. Raises :class:`ClientError` if there is nothing to publish.

    ``video_codec`` and ``audio_codec`` are what will be sent (None: the file has none), by
    rtpmap name in lower case; ``video`` and ``audio`` the tracks; ``passed`` the kinds that are not
    re-encoded.
    """

    def __init__(
        self,
        path: Path,
        *,
        video: str | None = None,
        audio: str | None = None,
        loop: bool = False,
        reencode: bool = False,
    ) -> None:
        self.passed: set[str] = set()
        self.video: FileTrack | None = None
        self.audio: FileTrack | None = None
        self._path, self._loop = path, loop
        pace = Pace()
        try:
            with av.open(str(path)) as container:
                has = {
                    s.type: s.codec_context.name
                    for s in reversed(container.streams)
                    if s.type in ("video", "audio")
                }
                ordered = "video" not in has or _in_order(container)
                passable = "audio" not in has or _fits_rtp(container.streams.audio[0])
        except (av.error.FFmpegError, OSError) as error:
            raise ClientError(f"{path} cannot be read: {error.strerror or error}") from None
        own_video = VIDEO_CODECS.get(has.get("video", "")) if ordered else None
        own_audio = AUDIO_CODECS.get(has.get("audio", "")) if passable else None
        self.video_codec = (video or own_video or "h264") if "video" in has else None
        self.audio_codec = (audio or own_audio or "opus") if "audio" in has else None
        if video == "none":
            self.video_codec = None
        if audio == "none":
            self.audio_codec = None
        if self.video_codec:
            passed = not reencode and own_video == self.video_codec
            items = self._packets("video") if passed else self._pictures()
            self.video = FileTrack("video", items, pace)
            self.passed |= {"video"} if passed else set()
        if self.audio_codec:
            passed = not reencode and own_audio == self.audio_codec
            if not passed:
                sound = self._sound(48000 if self.audio_codec == "opus" else 8000)
            else:
                sound = self._packets("audio") if self.audio_codec == "opus" else self._g711()
            self.audio = FileTrack("audio", sound, pace)
            self.passed |= {"audio"} if passed else set()
        if not self.video and not self.audio:
            raise ClientError(f"{path} has neither video nor audio to publish")

    def _rounds(self) -> Iterator[tuple[InputContainer, float]]:
        """The opened file and the time at which its start is due; again and again with loop."""
        base = 0.0
        while True:
            with av.open(str(self._path)) as container:
                start = (container.start_time or 0) / 1e6
                yield container, base - start
                duration = (container.duration or 0) / 1e6
            if not self._loop or duration <= 0:
                return
            base += duration

    def _packets(self, kind: str) -> Iterator[Item]:
        for container, base in self._rounds():
            stream = container.streams.video[0] if kind == "video" else container.streams.audio[0]
            ticks = stream.time_base or fractions.Fraction(1, 1)  # always set once opened
            to_annexb = (
                BitStreamFilterContext("h264_mp4toannexb", stream)
                if stream.codec_context.name == "h264"
                else None
            )
            for packet in container.demux(stream):
                if not packet.size or packet.pts is None:
                    continue
                seconds = float(packet.pts * ticks) + base  # the filter empties the packet
                for out in to_annexb.filter(packet) if to_annexb else [packet]:
                    out.pts, out.time_base = _ticks(kind, seconds)
                    if kind == "video" and self.video is not None:
                        codec = stream.codec_context
                        self.video.size = (codec.width, codec.height)  # type: ignore[union-attr]
                    yield out, seconds

    def _g711(self) -> Iterator[Item]:
        """The file's A-law or u-law bytes in packets of 20 ms, however the file groups them."""
        for container, base in self._rounds():
            stream = container.streams.audio[0]
            waiting = b""
            sent = 0
            for packet in container.demux(stream):
                waiting += bytes(packet)
                while len(waiting) >= G711_BYTES:
                    out: Packet[Any] = Packet(waiting[:G711_BYTES])
                    waiting = waiting[G711_BYTES:]
                    seconds = sent / 8000 + base
                    sent += G711_BYTES
                    out.pts, out.time_base = _ticks("audio", seconds)
                    yield out, seconds

    def _pictures(self) -> Iterator[Item]:
        last = -1.0
        for container, base in self._rounds():
            for frame in container.decode(video=0):
                if frame.time is None:
                    continue
                seconds = frame.time + base
                if seconds - last < 0.9 / MAX_FPS:
                    continue
                last = seconds
                picture = frame
                if frame.width % 2 or frame.height % 2 or frame.format.name != "yuv420p":
                    picture = frame.reformat(frame.width & ~1, frame.height & ~1, "yuv420p")
                picture.pts, picture.time_base = _ticks("video", seconds)
                if self.video is not None:
                    self.video.size = (picture.width, picture.height)
                yield picture, seconds

    def _sound(self, rate: int) -> Iterator[Item]:
        layout = "stereo" if rate == 48000 else "mono"
        for container, base in self._rounds():
            resampler = AudioResampler("s16", layout, rate, frame_size=rate // 50)
            offset: float | None = None
            samples = 0
            for frame in container.decode(audio=0):
                if offset is None:
                    offset = (frame.time or 0.0) + base
                for piece in resampler.resample(frame):
                    seconds = offset + samples / rate
                    samples += piece.samples
                    piece.pts = round(seconds * rate)
                    piece.time_base = fractions.Fraction(1, rate)
                    yield piece, seconds


def _ticks(kind: str, seconds: float) -> tuple[int, fractions.Fraction]:
    """A time in ticks of 90 kHz for video, of 48 kHz for audio (exact for 8 kHz too)."""
    rate = 90000 if kind == "video" else 48000
    return round(seconds * rate), fractions.Fraction(1, rate)


def _fits_rtp(stream: AudioStream) -> bool:
    """Whether the audio has RTP's form: Opus is always, G.711 at 8 kHz mono (RFC 3551 4.5.14)."""
    codec = stream.codec_context
    return codec.name == "opus" or (codec.sample_rate == 8000 and codec.channels == 1)


def _in_order(container: InputContainer) -> bool:
    """Whether the video's packets are in display order, that is without B-frames."""
    last: int | None = None
    for count, packet in enumerate(container.demux(video=0)):
        if packet.pts is None or count >= PROBE_PACKETS:
            break
        if last is not None and packet.pts < last:
            return False
        last = packet.pts
    return True
