"""Parameter sets that change under viewers who watch (H4, H5, H8): each key frame that a viewer
gets must stand behind the sets that it was coded with, whatever the viewer had before. Judged by a
model of a decoder that knows the newest sets of each kind and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from rtcfwd.forwarder import api
from tests.pipeline.leg import Rtp
from tests.pipeline.publisher import PPS, SPS, VIDEO, Publisher, Setup
from tests.pipeline.stage import Stage
from tests.pipeline.viewer import VIDEO_PT, Viewer, ViewerSetup
from tests.pipeline.world import Peer, World

SPS2 = bytes.fromhex("674d401fda014016e9b808080a")
PPS2 = bytes.fromhex("68ee3c80")
PPS_1 = bytes.fromhex("68533c80")  # number 1, of SPS 0
VPS = bytes.fromhex("40010c01ffff01600000")
HEVC_SPS = bytes.fromhex("42010101600000030090000003000003003fa0050201")
HEVC_PPS = bytes.fromhex("4401c172")
HEVC_IDR, HEVC_TRAIL = b"\x26\x01", b"\x02\x01"


def units(payload: bytes) -> list[bytes]:
    """The whole NAL units of an H264 payload; of an FU-A's first part, what it begins."""
    if payload[0] & 31 == 24:
        found, at = [], 1
        while at < len(payload):
            size = int.from_bytes(payload[at : at + 2], "big")
            found.append(payload[at + 2 : at + 2 + size])
            at += 2 + size
        return found
    if payload[0] & 31 == 28:
        return [bytes([payload[0] & 0xE0 | payload[1] & 31])] if payload[1] & 0x80 else []
    return [payload]


def decoded_with(packets: list[Rtp]) -> list[tuple[bytes | None, bytes | None]]:
    """The SPS and PPS that a decoder holds at each IDR picture, in the order of numbers."""
    sps = pps = None
    found: list[tuple[bytes | None, bytes | None]] = []
    for unit in (u for p in packets for u in units(p.payload)):
        kind = unit[0] & 31
        if kind == 7:
            pps = pps if unit == sps else None  # a decoder drops those of another sequence
            sps = unit
        elif kind == 8:
            pps = unit
        elif kind == 5:
            found.append((sps, pps))
    return found


def watch(w: World, *, nack: bool = True) -> tuple[Stage, list[Viewer]]:
    stage = Stage(w, Setup(has_audio=False, answers_pli=False, nack=nack))
    stage.play(stage.frame())
    return stage, stage.viewers


def picture(stage: Stage, *nals: bytes, ts: int) -> list[bytes]:
    """An access unit, a NAL unit a packet."""
    pub, now = stage.pub, stage.w.now
    last = len(nals) - 1
    return [pub.packet(VIDEO, n, ts, now, marker=i == last) for i, n in enumerate(nals)]


def idr(stage: Stage) -> bytes:
    return b"\x65\x88" + stage.pub.unique(90)


def assert_decoded(viewers: Iterable[Viewer], sets: tuple[bytes, ...]) -> None:
    """Each has decoded its last key frame with these sets, and misses nothing."""
    for viewer in viewers:
        assert decoded_with(viewer.in_order(VIDEO))[-1] == sets
        assert viewer.holes(VIDEO) == 0


@pytest.mark.duty("H5", "H8")
def test_watchers_get_sets_that_only_the_next_publishers_offer_tells() -> None:
    """Another publisher with other sets, in its SDP alone: before its first key frame and before
    each later one."""
    with World() as w:
        viewer, _ = w.viewer()
        one, peer = w.publisher(Setup(has_audio=False, gop=15))
        w.run(0.7)
        w.rest(one)
        w.leave(peer)
        before = len(decoded_with(viewer.in_order(VIDEO)))
        two, _ = w.publisher(Setup(has_audio=False, gop=15, sets="offered", sps=SPS2, pps=PPS2))
        w.run(1)
        w.rest(two)
        held = decoded_with(viewer.in_order(VIDEO))
        keys = sum(s.key_start for s in two.sent[VIDEO])
        assert before >= 1
        assert keys >= 2
        assert held == [(SPS, PPS)] * before + [(SPS2, PPS2)] * keys
        assert viewer.holes(VIDEO) == 0


