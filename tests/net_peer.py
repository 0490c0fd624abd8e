"""A scripted publisher or viewer on real sockets: UDP or TCP (RFC 6544 active, RFC 4571 frames),
IPv4 or IPv6. It may open further tuples in the middle of its session, as a phone does that changes
networks.

It takes nothing from the server but what its answer and its datagrams say; SRTP is pylibsrtp, DTLS
the server's own :class:`~rtcfwd.dtls.DtlsTransport` as client. Everything is awaited on events.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import urljoin

import aiohttp
from aioice import Candidate, stun
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from benchmarks.media import AUDIO_PT, VIDEO_PT
from benchmarks.peer import Credentials, make_offer, read_answer
from rtcfwd.certs import Certificate
from rtcfwd.dtls import DtlsTransport

CERTIFICATE = Certificate.generate()
VIDEO_SSRC, AUDIO_SSRC = 0x1111, 0x2222
_PROFILES = {
    1: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    7: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    8: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
PATIENCE = 15.0


def frame(data: bytes) -> bytes:
    """RFC 4571."""
    return struct.pack("!H", len(data)) + data


class Tuple:
    """One socket of the peer: UDP, or a TCP connection of framed datagrams."""

    def __init__(self, peer: Peer, sock: socket.socket) -> None:
        self.peer = peer
        self.sock = sock
        self.tcp = sock.type == socket.SOCK_STREAM
        self.checked = asyncio.Event()  # a check was answered
        self.closed = asyncio.Event()  # by the server
        self.received: deque[bytes] = deque(maxlen=20_000)
        self.reading = True
        self._buffer = b""
        self._task = asyncio.create_task(self._read())

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.sock.getsockname()[:2]
        return host, port

    def send(self, data: bytes) -> None:
        self.send_raw(frame(data) if self.tcp else data)

    def send_raw(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.sock.send(data)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self.sock, 65536)
            except ConnectionError:
                data = b""
                if not self.tcp:
                    continue  # a UDP port that is closed
            if self.tcp and not data:
                self.closed.set()
                return
            if not self.tcp:
                self._one(data)
                continue
            self._buffer += data
            while len(self._buffer) >= 2:
                size = struct.unpack("!H", self._buffer[:2])[0]
                if len(self._buffer) < 2 + size:
                    break
                whole, self._buffer = self._buffer[2 : 2 + size], self._buffer[2 + size :]
                self._one(whole)

    def _one(self, data: bytes) -> None:
        self.received.append(data)
        self.peer.on_datagram(self, data)

    async def stop_reading(self) -> None:
        """What comes from now on stays in the kernel, until its buffers are full."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def go_on_reading(self) -> None:
        self._task = asyncio.create_task(self._read())

    async def close(self) -> None:
        await self.stop_reading()
        self.sock.close()


