"""Events of the data plane, each to the session or stream that it names: a table by type.

An event whose object is gone is dropped; so is STUN for a ufrag that was just removed. Nothing
here raises for anything a peer has sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from rtcfwd.forwarder.api import (
    Event,
    Kind,
    ParameterSets,
    PeerGone,
    PeerHandle,
    PeerIdle,
    PublisherActive,
    PublisherSilent,
    Punt,
    Slow,
    StreamGone,
    ViewerLayer,
    ViewerSlow,
)

from .doctor import Doctor
from .registry import Registry
from .session import Session
from .states import SessionState, StreamState

logger = logging.getLogger(__name__)

_STUN_HEADER = 20
_ATTR_USERNAME = 0x0006


def ufrag_of(data: bytes) -> str | None:
    """The first half of a STUN message's USERNAME (RFC 8445 section 7.2.2), or None."""
    position = _STUN_HEADER
    while position + 4 <= len(data):
        kind = data[position] << 8 | data[position + 1]
        length = data[position + 2] << 8 | data[position + 3]
        if kind == _ATTR_USERNAME:
            name = data[position + 4 : position + 4 + length]
            return name.partition(b":")[0].decode("ascii", "replace")
        position += 4 + (length + 3 & ~3)
    return None


class Dispatcher:
    """Give it events by calling it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._table: dict[type, Callable[[Any], None]] = {
            Punt: self._punt,
            PeerGone: lambda event: registry.peer_gone(event.peer),
            StreamGone: lambda event: registry.stream_gone(event.stream),
            PeerIdle: self._peer_idle,
            PublisherActive: self._publisher_active,
            PublisherSilent: self._publisher_silent,
            ParameterSets: self._parameter_sets,
            ViewerSlow: self._viewer_slow,
            ViewerLayer: self._viewer_layer,
        }

    def __call__(self, event: Event) -> None:
        self._registry.counts.events += 1
        self._table[type(event)](event)

    def _session(self, peer: PeerHandle | None) -> Session | None:
        stream = self._registry.by_peer.get(peer) if peer is not None else None
        session = stream.peers.get(peer) if stream is not None and peer is not None else None
        return None if session is None or session.state is SessionState.CLOSED else session

    def _punt(self, punt: Punt) -> None:
        now = self._registry.clock()
        if punt.path.remote[1] == 0:
            return  # nobody can be answered there
        is_stun = punt.protocol == "stun"
        if is_stun:
            session = self._registry.by_ufrag.get(ufrag_of(punt.data) or "")
        else:
            session = self._session(punt.peer)
        if session is None:
            self._registry.count_drop("no_session")
        elif is_stun:
            session.on_stun(punt, now)
        else:
            session.on_dtls(punt, now)

    def _peer_idle(self, event: PeerIdle) -> None:
        """No media or RTCP for long; STUN keeps it alive (PROTOCOL: any authenticated packet)."""
        session = self._session(event.peer)
        registry = self._registry
        if session is None or session.state is not SessionState.CONNECTED:
            return  # one that never connects has a deadline of its own
        if registry.clock() - session.last_heard >= registry.config.idle_timeout:
            session.close("nothing was heard of it")

    def _publisher_active(self, event: PublisherActive) -> None:
        session = self._session(event.peer)
        stream = self._registry.by_handle.get(event.stream)
        if session is None or stream is None or stream.publisher is not session:
            return
        session.media = True
        if stream.doctor is None:
            stream.doctor = doctor = Doctor(self._registry, stream)
            doctor.begin()
        if stream.state is not StreamState.LIVE:
            stream.become(StreamState.LIVE)
            logger.info("stream %s is live", stream.name)

    def _publisher_silent(self, event: PublisherSilent) -> None:
        session = self._session(event.peer)
        stream = self._registry.by_handle.get(event.stream)
        if session is None or stream is None or stream.publisher is not session:
            return
        session.media = False
        if stream.state is StreamState.LIVE:
            stream.become(StreamState.INTERRUPTED)
            logger.info("stream %s: its publisher is silent", stream.name)

    def _parameter_sets(self, event: ParameterSets) -> None:
        """What the publisher really sends: decides over its offer, for all viewers."""
        stream = self._registry.by_handle.get(event.stream)
        if stream is not None and Kind.VIDEO in stream.live:
            stream.sps = event.sps
            stream.formats.set_sps(stream.live[Kind.VIDEO], event.sps)
            self._registry.rematch(stream)

    def _viewer_slow(self, event: ViewerSlow) -> None:
        """Tell whoever watches; a viewer whose way is broken is closed (RFC 8083)."""
        session = self._session(event.peer)
        if session is None:
            return
        self._registry.counts.slow[event.slow] += 1
        session.slow, session.estimate = event.slow, event.estimate
        for subscriber in session.subscribers.values():
            subscriber.put("slow")
        if event.slow is Slow.BROKEN:
            session.close("its way carries nothing, or it stopped reporting")

    def _viewer_layer(self, event: ViewerLayer) -> None:
        session = self._session(event.peer)
        if session is None:
            return
        session.gets_layer = event.layer
        for subscriber in session.subscribers.values():
            subscriber.put("layers")
