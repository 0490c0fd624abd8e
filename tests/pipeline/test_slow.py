"""Viewers whose way carries less than the stream: sound without gaps, whole frames alone, no queue,
everything again when there is room; and who must not be taken for one of them. RFC 8083's circuit
breaker. All in virtual time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rtcfwd.forwarder.api import Slow, ViewerSlow
from tests.pipeline.netem import SECOND, Conditions
from tests.pipeline.picture import (
    Layered,
    Marked,
    Wide,
    delays,
    frames_shown,
    half_frames,
    longest_gap,
    missing,
    quantile,
    wide,
)
from tests.pipeline.publisher import AUDIO, VIDEO, Publisher
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import Peer, World

SETTLED = 6  # seconds until the queue that the start and the first look have filled is empty
FAR = Conditions(delay_ms=20)
BROAD = Conditions(delay_ms=20, rate_bps=10_000_000, queue_bytes=200_000)


def narrow(rate: int, queue: int = 64_000) -> Conditions:
    return Conditions(delay_ms=20, rate_bps=rate, queue_bytes=queue)


def levels(w: World, peer: Peer) -> list[Slow]:
    told = [e for e in w.events if isinstance(e, ViewerSlow) and e.peer == peer.handle]
    return [e.slow for e in told]


@dataclass(slots=True)
class Run:
    """A narrow link for a time, then a broad one."""

    audio_lost: int  # once settled
    audio_p50: float
    audio_p99: float
    frames: float  # a second
    gap: float  # the longest between two pictures, seconds
    half: int
    lost: int  # packets of video that were sent and never came
    back_s: float  # from the widening until nothing is held back any more
    full_s: float  # … until the picture runs for a second without a gap
    levels: list[Slow]


def run(rate: int, queue: int = 64_000, seconds: float = 30, script: type[Publisher] = Wide) -> Run:
    with World(seed=3) as w:
        pub, _ = w.publisher(wide(), script_of=script)
        w.run(1)
        viewer, its = w.viewer(ViewerSetup(remb=True), up=FAR, down=narrow(rate, queue))
        start = w.now + SETTLED * SECOND
        w.run(SETTLED + seconds)
        end = w.now
        assert w.forwarder.peer_stats(its.handle)["slow"] == Slow.FITS
        its.down.conditions = BROAD
        for _ in range(60):
            w.run(0.5)
            if w.forwarder.peer_stats(its.handle)["slow"] == Slow.ALL:
                break
        back = w.now
        w.run(3)
        w.settle(pub)
        assert w.drops()["viewer_thinned"] > 0
        assert viewer.holes(AUDIO) == 0
        # What is left out on purpose has no numbers: every number was sent.
        first = next(seq for at, seq in viewer.arrived[VIDEO] if at >= start)
        numbers = viewer.got[VIDEO]
        gone = [n for n in range(first, max(numbers)) if n not in numbers]
        assert all(its.wire.saw(viewer.ssrc[VIDEO], n) for n in gone)
        shown = frames_shown(viewer, pub)
        while_narrow = [at for at in shown if start <= at < end]
        late = delays(viewer, pub, AUDIO, start)
        after = [at for at in shown if at >= end]
        full = next(a for a in after if sum(0 <= b - a < SECOND for b in after) >= 30)
        return Run(
            missing(viewer, pub, start, end),
            quantile(late, 0.5),
            quantile(late, 0.99),
            len(while_narrow) / seconds,
            longest_gap(while_narrow) / SECOND,
            half_frames(viewer, pub, start),
            len(gone),
            (back - end) / SECOND,
            (full - end) / SECOND,
            levels(w, its),
        )


@pytest.mark.parametrize("rate", [400_000, 500_000, 1_000_000, 1_500_000, 2_000_000])
def test_a_narrow_link_has_sound_and_whole_frames(rate: int, record_property) -> None:
    """2.4 Mbit/s over less. What the picture loses, it loses in whole frames."""
    r = run(rate)
    record_property("figures", r)
    assert r.audio_lost == 0
    assert r.half <= r.lost
    assert r.audio_p99 < 400
    assert r.frames >= 0.45 * rate / 500_000  # a key frame every 2 s, and soon much more
    assert r.gap <= 4
    assert r.back_s <= 30
    assert r.levels[0] is Slow.FITS
    assert r.levels[-1] is Slow.ALL


def test_frames_that_none_refers_to_go_first() -> None:
    r = run(1_500_000, script=Layered)
    assert r.audio_lost == 0
    assert r.half <= r.lost
    assert r.frames >= 12
    assert r.gap <= 3


def test_a_mark_that_every_picture_has_tells_nothing() -> None:
    """nal_ref_idc 0 on all of them: no less can be shown than of one that never writes it."""
    assert run(1_500_000, script=Marked).frames == run(1_500_000).frames


@pytest.mark.parametrize(
    ("script", "least", "most"), [(Wide, 0, 0), (Layered, 0.35, 0.5), (Marked, 0, 0.2)]
)
def test_the_share_that_may_be_left_out_is_told(
    script: type[Wide], least: float, most: float
) -> None:
    """Of the present publication's packets; what is not believed is not counted."""
    with World() as w:
        before, its = w.publisher(wide(), script_of=Layered if script is Wide else Wide)
        w.run(2)
        w.rest(before)
        w.leave(its)
        pub, _ = w.publisher(wide(), script_of=script)
        w.run(4)
        w.rest(pub)
        figures = w.track(VIDEO)
        assert figures["inspected"] == len(pub.sent[VIDEO]) > 1000
        assert least <= figures["discardable"] / figures["inspected"] <= most
        marked = sum(s.payload[0] & 0x60 == 0 for s in pub.sent[VIDEO])
        unsure = marked - figures["discardable"]  # a frame, until others show that it means it
        assert script is Marked or 0 <= unsure <= 8
        worker = w.forwarder.worker_stats()[0]
        assert worker["video"] == len(pub.sent[VIDEO]) + len(before.sent[VIDEO])
        assert figures["discardable"] <= worker["discardable"] < worker["video"]


