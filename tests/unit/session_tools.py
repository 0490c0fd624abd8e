"""A server's sessions in memory: fake data plane, virtual clock, and clients that do real STUN and
DTLS with it by function calls."""

from __future__ import annotations

import itertools
import re

import aioice
from aioice import stun

from rtcfwd.certs import Certificate
from rtcfwd.config import Config
from rtcfwd.dtls import DtlsState, DtlsTransport
from rtcfwd.forwarder.api import Kind, Path, PublisherActive, PublisherSilent, Punt
from rtcfwd.forwarder.fake import FakeForwarder
from rtcfwd.session.dispatch import Dispatcher
from rtcfwd.session.registry import Registry
from rtcfwd.session.session import Session
from tests.unit.sdp_tools import golden

PUBLISH = golden("chromium156-sendonly-h264-pcma.sdp")
VIEW = golden("chromium156-recvonly-h264-pcma.sdp")
SERVER = Certificate.generate()
CLIENT = Certificate.generate()
LOCAL = "192.0.2.1"


def with_fingerprint(offer: bytes, certificate: Certificate) -> bytes:
    name, value = certificate.fingerprint
    return re.sub(rb"a=fingerprint:[^\r\n]*", f"a=fingerprint:{name} {value}".encode(), offer)


class World:
    """A registry with everything around it."""

    def __init__(self, config: Config | None = None, **fake: int) -> None:
        self.now = 1000.0
        self.forwarder = FakeForwarder(**fake)
        self.registry = Registry(
            forwarder=self.forwarder,
            config=config or Config(),
            certificate=SERVER,
            candidates=[aioice.Candidate("1", 1, "udp", 2130706431, LOCAL, 8189, "host")],
            clock=lambda: self.now,
        )
        self.dispatch = Dispatcher(self.registry)
        self._ports = itertools.count(40000)

    def publish(self, name: str = "demo", offer: bytes = PUBLISH) -> Session:
        return self.registry.publish(name, with_fingerprint(offer, CLIENT))

    def view(self, name: str = "demo", offer: bytes = VIEW) -> Session:
        return self.registry.view(name, with_fingerprint(offer, CLIENT))

    def client(self, session: Session) -> Client:
        return Client(self, session, Path(("198.51.100.7", next(self._ports)), LOCAL))

    def connected(self, session: Session) -> Client:
        client = self.client(session)
        client.connect()
        return client

    def live(self, name: str = "demo", offer: bytes = PUBLISH) -> Client:
        """A connected publisher whose media has come."""
        client = self.connected(self.publish(name, offer))
        self.media(client.session)
        return client

    def media(self, session: Session, comes: bool = True) -> None:
        assert session.peer is not None
        stream = self.registry.by_peer[session.peer].handle
        if comes:
            self.dispatch(PublisherActive(session.peer, stream, Kind.VIDEO))
        else:
            self.dispatch(PublisherSilent(session.peer, stream))

    def pump(self) -> None:
        """Handle the events that the data plane has emitted."""
        while events := self.forwarder.poll(64):
            for event in events:
                self.dispatch(event)

    def advance(self, seconds: float) -> None:
        """Let time pass; timers run when they are due."""
        end = self.now + seconds
        while (due := self.registry.timers.next()) is not None and due <= end:
            self.now = max(self.now, due)
            self.registry.run_timers()
            self.pump()
        self.now = end

    def assert_empty(self) -> None:
        """Nothing is left of anything (after tombstones and grace)."""
        registry, forwarder = self.registry, self.forwarder
        assert registry.streams == {}
        assert registry.sessions == {}
        assert registry.handshakes == set()
        assert registry.by_handle == {}
        assert registry.by_peer == {}
        assert registry.by_ufrag == {}
        assert len(registry.ssrcs) == 0
        assert len(registry.timers) == 0
        assert forwarder.peers == {}
        assert forwarder.streams == set()


class Client:
    """The far end of a session: sends STUN checks, does DTLS."""

    def __init__(self, world: World, session: Session, path: Path) -> None:
        self.world = world
        self.session = session
        self.path = path
        answer = session.sdp.decode()
        passive = "a=setup:passive" in answer
        fingerprint = re.search(r"a=fingerprint:(\S+) (\S+)", answer)
        assert fingerprint is not None
        self.dtls = DtlsTransport(
            certificate=CLIENT,
            is_client=passive,
            remote_fingerprints=[(fingerprint[1].lower(), fingerprint[2])],
        )

    def check(self, *, nominate: bool = True, path: Path | None = None) -> list[bytes]:
        """Send a STUN check; returns the datagrams that answer it."""
        path = path or self.path
        agent = self.session.agent
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{agent.local_ufrag}:peer"
        request.attributes["PRIORITY"] = 1
        if nominate:
            request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(agent.local_pwd.encode())
        return self._exchange(Punt("stun", 0, path, None, bytes(request)))

    def connect(self) -> None:
        """Check, then the handshake to its end."""
        answers = self.check()
        self.dtls.start(self.world.now)
        for datagram in answers:
            if datagram[0] >= 20:
                self.dtls.receive(datagram, self.world.now)
        self.exchange_dtls()
        assert self.dtls.state is DtlsState.CONNECTED, self.dtls.error

    def exchange_dtls(self) -> None:
        peer = self.session.peer
        while sent := self.dtls.take_datagrams():
            for datagram in sent:
                for answer in self._exchange(Punt("dtls", 0, self.path, peer, datagram)):
                    self.dtls.receive(answer, self.world.now)

    def close(self) -> None:
        """Send close_notify."""
        self.dtls.close()
        self.exchange_dtls()
        self.world.pump()

    def _exchange(self, punt: Punt) -> list[bytes]:
        forwarder = self.world.forwarder
        before = len(forwarder.sent)
        self.world.dispatch(punt)
        return [data for _, path, data in forwarder.sent[before:] if path == punt.path]