@pytest.mark.duty("H5", "H8")
def test_a_lost_first_packet_does_not_cost_the_offers_sets() -> None:
    """The next publisher's first key frame comes after a hole: the sets of its offer are the only
    ones there are, and stand before it."""
    with World() as w:
        viewer, _ = w.viewer()
        one, peer = w.publisher(Setup(has_audio=False))
        w.run(0.3)
        w.rest(one)
        w.leave(peer)
        before = len(decoded_with(viewer.in_order(VIDEO)))
        two, its = w.publisher(Setup(has_audio=False, sets="offered", sps=SPS2, pps=PPS2))
        two.muted = True
        w.run(0.01)
        ts = two.rtp_time(VIDEO, w.now)
        w.inject(its, two.packet(VIDEO, b"\x41\x9a" + two.unique(80), ts, w.now, marker=True))
        two.packet(VIDEO, b"\x06\x05\x01\x00", ts + 3000, w.now)  # is lost
        key = two.packet(VIDEO, b"\x65\x88" + two.unique(90), ts + 3000, w.now, marker=True)
        w.inject(its, key)
        w.run(0.05)
        assert decoded_with(viewer.in_order(VIDEO))[before:] == [(SPS2, PPS2)]


@pytest.mark.duty("H5", "H8")
@pytest.mark.parametrize("swapped", [False, True])
def test_sets_out_of_step_stand_before_their_key_frame(swapped: bool) -> None:
    """New sets come in an access unit of their own, in either order; the key frame follows
    without. Watchers and a late viewer decode it with the new ones."""
    with World() as w:
        stage, viewers = watch(w)
        ts = stage.pub.rtp_time(VIDEO, w.now)
        sets = (PPS2, SPS2) if swapped else (SPS2, PPS2)
        stage.play(picture(stage, *sets, ts=ts + 3000))
        stage.play(picture(stage, idr(stage), ts=ts + 6000))
        late, _ = w.viewer()
        w.run(0.1)
        assert_decoded((*viewers, late), (SPS2, PPS2))


@pytest.mark.duty("H5", "H8")
def test_a_pps_that_was_sent_once_is_added_behind_an_sps() -> None:
    """A publisher that repeats its SPS alone: whoever begins there gets the PPS too."""
    with World() as w:
        stage, viewers = watch(w)
        ts = stage.pub.rtp_time(VIDEO, w.now)
        stage.play(picture(stage, SPS, idr(stage), ts=ts + 3000))
        late, _ = w.viewer()
        w.run(0.1)
        packets = late.in_order(VIDEO)
        assert [p.payload for p in packets[:2]] == [SPS, PPS]
        assert_decoded((*viewers, late), (SPS, PPS))


@pytest.mark.duty("H5", "H8")
def test_older_sets_that_come_late_do_not_win() -> None:
    """The network lets a new SPS and PPS overtake the old ones; the next bare key frame stands
    behind the new ones, by the publisher's order."""
    with World() as w:
        stage, viewers = watch(w)
        ts = stage.pub.rtp_time(VIDEO, w.now)
        old = picture(stage, SPS, PPS, ts=ts + 3000)
        new = picture(stage, SPS2, PPS2, ts=ts + 6000)
        stage.play(new)
        stage.play(old)
        stage.play(picture(stage, idr(stage), ts=ts + 9000))
        late, _ = w.viewer()
        w.run(0.1)
        assert_decoded((*viewers, late), (SPS2, PPS2))


