"""The world of a scenario: a MemoryForwarder, peers with their two links, and one virtual clock.

Every millisecond the peers act, datagrams that are due arrive, every worker turns until it has
nothing to do, and what was sent enters the links. What the forwarder puts on the wire is watched
for the rule on which SRTP rests: one nonce, one content (RFC 3711 section 9.1, RFC 7714 section 8).
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from rtcfwd.forwarder import api
from rtcfwd.forwarder._forwarder import MemoryForwarder
from tests.pipeline.leg import Crypto, Unwrap, is_rtcp
from tests.pipeline.netem import MS, PERFECT, SECOND, Conditions, Link
from tests.pipeline.publisher import Publisher, Setup
from tests.pipeline.viewer import Viewer, ViewerSetup

GCM = api.SrtpProfile.AEAD_AES_128_GCM
WALL = 1_700_000_000 * SECOND  # Unix time of the world's zero


class Wire:
    """One leg's outgoing side: no (SSRC, index) may ever carry two contents."""

    def __init__(self, profile: api.SrtpProfile) -> None:
        self._tag = 10 if profile == api.SrtpProfile.AES128_CM_HMAC_SHA1_80 else 0
        self._unwrap: dict[int, Unwrap] = {}
        self._seen: dict[tuple[int, int], bytes] = {}
        self._rtcp_index: dict[int, int] = {}
        self.repeated = self.packets = 0

    def watch(self, data: bytes) -> None:
        if is_rtcp(data):
            ssrc = int.from_bytes(data[4:8], "big")
            trailer = data[-4 - self._tag :][:4]  # E flag and SRTCP index
            index = int.from_bytes(trailer, "big") & 0x7FFFFFFF
            assert index > self._rtcp_index.get(ssrc, 0)
            self._rtcp_index[ssrc] = index
            return
        self.packets += 1
        ssrc = int.from_bytes(data[8:12], "big")
        unwrap = self._unwrap.setdefault(ssrc, Unwrap())
        name = (ssrc, unwrap(int.from_bytes(data[2:4], "big")))
        before = self._seen.setdefault(name, data)
        if before is not data:
            assert before == data, f"two contents under one nonce: {name}"
            self.repeated += 1

    def saw(self, ssrc: int, seq: int) -> bool:
        """Whether that number, unbounded, was ever sent."""
        return (ssrc, seq) in self._seen


class Peer:
    """A scripted peer in the world: its handle, path, links and wire."""

    def __init__(
        self,
        handle: api.PeerHandle,
        path: api.Path,
        script: Publisher | Viewer,
        up: Link,
        down: Link,
    ) -> None:
        self.handle, self.path, self.script = handle, path, script
        self.up, self.down = up, down
        self.wire = Wire(script.crypto.profile)
        self.open = True
        self.taken: Counter[api.Path] = Counter()  # datagrams sent to it, by path


