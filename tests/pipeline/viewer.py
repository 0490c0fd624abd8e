"""A scripted viewer: decrypts with pylibsrtp, reports, and asks again as libwebrtc does.

``got[kind]`` maps the unbounded sequence number to the packet, RTX (RFC 4588) undone. Two packets
with one number and different contents fail at once.

Receiver reports go out every 0.5 to 1.5 s with the losses there were (RFC 3550 appendix A.3);
resends on the same SSRC fill their holes, as with libwebrtc. With ``remb`` it says every 200 ms
what came in the last second: 0.85 of it when a tenth was lost, else half as much again.

NACKs: a missing number is asked for 10 ms after a newer one came, again every round trip (at least
20 ms), at most ten times.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    pack_remb_fci,
)

from rtcfwd.forwarder import api
from tests.pipeline.leg import Crypto, Rtp, Unwrap, is_rtcp, parse_rtcp, parse_rtp
from tests.pipeline.netem import MS, SECOND
from tests.pipeline.publisher import AUDIO, MID_URI, VIDEO
from tests.pipeline.xr import RoundTrips

VIDEO_PT, RTX_PT, AUDIO_PT = 102, 103, 8


@dataclass(slots=True)
class ViewerSetup:
    rtx: bool = True
    nack: bool = True
    nack_after_ms: int = 10
    nack_again_ms: int = 40  # its round trip
    formats: tuple[int, ...] = (0,)  # video formats that it takes; payload type 102 + 2 * format
    audio: dict[int, int] = field(default_factory=lambda: {0: AUDIO_PT})  # payload types by format
    derived: frozenset[int] = frozenset()  # audio formats that it gets in the other law
    has_audio: bool = True
    has_video: bool = True
    mid: bool = True
    extensions: tuple[tuple[str, int], ...] = ()
    mixed: bool = True  # extmap-allow-mixed
    playout: tuple[int, int] | None = None  # ms, told for good
    remb: bool = False
    reports: bool = True  # receiver reports; without, it never says anything of its own accord


@dataclass(slots=True)
class _Missing:
    since: int
    asked: int = 0
    tries: int = 0


class Viewer:
    def __init__(self, name: int, setup: ViewerSetup, crypto: Crypto, now: int) -> None:
        self.setup, self.crypto, self.name = setup, crypto, name
        self.joined = now
        self.ssrc = {AUDIO: 0x70000000 + name, VIDEO: 0x50000000 + name}
        self.rtx_ssrc = 0x60000000 + name
        self.out: list[bytes] = []
        self.got: dict[api.Kind, dict[int, Rtp]] = {AUDIO: {}, VIDEO: {}}
        self.arrived: dict[api.Kind, list[tuple[int, int]]] = {AUDIO: [], VIDEO: []}
        self.srs: list[tuple[int, RtcpSrPacket]] = []
        self.heard: list[tuple[int, list[AnyRtcpPacket]]] = []
        self.byes: list[RtcpByePacket] = []
        self.round_trips = RoundTrips()
        self._unwrap = {AUDIO: Unwrap(), VIDEO: Unwrap()}
        self._missing: dict[api.Kind, dict[int, _Missing]] = {AUDIO: {}, VIDEO: {}}
        self._last_sr: dict[api.Kind, tuple[int, int]] = {}
        self._next_report = now + SECOND
        self._next_remb = now + SECOND
        self._random = random.Random(name)
        self._came: dict[api.Kind, int] = {AUDIO: 0, VIDEO: 0}  # not by RTX
        self._reported: dict[api.Kind, tuple[int, int]] = {}  # expected, came
        self._bytes: deque[tuple[int, int]] = deque()
        self.lost_share: dict[api.Kind, float] = {AUDIO: 0.0, VIDEO: 0.0}
        self.asked = self.by_rtx = 0

    def subscription(self) -> api.Subscription:
        s = self.setup
        tracks = []
        if s.has_video:
            types = {f: (VIDEO_PT + 2 * f, RTX_PT + 2 * f if s.rtx else None) for f in s.formats}
            rtx = self.rtx_ssrc if s.rtx else 0
            tracks.append(api.ViewedTrack(VIDEO, "0", self.ssrc[VIDEO], rtx, types, nack=s.nack))
        if s.has_audio:
            types = {f: (pt, None) for f, pt in s.audio.items()}
            ssrc = self.ssrc[AUDIO]
            tracks.append(api.ViewedTrack(AUDIO, "1", ssrc, 0, types, s.nack, s.derived))
        extensions = dict(s.extensions) | ({MID_URI: 4} if s.mid else {})
        return api.Subscription(tracks, extensions, "server", mixed=s.mixed, playout=s.playout)

    # ---- hearing ----

    def receive(self, data: bytes, now: int) -> None:
        if (plain := self.crypto.unprotect(data)) is None:
            return
        if is_rtcp(data):
            self._rtcp(parse_rtcp(plain), now)
            self.round_trips.hear(plain, now)
            return
        packet = parse_rtp(plain)
        if self.setup.remb:
            self._bytes.append((now, len(data)))
        if packet.ssrc == self.rtx_ssrc:
            packet = self._undo_rtx(packet)
            self.by_rtx += 1
        else:
            self._came[VIDEO if packet.ssrc == self.ssrc[VIDEO] else AUDIO] += 1
        kind = next(k for k in (AUDIO, VIDEO) if self.ssrc[k] == packet.ssrc)
        if not self.got[kind] and kind == VIDEO:
            assert packet.seq < 1 << 15
        self._take(kind, packet, now)

    def _undo_rtx(self, p: Rtp) -> Rtp:
        assert p.pt % 2 == RTX_PT % 2
        osn = int.from_bytes(p.payload[:2], "big")
        payload = p.payload[2:]
        return Rtp(p.pt - 1, p.marker, osn, p.ts, self.ssrc[VIDEO], payload, p.csrcs, p.extensions)

    def _take(self, kind: api.Kind, packet: Rtp, now: int) -> None:
        highest = self._unwrap[kind].highest
        seq = self._unwrap[kind](packet.seq)
        old = self.got[kind].get(seq)
        if old is not None:
            same = (old.pt, old.marker, old.ts, old.payload)
            assert same == (packet.pt, packet.marker, packet.ts, packet.payload)
            return
        self.got[kind][seq] = packet
        self.arrived[kind].append((now, seq))
        self._missing[kind].pop(seq, None)
        if highest is not None:
            for lost in range(highest + 1, seq):
                self._missing[kind][lost] = _Missing(now)

    def _rtcp(self, packets: list[AnyRtcpPacket], now: int) -> None:
        self.heard.append((now, packets))
        for p in packets:
            if isinstance(p, RtcpSrPacket):
                self.srs.append((now, p))
                kind = next(k for k in (AUDIO, VIDEO) if self.ssrc[k] == p.ssrc)
                self._last_sr[kind] = (p.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF, now)
            elif isinstance(p, RtcpByePacket):
                self.byes.append(p)

    # ---- sending ----

    def tick(self, now: int) -> None:
        if self.setup.nack:
            for kind in (AUDIO, VIDEO):
                self._ask(kind, now)
        if now >= self._next_report and self.setup.reports:
            self._next_report += SECOND // 2 + self._random.randrange(SECOND)
            self._report(now)
        if now >= self._next_remb and self.setup.remb:
            self._next_remb += 200 * MS
            self._remb(now)

    def _ask(self, kind: api.Kind, now: int) -> None:
        due = []
        for seq, m in list(self._missing[kind].items()):
            if m.tries == 10:
                del self._missing[kind][seq]
            elif (
                now - m.since >= self.setup.nack_after_ms * MS
                and now - m.asked >= self.setup.nack_again_ms * MS
            ):
                m.tries += 1
                m.asked = now
                due.append(seq)
        if due:
            self.asked += len(due)
            self.nack(kind, due)

    def nack(self, kind: api.Kind, seqs: list[int]) -> None:
        for at in range(0, len(seqs), 100):
            some = sorted({s & 0xFFFF for s in seqs[at : at + 100]})
            self.say(RtcpRtpfbPacket(RTCP_RTPFB_NACK, 1, self.ssrc[kind], some))

    def pli(self) -> None:
        self.say(RtcpPsfbPacket(RTCP_PSFB_PLI, 1, self.ssrc[VIDEO]))

    def say(self, *packets: AnyRtcpPacket) -> None:
        raw = b"".join(bytes(p) for p in (RtcpRrPacket(1), *packets))
        self.out.append(self.crypto.protect_rtcp(raw))

    def _report(self, now: int) -> None:
        blocks = []
        for kind in (AUDIO, VIDEO):
            if (highest := self._unwrap[kind].highest) is None:
                continue
            expected, came = highest - min(self.got[kind]) + 1, self._came[kind]
            before = self._reported.get(kind, (0, 0))
            self._reported[kind] = (expected, came)
            lost_now = max(0, expected - before[0] - (came - before[1]))
            fraction = min(255, lost_now * 256 // max(1, expected - before[0]))
            self.lost_share[kind] = fraction / 256
            lsr, at = self._last_sr.get(kind, (0, now))
            dlsr = ((now - at) << 16) // SECOND
            lost = min(max(expected - came, -(1 << 23)), (1 << 23) - 1)
            ssrc = self.ssrc[kind]
            blocks.append(RtcpReceiverInfo(ssrc, fraction, lost, highest, 0, lsr, dlsr))
        self.out.append(self.crypto.protect_rtcp(bytes(RtcpRrPacket(1, blocks))))

    def _remb(self, now: int) -> None:
        while self._bytes and self._bytes[0][0] < now - SECOND:
            self._bytes.popleft()
        rate = 8 * sum(size for _, size in self._bytes)
        rate = rate * 17 // 20 if self.lost_share[VIDEO] > 0.1 else rate * 3 // 2
        fci = pack_remb_fci(max(rate, 5000), [self.ssrc[VIDEO]])
        self.say(RtcpPsfbPacket(RTCP_PSFB_APP, 1, 0, fci))

    # ---- what it has ----

    def numbers(self, kind: api.Kind) -> list[int]:
        return sorted(self.got[kind])

    def holes(self, kind: api.Kind) -> int:
        """Numbers between the first and the last that never came."""
        numbers = self.numbers(kind)
        return numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0

    def in_order(self, kind: api.Kind) -> list[Rtp]:
        return [self.got[kind][n] for n in self.numbers(kind)]

    def payloads(self, kind: api.Kind) -> list[bytes]:
        return [p.payload for p in self.in_order(kind)]
