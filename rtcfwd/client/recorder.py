"""Writes received pictures and sound to a file, in a thread of its own.

By the file's ending: ``.mkv`` loses nothing (FFV1 and PCM), ``.y4m`` is raw pictures without sound,
``.wav`` sound without pictures, ``.mp4`` and ``.mov`` are H264 (CRF 12) and AAC for players.
Pictures keep the timestamps of the stream; a change of size within the stream is scaled to the
first size. A file is written only once something was received.

Sound is held back for the first second, until it is known how far the pictures that the server
sends at once at the start reach into the past: both streams are then laid on one clock.
"""

from __future__ import annotations

import fractions
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import av
from av import AudioFrame, VideoFrame

from rtcfwd.client.whip import ClientError

CONTAINERS: dict[str, tuple[str | None, str | None, dict[str, str]]] = {
    ".mkv": ("ffv1", "pcm_s16le", {}),
    ".mp4": ("libx264", "aac", {"crf": "12", "preset": "veryfast"}),
    ".mov": ("libx264", "aac", {"crf": "12", "preset": "veryfast"}),
    ".wav": (None, "pcm_s16le", {}),
}
SUFFIXES = (*CONTAINERS, ".y4m")
QUEUED = 300  # pictures waiting for a slow encoder before the reader is held up
SETTLE = 1.0  # seconds until the two clocks are compared


class Recorder:
    """Give it frames with :meth:`write`, end with :meth:`close`, which raises what went wrong."""

    def __init__(self, path: Path, kinds: set[str]) -> None:
        self.path = path
        self.frames = 0
        self.error: Exception | None = None
        self._writer: _Y4m | _Muxed
        if path.suffix.lower() == ".y4m":
            self._writer = _Y4m(path)
        else:
            self._writer = _Muxed(path, kinds)
        self._queue: queue.Queue[tuple[VideoFrame | AudioFrame, float] | None]
        self._queue = queue.Queue(QUEUED)
        self._thread = threading.Thread(target=self._run, name="recorder")
        self._thread.start()

    def write(self, frame: VideoFrame | AudioFrame) -> None:
        """Queue a frame; blocks only while QUEUED frames wait."""
        self._queue.put((frame, time.monotonic()))

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        if self.error is not None:
            raise ClientError(f"{self.path} could not be written: {self.error}")

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self.error is None:
                self._guard(lambda item=item: self._writer.write(*item))  # type: ignore[misc]
                self.frames += isinstance(item[0], VideoFrame)
        self._guard(self._writer.close)

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self.error = self.error or error


class _Y4m:
    """YUV4MPEG2, 4:2:0. The format knows no timestamps; the rate in its header is nominal."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._size = (0, 0)

    def write(self, frame: VideoFrame | AudioFrame, arrival: float) -> None:
        if not isinstance(frame, VideoFrame):
            return
        if self._file is None:
            self._size = (frame.width, frame.height)
            self._file = self._path.open("wb")
            self._file.write(b"YUV4MPEG2 W%d H%d F30:1 Ip A1:1 C420jpeg\n" % self._size)
        frame = frame.reformat(*self._size, format="yuv420p")
        self._file.write(b"FRAME\n")
        for plane in frame.planes:
            data = memoryview(plane)
            for y in range(plane.height):
                self._file.write(data[y * plane.line_size : y * plane.line_size + plane.width])

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class _Muxed:
    """A container by PyAV. The header is written with the first packet, so all streams that will
    come are made before it: those of `kinds` that the container holds."""

    def __init__(self, path: Path, kinds: set[str]) -> None:
        video, audio, options = CONTAINERS[path.suffix.lower()]
        self._path = path
        self._codecs = {"video": video, "audio": audio}
        self._wanted = {kind for kind in kinds if self._codecs[kind]}
        self._options = options
        self._container: Any = None
        self._streams: dict[str, Any] = {}
        self._origin: dict[str, int] = {}  # first timestamp of each kind
        self._lead: dict[str, float] = {}  # smallest (arrival - media time) of each kind, s
        self._delay: dict[str, float] = {}  # where each kind starts in the file, s; then fixed
        self._early: list[tuple[VideoFrame | AudioFrame, float]] | None = []
        self._started: float | None = None
        self._size = (0, 0)

    def write(self, frame: VideoFrame | AudioFrame, arrival: float) -> None:
        kind = "video" if isinstance(frame, VideoFrame) else "audio"
        if kind not in self._wanted or frame.pts is None or frame.time_base is None:
            return
        if self._started is None:
            self._started = arrival
        origin = self._origin.setdefault(kind, frame.pts)
        lead = arrival - float((frame.pts - origin) * frame.time_base)
        self._lead[kind] = min(self._lead.get(kind, lead), lead)
        if self._early is None:
            self._encode(kind, frame)
            return
        self._early.append((frame, arrival))
        complete = self._wanted <= self._origin.keys()
        if arrival - self._started > SETTLE and (complete or arrival - self._started > 3 * SETTLE):
            self._flush_early()

    def _flush_early(self) -> None:
        early, self._early = self._early or [], None
        if not early:
            return
        zero = min(self._lead.values())  # the earliest media of both kinds is at 0 in the file
        self._delay = {kind: lead - zero for kind, lead in self._lead.items()}
        self._open([frame for frame, _ in early])
        for frame, _ in early:
            self._encode("video" if isinstance(frame, VideoFrame) else "audio", frame)

    def _open(self, frames: list[VideoFrame | AudioFrame]) -> None:
        self._container = av.open(str(self._path), "w")
        for kind in sorted(self._origin, reverse=True):
            first: Any = next(f for f in frames if isinstance(f, VideoFrame) == (kind == "video"))
            if kind == "video":
                stream = self._container.add_stream(
                    self._codecs[kind], rate=30, options=self._options
                )
                self._size = stream.width, stream.height = first.width, first.height
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = fractions.Fraction(1, 90000)
            else:
                stream = self._container.add_stream(self._codecs[kind], rate=first.sample_rate)
                stream.layout = first.layout.name
            self._streams[kind] = stream

    def _encode(self, kind: str, frame: VideoFrame | AudioFrame) -> None:
        if kind not in self._streams:
            return  # came after the header; it was absent for three seconds
        stream = self._streams[kind]
        assert frame.pts is not None
        assert frame.time_base is not None
        shift = round(self._delay[kind] / float(frame.time_base))
        pts, time_base = frame.pts - self._origin[kind] + shift, frame.time_base
        if isinstance(frame, VideoFrame):
            frame = frame.reformat(*self._size, format="yuv420p")
            frame.pict_type = av.video.frame.PictureType.NONE
        frame.pts, frame.time_base = pts, time_base
        for packet in stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        self._flush_early()
        if self._container is None:
            return
        for stream in self._streams.values():
            for packet in stream.encode(None):
                self._container.mux(packet)
        self._container.close()
