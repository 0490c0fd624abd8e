"""Viewers' wishes for key frames: merged, bounded by a share of the bitrate, and met from the log
where the publisher ignores them."""

from __future__ import annotations

import pytest

from tests.pipeline.checks import assert_clock, assert_whole
from tests.pipeline.netem import MS, PERFECT, SECOND, Conditions
from tests.pipeline.picture import frames_shown, longest_gap
from tests.pipeline.publisher import VIDEO, Publisher, Sent, Setup
from tests.pipeline.viewer import Viewer, ViewerSetup
from tests.pipeline.world import World


class LargeKeys(Publisher):
    """A key frame is as large as 40 others."""

    def frame_packets(self, now: int, *, key: bool) -> list[bytes]:
        usual = self.setup.packets_a_frame
        self.setup.packets_a_frame = usual * 40 if key else usual
        packets = super().frame_packets(now, key=key)
        self.setup.packets_a_frame = usual
        return packets


def wish(w: World, viewers: list[Viewer], seconds: float, every: float = 1.0) -> None:
    """They ask for a key frame, one after the other."""
    for turn in range(round(seconds / every)):
        viewers[turn % len(viewers)].pli()
        w.run(every)


def share_of_keys(sent: list[Sent]) -> float:
    """The part of these packets' bytes that are of key frames, of which there must be some."""
    keys = {s.ts for s in sent if s.key_start}
    assert len(keys) >= 2
    return sum(len(s.payload) for s in sent if s.ts in keys) / sum(len(s.payload) for s in sent)


@pytest.mark.parametrize("percent", [20, 25, 50])
def test_a_flood_of_wishes_costs_no_more_than_the_budget(percent: int) -> None:
    """Each viewer wishes every second, all at other times: somebody always does."""
    with World(keyframe_percent=percent) as w:
        pub, _ = w.publisher(Setup(gop=10_000, has_audio=False), script_of=LargeKeys)
        viewers = [w.viewer()[0] for _ in range(20)]
        w.run(3)
        before = len(pub.sent[VIDEO])
        wish(w, viewers, 30, 0.05)
        share = share_of_keys(pub.sent[VIDEO][before:])
        assert share <= percent / 100 * 1.25  # the size of the newest, for the next
        assert share >= percent / 100 * 0.5  # it is used, too


def test_a_thousand_viewers_cost_the_publisher_no_more_than_the_budget() -> None:
    """Each of them wishes every second. It costs the publisher what is set, and them nothing: each
    gets what was published, once."""
    with World(keyframe_percent=25) as w:
        setup = Setup(gop=10_000, has_audio=False, packets_a_frame=1)
        pub, _ = w.publisher(setup, script_of=LargeKeys)
        plain = ViewerSetup(has_audio=False, reports=False)
        crowd = [w.viewer(plain) for _ in range(1000)]
        for _, peer in crowd:
            w.ignore(peer)
        w.run(3, step_ms=10)
        before, asked = len(pub.sent[VIDEO]), len(pub.plis)
        for turn in range(20 * 100):
            for viewer, peer in crowd[turn % 100 :: 100]:
                viewer.pli()
                w.inject(peer, viewer.out.pop())
            w.run(0.01, step_ms=10)
        w.rest(pub)
        sent = pub.sent[VIDEO][before:]
        assert 0.5 * 0.25 <= share_of_keys(sent) <= 1.25 * 0.25
        assert len(pub.plis) - asked <= len({s.ts for s in sent if s.key_start}) + 1
        for _, peer in crowd:
            assert w.forwarder.peer_stats(peer.handle)["tracks"]["video"]["plis"] == 20
            assert len(pub.sent[VIDEO]) <= peer.taken.total() < len(pub.sent[VIDEO]) + 30


def test_many_wishes_at_a_time_are_one_request() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(gop=10_000, has_audio=False))
        viewers = [w.viewer()[0] for _ in range(20)]
        w.run(3)
        before = len(pub.plis)
        for _ in range(10):
            for viewer in viewers * 50:
                viewer.pli()
            w.run(1)
        assert 1 <= len(pub.plis) - before <= 20


def test_a_publisher_that_ignores_requests_is_replayed_from_the_log() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(gop=300, answers_pli=False, has_audio=False))
        w.run(1)
        viewer, its = w.viewer()
        still, _ = w.viewer()
        w.run(2)
        wish(w, [viewer], 8)
        w.rest(pub)
        sent = pub.sent[VIDEO]
        position = {s.payload: i for i, s in enumerate(sent)}
        at = [position[p.payload] for p in viewer.in_order(VIDEO)]
        back = [i for i in range(1, len(at)) if at[i] < at[i - 1]]
        assert 1 <= len(back) <= 2
        assert all(sent[at[i]].key_start for i in back)
        assert at[-1] == len(sent) - 1
        assert viewer.holes(VIDEO) == 0
        whole = still.in_order(VIDEO)
        assert_clock(whole, sent[position[whole[0].payload] :])
        assert w.forwarder.peer_stats(its.handle)["tracks"]["video"]["plis"] == 8