@pytest.mark.duty("H5", "H8")
def test_sets_that_their_key_frame_overtook_make_another_be_asked_for() -> None:
    """A publisher that usually sends none: known sets were put before the key frame when the new
    ones come, too late. Another key frame is asked for, and has the new ones."""
    with World() as w:
        stage, viewers = watch(w, nack=False)
        pub = stage.pub
        ts = pub.rtp_time(VIDEO, w.now)
        stage.play(picture(stage, idr(stage), ts=ts + 3000))  # bare
        late = picture(stage, SPS2, PPS2, ts=ts + 6000)
        stage.play(picture(stage, idr(stage), ts=ts + 6000))
        w.run(0.6)
        asked = len(pub.plis)
        stage.play(late)
        w.run(10)  # key frames have a budget
        assert len(pub.plis) > asked
        stage.play(picture(stage, idr(stage), ts=ts + 90000))
        w.run(0.1)
        for viewer in viewers:
            assert decoded_with(viewer.in_order(VIDEO))[-1] == (SPS2, PPS2)
            assert viewer.holes(VIDEO) == 0


@pytest.mark.duty("H8")
def test_more_than_one_pps_and_numbers_that_move_on() -> None:
    """All PPSs of the SPS are given; of many numbers the newest four."""
    with World() as w:
        stage, _ = watch(w)
        ts = stage.pub.rtp_time(VIDEO, w.now)
        stage.play(picture(stage, SPS, PPS, PPS_1, ts=ts + 3000))
        stage.play(picture(stage, idr(stage), ts=ts + 6000))
        late, _ = w.viewer()
        w.run(0.05)
        assert [p.payload for p in late.in_order(VIDEO)[:3]] == [SPS, PPS, PPS_1]
        # ue(v) of 2 to 5, SPS 0, and the rest of a PPS
        more = [bytes.fromhex(h) for h in ("68773c80", "6824f03c", "682cf03c", "6834f03c")]
        stage.play(picture(stage, SPS, *more, ts=ts + 9000))
        stage.play(picture(stage, idr(stage), ts=ts + 12000))
        later, _ = w.viewer()
        w.run(0.05)
        first = [p.payload for p in later.in_order(VIDEO)[:5]]
        assert first[0] == SPS
        assert set(first[1:]) == set(more)


@pytest.mark.duty("H4", "H5", "H14")
@pytest.mark.parametrize("rtx", [True, False])
def test_another_payload_type_begins_with_sets_and_key_frame(rtx: bool) -> None:
    """The SPS makes a watcher's payload type change: under the new one its first packets are the
    newest sets and key frame, numbers go on, and nothing of before is sent again under it."""
    with World() as w:
        viewer, peer = w.viewer(ViewerSetup(rtx=rtx))
        pub, _ = w.publisher(Setup(has_audio=False, gop=15, answers_pli=False, sets="once"))
        w.run(0.8)
        before = viewer.in_order(VIDEO)
        w.forwarder.set_format(peer.handle, VIDEO, 0, 120, 121 if rtx else None)
        w.run(0.3)
        w.rest(pub)
        packets = viewer.in_order(VIDEO)
        assert {p.pt for p in before} == {VIDEO_PT}
        new = [p for p in packets if p.pt == 120]
        assert packets[-len(new) :] == new, "the old type ended where the new one began"
        assert [p.payload for p in new[:2]] == [SPS, PPS]
        assert units(new[2].payload)[0][0] & 31 == 5
        assert all(held == (SPS, PPS) for held in decoded_with(packets))
        assert viewer.holes(VIDEO) == 0
        asked = w.drops()["nack_unknown"]
        resent = w.forwarder.peer_stats(peer.handle)["tracks"]["video"]["resent"]
        viewer.nack(VIDEO, [before[-1].seq])
        w.run(0.05)
        assert w.drops()["nack_unknown"] == asked + 1
        viewer.nack(VIDEO, [new[-1].seq])
        w.run(0.05)
        again = w.forwarder.peer_stats(peer.handle)["tracks"]["video"]["resent"]
        assert again == resent + 1


# ---- H265 ----


def hevc(w: World, **more: object) -> tuple[Publisher, Peer]:
    setup = Setup(has_audio=False, codec=api.Codec.H265, answers_pli=False)
    pub, peer = w.publisher(replace(setup, **more))  # type: ignore[arg-type]
    pub.muted = True
    w.run(0.01)
    return pub, peer


