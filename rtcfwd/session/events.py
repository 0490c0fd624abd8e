"""Server-sent events of one stream to its viewers (WHEP extensions, section 3), without I/O.

    stream, registry ─▶ StreamEvents ─▶ Subscriber: one slot a type ─▶ take(), by whoever writes

A subscriber has at most one waiting event of each type: a newer one takes the place of an older
one that nobody has read, so one that reads slowly costs nothing and is told what holds now. What an
event says beyond its type and a URL is looked up when it is written. The number of viewers is told
once a second at most.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from .ids import new_session_id
from .timers import Timers

TYPES = ("active", "inactive", "layers", "reconnect", "slow", "viewercount", "warnings")
"""What may be subscribed to. scte35 is not among them: the media is not looked into;
``slow`` and ``warnings`` are our own."""

MAX_SUBSCRIBERS = 4
"""Of one session."""

_COUNT_INTERVAL_S = 1.0
_OPPOSITE = {"active": "inactive", "inactive": "active"}


class Subscriber:
    """One stream of events. ``id``: the capability in its URL, 32 hex digits."""

    def __init__(self, types: Collection[str]) -> None:
        self.id = new_session_id()
        self.types = frozenset(types)
        self.ended = False
        self._waiting: dict[str, str] = {}  # type -> URL, for a reconnect
        self._wake: Callable[[], None] | None = None

    def attach(self, wake: Callable[[], None]) -> None:
        """``wake`` is called when there is something to take; who was attached before is woken a
        last time."""
        before, self._wake = self._wake, wake
        if before is not None:
            before()

    def is_attached(self, wake: Callable[[], None]) -> bool:
        return self._wake == wake

    def put(self, kind: str, url: str = "") -> None:
        if kind not in self.types or self.ended:
            return
        self._waiting.pop(_OPPOSITE.get(kind, kind), None)
        self._waiting.pop(kind, None)
        self._waiting[kind] = url
        if self._wake is not None:
            self._wake()

    def take(self) -> list[tuple[str, str]]:
        """What waits, oldest first: (type, URL or "")."""
        taken = list(self._waiting.items())
        self._waiting.clear()
        return taken

    def end(self, *, drop: bool = False) -> None:
        """Nothing follows; what waits is still delivered unless it is to ``drop``."""
        self.ended = True
        if drop:
            self._waiting.clear()
        if self._wake is not None:
            self._wake()


class StreamEvents:
    """The subscribers of one stream."""

    def __init__(self, timers: Timers, clock: Callable[[], float]) -> None:
        self._timers = timers
        self._clock = clock
        self._subscribers: dict[str, Subscriber] = {}
        self._counted = False  # a viewercount is due

    def add(self, subscriber: Subscriber) -> None:
        self._subscribers[subscriber.id] = subscriber

    def remove(self, subscriber: Subscriber) -> None:
        self._subscribers.pop(subscriber.id, None)

    def tell(self, kind: str, url: str = "") -> None:
        for subscriber in self._subscribers.values():
            subscriber.put(kind, url)

    def viewers_changed(self) -> None:
        if self._subscribers and not self._counted:
            self._counted = True
            self._timers.set(self, self._clock() + _COUNT_INTERVAL_S)

    def on_deadline(self, now: float) -> None:
        self._counted = False
        self.tell("viewercount")

    def close(self) -> None:
        """The stream ends; its sessions end their subscribers."""
        self._timers.set(self, None)
