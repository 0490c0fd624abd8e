"""Everything at once, from seeds: peers of every kind come, go and complain, over links of every
kind. No pictures are counted here. What must hold is what every scenario checks in passing: one
nonce, one content; one number, one packet; no report that aiortc cannot read; workers that rest."""

from __future__ import annotations

import random

import pytest

from rtcfwd.forwarder import api
from tests.pipeline.netem import Conditions
from tests.pipeline.publisher import AUDIO, VIDEO, Setup
from tests.pipeline.viewer import Viewer, ViewerSetup
from tests.pipeline.world import Peer, World


class Chaos:
    def __init__(self, w: World, rng: random.Random) -> None:
        self.w, self.rng = w, rng
        self.viewers: list[tuple[Viewer, Peer]] = []
        self.publisher: Peer | None = None

    def link(self) -> Conditions:
        pick = self.rng.choice
        return Conditions(
            delay_ms=pick([1, 10, 40]),
            jitter_ms=pick([0, 5, 20]),
            loss=pick([0, 0.02, 0.1, 0.3]),
            burst=pick([0, 4]),
            reorder=pick([0, 0.05]),
            duplicate=pick([0, 0.02]),
            rate_bps=pick([0, 0, 5_000_000]),
        )

    def join(self) -> None:
        setup = ViewerSetup(rtx=self.rng.random() < 0.5, formats=self.rng.choice([(0,), (0, 1)]))
        profile = self.rng.choice(list(api.SrtpProfile))
        self.viewers.append(self.w.viewer(setup, up=self.link(), down=self.link(), profile=profile))

    def leave(self) -> None:
        if self.viewers:
            _, peer = self.viewers.pop(self.rng.randrange(len(self.viewers)))
            self.w.leave(peer, bye=self.rng.random() < 0.5)

    def publish(self) -> None:
        if self.publisher:
            self.w.leave(self.publisher)
        pick = self.rng.choice
        setup = Setup(
            rtx=pick([True, False]),
            gop=pick([15, 60, 500]),
            answers_pli=pick([True, True, False]),
            sends_sr=pick([(), (AUDIO, VIDEO), (VIDEO,)]),
            format=pick([0, 0, 1]),
            packets_a_frame=pick([3, 12]),
        )
        _, self.publisher = self.w.publisher(setup, up=self.link(), down=self.link())

    def complain(self) -> None:
        if not self.viewers:
            return
        viewer, _ = self.rng.choice(self.viewers)
        viewer.pli()
        nonsense = [self.rng.randrange(1 << 16) for _ in range(40)]
        viewer.nack(VIDEO, nonsense + viewer.numbers(VIDEO)[-100:])


@pytest.mark.parametrize("seed", range(8))
def test_nothing_breaks(seed: int) -> None:
    rng = random.Random(seed)
    workers, slots = rng.choice([1, 2, 3]), rng.choice([256, 2048])
    with World(workers=workers, seed=seed, video_slots=slots) as w:
        chaos = Chaos(w, rng)
        acts = [chaos.join] * 3 + [chaos.leave] + [chaos.publish] * 2 + [chaos.complain] * 2
        for _ in range(30):
            rng.choice(acts)()
            if len(chaos.viewers) > 8:
                chaos.leave()
            w.run(rng.random() * 0.5, step_ms=2)
        for _, peer in chaos.viewers:
            w.leave(peer)
        if chaos.publisher:
            w.leave(chaos.publisher)
        w.run(0.1)
        assert not any(s["peers"] for s in w.forwarder.worker_stats())
        gone = sum(isinstance(e, api.PeerGone) for e in w.events)
        assert gone == len(w.peers)
        w.forwarder.close_stream(w.stream)
