"""DTLS-SRTP of one session over pyOpenSSL, without I/O (RFC 6347, RFC 5764, RFC 8842).

It is given datagrams and ``now``; it has datagrams to send (:meth:`DtlsTransport.take_datagrams`),
a time at which it wants to be called (:meth:`DtlsTransport.next_timeout`), and, once connected,
the SRTP keys. OpenSSL is fed through a memory BIO, which has no datagram borders: one write per
datagram goes in, and what comes out is cut at record headers and packed to :data:`MTU`.

      NEW ──start / first datagram──▶ CONNECTING ──▶ CONNECTED ──close / close_notify──▶ CLOSED
                                          └── alert, fingerprint, 10 s ──▶ FAILED ◀── fatal alert

**Lost datagrams.** OpenSSL's own timer starts at one second, runs on the machine's clock and
cannot be set from Python, so the datagrams of our last flight are kept and sent again, from 150 ms
on as client (FFmpeg always loses the first ClientHello) and from 400 ms on as server, each
interval twice the one before. A repetition gets new record numbers where it is not encrypted,
since a peer may have read a record (ChangeCipherSpec out of turn) without using it, and would drop
the same number as a replay; the encrypted Finished must keep its own. When OpenSSL's timer has run
out too, its retransmission, Finished included, is sent instead: a server that finished before us
and whose last flight was lost answers only that.
After the handshake it must go on being fed: a peer that missed our last flight repeats its own.

**Who the peer is.** Any certificate is taken by the verification callback if one fingerprint of
the peer's SDP is its own, and none else; checked again before keys are exported. No session
resumption, no renegotiation, no cookies (the path is already validated by ICE).
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from OpenSSL import SSL, crypto

from rtcfwd.certs import Certificate, matches, usable_fingerprints
from rtcfwd.forwarder.api import SrtpProfile

MTU = 1200
"""Bytes of the longest datagram that is sent."""

HANDSHAKE_S = 10.0
"""From the first datagram to CONNECTED, or else FAILED."""

_DTLS1_2_VERSION = 0xFEFD
_RECORD_HEADER = 13
_MAX_DATAGRAM = 16384
_CLIENT_RESEND_S = 0.15
_SERVER_RESEND_S = 0.4
_LAST_FLIGHT_RESENDS = 8
"""How often a connected server repeats its last flight; a client needs it once or twice."""

_CONTENT_CCS, _CONTENT_ALERT, _CONTENT_HANDSHAKE = 20, 21, 22
_CONTENT_TYPES = range(20, 64)  # RFC 7983

_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""RSA for GStreamer, whose certificate is RSA, when we are the client."""

# As server OpenSSL walks its own list and takes the first profile that the client offers too
# (tests/unit/test_dtls_profiles.py holds it to that), so this is our order of preference.
SRTP_PROFILES = b"SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80"

_PROFILES: Final = {  # OpenSSL's name -> profile, key bytes, salt bytes
    b"SRTP_AEAD_AES_128_GCM": (SrtpProfile.AEAD_AES_128_GCM, 16, 12),
    b"SRTP_AEAD_AES_256_GCM": (SrtpProfile.AEAD_AES_256_GCM, 32, 12),
    b"SRTP_AES128_CM_SHA1_80": (SrtpProfile.AES128_CM_HMAC_SHA1_80, 16, 14),
}


class DtlsState(enum.Enum):
    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What the handshake exported. ``rx`` decrypts what the peer sends, ``tx`` is for what we
    send; each is master key + master salt (28, 30 or 44 bytes)."""

    profile: SrtpProfile
    rx: bytes = field(repr=False)
    tx: bytes = field(repr=False)


def _verify(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
) -> bool:
    """Called by OpenSSL for each certificate of the peer's chain; only the first one counts."""
    return depth > 0 or matches(_der(certificate), connection.get_app_data())


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


