"""Two DTLS ends in memory, in virtual time, with a link between them that tests can break.

A ``Link`` carries datagrams with 10 ms of delay. Its ``fate`` is asked for each datagram: it is
given the direction, how many datagrams went that way before, and the bytes, and returns the
datagrams that arrive instead, each with an extra delay in seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from OpenSSL import SSL

from rtcfwd.certs import Certificate
from rtcfwd.dtls import DtlsState, DtlsTransport

CLIENT = "client"
SERVER = "server"
DELAY_S = 0.01

OURS = Certificate.generate()
THEIRS = Certificate.generate()

Fate = Callable[[str, int, bytes], Iterable[tuple[bytes, float]]]


def intact(_sender: str, _count: int, data: bytes) -> Iterable[tuple[bytes, float]]:
    return [(data, 0.0)]


@dataclass
class Link:
    """A client and a server. ``log``: (time, sender, length) of each datagram sent."""

    client: DtlsTransport
    server: DtlsTransport
    fate: Fate = intact
    now: float = 0.0
    log: list[tuple[float, str, int]] = field(default_factory=list)
    _sent: dict[str, int] = field(default_factory=lambda: {CLIENT: 0, SERVER: 0})
    _flying: list[tuple[float, int, str, bytes]] = field(default_factory=list)

    def run(self, until: float = 30.0) -> None:
        """Carry datagrams and call timers, in order of time, until nothing more is due."""
        self.client.start(self.now)
        self._collect()
        while True:
            times = [self._flying[0][0]] if self._flying else []
            times += [t for end in (self.client, self.server) if (t := end.next_timeout())]
            if not times or min(times) > until:
                return
            self.now = max(self.now, min(times))
            while self._flying and self._flying[0][0] <= self.now:
                _, _, receiver, data = heapq.heappop(self._flying)
                self._end(receiver).receive(data, self.now)
                self._collect()
            for end in (self.client, self.server):
                due = end.next_timeout()
                if due is not None and due <= self.now:
                    end.handle_timeout(self.now)
            self._collect()

    def _end(self, name: str) -> DtlsTransport:
        return self.client if name == CLIENT else self.server

    def _collect(self) -> None:
        for sender, receiver in ((CLIENT, SERVER), (SERVER, CLIENT)):
            for data in self._end(sender).take_datagrams():
                assert 0 < len(data) <= 1200
                self.log.append((self.now, sender, len(data)))
                count = self._sent[sender]
                self._sent[sender] += 1
                for arriving, extra in self.fate(sender, count, data):
                    at = self.now + DELAY_S + extra
                    heapq.heappush(self._flying, (at, len(self.log), receiver, arriving))


def link(fate: Fate = intact, **options: Any) -> Link:
    """Two ends that know each other's fingerprints; ``options``: client_… and server_…"""

    def ends(role: str) -> dict[str, Any]:
        return {k.removeprefix(role): v for k, v in options.items() if k.startswith(role)}

    client: dict[str, Any] = {
        "certificate": THEIRS,
        "remote_fingerprints": [OURS.fingerprint],
        **ends("client_"),
    }
    server: dict[str, Any] = {
        "certificate": OURS,
        "remote_fingerprints": [THEIRS.fingerprint],
        **ends("server_"),
    }
    return Link(
        DtlsTransport(is_client=True, **client), DtlsTransport(is_client=False, **server), fate
    )


def assert_connected(pair: Link) -> None:
    """Both ends are, and what one sends with the other receives with."""
    client, server = pair.client, pair.server
    assert (client.state, server.state) == (DtlsState.CONNECTED, DtlsState.CONNECTED), (
        client.error,
        server.error,
    )
    assert client.keys is not None
    assert server.keys is not None
    assert client.keys.profile is server.keys.profile
    assert (client.keys.rx, client.keys.tx) == (server.keys.tx, server.keys.rx)
    assert client.keys.rx != client.keys.tx


class RawPeer:
    """A plain OpenSSL end, for what a `DtlsTransport` would never do: another version, RSA, no
    certificate, renegotiation, any MTU. One call of ``take`` is one flight."""

    def __init__(self, context: SSL.Context, *, is_client: bool, mtu: int = 1200) -> None:
        self.ssl = SSL.Connection(context)
        self.ssl.set_ciphertext_mtu(mtu)
        self.done = False
        self.error: SSL.Error | None = None
        if is_client:
            self.ssl.set_connect_state()
        else:
            self.ssl.set_accept_state()

    def step(self, datagrams: Iterable[bytes] = ()) -> list[bytes]:
        """Feed datagrams, go on with the handshake or read; returns records, one a datagram."""
        for datagram in datagrams:
            self.ssl.bio_write(datagram)
            self._advance()
        if not self.done:
            self._advance()
        return self.take()

    def take(self) -> list[bytes]:
        data = b""
        try:
            while True:
                data += self.ssl.bio_read(65536)
        except SSL.WantReadError:
            pass
        records = []
        while data:
            end = 13 + int.from_bytes(data[11:13])
            records.append(data[:end])
            data = data[end:]
        return records

    def _advance(self) -> None:
        try:
            if self.done:
                self.ssl.recv(4096)
            else:
                self.ssl.do_handshake()
                self.done = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.error = error


def handshake(peer: RawPeer, ours: DtlsTransport, now: float = 0.0) -> None:
    """Exchange flights until neither has more to say."""
    ours.start(now)
    sent = ours.take_datagrams()
    for _ in range(12):
        for datagram in peer.step(sent):
            ours.receive(datagram, now)
        sent = ours.take_datagrams()
        if not sent:
            return


def raw_context(
    certificate: Certificate | tuple[Any, Any] | None = THEIRS,
    *,
    profiles: bytes = b"SRTP_AES128_CM_SHA1_80",
    versions: tuple[int, int] = (0xFEFD, 0xFEFD),
    ciphers: bytes | None = None,
) -> SSL.Context:
    """A context for :class:`RawPeer`, with OpenSSL's defaults where nothing else is said."""
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(versions[0])
    context.set_max_proto_version(versions[1])
    context.set_options(SSL.OP_NO_QUERY_MTU)
    if ciphers is not None:
        context.set_cipher_list(ciphers)
    if profiles:
        context.set_tlsext_use_srtp(profiles)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    if isinstance(certificate, Certificate):
        certificate = (certificate.x509, certificate.private_key)
    if certificate is not None:
        context.use_certificate(certificate[0])
        context.use_privatekey(certificate[1])
    return context
