"""One heap of deadlines for all sessions and streams of a server.

Each timed thing has at most one deadline; setting it anew replaces the old one (old heap entries
are skipped when they surface). No clock here: the owner says what time it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Protocol

_SLACK = 64  # heap entries beyond twice the live ones before it is rebuilt


class Timed(Protocol):
    def on_deadline(self, now: float) -> None:
        """The deadline has passed; it is no longer set."""


class Timers:
    """``arm`` is told the earliest deadline whenever it may have moved (``None``: nothing due)."""

    def __init__(self, arm: Callable[[float | None], None] = lambda when: None) -> None:
        self._arm = arm
        self._due: dict[Timed, float] = {}
        self._heap: list[tuple[float, int, Timed]] = []
        self._serial = 0
        self._armed: float | None = None

    def __len__(self) -> int:
        return len(self._due)

    def set(self, item: Timed, when: float | None) -> None:
        """Set or (``None``) clear the deadline of ``item``."""
        if when is None:
            self._due.pop(item, None)
        elif self._due.get(item) != when:
            self._due[item] = when
            self._serial += 1
            heapq.heappush(self._heap, (when, self._serial, item))
            if len(self._heap) > 2 * len(self._due) + _SLACK:
                self._rebuild()
        self._rearm()

    def next(self) -> float | None:
        """The earliest deadline."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Call what is due, each once. Should one raise (a mistake of ours), the others still run,
        and then it is raised."""
        ready: list[Timed] = []
        while (when := self.next()) is not None and when <= now:
            item = heapq.heappop(self._heap)[2]
            del self._due[item]
            ready.append(item)
        self._armed = None
        failure: Exception | None = None
        for item in ready:
            try:
                item.on_deadline(now)
            except Exception as error:
                failure = failure or error
        self._rearm()
        if failure is not None:
            raise failure

    def _rebuild(self) -> None:
        self._heap = [(when, n, item) for n, (item, when) in enumerate(self._due.items())]
        self._serial = len(self._heap)
        heapq.heapify(self._heap)

    def _rearm(self) -> None:
        when = self.next()
        if when != self._armed:
            self._armed = when
            self._arm(when)
