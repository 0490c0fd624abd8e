"""Token buckets, one an address, in a table that does not grow without end. Pure: time is given."""

from __future__ import annotations

import math

TABLE = 16_384
"""Addresses that are remembered; of more, those are forgotten that were seen least recently."""


class Buckets:
    """Each key may take ``burst`` at once and ``rate`` a second in the long run."""

    def __init__(self, rate: float, burst: float, table: int = TABLE) -> None:
        self._rate = rate
        self._burst = burst
        self._table = table
        self._left: dict[bytes, tuple[float, float]] = {}  # key -> left, as of when; oldest first

    def __len__(self) -> int:
        return len(self._left)

    def take(self, key: bytes, now: float) -> float:
        """0.0 if one could be taken, else the seconds until one can."""
        left = self._now_left(key, now)
        if left < 1.0:
            self._left[key] = (left, now)
            return (1.0 - left) / self._rate
        self._left[key] = (left - 1.0, now)
        if len(self._left) > self._table:
            del self._left[next(iter(self._left))]
        return 0.0

    def wait(self, key: bytes, now: float) -> float:
        """What :meth:`take` would give, without taking."""
        left, when = self._left.get(key, (self._burst, now))
        left = min(self._burst, left + (now - when) * self._rate)
        return 0.0 if left >= 1.0 else (1.0 - left) / self._rate

    def _now_left(self, key: bytes, now: float) -> float:
        left, when = self._left.pop(key, (self._burst, now))  # popped: it goes to the end again
        return min(self._burst, left + (now - when) * self._rate)


def retry_after(seconds: float) -> dict[str, str]:
    """The header, in whole seconds and at least one."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}
