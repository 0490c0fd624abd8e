"""The test pattern: pictures that carry their number, and a tone.

The number of a picture is drawn twice: as digits for people, and as a code strip for programs,
which survives scaling and lossy coding. The strip is the lowest ninth of the picture, two rows of
16 cells; white is 1, black is 0, most significant bit first:

    row 0:  number, bits 23..8
    row 1:  number, bits 7..0, then the check byte n0 ^ n1 ^ n2 ^ 0xA5 over the number's bytes

The page's test pattern (web/pattern.js) draws the same strip, so :func:`read_number` reads both.
"""

from __future__ import annotations

import array
import asyncio
import fractions
import math
import time

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

COLUMNS, ROWS = 16, 2
STRIP = 9  # the strip takes 1/9 of the height
BLACK, WHITE = 16, 235  # video range
NUMBERS = 1 << 24
VIDEO_CLOCK = fractions.Fraction(1, 90000)
FRAME_SECONDS = fractions.Fraction(1, 50)  # audio frames of 20 ms

# Bars as (Y, U, V): muted, so that the strip and the digits stand out.
BARS = (
    (180, 128, 128),
    (162, 60, 142),
    (131, 150, 50),
    (112, 85, 65),
    (95, 165, 195),
    (75, 105, 205),
    (50, 190, 115),
    (30, 128, 128),
)
# 5x7 digits, one integer a row, and the colon and the point.
FONT = {
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
    ":": (0, 4, 4, 0, 4, 4, 0),
    ".": (0, 0, 0, 0, 0, 4, 4),
}


def code_bits(number: int) -> list[int]:
    """The 32 bits of the strip for a number (taken modulo 2^24)."""
    number %= NUMBERS
    check = (number ^ number >> 8 ^ number >> 16 ^ 0xA5) & 0xFF
    word = number << 8 | check
    return [word >> shift & 1 for shift in range(31, -1, -1)]


