"""A publisher goes and another one comes, in every way that happens: the viewers' picture goes on,
under the same SSRC, with the next number, within 200 ms of the new publisher's first key frame."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest

from rtcfwd.forwarder import api
from tests.pipeline.leg import clock_delta
from tests.pipeline.netem import MS, SECOND, Conditions
from tests.pipeline.picture import frames_shown, longest_gap
from tests.pipeline.publisher import AUDIO, CLOCK, VIDEO, Publisher, Setup
from tests.pipeline.test_codec import VP8_INTER, VP8_KEY
from tests.pipeline.viewer import VIDEO_PT, Viewer, ViewerSetup
from tests.pipeline.world import Peer, World

ALLOWED = 200 * MS


@dataclass(frozen=True)
class Way:
    link: Conditions
    own_delay_ms: int  # what the links alone take, both together


WAYS = {
    "loopback": Way(Conditions(), 0),
    "far": Way(Conditions(delay_ms=25, jitter_ms=5), 60),
}


class Vp8(Publisher):
    """30 frames a second of three packets in VP8 (RFC 7741)."""

    def frame_packets(self, now: int, *, key: bool) -> list[bytes]:
        ts = self.rtp_time(VIDEO, now)
        out = []
        for i in range(3):
            head = (VP8_KEY if key else VP8_INTER) if i == 0 else b"\x80\x80\x02"
            payload = head + self.unique(300)
            data = self.packet(VIDEO, payload, ts, now, marker=i == 2, key_start=key and i == 0)
            out.append(data)
        self.frame += 1
        return out


def bigger() -> Setup:
    """Another size: more and larger packets, other parameter sets come with the key frame."""
    return Setup(packets_a_frame=20, packet_size=1000)


def switch_ms(viewer: Viewer, pub: Publisher) -> float:
    """From the new publisher's first key frame's sending to the viewer's next decodable frame."""
    key = next(s.at for s in pub.sent[VIDEO] if s.key_start)
    return (frames_shown(viewer, pub)[0] - key) / MS


def assert_one_stream(viewer: Viewer) -> None:
    """No hole in its numbers; its clock goes on with the time that passes, and never ahead of it:
    no frame from the future."""
    when = {seq: at for at, seq in reversed(viewer.arrived[VIDEO])}
    for kind in (AUDIO, VIDEO):
        assert viewer.holes(kind) == 0
    numbers = viewer.numbers(VIDEO)
    first = viewer.got[VIDEO][numbers[0]]
    for number in numbers[1:]:
        packet = viewer.got[VIDEO][number]
        passed = clock_delta(packet.ts, first.ts) * SECOND / CLOCK[VIDEO]
        assert abs(passed - (when[number] - when[numbers[0]])) < 90 * MS


def assert_never_stands(viewer: Viewer, pub: Publisher) -> None:
    """One publisher all the time, and its picture was never long in coming."""
    assert_one_stream(viewer)
    assert longest_gap(frames_shown(viewer, pub)) < ALLOWED


def go_on(
    w: World,
    viewer: Viewer,
    two: Publisher,
    seconds: float = 2,
) -> None:
    w.run(seconds)
    w.rest(two, 0.3)
    took = switch_ms(viewer, two)
    print(f"publisher_switch_ms {took:.1f}")
    assert 0 <= took < ALLOWED / MS
    assert_one_stream(viewer)
    assert viewer.payloads(VIDEO)[-1] == two.sent[VIDEO][-1].payload
    assert viewer.payloads(AUDIO)[-1] == two.sent[AUDIO][-1].payload


def begin(w: World, way: Way, setup: Setup | None = None) -> tuple[Viewer, Publisher, Peer]:
    viewer, _ = w.viewer(ViewerSetup(formats=(0, 1)), up=way.link, down=way.link)
    one, peer = w.publisher(setup, up=way.link, down=way.link)
    w.run(3)
    return viewer, one, peer


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.mark.parametrize("away", [0.0, 1.0, 9.0])
def test_delete_and_a_new_post(way: Way, away: float) -> None:
    with World() as w:
        viewer, one, peer = begin(w, way)
        w.rest(one)
        w.leave(peer)
        w.run(away)
        two, _ = w.publisher(up=way.link, down=way.link)
        go_on(w, viewer, two)


