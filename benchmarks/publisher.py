"""The publisher: a paced sender of :mod:`benchmarks.media` over a real WHIP session.

Runs in a process of its own. Packets are protected before they are due; then a frame leaves as
one burst, and the wall clock (which the kernel's receive stamps use too) is read before every send.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import ctypes
import os
import time
from collections.abc import Callable

import aiohttp

from rtcfwd.certs import Certificate

from .media import (
    AUDIO_CLOCK,
    AUDIO_PER_SECOND,
    FPS,
    GOP_SECONDS,
    VIDEO_CLOCK,
    Media,
    Packet,
    sender_report,
)
from .peer import Peer
from .rpc import Worker

_VIDEO_SSRC, _AUDIO_SSRC = 0x11111111, 0x22222222
_STUN_INTERVAL = 2.5
_REPORT_INTERVAL = 1.0


class Publisher(Worker):
    """Methods are called over :class:`benchmarks.rpc.Remote`; ``idle`` keeps the beat."""

    def __init__(
        self, url: str, address: str, bitrate: int, audio: bool = True, even: bool = False
    ) -> None:
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(29, 1, 0, 0, 0)  # PR_SET_TIMERSLACK, ns
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        ssrcs = (_VIDEO_SSRC, _AUDIO_SSRC)
        self.peer = self._make_peer(url, address, Certificate.generate(), True, ssrcs)
        self.media = self._make_media(bitrate, *ssrcs, even)
        self._live = False
        self._audio_on = audio
        self._stamps = array.array("Q")  # send time by index, wall clock ns; 0: not sent
        self._running = False
        self._frame = self._block = 0  # since the start of the publication
        self._epoch = 0.0
        self._next_video = self._next_audio = self._next_stun = self._next_report = 0.0
        self._ready: dict[str, list[tuple[int, bytes]]] = {}
        self._sent = {"video": 0, "audio": 0}
        self._bytes = {"video": 0, "audio": 0}
        self._since_key = 0
        self.feedback: dict[str, int] = {}
        self._late_max = 0.0

    def _make_peer(
        self,
        url: str,
        address: str,
        certificate: Certificate,
        publish: bool,
        ssrcs: tuple[int, int],
    ) -> Peer:
        return Peer(url, address, certificate, publish, ssrcs)

    def join(self) -> int:
        """Publish; returns the DTLS-SRTP profile's number."""

        async def run() -> None:
            async with aiohttp.ClientSession() as http:
                await self.peer.join(http)

        asyncio.run(run())
        self._live = True
        return self.peer.profile

    def _make_media(self, bitrate: int, video_ssrc: int, audio_ssrc: int, even: bool) -> Media:
        return Media(bitrate, video_ssrc, audio_ssrc, even)

    def begin(self) -> None:
        """Start or go on sending, with a key frame."""
        now = time.monotonic()
        if not self._epoch:
            self._epoch = now
        # media time goes on with the clock, as a live source's does
        self._frame = max(self._frame, int((now - self._epoch) * FPS) + 1)
        self._block = max(self._block, int((now - self._epoch) * AUDIO_PER_SECOND) + 1)
        self._next_video = self._epoch + self._frame / FPS
        self._next_audio = self._epoch + self._block / AUDIO_PER_SECOND
        self._since_key = 0
        self._running = True
        self._next_report = now
        self._late_max = 0.0

    def pause(self) -> tuple[int, int]:
        """Stop sending; returns video and audio packets sent since the start."""
        for kind in list(self._ready):
            self._burst(kind)  # numbered already: leaving it out would be a loss
        self._running = False
        return self._sent["video"], self._sent["audio"]

    def log(self) -> tuple[bytes, list[tuple[str, bool, bool, int]], dict[str, int], float]:
        """Send stamps by index, the packets' ``(kind, key, last, size)``, feedback counts, and
        the largest delay of a burst behind its due time, seconds."""
        return self._stamps.tobytes(), self.media.packets, self.feedback, self._late_max

    def idle(self) -> float | None:
        if not self._live:
            return None
        now = time.monotonic()
        if now >= self._next_stun:
            self._next_stun = now + _STUN_INTERVAL
            self._consent()
        self._drain()
        if not self._running:
            return 0.02
        self._prepare()
        for kind in ("audio", "video"):
            due = self._next_audio if kind == "audio" else self._next_video
            if now >= due:
                self._late_max = max(self._late_max, now - due)
                self._burst(kind)
        if now >= self._next_report:
            self._next_report = now + _REPORT_INTERVAL
            self._report(now)
        due = min(self._next_video, self._next_audio if self._audio_on else self._next_video)
        return max(due - time.monotonic(), 0.0)

    def _prepare(self) -> None:
        """Make and protect what is due next, so that a burst is nothing but sends."""
        if "video" not in self._ready:
            key = self._since_key == 0
            self._since_key = (self._since_key + 1) % (FPS * GOP_SECONDS)
            frame = self.media.video_frame(key, self._frame * VIDEO_CLOCK // FPS)
            self._ready["video"] = self._protect(frame)
        if "audio" not in self._ready and self._audio_on:
            block = self.media.audio_frame(self._block * AUDIO_CLOCK // AUDIO_PER_SECOND)
            self._ready["audio"] = self._protect([block])
        if not self._audio_on:
            self._next_audio = self._next_video + 1e9

    def _protect(self, packets: list[Packet]) -> list[tuple[int, bytes]]:
        encrypt = self._encrypt
        self._stamps.extend([0] * len(packets))
        return [(p.index, encrypt(p.data)) for p in packets]

    def _encrypt(self, packet: bytes) -> bytes:
        return self.peer.tx.protect(packet)

    def _sender(self, kind: str) -> Callable[[bytes], int]:
        """What sends a packet of ``kind``; OSError: not sent."""
        return self.peer.sock.send

    def _consent(self) -> None:
        self._send(self.peer.check())

    def _burst(self, kind: str) -> None:
        send, stamps, clock = self._sender(kind), self._stamps, time.time_ns
        packets = self._ready.pop(kind)
        for index, data in packets:
            stamps[index] = clock()
            try:
                send(data)
            except OSError:
                self.feedback["send_failed"] = self.feedback.get("send_failed", 0) + 1
                stamps[index] = 0
                continue
            self._sent[kind] += 1
            self._bytes[kind] += len(data) - 28
        if kind == "video":
            self._frame += 1
            self._next_video = self._epoch + self._frame / FPS
        else:
            self._block += 1
            self._next_audio = self._epoch + self._block / AUDIO_PER_SECOND

    def _report(self, now: float) -> None:
        for kind, ssrc, clock in (
            ("video", _VIDEO_SSRC, VIDEO_CLOCK),
            ("audio", _AUDIO_SSRC, AUDIO_CLOCK),
        ):
            timestamp = round((now - self._epoch) * clock)
            report = sender_report(
                ssrc, time.time(), timestamp, self._sent[kind], self._bytes[kind]
            )
            self._send(self.peer.tx.protect_rtcp(report))

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.peer.sock.send(data)

    def _drain(self) -> None:
        """Read and count what the server says: RTCP by type, STUN answers."""
        while True:
            try:
                data = self.peer.sock.recv(2048)
            except OSError:
                return
            names = [f"byte_{data[0]}"]
            if data[0] < 4:
                names = ["stun"]
                answer = self.peer.answer(data)
                if answer is not None:
                    self._send(answer)
            elif 128 <= data[0] <= 191:
                names = self._rtcp(data)
            for name in names:
                self.feedback[name] = self.feedback.get(name, 0) + 1

    def _rtcp(self, data: bytes) -> list[str]:
        try:
            plain = self.peer.rx.unprotect_rtcp(data)
        except Exception:
            return ["rtcp_refused"]
        names, at = [], 0
        while at + 4 <= len(plain):
            count, kind = plain[at] & 31, plain[at + 1]
            names.append(f"rtcp_{kind}" + (f"_{count}" if kind in (205, 206) else ""))
            at += 4 + 4 * int.from_bytes(plain[at + 2 : at + 4])
        return names
