"""Simulcast through the pipeline (W23, H17, H12, H13): three layers in, the right one out, with
numbers and clock that never show which."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import groupby, pairwise
from typing import Any

import pytest

from rtcfwd.forwarder import api
from tests.pipeline.leg import clock_delta
from tests.pipeline.netem import MS, Conditions
from tests.pipeline.publisher import VIDEO, Setup
from tests.pipeline.simulcast import SIZES, Layer, Picture, SimulcastPublisher, SteepPublisher
from tests.pipeline.viewer import Viewer, ViewerSetup
from tests.pipeline.world import Peer, World

LOW, MID, HIGH = range(3)
SETUP = Setup(has_audio=False, gop=3000)


class ObsPublisher(SimulcastPublisher):
    """The highest layer first, RIDs 0, 1, 2 on every packet, no answer to PLI."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, order=tuple(reversed(SIZES)))
        for i, layer in enumerate(self.layers):
            layer.rid = str(i)
        self.keeps_rid = True


def publish(w: World, setup: Setup = SETUP, **kinds: Any) -> tuple[SimulcastPublisher, Peer]:
    return w.publisher(setup, script_of=kinds.pop("script_of", SimulcastPublisher), **kinds)


def runs(pub: SimulcastPublisher, viewer: Viewer) -> list[tuple[int, list[Picture]]]:
    """What the viewer got, in the order of its numbers: stretches of one layer each."""
    got = [pub.pictures[payload] for payload in viewer.payloads(VIDEO)]
    return [(layer, list(run)) for layer, run in groupby(got, key=lambda p: p.layer)]


def assert_sound(pub: SimulcastPublisher, viewer: Viewer) -> None:
    """No hole, each stretch begins with a key frame and goes on frame by frame, and the clock never
    goes back: it follows the time of capture within 50 ms, whatever the layer."""
    assert viewer.holes(VIDEO) == 0
    for n, (layer, run) in enumerate(runs(pub, viewer)):
        # What overtakes the first packet of all (between workers) is where everything begins.
        assert run[0].begins_key or n == 0, f"layer {layer} begins at frame {run[0].frame}"
        frames = list(dict.fromkeys(p.frame for p in run))
        assert frames == list(range(frames[0], frames[0] + len(frames)))
    packets = viewer.in_order(VIDEO)
    stamps = list(dict.fromkeys((p.ts, pub.pictures[p.payload].at) for p in packets))
    for (ts, at), (next_ts, next_at) in pairwise(stamps):
        step = clock_delta(next_ts, ts)
        assert step > 0
        assert abs(step - (next_at - at) * 90000 / 1e9) < 4500
    assert len({ts for ts, _ in stamps}) == len(stamps)


def told(w: World, peer: Peer) -> list[int]:
    """The layers that the control plane was told of, in turn."""
    return [e.layer for e in w.events if isinstance(e, api.ViewerLayer) and e.peer == peer.handle]