class Peer:
    """``post`` the offer, ``open`` a tuple, ``connect`` on it; then ``send_rtp``/``rtp``."""

    def __init__(self, *, publish: bool, ufrag: str | None = None) -> None:
        self.publish = publish
        self.local = Credentials(
            ufrag or secrets.token_hex(4),
            secrets.token_hex(12),
            (CERTIFICATE.fingerprint,),
            "actpass",
        )
        self.answer = ""
        self.session_url = ""
        self.remote: Credentials
        self.tuples: list[Tuple] = []
        self.via: Tuple
        self.rx: Session | None = None
        self.tx: Session | None = None
        self.rtp: list[tuple[Tuple, bytes]] = []  # decrypted, with the tuple that it came by
        self.rtcp: list[tuple[Tuple, bytes]] = []
        self.bad_rtp = 0
        self.changed = asyncio.Event()
        self.mapped: dict[Tuple, tuple[str, int]] = {}
        self._dtls: DtlsTransport | None = None
        self._tie_breaker = secrets.randbits(64)

    # ---- HTTP ----

    async def post(self, http: aiohttp.ClientSession, url: str) -> None:
        offer = make_offer(self.local, self.publish, (VIDEO_SSRC, AUDIO_SSRC))
        headers = {"Content-Type": "application/sdp"}
        async with http.post(url, data=offer.encode(), headers=headers) as response:
            assert response.status == 201, await response.text()
            self.answer = await response.text()
            self.session_url = urljoin(url, response.headers["Location"])
        self.remote = read_answer(self.answer)

    def candidates(self, transport: str) -> list[Candidate]:
        found = [
            Candidate.from_sdp(line.removeprefix("a=candidate:"))
            for line in dict.fromkeys(self.answer.splitlines())
            if line.startswith("a=candidate:")
        ]
        return [c for c in found if c.transport.lower() == transport]

    # ---- tuples ----

    async def open(
        self, to: tuple[str, int], *, tcp: bool = False, source: str = "", receive_buffer: int = 0
    ) -> Tuple:
        family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            sock.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(sock, to)
        opened = Tuple(self, sock)
        self.tuples.append(opened)
        return opened

    def request(self, *, nominate: bool = True, pwd: str | None = None) -> bytes:
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{self.remote.ufrag}:{self.local.ufrag}"
        message.attributes["PRIORITY"] = 1853817087
        message.attributes["ICE-CONTROLLING"] = self._tie_breaker
        if nominate:
            message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity((pwd or self.remote.pwd).encode())
        return bytes(message)

    async def check(self, on: Tuple, *, nominate: bool = True) -> None:
        """A check on that tuple that is answered; repeated where UDP may lose it."""
        on.checked.clear()
        for _ in range(20):
            on.send(self.request(nominate=nominate))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(on.checked.wait(), PATIENCE if on.tcp else 0.5)
                return
        raise AssertionError("no answer to a connectivity check")

    async def connect(self, on: Tuple) -> None:
        """Check and handshake there."""
        await self.check(on)
        self.via = on
        self._dtls = DtlsTransport(
            certificate=CERTIFICATE,
            is_client=self.remote.setup == "passive",
            remote_fingerprints=self.remote.fingerprints,
        )
        self._dtls.start(time.monotonic())
        self._pump()
        deadline = time.monotonic() + PATIENCE
        while self.rx is None:
            assert time.monotonic() < deadline, "no DTLS"
            due = self._dtls.next_timeout()
            wait = 1.0 if due is None else max(0.0, due - time.monotonic())
            await self._change(min(wait, 1.0))
            if self.rx is None:
                self._dtls.handle_timeout(time.monotonic())
                self._pump()

    # ---- media ----

    def send_rtp(
        self, seq: int, ts: int, payload: bytes, *, video: bool = True, marker: bool = True
    ) -> None:
        assert self.tx is not None
        head = struct.pack(
            "!BBHII",
            0x80,
            (VIDEO_PT if video else AUDIO_PT) | (0x80 if marker else 0),
            seq & 0xFFFF,
            ts & 0xFFFFFFFF,
            VIDEO_SSRC if video else AUDIO_SSRC,
        )
        self.via.send(self.tx.protect(head + payload))

    async def until(
        self, done: Callable[[], object], what: str, patience: float = PATIENCE
    ) -> None:
        """Wait until ``done()`` is true; looked at after each datagram."""
        deadline = time.monotonic() + patience
        while not done():
            left = deadline - time.monotonic()
            assert left > 0, f"not within {patience:g} s: {what}"
            await self._change(min(left, 0.2))

    async def _change(self, seconds: float) -> None:
        self.changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.changed.wait(), seconds)

    async def close(self) -> None:
        for opened in self.tuples:
            await opened.close()

    # ---- datagrams ----

    def on_datagram(self, on: Tuple, data: bytes) -> None:
        self.changed.set()
        if not data:
            return
        if data[0] < 4:
            self._stun(on, data)
        elif 20 <= data[0] <= 63:
            if self._dtls is not None:
                self._dtls.receive(data, time.monotonic())
                self._pump()
        elif self.rx is not None:
            is_rtcp = 192 <= data[1] <= 223
            try:
                plain = self.rx.unprotect_rtcp(data) if is_rtcp else self.rx.unprotect(data)
            except SrtpError:
                self.bad_rtp += 1
                return
            (self.rtcp if is_rtcp else self.rtp).append((on, plain))

    def _stun(self, on: Tuple, data: bytes) -> None:
        message = stun.parse_message(data)
        if message.message_class == stun.Class.RESPONSE and message.check_message_integrity(
            self.remote.pwd.encode()
        ):
            self.mapped[on] = message.attributes["XOR-MAPPED-ADDRESS"]
            on.checked.set()

    def _pump(self) -> None:
        dtls = self._dtls
        assert dtls is not None
        for datagram in dtls.take_datagrams():
            self.via.send(datagram)
        assert dtls.error is None, dtls.error
        if dtls.keys is not None and self.rx is None:
            profile = _PROFILES[int(dtls.keys.profile)]
            self.rx = Session(Policy(dtls.keys.rx, Policy.SSRC_ANY_INBOUND, 0, profile))
            self.tx = Session(Policy(dtls.keys.tx, Policy.SSRC_ANY_OUTBOUND, 0, profile))
