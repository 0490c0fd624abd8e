"""The stream doctor: each warning is provoked by a publisher, links or viewers that have the fault,
read from the data plane's own figures, and goes when the fault has gone."""

from __future__ import annotations

import pytest

from rtcfwd.forwarder import api
from rtcfwd.session.warnings import CLEAR_LOOKS, LOOK_S, Diagnosis, Seen
from tests.pipeline.netem import Conditions
from tests.pipeline.picture import Wide, wide
from tests.pipeline.publisher import SPS, VIDEO, Publisher, Setup
from tests.pipeline.test_drift import Sparse, sparse
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import Peer, World


class Patient:
    """A world's stream, looked at as the server does it."""

    def __init__(self, w: World, *viewers: Peer, step_ms: int = 1) -> None:
        self.w, self.viewers, self.step_ms = w, viewers, step_ms
        self.diagnosis = Diagnosis()
        self.ever: set[str] = set()

    def seen(self) -> Seen:
        w = self.w
        slow = sum(w.forwarder.peer_stats(v.handle)["slow"] > 0 for v in self.viewers)
        sets = [e.sps for e in w.events if isinstance(e, api.ParameterSets)]
        stats = w.forwarder.stream_stats(w.stream)
        return Seen(stats, slow, len(self.viewers), sets[-1] if sets else b"")

    def watch(self, seconds: float) -> dict[str, str]:
        """The warnings after that time, with their texts."""
        for _ in range(round(seconds / LOOK_S)):
            self.w.run(LOOK_S, self.step_ms)
            self.diagnosis.look(self.seen())
            self.ever |= {warning.type for warning in self.diagnosis.warnings}
        return {warning.type: warning.text for warning in self.diagnosis.warnings}


GONE_S = LOOK_S * (CLEAR_LOOKS + 7)


def test_a_good_stream_has_none() -> None:
    with World() as w:
        _, viewer = w.viewer(ViewerSetup(remb=True))
        w.publisher(up=Conditions(delay_ms=20, jitter_ms=5, loss=0.002))
        patient = Patient(w, viewer)
        patient.watch(30)
        assert patient.ever == set()


def test_a_browser_without_periodic_key_frames_has_none() -> None:
    """It sends one whenever it is asked."""
    with World() as w:
        w.viewer()
        pub, _ = w.publisher(Setup(gop=100000))
        pub.begin_within_gop()
        patient = Patient(w)
        for _ in range(4):
            patient.watch(8)
            w.forwarder.request_keyframe(w.stream)
        assert patient.ever == set()
        assert w.track(VIDEO)["keys_prompt"] >= 4


def test_b_frames() -> None:
    class Reordering(Publisher):
        def frame_packets(self, now: int, *, key: bool) -> list[bytes]:
            out = super().frame_packets(now, key=key)
            if b_frames and not key:  # slice_type B behind first_mb 0: 1 010 …
                ts = self.rtp_time(VIDEO, now)
                out.append(self.packet(VIDEO, b"\x01\xa8" + self.unique(60), ts, now, marker=True))
            return out

    b_frames = True
    with World() as w:
        w.publisher(script_of=Reordering)
        patient = Patient(w)
        assert set(patient.watch(4)) == {"b_frames"}
        b_frames = False
        assert patient.watch(GONE_S) == {}


def test_parameter_sets_missing() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(sets="never"))
        patient = Patient(w)
        assert set(patient.watch(4)) == {"parameter_sets_missing"}
        pub.setup.sets = "always"
        assert patient.watch(GONE_S) == {}


@pytest.mark.parametrize(
    ("sps", "word"),
    [
        (b"\x67\x6e\x00\x28", "High 10"),
        (b"\x67\x7a\x00\x28", "High 4:2:2"),
        (b"\x67\xf4\x00\x28", "High 4:4:4 Predictive"),
        (b"\x67\x64\x00\x3c", "level 6.0"),
        (b"\x67\x64\x00\x33", ""),  # High 5.1
    ],
)
def test_profile(sps: bytes, word: str) -> None:
    with World() as w:
        w.publisher(Setup(sps=sps + SPS[4:]))
        found = Patient(w).watch(2)
        assert set(found) == ({"profile"} if word else set())
        assert word in found.get("profile", "")


def test_long_key_frame_interval() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(gop=200, answers_pli=False))
        patient = Patient(w)
        found = patient.watch(16)
        assert set(found) == {"keyframe_interval"}
        assert "6.7 s" in found["keyframe_interval"]
        pub.setup.gop = 60
        assert patient.watch(GONE_S) == {}


def test_a_publisher_that_ignores_pli() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(gop=300, answers_pli=False))
        viewer, _ = w.viewer(ViewerSetup(nack=False))
        patient = Patient(w)
        for _ in range(10):
            viewer.pli()
            patient.watch(2)
        w.run(1)
        assert "ignores_pli" in patient.ever
        pub.setup.gop = 45
        assert "ignores_pli" not in patient.watch(GONE_S)


def test_loss_on_the_publishers_way() -> None:
    with World() as w:
        _, peer = w.publisher(up=Conditions(delay_ms=20, loss=0.1))
        patient = Patient(w)
        found = patient.watch(12)
        assert "upstream_loss" in found
        peer.up.conditions = Conditions(delay_ms=20)
        assert patient.watch(GONE_S) == {}


def test_jitter_on_the_publishers_way() -> None:
    with World() as w:
        _, peer = w.publisher(up=Conditions(delay_ms=120, jitter_ms=150))
        patient = Patient(w)
        assert "upstream_jitter" in patient.watch(12)
        peer.up.conditions = Conditions(delay_ms=120)
        assert "upstream_jitter" not in patient.watch(GONE_S)


def test_a_bitrate_above_the_viewers_ways() -> None:
    with World() as w:
        narrow = Conditions(delay_ms=10, rate_bps=600_000, queue_bytes=60_000)
        _, one = w.viewer(ViewerSetup(remb=True), down=narrow)
        _, two = w.viewer(ViewerSetup(remb=True))
        w.publisher(wide(), script_of=Wide)
        found = Patient(w, one, two).watch(24)
        assert set(found) == {"bitrate"}
        assert "1 of 2 viewers" in found["bitrate"]
        assert "Mbit/s of video" in found["bitrate"]


@pytest.mark.parametrize(("ppm", "warned"), [(300, True), (-300, True), (60, False)])
def test_clock_drift(ppm: int, warned: bool) -> None:
    with World() as w:
        link = Conditions(delay_ms=20, jitter_ms=5)
        w.publisher(sparse(ppm=ppm), up=link, script_of=Sparse)
        found = Patient(w, step_ms=10).watch(140)
        assert ("clock_drift" in found) == warned
        if warned:
            assert ("fast" if ppm > 0 else "slow") in found["clock_drift"]


def test_what_comes_and_goes_does_not_flap() -> None:
    """A fault of a second in five is one warning, not one after the other."""
    with World() as w:
        _, peer = w.publisher()
        patient = Patient(w)
        changes = 0
        before: set[str] = set()
        for i in range(20):
            peer.up.conditions = Conditions(loss=0.3 if i % 3 == 0 else 0.0)
            now = set(patient.watch(2))
            changes += now != before
            before = now
        assert "upstream_loss" in before
        assert changes <= 3
