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
    assert r.audio_p99 < 300
    assert r.frames >= 0.45 * rate / 500_000  # a key frame every 2 s, and soon much more
    assert r.gap <= 2.5
    assert r.back_s <= 20
    assert r.levels[0] is Slow.FITS
    assert r.levels[-1] is Slow.ALL


def test_frames_that_none_refers_to_go_first() -> None:
    plain, layered = run(1_500_000), run(1_500_000, script=Layered)
    assert layered.audio_lost == layered.lost == 0
    assert layered.gap < plain.gap
