"""One aiortc peer connection that talks to a WHIP or WHEP endpoint.

Given a direction and codec names, it offers one bundled transport with exactly these codecs in this
order, sends the offer through a :class:`~rtcfwd.client.whip.Session` and waits until ICE and DTLS
are up. ``ended`` is done once the connection is over; its result says why. No trickle, no STUN
server: the server is reachable, and host candidates are enough for it to answer (RFC 9725 4.4.5).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aioice.ice
import aiortc.codecs.h264
import aiortc.codecs.vpx
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.sdp import SessionDescription

from rtcfwd.client.whip import ClientError, Session

CONNECT_TIMEOUT = 15.0  # seconds for ICE and DTLS after the answer
CLOSE_TIMEOUT = 5.0
LOOPBACK = ("localhost", "127.0.0.1")

_host_addresses = aioice.ice.get_host_addresses


def offer_loopback() -> None:
    """Let aioice gather 127.0.0.1 too, which it leaves out: a machine without a network has no
    other address, and a server on it no other way to be reached."""

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        found = _host_addresses(use_ipv4, use_ipv6)
        return ["127.0.0.1", *found] if use_ipv4 else found

    aioice.ice.get_host_addresses = addresses


def set_bitrate(bits_per_second: int) -> None:
    """Make aiortc's video encoders start at this rate and never go above it.

    aiortc has no other way than its modules' constants; REMB from the server still lowers the rate.
    """
    modules: tuple[Any, ...] = (aiortc.codecs.h264, aiortc.codecs.vpx)
    for module in modules:
        module.DEFAULT_BITRATE = bits_per_second
        module.MAX_BITRATE = bits_per_second
        module.MIN_BITRATE = min(module.MIN_BITRATE, bits_per_second)


def prefer(transceiver: RTCRtpTransceiver, names: Sequence[str]) -> None:
    """Offer only these codecs (rtpmap names, any case), in this order, each H264 profile included.

    Raises :class:`ClientError` if aiortc knows none of them.
    """
    known = RTCRtpSender.getCapabilities(transceiver.kind).codecs
    chosen = [c for name in names for c in known if c.name.lower() == name.lower()]
    if not chosen:
        raise ClientError(f"no {transceiver.kind} codec named {', '.join(names)}")
    repair = [c for c in known if c.name.lower() == "rtx"]
    transceiver.setCodecPreferences(chosen + repair)


class Peer:
    """A peer connection for one session. Close it always, also after a failed :meth:`connect`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.answer: SessionDescription | None = None
        self.asked_at = 0.0  # time.monotonic() of the POST
        self.connected_ms: float | None = None
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = loop.create_future()
        self._connected: asyncio.Future[None] = loop.create_future()
        self.pc.on("connectionstatechange", self._state_changed)
        if urlsplit(session.url).hostname in LOOPBACK:
            offer_loopback()

    def send(self, track: MediaStreamTrack, codecs: Sequence[str]) -> RTCRtpTransceiver:
        transceiver = self.pc.addTransceiver(track, direction="sendonly")
        prefer(transceiver, codecs)
        return transceiver

    def receive(self, kind: str, codecs: Sequence[str]) -> RTCRtpTransceiver:
        transceiver = self.pc.addTransceiver(kind, direction="recvonly")
        prefer(transceiver, codecs)
        return transceiver

    async def connect(self) -> None:
        """Offer, answer, ICE, DTLS. Raises :class:`ClientError`."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        self.asked_at = time.monotonic()
        answer = await self.session.post(self.pc.localDescription.sdp)
        try:
            self.answer = SessionDescription.parse(answer)
            await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        except Exception as error:  # aiortc raises whatever its parser meets in a bad answer
            raise ClientError(f"the server's answer cannot be used: {error}") from error
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._connected
        except TimeoutError:
            raise ClientError(
                f"no media connection within {CONNECT_TIMEOUT:g} s; is the server's UDP port open?"
            ) from None

    def codec(self, kind: str) -> str | None:
        """The codec that the answer puts first for this kind: the one in use. None without one."""
        for media in self.answer.media if self.answer else ():
            if media.kind == kind and media.port and media.rtp.codecs:
                name: str = media.rtp.codecs[0].name
                return name.upper()
        return None

    async def close(self) -> None:
        """End the session: DELETE, then the connection."""
        await self.session.delete()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.pc.close()
        except TimeoutError:
            pass
        self._end("closed")

    def _state_changed(self) -> None:
        state = self.pc.connectionState
        if state == "connected" and not self._connected.done():
            self.connected_ms = (time.monotonic() - self.asked_at) * 1000
            self._connected.set_result(None)
        elif state in ("failed", "closed"):
            self._end("the connection failed" if state == "failed" else "the server closed it")

    def _end(self, reason: str) -> None:
        if not self._connected.done():
            self._connected.set_exception(ClientError(f"no media connection: {reason}"))
            self._connected.exception()  # retrieved: nobody may be waiting
        if not self.ended.done():
            self.ended.set_result(reason)