def layers(w: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = w.forwarder.stream_stats(w.stream)["layers"]
    return found


@pytest.mark.duty("H17", "W23")
def test_layers_are_learnt_by_rid_and_the_highest_is_sent() -> None:
    """No SSRC is signalled; the RID is on the first packets only. All three layers are received and
    measured; a viewer from before and one from later get the largest picture alone."""
    with World() as w:
        early, _ = w.viewer()
        pub, _ = publish(w)
        w.run(1.5)
        late, _ = w.viewer()
        w.run(1.5)
        w.rest(pub)
        figures = layers(w)
        assert [(f["width"], f["height"]) for f in figures] == list(SIZES)
        assert [f["active"] for f in figures] == [1, 1, 1]
        assert all(layer.reported for layer in pub.layers)
        assert [f["packets"] for f in figures] == [layer.count for layer in pub.layers]
        assert figures[LOW]["bitrate"] < figures[MID]["bitrate"] < figures[HIGH]["bitrate"]
        assert w.forwarder.stream_stats(w.stream)["best_layer"] == HIGH
        assert w.track(VIDEO)["packets"] == sum(layer.count for layer in pub.layers)
        for viewer in (early, late):
            assert {layer for layer, _ in runs(pub, viewer)} == {HIGH}
            assert_sound(pub, viewer)


@pytest.mark.duty("W23")
def test_obs_lists_the_highest_first_and_answers_no_pli() -> None:
    """The rank is the picture's, not the offer's; a choice waits for the next key frame."""
    with World() as w:
        pub, _ = publish(
            w, Setup(has_audio=False, gop=45, rtx=False, answers_pli=False), script_of=ObsPublisher
        )
        viewer, peer = w.viewer()
        w.run(1)
        assert w.forwarder.stream_stats(w.stream)["best_layer"] == 0
        w.forwarder.select_layer(peer.handle, 2)
        w.run(2)
        w.rest(pub)
        assert [layer for layer, _ in runs(pub, viewer)] == [0, 2]
        assert pub.layers[2].plis
        assert_sound(pub, viewer)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_choice_is_followed_at_a_key_frame_with_numbers_that_go_on(workers: int) -> None:
    with World(workers=workers) as w:
        pub, _ = publish(w)
        viewer, peer = w.viewer()
        still, _ = w.viewer()
        w.run(1)
        for choice in (LOW, MID, HIGH, LOW, None):
            w.forwarder.select_layer(peer.handle, choice)
            w.run(0.7)
        w.rest(pub)
        assert [layer for layer, _ in runs(pub, viewer)] == [HIGH, LOW, MID, HIGH, LOW, HIGH]
        assert [layer for layer, _ in runs(pub, still)] == [HIGH]
        assert {p.ssrc for p in viewer.in_order(VIDEO)} == {viewer.ssrc[VIDEO]}
        assert_sound(pub, viewer)
        assert_sound(pub, still)
        stats = w.forwarder.peer_stats(peer.handle)["tracks"]["video"]
        assert stats["layer"] == HIGH
        assert stats["layer_changes"] == 5
        assert w.forwarder.stream_stats(w.stream)["layer_changes"] == 5
        assert sum(worker["layer_changes"] for worker in w.forwarder.worker_stats()) == 5
        assert told(w, peer) == [HIGH, LOW, MID, HIGH, LOW, HIGH]
        assert stats["lag"] == 0


def test_a_switch_takes_no_longer_than_a_round_trip_and_a_frame() -> None:
    with World() as w:
        pub, _ = publish(w)
        viewer, peer = w.viewer()
        w.run(1)
        asked = w.now
        w.forwarder.select_layer(peer.handle, LOW)
        w.run(0.5)
        w.rest(pub)
        first = runs(pub, viewer)[1][1][0]
        assert first.at - asked < 60 * MS


@pytest.mark.duty("H13")
def test_sender_reports_name_the_same_moment_in_every_layer() -> None:
    """A report before and after each switch: the viewer's line of NTP and RTP stays the same."""
    with World() as w:
        pub, _ = publish(w)
        viewer, peer = w.viewer()
        w.run(2.5)
        for choice in (LOW, MID, HIGH):
            w.forwarder.select_layer(peer.handle, choice)
            w.run(2)
        w.rest(pub)
        assert [layer for layer, _ in runs(pub, viewer)] == [HIGH, LOW, MID, HIGH]
        infos = [sr.sender_info for _, sr in viewer.srs if sr.ssrc == viewer.ssrc[VIDEO]]
        assert len(infos) >= 6
        first = infos[0]
        for info in infos[1:]:
            apart = (info.ntp_timestamp - first.ntp_timestamp) / (1 << 32) * 90000
            assert abs(clock_delta(info.rtp_timestamp, first.rtp_timestamp) - apart) < 900, "10 ms"


def test_a_layer_that_falls_silent_is_stood_in_for_by_the_next_lower() -> None:
    with World() as w:
        pub, _ = publish(w)
        auto, _ = w.viewer()
        chose, peer = w.viewer()
        w.run(1)
        w.forwarder.select_layer(peer.handle, MID)
        w.run(0.5)
        pub.layers[HIGH].on = False
        w.run(1.5)
        assert [f["active"] for f in layers(w)] == [1, 1, 0]
        pub.layers[MID].on = False
        w.run(1.5)
        assert w.forwarder.stream_stats(w.stream)["best_layer"] == LOW
        pub.layers[HIGH].on = pub.layers[MID].on = True
        pub.layers[HIGH].key_wanted = pub.layers[MID].key_wanted = True
        w.run(1.5)
        w.rest(pub)
        assert [layer for layer, _ in runs(pub, auto)] == [HIGH, MID, LOW, HIGH]
        assert [layer for layer, _ in runs(pub, chose)] == [HIGH, MID, LOW, MID]
        for viewer in (auto, chose):
            assert viewer.holes(VIDEO) == 0


@pytest.mark.parametrize("rtx", [True, False])
def test_loss_is_repaired_in_every_layer_on_both_sides(rtx: bool) -> None:
    """5 % loss each way while the viewer goes through the layers: nothing is missing in the end,
    and each layer was asked for under its own SSRC, its RTX found by the repaired RID."""
    with World(seed=5) as w:
        lossy = Conditions(delay_ms=5, loss=0.05)
        pub, _ = publish(w, up=lossy, down=Conditions(delay_ms=5, loss=0.02))
        viewer, peer = w.viewer(ViewerSetup(rtx=rtx), up=Conditions(delay_ms=5), down=lossy)
        w.run(1.5)
        for choice in (LOW, MID, None, LOW, HIGH):
            w.forwarder.select_layer(peer.handle, choice)
            w.run(1)
        w.settle(pub)
        assert viewer.holes(VIDEO) == 0
        assert all(layer.nacked for layer in pub.layers)
        assert all(f["repaired"] for f in layers(w))
        assert len(runs(pub, viewer)) >= 5
        for _, run in runs(pub, viewer):
            frames = list(dict.fromkeys(p.frame for p in run))
            assert frames == sorted(frames)
        assert len(viewer.payloads(VIDEO)) == len(set(viewer.payloads(VIDEO)))


def test_plis_of_a_viewer_go_to_the_layer_that_it_watches() -> None:
    with World() as w:
        pub, _ = publish(w)
        viewer, peer = w.viewer()
        w.run(0.5)
        w.forwarder.select_layer(peer.handle, MID)
        w.run(2)
        before = [len(layer.plis) for layer in pub.layers]
        viewer.pli()
        w.run(0.6)
        after = [len(layer.plis) for layer in pub.layers]
        assert [b - a for a, b in zip(before, after, strict=True)] == [0, 1, 0]


@pytest.mark.duty("H12")
def test_a_new_publisher_without_simulcast_takes_over() -> None:
    """From three layers to one and back: the viewer's numbers go on."""
    with World() as w:
        pub, peer = publish(w)
        viewer, _ = w.viewer()
        w.run(1)
        w.leave(peer)
        single, again = w.publisher(Setup(has_audio=False))
        w.run(1)
        w.leave(again)
        assert layers(w) == []
        back, _ = publish(w)
        w.run(1)
        w.rest(back)
        payloads = viewer.payloads(VIDEO)
        known = {s.payload for s in single.sent[VIDEO]}
        names = ["a" if p in pub.pictures else "b" if p in known else "c" for p in payloads]
        assert [name for name, _ in groupby(names)] == ["a", "b", "c"]
        shown = [back.pictures[p].layer for p in payloads if p in back.pictures]
        assert [layer for layer, _ in groupby(shown)] in ([HIGH], [LOW, HIGH])
        assert viewer.holes(VIDEO) == 0


def test_packets_of_a_layer_that_nobody_named_are_dropped() -> None:
    with World() as w:
        pub, peer = publish(w)
        w.viewer()
        w.run(0.5)
        stranger = Layer("zz", (640, 360), 99, 98, 1, 1, 1)
        w.inject(peer, pub._packet(stranger, b"\x65\x88", 1, True))
        w.run(0.1)
        assert w.drops()["unknown_ssrc"] == 1


def test_a_choice_without_simulcast_changes_nothing() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(has_audio=False))
        viewer, peer = w.viewer()
        w.forwarder.select_layer(peer.handle, 3)
        w.run(0.5)
        w.rest(pub)
        assert viewer.payloads(VIDEO) == [s.payload for s in pub.sent[VIDEO]]
        with pytest.raises(ValueError, match="layer"):
            w.forwarder.select_layer(peer.handle, 4)
        with pytest.raises(api.ForwarderError):
            w.forwarder.select_layer(w.peers[0].handle, 0)


