"""Sender reports to viewers (RFC 3550 section 6.4.1) keep the distance of the two tracks."""

from __future__ import annotations

import pytest

from tests.pipeline.leg import clock_delta, unix_ns
from tests.pipeline.netem import MS, SECOND, Conditions
from tests.pipeline.publisher import AUDIO, CLOCK, VIDEO, Publisher, Setup
from tests.pipeline.viewer import Viewer
from tests.pipeline.world import WALL, World


def captured(viewer: Viewer, publisher: Publisher) -> dict[object, float]:
    """For both tracks: by how many ns the viewer, reading its newest SR, takes the last packet's
    capture to lie behind what the publisher's script says."""
    out: dict[object, float] = {}
    for kind in (AUDIO, VIDEO):
        info = next(p for _, p in reversed(viewer.srs) if p.ssrc == viewer.ssrc[kind]).sender_info
        packet = viewer.in_order(kind)[-1]
        ledger = next(s for s in reversed(publisher.sent[kind]) if s.payload == packet.payload)
        seen = (
            unix_ns(info.ntp_timestamp)
            + clock_delta(packet.ts, info.rtp_timestamp) * SECOND / CLOCK[kind]
        )
        true = ledger.at - (publisher.setup.audio_ahead if kind == AUDIO else 0)
        out[kind] = seen - WALL - true
    return out


def skew_error(viewer: Viewer, publisher: Publisher) -> float:
    c = captured(viewer, publisher)
    return abs(c[AUDIO] - c[VIDEO])


@pytest.mark.parametrize("ahead", [0, 180 * MS, -75 * MS])
@pytest.mark.parametrize("ntp_skew", [0, 3600 * SECOND, -40 * 365 * 86400 * SECOND])
@pytest.mark.duty("H13")
def test_the_publishers_skew_is_kept(ahead: int, ntp_skew: int) -> None:
    with World() as w:
        link = Conditions(delay_ms=20, jitter_ms=10)
        viewer, _ = w.viewer(down=Conditions(delay_ms=15, jitter_ms=5))
        pub, _ = w.publisher(Setup(audio_ahead=ahead, ntp_skew=ntp_skew), up=link)
        w.run(6)
        w.rest(pub)
        assert skew_error(viewer, pub) < 1 * MS
        # And against our wall clock it is off by no more than the way from the publisher takes.
        assert all(0 <= c < 40 * MS for c in captured(viewer, pub).values())


def test_the_skew_is_right_from_the_first_reports_on() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher(Setup(audio_ahead=120 * MS), up=Conditions(delay_ms=20, jitter_ms=40))
        while len({p.ssrc for _, p in viewer.srs}) < 2:
            w.run(0.1)
        assert skew_error(viewer, pub) < 1 * MS


def test_a_late_joiner_gets_two_reports_in_its_first_second() -> None:
    with World() as w:
        pub, _ = w.publisher(Setup(audio_ahead=90 * MS))
        w.run(3)
        viewer, _ = w.viewer()
        w.run(1.1)
        assert {
            k: sum(p.ssrc == viewer.ssrc[k] for _, p in viewer.srs) for k in (AUDIO, VIDEO)
        } == {
            AUDIO: 2,
            VIDEO: 2,
        }
        assert skew_error(viewer, pub) < 1 * MS
        w.run(10)
        assert 14 <= len(viewer.srs) <= 18  # then fewer


def test_counts_of_a_report() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher()
        w.run(2)
        w.rest(pub, 1.2)
        for kind in (AUDIO, VIDEO):
            info = next(p for _, p in reversed(viewer.srs) if p.ssrc == viewer.ssrc[kind])
            packets = viewer.in_order(kind)
            assert info.sender_info.packet_count == len(packets)
            assert info.sender_info.octet_count == sum(len(p.payload) for p in packets)


@pytest.mark.parametrize("only", [(AUDIO,), (VIDEO,)])
def test_nothing_is_said_before_both_tracks_are_known(only: tuple[object, ...]) -> None:
    """One track alone reports: no SR for either; after 10 s arrival times stand in for both."""
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher(Setup(sends_sr=only, audio_ahead=0))  # type: ignore[arg-type]
        w.run(9.8)
        assert not viewer.srs
        w.run(2)
        assert {p.ssrc for _, p in viewer.srs} == set(viewer.ssrc.values())
        w.rest(pub)
        assert skew_error(viewer, pub) < 2 * MS


def test_without_any_report_arrival_times_stand_in_after_ten_seconds_for_good() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        pub, _ = w.publisher(Setup(sends_sr=()))
        w.run(9.8)
        assert not viewer.srs
        w.run(1.5)
        assert {p.ssrc for _, p in viewer.srs} == set(viewer.ssrc.values())
        before = captured(viewer, pub)
        pub.setup.sends_sr = (AUDIO, VIDEO)
        pub.setup.ntp_skew = 5 * SECOND
        w.run(3)
        after = captured(viewer, pub)
        assert all(abs(before[k] - after[k]) < MS for k in before)


def test_a_stream_of_video_alone_is_reported_too() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        w.publisher(Setup(has_audio=False))
        w.run(3)
        assert {p.ssrc for _, p in viewer.srs} == {viewer.ssrc[VIDEO]}


def test_after_a_restart_the_line_goes_on() -> None:
    """(Our NTP, viewer's RTP) of the new publication lies on the old line, within its way here; and
    its own skew between the tracks is right."""
    with World() as w:
        viewer, _ = w.viewer()
        one, peer = w.publisher(Setup(audio_ahead=30 * MS))
        w.run(4)
        w.rest(one)
        before = {k: line(viewer, k) for k in (AUDIO, VIDEO)}
        w.leave(peer)
        w.run(3)
        two, _ = w.publisher(Setup(audio_ahead=60 * MS, ntp_skew=77 * SECOND))
        w.run(4)
        w.rest(two)
        assert skew_error(viewer, two) < 1 * MS
        for kind in (AUDIO, VIDEO):
            ntp_then, rtp_then = before[kind]
            ntp_now, rtp_now = line(viewer, kind)
            expected = (ntp_now - ntp_then) * CLOCK[kind] / SECOND
            off = clock_delta(rtp_now, rtp_then + round(expected)) * SECOND / CLOCK[kind]
            assert abs(off) < 70 * MS


def line(viewer: Viewer, kind: object) -> tuple[int, int]:
    info = next(p for _, p in reversed(viewer.srs) if p.ssrc == viewer.ssrc[kind]).sender_info  # type: ignore[index]
    return unix_ns(info.ntp_timestamp), info.rtp_timestamp