def test_takeover_while_the_first_still_sends(way: Way) -> None:
    """The first sends until its peer is closed, and what is under way then comes to nothing."""
    with World() as w:
        viewer, one, peer = begin(w, way)
        w.leave(peer)
        two, _ = w.publisher(Setup(ntp_skew=9 * SECOND), up=way.link, down=way.link)
        for _ in range(30):
            one.tick(w.now)
            w.run(0.01)
        go_on(w, viewer, two)
        mine = {s.payload for s in one.sent[VIDEO] if s.at > w.now - 2 * SECOND}
        assert not mine & set(viewer.payloads(VIDEO))


def test_crash_and_a_new_post_after_the_silence(way: Way) -> None:
    """No DELETE: silence is told after 3 s; its successor takes the place."""
    with World() as w:
        viewer, one, peer = begin(w, way)
        w.rest(one, 3.2)
        assert any(isinstance(e, api.PublisherSilent) for e in w.events)
        two, _ = w.publisher(up=way.link, down=way.link)
        w.leave(peer, bye=False)
        go_on(w, viewer, two)


def test_crash_in_the_middle_of_a_frame(way: Way) -> None:
    with World() as w:
        viewer, one, peer = begin(w, way)
        w.rest(one)
        for data in one.frame_packets(w.now, key=False)[:2]:
            w.inject(peer, data)
        w.run(3.2)
        w.leave(peer, bye=False)
        two, _ = w.publisher(up=way.link, down=way.link)
        go_on(w, viewer, two)


def test_the_publishers_address_changes(way: Way) -> None:
    """Roaming: media goes on from another path; nothing is switched, nothing lost."""
    with World() as w:
        viewer, one, peer = begin(w, way)
        other = w.new_path(peer, 6001)
        w.forwarder.add_path(peer.handle, other)
        w.forwarder.select_path(peer.handle, other)
        peer.path = other
        w.run(2)
        w.rest(one, 0.3)
        for kind in (AUDIO, VIDEO):
            assert viewer.payloads(kind)[-1] == one.sent[kind][-1].payload
        assert_never_stands(viewer, one)


def test_another_codec_and_back(way: Way) -> None:
    with World() as w:
        viewer, one, peer = begin(w, way)
        w.rest(one)
        w.leave(peer)
        setup = Setup(codec=api.Codec.VP8, format=1, video_pt=120)
        two, peer = w.publisher(setup, up=way.link, down=way.link, script_of=Vp8)
        go_on(w, viewer, two)
        w.leave(peer)
        three, _ = w.publisher(up=way.link, down=way.link)
        go_on(w, viewer, three)
        kinds = [p.pt for p in viewer.in_order(VIDEO)]
        changes = [(a, b) for a, b in pairwise(kinds) if a != b]
        assert changes == [(VIDEO_PT, VIDEO_PT + 2), (VIDEO_PT + 2, VIDEO_PT)]


def test_another_resolution_by_another_publisher(way: Way) -> None:
    with World() as w:
        viewer, one, peer = begin(w, way)
        w.rest(one)
        w.leave(peer)
        two, _ = w.publisher(bigger(), up=way.link, down=way.link)
        go_on(w, viewer, two)


def test_another_resolution_in_the_same_publication(way: Way) -> None:
    """As a browser does it when its bandwidth changes: a key frame of another size."""
    with World() as w:
        viewer, one, _ = begin(w, way)
        one.setup.packets_a_frame, one.setup.packet_size = 20, 1000
        one.resume(key=True)
        w.run(2)
        w.rest(one, 0.3)
        assert_never_stands(viewer, one)


def test_a_successor_that_begins_between_key_frames_is_asked_at_once(way: Way) -> None:
    with World() as w:
        viewer, one, peer = begin(w, way)
        w.rest(one)
        w.leave(peer)
        two, _ = w.publisher(Setup(gop=1000), up=way.link, down=way.link)
        two.begin_within_gop()
        w.run(1)
        w.rest(two, 0.3)
        asked = two.plis[0] - two.sent[VIDEO][0].at
        assert asked < (way.own_delay_ms + 15) * MS
        assert switch_ms(viewer, two) < ALLOWED / MS


def test_thirty_restarts_are_one_stream() -> None:
    way = WAYS["loopback"]
    worst = 0.0
    with World(seed=9) as w:
        viewer, one, peer = begin(w, way)
        for i in range(30):
            one.muted = True
            w.leave(peer)
            w.forget(peer)
            w.run(0.02 * (i % 4))
            one, peer = w.publisher(Setup(ntp_skew=i * SECOND, has_audio=i % 5 != 4))
            w.run(0.4)
            worst = max(worst, switch_ms(viewer, one))
        w.rest(one)
        print(f"publisher_switch_ms {worst:.1f}")
        assert worst < ALLOWED / MS
        assert_one_stream(viewer)
