"""H264's parameter sets, B slices, and late starts of key frames (H7, H8, H10, H11)."""

from __future__ import annotations

import pytest

from rtcfwd.forwarder import api
from tests.pipeline.leg import Rtp
from tests.pipeline.publisher import AUDIO, PPS, SPS, VIDEO, Publisher, Setup
from tests.pipeline.stage import Stage
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import World


def split(packets: list[Rtp]) -> tuple[list[bytes], list[bytes]]:
    """The payloads of the publisher's own packets, and those that were put in."""
    added = [p.payload for p in packets if p.payload in (SPS, PPS)]
    return [p.payload for p in packets if p.payload not in (SPS, PPS)], added


def published(pub: Publisher) -> list[bytes]:
    return [s.payload for s in pub.sent[VIDEO]]


@pytest.mark.duty("H7", "H8")
def test_sets_sent_once_stand_before_every_later_key_frame() -> None:
    """An early viewer and a late one get SPS and PPS before each key frame that lacks them, in
    packets of their own with its timestamp, without a hole in the numbers."""
    with World() as w:
        early, _ = w.viewer()
        pub, _ = w.publisher(Setup(has_audio=False, gop=15, sets="once", answers_pli=False))
        w.run(1.2)
        late, _ = w.viewer()
        w.run(0.7)
        w.rest(pub)
        keys = [s for s in pub.sent[VIDEO] if s.key_start]
        assert len(keys) == 4
        own, added = split(early.in_order(VIDEO))
        assert own == published(pub)
        assert added == [SPS, PPS] * 3
        own, added = split(late.in_order(VIDEO))
        assert own == published(pub)[-len(own) :]
        assert added == [SPS, PPS] * 2
        for viewer in (early, late):
            assert viewer.holes(VIDEO) == 0
            packets = viewer.in_order(VIDEO)
            for at, packet in enumerate(packets):
                if packet.payload == SPS:
                    assert packets[at + 1].payload == PPS
                    assert {p.ts for p in packets[at : at + 3]} == {packet.ts}
                    assert not packet.marker
                    assert not packets[at + 1].marker
                    assert packets[at + 2].payload[1] == 0x85, "the IDR picture's first part"
        assert late.in_order(VIDEO)[0].payload == SPS
        figures = w.track(VIDEO)
        assert figures["parameters_added"] == 3
        assert figures["parameters_missing"] == 0


@pytest.mark.duty("H8")
def test_sets_of_the_offer_stand_in() -> None:
    """sprop-parameter-sets alone: already the first key frame can be decoded."""
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher(Setup(has_audio=False, gop=15, sets="offered"))
        w.run(1)
        w.rest(pub)
        own, added = split(viewer.in_order(VIDEO))
        assert viewer.in_order(VIDEO)[0].payload == SPS
        assert own == published(pub)
        assert added == [SPS, PPS] * sum(s.key_start for s in pub.sent[VIDEO])
        assert viewer.holes(VIDEO) == 0


@pytest.mark.duty("H8")
def test_sets_with_every_key_frame_are_left_alone() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher(Setup(has_audio=False, gop=15))
        w.run(1)
        w.rest(pub)
        assert viewer.payloads(VIDEO) == published(pub)
        assert w.track(VIDEO)["parameters_added"] == 0


def test_key_frames_that_nobody_can_decode_are_counted() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher(Setup(has_audio=False, gop=15, sets="never"))
        w.run(0.9)
        w.rest(pub)
        assert viewer.payloads(VIDEO) == published(pub), "passed on all the same"
        keys = sum(s.key_start for s in pub.sent[VIDEO])
        assert keys >= 2
        assert w.track(VIDEO)["parameters_missing"] == keys


@pytest.mark.duty("H8")
@pytest.mark.parametrize("rtx", [True, False])
def test_added_sets_are_repaired_like_any_packet(rtx: bool) -> None:
    """A NACK for the numbers that the sets were given is answered with the sets."""
    with World() as w:
        pub, _ = w.publisher(Setup(has_audio=False, gop=15, sets="offered"))
        viewer, _ = w.viewer(ViewerSetup(rtx=rtx))
        w.run(0.3)
        first, second = viewer.in_order(VIDEO)[:2]
        before = len(viewer.in_order(VIDEO))
        viewer.nack(VIDEO, [first.seq, second.seq])
        w.rest(pub)
        assert (first.payload, second.payload) == (SPS, PPS)
        assert before > 2
        figures = w.forwarder.peer_stats(w.peers[1].handle)["tracks"]["video"]
        assert figures["resent"] == 2


