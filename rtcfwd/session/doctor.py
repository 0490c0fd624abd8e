"""The stream doctor's rounds: looks at a stream every two seconds while it has a publisher.

    timers ─▶ Doctor.on_deadline ─▶ stream_stats ─▶ Diagnosis ─▶ log, events; read by API, metrics

A warning is logged when it comes and when it goes, at most once a minute for each type. A new
publication is a new patient.
"""

from __future__ import annotations

import logging

from rtcfwd.forwarder.api import ForwarderError, Slow

from .registry import Registry
from .stream import Stream
from .warnings import LOOK_S, Diagnosis, Seen

logger = logging.getLogger(__name__)

_LOG_AGAIN_S = 60.0


class Doctor:
    """Of one stream, from :meth:`begin` on, until its publisher has gone."""

    def __init__(self, registry: Registry, stream: Stream) -> None:
        self._registry = registry
        self._stream = stream
        self._publication = 0
        self._logged: dict[str, float] = {}

    def begin(self) -> None:
        self._registry.timers.set(self, self._registry.clock() + LOOK_S)

    def on_deadline(self, now: float) -> None:
        stream = self._stream
        if stream.publisher is None:
            self._leave()
            return
        if self._publication != stream.publications:
            self._publication = stream.publications
            stream.diagnosis = Diagnosis()
        try:
            stats = self._registry.forwarder.stream_stats(stream.handle)
        except ForwarderError:
            self._leave()
            return
        slow = sum(viewer.slow is not Slow.ALL for viewer in stream.viewers.values())
        seen = Seen(stats, slow, len(stream.viewers), stream.sps)
        new, over = stream.diagnosis.look(seen)
        for warning in new:
            self._log(now, warning.type, f"{warning.type}: {warning.text}", logging.WARNING)
        for kind in over:
            self._log(now, f"no {kind}", f"{kind} is over", logging.INFO)
        if new or over:
            stream.events.tell("warnings")
        self.begin()

    def _leave(self) -> None:
        stream = self._stream
        if stream.diagnosis.warnings:
            stream.events.tell("warnings")
        stream.diagnosis = Diagnosis()
        stream.doctor = None

    def _log(self, now: float, what: str, text: str, level: int) -> None:
        if now - self._logged.get(what, -_LOG_AGAIN_S) >= _LOG_AGAIN_S:
            self._logged[what] = now
            logger.log(level, "stream %s: %s", self._stream.name, text)
