"""DTLS-SRTP of one session over pyOpenSSL, without I/O (RFC 6347, RFC 5764, RFC 8842).

It is given datagrams and ``now``; it has datagrams to send (:meth:`DtlsTransport.take_datagrams`),
a time at which it wants to be called (:meth:`DtlsTransport.next_timeout`), and, once connected,
the SRTP keys. OpenSSL is fed through a memory BIO, which has no datagram borders: one write per
datagram goes in, and what comes out is cut at record headers and packed to :data:`MTU`.

      NEW ──start / first datagram──▶ CONNECTING ──▶ CONNECTED ──close / close_notify──▶ CLOSED
                                          └── alert, fingerprint, 10 s ──▶ FAILED ◀── fatal alert

**Lost datagrams.** OpenSSL's own timer starts at one second, runs on the machine's clock and
cannot be set from Python, so the datagrams of our last flight are kept and sent again, from 50 ms
on as client (FFmpeg always loses the first ClientHello) and from 100 ms on as server, each
interval twice the one before. Every record that leaves gets a number of our own count, repeated
ones a new one (RFC 6347 section 4.2.4): a peer drops an old number as a replay. Those of epoch 1
are opened and sealed again for that (``dtls_records.py``).

**After the handshake** OpenSSL's connection is let go: the keys of epoch 1 are enough for
close_notify in both directions, for a server's last flight when the client repeats its Finished,
and to refuse renegotiation. What is not sealed with them is ignored. Each of the answers is given
eight times at most, so replays are harmless.

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
from rtcfwd.dtls_records import HEADER, Records, split
from rtcfwd.forwarder.api import SrtpProfile

MTU = 1200
"""Bytes of the longest datagram that is sent."""

HANDSHAKE_S = 10.0
"""From the first datagram to CONNECTED, or else FAILED."""

_DTLS1_2_VERSION = 0xFEFD
_MAX_DATAGRAM = 16384
_CLIENT_RESEND_S = 0.05
_SERVER_RESEND_S = 0.1
_LATE_ANSWERS = 8
"""How often a connected end repeats its last flight or refuses; a peer needs it once or twice."""

_ALERT, _HANDSHAKE = 21, 22
_CONTENT_TYPES = range(20, 64)  # RFC 7983
_HELLO_REQUEST, _CLIENT_HELLO, _FINISHED = 0, 1, 20
_WARNING, _FATAL = 1, 2
_CLOSE_NOTIFY, _NO_RENEGOTIATION = 0, 100

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
        self._late_answers = 0
        self._record_number = 0  # of the next unencrypted record
        self._records: Records | None = None  # from our Finished on
        connection = SSL.Connection(_context(certificate, profiles))
        connection.set_app_data(self._fingerprints)
        connection.set_ciphertext_mtu(MTU)
        if is_client:
            connection.set_connect_state()
        else:
            connection.set_accept_state()
        self._connection: SSL.Connection | None = connection  # during the handshake

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
            assert self._connection is not None
            self._connection.bio_write(datagram)
            self._handshake(now)
        elif self.state is DtlsState.CONNECTED:
            self._receive_late(datagram)

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
            self._repeat_flight()
            self._interval *= 2
            self._resend_at = now + self._interval

    def close(self) -> None:
        """Say close_notify if there is a connection; CLOSED afterwards unless FAILED before."""
        if self.state is DtlsState.CONNECTED:
            self._alert(_WARNING, _CLOSE_NOTIFY)
        if self.state is not DtlsState.FAILED:
            self.state = DtlsState.CLOSED
        self._forget()

    def _begin(self, now: float) -> None:
        self.state = DtlsState.CONNECTING
        self._deadline = now + HANDSHAKE_S

    def _handshake(self, now: float) -> None:
        connection = self._connection
        assert connection is not None
        failure = None
        done = False
        try:
            connection.do_handshake()
            done = True
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            failure = "the peer closed during the DTLS handshake"
        except SSL.Error as error:
            failure = _describe(error)
        self._new_flight(_take(connection), now)
        if failure is not None:
            self._fail(failure)
        elif done:
            self._finish(connection)

    def _new_flight(self, flight: list[bytes], now: float) -> None:
        """Send what OpenSSL wrote, and keep it while it may have to be sent again."""
        if not flight:
            return
        self._send(flight)
        if flight[0][0] == _ALERT:
            return
        self._flight = flight
        self._interval = _CLIENT_RESEND_S if self.is_client else _SERVER_RESEND_S
        self._resend_at = now + self._interval

    def _finish(self, connection: SSL.Connection) -> None:
        certificate = connection.get_peer_certificate()
        if certificate is None or not matches(_der(certificate), self._fingerprints):
            self._fail("the peer's certificate does not match its fingerprint")
            return
        keys = self._export(connection)
        if keys is None:
            self._fail("no SRTP protection profile in common")
            return
        self.keys = keys
        self.state = DtlsState.CONNECTED
        self._resend_at = None
        if self.is_client:
            self._flight = []  # the server spoke last; it has all that we sent
        self._connection = None
        self._read_rest(connection)

    def _export(self, connection: SSL.Connection) -> SrtpKeys | None:
        """RFC 5764 section 4.2: client key, server key, client salt, server salt."""
        selected = _PROFILES.get(connection.get_selected_srtp_profile())
        if selected is None:
            return None
        profile, key, salt = selected
        material = connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        rx, tx = (server, client) if self.is_client else (client, server)
        return SrtpKeys(profile, rx=rx, tx=tx)

    def _read_rest(self, connection: SSL.Connection) -> None:
        """What came after the peer's Finished, before we let go of OpenSSL."""
        try:
            while True:
                connection.recv(2048)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.close()
        except SSL.Error as error:
            self._fail(_describe(error))

    def _receive_late(self, datagram: bytes) -> None:
        """After the handshake: alerts, a peer that missed our last flight, renegotiation.
        Application data (a data channel's) is not ours."""
        for record in split(datagram):
            if record.epoch != 1 or record.type not in (_ALERT, _HANDSHAKE):
                continue
            if self._records is None:
                return
            data = self._records.open(record.bytes)
            if not data:
                continue
            if record.type == _ALERT:
                self._heed(data)
            elif self._late_answers < _LATE_ANSWERS:
                self._late_answers += 1
                if data[0] == _FINISHED and not self.is_client:
                    self._repeat_flight()
                elif data[0] in (_HELLO_REQUEST, _CLIENT_HELLO):
                    self._alert(_WARNING, _NO_RENEGOTIATION)
            if self.state is not DtlsState.CONNECTED:
                return

    def _heed(self, alert: bytes) -> None:
        if len(alert) == 2 and alert[1] == _CLOSE_NOTIFY:
            self.close()
        elif alert[0] == _FATAL:
            self._fail(f"DTLS: the peer ended it with alert {alert[-1]}")

    def _alert(self, level: int, description: int) -> None:
        if self._records is not None:
            self._out.append(self._records.seal(_ALERT, bytes([level, description])))

    def _repeat_flight(self) -> None:
        self.resent += 1
        self._send(self._flight)

    def _send(self, flight: list[bytes]) -> None:
        numbered = (self._number(datagram) for datagram in flight)
        self._out += [datagram for datagram in numbered if datagram]

    def _fail(self, error: str) -> None:
        self.state = DtlsState.FAILED
        self.error = error
        self.keys = None
        self._forget()

    def _forget(self) -> None:
        self._connection = None
        self._records = None
        self._flight = []
        self._resend_at = None
        self._deadline = None

    def _number(self, datagram: bytes) -> bytes:
        """Give every record the next number of our own count. In epoch 0 neither a MAC nor the
        handshake's transcript covers it; those of epoch 1 are sealed anew, but the first."""
        numbered = b""
        for record in split(datagram):
            if record.epoch == 0:
                number = self._record_number.to_bytes(6)
                self._record_number += 1
                numbered += record.bytes[:5] + number + record.bytes[11:]
            elif self._records is None and record.number == 0:
                self._records = self._agreed()
                numbered += record.bytes
            elif self._records is not None:
                data = self._records.open(record.bytes, own=True)
                numbered += self._records.seal(record.type, data) if data is not None else b""
        return numbered

    def _agreed(self) -> Records | None:
        """The keys of epoch 1, which both ends have once one of them can send its Finished."""
        connection = self._connection
        assert connection is not None
        suite, master = connection.get_cipher_name(), connection.master_key()
        client, server = connection.client_random(), connection.server_random()
        if suite is None or master is None or client is None or server is None:
            return None
        return Records(suite, master, client, server, is_client=self.is_client, number=1)


def _take(connection: SSL.Connection) -> list[bytes]:
    """What OpenSSL wrote, as datagrams."""
    data = b""
    with contextlib.suppress(SSL.WantReadError):
        while True:
            data += connection.bio_read(16384)
    return pack_records(data)


def pack_records(data: bytes) -> list[bytes]:
    """Cut a run of DTLS records at their headers and pack them into datagrams of at most
    :data:`MTU` bytes; several records may share a datagram (RFC 6347 section 4.1.1)."""
    datagrams: list[bytes] = []
    start = position = 0
    while position < len(data):
        end = position + HEADER + int.from_bytes(data[position + 11 : position + 13])
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
