"""DTLS of one session (RFC 6347, DTLS-SRTP by RFC 5764), without I/O, over pyOpenSSL.

    NEW ──start()/receive()──▶ CONNECTING ──handshake, fingerprint──▶ CONNECTED ──▶ CLOSED
                                    └──────── alert, mismatch, 10 s ────────▶ FAILED

It is given datagrams and the time and gives datagrams back; it owns no clock and no socket. What
was learnt by trying, and is therefore here:

- OpenSSL's memory BIO runs datagrams together, so what it wrote is cut at record headers and packed
  into datagrams of at most 1200 bytes; each datagram that came in is one write.
- Its retransmit timer starts at 1 s and cannot be shortened. So the datagrams of our last flight
  are kept and sent again, the same bytes, after 150, 300, 600 … ms until an answer comes (FFmpeg
  loses the first ClientHello). A record that did arrive is dropped by the peer as a replay.
- It must be fed after the handshake, too: the peer may have lost our last flight, and close_notify
  comes this way.

The peer's certificate is checked against the fingerprints of its SDP and nothing else (RFC 8122
section 5.1); without a match there are no keys.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from OpenSSL import SSL

from rtcfwd.certs import Certificate, matches, usable_fingerprints
from rtcfwd.forwarder.api import SrtpProfile

MTU = 1200
"""Bytes of the largest datagram that we send."""

HANDSHAKE_S = 10.0
"""Time that a handshake may take."""

_DTLS_1_2 = 0xFEFD
_RECORD_HEADER = 13
_READ = 65536
_FIRST_RETRY_S = 0.15
_LAST_RETRY_S = 2.4

_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"
)
"""RSA ones too: as client we meet GStreamer's RSA certificate."""

_PROFILES = b"SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80"
"""In our order of preference; as server it is ours that decides."""

_PROFILE_BY_NAME: dict[bytes, tuple[SrtpProfile, int, int]] = {
    b"SRTP_AEAD_AES_128_GCM": (SrtpProfile.AEAD_AES_128_GCM, 16, 12),
    b"SRTP_AEAD_AES_256_GCM": (SrtpProfile.AEAD_AES_256_GCM, 32, 12),
    b"SRTP_AES128_CM_SHA1_80": (SrtpProfile.AES128_CM_HMAC_SHA1_80, 16, 14),
}
"""OpenSSL's name -> profile, bytes of master key, bytes of master salt (RFC 5764, RFC 7714)."""