@lru_cache(maxsize=8)
def _context(certificate: Certificate, profiles: bytes) -> SSL.Context:
    """The one context of a certificate: sessions share it."""
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(_DTLS1_2_VERSION)
    context.set_max_proto_version(_DTLS1_2_VERSION)
    context.set_options(
        SSL.OP_NO_QUERY_MTU
        | SSL.OP_NO_TICKET
        | SSL.OP_NO_RENEGOTIATION
        | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 71 instead of 83 KiB a connection
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(_CIPHERS)
    context.set_tlsext_use_srtp(profiles)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
    context.use_certificate(certificate.x509)
    context.use_privatekey(certificate.private_key)
    context.check_privatekey()
    return context


class DtlsTransport:
    """One DTLS association. All times are seconds of one monotonic clock, the caller's.

    ``remote_fingerprints``: (hash name, value) pairs of the peer's SDP; with none that binds a
    certificate every handshake fails. ``profiles``: OpenSSL's names of SRTP profiles, most wanted
    first, joined by colons. ``state``, ``error`` (a sentence for the log, with FAILED)
    and ``keys`` are for reading.
    """

    def __init__(
        self,
        *,
        certificate: Certificate,
        is_client: bool,
        remote_fingerprints: Sequence[tuple[str, str]],
        profiles: bytes = SRTP_PROFILES,
    ) -> None:
        self.state = DtlsState.NEW
        self.error: str | None = None
        self.keys: SrtpKeys | None = None
        self.is_client = is_client
        self.resent = 0  # flights sent again, for the metrics
        self._fingerprints = usable_fingerprints(remote_fingerprints)
        self._out: list[bytes] = []
        self._flight: list[bytes] = []
        self._interval = _CLIENT_RESEND_S if is_client else _SERVER_RESEND_S
        self._resend_at: float | None = None
        self._deadline: float | None = None
        self._last_flight_resends = 0
        self._record_number = 0  # of the next unencrypted record
        connection = SSL.Connection(_context(certificate, profiles))
        connection.set_app_data(self._fingerprints)
        connection.set_ciphertext_mtu(MTU)
        if is_client:
            connection.set_connect_state()
        else:
            connection.set_accept_state()
        self._connection = connection

    def start(self, now: float) -> None:
        """Client: send the ClientHello. Server: nothing, it waits for the peer's."""
        if self.is_client and self.state is DtlsState.NEW:
            self._begin(now)
            self._handshake(now)

    def receive(self, datagram: bytes, now: float) -> None:
        """Feed one datagram. Never raises; what is no DTLS is ignored."""
        if not 0 < len(datagram) <= _MAX_DATAGRAM or datagram[0] not in _CONTENT_TYPES:
            return
        if self.state is DtlsState.NEW and not self.is_client:
            self._begin(now)
        if self.state is DtlsState.CONNECTING:
            self._connection.bio_write(datagram)
            self._handshake(now)
        elif self.state is DtlsState.CONNECTED:
            self._connection.bio_write(datagram)
            if not self._read():
                self._answer_repeated_flight(datagram)

    def take_datagrams(self) -> list[bytes]:
        """What is to be sent now, in this order, each at most :data:`MTU` bytes."""
        out, self._out = self._out, []
        return out

    def next_timeout(self) -> float | None:
        """When :meth:`handle_timeout` wants to be called, on the clock of ``now``; or never."""
        if self.state is not DtlsState.CONNECTING:
            return None
        times = [time for time in (self._resend_at, self._deadline) if time is not None]
        return min(times, default=None)

    def handle_timeout(self, now: float) -> None:
        """Resend what is due, give up when the handshake has taken too long. Early calls are
        harmless."""
        if self.state is not DtlsState.CONNECTING:
            return
        if self._deadline is not None and now >= self._deadline:
            self._fail("DTLS handshake timed out")
        elif self._resend_at is not None and now >= self._resend_at:
            # Nothing before OpenSSL's own timer has run out; its errors come up in do_handshake.
            with contextlib.suppress(SSL.Error):
                self._connection.DTLSv1_handle_timeout()
            self._flight = self._take_from_openssl() or self._flight
            self._repeat_flight()
            self._interval *= 2
            self._resend_at = now + self._interval

    def close(self) -> None:
        """Say close_notify if there is a connection; CLOSED afterwards unless FAILED before."""
        if self.state is DtlsState.CONNECTED:
            with contextlib.suppress(SSL.Error):
                self._connection.shutdown()
            self._out += self._take_from_openssl()
        if self.state is not DtlsState.FAILED:
            self.state = DtlsState.CLOSED
        self._forget_flight()

    def _begin(self, now: float) -> None:
        self.state = DtlsState.CONNECTING
        self._deadline = now + HANDSHAKE_S

    def _handshake(self, now: float) -> None:
        done = False
        try:
            self._connection.do_handshake()
            done = True
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._fail("the peer closed during the DTLS handshake")
        except SSL.Error as error:
            self._fail(_describe(error))
        self._new_flight(now)
        if done:
            self._finish()

    def _new_flight(self, now: float) -> None:
        """Send what OpenSSL wrote, and keep it while it may have to be sent again."""
        flight = self._take_from_openssl()
        if not flight:
            return
        self._out += [self._number(datagram) for datagram in flight]
        if self.state is DtlsState.FAILED or flight[0][0] == _CONTENT_ALERT:
            return
        self._flight = flight
        self._interval = _CLIENT_RESEND_S if self.is_client else _SERVER_RESEND_S
        self._resend_at = now + self._interval

    def _finish(self) -> None:
        certificate = self._connection.get_peer_certificate()
        if certificate is None or not matches(_der(certificate), self._fingerprints):
            self._fail("the peer's certificate does not match its fingerprint")
            return
        keys = self._export()
        if keys is None:
            self._fail("no SRTP protection profile in common")
            return
        self.keys = keys
        self.state = DtlsState.CONNECTED
        self._resend_at = None
        if self.is_client:
            self._flight = []  # the server spoke last; it has all that we sent
        self._read()  # what else was in the datagram

    def _export(self) -> SrtpKeys | None:
        """RFC 5764 section 4.2: client key, server key, client salt, server salt."""
        selected = _PROFILES.get(self._connection.get_selected_srtp_profile())
        if selected is None:
            return None
        profile, key, salt = selected
        material = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        rx, tx = (server, client) if self.is_client else (client, server)
        return SrtpKeys(profile, rx=rx, tx=tx)

    def _read(self) -> bool:
        """Let OpenSSL handle what comes after the handshake; application data is not ours.
        Says whether it answered."""
        try:
            while True:
                self._connection.recv(2048)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:  # close_notify
            self.close()
        except SSL.Error as error:
            self._fail(_describe(error))
        answer = self._take_from_openssl()
        self._out += answer  # all of it encrypted
        return bool(answer)

    def _answer_repeated_flight(self, datagram: bytes) -> None:
        """A connected server that hears more of the handshake: the peer missed our last flight.
        OpenSSL answers a repetition with new record numbers by itself, one with old numbers it
        drops as a replay."""
        if (
            self._flight
            and datagram[0] in (_CONTENT_CCS, _CONTENT_HANDSHAKE)
            and self._last_flight_resends < _LAST_FLIGHT_RESENDS
        ):
            self._last_flight_resends += 1
            self._repeat_flight()

    def _repeat_flight(self) -> None:
        self.resent += 1
        self._out += [self._number(datagram) for datagram in self._flight]

    def _fail(self, error: str) -> None:
        self.state = DtlsState.FAILED
        self.error = error
        self.keys = None
        self._forget_flight()

    def _forget_flight(self) -> None:
        self._flight = []
        self._resend_at = None
        self._deadline = None

    def _number(self, datagram: bytes) -> bytes:
        """Give the unencrypted records (epoch 0) the next numbers of our own count; neither a
        MAC nor the handshake's transcript covers them."""
        numbered = bytearray(datagram)
        position = 0
        while position < len(numbered):
            if numbered[position + 3 : position + 5] == b"\0\0":
                numbered[position + 5 : position + 11] = self._record_number.to_bytes(6)
                self._record_number += 1
            position += _RECORD_HEADER + int.from_bytes(numbered[position + 11 : position + 13])
        return bytes(numbered)

    def _take_from_openssl(self) -> list[bytes]:
        data = b""
        with contextlib.suppress(SSL.WantReadError):
            while True:
                data += self._connection.bio_read(16384)
        return pack_records(data)


def pack_records(data: bytes) -> list[bytes]:
    """Cut a run of DTLS records at their headers and pack them into datagrams of at most
    :data:`MTU` bytes; several records may share a datagram (RFC 6347 section 4.1.1)."""
    datagrams: list[bytes] = []
    start = position = 0
    while position < len(data):
        end = position + _RECORD_HEADER + int.from_bytes(data[position + 11 : position + 13])
        if end - start > MTU and position > start:
            datagrams.append(data[start:position])
            start = position
        position = end
    if start < len(data):
        datagrams.append(data[start:])
    return datagrams


def _describe(error: SSL.Error) -> str:
    """OpenSSL's error queue as a sentence."""
    if isinstance(error, SSL.SysCallError) or not error.args or not error.args[0]:
        return "DTLS connection lost"
    if isinstance(error.args[0], list):
        return "DTLS: " + "; ".join(str(entry[-1]) for entry in error.args[0])
    return f"DTLS: {error.args[0]}"
