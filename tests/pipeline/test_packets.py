"""Single packets that are out of the ordinary: padding, payload types without a format, RTX,
routing, header extensions, and bytes that are correct SRTP but no correct RTP or RTCP."""

from __future__ import annotations

import random
import struct

import pytest
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRrPacket, RtcpRtpfbPacket, RtcpSdesPacket

from rtcfwd.forwarder import api
from tests.pipeline.checks import assert_whole
from tests.pipeline.leg import Rtp
from tests.pipeline.netem import MS
from tests.pipeline.publisher import AUDIO, CLOCK, MID_URI, VIDEO, Publisher, Setup
from tests.pipeline.viewer import Viewer, ViewerSetup
from tests.pipeline.world import Peer, World


class Stage:
    """A publisher whose packets are scripted one by one, and a viewer with RTX and one without."""

    def __init__(self, w: World, setup: Setup | None = None) -> None:
        self.w = w
        self.viewers = [w.viewer(ViewerSetup(rtx=r))[0] for r in (True, False)]
        self.pub, self.peer = w.publisher(setup)
        self.pub.muted = True
        w.run(0.01)
        self.play(self.pub.frame_packets(w.now, key=True))

    def play(self, packets: list[bytes], seconds: float = 0.002) -> None:
        for data in packets:
            self.w.inject(self.peer, data)
        self.w.run(seconds)

    def audio(self, n: int = 1) -> list[bytes]:
        return [self.pub.packet(AUDIO, self.pub.unique(160), i * 160, self.w.now) for i in range(n)]

    def frame(self) -> list[bytes]:
        return self.pub.frame_packets(self.w.now, key=False)

    def padding(self, kind: api.Kind = VIDEO, size: int = 200) -> bytes:
        return self.pub.packet(kind, b"", 0, self.w.now, padding=size, ledger=False)

    def assert_whole(self, *kinds: api.Kind) -> None:
        self.w.run(0.3)
        for viewer in self.viewers:
            for kind in kinds or (VIDEO,):
                assert_whole(viewer, self.pub, kind)


def test_padding_in_order_gets_no_number() -> None:
    with World() as w:
        s = Stage(w, Setup(packets_a_frame=2))
        for i in range(200):  # more than the map of numbers remembers
            s.play([s.padding() for _ in range(i % 3)] + s.frame())
        s.assert_whole()
        assert w.drops()["padding_only"] == 199


def test_late_padding_fills_its_place() -> None:
    with World() as w:
        s = Stage(w)
        pad, after = s.padding(), s.frame()
        s.play(after, 0.004)
        s.play([pad])
        w.run(0.2)
        for viewer in s.viewers:
            assert viewer.holes(VIDEO) == 0
            filled = [p for p in viewer.in_order(VIDEO) if not p.payload]
            assert len(filled) == 1
            assert not viewer.asked
            seen = [p for p in viewer.payloads(VIDEO) if p]
            assert seen == [e.payload for e in s.pub.sent[VIDEO]]


def test_padding_that_was_left_out_and_comes_again_takes_no_other_number() -> None:
    with World() as w:
        s = Stage(w)
        first, second = s.padding(), s.padding()
        numbers = [s.pub.seq[VIDEO] - 2, s.pub.seq[VIDEO] - 1]
        s.play([first, second])
        for n in numbers:
            s.play([s.pub.rtx(s.pub.published(VIDEO, n))])
        s.play(s.frame())
        for n in numbers:
            s.play([s.pub.rtx(s.pub.published(VIDEO, n))])
        s.play(s.frame())
        s.assert_whole()


def test_an_empty_rtx_of_the_newest_packet_changes_nothing() -> None:
    with World() as w:
        s = Stage(w)
        s.play(s.frame())
        newest = s.pub.published(VIDEO, s.pub.seq[VIDEO] - 1)
        s.play([s.pub.rtx(Rtp(96, False, newest.seq, newest.ts, newest.ssrc, b""))])
        s.play(s.frame())
        s.assert_whole()


@pytest.mark.parametrize("late", [False, True])
def test_comfort_noise_leaves_no_hole(late: bool) -> None:
    """CN (RFC 3389) was not answered: its numbers go, or are filled when known too late."""
    with World() as w:
        s = Stage(w)
        s.play(s.audio(3))
        for _ in range(20):
            noise = s.pub.packet(AUDIO, b"\x40", 0, w.now, pt=13, ledger=False)
            voice = s.audio(2)
            s.play([*voice, noise] if late else [noise, *voice], 0.02)
        w.run(0.1)
        assert w.drops()["unknown_payload_type"] == 20
        for viewer in s.viewers:
            assert viewer.holes(AUDIO) == 0
            seen = viewer.payloads(AUDIO)
            assert seen.count(b"") == (20 if late else 0)
            assert [p for p in seen if p] == [e.payload for e in s.pub.sent[AUDIO]]
            assert {p.pt for p in viewer.in_order(AUDIO)} == {8}