# ---- who is not slow ----


@pytest.mark.parametrize(
    "down",
    [
        Conditions(delay_ms=20, loss=0.10),
        Conditions(delay_ms=25, loss=0.05, burst=5),
        Conditions(delay_ms=100, jitter_ms=60, loss=0.02),
    ],
    ids=["random", "bursts", "jitter"],
)
def test_a_lossy_way_is_not_a_narrow_one(down: Conditions) -> None:
    with World(seed=4) as w:
        _, its = w.viewer(ViewerSetup(), up=FAR, down=down)
        w.publisher(wide(), script_of=Wide)
        w.run(20)
        assert levels(w, its) == []
        assert w.forwarder.peer_stats(its.handle)["estimate_bps"] == 0


def test_what_the_publisher_loses_is_not_the_viewers_fault() -> None:
    """A quarter of the publisher's packets never comes, and it repairs none."""
    with World(seed=6) as w:
        viewer, its = w.viewer(ViewerSetup(), up=FAR, down=FAR)
        up = Conditions(delay_ms=5, loss=0.25)
        w.publisher(wide(nack=False, rtx=False), up=up, script_of=Wide)
        w.run(10)
        assert viewer.lost_share[VIDEO] > 0.15
        assert levels(w, its) == []


def test_a_way_that_loses_a_fifth_by_itself_is_thinned_for_a_while_only() -> None:
    """Loss that sending less does not lower becomes the ground that later loss is measured from."""
    with World(seed=8) as w:
        _, its = w.viewer(ViewerSetup(), up=FAR, down=Conditions(delay_ms=20, loss=0.22))
        w.publisher(wide(), script_of=Wide)
        w.run(40)
        told = levels(w, its)
        assert told[0] is Slow.FITS
        assert told[-1] is Slow.ALL
        before = len(told)
        w.run(15)
        assert len(levels(w, its)) == before


def test_one_slow_viewer_costs_the_others_nothing() -> None:
    """Ten good viewers, with and without one on 400 kbit/s and one that is not there any more:
    to each of the good ones every packet takes the same time."""

    def others(bad: bool) -> list[list[tuple[int, int]]]:
        with World(seed=9) as w:
            pub, _ = w.publisher(wide(), script_of=Wide)
            good = [w.viewer(up=FAR, down=FAR)[0] for _ in range(10)]
            if bad:
                w.viewer(up=FAR, down=narrow(400_000))
                w.viewer(up=FAR, down=Conditions(loss=1.0))
            w.run(6)
            assert (w.drops()["viewer_thinned"] > 0) is bad
            w.settle(pub)
            for viewer in good:
                assert viewer.holes(VIDEO) == viewer.holes(AUDIO) == 0
            return [viewer.arrived[VIDEO] for viewer in good]

    def times(arrived: list[tuple[int, int]]) -> list[tuple[int, int]]:
        first = arrived[0][1]  # numbers begin anywhere
        return [(at, seq - first) for at, seq in arrived]

    assert [times(a) for a in others(bad=True)] == [times(a) for a in others(bad=False)]


# ---- the circuit breaker (RFC 8083) ----


def when_told(w: World, peer: Peer, level: Slow, most: float) -> float:
    """Seconds until that is told."""
    start = w.now
    while level not in levels(w, peer):
        w.run(0.25)
        assert w.now - start < most * SECOND
    return (w.now - start) / SECOND


def test_reports_that_end_stop_the_video_then_the_viewer() -> None:
    """RTCP timeout: 15 s to the first step, 15 s more to the second."""
    with World(seed=10) as w:
        viewer, its = w.viewer(up=FAR, down=FAR)
        w.publisher(wide(), script_of=Wide)
        w.run(5)
        viewer.setup.reports = False
        assert 14 <= when_told(w, its, Slow.PAUSED, 20) <= 17
        w.run(0.5)
        before = len(viewer.got[VIDEO]), len(viewer.got[AUDIO])
        w.run(5)
        assert len(viewer.got[VIDEO]) == before[0]
        assert len(viewer.got[AUDIO]) > before[1] + 200
        assert when_told(w, its, Slow.BROKEN, 20) > 8
        assert w.drops()["viewer_broken"] == 2


def test_reports_of_nothing_stop_the_video() -> None:
    """Media timeout: reports come, and tell of no new packet for 5 s. When the way is mended, the
    video goes again after the breaker's rest."""
    with World(seed=11) as w:
        viewer, its = w.viewer(up=FAR, down=FAR)
        w.publisher(wide(), script_of=Wide)
        w.run(5)
        its.down.conditions = Conditions(loss=1.0)
        assert when_told(w, its, Slow.PAUSED, 12) >= 1
        its.down.conditions = FAR
        when_told(w, its, Slow.FITS, 60)
        when_told(w, its, Slow.ALL, 40)
        w.run(3)
        assert viewer.arrived[VIDEO][-1][0] > w.now - SECOND // 10


def test_a_viewer_that_never_reports_is_left_to_consent() -> None:
    with World(seed=12) as w:
        _, its = w.viewer(ViewerSetup(reports=False))
        w.publisher()
        w.run(40)
        assert levels(w, its) == []
