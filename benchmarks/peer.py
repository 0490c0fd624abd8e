"""A light scripted WebRTC client: offer, WHIP or WHEP, one STUN check, DTLS, SRTP keys.

It does what a browser does on the wire, and no more, so that hundreds of viewers can join from
one process: the offer is written by hand, one candidate pair is checked with USE-CANDIDATE
(RFC 8445), DTLS is :class:`rtcfwd.dtls.DtlsTransport`, and the socket is a plain connected one.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import aiohttp
from aioice import stun
from pylibsrtp import Policy, Session

from rtcfwd.certs import Certificate
from rtcfwd.dtls import DtlsTransport

from .media import AUDIO_PT, VIDEO_PT
from .netlab import drop_media

_H264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c01f"
_PROFILES = {
    1: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    7: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    8: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
_OPENSSL = {
    "AEAD_AES_128_GCM": b"SRTP_AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM": b"SRTP_AEAD_AES_256_GCM",
    "AES128_CM_HMAC_SHA1_80": b"SRTP_AES128_CM_SHA1_80",
}
PROFILE_NAMES = {1: "AES128_CM_HMAC_SHA1_80", 7: "AEAD_AES_128_GCM", 8: "AEAD_AES_256_GCM"}


class JoinFailed(RuntimeError):
    """The server refused or did not answer; the text says at which step."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one side's SDP says about its transport."""

    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: str
    candidates: tuple[tuple[str, int], ...] = ()
    ssrcs: tuple[int, ...] = ()  # the first of each m-section


def transport_lines(local: Credentials, direction: str) -> list[str]:
    """What every m-section says about its transport; our candidates are complete."""
    algorithm, value = local.fingerprints[0]
    candidates = [
        f"a=candidate:{number} 1 udp 2130706431 {host} {port} typ host"
        for number, (host, port) in enumerate(local.candidates, 1)
    ]
    return [
        "c=IN IP4 0.0.0.0",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.pwd}",
        f"a=fingerprint:{algorithm} {value}",
        f"a=setup:{local.setup}",
        f"a={direction}",
        "a=rtcp-mux",
        *candidates,
        *(["a=end-of-candidates"] if candidates else []),
    ]


def make_offer(
    local: Credentials,
    publish: bool,
    ssrcs: tuple[int, int] = (0, 0),
    rtx: bool = True,
    codec: str = "H264",
) -> str:
    """An offer for one video track of ``codec`` and one PCMA track; ``ssrcs``: the publisher's
    video and audio."""
    transport = transport_lines(local, "sendonly" if publish else "recvonly")
    video_pts = [VIDEO_PT, *([VIDEO_PT + 1] if rtx and not publish else [])]
    lines = [
        "v=0",
        f"o=- {secrets.randbits(62)} 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "a=msid-semantic: WMS *",
        f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, video_pts))}",
        *transport,
        "a=mid:0",
        "a=rtcp-rsize",
        f"a=rtpmap:{VIDEO_PT} {codec}/90000",
        *([f"a=fmtp:{VIDEO_PT} {_H264}"] if codec == "H264" else []),
        f"a=rtcp-fb:{VIDEO_PT} nack",
        f"a=rtcp-fb:{VIDEO_PT} nack pli",
        f"a=rtcp-fb:{VIDEO_PT} ccm fir",
        f"a=rtcp-fb:{VIDEO_PT} goog-remb",
    ]
    if len(video_pts) > 1:
        lines += [f"a=rtpmap:{VIDEO_PT + 1} rtx/90000", f"a=fmtp:{VIDEO_PT + 1} apt={VIDEO_PT}"]
    if publish:
        lines += ["a=msid:bench video", f"a=ssrc:{ssrcs[0]} cname:bench"]
    lines += [
        f"m=audio 9 UDP/TLS/RTP/SAVPF {AUDIO_PT}",
        *transport,
        "a=mid:1",
        f"a=rtpmap:{AUDIO_PT} PCMA/8000",
    ]
    if publish:
        lines += ["a=msid:bench audio", f"a=ssrc:{ssrcs[1]} cname:bench"]
    return "\r\n".join(lines) + "\r\n"


