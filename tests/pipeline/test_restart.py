"""A publisher that goes and comes back, with other SSRCs, numbers and clocks, is one publisher to a
viewer: the same SSRC, the next number, a clock that shows the time that passed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtcfwd.forwarder import api
from tests.pipeline.checks import assert_clock
from tests.pipeline.leg import clock_delta
from tests.pipeline.netem import MS, SECOND, Conditions
from tests.pipeline.publisher import AUDIO, CLOCK, PPS, SPS, VIDEO, Publisher, Setup
from tests.pipeline.viewer import Viewer, ViewerSetup
from tests.pipeline.world import World

FRAME = {AUDIO: 160, VIDEO: 3000}


def assert_goes_on(viewer: Viewer, kind: api.Kind, *ledgers: list) -> None:  # type: ignore[type-arg]
    """The ledgers stand one behind the other at the viewer; between two of them the clock advances
    by the time between the packets, within a frame."""
    assert viewer.holes(kind) == 0
    packets = viewer.in_order(kind)
    first = next(i for i, s in enumerate(ledgers[0]) if s.payload == packets[0].payload)
    parts = [ledgers[0][first:], *ledgers[1:]]
    at = 0
    for i, part in enumerate(parts):
        mine = packets[at : at + len(part)]
        assert [p.payload for p in mine] == [s.payload for s in part]
        if i and kind == AUDIO:  # a talkspurt begins (RFC 3551 section 4.1)
            assert mine[0].marker
            mine = [replace(mine[0], marker=part[0].marker), *mine[1:]]
        assert_clock(mine, part)
        if i:
            passed = (part[0].at - parts[i - 1][-1].at) * CLOCK[kind] / SECOND
            step = clock_delta(mine[0].ts, packets[at - 1].ts)
            assert step > 0
            assert abs(step - passed) <= FRAME[kind] + CLOCK[kind] // 1000
        at += len(part)
    assert at == len(packets)


def both(*publishers: Publisher) -> dict[api.Kind, list]:  # type: ignore[type-arg]
    return {k: [p.sent[k] for p in publishers] for k in (AUDIO, VIDEO)}


@pytest.mark.parametrize("away", [0.05, 2.5, 12.0])
@pytest.mark.parametrize("reports", [(AUDIO, VIDEO), ()], ids=["sr", "no-sr"])
@pytest.mark.duty("H12")
def test_a_new_peer_goes_on_where_the_old_one_stood(
    away: float, reports: tuple[api.Kind, ...]
) -> None:
    with World(seed=3) as w:
        viewers = [w.viewer(ViewerSetup(rtx=r))[0] for r in (True, False)]
        one, peer = w.publisher(Setup(sends_sr=reports))
        w.run(4)
        w.rest(one, 0.01)
        w.leave(peer)
        w.run(away)
        two, peer = w.publisher(Setup(sends_sr=reports, ntp_skew=-7 * SECOND))
        w.run(3)
        w.rest(two, 0.01)
        w.leave(peer)
        w.run(0.2)
        three, _ = w.publisher(Setup(sends_sr=reports))
        w.run(2)
        w.rest(three)
        assert len({p.ssrc[VIDEO] for p in (one, two, three)}) == 3
        for viewer in viewers:
            for kind, ledgers in both(one, two, three).items():
                assert_goes_on(viewer, kind, *ledgers)


def test_a_restart_on_a_lossy_link_goes_on_too() -> None:
    lossy = Conditions(delay_ms=10, jitter_ms=3, loss=0.05, burst=2)
    with World(seed=21) as w:
        viewer, _ = w.viewer(up=lossy, down=lossy)
        one, peer = w.publisher(up=lossy, down=lossy)
        w.run(3)
        w.settle(one)
        w.leave(peer)
        w.run(0.5)
        peer.up.conditions = lossy
        two, _ = w.publisher(up=lossy, down=lossy)
        w.run(3)
        w.settle(two)
        for kind in (AUDIO, VIDEO):
            assert viewer.holes(kind) == 0
            published = [s.payload for p in (one, two) for s in p.sent[kind]]
            seen = viewer.payloads(kind)
            assert [p for p in published if p in set(seen)] == seen
            assert len(published) - len(seen) < 10 + one.setup.packets_a_frame


def test_a_new_ssrc_in_the_same_peer_goes_on() -> None:
    """OBS and FFmpeg restart an encoder under a new SSRC; after 200 ms the old one is dead."""
    with World() as w:
        viewer, _ = w.viewer()
        one, _ = w.publisher(Setup(signals_ssrc=False))
        w.run(2)
        old = {k: list(one.sent[k]) for k in (AUDIO, VIDEO)}
        one.muted = True
        w.run(0.3)
        for kind in (AUDIO, VIDEO):
            one.sent[kind].clear()
            one.ssrc[kind] ^= 0x5555
            one.seq[kind] += 40000
        one.resume(key=True, clock=123456789)
        w.run(2)
        w.rest(one)
        for kind in (AUDIO, VIDEO):
            assert_goes_on(viewer, kind, old[kind], one.sent[kind])


def test_a_jump_in_numbers_is_believed_when_it_lasts() -> None:
    """RFC 3550 appendix A.1: two in sequence behind a jump of more than 3000 make a restart."""
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher(Setup(has_audio=False))
        w.run(1)
        w.rest(pub)
        before = len(pub.sent[VIDEO])
        assert viewer.payloads(VIDEO) == [s.payload for s in pub.sent[VIDEO]]
        pub.seq[VIDEO] += 9000
        pub.resume(key=True)
        w.run(1)
        w.rest(pub)
        assert w.drops()["probation"] == 1
        seen, published = viewer.payloads(VIDEO), [s.payload for s in pub.sent[VIDEO]]
        assert viewer.holes(VIDEO) == 0
        assert seen[:before] == published[:before]
        # Probation costs a packet, here the key frame's parameter sets: those known stand in.
        assert seen[before : before + 2] == [SPS, PPS]
        rest = seen[before + 2 :]
        assert rest == published[len(published) - len(rest) :]
        assert len(seen) > before + 10


def test_what_is_published_before_a_key_frame_is_held_back_and_asked_for() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher(Setup(gop=1000, has_audio=False))
        pub.begin_within_gop()
        w.run(1)
        assert 1 <= len(pub.plis) <= 2
        first = viewer.in_order(VIDEO)[0]
        start = next(s for s in pub.sent[VIDEO] if s.key_start)
        assert first.payload == start.payload
        assert viewer.holes(VIDEO) == 0


def test_silence_and_return_of_one_publisher_is_told_and_harmless() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher()
        w.run(1)
        pub.muted = True
        w.run(4)
        pub.muted = False
        w.run(1)
        w.rest(pub)
        told = [type(e) for e in w.events if isinstance(e, api.PublisherSilent)]
        assert len(told) == 1
        back = [e for e in w.events[-4:] if isinstance(e, api.PublisherActive)]
        assert back
        for kind in (AUDIO, VIDEO):
            assert viewer.holes(kind) == 0
            assert viewer.payloads(kind)[-1] == pub.sent[kind][-1].payload
        gap = max(b - a for a, b in zip(*(lambda t: (t, t[1:]))(arrivals(viewer)), strict=False))
        assert gap > 3900 * MS


def arrivals(viewer: Viewer) -> list[int]:
    return [at for at, _ in viewer.arrived[VIDEO]]
