"""Bitrates from byte counters that are looked at now and then."""

from __future__ import annotations

from rtcfwd.forwarder.api import Kind, StreamHandle
from rtcfwd.session.stream import Stream

_INTERVAL = 1.0


class Rates:
    """Bits a second from byte counters that are looked at now and then."""

    def __init__(self) -> None:
        self._seen: dict[tuple[StreamHandle, Kind], tuple[float, int, int]] = {}

    def rate(self, key: tuple[StreamHandle, Kind], since: float, now: float, octets: int) -> int:
        """``since``: when the counter was 0."""
        when, before, rate = self._seen.get(key, (since, 0, 0))
        if octets < before:
            when, before = since, 0
        if now - when >= _INTERVAL:
            rate = round((octets - before) * 8 / (now - when))
            self._seen[key] = (now, octets, rate)
        return rate

    def forget(self, alive: dict[StreamHandle, Stream]) -> None:
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] in alive}