def read_answer(sdp: str) -> Credentials:
    """The transport part of an answer (the first m-section's, which BUNDLE makes everybody's)."""
    values: dict[str, str] = {}
    fingerprints, candidates = [], []
    ssrcs: dict[int, int] = {}  # by m-section
    section = 0
    for line in sdp.splitlines():
        name, _, value = line[2:].partition(":")
        section += line.startswith("m=")
        if not line.startswith("a="):
            continue
        if name == "fingerprint":
            algorithm, _, digits = value.partition(" ")
            fingerprints.append((algorithm.lower(), digits.strip().upper()))
        elif name == "candidate":
            part = value.split()
            if part[2].lower() == "udp":
                candidates.append((part[4], int(part[5])))
        elif name == "ssrc":
            ssrcs.setdefault(section, int(value.split()[0]))
        else:
            values.setdefault(name, value.strip())
    return Credentials(
        values["ice-ufrag"],
        values["ice-pwd"],
        tuple(dict.fromkeys(fingerprints)),
        values["setup"],
        tuple(dict.fromkeys(candidates)),
        tuple(ssrcs.values()),
    )


def binding_request(local: Credentials, remote: Credentials, tie_breaker: int) -> bytes:
    """A connectivity check that nominates (RFC 8445 7.2.2, 8.1.1)."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{remote.ufrag}:{local.ufrag}"
    message.attributes["PRIORITY"] = 1853817087
    message.attributes["ICE-CONTROLLING"] = tie_breaker
    message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(remote.pwd.encode())
    return bytes(message)


def binding_response(local: Credentials, request: bytes, source: tuple[str, int]) -> bytes | None:
    """The answer to a full ICE agent's check (RFC 8445 7.3); None if ``request`` is none or is
    not for us."""
    try:
        message = stun.parse_message(request)
        signed = message.check_message_integrity(local.pwd.encode())
    except ValueError:
        return None
    kind = (message.message_method, message.message_class)
    if not signed or kind != (stun.Method.BINDING, stun.Class.REQUEST):
        return None
    answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, message.transaction_id)
    answer.attributes["XOR-MAPPED-ADDRESS"] = source
    answer.add_message_integrity(local.pwd.encode())
    return bytes(answer)


class _Datagrams(asyncio.DatagramProtocol):
    """Hands every datagram to the peer while it joins."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data:
            self._peer._receive(data)

    def error_received(self, exc: Exception) -> None:
        pass