def read_number(frame: VideoFrame) -> int | None:
    """The number in a decoded picture's strip; None where there is none or the check fails."""
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        frame = frame.reformat(format="yuv420p")
    plane = frame.planes[0]
    luma, stride = memoryview(plane), plane.line_size
    strip = frame.height / STRIP
    word = 0
    for row in range(ROWS):
        y = int(frame.height - strip + (row + 0.5) * strip / ROWS)
        for column in range(COLUMNS):
            x = int((column + 0.5) * frame.width / COLUMNS)
            word = word << 1 | (luma[y * stride + x] > (BLACK + WHITE) // 2)
    number = word >> 8
    check = (number ^ number >> 8 ^ number >> 16 ^ 0xA5) & 0xFF
    return number if check == word & 0xFF else None


class Painter:
    """Draws yuv420p pictures of one size (even, at least 160x90). Not thread-safe."""

    def __init__(self, width: int, height: int) -> None:
        if width < 160 or height < 90 or width % 2 or height % 2:
            raise ValueError("the size must be even and at least 160x90")
        self.width, self.height = width, height
        probe = VideoFrame(width, height, "yuv420p")
        self._strides = [plane.line_size for plane in probe.planes]
        self._planes = [bytearray(plane.buffer_size) for plane in probe.planes]
        for plane, stride in enumerate(self._strides):
            across, down = (width, height) if plane == 0 else (width // 2, height // 2)
            line = bytearray(stride)
            for x in range(across):
                line[x] = BARS[x * len(BARS) // across][plane]
            for y in range(down):
                self._planes[plane][y * stride : (y + 1) * stride] = line
        # A grey panel without colour behind the digits, and the strip.
        self._scale = max(2, height // 60)
        self._panel_y = height // 3 & ~1
        self._panel_h = 11 * self._scale & ~1
        self._strip_y = int(height - height / STRIP) & ~1
        self._uncolour(self._panel_y, self._panel_h)
        self._uncolour(self._strip_y, height - self._strip_y)
        self._fill(self._planes[0], 0, self._panel_y, width, self._panel_h, 24)

    def paint(self, number: int, seconds: float) -> VideoFrame:
        """A picture with this number, this clock (seconds since the start) and a moving bar."""
        luma = bytearray(self._planes[0])
        bar = max(4, self.width // 80)
        x = int(seconds / 4 % 1 * (self.width - bar))
        self._fill(luma, x, 0, bar, self._panel_y, WHITE)
        minutes, rest = divmod(seconds, 60)
        text = f"{int(minutes) % 60:02}:{rest:05.2f} {number % NUMBERS:08}"
        self._text(luma, text)
        self._strip(luma, number)
        frame = VideoFrame(self.width, self.height, "yuv420p")
        for plane, data in zip(frame.planes, [luma, *self._planes[1:]], strict=True):
            plane.update(bytes(data))
        return frame

    def _fill(self, luma: bytearray, x: int, y: int, across: int, down: int, value: int) -> None:
        line = bytes([value]) * across
        for row in range(y, y + down):
            start = row * self._strides[0] + x
            luma[start : start + across] = line

    def _uncolour(self, y: int, down: int) -> None:
        for plane in (1, 2):
            stride = self._strides[plane]
            start, end = y // 2 * stride, (y + down) // 2 * stride
            self._planes[plane][start:end] = bytes([128]) * (end - start)

    def _text(self, luma: bytearray, text: str) -> None:
        scale, stride = self._scale, self._strides[0]
        left = (self.width - 6 * scale * len(text)) // 2
        for row in range(7):
            line = bytearray()
            for letter in text:
                bits = FONT.get(letter, (0,) * 7)[row] << 1
                for shift in range(5, -1, -1):
                    line += bytes([WHITE if bits >> shift & 1 else 24]) * scale
            for y in range(self._panel_y + (2 + row) * scale, self._panel_y + (3 + row) * scale):
                start = y * stride + max(0, left)
                room = min(len(line), self.width)
                luma[start : start + room] = line[:room]

    def _strip(self, luma: bytearray, number: int) -> None:
        bits = code_bits(number)
        edges = [x * self.width // COLUMNS for x in range(COLUMNS + 1)]
        middle = (self._strip_y + self.height) // 2
        for row, (top, end) in enumerate(((self._strip_y, middle), (middle, self.height))):
            line = bytearray()
            for column in range(COLUMNS):
                value = WHITE if bits[row * COLUMNS + column] else BLACK
                line += bytes([value]) * (edges[column + 1] - edges[column])
            for y in range(top, end):
                luma[y * self._strides[0] : y * self._strides[0] + self.width] = line


class PatternTrack(MediaStreamTrack):  # type: ignore[misc, unused-ignore]
    """The pattern as a live track: numbers without a gap, timestamps by the clock."""

    kind = "video"

    def __init__(self, width: int = 640, height: int = 360, fps: int = 30) -> None:
        super().__init__()
        self.size = (width, height)
        self.frames = 0
        self._painter = Painter(width, height)
        self._fps = fps
        self._tick = -1
        self._start: float | None = None

    async def recv(self) -> VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        now = time.monotonic()
        if self._start is None:
            self._start = now
        # The next due tick; ticks that an overloaded machine missed are left out, numbers are not.
        tick = max(self._tick + 1, math.ceil((now - self._start) * self._fps - 1e-6))
        self._tick = tick
        await asyncio.sleep(max(0.0, self._start + tick / self._fps - now))
        frame = self._painter.paint(self.frames, tick / self._fps)
        frame.pts = round(tick * 90000 / self._fps)
        frame.time_base = VIDEO_CLOCK
        self.frames += 1
        return frame


class ToneTrack(MediaStreamTrack):  # type: ignore[misc, unused-ignore]
    """A sine of 440 Hz at -12 dB, mono, in frames of 20 ms."""

    kind = "audio"

    def __init__(self, rate: int = 8000, hertz: int = 440) -> None:
        super().__init__()
        self.frames = 0
        self._rate = rate
        self._samples = int(rate * FRAME_SECONDS)
        # One second holds a whole number of periods, so it repeats without a click.
        second = array.array(
            "h", (round(8192 * math.sin(2 * math.pi * hertz * i / rate)) for i in range(rate))
        )
        self._second = second.tobytes()
        self._start: float | None = None

    async def recv(self) -> AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        now = time.monotonic()
        if self._start is None:
            self._start = now
        pts = self.frames * self._samples
        await asyncio.sleep(max(0.0, self._start + pts / self._rate - now))
        frame = AudioFrame(format="s16", layout="mono", samples=self._samples)
        start = 2 * (pts % self._rate)
        frame.planes[0].update(self._second[start : start + 2 * self._samples])
        frame.pts, frame.sample_rate = pts, self._rate
        frame.time_base = fractions.Fraction(1, self._rate)
        self.frames += 1
        return frame
