"""What the forwarder tells publishers (RR, REMB, NACK, PLI) and how much viewers can make it do."""

from __future__ import annotations

import itertools

import pytest
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    unpack_remb_fci,
)

from tests.pipeline.checks import assert_whole
from tests.pipeline.netem import MS, SECOND, Conditions
from tests.pipeline.publisher import AUDIO, VIDEO, Publisher, Setup
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import World


def of_type(publisher: Publisher, kind: type) -> list[tuple[int, list]]:  # type: ignore[type-arg]
    found = [(at, [p for p in packets if isinstance(p, kind)]) for at, packets in publisher.heard]
    return [(at, packets) for at, packets in found if packets]


@pytest.mark.parametrize("reduced", [True, False])
@pytest.mark.duty("R2", "R3")
def test_what_a_publisher_is_told_is_well_formed(reduced: bool) -> None:
    with World(seed=6, remb_bps=3_000_000) as w:
        viewer, _ = w.viewer()
        pub, peer = w.publisher(
            Setup(reduced_size=reduced), up=Conditions(delay_ms=10, jitter_ms=2, loss=0.05)
        )
        w.run(6)
        viewer.pli()
        w.run(1)
        w.settle(pub)
        reports = of_type(pub, RtcpRrPacket)
        with_blocks = [(at, rrs[0]) for at, rrs in reports if rrs[0].reports]
        times = [at for at, _ in with_blocks]
        assert 6 <= len(times) <= 9
        assert all(b - a >= SECOND for a, b in itertools.pairwise(times))
        for _, rr in with_blocks[1:]:
            assert rr.ssrc == 4242
            assert {b.ssrc for b in rr.reports} == set(pub.ssrc.values())
        last = {b.ssrc: b for b in with_blocks[-1][1].reports}[pub.ssrc[VIDEO]]
        assert last.highest_sequence & 0xFFFF == (pub.seq[VIDEO] - 1) & 0xFFFF
        assert 30 < last.packets_lost < peer.up.lost + 5
        assert 0 < last.jitter < 90000 // 100
        assert last.lsr
        assert 0 < last.dlsr < 2 << 16
        # REMB comes with every report, the first of them with the first packet.
        rembs = [
            (at, p)
            for at, packets in pub.heard
            for p in packets
            if isinstance(p, RtcpPsfbPacket) and p.fmt == RTCP_PSFB_APP
        ]
        assert [at for at, _ in rembs] == times
        assert rembs[0][0] <= pub.sent[VIDEO][0].at + 40 * MS
        bps, ssrcs = unpack_remb_fci(rembs[-1][1].fci)
        assert 2_900_000 <= bps <= 3_000_000
        assert ssrcs == [pub.ssrc[VIDEO]]
        # Feedback begins with a report where that is due (RFC 5506), and is alone where it is not.
        assert pub.nacks
        head = [] if reduced else [RtcpRrPacket, RtcpSdesPacket]
        for _, packets in pub.heard:
            kinds = [type(p) for p in packets]
            if any(isinstance(p, RtcpRtpfbPacket) for p in packets):
                assert kinds == [*head, RtcpRtpfbPacket]
            elif any(isinstance(p, RtcpPsfbPacket) and p.fmt == RTCP_PSFB_PLI for p in packets):
                assert kinds == [*head, RtcpPsfbPacket]
            else:
                assert [type(p) for p in packets[:2]] == [RtcpRrPacket, RtcpSdesPacket]


def test_no_nack_to_a_publisher_that_did_not_negotiate_it() -> None:
    with World(seed=6) as w:
        pub, _ = w.publisher(Setup(nack=False), up=Conditions(loss=0.05))
        w.viewer()
        w.run(3)
        assert not pub.nacks
        assert w.track(VIDEO)["lost"] > 10
        assert 1 <= len(pub.plis) <= 2 * 3 + 1  # what cannot be repaired asks for a key frame


def test_plis_of_a_hundred_viewers_are_merged() -> None:
    with World() as w:
        viewers = [w.viewer(ViewerSetup(has_audio=False))[0] for _ in range(100)]
        pub, _ = w.publisher(Setup(gop=10_000, packets_a_frame=2, answers_pli=False))
        w.run(2)
        before = len(pub.plis)
        start = w.now
        for _ in range(30):  # for three seconds everybody asks ten times a second
            for viewer in viewers:
                viewer.pli()
            w.run(0.1, step_ms=10)
        asked = [at for at in pub.plis if at >= start]
        assert len(pub.plis) - before == len(asked)
        assert 5 <= len(asked) <= 7
        assert all(b - a >= 500 * MS for a, b in itertools.pairwise(asked))
        assert w.track(VIDEO)["keyframe_requests_sent"] == len(pub.plis)


