"""Viewers' wishes for key frames: merged, bounded by a share of the bitrate, and met from the log
where the publisher ignores them."""

from __future__ import annotations

import pytest

from tests.pipeline.checks import assert_clock
from tests.pipeline.netem import SECOND
from tests.pipeline.publisher import VIDEO, Publisher, Setup
from tests.pipeline.world import World


class LargeKeys(Publisher):
    """A key frame is as large as 40 others."""

    def frame_packets(self, now: int, *, key: bool) -> list[bytes]:
        usual = self.setup.packets_a_frame
        self.setup.packets_a_frame = usual * 40 if key else usual
        packets = super().frame_packets(now, key=key)
        self.setup.packets_a_frame = usual
        return packets


@pytest.mark.parametrize("percent", [20, 25, 50])
def test_a_flood_of_wishes_costs_no_more_than_the_budget(percent: int) -> None:
    """Each viewer wishes every second, all at other times: somebody always does."""
    with World(keyframe_percent=percent) as w:
        pub, _ = w.publisher(Setup(gop=10_000, has_audio=False), script_of=LargeKeys)
        viewers = [w.viewer()[0] for _ in range(20)]
        w.run(3)
        before = len(pub.sent[VIDEO])
        for round_ in range(600):
            viewers[round_ % 20].pli()
            w.run(0.05)
        sent = pub.sent[VIDEO][before:]
        keys = {s.ts for s in sent if s.key_start}
        assert len(keys) >= 2
        size = {s.payload: len(s.payload) for s in sent}
        share = sum(size[s.payload] for s in sent if s.ts in keys) / sum(size.values())
        assert share <= percent / 100 * 1.25  # the size of the newest, for the next
        assert share >= percent / 100 * 0.5  # it is used, too


def test_a_thousand_wishes_a_second_are_few_requests() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(gop=10_000, has_audio=False))
        viewers = [w.viewer()[0] for _ in range(20)]
        w.run(3)
        before = len(pub.plis)
        for _ in range(10):
            for viewer in viewers:
                for _ in range(50):
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
        for _ in range(8):
            viewer.pli()
            w.run(1)
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


def test_a_publisher_that_answers_is_never_replayed() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(gop=300, has_audio=False))
        viewer, _ = w.viewer()
        w.run(2)
        for _ in range(8):
            viewer.pli()
            w.run(1)
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
