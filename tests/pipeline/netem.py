"""A network in virtual time: one direction of one path, seeded, so that every run is the same.

A :class:`Link` is given datagrams and the time, and gives them back when they arrive: later
(delay, jitter), in another order, twice, or not at all (independent or Gilbert-Elliott losses, or a
queue that is full). Times are nanoseconds. It holds no clock.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

MS = 1_000_000
SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a link does to datagrams; probabilities are per datagram."""

    delay_ms: float = 5.0
    jitter_ms: float = 0.0  # uniform, on top of the delay; order is kept
    loss: float = 0.0
    burst: float = 0.0  # mean length of a loss burst (Gilbert-Elliott); 0: independent losses
    reorder: float = 0.0  # share that is held back …
    reorder_ms: float = 12.0  # … by this much, so that later ones overtake
    duplicate: float = 0.0
    rate_bps: int = 0  # 0: no limit
    queue_bytes: int = 64_000


PERFECT = Conditions(delay_ms=1.0)


class Link:
    """One direction. ``send`` takes a datagram in, ``arrived`` gives those that are due."""

    def __init__(self, conditions: Conditions, seed: int) -> None:
        self.conditions = conditions
        self._random = random.Random(seed)
        self._flying: list[tuple[int, int, bytes]] = []
        self._count = 0
        self._bad = False
        self._free_at = 0
        self._last_due = 0
        self.sent = self.lost = self.duplicated = self.reordered = 0

    def send(self, now: int, data: bytes) -> None:
        self.sent += 1
        c = self.conditions
        if self._is_lost() or not self._admit(now, len(data)):
            self.lost += 1
            return
        start = max(now, self._free_at) if c.rate_bps else now
        due = start + round(c.delay_ms * MS + self._random.random() * c.jitter_ms * MS)
        if self._random.random() < c.reorder:
            self.reordered += 1
            self._put(due + round(c.reorder_ms * MS), data)
        else:
            due = self._last_due = max(due, self._last_due)
            self._put(due, data)
        if self._random.random() < c.duplicate:
            self.duplicated += 1
            self._put(due + round(self._random.random() * 3 * MS), data)

    def arrived(self, now: int) -> list[bytes]:
        out = []
        while self._flying and self._flying[0][0] <= now:
            out.append(heapq.heappop(self._flying)[2])
        return out

    @property
    def quiet(self) -> bool:
        return not self._flying

    def _put(self, due: int, data: bytes) -> None:
        self._count += 1  # equal times leave in the order in which they came
        heapq.heappush(self._flying, (due, self._count, data))

    def _is_lost(self) -> bool:
        c = self.conditions
        if not c.loss:
            return False
        if not c.burst:
            return self._random.random() < c.loss
        # Two states; the bad one loses all: a share `loss` of the time, `burst` datagrams long.
        if self._bad:
            self._bad = self._random.random() >= 1 / c.burst
        else:
            self._bad = self._random.random() < c.loss / (1 - c.loss) / c.burst
        return self._bad

    def _admit(self, now: int, size: int) -> bool:
        c = self.conditions
        if not c.rate_bps:
            return True
        self._free_at = max(self._free_at, now)
        waiting = (self._free_at - now) * c.rate_bps // (8 * SECOND)
        if waiting + size > c.queue_bytes:
            return False
        self._free_at += size * 8 * SECOND // c.rate_bps
        return True