class DtlsState(enum.Enum):
    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What the exporter gave: ``rx`` and ``tx`` are master key + master salt, seen from here."""

    profile: SrtpProfile
    rx: bytes
    tx: bytes


def _accept_any(*_args: object) -> bool:
    """Certificates are self-signed; the fingerprint decides afterwards."""
    return True


@lru_cache(maxsize=8)
def _context(certificate: Certificate, profiles: bytes) -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept_any)
    context.use_certificate(certificate.x509)
    context.use_privatekey(certificate.private_key)
    context.set_cipher_list(_CIPHERS)
    context.set_tlsext_use_srtp(profiles)
    return context


def _pack(stream: bytes) -> list[bytes]:
    """Records that OpenSSL wrote, as datagrams of whole records and at most MTU bytes (a longer
    record, which set_ciphertext_mtu rules out, would go alone)."""
    datagrams: list[bytes] = []
    begin = at = 0
    while at + _RECORD_HEADER <= len(stream):
        end = at + _RECORD_HEADER + int.from_bytes(stream[at + 11 : at + 13], "big")
        if end - begin > MTU and at > begin:
            datagrams.append(stream[begin:at])
            begin = at
        at = end
    if begin < len(stream):
        datagrams.append(stream[begin:])
    return datagrams


class DtlsTransport:
    """One end of a DTLS association.

    :param certificate: ours.
    :param is_client: we send the ClientHello (our ``a=setup`` is ``active``).
    :param remote_fingerprints: of the peer's SDP; none usable means that no handshake succeeds.
    :param profiles: SRTP profiles to offer or accept, OpenSSL's names joined by ``:``.
    """

    def __init__(
        self,
        *,
        certificate: Certificate,
        is_client: bool,
        remote_fingerprints: Sequence[tuple[str, str]],
        profiles: bytes = _PROFILES,
    ) -> None:
        self.state = DtlsState.NEW
        self.error: str | None = None
        self.keys: SrtpKeys | None = None
        self._is_client = is_client
        self._fingerprints = usable_fingerprints(remote_fingerprints)
        self._ssl = SSL.Connection(_context(certificate, profiles), None)
        self._ssl.set_ciphertext_mtu(MTU)
        if is_client:
            self._ssl.set_connect_state()
        else:
            self._ssl.set_accept_state()
        self._out: list[bytes] = []
        self._flight: list[bytes] = []
        self._retry_s = _FIRST_RETRY_S
        self._retry_at: float | None = None
        self._deadline: float | None = None

    # ---- in ----

    def start(self, now: float) -> None:
        """Client: send the first flight. Server: nothing but the start of the time allowed."""
        if self.state is DtlsState.NEW:
            self.state = DtlsState.CONNECTING
            self._deadline = now + HANDSHAKE_S
            if self._is_client:
                self._handshake(now)

    def receive(self, datagram: bytes, now: float) -> None:
        """A datagram from the peer. Any bytes; never raises."""
        if self.state in (DtlsState.CLOSED, DtlsState.FAILED) or not datagram:
            return
        self.start(now)
        try:
            self._ssl.bio_write(datagram)
        except SSL.Error:
            return
        if self.state is DtlsState.CONNECTING:
            self._handshake(now)
        if self.state is DtlsState.CONNECTED:
            self._read(now)

    def next_timeout(self) -> float | None:
        """When :meth:`handle_timeout` wants to be called; None: not at all."""
        if self.state is not DtlsState.CONNECTING:
            return None
        if self._retry_at is None or self._deadline is None:
            return self._deadline
        return min(self._retry_at, self._deadline)

    def handle_timeout(self, now: float) -> None:
        if self.state is not DtlsState.CONNECTING:
            return
        if self._deadline is not None and now >= self._deadline:
            self._fail(f"no handshake within {HANDSHAKE_S:.0f} s")
        elif self._retry_at is not None and now >= self._retry_at:
            self._out += self._flight
            self._retry_s = min(self._retry_s * 2, _LAST_RETRY_S)
            self._retry_at = now + self._retry_s

    def close(self) -> None:
        """Send close_notify (RFC 7675 section 5.2 calls it revocation of consent)."""
        if self.state is DtlsState.CONNECTED:
            with contextlib.suppress(SSL.Error):
                self._ssl.shutdown()
            self._collect()
        if self.state is not DtlsState.FAILED:
            self.state = DtlsState.CLOSED

    # ---- out ----

    def take_datagrams(self) -> list[bytes]:
        """What is to be sent now, each at most 1200 bytes."""
        out, self._out = self._out, []
        return out

    # ---- inside ----

    def _collect(self) -> list[bytes]:
        stream = b""
        while True:
            try:
                stream += self._ssl.bio_read(_READ)
            except SSL.Error:
                break
        datagrams = _pack(stream)
        self._out += datagrams
        return datagrams

    def _handshake(self, now: float) -> None:
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            self._note_flight(self._collect(), now)
            return
        except SSL.Error as error:
            self._collect()  # our alert
            self._fail(_reason(error))
            return
        self._collect()
        self._retry_at = None
        self._flight = []
        self._finish()

    def _note_flight(self, datagrams: list[bytes], now: float) -> None:
        if datagrams:
            self._flight = datagrams
            self._retry_s = _FIRST_RETRY_S
            self._retry_at = now + self._retry_s

    def _finish(self) -> None:
        peer = self._ssl.get_peer_certificate(as_cryptography=True)
        if peer is None or not matches(peer, self._fingerprints):
            self._shut("the certificate does not match a fingerprint of the SDP")
            return
        name = self._ssl.get_selected_srtp_profile()
        if name not in _PROFILE_BY_NAME:
            self._shut("no SRTP profile in common")
            return
        profile, key, salt = _PROFILE_BY_NAME[name]
        block = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client = block[:key] + block[2 * key : 2 * key + salt]
        server = block[key : 2 * key] + block[2 * key + salt :]
        rx, tx = (server, client) if self._is_client else (client, server)
        self.keys = SrtpKeys(profile, rx, tx)
        self.state = DtlsState.CONNECTED

    def _read(self, now: float) -> None:
        """Application data has no place here and is dropped; alerts and lost flights matter."""
        try:
            while self._ssl.recv(_READ):
                pass
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.close()
        except SSL.Error as error:
            self.error = _reason(error)
            self.state = DtlsState.CLOSED
        self._collect()

    def _shut(self, why: str) -> None:
        with contextlib.suppress(SSL.Error):
            self._ssl.shutdown()
        self._collect()
        self._fail(why)

    def _fail(self, why: str) -> None:
        self.state = DtlsState.FAILED
        self.error = why
        self._flight = []
        self._retry_at = None


def _reason(error: SSL.Error) -> str:
    """OpenSSL's own words, e.g. ``no shared cipher``."""
    stack = error.args[0] if error.args else None
    if isinstance(stack, list) and stack and len(stack[-1]) == 3:
        return str(stack[-1][2])
    return type(error).__name__