class World:
    """``workers`` > 1: datagrams arrive at a random worker, as SO_REUSEPORT may have it."""

    def __init__(self, *, workers: int = 1, seed: int = 1, **config: Any) -> None:
        self.random = random.Random(seed)
        self.now = 1000 * SECOND
        self.forwarder = MemoryForwarder(workers=workers, wall_offset_ns=WALL, **config)
        self.workers = workers
        self.stream = self.forwarder.open_stream()
        self.peers: list[Peer] = []
        self.events: list[api.Event] = []
        self._by_path: dict[api.Path, Peer] = {}
        self._unheard: set[api.Path] = set()
        self._seed = seed * 1000
        self._names = 0

    def close(self) -> None:
        self.forwarder.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- peers ----

    def publisher(
        self,
        setup: Setup | None = None,
        *,
        up: Conditions = PERFECT,
        down: Conditions = PERFECT,
        profile: api.SrtpProfile = GCM,
        with_keys: bool = True,
        script_of: type[Publisher] = Publisher,
    ) -> tuple[Any, Peer]:
        script = script_of(self._name(), setup or Setup(), self._crypto(profile), self.now, WALL)
        return script, self._join(api.Role.PUBLISHER, script, up, down, with_keys)

    def viewer(
        self,
        setup: ViewerSetup | None = None,
        *,
        up: Conditions = PERFECT,
        down: Conditions = PERFECT,
        profile: api.SrtpProfile = GCM,
    ) -> tuple[Viewer, Peer]:
        script = Viewer(self._name(), setup or ViewerSetup(), self._crypto(profile), self.now)
        return script, self._join(api.Role.VIEWER, script, up, down, True)

    def settle(self, publisher: Publisher, seconds: float = 1.0) -> None:
        """The end of a lossy scenario: the last packets come through, then repairs have time. (What
        is lost with nothing behind it, no receiver can know.)"""
        for peer in self.peers:
            for link in (peer.up, peer.down):
                link.conditions = Conditions(delay_ms=link.conditions.delay_ms)
        self.run(0.1)
        self.rest(publisher, seconds)

    def rest(self, publisher: Publisher, seconds: float = 0.1) -> None:
        """The publisher pauses, and what is under way arrives."""
        publisher.muted = True
        self.run(seconds)

    def leave(self, peer: Peer, *, bye: bool = True) -> None:
        self.forwarder.close_peer(peer.handle, bye=bye)
        peer.open = False

    def _name(self) -> int:
        self._names += 1
        return self._names

    def _crypto(self, profile: api.SrtpProfile) -> Crypto:
        return Crypto(profile, random.Random(self._seed + self._names).randbytes(44))

    def _join(
        self,
        role: api.Role,
        script: Publisher | Viewer,
        up: Conditions,
        down: Conditions,
        with_keys: bool,
    ) -> Peer:
        f, name = self.forwarder, self._names
        handle = f.open_peer(self.stream, role)
        path = api.Path((f"10.1.{name >> 8}.{name & 255}", 5000), "10.0.0.1")
        if isinstance(script, Publisher):
            f.publish(handle, script.publication())
        else:
            f.view(handle, script.subscription())
        f.add_path(handle, path)
        seed = self._seed + name * 2
        peer = Peer(handle, path, script, Link(up, seed), Link(down, seed + 1))
        self.peers.append(peer)
        self._by_path[path] = peer
        if with_keys:
            self.keys(peer)
        return peer

    def keys(self, peer: Peer) -> None:
        c = peer.script.crypto
        self.forwarder.set_keys(peer.handle, c.profile, c.rx_key, c.tx_key)

    def new_path(self, peer: Peer, port: int) -> api.Path:
        """Another path to the same peer; what is sent there goes down the same link."""
        path = api.Path((peer.path.remote[0], port), peer.path.local)
        self._by_path[path] = peer
        return path

    def forget(self, peer: Peer) -> None:
        """A peer that has left takes no more time (its path is still known)."""
        self.peers.remove(peer)

    def ignore(self, peer: Peer) -> None:
        """One of a crowd: what it is sent is only counted, and it says only what is injected."""
        self.peers.remove(peer)
        self._unheard.add(peer.path)

    # ---- time ----

    def run(self, seconds: float, step_ms: int = 1) -> None:
        end = self.now + round(seconds * SECOND)
        while self.now < end:
            self.step(step_ms)

    def step(self, step_ms: int = 1) -> None:
        self.now += step_ms * MS
        for peer in self.peers:
            if peer.open:
                peer.script.tick(self.now)
            self.flush(peer)
            for data in peer.up.arrived(self.now):
                self.inject(peer, data)
        self.turn()
        for peer in self.peers:
            for data in peer.down.arrived(self.now):
                peer.script.receive(data, self.now)

    def flush(self, peer: Peer) -> None:
        """What the script has said enters its uplink."""
        for data in peer.script.out:
            peer.up.send(self.now, data)
        peer.script.out.clear()

    def inject(self, peer: Peer, data: bytes, worker: int | None = None) -> None:
        if worker is None:
            worker = self.random.randrange(self.workers)
        self.forwarder.inject(worker, peer.path, data, self.now)

    def turn(self) -> None:
        """All workers, until none has anything to do: mail may go to and fro."""
        for _ in range(1000):
            more = False
            for worker in range(self.workers):
                more |= self.forwarder.turn(worker, self.now)
            if self.workers > 1 and not more:
                for worker in range(self.workers):
                    more |= self.forwarder.turn(worker, self.now)
            self.take()
            if not more:
                break
        else:
            raise AssertionError("the workers never come to rest")
        while events := self.forwarder.poll(64):
            self.events += events

    def take(self, most: int = 1 << 30) -> None:
        """What the workers have sent enters the links; ``most`` datagrams of each worker."""
        for worker in range(self.workers):
            for _ in range(most):
                if (sent := self.forwarder.take_sent(worker)) is None:
                    break
                path, data = sent
                peer = self._by_path[path]
                peer.taken[path] += 1
                if path in self._unheard:
                    continue
                peer.wire.watch(data)
                peer.down.send(self.now, data)

    # ---- figures ----

    def drops(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for worker in self.forwarder.worker_stats():
            total.update({k: v for k, v in worker["drops"].items() if v})
        return total

    def track(self, kind: api.Kind) -> dict[str, Any]:
        stats: dict[str, Any] = self.forwarder.stream_stats(self.stream)
        return stats["tracks"][kind.name.lower()]
