"""Playout-delay (an experimental extension of WebRTC): none at the start, then as the viewer likes,
and a minimum for one that loses packets, so that a second repair still comes in time."""

from __future__ import annotations

import pytest

from tests.pipeline.checks import assert_whole
from tests.pipeline.netem import Conditions
from tests.pipeline.publisher import VIDEO
from tests.pipeline.viewer import Viewer, ViewerSetup
from tests.pipeline.world import World

DELAY_URI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
EXTENSIONS = ((DELAY_URI, 6),)
FAR = Conditions(delay_ms=25)
LOSSY = Conditions(delay_ms=25, loss=0.1)


def delays(viewer: Viewer) -> list[tuple[int, int]]:
    """(least, most) in ms as told, each change once, in the order of the packets' numbers."""
    told: list[tuple[int, int]] = []
    for packet in viewer.in_order(VIDEO):
        for number, data in packet.extensions:
            value = int.from_bytes(data, "big")
            if number == 6 and (not told or told[-1] != (value >> 12, value & 0xFFF)):
                told.append((value >> 12, value & 0xFFF))
    return [(least * 10, most * 10) for least, most in told]


@pytest.mark.parametrize("rtx", [True, False])
def test_a_lossy_viewer_waits_for_more_repairs(rtx: bool) -> None:
    """In steps of 100 ms up to the round trip and 300 ms; its neighbour is left alone. That every
    resend is as the packet was, and all arrive, is watched by the wire and the end. (Without RTX
    a repair counts as received, so reports tell of little loss.)"""
    with World(seed=3) as w:
        pub, _ = w.publisher()
        w.run(1)
        lossy, its = w.viewer(ViewerSetup(rtx=rtx, extensions=EXTENSIONS), up=LOSSY, down=LOSSY)
        calm, _ = w.viewer(ViewerSetup(rtx=rtx, extensions=EXTENSIONS), up=FAR, down=FAR)
        w.run(8)
        w.settle(pub)
        told = delays(lossy)
        assert told[0] == (0, 0)
        assert {most for _, most in told[1:]} == {40950}
        if rtx:
            least = sorted({one for one, _ in told})
            assert least[:4] == [0, 100, 200, 300]
            assert 340 <= least[-1] <= 380
            assert [one for one, _ in told] == sorted(one for one, _ in told)
        assert delays(calm) == [(0, 0), (0, 40950)]
        assert_whole(lossy, pub, VIDEO)
        assert its.down.lost > 100


def test_a_way_that_has_become_calm_is_told_so() -> None:
    with World(seed=4) as w:
        w.publisher()
        viewer, its = w.viewer(ViewerSetup(extensions=EXTENSIONS), up=LOSSY, down=LOSSY)
        w.run(6)
        most = max(least for least, _ in delays(viewer))
        its.up.conditions = its.down.conditions = FAR
        w.run(20)
        assert delays(viewer)[-1][0] == most  # not yet
        w.run(25)
        down = [least for least, _ in delays(viewer)]
        down = down[down.index(most) :]
        assert down == sorted(down, reverse=True)
        assert down[-1] == 0


def test_who_has_not_negotiated_it_is_told_nothing() -> None:
    with World(seed=5) as w:
        w.publisher()
        viewer, _ = w.viewer(ViewerSetup(mid=False), up=LOSSY, down=LOSSY)
        w.run(5)
        assert not any(p.extensions for p in viewer.in_order(VIDEO))


@pytest.mark.parametrize("wanted", [(0, 0), (0, 100), (200, 40950)])
def test_a_fixed_delay_stays_whatever_is_lost(wanted: tuple[int, int]) -> None:
    """Also behind a key frame that it jumps to; one content a nonce is watched by the wire."""
    with World(seed=6) as w:
        w.publisher()
        w.run(0.5)
        setup = ViewerSetup(extensions=EXTENSIONS, playout=wanted)
        viewer, _ = w.viewer(setup, up=LOSSY, down=LOSSY)
        other, _ = w.viewer(ViewerSetup(rtx=False, extensions=EXTENSIONS, playout=wanted), down=FAR)
        w.run(8)
        assert delays(viewer) == delays(other) == [wanted]
