"""Where a viewer begins: at the newest key frame in the log, with its original clock, paced; with a
poster where the backlog is too long; and where it goes on when it fell behind."""

from __future__ import annotations

import pytest

from tests.pipeline.checks import assert_whole
from tests.pipeline.netem import MS, SECOND, Conditions
from tests.pipeline.publisher import AUDIO, VIDEO, Publisher, Setup
from tests.pipeline.viewer import Viewer, ViewerSetup
from tests.pipeline.world import World

DELAY_URI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"


def frames_of(viewer: Viewer, publisher: Publisher) -> list[list[bytes]]:
    """The viewer's video packets in order, cut where the publisher's ledger does not go on."""
    index = {s.payload: i for i, s in enumerate(publisher.sent[VIDEO])}
    runs: list[list[bytes]] = []
    last = None
    for payload in viewer.payloads(VIDEO):
        if last is None or index[payload] != last + 1:
            runs.append([])
        runs[-1].append(payload)
        last = index[payload]
    return runs


@pytest.mark.parametrize("rtx", [True, False])
@pytest.mark.duty("H7", "H9")
def test_a_late_joiner_starts_at_the_key_frame_in_the_log(rtx: bool) -> None:
    with World(start_pace_bps=30_000_000) as w:
        pub, _ = w.publisher(Setup(gop=90, packets_a_frame=10, packet_size=1000, answers_pli=False))
        w.run(2.5)
        backlog = list(pub.sent[VIDEO])
        joined = w.now
        viewer, peer = w.viewer(ViewerSetup(rtx=rtx))
        w.run(2)
        w.rest(pub)
        part = assert_whole(viewer, pub, VIDEO)
        assert part[0] is backlog[0]
        assert part[0].key_start
        # Paced: 750 kB at 30 Mbit/s are 200 ms; neither at once nor by the publisher's clock.
        size = sum(len(s.payload) for s in backlog)
        last = viewer.arrived[VIDEO][len(backlog) - 1][0]
        ideal = size * 8 * SECOND // 30_000_000
        assert 0.8 * ideal < last - joined < 1.6 * ideal
        # Audio is at the live edge from the first packet on, and does not wait for the burst.
        assert viewer.arrived[AUDIO][0][0] - joined < 40 * MS
        assert assert_whole(viewer, pub, AUDIO)[0].at >= joined
        assert not pub.plis
        assert w.forwarder.peer_stats(peer.handle)["tracks"]["video"]["lag"] == 0


