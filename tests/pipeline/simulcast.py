"""A publisher of simulcast, as OBS and browsers send it: three layers of one picture, each under an
SSRC of its own that no SDP has told, known by its RID until the first report comes back.

Each layer has its own numbers and RTP clock; NTP is one. NACKs are answered by RTX with the
repaired RID, PLIs for the layer whose SSRC they name.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from aiortc.rtp import (
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
)

from rtcfwd.forwarder import api
from tests.pipeline.leg import Crypto, Rtp, is_rtcp, parse_rtcp
from tests.pipeline.netem import MS, SECOND
from tests.pipeline.publisher import MID_URI, PPS, VIDEO, Publisher, Setup

RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
RRID_URI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
SIZES = {
    (640, 360): bytes.fromhex("6742c01eda0280bfe584000003000400000300f03c58ba80"),
    (1280, 720): bytes.fromhex("6764001facd9405005ba10000003001000000303c0f1831960"),
    (1920, 1080): bytes.fromhex("67640028acd940780227e584000003000400000300f03c60c658"),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One packet: which frame of which layer it belongs to, and whether it begins a key frame."""

    layer: int
    frame: int
    at: int  # ns
    begins_key: bool


@dataclass(slots=True)
class Layer:
    rid: str
    size: tuple[int, int]
    ssrc: int
    rtx_ssrc: int
    seq: int
    base: int
    packets_a_frame: int
    on: bool = True
    key_wanted: bool = True
    reported: bool = False  # the RID is not needed any more
    rtx_seq: int = 0
    count: int = 0
    history: dict[int, Rtp] = field(default_factory=dict)
    plis: list[int] = field(default_factory=list)
    nacked: int = 0


class SimulcastPublisher(Publisher):
    """``order``: the sizes of the layers as its offer lists them."""

    def __init__(
        self,
        name: int,
        setup: Setup,
        crypto: Crypto,
        now: int,
        wall: int,
        order: tuple[tuple[int, int], ...] = ((640, 360), (1280, 720), (1920, 1080)),
    ) -> None:
        super().__init__(name, setup, crypto, now, wall)
        r = random.Random(name * 31 + 7).randrange
        self.layers = [
            Layer(
                "qhf"[i] if len(order) == 3 else str(i), size, r(1, 1 << 32), r(1, 1 << 32),
                r(1 << 16), r(1 << 32), 2 + list(SIZES).index(size),
            )
            for i, size in enumerate(order)
        ]  # fmt: skip
        self.pictures: dict[bytes, Picture] = {}
        self.keeps_rid = False  # OBS sends it always

    def publication(self) -> api.Publication:
        fmt = api.PublishedFormat(96, self.setup.codec, 0, 97 if self.setup.rtx else None)
        track = api.PublishedTrack(
            VIDEO, 90000, "v", [fmt], nack=True, pli=True, remb=True,
            rids=[layer.rid for layer in self.layers],
        )  # fmt: skip
        extensions = {1: MID_URI, 2: RID_URI, 3: RRID_URI}
        return api.Publication([track], extensions, 4242, "server", True)

    # ---- sending ----

    def tick(self, now: int) -> None:
        if self.muted:
            self._next[VIDEO] = now
            return
        if now >= self._next[VIDEO]:
            self._next[VIDEO] += SECOND // 30
            for i, layer in enumerate(self.layers):
                if layer.on:
                    self.out += self._frame(i, layer, now)
            self.frame += 1
        if now >= self._next_sr:
            self._next_sr += 500 * MS
            self.out += [self._report(layer, now) for layer in self.layers if layer.on]

    def _time(self, layer: Layer, at: int) -> int:
        return (layer.base + (at - self._start) * 90000 // SECOND) & 0xFFFFFFFF

    def _sizes(self, i: int, key: bool) -> list[int]:
        """Of a frame's packets."""
        return [200 + 100 * i] * self.layers[i].packets_a_frame

    def _frame(self, i: int, layer: Layer, now: int) -> list[bytes]:
        key = layer.key_wanted or self.frame % self.setup.gop == 0
        layer.key_wanted = False
        ts, payloads = self._time(layer, now), []
        if key:
            sets = b"".join(len(u).to_bytes(2, "big") + u for u in (SIZES[layer.size], PPS))
            payloads.append(b"\x78" + sets + b"\0\x05\x06" + self.unique(4))
        head = 0x65 if key else 0x41
        sizes = self._sizes(i, key)
        for n, size in enumerate(sizes):
            first, last = n == 0, n == len(sizes) - 1
            fu = bytes([head & 0xE0 | 28, first << 7 | last << 6 | head & 31])
            payloads.append(fu + self.unique(size))
        out = []
        for n, payload in enumerate(payloads):
            self.pictures[payload] = Picture(i, self.frame, now, key and n == 0)
            out.append(self._packet(layer, payload, ts, n == len(payloads) - 1))
        return out

    def _packet(self, layer: Layer, payload: bytes, ts: int, marker: bool) -> bytes:
        layer.seq += 1
        layer.count += 1
        names = ((1, b"v"), (2, layer.rid.encode()))
        if layer.reported and not self.keeps_rid:
            names = ()  # type: ignore[assignment]
        rtp = Rtp(96, marker, layer.seq & 0xFFFF, ts, layer.ssrc, payload, (), names)
        layer.history[rtp.seq] = rtp
        return self.crypto.protect(rtp.pack())

    def _report(self, layer: Layer, now: int) -> bytes:
        info = RtcpSenderInfo(self.ntp_time(now), self._time(layer, now), layer.count, 0)
        return self.crypto.protect_rtcp(bytes(RtcpSrPacket(layer.ssrc, info)))

    # ---- hearing ----

    def receive(self, data: bytes, now: int) -> None:
        assert is_rtcp(data), "a publisher is sent RTCP alone"
        plain = self.crypto.unprotect(data)
        assert plain is not None
        by_ssrc = {layer.ssrc: layer for layer in self.layers}
        for p in parse_rtcp(plain):
            if isinstance(p, RtcpRrPacket):
                for report in p.reports:
                    by_ssrc[report.ssrc].reported = True
            elif isinstance(p, RtcpRtpfbPacket) and p.fmt == RTCP_RTPFB_NACK:
                layer = by_ssrc[p.media_ssrc]
                layer.nacked += len(p.lost)
                self.out += [self._again(layer, layer.history[s & 0xFFFF]) for s in p.lost]  # type: ignore[arg-type]
            elif isinstance(p, RtcpPsfbPacket) and p.fmt == RTCP_PSFB_PLI:
                layer = by_ssrc[p.media_ssrc]
                layer.plis.append(now)
                layer.key_wanted |= self.setup.answers_pli

    def _again(self, layer: Layer, rtp: Rtp) -> bytes:  # type: ignore[override]
        self.resent += 1
        layer.rtx_seq += 1
        names = ((1, b"v"), (3, layer.rid.encode()))
        payload = rtp.seq.to_bytes(2, "big") + rtp.payload
        again = Rtp(97, rtp.marker, layer.rtx_seq, rtp.ts, layer.rtx_ssrc, payload, (), names)
        return self.crypto.protect(again.pack())


class SteepPublisher(SimulcastPublisher):
    """150, 500 and 1500 kbit/s, key frames five times as large as others."""

    def _sizes(self, i: int, key: bool) -> list[int]:
        packets, size = ((2, 310), (2, 1040), (6, 1040))[i]
        return [size] * (packets * 5 if key else packets)