def hevc_frames(w: World, pub: Publisher, peer: Peer, *frames: tuple[bytes, ...]) -> None:
    """Each frame's payloads, a packet each; 30 ms apart."""
    for nals in frames:
        ts = pub.rtp_time(VIDEO, w.now)
        for i, nal in enumerate(nals):
            last = i == len(nals) - 1
            w.inject(peer, pub.packet(VIDEO, nal, ts, w.now, marker=last))
        w.run(0.03)


def slice_of(pub: Publisher, head: bytes) -> bytes:
    return head + b"\xaf" + pub.unique(80)


def fragments(pub: Publisher, kind: int) -> tuple[bytes, ...]:
    """An FU of two parts (RFC 7798 section 4.4.3)."""
    return (
        b"\x62\x01" + bytes([0x80 | kind]) + pub.unique(60),
        b"\x62\x01" + bytes([0x40 | kind]) + pub.unique(60),
    )


@pytest.mark.duty("H7", "H8")
@pytest.mark.parametrize("aggregated", [False, True])
@pytest.mark.parametrize("irap", [16, 19, 20, 21])
def test_h265_sets_stand_before_every_random_access_picture(aggregated: bool, irap: int) -> None:
    """VPS, SPS and PPS that came once, single or in an AP, are put before each IRAP picture that
    lacks them, single or in FUs."""
    with World() as w:
        early, _ = w.viewer()
        pub, peer = hevc(w)
        sets: tuple[bytes, ...] = (VPS, HEVC_SPS, HEVC_PPS)
        if aggregated:
            sets = (b"\x60\x01" + b"".join(len(u).to_bytes(2, "big") + u for u in sets),)
        single, parts = slice_of(pub, bytes([irap << 1, 1])), fragments(pub, irap)
        trail = slice_of(pub, HEVC_TRAIL)
        hevc_frames(w, pub, peer, (*sets, slice_of(pub, HEVC_IDR)), (trail,), (single,), parts)
        late, _ = w.viewer()
        w.run(0.1)
        added = [VPS, HEVC_SPS, HEVC_PPS]
        assert late.payloads(VIDEO) == [*added, *parts]
        got = early.payloads(VIDEO)
        assert got[len(sets) + 1 :] == [trail, *added, single, *added, *parts]
        assert early.holes(VIDEO) == late.holes(VIDEO) == 0
        assert w.track(VIDEO)["parameters_added"] == 2


@pytest.mark.duty("H5", "H8")
def test_h265_sets_of_the_next_publishers_offer_reach_watchers() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        pub, peer = hevc(w)
        sets = (VPS, HEVC_SPS, HEVC_PPS)
        hevc_frames(w, pub, peer, (*sets, slice_of(pub, HEVC_IDR)))
        w.leave(peer)
        other = HEVC_SPS[:-1] + b"\x09"
        two, its = hevc(w, sets="offered", sps=other, pps=HEVC_PPS, vps=VPS)
        key = slice_of(two, HEVC_IDR)
        hevc_frames(w, two, its, (key,))
        w.run(0.05)
        assert viewer.payloads(VIDEO)[-4:] == [VPS, other, HEVC_PPS, key]


@pytest.mark.duty("H8")
def test_an_h265_vps_alone_is_followed_by_what_refers_to_it() -> None:
    """One set that lacks brings all that refer to it: an SPS in the stream whose VPS came once."""
    with World() as w:
        viewer, _ = w.viewer()
        pub, peer = hevc(w)
        key, again = slice_of(pub, HEVC_IDR), slice_of(pub, HEVC_IDR)
        hevc_frames(w, pub, peer, (VPS, HEVC_SPS, HEVC_PPS, key), (HEVC_SPS, HEVC_PPS, again))
        w.run(0.05)
        assert viewer.payloads(VIDEO)[-4:] == [VPS, HEVC_SPS, HEVC_PPS, again]