def test_a_key_frame_that_came_ends_the_wishes_for_it() -> None:
    with World() as w:
        one, _ = w.viewer()
        two, _ = w.viewer()
        pub, _ = w.publisher(Setup(gop=10_000))
        w.run(2)
        before = len(pub.plis)
        one.pli()
        w.run(0.01)
        two.pli()  # while the first wish is on its way
        w.run(2)
        assert len(pub.plis) - before == 1


def test_a_viewer_that_has_just_started_is_not_believed_yet() -> None:
    """What it asks for within 300 ms of its burst crossed the burst; later ones are meant."""
    with World() as w:
        pub, _ = w.publisher(Setup(gop=10_000))
        w.run(1)
        before = len(pub.plis)
        viewer, peer = w.viewer()
        w.run(0.2)
        viewer.pli()
        w.run(0.2)
        assert len(pub.plis) == before
        viewer.pli()
        w.run(0.1)
        assert len(pub.plis) == before + 1
        assert w.forwarder.peer_stats(peer.handle)["tracks"]["video"]["plis"] == 2


@pytest.mark.parametrize("rtx", [True, False])
def test_a_viewer_that_asks_for_everything_gets_a_bounded_amount(rtx: bool) -> None:
    with World() as w:
        greedy, peer = w.viewer(ViewerSetup(rtx=rtx, nack=True))
        modest, _ = w.viewer()
        pub, _ = w.publisher(Setup(packet_size=1000))
        w.run(1)
        for _ in range(200):
            for kind in (AUDIO, VIDEO):
                greedy.nack(kind, greedy.numbers(kind)[-300:])
            w.run(0.02)
        w.rest(pub)
        stats = w.forwarder.peer_stats(peer.handle)["tracks"]
        sent = sum(t["bytes"] for t in stats.values())
        again = sum(t["resent_bytes"] for t in stats.values())
        assert stats["video"]["nacks"] > 40_000
        # 10 % of the rate or 30 kB/s, and the room for a burst; first tries at a quarter.
        assert again < 4 * (max(0.1 * sent, 5 * 30_000) + 470_000)
        assert w.drops()["nack_budget"] > 0
        assert_whole(greedy, pub, VIDEO)
        assert_whole(modest, pub, VIDEO)


@pytest.mark.parametrize("rtx", [True, False])
def test_needless_nacks_do_not_starve_the_needed_ones(rtx: bool) -> None:
    """A link that reorders, and a viewer that asks at once: most of what it wants is only late."""
    link = Conditions(delay_ms=10, loss=0.05, reorder=0.4, reorder_ms=4)
    with World(seed=12) as w:
        viewer, peer = w.viewer(
            ViewerSetup(rtx=rtx, nack_after_ms=1, nack_again_ms=30), up=link, down=link
        )
        pub, _ = w.publisher(Setup(packets_a_frame=10, packet_size=1000))
        w.run(8)
        w.settle(pub)
        stats = w.forwarder.peer_stats(peer.handle)["tracks"]["video"]
        assert stats["resent"] > 0.25 * stats["packets"]
        assert not w.drops()["nack_budget"]
        assert_whole(viewer, pub, VIDEO)


def test_one_packet_is_sent_again_six_times_at_most() -> None:
    with World() as w:
        viewer, peer = w.viewer()
        w.publisher()
        w.run(1)
        number = viewer.numbers(VIDEO)[-5]
        for _ in range(50):
            viewer.nack(VIDEO, [number])
            w.run(0.1)
        assert w.forwarder.peer_stats(peer.handle)["tracks"]["video"]["resent"] == 6


def test_a_nack_for_what_was_never_sent_gets_nothing() -> None:
    with World() as w:
        viewer, peer = w.viewer()
        w.publisher()
        w.run(1)
        numbers = viewer.numbers(VIDEO)
        viewer.nack(VIDEO, [numbers[0] - 3, numbers[0] - 1, numbers[-1] + 60])
        w.run(0.1)
        assert w.drops()["nack_unknown"] == 3
        assert w.forwarder.peer_stats(peer.handle)["tracks"]["video"]["resent"] == 0


def test_reports_give_round_trip_and_loss() -> None:
    with World() as w:
        link = Conditions(delay_ms=30)
        _, peer = w.viewer(up=link, down=link)
        w.publisher()
        w.run(4)
        rtt = w.forwarder.peer_stats(peer.handle)["rtt_ns"]
        assert 59 * MS < rtt < 64 * MS


@pytest.mark.parametrize("bye", [True, False])
def test_a_viewer_that_is_closed_hears_a_bye(bye: bool) -> None:
    with World() as w:
        viewer, peer = w.viewer()
        w.publisher()
        w.run(1)
        w.leave(peer, bye=bye)
        w.run(0.1)
        assert len(viewer.byes) == bye
        if bye:
            assert isinstance(viewer.byes[0], RtcpByePacket)
            assert set(viewer.byes[0].sources) == set(viewer.ssrc.values())
