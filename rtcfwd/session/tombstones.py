"""Sessions that ended a short while ago: DELETE of their URL still answers 200.

OBS closes DTLS first and then wants its 200; so does every client whose DELETE crosses our own end
of the session. Ids are forgotten in order, by one timer.
"""

from __future__ import annotations

from .timers import Timers


class Tombstones:
    """A set of session ids that empties itself."""

    def __init__(self, timers: Timers) -> None:
        self._until: dict[str, float] = {}  # in order of expiry: all get the same time
        self._timers = timers

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._until

    def __len__(self) -> int:
        return len(self._until)

    def add(self, session_id: str, until: float) -> None:
        self._until[session_id] = until
        if len(self._until) == 1:
            self._timers.set(self, until)

    def on_deadline(self, now: float) -> None:
        for session_id, until in list(self._until.items()):
            if until > now:
                self._timers.set(self, until)
                return
            del self._until[session_id]
