"""Loss, reordering and duplication on both sides are repaired by NACK, whoever has RTX or not."""

from __future__ import annotations

import pytest

from rtcfwd.forwarder import api
from tests.pipeline.checks import assert_whole
from tests.pipeline.netem import MS, Conditions
from tests.pipeline.publisher import AUDIO, VIDEO, Setup
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import World

LOSSY = Conditions(delay_ms=10, jitter_ms=3, loss=0.05, reorder=0.02, reorder_ms=6, duplicate=0.01)
BURSTY = Conditions(delay_ms=10, jitter_ms=3, loss=0.05, burst=3, reorder=0.01)


@pytest.mark.parametrize("conditions", [LOSSY, BURSTY], ids=["independent", "bursts"])
@pytest.mark.parametrize("publisher_rtx", [True, False], ids=["pub-rtx", "pub-plain"])
@pytest.mark.parametrize("profile", [1, 7], ids=["sha1", "gcm"])
def test_five_percent_both_ways_is_repaired(
    conditions: Conditions, publisher_rtx: bool, profile: int
) -> None:
    srtp = api.SrtpProfile(profile)
    with World(seed=11 + profile) as w:
        viewers = [
            w.viewer(ViewerSetup(rtx=rtx), up=conditions, down=conditions, profile=srtp)
            for rtx in (True, False)
        ]
        pub, peer = w.publisher(
            Setup(rtx=publisher_rtx), up=conditions, down=conditions, profile=srtp
        )
        w.run(8)
        w.settle(pub)
        stats = w.track(VIDEO)
        assert peer.up.lost > 50
        assert stats["repaired"] > 40
        for viewer, its in viewers:
            assert its.down.lost > 50
            for kind in (AUDIO, VIDEO):
                assert_whole(viewer, pub, kind)
            assert (viewer.by_rtx > 0) == viewer.setup.rtx
            assert its.wire.repeated > 0  # audio at least: the same bytes again
            assert w.forwarder.peer_stats(its.handle)["rtt_ns"] > 20 * MS


def test_without_nack_a_loss_stays_a_hole_and_no_more() -> None:
    with World(seed=5) as w:
        viewer, its = w.viewer(ViewerSetup(nack=False), down=LOSSY)
        pub, _ = w.publisher()
        w.run(3)
        assert viewer.holes(VIDEO) > 0
        published = {s.payload for s in pub.sent[VIDEO]}
        assert set(viewer.payloads(VIDEO)) <= published
        assert its.wire.repeated == 0


@pytest.mark.parametrize("delay", [75, 150])
def test_we_do_not_ask_more_often_than_the_round_trip(delay: int) -> None:
    """A far publisher is asked about once for each loss, not every 20 ms."""
    far = Conditions(delay_ms=delay, loss=0.03)
    with World(seed=8) as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher(up=far, down=Conditions(delay_ms=delay))
        w.run(8)
        w.settle(pub)
        assert_whole(viewer, pub, VIDEO)
        stats = w.track(VIDEO)
        assert stats["repaired"] > 30
        assert stats["nacks_sent"] < 2 * stats["repaired"]
