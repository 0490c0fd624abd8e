"""Lip sync for long: clocks that drift apart, lost reports, publishers that come and go. The skew
is what a viewer reads from its sender reports, against when things were really captured."""

from __future__ import annotations

import pytest

from tests.pipeline.netem import MS, SECOND, Conditions
from tests.pipeline.publisher import AUDIO, VIDEO, Publisher, Setup
from tests.pipeline.test_lipsync import skew_error
from tests.pipeline.viewer import Viewer
from tests.pipeline.world import World

STEP_MS = 10


class Sparse(Publisher):
    """Ten packets of audio and five frames of one packet a second; audio reports every 5 s, as
    browsers do."""

    def tick(self, now: int) -> None:
        if self.setup.has_audio and now >= self._next[AUDIO]:
            self._next[AUDIO] += 100 * MS
            ts = self.rtp_time(AUDIO, now - self.setup.audio_ahead)
            self.out.append(self.packet(AUDIO, self.unique(40), ts, now))
        if now >= self._next[VIDEO]:
            self._next[VIDEO] += 200 * MS
            self.out += self.frame_packets(now, key=self._key_wanted)
            self._key_wanted = False
        if now >= self._next_sr:
            self._next_sr += SECOND
            often = (now - self._start) // SECOND % 5 == 0
            kinds = [k for k in self.setup.sends_sr if k == VIDEO or often]
            self.out += [self.sender_report(k, now) for k in kinds]


def sparse(**more: object) -> Setup:
    return Setup(packets_a_frame=1, packet_size=60, **more)  # type: ignore[arg-type]


def worst_skew(w: World, viewer: Viewer, pub: Publisher, seconds: int) -> float:
    """The largest error in that time, looked at every 5 s, in ns."""
    worst = 0.0
    for _ in range(seconds // 5):
        w.run(5, STEP_MS)
        worst = max(worst, skew_error(viewer, pub))
    print(f"worst_skew_ms {worst / MS:.2f}")
    return worst


@pytest.mark.parametrize(
    ("ppm", "audio_ppm"), [(100, 0), (-100, 0), (0, 100), (100, -200)], ids=str
)
def test_ten_minutes_of_drift_leave_the_tracks_together(ppm: float, audio_ppm: float) -> None:
    """``ppm``: the publisher's clock against ours; ``audio_ppm``: its sound card's against that."""
    with World() as w:
        viewer, _ = w.viewer(down=Conditions(delay_ms=15, jitter_ms=5))
        setup = sparse(ppm=ppm, audio_ppm=audio_ppm, audio_ahead=80 * MS)
        pub, _ = w.publisher(setup, up=Conditions(delay_ms=20, jitter_ms=10), script_of=Sparse)
        w.run(15, STEP_MS)
        assert worst_skew(w, viewer, pub, 600) < 5 * MS


@pytest.mark.parametrize("audio_ppm", [100, -100])
def test_without_reports_the_arrival_clock_follows_too(audio_ppm: float) -> None:
    """Ten minutes of 100 ppm are 60 ms: a line drawn once would be that far off."""
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher(
            sparse(audio_ppm=audio_ppm, sends_sr=()),
            up=Conditions(delay_ms=20, jitter_ms=10),
            script_of=Sparse,
        )
        w.run(15, STEP_MS)
        assert worst_skew(w, viewer, pub, 600) < 10 * MS


def test_loss_and_restarts_and_drift_together() -> None:
    lossy = Conditions(delay_ms=20, jitter_ms=10, loss=0.1, burst=3)
    worst = 0.0
    with World(seed=5) as w:
        viewer, _ = w.viewer(up=lossy, down=lossy)
        for i, (ahead, skew) in enumerate(((0, 0), (120, 3600), (-60, -7))):
            setup = sparse(ppm=100, audio_ppm=-100, audio_ahead=ahead * MS, ntp_skew=skew * SECOND)
            pub, peer = w.publisher(setup, up=lossy, script_of=Sparse)
            w.run(30, STEP_MS)  # its reports, and ours of them, may be lost a few times
            worst = max(worst, worst_skew(w, viewer, pub, 60))
            if i < 2:
                w.leave(peer)
                w.forget(peer)
                w.run(1 + i, STEP_MS)
    assert worst < 5 * MS


def test_a_new_publishers_lines_are_told_soon() -> None:
    """Who was told every 2.5 s gets two reports within a second of the new publisher's own."""
    with World() as w:
        viewer, _ = w.viewer()
        _, peer = w.publisher(Setup(audio_ahead=20 * MS))
        w.run(15)
        w.leave(peer)
        w.run(0.1)
        two, _ = w.publisher(Setup(audio_ahead=100 * MS))
        begun = len(viewer.srs)
        w.run(1.2)
        assert len(viewer.srs) - begun >= 4
        assert skew_error(viewer, two) < MS


def test_a_jump_of_the_publishers_wall_clock_does_not_part_the_tracks() -> None:
    """Its clock is set while video reports every second and audio every fifth: the tracks' lines
    are renewed together."""
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher(sparse(audio_ahead=40 * MS), script_of=Sparse)
        w.run(20.5, STEP_MS)
        pub.setup.ntp_skew = 400 * MS
        for _ in range(100):
            w.run(0.1, STEP_MS)
            assert skew_error(viewer, pub) < 5 * MS


@pytest.mark.parametrize("ppm", [300, -300, 20])
def test_the_drift_is_told(ppm: int) -> None:
    with World() as w:
        w.publisher(sparse(ppm=ppm), up=Conditions(delay_ms=20, jitter_ms=10), script_of=Sparse)
        w.run(60, STEP_MS)
        assert w.track(VIDEO)["drift_ppm"] == 0  # not known yet
        w.run(60, STEP_MS)
        w.peers[0].up.conditions = Conditions(delay_ms=60, jitter_ms=10)  # a longer way
        w.run(60, STEP_MS)
        for kind in (AUDIO, VIDEO):
            assert abs(w.track(kind)["drift_ppm"] - ppm) < 60
