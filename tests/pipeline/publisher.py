"""A scripted publisher: H264 at 30 fps and A-law at 50 packets a second, as WHIP clients send it.

Every payload is unique, so a viewer's packet can be traced to the entry of ``sent`` that it came
from. It answers NACKs by RTX (RFC 4588), or by repeating the same bytes (as FFmpeg and OBS do), and
PLIs by a key frame at the next turn, unless told not to. Its clock is its own: NTP is off by
``ntp_skew`` and both RTP clocks start anywhere. All that the forwarder tells it is kept, parsed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from aiortc.rtp import (
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
)

from rtcfwd.forwarder import api
from tests.pipeline.leg import Crypto, Rtp, is_rtcp, ntp, parse_rtcp
from tests.pipeline.netem import MS, SECOND

AUDIO, VIDEO = api.Kind.AUDIO, api.Kind.VIDEO
CLOCK = {AUDIO: 8000, VIDEO: 90000}
MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
SPS = bytes.fromhex("6742c01fda014016e9b808080a")
PPS = bytes.fromhex("68ce3c80")


@dataclass(frozen=True, slots=True)
class Sent:
    """One packet as published. ``seq`` and ``ts`` are the publisher's own, 16 and 32 bits."""

    kind: api.Kind
    seq: int
    ts: int
    marker: bool
    payload: bytes
    at: int  # ns
    key_start: bool  # first packet of a key frame


@dataclass(slots=True)
class Setup:
    """What a publisher is like."""

    rtx: bool = True
    nack: bool = True
    answers_pli: bool = True
    reduced_size: bool = True
    gop: int = 60  # frames
    packets_a_frame: int = 6
    packet_size: int = 500
    even: bool = False  # cut as browsers do: as alike as can be, the shorter ones first
    has_audio: bool = True
    has_video: bool = True
    codec: api.Codec = api.Codec.H264
    format: int = 0  # index in the stream's table
    video_pt: int = 96
    audio_codec: api.Codec = api.Codec.PCMA
    audio_format: int = 0
    audio_pt: int = 8
    signals_ssrc: bool = True
    sends_sr: tuple[api.Kind, ...] = (AUDIO, VIDEO)
    ntp_skew: int = 0  # ns
    ppm: float = 0.0  # by how much all of its clocks are fast …
    audio_ppm: float = 0.0  # … and the sound card's beyond them
    audio_ahead: int = 0  # ns by which audio was captured before the video sent with it
    extensions: dict[int, str] = field(default_factory=dict)
    sets: str = "always"  # parameter sets: with each key frame, "once", "never", "offered"
    sps: bytes = SPS
    pps: bytes = PPS
    vps: bytes = b""  # H265's


