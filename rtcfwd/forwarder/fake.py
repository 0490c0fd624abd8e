"""A data plane for unit tests: it forwards nothing, records every call, and emits what tests push.

It keeps the real one's rules about handles (stale ones raise, a stream closes only after its
peers, PeerGone and StreamGone follow) and the capacity limits, so that a leak shows in
:attr:`FakeForwarder.peers`, ``streams`` and ``ufrags``.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .api import (
    Event,
    ForwarderBusy,
    ForwarderError,
    Kind,
    Path,
    PeerGone,
    PeerHandle,
    Publication,
    Role,
    SrtpProfile,
    StaleHandle,
    StreamGone,
    StreamHandle,
    Subscription,
)


@dataclass
class FakePeer:
    """What was told about one peer."""

    stream: StreamHandle
    role: Role
    ufrags: set[str] = field(default_factory=set)
    paths: list[Path] = field(default_factory=list)
    selected: Path | None = None
    keys: tuple[SrtpProfile, bytes, bytes] | None = None
    publication: Publication | None = None
    subscription: Subscription | None = None
    layer: int | None = None
    formats: dict[tuple[Kind, int], tuple[int, int | None]] = field(default_factory=dict)
    derived: set[tuple[Kind, int]] = field(default_factory=set)


class FakeForwarder:
    """See :class:`~rtcfwd.forwarder.api.Forwarder`. ``calls`` holds (name, arguments)."""

    engine = "fake"
    gso = False

    def __init__(
        self, *, port: int = 8189, workers: int = 1, max_peers: int = 1000, max_streams: int = 100
    ) -> None:
        self.port = port
        self.workers = workers
        self.max_peers = max_peers
        self.max_streams = max_streams
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.sent: list[tuple[int, Path, bytes]] = []
        self.figures: dict[str, Any] = {}  # of every stream, that a test sets
        self.peers: dict[PeerHandle, FakePeer] = {}
        self.streams: set[StreamHandle] = set()
        self.closed = False
        self._events: deque[Event] = deque()
        self._next = 0
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    # ---- for tests ----

    def push(self, event: Event) -> None:
        """Emit an event."""
        self._events.append(event)
        os.eventfd_write(self._fd, 1)

    @property
    def ufrags(self) -> set[str]:
        return {ufrag for peer in self.peers.values() for ufrag in peer.ufrags}

    # ---- Forwarder ----

    def listen_tcp(self, port: int, connections: int) -> int:
        self._note("listen_tcp", port, connections)
        return port or 8189

    def start(self) -> None:
        self._note("start")

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._fd)

    def fileno(self) -> int:
        return self._fd

    def poll(self, limit: int = 64) -> list[Event]:
        events = [self._events.popleft() for _ in range(min(limit, len(self._events)))]
        if not self._events:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._fd)
        return events

    def open_stream(self) -> StreamHandle:
        if len(self.streams) >= self.max_streams:
            raise ForwarderBusy("streams")
        handle = StreamHandle(self._handle())
        self.streams.add(handle)
        self._note("open_stream", handle)
        return handle

    def close_stream(self, stream: StreamHandle) -> None:
        self._note("close_stream", stream)
        if stream not in self.streams:
            raise StaleHandle(f"stream {stream}")
        if any(peer.stream == stream for peer in self.peers.values()):
            raise ForwarderError("the stream has peers")
        self.streams.remove(stream)
        self.push(StreamGone(stream))

    def request_keyframe(self, stream: StreamHandle) -> None:
        self._note("request_keyframe", stream)

    def open_peer(self, stream: StreamHandle, role: Role) -> PeerHandle:
        if stream not in self.streams:
            raise StaleHandle(f"stream {stream}")
        if len(self.peers) >= self.max_peers:
            raise ForwarderBusy("peers")
        handle = PeerHandle(self._handle())
        self.peers[handle] = FakePeer(stream, role)
        self._note("open_peer", handle, role)
        return handle

    def close_peer(self, peer: PeerHandle, *, bye: bool = True) -> None:
        self._note("close_peer", peer, bye)
        self._peer(peer)
        del self.peers[peer]
        self.push(PeerGone(peer))

    def add_ufrag(self, peer: PeerHandle, ufrag: str, pwd: str | None = None) -> None:
        self._note("add_ufrag", peer, ufrag)
        self._peer(peer).ufrags.add(ufrag)

    def remove_ufrag(self, peer: PeerHandle, ufrag: str) -> None:
        self._note("remove_ufrag", peer, ufrag)
        self._peer(peer).ufrags.discard(ufrag)

    def add_path(self, peer: PeerHandle, path: Path) -> None:
        self._note("add_path", peer, path)
        known = self._peer(peer)
        known.paths.append(path)
        known.selected = known.selected or path
        if len(known.paths) > 8:
            known.paths.remove(next(p for p in known.paths if p != known.selected))

    def select_path(self, peer: PeerHandle, path: Path) -> None:
        self._note("select_path", peer, path)
        if path not in self._peer(peer).paths:
            raise ForwarderError("not a path of this peer")
        self._peer(peer).selected = path

    def set_keys(self, peer: PeerHandle, profile: SrtpProfile, rx: bytes, tx: bytes) -> None:
        self._note("set_keys", peer, profile)
        self._peer(peer).keys = (profile, rx, tx)

    def publish(self, peer: PeerHandle, publication: Publication) -> None:
        self._note("publish", peer, publication)
        self._peer(peer).publication = publication

    def view(self, peer: PeerHandle, subscription: Subscription) -> None:
        self._note("view", peer, subscription)
        self._peer(peer).subscription = subscription

    def set_format(
        self,
        peer: PeerHandle,
        kind: Kind,
        format: int,
        pt: int,
        rtx_pt: int | None,
        *,
        derived: bool = False,
    ) -> None:
        self._note("set_format", peer, kind, format, pt, rtx_pt)
        self._peer(peer).formats[kind, format] = (pt, rtx_pt)
        if derived:
            self._peer(peer).derived.add((kind, format))

    def select_layer(self, peer: PeerHandle, layer: int | None) -> None:
        self._note("select_layer", peer, layer)
        self._peer(peer).layer = layer

    def send(self, worker: int, path: Path, data: bytes) -> None:
        self.sent.append((worker, path, data))

    def stream_stats(self, stream: StreamHandle) -> dict[str, Any]:
        if stream not in self.streams:
            raise StaleHandle(f"stream {stream}")
        viewers = sum(p.stream == stream and p.role == Role.VIEWER for p in self.peers.values())
        none = {"tracks": [], "viewers": viewers, "worker": 0, "layers": []}
        return {**none, **self.figures}

    def peer_stats(self, peer: PeerHandle) -> dict[str, Any]:
        self._peer(peer)
        return {}

    def tcp_stats(self) -> dict[str, int]:
        return {}

    def worker_stats(self) -> list[dict[str, Any]]:
        return [{"sent": len(self.sent), "drops": {}} for _ in range(self.workers)]

    def memory_stats(self) -> dict[str, int]:
        return {"viewers": 0, "viewer_count": 0}

    # ---- inside ----

    def _note(self, name: str, *args: Any) -> None:
        self.calls.append((name, args))

    def _handle(self) -> int:
        self._next += 1
        return self._next

    def _peer(self, peer: PeerHandle) -> FakePeer:
        found = self.peers.get(peer)
        if found is None:
            raise StaleHandle(f"peer {peer}")
        return found
