"""One stream: a name, at most one publisher, its viewers, and the formats it has carried.

Its states and their drawing are in ``states.py``. The stream decides when a publisher may be
replaced and when its viewers have waited long enough; opening and closing sessions is the
registry's work.
"""

from __future__ import annotations

from collections.abc import Callable

from rtcfwd.forwarder.api import Kind, PeerHandle, Publication, StreamHandle
from rtcfwd.sdp import StreamFormats

from .events import StreamEvents
from .session import Session
from .states import STREAM_TRANSITIONS, SessionState, StreamState, step
from .timers import Timed
from .warnings import Diagnosis

_TOLD = {StreamState.LIVE: "active", StreamState.INTERRUPTED: "inactive"}


class Stream:
    """``handle``: in the data plane. ``live``: kind -> index of the format that is published.
    ``peers``: handles that the data plane has not let go of; the stream is closed there only
    when none is left. ``clock_rates``: of what was last published, by kind. ``rids``: its
    simulcast layers, empty without."""

    def __init__(
        self,
        name: str,
        handle: StreamHandle,
        formats: StreamFormats,
        stream_id: str,
        now: float,
        on_grace_over: Callable[[Stream], None],
        events: StreamEvents,
    ) -> None:
        self.name = name
        self.handle = handle
        self.formats = formats
        self.stream_id = stream_id
        self.opened_at = now
        self.state = StreamState.IDLE
        self.publisher: Session | None = None
        self.publications = 0
        self.events = events
        self.viewers: dict[str, Session] = {}
        self.live: dict[Kind, int] = {}
        self.clock_rates: dict[Kind, int] = {}
        self.rids: tuple[str, ...] = ()
        self.peers: dict[PeerHandle, Session | None] = {}  # None: it failed to become one
        self.sps = b""  # of the H264 that is published
        self.diagnosis = Diagnosis()
        self.doctor: Timed | None = None  # who looks at it, while it is published
        self.closing = False  # close_stream was called
        self._on_grace_over = on_grace_over

    def become(self, state: StreamState) -> None:
        before, self.state = self.state, step(STREAM_TRANSITIONS, self.state, state)
        if before is not state and state in _TOLD:
            self.events.tell(_TOLD[state])

    def may_replace_publisher(self, now: float, silence: float) -> bool:
        """A publisher is alive while media comes; until its first media, while it is not slower
        than ``silence`` seconds since it was last heard or got connected."""
        publisher = self.publisher
        if publisher is None:
            return True
        if publisher.media:
            return False
        since = publisher.connected_at
        if publisher.state is not SessionState.CONNECTED or since is None:
            since = publisher.last_heard
        return now - since >= silence

    def set_publication(self, chosen: dict[Kind, int], publication: Publication) -> list[Kind]:
        """What is published from now on. Returns the kinds whose clock rate is another than
        before: their viewers cannot go on with the same SSRC (RFC 7160)."""
        rates = {Kind(track.kind): track.clock_rate for track in publication.tracks}
        changed = [k for k, rate in rates.items() if self.clock_rates.get(k, rate) != rate]
        self.clock_rates.update(rates)
        self.rids = next((tuple(t.rids) for t in publication.tracks if t.kind == Kind.VIDEO), ())
        self.live = dict(chosen)
        self.sps = b""
        self.events.tell("layers")
        self.publications += 1
        return changed

    def on_deadline(self, now: float) -> None:
        """The grace time is over."""
        if self.publisher is None:
            self._on_grace_over(self)