@pytest.mark.duty("H7")
def test_a_key_frame_whose_start_comes_late_is_a_start() -> None:
    """The packet that shows the key frame arrives after two more frames: the next viewer begins
    at that frame all the same."""
    with World() as w:
        stage = Stage(w, Setup(has_audio=False, answers_pli=False))
        pub = stage.pub
        for _ in range(3):
            stage.play(stage.frame())
        key = pub.frame_packets(w.now, key=True)
        shown, rest = key[0], key[1:]
        start = next(s for s in reversed(pub.sent[VIDEO]) if s.key_start)
        # Its slice shows itself too; both are late.
        stage.play(rest[1:])
        stage.play(stage.frame())
        stage.play(stage.frame())
        viewer, _ = w.viewer()
        w.run(0.02)
        early = len(viewer.in_order(VIDEO))
        stage.play([shown, rest[0]])
        late, _ = w.viewer()
        w.run(0.1)
        stage.play(stage.frame())
        packets = late.in_order(VIDEO)
        assert packets[0].payload == start.payload
        at = published(pub).index(start.payload)
        assert [p.payload for p in packets] == published(pub)[at:]
        assert late.holes(VIDEO) == 0
        assert early >= 0


@pytest.mark.duty("H10")
@pytest.mark.parametrize("indicator", [0x18, 0x78])
def test_an_aggregate_counts_by_what_is_in_it(indicator: int) -> None:
    """FFmpeg's STAP-A has NRI 0: it starts a viewer like one that says 3."""
    with World() as w:
        stage = Stage(w, Setup(has_audio=False))
        pub = stage.pub
        units = b"".join(len(u).to_bytes(2, "big") + u for u in (SPS, PPS, b"\x65\x88\x84\x00"))
        ts = pub.rtp_time(VIDEO, w.now)
        keys = w.track(VIDEO)["keyframes"]
        stage.play([pub.packet(VIDEO, bytes([indicator]) + units, ts + 9000, w.now, marker=True)])
        assert w.track(VIDEO)["keyframes"] == keys + 1
        late, _ = w.viewer()
        w.run(0.05)
        assert late.in_order(VIDEO)[0].payload == bytes([indicator]) + units


@pytest.mark.duty("H11")
def test_b_frames_pass_and_are_counted() -> None:
    """Timestamps go backwards in the order of sending; every packet comes through, and the slices
    are counted as B slices."""
    with World() as w:
        stage = Stage(w, Setup(has_audio=False))
        pub, viewer = stage.pub, stage.viewers[0]
        ts = pub.rtp_time(VIDEO, w.now)
        for i in range(6):
            p = pub.packet(VIDEO, b"\x41\x9a" + pub.unique(90), ts + 9000 * i + 6000, w.now,
                           marker=True)  # fmt: skip
            b = pub.packet(VIDEO, b"\x01\x9e" + pub.unique(90), ts + 9000 * i + 3000, w.now,
                           marker=True)  # fmt: skip
            stage.play([p, b])
        w.run(0.1)
        assert viewer.payloads(VIDEO) == published(pub)
        assert viewer.holes(VIDEO) == 0
        assert w.track(VIDEO)["b_frames"] >= 6
        assert w.track(AUDIO)["b_frames"] == 0


def test_a_new_publication_counts_from_the_start() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        pub, peer = w.publisher(Setup(has_audio=False, gop=15, sets="never"))
        w.run(0.5)
        w.rest(pub)
        assert w.track(VIDEO)["parameters_missing"] > 0
        w.leave(peer)
        again, _ = w.publisher(Setup(has_audio=False))
        w.run(0.5)
        w.rest(again)
        assert w.track(VIDEO)["parameters_missing"] == 0
        assert viewer.holes(VIDEO) == 0


def test_bad_sets_are_refused_at_the_boundary() -> None:
    with World() as w:
        stream = w.forwarder.open_stream()
        peer = w.forwarder.open_peer(stream, api.Role.PUBLISHER)
        fmt = api.PublishedFormat(96, api.Codec.H264, 0)
        track = api.PublishedTrack(VIDEO, 90000, "v", [fmt], parameter_sets=[bytes(2000)])
        with pytest.raises(ValueError, match="parameter_sets"):
            w.forwarder.publish(peer, api.Publication([track], {}, 1, "x"))
        track = api.PublishedTrack(VIDEO, 90000, "v", [fmt], rids=["a", "b", "c", "d", "e"])
        with pytest.raises(ValueError, match="rids"):
            w.forwarder.publish(peer, api.Publication([track], {}, 1, "x"))
        audio = api.PublishedTrack(AUDIO, 8000, "a", [fmt], rids=["a", "b"])
        with pytest.raises(ValueError, match="rids"):
            w.forwarder.publish(peer, api.Publication([audio], {}, 1, "x"))