def test_a_wish_is_repeated_until_the_publisher_is_known_to_ignore_it() -> None:
    """Browsers ask every 3 s, and a request may be lost; the second wish is met from the log."""
    with World() as w:
        pub, _ = w.publisher(Setup(gop=600, answers_pli=False, has_audio=False))
        w.run(1)
        viewer, _ = w.viewer()
        w.run(3)
        for replays in (0, 1):
            wish(w, [viewer], 5, 5.0)
            assert len(pub.plis) == 3 + replays
            keys = [p for p in viewer.payloads(VIDEO) if p == pub.sent[VIDEO][0].payload]
            assert len(keys) == 1 + replays


@pytest.mark.parametrize("answers", [True, False])
def test_a_start_whose_first_packets_were_lost_is_sent_again_once(answers: bool) -> None:
    """Firefox may not be ready for the first packets; it misses none of them, and asks five times a
    second. An answer of the publisher's comes on top."""
    with World() as w:
        pub, _ = w.publisher(Setup(gop=600, answers_pli=answers, has_audio=False))
        other, _ = w.viewer()
        w.run(2)
        other.pli()
        w.run(3)
        joined = w.now
        late, its = w.viewer(ViewerSetup(nack=False), down=Conditions(loss=1.0))
        w.run(0.05)
        its.down.conditions = PERFECT
        wish(w, [late], 4, 0.2)
        w.rest(pub)
        first, *more = [s.payload for s in pub.sent[VIDEO] if s.key_start]
        keys = [p for p in late.payloads(VIDEO) if p in (first, *more)]
        assert keys[0] == (more[0] if answers else first)
        assert len(keys) == len(set(keys))
        assert frames_shown(late, pub)[0] - joined < SECOND
        assert late.payloads(VIDEO)[-1] == pub.sent[VIDEO][-1].payload


@pytest.mark.parametrize("late", [0.5, 4.0])
def test_a_publisher_whose_key_frames_come_by_themselves_stays_known(late: float) -> None:
    """A key frame long after it was asked for was no answer: the next wish is met at once."""
    with World() as w:
        pub, _ = w.publisher(Setup(gop=300, answers_pli=False, has_audio=False))
        viewer, _ = w.viewer()
        w.run(9.97 - late)
        wish(w, [viewer], late + 2, late + 2)
        w.run(4)
        viewer.pli()
        w.run(1)
        w.rest(pub)
        first = [s.payload for s in pub.sent[VIDEO] if s.key_start][1]
        assert viewer.payloads(VIDEO).count(first) == (2 if late > 1.5 else 1)


@pytest.mark.parametrize(
    "config",
    [{"video_slots": 256}, {"start_max_bytes": 100_000}, {"start_max_ns": SECOND}],
    ids=["not in the log", "too much", "too old"],
)
def test_a_wish_that_the_log_cannot_meet_stops_no_picture(config: dict[str, int]) -> None:
    """No key frame comes by itself, and the publisher ignores requests: whoever were sent back to
    a key frame that is not there, or to a poster, would never see anything again."""
    with World(**config) as w:
        viewer, its = w.viewer()
        pub, _ = w.publisher(Setup(gop=10_000, answers_pli=False, has_audio=False))
        w.run(3)
        wish(w, [viewer], 15)
        w.rest(pub)
        assert_whole(viewer, pub, VIDEO, from_first=True)
        assert longest_gap(frames_shown(viewer, pub)) < 50 * MS
        assert w.forwarder.peer_stats(its.handle)["tracks"]["video"]["plis"] == 15
        assert len(pub.plis) >= 3  # it is still asked


def test_a_publisher_that_answers_is_never_replayed() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(gop=300, has_audio=False))
        viewer, _ = w.viewer()
        w.run(2)
        wish(w, [viewer], 8)
        w.rest(pub)
        assert viewer.payloads(VIDEO) == [s.payload for s in pub.sent[VIDEO]]


def test_feedback_of_one_viewer_is_not_another_ones_burden() -> None:
    """NACKs for everything and PLIs without end: the others get each packet when it came."""
    with World() as w:
        pub, _ = w.publisher(Setup(has_audio=False))
        good, _ = w.viewer()
        bad, its = w.viewer()
        w.run(2)
        for _ in range(100):
            numbers = bad.numbers(VIDEO)[-120:]
            for _ in range(5):
                bad.nack(VIDEO, numbers)
                bad.pli()
            w.run(0.02)
        w.rest(pub)
        came = {good.got[VIDEO][n].payload: t for t, n in good.arrived[VIDEO]}
        late = [came[s.payload] - s.at for s in pub.sent[VIDEO] if s.payload in came]
        assert sorted(late[200:])[len(late[200:]) * 99 // 100] < SECOND // 50
        drops = w.drops()
        assert drops["nack_gated"] + drops["nack_budget"] > 1000
        stats = w.forwarder.peer_stats(its.handle)["tracks"]["video"]
        # Each packet once at a quarter of its price, out of a bucket of 0.4 MB and a tenth.
        assert stats["resent_bytes"] < 2 * stats["bytes"]