def test_rtx_is_undone() -> None:
    """A packet that came by RTX alone is like any other to viewers; probes on RTX are dropped."""
    with World() as w:
        s = Stage(w)
        packets = s.frame()
        lost = s.pub.published(VIDEO, s.pub.seq[VIDEO] - 3)
        s.play(packets[:-3] + packets[-2:])
        s.play([s.pub.rtx(lost)])
        s.play([s.pub.on_rtx(b"", padding=120)])
        again = s.pub.published(VIDEO, s.pub.seq[VIDEO] - 1)
        s.play([s.pub.rtx(again)])
        s.play([s.pub.on_rtx(b"\1")])
        s.assert_whole()
        assert w.drops()["rtx_malformed"] == 2
        assert w.drops()["duplicate"] == 1


def test_an_old_number_never_gets_a_second_content() -> None:
    """One packet far ahead, then all those before it, then as many behind it: its slot has left the
    log while its number is still near. RTX with another content for it: dropped, or two contents
    would stand under one nonce (the wire is watched)."""
    with World(video_slots=256) as w:
        s = Stage(w)
        packets = [s.pub.packet(VIDEO, s.pub.unique(50), 0, w.now) for _ in range(320)]
        ahead = s.pub.published(VIDEO, s.pub.seq[VIDEO] - 320 + 249)
        for i in (249, *range(249), *range(250, 320)):
            s.play([packets[i]], 0.001)
        forged = Rtp(96, False, ahead.seq, ahead.ts, ahead.ssrc, s.pub.unique(50))
        s.play([s.pub.rtx(forged)])
        w.run(0.1)
        assert w.drops()["duplicate"] + w.drops()["too_old"] > 0
        published = {e.payload for e in s.pub.sent[VIDEO]}
        assert all(set(v.payloads(VIDEO)) <= published for v in s.viewers)


@pytest.mark.parametrize("by", ["mid", "pt"])
def test_tracks_are_found_without_signalled_ssrcs(by: str) -> None:
    extensions = {3: MID_URI} if by == "mid" else {}
    with World() as w:
        viewer, _ = w.viewer()
        pub, peer = w.publisher(Setup(signals_ssrc=False, extensions=extensions))
        pub.muted = True
        w.run(0.01)
        mids = {AUDIO: b"a", VIDEO: b"v"}
        for i in range(10):
            for kind in (VIDEO, AUDIO):
                carried = ((3, mids[kind]),) if by == "mid" and i < 3 else ()
                payload = (b"\x65" if kind == VIDEO else b"") + pub.unique(100)
                ts = i * CLOCK[kind] // 50
                w.inject(peer, pub.packet(kind, payload, ts, w.now, extensions=carried))
            w.run(0.02)
        w.run(0.1)
        for kind in (AUDIO, VIDEO):
            assert_whole(viewer, pub, kind, from_first=True)


def test_a_stranger_ssrc_is_dropped_while_the_track_is_alive() -> None:
    with World() as w:
        s = Stage(w)
        s.play(s.frame())
        other = Rtp(96, False, 77, 0, 0xDEAD, s.pub.unique(80))
        s.play([s.pub.crypto.protect(other.pack())])
        nowhere = Rtp(55, False, 77, 0, 0xBEEF, s.pub.unique(80))
        s.play([s.pub.crypto.protect(nowhere.pack())])
        s.play(s.frame())
        s.assert_whole()
        assert w.drops()["unknown_ssrc"] == 2


def test_csrcs_and_extensions_of_the_media_go_through_those_of_the_leg_do_not() -> None:
    level, sending = (
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    )
    twcc = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    with World() as w:
        viewer, _ = w.viewer(
            ViewerSetup(mid=False, extensions=((level, 7), (sending, 8), (twcc, 9)))
        )
        pub, peer = w.publisher(Setup(extensions={1: level, 2: sending, 3: twcc, 4: MID_URI}))
        pub.muted = True
        w.run(0.01)
        carried = ((1, b"\x9b"), (2, b"abc"), (3, b"\0\1"), (4, b"a"))
        for i in range(5):
            data = pub.packet(
                AUDIO, pub.unique(20), i, w.now, extensions=carried, csrcs=(1, 2**32 - 1)
            )
            w.inject(peer, data)
            w.run(0.02)
        for p in viewer.in_order(AUDIO):
            assert p.extensions == ((7, b"\x9b"),)
            assert p.csrcs == (1, 2**32 - 1)


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


def protect(function: object, data: bytes) -> bytes | None:
    """None where libsrtp itself refuses such a packet."""
    from pylibsrtp import Error

    try:
        return function(data)  # type: ignore[operator,no-any-return]
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
    return [rr + nack, rr + fir, rr + remb, sr + sdes, rr + nack + fir + remb]


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


def test_media_before_the_keys_is_not_lost() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        pub, peer = w.publisher(with_keys=False)
        w.run(0.3)
        assert not viewer.numbers(VIDEO)
        w.keys(peer)
        w.run(0.3)
        w.rest(pub)
        assert_whole(viewer, pub, VIDEO, from_first=True)
        assert viewer.in_order(AUDIO)


def test_the_largest_packet_fits_and_a_larger_one_is_dropped() -> None:
    with World() as w:
        s = Stage(w)
        for size in (1300, 1400, 1500):
            s.play([s.pub.packet(VIDEO, b"\x41" + s.pub.unique(size), 9, w.now)])
        s.assert_whole()
        with pytest.raises(api.ForwarderError):
            w.inject(s.peer, bytes(1601))
        assert MS