@pytest.mark.parametrize("rtx", [True, False])
@pytest.mark.parametrize(("mbit", "loss"), [(20, 0.05), (20, 0.0), (10, 0.0)])
def test_a_start_over_a_slow_link_is_repaired_from_the_log(
    mbit: int, loss: float, rtx: bool
) -> None:
    """The burst is faster than the link, and slows down: what its queue drops comes again within a
    second."""
    link = Conditions(delay_ms=20, loss=loss, rate_bps=mbit * 1_000_000, queue_bytes=100_000)
    with World(seed=4) as w:
        pub, _ = w.publisher(Setup(gop=90, packets_a_frame=mbit // 2, packet_size=1000))
        w.run(2)
        viewer, peer = w.viewer(ViewerSetup(rtx=rtx, nack_again_ms=60), down=link)
        w.run(0.9)
        burst = [n for n in viewer.numbers(VIDEO) if n < viewer.numbers(VIDEO)[0] + 300]
        assert peer.down.lost > 20
        assert len(burst) == 300
        w.settle(pub)
        assert_whole(viewer, pub, VIDEO, from_first=True)


def test_many_join_at_once_and_each_gets_the_whole() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(gop=300))
        w.run(1.5)
        viewers = [w.viewer(ViewerSetup(rtx=i % 2 == 0))[0] for i in range(30)]
        w.run(1)
        w.rest(pub)
        for viewer in viewers:
            assert_whole(viewer, pub, VIDEO, from_first=True)


@pytest.mark.parametrize("limit", [{"start_max_bytes": 100_000}, {"start_max_ns": SECOND}])
def test_a_long_backlog_starts_with_a_poster(limit: dict[str, int]) -> None:
    with World(**limit) as w:
        pub, _ = w.publisher(Setup(gop=120, answers_pli=False))
        w.run(2)
        viewer, _ = w.viewer()
        w.run(0.1)
        first, *rest = frames_of(viewer, pub)
        key = [s for s in pub.sent[VIDEO] if s.ts == pub.sent[VIDEO][0].ts]
        assert first == [s.payload for s in key]
        assert not rest
        w.run(3)
        w.rest(pub)
        poster, live = frames_of(viewer, pub)
        assert poster == first
        nexts = [s for s in pub.sent[VIDEO] if s.key_start]
        assert live[0] == nexts[1].payload
        assert live[-1] == pub.sent[VIDEO][-1].payload
        assert viewer.holes(VIDEO) == 0
        assert pub.plis


def test_after_a_poster_an_answered_request_brings_the_live_picture() -> None:
    with World(start_max_bytes=100_000) as w:
        pub, _ = w.publisher(Setup(gop=600))
        w.run(3)
        viewer, _ = w.viewer()
        w.run(0.3)
        w.rest(pub)
        assert len(pub.plis) == 1
        assert len(frames_of(viewer, pub)) == 2
        assert viewer.payloads(VIDEO)[-1] == pub.sent[VIDEO][-1].payload


@pytest.mark.parametrize("rtx", [True, False])
def test_a_lapped_viewer_jumps_to_the_next_key_frame(rtx: bool) -> None:
    """A start burst slower than the stream: the log runs away from the viewer."""
    with World(video_slots=256, start_pace_bps=400_000) as w:
        pub, _ = w.publisher(Setup(gop=30))
        w.run(0.9)
        viewer, peer = w.viewer(ViewerSetup(rtx=rtx))
        w.run(8)
        w.rest(pub)
        runs = frames_of(viewer, pub)
        keys = {s.payload for s in pub.sent[VIDEO] if s.key_start}
        assert len(runs) > 2
        assert all(run[0] in keys for run in runs)
        assert viewer.holes(VIDEO) == 0
        assert 1 <= w.drops()["viewer_lapped"] < len(runs)  # a jump may end in a poster
        assert w.forwarder.peer_stats(peer.handle)["tracks"]["video"]["skipped"] > 0
        assert len(viewer.in_order(AUDIO)) > 390  # untouched by it
        assert viewer.holes(AUDIO) == 0


def test_a_viewer_before_the_publisher_starts_with_its_first_key_frame() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        w.run(1)
        pub, _ = w.publisher()
        w.run(1)
        w.rest(pub)
        assert_whole(viewer, pub, VIDEO, from_first=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_key_frame_whose_first_packet_comes_late_is_whole_for_those_who_wait(
    workers: int,
) -> None:
    """SPS and PPS come second, repaired; viewers that start at this frame get them all the same."""
    with World(workers=workers) as w:
        viewers = [w.viewer(ViewerSetup(rtx=r))[0] for r in (True, False)]
        pub, peer = w.publisher(Setup(has_audio=False))
        pub.muted = True
        w.inject(peer, pub.packet(VIDEO, b"\x41" + bytes(30), 7, w.now, ledger=False))
        head, *rest = pub.frame_packets(w.now, key=True)
        for data in rest:
            w.inject(peer, data)
        w.run(0.03)
        w.inject(peer, head)
        w.run(0.5)
        for viewer in viewers:
            assert_whole(viewer, pub, VIDEO, from_first=True)
        second, *_ = [w.viewer()[0]]
        w.run(0.2)
        assert_whole(second, pub, VIDEO, from_first=True)


def test_what_overtook_the_first_key_frame_is_asked_for() -> None:
    """The middle of the key frame comes before its beginning: held, so it has to come again."""
    with World() as w:
        viewer, _ = w.viewer()
        pub, peer = w.publisher(Setup(has_audio=False))
        pub.muted = True
        w.run(0.01)
        packets = pub.frame_packets(w.now, key=True)
        for i in (3, 5, 0, 1, 4, 6):  # the third is lost
            w.inject(peer, packets[i])
        w.run(0.1)
        assert_whole(viewer, pub, VIDEO, from_first=True)


def test_a_publication_that_begins_without_parameter_sets_is_asked_for_another_key_frame() -> None:
    """Its very first packet was lost, which nobody can see in the numbers."""
    with World() as w:
        viewer, _ = w.viewer()
        pub, peer = w.publisher(Setup(has_audio=False, gop=10_000))
        pub.muted = True
        w.run(0.01)
        for data in pub.frame_packets(w.now, key=True)[1:]:
            w.inject(peer, data)
        pub.resume()
        pub.begin_within_gop()
        w.run(0.5)
        assert len(pub.plis) == 1
        assert sum(s.key_start for s in pub.sent[VIDEO]) == 2
        w.rest(pub)
        assert viewer.payloads(VIDEO) == [s.payload for s in pub.sent[VIDEO]][1:]


def test_only_the_first_packets_carry_mid_and_playout_delay() -> None:
    with World() as w:
        _pub, _ = w.publisher()
        w.run(1)
        viewer, _ = w.viewer(ViewerSetup(extensions=((DELAY_URI, 6),)))
        w.run(2)
        packets = viewer.in_order(VIDEO)
        assert packets[0].extensions == ((4, b"0"), (6, bytes(3)))
        told = [i for i, p in enumerate(packets) if (6, bytes(3)) in p.extensions]
        assert told == list(range(64))
        then = [i for i, p in enumerate(packets) if p.extensions][64:]
        assert then == list(range(then[0], then[0] + 64))  # told that it may take its time
        assert {p.extensions for p in packets[then[0] : then[-1] + 1]} == {
            ((4, b"0"), (6, b"\x00\x0f\xff"))
        }
        assert 1.0 < (packets[then[0]].ts - packets[0].ts) / 90_000 < 3.0
        assert viewer.in_order(AUDIO)[0].extensions == ((4, b"1"),)
        plain, _ = w.viewer(ViewerSetup(mid=False))
        w.run(0.5)
        assert not any(p.extensions for k in (AUDIO, VIDEO) for p in plain.in_order(k))
