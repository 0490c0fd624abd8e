"""Receivers learn their round trip (RFC 3611): a browser repeats a lost NACK after it."""

from __future__ import annotations

from typing import Any

import pytest
from aiortc.rtp import RtcpRrPacket

from tests.pipeline.leg import ntp
from tests.pipeline.netem import MS, SECOND, Conditions
from tests.pipeline.publisher import AUDIO, VIDEO, Publisher
from tests.pipeline.viewer import Viewer, ViewerSetup
from tests.pipeline.world import World
from tests.pipeline.xr import RoundTrips, rrtr

SSRC = 77  # of the receiver that asks


def ask(script: Any, now: int, *ssrcs: int, clock: int = 5 * SECOND) -> None:
    """Its clock is its own, ``clock`` ahead."""
    raw = bytes(RtcpRrPacket(SSRC)) + b"".join(rrtr(s, ntp(now + clock)) for s in ssrcs or (SSRC,))
    script.out.append(script.crypto.protect_rtcp(raw))


def round_trips(heard: RoundTrips, clock: int = 5 * SECOND) -> list[float]:
    """In seconds, as section 4.5 has them computed."""
    middle = [(a, ntp(a.at + clock) >> 16 & 0xFFFFFFFF) for a in heard.answers]
    return [(now - a.delay - a.last_rr & 0xFFFFFFFF) / 65536 for a, now in middle]


@pytest.mark.parametrize("rtt_ms", [2, 50, 600])
def test_a_viewer_learns_its_round_trip(rtt_ms: int) -> None:
    way = Conditions(delay_ms=rtt_ms // 2)
    with World() as w:
        viewer, _ = w.viewer(up=way, down=way)
        w.publisher()
        w.run(1)
        asked = []
        for _ in range(10):
            asked.append(ntp(w.now + 5 * SECOND) >> 16 & 0xFFFFFFFF)
            ask(viewer, w.now)
            w.run(1)
        w.run(1)
        heard = viewer.round_trips
        assert [a.last_rr for a in heard.answers] == asked
        assert {a.ssrc for a in heard.answers} == {SSRC}
        assert {a.sender for a in heard.answers} == {viewer.ssrc[VIDEO]}
        for seconds in round_trips(heard):
            assert rtt_ms / 1000 <= seconds <= rtt_ms / 1000 + 0.003  # steps of 1 ms


def test_a_time_that_waits_for_its_answer_tells_so() -> None:
    """One every 0.3 s: every other one is answered, by the newest, and none of them twice."""
    with World() as w:
        viewer, _ = w.viewer(up=Conditions(delay_ms=10), down=Conditions(delay_ms=10))
        w.publisher()
        w.run(1)
        for _ in range(20):
            ask(viewer, w.now)
            w.run(0.3)
        w.run(2)
        heard = viewer.round_trips
        assert 8 <= len(heard.answers) <= 13
        assert len({a.last_rr for a in heard.answers}) == len(heard.answers)
        assert any(a.delay > 65536 // 20 for a in heard.answers)  # lay for more than 50 ms
        assert all(a.delay < 65536 for a in heard.answers)
        for seconds in round_trips(heard):
            assert 0.02 <= seconds <= 0.023


def test_sound_and_video_are_answered_together() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        w.publisher()
        w.run(1)
        ask(viewer, w.now, 1, 2)
        w.run(1)
        assert {a.ssrc for a in viewer.round_trips.answers} == {1, 2}
        assert viewer.round_trips.compounds == 1


def test_who_does_not_ask_is_told_nothing() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        w.publisher()
        w.run(5)
        assert not viewer.round_trips.answers


def test_one_that_hears_alone_is_answered_in_its_name() -> None:
    with World() as w:
        viewer, _ = w.viewer(ViewerSetup(has_video=False))
        w.publisher()
        w.run(1)
        ask(viewer, w.now)
        w.run(1)
        assert [a.sender for a in viewer.round_trips.answers] == [viewer.ssrc[AUDIO]]


def test_a_storm_of_times_is_bounded() -> None:
    """A thousand compounds a second, each of other receivers: two answers a second."""
    with World() as w:
        viewer, peer = w.viewer()
        w.publisher()
        w.run(1)
        sent = 0
        for n in range(5000):
            ask(viewer, w.now, *(range(10 * n, 10 * n + 10)))
            sent += sum(map(len, viewer.out))
            w.step()
        w.run(1)
        heard = viewer.round_trips
        assert heard.compounds <= 12
        assert len(heard.answers) <= 2 * heard.compounds
        assert heard.bytes_heard < sent / 100
        newest = 10 * 4999
        assert all(a.delay < 65536 for a in heard.answers)
        assert {a.ssrc for a in heard.answers[-2:]} <= set(range(newest - 10, newest + 10))
        assert not w.drops()["rtcp_malformed"]
        assert peer.open


class Asking(Publisher):
    """A publisher that asks for its round trip, too."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.round_trips = RoundTrips()

    def hear(self, plain: bytes, now: int) -> None:
        self.round_trips.hear(plain, now)
        super().hear(plain, now)


def test_a_publisher_that_asks_is_answered() -> None:
    way = Conditions(delay_ms=20)
    with World() as w:
        pub, _ = w.publisher(up=way, down=way, script_of=Asking)
        w.run(1)
        for _ in range(3):
            ask(pub, w.now)
            w.run(1)
        heard = pub.round_trips
        assert len(heard.answers) == 3
        assert {a.sender for a in heard.answers} == {4242}
        for seconds in round_trips(heard):
            assert 0.04 <= seconds <= 0.04 + 3 * MS / SECOND


def test_before_anything_is_sent_it_is_answered_already() -> None:
    """A browser asks as soon as it is connected; the stream may begin later."""
    with World() as w:
        viewer: Viewer = w.viewer()[0]
        w.run(0.1)
        ask(viewer, w.now)
        w.run(1)
        assert len(viewer.round_trips.answers) == 1
