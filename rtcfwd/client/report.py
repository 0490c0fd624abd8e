"""What a client counts, the line it shows while it runs, and the JSON line at its end.

The line goes to standard error: rewritten in place on a terminal, else one line every
``PLAIN_EVERY`` seconds, so that logs stay short.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

PLAIN_EVERY = 5.0


@dataclass(slots=True)
class PatternCheck:
    """What the numbers in a test pattern's pictures tell (see pattern.read_number)."""

    first: int | None = None
    last: int | None = None
    read: int = 0
    missing: int = 0  # numbers left out
    backward: int = 0  # a number that is not above the one before
    unreadable: int = 0  # pictures without a valid code, after the first valid one

    def add(self, number: int | None) -> None:
        if number is None:
            self.unreadable += self.last is not None
            return
        self.read += 1
        if self.last is None:
            self.first = number
        elif number <= self.last:
            self.backward += 1
        else:
            self.missing += number - self.last - 1
        self.last = number

    def as_dict(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Rate:
    """A counter's growth per second over about the last second."""

    points: list[tuple[float, float]] = field(default_factory=list)

    def add(self, now: float, value: float) -> float:
        self.points = [(t, v) for t, v in self.points if now - t <= 1.5]
        self.points.append((now, value))
        (t0, v0), (t1, v1) = self.points[0], self.points[-1]
        return (v1 - v0) / (t1 - t0) if t1 > t0 else 0.0


class Line:
    """The live line. ``show`` it as often as you like; ``end`` leaves the last one standing."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._width = 0
        self._shown = time.monotonic()

    def show(self, parts: list[str]) -> None:
        text = "  ".join(part for part in parts if part)
        if self._terminal:
            print("\r" + text.ljust(self._width), end="", file=self._stream, flush=True)
            self._width = len(text)
        elif time.monotonic() - self._shown >= PLAIN_EVERY:
            self._shown = time.monotonic()
            print(text, file=self._stream, flush=True)

    def note(self, text: str) -> None:
        """A line of its own, above the live one."""
        self.end()
        print(text, file=self._stream, flush=True)

    def end(self) -> None:
        if self._width:
            print(file=self._stream, flush=True)
            self._width = 0


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


def bits(per_second: float) -> str:
    if per_second >= 1e6:
        return f"{per_second / 1e6:.2f} Mbit/s"
    return f"{per_second / 1e3:.0f} kbit/s"


def loss(lost: int, received: int) -> str:
    share = 100 * lost / (lost + received) if lost > 0 else 0.0
    return f"lost {max(lost, 0)} ({share:.1f} %)"


async def transport_bytes(pc: Any, direction: str) -> int:
    """Bytes that the peer connection's one transport has ``sent`` or ``received``."""
    for entry in (await pc.getStats()).values():
        if entry.type == "transport":
            return int(getattr(entry, f"bytes{direction.capitalize()}"))
    return 0


def received_packets(receiver: Any) -> tuple[int, int]:
    """(received, lost) of a receiver's media SSRC.

    aiortc's getStats keeps one entry a receiver, which a repair stream (RTX) overwrites; so this
    reads the counters behind it and takes the busiest SSRC.
    """
    streams = getattr(receiver, "_RTCRtpReceiver__remote_streams", {})
    counts = [(s.packets_received, s.packets_lost) for s in list(streams.values())]
    return max(counts, default=(0, 0))
