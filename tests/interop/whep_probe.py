"""A viewer as small as it can be: WHEP, one STUN check, DTLS, the first SRTP packet.

It is cheap enough to join hundreds of times, and can stay and count what it gets. STUN is aioice's
codec, DTLS the project's own sans-IO transport in the client's role, and SRTP is opened by
pylibsrtp. Blocking; one socket a viewer.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import string
import struct
import time
import urllib.request
from collections.abc import Callable

import pylibsrtp
from aioice import stun

from rtcfwd.certs import Certificate
from rtcfwd.dtls import DtlsState, DtlsTransport

OFFER = """v=0
o=- {id} 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=msid-semantic: WMS
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=mid:0
a=recvonly
a=rtcp-mux
a=rtcp-rsize
a=ice-ufrag:{ufrag}
a=ice-pwd:{pwd}
a=fingerprint:{hash} {fingerprint}
a=setup:active
a=rtpmap:96 H264/90000
a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
m=audio 9 UDP/TLS/RTP/SAVPF 8 111
c=IN IP4 0.0.0.0
a=mid:1
a=recvonly
a=rtcp-mux
a=ice-ufrag:{ufrag}
a=ice-pwd:{pwd}
a=fingerprint:{hash} {fingerprint}
a=setup:active
a=rtpmap:8 PCMA/8000
a=rtpmap:111 opus/48000/2
"""
PROFILES = {
    0x0001: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    0x0007: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    0x0008: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
LETTERS = string.ascii_letters + string.digits


def token(length: int) -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(length))


class WhepProbe:
    """One viewer. `join` returns after the first RTP packet that it could open."""

    certificate: Certificate | None = None  # one for all

    def __init__(self, base: str, stream: str, udp_port: int) -> None:
        if WhepProbe.certificate is None:
            WhepProbe.certificate = Certificate.generate()
        self._base = base
        self._stream = stream
        self._ufrag, self._pwd = token(8), token(24)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", udp_port))
        self._socket.settimeout(0.2)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._dtls: DtlsTransport | None = None
        self._srtp: pylibsrtp.Session | None = None
        self._remote = ("", "")  # ufrag, pwd
        self.session = ""
        self.packets = 0
        self.sequence: dict[int, tuple[int, int, int]] = {}
        """SSRC -> (extended numbers: first, highest; packets)"""

    def join(self, timeout: float = 10.0) -> None:
        answer = self._post()
        lines = dict(
            line[2:].split(":", 1)
            for line in answer.split("\r\n")
            if line[:2] == "a=" and ":" in line
        )
        self._dtls = DtlsTransport(
            certificate=self.certificate,
            is_client=True,
            remote_fingerprints=[_fingerprint(lines["fingerprint"])],
        )
        deadline = time.monotonic() + timeout
        self._remote = lines["ice-ufrag"], lines["ice-pwd"]
        self._check()
        while not self.packets:
            assert time.monotonic() < deadline, f"no media, DTLS {self._dtls.state}"
            self._turn()

    def _post(self) -> str:
        assert self.certificate is not None
        hash_name, fingerprint = self.certificate.fingerprint
        offer = OFFER.format(
            id=secrets.randbelow(1 << 62),
            ufrag=self._ufrag,
            pwd=self._pwd,
            hash=hash_name,
            fingerprint=fingerprint,
        )
        request = urllib.request.Request(
            f"{self._base}/whep/{self._stream}",
            offer.replace("\n", "\r\n").encode(),
            {"Content-Type": "application/sdp"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert reply.status == 201
            self.session = self._base + reply.headers["Location"]
            return reply.read().decode()

    def stay(self, until: Callable[[], bool]) -> None:
        """Go on receiving, with a STUN check every 2.5 s as browsers do."""
        next_check = time.monotonic() + 2.5
        while not until():
            self._turn()
            if time.monotonic() > next_check:
                self._check()
                next_check += 2.5

    def missing(self) -> int:
        """Packets that the sequence numbers promise and that did not come."""
        return sum(high - first + 1 - count for first, high, count in self.sequence.values())

    def _check(self) -> None:
        ufrag, pwd = self._remote
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{ufrag}:{self._ufrag}"
        request.attributes["PRIORITY"] = 1845501695
        request.attributes["ICE-CONTROLLING"] = secrets.randbits(64)
        request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(pwd.encode())
        self._socket.send(bytes(request))

    def _turn(self) -> None:
        """Take one datagram, or let a timer run; send what DTLS has to say."""
        assert self._dtls is not None
        try:
            data = self._socket.recv(2048)
        except TimeoutError:
            data = b""
        now = time.monotonic()
        if not data:
            self._dtls.handle_timeout(now)
        elif data[0] < 4:
            if self._dtls.state is DtlsState.NEW:
                self._dtls.start(now)
        elif 20 <= data[0] <= 63:
            self._dtls.receive(data, now)
        elif 128 <= data[0] <= 191 and self._dtls.keys is not None and not 192 <= data[1] <= 223:
            self._open(data)
        for datagram in self._dtls.take_datagrams():
            self._socket.send(datagram)

    def _open(self, data: bytes) -> None:
        assert self._dtls is not None
        if self._srtp is None:
            keys = self._dtls.keys
            assert keys is not None
            self._srtp = pylibsrtp.Session(
                pylibsrtp.Policy(
                    key=keys.rx,
                    ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND,
                    srtp_profile=PROFILES[int(keys.profile)],
                )
            )
        packet = self._srtp.unprotect(data)
        assert len(packet) > 12
        self.packets += 1
        _, _, number, _, ssrc = struct.unpack_from("!BBHII", packet)
        first, high, count = self.sequence.get(ssrc, (number, number, 0))
        number = high + (number - high + 0x8000) % 0x10000 - 0x8000
        self.sequence[ssrc] = first, max(high, number), count + 1

    def leave(self, how: str) -> None:
        """`delete`; `close`: close_notify alone; `both`: close_notify, then DELETE (as OBS)."""
        if how in ("close", "both"):
            assert self._dtls is not None
            self._dtls.close()
            for datagram in self._dtls.take_datagrams():
                self._socket.send(datagram)
        if how in ("delete", "both"):
            request = urllib.request.Request(self.session, method="DELETE")
            with urllib.request.urlopen(request, timeout=10) as reply:
                assert reply.status == 200
        self.discard()

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()


def _fingerprint(text: str) -> tuple[str, str]:
    hash_name, value = text.split()
    return hash_name.lower(), value.upper()
