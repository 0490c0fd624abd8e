"""A publisher that comes back with another codec: the payload type changes on the same SSRC at a
key frame; a viewer without a payload type for it waits, and goes on when its own codec is back."""

from __future__ import annotations

import pytest

from rtcfwd.forwarder import api
from tests.pipeline.publisher import VIDEO, Publisher, Setup
from tests.pipeline.viewer import RTX_PT, VIDEO_PT, ViewerSetup
from tests.pipeline.world import World

VP8_KEY = b"\x90\x80\x01\x10\x00\x00\x9d\x01\x2a"  # S, partition 0, PictureID; P = 0
VP8_INTER = b"\x90\x80\x02\x11"


def vp8(w: World) -> tuple[Publisher, list[bytes]]:
    """Twenty VP8 frames of one packet."""
    pub, peer = w.publisher(Setup(codec=api.Codec.VP8, format=1, video_pt=120, has_audio=False))
    pub.muted = True
    w.run(0.01)
    for i in range(20):
        payload = (VP8_INTER if i else VP8_KEY) + pub.unique(60)
        ts = pub.rtp_time(VIDEO, w.now)
        w.inject(peer, pub.packet(VIDEO, payload, ts, w.now, marker=True, key_start=not i))
        w.run(0.03)
    w.leave(peer)
    w.run(0.05)
    return pub, [s.payload for s in pub.sent[VIDEO]]


def test_the_payload_type_changes_for_those_who_have_one() -> None:
    with World() as w:
        both = w.viewer(ViewerSetup(formats=(0, 1)))[0]
        plain = w.viewer(ViewerSetup(formats=(0, 1), rtx=False))[0]
        only, its = w.viewer(ViewerSetup(formats=(0,)))
        one, peer = w.publisher()
        w.run(0.5)
        w.rest(one)
        w.leave(peer)
        w.run(0.2)
        _, second = vp8(w)
        three, _ = w.publisher()
        w.run(0.5)
        w.rest(three)
        first, third = ([s.payload for s in p.sent[VIDEO]] for p in (one, three))
        for viewer in (both, plain):
            assert viewer.holes(VIDEO) == 0
            assert viewer.payloads(VIDEO) == first + second + third
            pts = [p.pt for p in viewer.in_order(VIDEO)]
            assert pts == (
                [VIDEO_PT] * len(first) + [VIDEO_PT + 2] * len(second) + [VIDEO_PT] * len(third)
            )
        assert only.holes(VIDEO) == 0
        assert only.payloads(VIDEO) == first + third
        assert w.drops()["viewer_no_format"] == len(second)
        stats = w.forwarder.peer_stats(its.handle)["tracks"]["video"]
        assert stats["skipped"] == len(second)


@pytest.mark.parametrize("rtx", [True, False])
def test_a_full_socket_at_a_change_of_codec_loses_nothing(rtx: bool) -> None:
    """The last packets of the old codec come back to their cursor; the next one is passed over."""
    with World() as w:
        legs = [w.viewer(ViewerSetup(rtx=rtx, nack=False)) for _ in range(30)]
        one, peer = w.publisher(Setup(packets_a_frame=276, packet_size=60, has_audio=False))
        w.run(0.02)
        w.rest(one, 0.05)
        take, w.take = w.take, lambda: None  # type: ignore[method-assign]
        for data in one.frame_packets(w.now, key=False):  # 30 times 276 are 88 more than fit
            w.inject(peer, data)
        w.turn()
        assert w.drops()["send_again"] > 0
        w.leave(peer)
        vp8(w)
        for _ in range(20):  # a few at a time: many viewers stand at the change
            take(13)
            w.turn()
        w.take = take  # type: ignore[method-assign]
        w.run(0.2)
        for viewer, _ in legs:
            assert viewer.holes(VIDEO) == 0
            assert viewer.payloads(VIDEO) == [s.payload for s in one.sent[VIDEO]]


def test_a_format_may_be_added_later_and_resends_use_the_type_of_their_time() -> None:
    with World() as w:
        viewer, peer = w.viewer()
        one, pub_peer = w.publisher()
        w.run(0.3)
        w.rest(one)
        w.leave(pub_peer)
        w.forwarder.set_format(peer.handle, VIDEO, 1, VIDEO_PT + 2, RTX_PT + 2)
        w.run(0.01)
        _, second = vp8(w)
        seen = viewer.in_order(VIDEO)
        assert [p.payload for p in seen[-len(second) :]] == second
        assert {p.pt for p in seen[-len(second) :]} == {VIDEO_PT + 2}
        viewer.nack(VIDEO, viewer.numbers(VIDEO)[-60:])
        w.run(0.1)  # the viewer compares each resend with the first
        assert viewer.by_rtx == 60


def test_a_late_joiner_without_the_codec_waits_quietly() -> None:
    with World() as w:
        w.viewer(ViewerSetup(formats=(0, 1)))
        pub, _ = w.publisher(Setup(format=1))
        w.run(0.5)
        viewer, peer = w.viewer(ViewerSetup(formats=(0,)))
        w.run(1)
        assert not viewer.got[VIDEO]
        assert viewer.srs == [] or all(p.ssrc != viewer.ssrc[VIDEO] for _, p in viewer.srs)
        assert len(pub.plis) <= 3
        assert w.forwarder.peer_stats(peer.handle)["tracks"]["video"]["lag"] == 0
