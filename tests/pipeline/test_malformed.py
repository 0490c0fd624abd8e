"""Bytes that are correct SRTP but no correct RTP or RTCP, and bytes that are nobody's."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRrPacket, RtcpRtpfbPacket, RtcpSdesPacket
from pylibsrtp import Error

from rtcfwd.forwarder import api
from tests.pipeline.leg import Rtp
from tests.pipeline.publisher import MID_URI, VIDEO, Publisher, Setup
from tests.pipeline.stage import Stage
from tests.pipeline.viewer import Viewer
from tests.pipeline.world import Peer, World
from tests.pipeline.xr import rrtr


def rtp_mutants(rng: random.Random, good: bytes, count: int) -> list[bytes]:
    out = []
    for _ in range(count):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(min(len(data), 60))] = rng.randrange(256)
        data[0] = data[0] & 0x3F | 0x80  # libsrtp takes no other version
        cut = rng.randrange(12, len(data) + 1) if rng.random() < 0.5 else len(data)
        out.append(bytes(data[:cut]))
    return out


def protect(function: Callable[[bytes], bytes], data: bytes) -> bytes | None:
    """None where libsrtp itself refuses such a packet."""
    try:
        return function(data)
    except Error:
        return None


def test_malformed_rtp_behind_correct_srtp_never_harms() -> None:
    rng = random.Random(9)
    with World() as w:
        extensions = {1: MID_URI, 2: "urn:3gpp:video-orientation"}
        s = Stage(w, Setup(extensions=extensions))
        base = Rtp(
            96,
            True,
            s.pub.seq[VIDEO] + 500,
            0,
            s.pub.ssrc[VIDEO],
            b"\x78\0\x05\x67\x42\0\x1f\x00\xff\xff\x65" + s.pub.unique(80),
            (5, 6),
            ((1, b"v"), (2, b"\0")),
            9,
        ).pack()
        for data in rtp_mutants(rng, base, 3000):
            cipher = protect(s.pub.crypto.protect, data)
            if cipher:
                s.play([cipher], 0.001)
        drops = w.drops()
        assert drops["rtp_malformed"] > 100
        # And the stream is well: a new publisher is seen by everybody.
        w.leave(s.peer)
        pub, _ = w.publisher()
        w.run(1)
        w.rest(pub)
        for viewer in s.viewers:
            tail = [e.payload for e in pub.sent[VIDEO]]
            assert viewer.payloads(VIDEO)[-len(tail) :] == tail


def rtcp_samples(pub: Publisher, viewer: Viewer) -> list[bytes]:
    nack = bytes(RtcpRtpfbPacket(RTCP_RTPFB_NACK, 1, viewer.ssrc[VIDEO], [1, 5, 9, 400]))
    sdes = bytes(RtcpSdesPacket([]))
    fir = struct.pack("!BBHIIIBBH", 0x84, 206, 4, 1, 0, viewer.ssrc[VIDEO], 1, 0, 0)
    remb = struct.pack(
        "!BBHII4sBBHI", 0x8F, 206, 5, 1, 0, b"REMB", 1, 0x4C, 0xFFFF, viewer.ssrc[VIDEO]
    )
    sr = struct.pack("!BBHIQIII", 0x80, 200, 6, pub.ssrc[VIDEO], 1 << 40, 5, 6, 7)
    rr = bytes(RtcpRrPacket(1))
    xr = rrtr(7, 1 << 40)
    return [rr + nack, rr + fir, rr + remb, sr + sdes, rr + nack + fir + remb + xr, rr + xr]


def test_malformed_rtcp_behind_correct_srtcp_never_harms() -> None:
    rng = random.Random(10)
    with World() as w:
        s = Stage(w)
        viewer = s.viewers[0]
        leg = next(p for p in w.peers if p.script is viewer)
        samples = rtcp_samples(s.pub, viewer)
        for i in range(3000):
            data = bytearray(samples[i % len(samples)])
            for _ in range(rng.randrange(0, 5)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            cut = rng.randrange(8, len(data) + 1) if rng.random() < 0.4 else len(data)
            to: Peer = leg if rng.random() < 0.7 else s.peer
            crypto = to.script.crypto
            data[1] = data[1] if 192 <= data[1] <= 223 else 201  # else it is no RTCP (RFC 5761)
            data[0] = data[0] & 0x3F | 0x80
            cipher = protect(crypto.protect_rtcp, bytes(data[:cut]))
            if cipher:
                w.inject(to, cipher)
            if i % 50 == 0:
                s.play(s.frame())
        assert w.drops()["rtcp_malformed"] > 100
        s.play(s.frame())
        s.assert_whole()


def test_bytes_that_are_nobodys_are_named_drops() -> None:
    rng = random.Random(11)
    with World(workers=2) as w:
        s = Stage(w)
        stranger = api.Path(("192.0.2.1", 9), "10.0.0.1")
        for i in range(600):
            data = rng.randbytes(rng.randrange(0, 300))
            path = (stranger, s.peer.path, w.peers[0].path)[i % 3]
            w.forwarder.inject(i % 2, path, data, w.now)
            w.turn()
        good = s.frame()[0]
        for _ in range(200):  # one bit wrong in authentic packets
            data = bytearray(good)
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            w.inject(s.peer, bytes(data))
            w.turn()
        drops = w.drops()
        for name in ("unclassified", "unknown_tuple", "auth_failed", "stun_malformed"):
            assert drops[name] > 0, name
        before = w.forwarder.stream_stats(w.stream)["tracks"]["video"]["packets"]
        w.run(0.1)
        assert w.forwarder.stream_stats(w.stream)["tracks"]["video"]["packets"] == before
        for viewer in s.viewers:
            assert viewer.holes(VIDEO) == 0
