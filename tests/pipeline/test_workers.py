"""Several workers on one port: datagrams arrive anywhere, each viewer is served by its owner from
the one log, and what one worker does or does not do harms no other."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rtcfwd.forwarder import api
from tests.pipeline.checks import assert_whole
from tests.pipeline.netem import Conditions
from tests.pipeline.publisher import AUDIO, VIDEO, Setup
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import Peer, World

LOSSY = Conditions(delay_ms=10, jitter_ms=3, loss=0.05, reorder=0.02, duplicate=0.01)


def owner(w: World, peer: Peer) -> int:
    worker: int = w.forwarder.peer_stats(peer.handle)["worker"]
    return worker


def mailboxed(w: World) -> int:
    return sum(int(s["mailboxed"]) for s in w.forwarder.worker_stats())


@pytest.mark.parametrize("workers", [2, 3])
def test_loss_is_repaired_wherever_datagrams_arrive(workers: int) -> None:
    with World(workers=workers, seed=30 + workers) as w:
        joined = [w.viewer(ViewerSetup(rtx=i % 2 == 0), up=LOSSY, down=LOSSY) for i in range(6)]
        pub, peer = w.publisher(Setup(gop=90), up=LOSSY, down=LOSSY)
        w.run(4)
        late = w.viewer(up=LOSSY, down=LOSSY)
        w.run(2)
        w.settle(pub)
        assert {owner(w, its) for _, its in joined} == set(range(workers))
        assert peer.up.lost > 40
        assert mailboxed(w) > 1000
        for viewer, its in [*joined, late]:
            assert its.down.lost > 20
            for kind in (AUDIO, VIDEO):
                assert_whole(viewer, pub, kind)


def test_a_wish_for_a_key_frame_crosses_workers() -> None:
    with World(workers=2) as w:
        pub, peer = w.publisher(Setup(gop=10_000))
        viewers = [w.viewer() for _ in range(2)]
        viewer, its = next(v for v in viewers if owner(w, v[1]) != owner(w, peer))
        w.run(3)
        before = len(pub.plis)
        viewer.pli()
        w.run(0.1)
        assert owner(w, its) != owner(w, peer)
        assert len(pub.plis) == before + 1
        assert pub.plis[-1] > w.now - 100_000_000


def test_a_worker_that_sleeps_through_the_log_jumps_to_a_key_frame() -> None:
    """The writer never waits and never overwrites what is being read; who comes late finds the next
    key frame, under numbers without a hole."""
    with World(workers=2, video_slots=128, audio_slots=64) as w:
        pub, peer = w.publisher(Setup(gop=15))
        both = [w.viewer(ViewerSetup(nack=False)) for _ in range(2)]
        w.run(1)
        awake = owner(w, peer)
        asleep = 1 - awake
        for _ in range(3000):  # 3 s, half a thousand packets
            w.now += 1_000_000
            pub.tick(w.now)
            w.flush(peer)
            for data in peer.up.arrived(w.now):
                w.inject(peer, data, awake)
            while w.forwarder.turn(awake, w.now):
                pass
            w.take()
            for _, its in both:
                for data in its.down.arrived(w.now):
                    its.script.receive(data, w.now)
        w.run(1)
        w.rest(pub)
        for viewer, its in both:
            assert viewer.holes(VIDEO) == 0
            if owner(w, its) == awake:
                assert_whole(viewer, pub, VIDEO)
                continue
            assert owner(w, its) == asleep
            stats = w.forwarder.peer_stats(its.handle)
            assert stats["tracks"]["video"]["skipped"] > 0
            payloads = viewer.payloads(VIDEO)
            index = {s.payload: i for i, s in enumerate(pub.sent[VIDEO])}
            jumps = [index[b] for a, b in pairwise(payloads) if index[b] != index[a] + 1]
            assert jumps
            assert all(pub.sent[VIDEO][i].key_start for i in jumps)
            assert payloads[-1] == pub.sent[VIDEO][-1].payload
        assert w.drops()["viewer_lapped"] >= 1
        assert w.drops()["log_pinned"] == 0


def test_a_full_mailbox_drops_by_name_and_the_stream_goes_on() -> None:
    with World(workers=2) as w:
        pub, peer = w.publisher()
        viewer, _ = w.viewer()
        w.run(1)
        home = owner(w, peer)
        for i in range(700):  # the owner does not turn meanwhile
            data = pub.packet(AUDIO, pub.unique(20), pub.rtp_time(AUDIO, w.now) + i, w.now)
            w.inject(peer, data, 1 - home)
            while w.forwarder.turn(1 - home, w.now):
                pass
        assert w.drops()["mailbox_full"] > 100
        w.run(2)
        w.rest(pub)
        assert_whole(viewer, pub, VIDEO)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_everybody_leaves_and_nothing_stays(workers: int) -> None:
    with World(workers=workers) as w:
        pub, peer = w.publisher()
        viewers = [w.viewer() for _ in range(7)]
        w.run(1)
        with pytest.raises(api.ForwarderError):
            w.forwarder.close_stream(w.stream)
        for _, its in viewers:
            w.leave(its)
        w.run(0.1)
        w.leave(peer)
        w.run(0.1)
        assert all(viewer.byes for viewer, _ in viewers)
        gone = {e.peer for e in w.events if isinstance(e, api.PeerGone)}
        assert gone == {its.handle for its in w.peers}
        assert sum(s["peers"] for s in w.forwarder.worker_stats()) == 0
        w.forwarder.close_stream(w.stream)
        w.run(0.01)
        assert any(isinstance(e, api.StreamGone) for e in w.events)
        # Late datagrams of those who left find nobody.
        before = w.drops()
        pub.muted = True
        for worker in range(workers):
            w.inject(peer, pub.packet(VIDEO, b"\x41late", 0, w.now), worker)
        w.turn()
        after = w.drops() - before
        assert after["unknown_tuple"] == workers