@pytest.mark.parametrize(("rate", "fits"), [(380_000, MID), (180_000, LOW)])
def test_a_viewer_gets_the_layer_that_its_way_carries(rate: int, fits: int) -> None:
    """Layers of 96, 216 and 384 kbit/s of payload. A way that becomes narrow, and wide again."""
    wide = Conditions(delay_ms=20, rate_bps=3_000_000, queue_bytes=30_000)
    with World() as w:
        pub, _ = publish(w)
        viewer, its = w.viewer(ViewerSetup(has_audio=False), down=wide)
        other, _ = w.viewer()
        w.run(5)
        assert {layer for layer, _ in runs(pub, viewer)} == {HIGH}
        its.down.conditions = replace(wide, rate_bps=rate)
        w.run(30)
        narrow = [layer for layer, _ in runs(pub, viewer)]
        assert fits in narrow
        assert len(narrow) <= 8  # a larger one is tried now and then, not all the time
        frames = dict.fromkeys((LOW, MID, HIGH), 0)
        for layer, run in runs(pub, viewer)[1:]:
            frames[layer] += len({p.frame for p in run})
        assert frames[LOW] + frames[MID] > 2 * frames[HIGH]
        its.down.conditions = wide
        w.run(60)
        w.rest(pub)
        assert runs(pub, viewer)[-1][0] == HIGH
        # The narrow link loses packets; no number was left out by us.
        numbers = viewer.numbers(VIDEO)
        sent = [its.wire.saw(viewer.ssrc[VIDEO], n) for n in range(numbers[0], numbers[-1])]
        assert all(sent)
        assert {layer for layer, _ in runs(pub, other)} == {HIGH}