class Publisher:
    def __init__(self, name: int, setup: Setup, crypto: Crypto, now: int, wall: int) -> None:
        """``wall``: Unix time in ns minus the world's clock."""
        self.setup, self.crypto, self.name = setup, crypto, name
        self._wall = wall
        self.random = random.Random(name * 7919 + 1)
        r = self.random.randrange
        self.ssrc = {AUDIO: r(1, 1 << 32), VIDEO: r(1, 1 << 32)}
        self.rtx_ssrc = r(1, 1 << 32)
        self.seq = {AUDIO: r(1 << 16), VIDEO: r(1 << 16)}
        self._rtx_seq = r(1 << 16)
        self._base = {AUDIO: r(1 << 32), VIDEO: r(1 << 32)}
        self._start = now
        self._next = {AUDIO: now, VIDEO: now}
        self._next_sr = now + 200 * MS
        self.frame = 0
        self._key_wanted = True
        self.muted = False
        self.nal = 0x41  # of a picture that is no key frame
        self.out: list[bytes] = []
        self.sent: dict[api.Kind, list[Sent]] = {AUDIO: [], VIDEO: []}
        self._history: dict[tuple[api.Kind, int], tuple[bytes, Rtp]] = {}
        self.heard: list[tuple[int, list[AnyRtcpPacket]]] = []
        self.plis: list[int] = []
        self.nacks: list[tuple[int, list[int]]] = []
        self.resent = 0
        self._counts = {AUDIO: 0, VIDEO: 0}

    # ---- what it negotiated ----

    def publication(self) -> api.Publication:
        s = self.setup
        tracks = []
        if s.has_video:
            fmt = api.PublishedFormat(s.video_pt, s.codec, s.format, 97 if s.rtx else None)
            tracks.append(
                api.PublishedTrack(
                    VIDEO,
                    90000,
                    "v",
                    [fmt],
                    [self.ssrc[VIDEO]] if s.signals_ssrc else [],
                    [self.rtx_ssrc] if s.rtx and s.signals_ssrc else [],
                    nack=s.nack,
                    pli=True,
                    remb=True,
                    parameter_sets=self._sets() if s.sets == "offered" else (),
                )
            )
        if s.has_audio:
            fmt = api.PublishedFormat(s.audio_pt, s.audio_codec, s.audio_format)
            ssrcs = [self.ssrc[AUDIO]] if s.signals_ssrc else []
            tracks.append(api.PublishedTrack(AUDIO, 8000, "a", [fmt], ssrcs, nack=s.nack))
        return api.Publication(tracks, s.extensions, 4242, "server", s.reduced_size)

    def _sets(self) -> tuple[bytes, ...]:
        s = self.setup
        return tuple(u for u in (s.vps, s.sps, s.pps) if u)

    # ---- its clocks ----

    def rtp_time(self, kind: api.Kind, at: int) -> int:
        """The RTP timestamp of what is captured at world time ``at``."""
        fast = self.setup.ppm + (self.setup.audio_ppm if kind == AUDIO else 0)
        passed = at - self._start
        passed += round(passed * fast / 1e6)
        return (self._base[kind] + passed * CLOCK[kind] // SECOND) & 0xFFFFFFFF

    def ntp_time(self, at: int) -> int:
        fast = round((at - self._start) * self.setup.ppm / 1e6)
        return ntp(at + fast + self._wall + self.setup.ntp_skew)

    # ---- sending ----

    def packet(
        self,
        kind: api.Kind,
        payload: bytes,
        ts: int,
        now: int,
        *,
        marker: bool = False,
        key_start: bool = False,
        pt: int | None = None,
        padding: int = 0,
        ledger: bool = True,
        extensions: tuple[tuple[int, bytes], ...] = (),
        csrcs: tuple[int, ...] = (),
    ) -> bytes:
        """The next packet of a track, protected; kept for NACKs. Not put into ``out``."""
        seq = self.seq[kind] & 0xFFFF
        self.seq[kind] += 1
        pts = {VIDEO: self.setup.video_pt, AUDIO: self.setup.audio_pt}
        pt = pt if pt is not None else pts[kind]
        rtp = Rtp(pt, marker, seq, ts, self.ssrc[kind], payload, csrcs, extensions, padding)
        data = self.crypto.protect(rtp.pack())
        self._history[(kind, seq)] = (data, rtp)
        self._counts[kind] += 1
        if ledger:
            self.sent[kind].append(Sent(kind, seq, ts, marker, payload, now, key_start))
        return data

    def unique(self, size: int) -> bytes:
        return self.random.randbytes(size)

    def frame_packets(self, now: int, *, key: bool) -> list[bytes]:
        """A video frame: SPS, PPS and an IDR picture, or a P picture; in FU-As (RFC 6184)."""
        ts = self.rtp_time(VIDEO, now)
        n, nal = self.setup.packets_a_frame, 0x65 if key else self.nal
        out = []
        with_sets = self.setup.sets == "always" or (self.setup.sets == "once" and not self.frame)
        if key and with_sets:
            stap = b"\x78" + b"".join(
                len(u).to_bytes(2, "big") + u for u in (self.setup.sps, self.setup.pps)
            )
            tail = self.frame.to_bytes(4, "big") + self.name.to_bytes(2, "big")
            stap += b"\0\x07\x06" + tail  # an SEI, to make it unique
            out.append(self.packet(VIDEO, stap, ts, now, key_start=True))
        for i in range(n):
            first, last = i == 0, i == n - 1
            fu = bytes([nal & 0xE0 | 28, first << 7 | last << 6 | nal & 31])
            size = self.setup.packet_size
            size += i >= n // 2 if self.setup.even else -40 if last else 0
            starts = key and first and not with_sets
            content = self.unique(size)
            if first:  # first_mb_in_slice 0, slice_type I or P
                content = (b"\x88" if key else b"\x98") + content[1:]
            data = self.packet(VIDEO, fu + content, ts, now, marker=last, key_start=starts)
            out.append(data)
        self.frame += 1
        return out

    def tick(self, now: int) -> None:
        if self.muted:
            self._next = {AUDIO: now, VIDEO: now}
            return
        if self.setup.has_audio and now >= self._next[AUDIO]:
            self._next[AUDIO] += 20 * MS
            ts = self.rtp_time(AUDIO, now - self.setup.audio_ahead)
            self.out.append(self.packet(AUDIO, self.unique(160), ts, now))
        if self.setup.has_video and now >= self._next[VIDEO]:
            self._next[VIDEO] += SECOND // 30
            key = self._key_wanted or self.frame % self.setup.gop == 0
            self._key_wanted = False
            self.out += self.frame_packets(now, key=key)
        if now >= self._next_sr:
            self._next_sr += SECOND
            self.out += [self.sender_report(k, now) for k in self.setup.sends_sr]

    def sender_report(self, kind: api.Kind, now: int) -> bytes:
        info = RtcpSenderInfo(self.ntp_time(now), self.rtp_time(kind, now), self._counts[kind], 0)
        return self.crypto.protect_rtcp(bytes(RtcpSrPacket(self.ssrc[kind], info)))

    def resume(self, *, key: bool = False, clock: int = 0) -> None:
        """After a pause; ``clock``: by how much the video clock jumps."""
        self.muted = False
        self._key_wanted |= key
        self._base[VIDEO] += clock

    def begin_within_gop(self) -> None:
        """The first frame is no key frame."""
        self._key_wanted = False
        self.frame = 1

    # ---- hearing ----

    def receive(self, data: bytes, now: int) -> None:
        assert is_rtcp(data), "a publisher is sent RTCP alone"
        if (plain := self.crypto.unprotect(data)) is not None:
            self.hear(plain, now)

    def hear(self, plain: bytes, now: int) -> None:
        packets = parse_rtcp(plain)
        self.heard.append((now, packets))
        for p in packets:
            if isinstance(p, RtcpRtpfbPacket) and p.fmt == RTCP_RTPFB_NACK:
                self.nacks.append((now, p.lost))
                kind = VIDEO if p.media_ssrc == self.ssrc[VIDEO] else AUDIO
                assert p.media_ssrc == self.ssrc[kind]
                self.out += [d for s in p.lost if (d := self._again(kind, s & 0xFFFF))]
            elif isinstance(p, RtcpPsfbPacket) and p.fmt == RTCP_PSFB_PLI:
                assert p.media_ssrc == self.ssrc[VIDEO]
                self.plis.append(now)
                self._key_wanted |= self.setup.answers_pli

    def _again(self, kind: api.Kind, seq: int) -> bytes | None:
        if (kind, seq) not in self._history:
            return None
        data, rtp = self._history[(kind, seq)]
        self.resent += 1
        return self.rtx(rtp) if self.setup.rtx and kind == VIDEO else data

    def rtx(self, rtp: Rtp) -> bytes:
        self._rtx_seq += 1
        payload = rtp.seq.to_bytes(2, "big") + rtp.payload
        packet = Rtp(97, rtp.marker, self._rtx_seq, rtp.ts, self.rtx_ssrc, payload)
        return self.crypto.protect(packet.pack())

    def on_rtx(self, payload: bytes, padding: int = 0) -> bytes:
        """Something else under the RTX SSRC: a probe."""
        self._rtx_seq += 1
        packet = Rtp(97, False, self._rtx_seq, 0, self.rtx_ssrc, payload, padding=padding)
        return self.crypto.protect(packet.pack())

    def published(self, kind: api.Kind, seq: int) -> Rtp:
        return self._history[(kind, seq & 0xFFFF)][1]
