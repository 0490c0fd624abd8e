"""A scripted WHIP or WHEP client without a media engine, driven step by step over a real socket.

It writes its own offer, is given the answer (who carries them is the caller's), checks one
candidate pair (RFC 8445), is one end of DTLS-SRTP (RFC 5764) and sends and hears packets as bytes.
Blocking: for a thread of its own. `rtcfwd doctor`, the server's self-test and the conformance
checks stand on it.

    probe = Probe(publish=True); probe.answer(post(probe.offer)); probe.connect()
    probe.send_rtp(packet); probe.wait(lambda: probe.rtcp, 1.0); probe.close()
"""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pylibsrtp
from aioice import stun
from pylibsrtp import Policy

from rtcfwd.certs import Certificate
from rtcfwd.dtls import SRTP_PROFILES, DtlsTransport, SrtpKeys
from rtcfwd.forwarder.api import SrtpProfile

VIDEO_PT, RTX_PT, AUDIO_PT = 96, 97, 8
MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
MID_ID = 4
_STUN_EVERY_S = 0.1
_PROFILES = {
    SrtpProfile.AES128_CM_HMAC_SHA1_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SrtpProfile.AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AEAD_AES_256_GCM: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


class ProbeError(Exception):
    """A step that came to nothing; the text says which one."""


@dataclass(frozen=True, slots=True)
class Section:
    """One m-section of an offer. ``lines``: its codecs and the like, without transport, direction
    and mid."""

    kind: str  # "video" or "audio"
    formats: Sequence[int]
    lines: Sequence[str]


def video_section(publish: bool, *more: str) -> Section:
    lines = [
        f"a=rtpmap:{VIDEO_PT} H264/90000",
        f"a=fmtp:{VIDEO_PT} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        f"a=rtcp-fb:{VIDEO_PT} nack",
        f"a=rtcp-fb:{VIDEO_PT} nack pli",
        f"a=rtcp-fb:{VIDEO_PT} ccm fir",
        f"a=rtpmap:{RTX_PT} rtx/90000",
        f"a=fmtp:{RTX_PT} apt={VIDEO_PT}",
        f"a=extmap:{MID_ID} {MID_URI}",
        "a=rtcp-rsize",
    ]
    return Section("video", (VIDEO_PT, RTX_PT), [*lines, *more])


def audio_section(publish: bool, *more: str) -> Section:
    extension = f"a=extmap:{MID_ID} {MID_URI}"
    return Section("audio", (AUDIO_PT,), [f"a=rtpmap:{AUDIO_PT} PCMA/8000", extension, *more])


@dataclass(frozen=True, slots=True)
class Remote:
    """What an answer says of the server's transport."""

    ufrag: str
    pwd: str
    setup: str
    fingerprints: tuple[tuple[str, str], ...]
    candidates: tuple[tuple[str, int], ...]  # UDP, in the answer's order
    tcp: tuple[tuple[str, int], ...] = ()  # passive ones, likewise


@cache
def _certificate() -> Certificate:
    return Certificate.generate()


@dataclass(eq=False)
class Probe:
    """Times are ``time.monotonic()`` seconds. What was heard is kept in ``replies`` (STUN),
    ``rtp`` and ``rtcp`` (time, plain bytes), ``other`` (datagrams that nothing could read). What
    ``lose`` is true of never came."""

    publish: bool
    sections: Sequence[Section] | None = None
    setup: str = "actpass"
    ssrcs: tuple[int, int] = (0x1111, 0x2222)  # video, audio, of what is published
    profiles: bytes = SRTP_PROFILES
    certificate: Certificate = field(default_factory=_certificate)
    ufrag: str = field(default_factory=lambda: secrets.token_hex(4))
    pwd: str = field(default_factory=lambda: secrets.token_hex(12))
    make_dtls: Callable[..., Any] = DtlsTransport  # a test's own end has the same methods
    offer: str = field(init=False)
    sdp: str = field(init=False, default="")
    remote: Remote = field(init=False)
    sock: socket.socket = field(init=False)
    dtls: Any = field(init=False, default=None)
    replies: list[stun.Message] = field(init=False, default_factory=list)
    rtp: list[tuple[float, bytes]] = field(init=False, default_factory=list)
    rtcp: list[tuple[float, bytes]] = field(init=False, default_factory=list)
    other: list[bytes] = field(init=False, default_factory=list)
    lose: Callable[[bytes], bool] | None = field(init=False, default=None)
    _srtp: tuple[pylibsrtp.Session, pylibsrtp.Session] | None = field(init=False, default=None)
    _early: list[bytes] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if self.sections is None:
            video, audio = self.ssrcs
            more = [[f"a=msid:probe {k}", f"a=ssrc:{s} cname:probe"] * self.publish
                    for k, s in (("v", video), ("a", audio))]  # fmt: skip
            self.sections = [
                video_section(self.publish, *more[0]),
                audio_section(self.publish, *more[1]),
            ]
        self.offer = self._write_offer(self.sections)

    def _write_offer(self, sections: Sequence[Section]) -> str:
        hash_name, value = self.certificate.fingerprint
        mids = " ".join(str(mid) for mid in range(len(sections)))
        lines = ["v=0", f"o=- {secrets.randbits(62)} 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
        lines += [f"a=group:BUNDLE {mids}", "a=msid-semantic: WMS *"]
        for mid, section in enumerate(sections):
            lines += [
                f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, section.formats))}",
                "c=IN IP4 0.0.0.0",
                f"a=ice-ufrag:{self.ufrag}",
                f"a=ice-pwd:{self.pwd}",
                f"a=fingerprint:{hash_name} {value}",
                f"a=setup:{self.setup}",
                f"a=mid:{mid}",
                "a=sendonly" if self.publish else "a=recvonly",
                "a=rtcp-mux",
                *section.lines,
            ]
        return "\r\n".join(lines) + "\r\n"

    # ---- connecting ----

    def answer(self, sdp: str, candidate: tuple[str, int] | None = None) -> None:
        """Read an answer and open a socket towards its first candidate, or the one given."""
        self.sdp = sdp
        self.remote = read_answer(sdp)
        if candidate is None:
            if not self.remote.candidates:
                raise ProbeError("the answer has no UDP candidate")
            candidate = self.remote.candidates[0]
        self.sock = self.open_socket(candidate)

    @staticmethod
    def open_socket(candidate: tuple[str, int]) -> socket.socket:
        family = socket.AF_INET6 if ":" in candidate[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sock.connect(candidate)
        except OSError as error:
            sock.close()
            raise ProbeError(f"no way to {candidate[0]}: {error.strerror}") from None
        return sock

    def check(self, *, nominate: bool = True, pwd: str | None = None) -> stun.Message:
        """A connectivity check, not yet sent."""
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{self.remote.ufrag}:{self.ufrag}"
        message.attributes["PRIORITY"] = 1853817087
        message.attributes["ICE-CONTROLLING"] = 1
        if nominate:
            message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity((pwd or self.remote.pwd).encode())
        return message

    def ping(self, seconds: float = 2.0, *, nominate: bool = True) -> float:
        """Send checks until one is answered; how long that took. Raises :class:`ProbeError`."""
        started = time.monotonic()
        sent: set[bytes] = set()
        while time.monotonic() - started < seconds:
            message = self.check(nominate=nominate)
            sent.add(message.transaction_id)
            self.send(bytes(message))
            self.wait(lambda: self._answered(sent), _STUN_EVERY_S)
            if self._answered(sent):
                return time.monotonic() - started
        host, port = self.sock.getpeername()[:2]
        raise ProbeError(f"UDP {host} port {port} answers no connectivity check")

    def ping_tcp(self, candidate: tuple[str, int], seconds: float = 2.0) -> float:
        """One check over a TCP connection of its own (RFC 6544, framed as RFC 4571 has it); how
        long connection and reply took. Nominates nothing. Raises :class:`ProbeError`."""
        started = time.monotonic()
        message = self.check(nominate=False)
        try:
            with socket.create_connection(candidate, seconds) as sock, sock.makefile("rb") as read:
                sock.sendall(len(bytes(message)).to_bytes(2) + bytes(message))
                reply = stun.parse_message(read.read(int.from_bytes(read.read(2))))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no reply to a connectivity check"
            host, port = candidate
            raise ProbeError(f"TCP {host} port {port}: {reason.lower()}") from None
        if reply.transaction_id != message.transaction_id:
            raise ProbeError(f"TCP {candidate[0]} port {candidate[1]}: another check's reply")
        return time.monotonic() - started

    def _answered(self, sent: set[bytes]) -> bool:
        return any(reply.transaction_id in sent for reply in self.replies)

    def start_dtls(self) -> None:
        is_client = self.remote.setup == "passive"
        self.dtls = self.make_dtls(
            certificate=self.certificate,
            is_client=is_client,
            remote_fingerprints=self.remote.fingerprints,
            profiles=self.profiles,
        )
        self.dtls.start(time.monotonic())
        for datagram in self._early:
            self.dtls.receive(datagram, time.monotonic())
        self._early.clear()
        self._after_dtls()

    def connect(self, seconds: float = 10.0, *, nominate: bool = True) -> float:
        """Check, handshake, keys; how long that took. Raises :class:`ProbeError`."""
        started = time.monotonic()
        self.ping(seconds, nominate=nominate)
        self.start_dtls()
        done = self.wait(lambda: self._srtp is not None or self.dtls.error is not None, seconds)
        if not done or self._srtp is None:
            raise ProbeError(f"DTLS: {self.dtls.error or 'no answer'}")
        return time.monotonic() - started

    @property
    def keys(self) -> SrtpKeys | None:
        return self.dtls.keys if self.dtls is not None else None

    # ---- sending ----

    def send(self, datagram: bytes) -> None:
        with contextlib.suppress(OSError):  # a full queue, or an ICMP of an earlier one: as lost
            self.sock.send(datagram)

    def protect(self, packet: bytes) -> bytes:
        """SRTP or SRTCP of a plain packet."""
        assert self._srtp is not None
        if 192 <= packet[1] <= 223:
            return self._srtp[1].protect_rtcp(packet)
        return self._srtp[1].protect(packet)

    def send_rtp(self, packet: bytes) -> None:
        """A plain RTP or RTCP packet, protected and sent."""
        self.send(self.protect(packet))

    # ---- hearing ----

    def wait(self, until: Callable[[], Any], seconds: float) -> bool:
        """Read and run timers until something is so, at most ``seconds``; whether it is."""
        deadline = time.monotonic() + seconds
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.turn(left)
        return True

    def listen(self, seconds: float) -> None:
        """Just read, for so long."""
        self.wait(lambda: False, seconds)

    def turn(self, seconds: float) -> None:
        """One round: wait for a datagram or a timer, handle what is there."""
        now = time.monotonic()
        due = self.dtls.next_timeout() if self.dtls is not None else None
        patience = seconds if due is None else min(seconds, max(due - now, 0))
        if select.select([self.sock], [], [], patience)[0]:
            self.read()
        if due is not None and time.monotonic() >= due:
            self.dtls.handle_timeout(time.monotonic())
            self._after_dtls()

    def read(self) -> None:
        """Handle all datagrams that have come."""
        while True:
            try:
                data = self.sock.recv(65535)
            except BlockingIOError:
                return
            except OSError:  # port unreachable
                continue
            if self.lose is None or not self.lose(data):
                self._receive(data, time.monotonic())

    def _receive(self, data: bytes, now: float) -> None:
        first = data[0] if data else 255
        if first < 4:
            try:
                self.replies.append(stun.parse_message(data))
            except ValueError:
                self.other.append(data)
        elif 20 <= first <= 63:
            if self.dtls is None:
                self._early.append(data)
            else:
                self.dtls.receive(data, now)
                self._after_dtls()
        elif 128 <= first <= 191 and len(data) > 1 and self._srtp is not None:
            is_rtcp = 192 <= data[1] <= 223
            session = self._srtp[0]
            try:
                plain = (session.unprotect_rtcp if is_rtcp else session.unprotect)(data)
            except pylibsrtp.Error:
                self.other.append(data)
                return
            (self.rtcp if is_rtcp else self.rtp).append((now, plain))
        else:
            self.other.append(data)

    def _after_dtls(self) -> None:
        for datagram in self.dtls.take_datagrams():
            self.send(datagram)
        if self.dtls.keys is not None and self._srtp is None:
            keys = self.dtls.keys
            profile = _PROFILES[keys.profile]
            rx = Policy(keys.rx, Policy.SSRC_ANY_INBOUND, 0, profile)
            tx = Policy(keys.tx, Policy.SSRC_ANY_OUTBOUND, 0, profile)
            rx.window_size = 4096
            tx.allow_repeat_tx = True
            self._srtp = (pylibsrtp.Session(rx), pylibsrtp.Session(tx))

    def hang_up(self) -> None:
        """Say close_notify."""
        if self.dtls is not None:
            self.dtls.close()
            self._after_dtls()

    def close(self) -> None:
        """Let go of the socket. Idempotent."""
        if hasattr(self, "sock"):
            self.sock.close()


def read_answer(sdp: str) -> Remote:
    """The transport of an answer's first m-section, which BUNDLE makes everybody's."""
    values: dict[str, str] = {}
    fingerprints, candidates, tcp = [], [], []
    for line in sdp.splitlines():
        name, _, value = line[2:].partition(":")
        if not line.startswith("a="):
            continue
        if name == "fingerprint":
            hash_name, _, digits = value.partition(" ")
            fingerprints.append((hash_name.lower(), digits.strip().upper()))
        elif name == "candidate":
            part = value.split()
            if len(part) > 7 and part[2].lower() == "udp":
                candidates.append((part[4], int(part[5])))
            elif len(part) > 9 and part[2].lower() == "tcp" and part[9] == "passive":
                tcp.append((part[4], int(part[5])))
        else:
            values.setdefault(name, value.strip())
    try:
        return Remote(
            values["ice-ufrag"],
            values["ice-pwd"],
            values["setup"],
            tuple(dict.fromkeys(fingerprints)),
            tuple(dict.fromkeys(candidates)),
            tuple(dict.fromkeys(tcp)),
        )
    except KeyError as missing:
        raise ProbeError(f"the answer has no a={missing.args[0]}") from None
