"""Packets without content, as browsers send them to probe: in order they cost a viewer no number;
late, a byte of padding fills the number that their place has (RFC 3550 section 5.1). And packets
that are padded here, so that neighbours are alike (ADR 6)."""

from __future__ import annotations

import pytest

from tests.pipeline.checks import assert_clock, assert_whole
from tests.pipeline.leg import Rtp
from tests.pipeline.netem import Conditions
from tests.pipeline.publisher import VIDEO, Publisher, Setup
from tests.pipeline.viewer import Viewer, ViewerSetup
from tests.pipeline.world import World

LOSSY = Conditions(delay_ms=10, jitter_ms=3, loss=0.05, reorder=0.02)


def run_with_padding(w: World, pub: Publisher, seconds: float, *, each: int = 3) -> int:
    """Behind every frame ``each`` packets of padding alone; how many there were."""
    count = 0
    frame = pub.frame
    for _ in range(round(seconds * 1000)):
        w.step()
        if pub.frame == frame:
            continue
        frame = pub.frame
        for _ in range(each):
            count += 1
            ts = pub.sent[VIDEO][-1].ts
            pub.out.append(pub.packet(VIDEO, b"", ts, w.now, padding=224, ledger=False))
    return count


def with_content(viewer: Viewer) -> list[Rtp]:
    return [p for p in viewer.in_order(VIDEO) if p.payload]


@pytest.mark.duty("H18")
def test_in_order_it_gets_no_number() -> None:
    with World() as w:
        pub, _ = w.publisher()
        viewer, _ = w.viewer()
        count = run_with_padding(w, pub, 2)
        w.rest(pub)
        assert_whole(viewer, pub, VIDEO)
        assert w.drops()["padding_only"] == count > 100
        assert w.track(VIDEO)["lost"] == 0


@pytest.mark.parametrize("rtx", [True, False])
@pytest.mark.parametrize("publisher_loss", [True, False])
def test_lost_ones_are_repaired_and_leave_no_hole(rtx: bool, publisher_loss: bool) -> None:
    up = LOSSY if publisher_loss else Conditions(delay_ms=10, reorder=0.05, jitter_ms=3)
    with World(seed=31) as w:
        pub, _ = w.publisher(up=up)
        viewer, its = w.viewer(ViewerSetup(rtx=rtx), up=LOSSY, down=LOSSY)
        run_with_padding(w, pub, 4)
        w.settle(pub)
        assert viewer.holes(VIDEO) == 0
        whole = with_content(viewer)
        first = next(i for i, s in enumerate(pub.sent[VIDEO]) if s.payload == whole[0].payload)
        part = pub.sent[VIDEO][first:]
        assert [p.payload for p in whole] == [s.payload for s in part]
        assert_clock(whole, part)
        fillers = [p for p in viewer.in_order(VIDEO) if not p.payload]
        assert fillers
        assert {p.padding for p in fillers} <= {0, 1}  # RTX strips it
        assert its.down.lost > 20


def test_padding_on_the_rtx_ssrc_changes_nothing() -> None:
    with World() as w:
        pub, peer = w.publisher()
        viewer, _ = w.viewer()
        w.run(0.5)
        before = w.track(VIDEO)
        for i in range(50):
            probe = Rtp(97, False, i, 0, pub.rtx_ssrc, b"", (), (), 255)
            w.inject(peer, pub.crypto.protect(probe.pack()))
        w.turn()
        after = w.track(VIDEO)
        assert w.drops()["rtx_malformed"] == 50
        assert after["packets"] == before["packets"]
        w.run(0.5)
        w.rest(pub)
        assert_whole(viewer, pub, VIDEO)


def test_a_start_among_padding_begins_with_the_key_frame() -> None:
    with World() as w:
        pub, peer = w.publisher()
        for _ in range(20):
            data = pub.packet(VIDEO, b"", 0, w.now, padding=255, ledger=False)
            w.inject(peer, data)
        w.turn()
        viewer, _ = w.viewer()
        w.run(1)
        w.rest(pub)
        assert_whole(viewer, pub, VIDEO, from_first=True)


def test_the_publisher_is_asked_for_lost_padding_too() -> None:
    """A hole in the publisher's numbers is all that we see."""
    with World(seed=3) as w:
        pub, peer = w.publisher(Setup(has_audio=False), up=Conditions(delay_ms=5, loss=0.1))
        run_with_padding(w, pub, 2)
        w.settle(pub)
        asked = {seq for _, seqs in pub.nacks for seq in seqs}
        padding = {s for s in asked if not pub.published(VIDEO, s).payload}
        assert padding
        assert peer.up.lost > 20


@pytest.mark.parametrize("rtx", [True, False])
def test_a_filler_can_be_asked_for_again(rtx: bool) -> None:
    with World() as w:
        pub, peer = w.publisher()
        viewer, its = w.viewer(ViewerSetup(rtx=rtx))
        w.run(0.5)
        held = pub.packet(VIDEO, b"", pub.sent[VIDEO][-1].ts, w.now, padding=9, ledger=False)
        w.run(0.1)  # what follows overtakes it
        w.inject(peer, held)
        w.run(0.1)
        numbers = [n for n, p in viewer.got[VIDEO].items() if not p.payload]
        assert len(numbers) == 1
        sent = its.wire.packets
        viewer.nack(VIDEO, numbers)
        w.run(0.1)
        assert its.wire.packets > sent
        w.rest(pub)
        assert viewer.holes(VIDEO) == 0
        assert [p.payload for p in with_content(viewer)] == [s.payload for s in pub.sent[VIDEO]]


def messages_a_frame(w: World, pub: Publisher) -> float:
    """In how many messages a frame leaves, audio aside."""
    before, frame = sum(s["runs"] for s in w.forwarder.worker_stats()), pub.frame
    w.run(2)
    return (sum(s["runs"] for s in w.forwarder.worker_stats()) - before) / (pub.frame - frame)


def test_frames_cut_evenly_are_padded_into_one_run() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(has_audio=False, even=True, packet_size=705))
        viewer, _ = w.viewer()
        w.run(0.5)
        assert messages_a_frame(w, pub) < 1.1
        w.rest(pub)
        assert_whole(viewer, pub, VIDEO)
        video = [p for p in viewer.in_order(VIDEO) if len(p.payload) > 256]
        assert {len(p.payload) + p.padding for p in video[-60:]} == {720}
        assert {p.padding for p in video[-60:]} == {720 - 707, 720 - 708}


@pytest.mark.parametrize("packet_size", [500, 1180])
def test_what_is_cut_at_an_mtu_is_not_padded(packet_size: int) -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(has_audio=False, packet_size=packet_size))
        viewer, _ = w.viewer()
        w.run(0.5)
        assert messages_a_frame(w, pub) < 1.1
        assert not any(p.padding for p in viewer.in_order(VIDEO))


@pytest.mark.parametrize("rtx", [True, False])
def test_padded_packets_are_repaired(rtx: bool) -> None:
    with World(seed=8) as w:
        pub, _ = w.publisher(Setup(even=True, packet_size=705), up=LOSSY)
        viewer, its = w.viewer(ViewerSetup(rtx=rtx), up=LOSSY, down=LOSSY)
        w.run(4)
        w.settle(pub)
        assert viewer.holes(VIDEO) == 0
        assert its.down.lost > 20
        whole = viewer.in_order(VIDEO)
        first = next(i for i, s in enumerate(pub.sent[VIDEO]) if s.payload == whole[0].payload)
        assert [p.payload for p in whole] == [s.payload for s in pub.sent[VIDEO][first:]]