@dataclass(slots=True, eq=False)
class Peer:
    """One session with the server.

    After :meth:`join` the socket is the caller's: connected, non-blocking, nobody reads it.
    Times are ``time.monotonic()`` seconds.
    """

    url: str
    address: str  # local
    certificate: Certificate
    publish: bool = False
    ssrcs: tuple[int, int] = (0, 0)
    stun_interval: float = 0.3
    srtp_profile: str | None = None  # the only one offered; None: all of ours
    codec: str = "H264"  # of the video offered
    deaf: bool = False  # media is dropped and counted at the socket (netlab.drop_media)
    sock: socket.socket = field(init=False)
    session_url: str = field(init=False, default="")
    profile: int = field(init=False, default=0)
    rx: Session = field(init=False)
    tx: Session = field(init=False)
    started: float = field(init=False, default=0.0)
    answered: float = field(init=False, default=0.0)
    checked: float = field(init=False, default=0.0)
    connected: float = field(init=False, default=0.0)
    first_media: float = field(init=False, default=0.0)  # as seen while joining
    local: Credentials = field(init=False)
    remote: Credentials = field(init=False)
    _tie_breaker: int = field(init=False)
    _transport: asyncio.DatagramTransport = field(init=False)
    _dtls: DtlsTransport | None = field(init=False, default=None)
    _done: asyncio.Future[None] = field(init=False)
    _timer: asyncio.TimerHandle | None = field(init=False, default=None)

    async def join(self, http: aiohttp.ClientSession, patience: float = 20.0) -> None:
        """POST, check, handshake; afterwards ``rx``/``tx`` are the SRTP sessions."""
        loop = asyncio.get_running_loop()
        self.started = time.monotonic()
        self._done = loop.create_future()
        self._tie_breaker = secrets.randbits(64)
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if self.deaf:
            drop_media(self.sock)
        self.sock.bind((self.address, 0))
        self.local = Credentials(
            secrets.token_hex(4),
            secrets.token_hex(12),
            (self.certificate.fingerprint,),
            "actpass",
            (self.sock.getsockname()[:2],),
        )
        self.remote = await self.signal(http)
        self.answered = time.monotonic()
        self.sock.connect(self._pick())
        # the transport gets a duplicate: closing it leaves the socket to its later reader
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), sock=self.sock.dup()
        )
        self._check()
        try:
            async with asyncio.timeout(patience):
                await self._done
        except TimeoutError:
            step = "DTLS" if self.checked else "STUN check"
            raise JoinFailed(f"no answer within {patience:g} s: {step}") from None
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._transport.close()

    async def signal(self, http: aiohttp.ClientSession) -> Credentials:
        """Tell the server what ``local`` says; what it says. Here WHIP and WHEP."""
        offer = make_offer(self.local, self.publish, self.ssrcs, codec=self.codec)
        headers = {"Content-Type": "application/sdp"}
        async with http.post(self.url, data=offer.encode(), headers=headers) as response:
            body = await response.text()
            if response.status != 201:
                raise JoinFailed(f"POST {self.url}: {response.status} {body[:200]}")
            self.session_url = urljoin(self.url, response.headers["Location"])
        return read_answer(body)

    def _pick(self) -> tuple[str, int]:
        """The server's candidate in our network, or else the first of our family."""
        dot = ":" if ":" in self.address else "."
        reachable = [c for c in self.remote.candidates if dot in c[0]]
        network = self.address.rpartition(dot)[0]
        same = [c for c in reachable if c[0].rpartition(dot)[0] == network]
        if not reachable:
            raise JoinFailed(f"the answer has no UDP candidate for {self.address}")
        return (same or reachable)[0]

    @property
    def ssrcs_in(self) -> tuple[int, ...]:
        """What the server sends under: video, audio."""
        return self.remote.ssrcs

    def check(self) -> bytes:
        """One more connectivity check (consent, RFC 7675), to be sent on ``sock``."""
        return binding_request(self.local, self.remote, self._tie_breaker)

    def answer(self, data: bytes) -> bytes | None:
        """What a check by the server gets, if ``data`` is one."""
        if not data or data[0] > 3:
            return None
        return binding_response(self.local, data, self.sock.getpeername()[:2])

    def _check(self) -> None:
        if not self.checked:
            self._transport.sendto(self.check())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.stun_interval, self._check)

    def _receive(self, data: bytes) -> None:
        if 128 <= data[0] <= 191 and not self.first_media:
            self.first_media = time.monotonic()
        if self._done.done():
            return
        now = time.monotonic()
        answer = self.answer(data)
        if answer is not None:
            self._transport.sendto(answer)
        elif data[0] < 4 and not self.checked:
            try:
                message = stun.parse_message(data)
            except ValueError:
                return
            signed = message.check_message_integrity(self.remote.pwd.encode())
            if signed and message.message_class == stun.Class.RESPONSE:
                self.checked = now
                self._start_dtls(now)
        elif 20 <= data[0] <= 63 and self._dtls is not None:
            self._dtls.receive(data, now)
            self._pump(now)

    def _start_dtls(self, now: float) -> None:
        self._dtls = DtlsTransport(
            certificate=self.certificate,
            is_client=self.remote.setup != "active",
            remote_fingerprints=self.remote.fingerprints,
            **({"profiles": _OPENSSL[self.srtp_profile]} if self.srtp_profile else {}),
        )
        self._dtls.start(now)
        self._pump(now)

    def _pump(self, now: float) -> None:
        dtls = self._dtls
        assert dtls is not None
        for datagram in dtls.take_datagrams():
            self._transport.sendto(datagram)
        if dtls.keys is not None:
            self.profile = int(dtls.keys.profile)
            profile = _PROFILES[self.profile]
            self.rx = Session(Policy(dtls.keys.rx, Policy.SSRC_ANY_INBOUND, 0, profile))
            self.tx = Session(Policy(dtls.keys.tx, Policy.SSRC_ANY_OUTBOUND, 0, profile))
            self.connected = now
            self._dtls = None  # 90 KiB a viewer
            self._done.set_result(None)
            return
        if dtls.error is not None:
            self._done.set_exception(JoinFailed(f"DTLS: {dtls.error}"))
            return
        if self._timer is not None:
            self._timer.cancel()
        at = dtls.next_timeout()
        if at is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(at - now, 0), self._dtls_timeout)

    def _dtls_timeout(self) -> None:
        if self._dtls is not None and not self._done.done():
            now = time.monotonic()
            self._dtls.handle_timeout(now)
            self._pump(now)
