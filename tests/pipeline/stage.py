"""A stage for scenarios of single packets: the publisher sends what the test says, one by one; two
viewers, with and without RTX, watch."""

from __future__ import annotations

from rtcfwd.forwarder import api
from tests.pipeline.checks import assert_whole
from tests.pipeline.publisher import AUDIO, VIDEO, Setup
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import World


class Stage:
    """A publisher whose packets are scripted one by one, and a viewer with RTX and one without."""

    def __init__(self, w: World, setup: Setup | None = None) -> None:
        self.w = w
        self.viewers = [w.viewer(ViewerSetup(rtx=r))[0] for r in (True, False)]
        self.pub, self.peer = w.publisher(setup)
        self.pub.muted = True
        w.run(0.01)
        self.play(self.pub.frame_packets(w.now, key=True))

    def play(self, packets: list[bytes], seconds: float = 0.002) -> None:
        for data in packets:
            self.w.inject(self.peer, data)
        self.w.run(seconds)

    def audio(self, n: int = 1) -> list[bytes]:
        return [self.pub.packet(AUDIO, self.pub.unique(160), i * 160, self.w.now) for i in range(n)]

    def frame(self) -> list[bytes]:
        return self.pub.frame_packets(self.w.now, key=False)

    def padding(self, kind: api.Kind = VIDEO, size: int = 200) -> bytes:
        return self.pub.packet(kind, b"", 0, self.w.now, padding=size, ledger=False)

    def assert_whole(self, *kinds: api.Kind) -> None:
        self.w.run(0.3)
        for viewer in self.viewers:
            for kind in kinds or (VIDEO,):
                assert_whole(viewer, self.pub, kind)