def test_a_way_between_two_layers_is_climbed_one_by_one() -> None:
    """Layers of 150, 500 and 1500 kbit/s, a way of 3 Mbit/s, for a minute of 800 kbit/s."""
    wide = Conditions(delay_ms=20, rate_bps=3_000_000, queue_bytes=40_000)
    with World() as w:
        pub, _ = publish(w, script_of=SteepPublisher)
        viewer, its = w.viewer(ViewerSetup(has_audio=False), up=Conditions(delay_ms=20), down=wide)
        w.run(8)
        its.down.conditions = replace(wide, rate_bps=800_000)
        w.run(60)
        narrow = [layer for layer, _ in runs(pub, viewer)]
        assert narrow[0] == HIGH
        assert MID in narrow
        for before, after in pairwise(narrow):
            assert after <= before + 1, "the largest is not tried from the smallest"
        its.down.conditions = wide
        w.run(60)
        w.rest(pub)
        assert runs(pub, viewer)[-1][0] == HIGH


@pytest.mark.parametrize("rtx", [True, False])
@pytest.mark.parametrize("queue", [12_000, 40_000, 100_000])
def test_a_layer_that_does_not_hold_is_seldom_tried(rtx: bool, queue: int) -> None:
    """150, 500 and 1500 kbit/s over 800 kbit/s with jitter and 1 % loss, for two minutes. A viewer
    with RTX, whose way can be tried with resends, has the largest layer soon after it has become
    wide; one without within the time that a trial may be put off."""
    wide = Conditions(delay_ms=20, jitter_ms=20, loss=0.01, rate_bps=3_000_000, queue_bytes=queue)
    with World(seed=3) as w:
        pub, _ = publish(w, script_of=SteepPublisher)
        viewer, its = w.viewer(
            ViewerSetup(has_audio=False, rtx=rtx), up=Conditions(delay_ms=20), down=wide
        )
        w.run(8)
        its.down.conditions = replace(wide, rate_bps=800_000)
        w.run(120)
        video = w.forwarder.peer_stats(its.handle)["tracks"]["video"]
        assert 1 <= video["layer_changes"] <= (8 if rtx else 14)
        seen = Counter(pub.pictures[payload].layer for payload in viewer.payloads(VIDEO))
        assert seen[MID] > (seen[LOW] if rtx else 0)
        its.down.conditions = wide
        w.run(20 if rtx else 70)
        video = w.forwarder.peer_stats(its.handle)["tracks"]["video"]
        assert video["layer"] == HIGH
        w.rest(pub)


def test_trying_a_way_costs_little() -> None:
    """A way that stays narrow: resends that nobody asked for, at most 32 kB in five seconds, and
    only after a larger layer did not hold."""
    wide = Conditions(delay_ms=20, rate_bps=3_000_000, queue_bytes=40_000)
    with World() as w:
        publish(w, script_of=SteepPublisher)
        _, its = w.viewer(ViewerSetup(has_audio=False), up=Conditions(delay_ms=20), down=wide)
        w.run(20)
        video = w.forwarder.peer_stats(its.handle)["tracks"]["video"]
        assert video["layer_changes"] == 0
        assert video["resent"] <= video["nacks"]
        its.down.conditions = replace(wide, rate_bps=800_000)
        w.run(45)
        before = w.forwarder.peer_stats(its.handle)["tracks"]["video"]
        w.run(20)
        after = w.forwarder.peer_stats(its.handle)["tracks"]["video"]
        unasked = after["resent"] - before["resent"] - (after["nacks"] - before["nacks"])
        assert unasked > 0
        assert after["resent_bytes"] - before["resent_bytes"] < 20 / 5 * 32_000
