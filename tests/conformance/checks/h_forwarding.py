"""Forwarding of H264 (RFC 6184): where viewers start, and what they see of gaps, paddings, pauses
and new publishers."""

from __future__ import annotations

import itertools
import time

from aiortc.rtp import RtcpSrPacket

from tests.pipeline.leg import Rtp, clock_delta

from ..harness import Server
from ..peer import Publisher, Section, Stage, Viewer, audio_section, rtcp_of
from ..registry import check

KEY_START = (5, 7, 24)


def _unbroken(packets: list[Rtp]) -> None:
    """Numbers go up by one."""
    numbers = [p.seq for p in packets]
    steps = {(b - a) & 0xFFFF for a, b in itertools.pairwise(numbers)}
    assert steps <= {1}, f"numbers jump: {numbers[:50]}"


def _starts_with_key(viewer: Viewer) -> None:
    first = viewer.video[0].payload
    assert first[0] & 31 in KEY_START, f"the first packet has NAL type {first[0] & 31}"


@check("H6", media=True)
def fragments_in_mode_1(server: Server) -> None:
    """Aggregates and fragments go to the payload type with packetization-mode 1, though mode 0 was
    offered first."""
    profile = "level-asymmetry-allowed=1;profile-level-id=42e01f"
    lines = [
        "a=rtpmap:104 H264/90000",
        f"a=fmtp:104 {profile};packetization-mode=0",
        "a=rtpmap:102 H264/90000",
        f"a=fmtp:102 {profile};packetization-mode=1",
    ]
    stage = Stage(server)
    viewer = stage.view(sections=[Section("video", (104, 102), lines), audio_section(False)])
    assert stage.play(lambda: len(viewer.packets(102)) > 10), "nothing under mode 1"
    assert not viewer.packets(104)


@check("H7", "H9", media=True)
def late_joiners(server: Server) -> None:
    """A viewer of a publisher that sends no more key frames starts at once, with the parameter sets
    and at the first packet of the last key frame, and misses nothing from there."""
    stage = Stage(server)
    stage.publisher.answers_pli = False
    stage.play(seconds=0.5)
    asked = time.monotonic()
    viewer = stage.watched(packets=20)
    _starts_with_key(viewer)
    _unbroken(viewer.video)
    waited = viewer.probe.rtp[0][0] - asked
    assert waited < 2.0, f"the first packet came after {waited:.1f} s"
    sent = [p.payload for p in stage.publisher.sent["video"]]
    got = [p.payload for p in viewer.video]
    assert got == sent[: len(got)], "it is not what was sent"


@check("H8", media=True)
def parameter_sets_once(server: Server) -> None:
    """Parameter sets that came with the first key frame only are given to a viewer that starts at a
    later one."""
    stage = Stage(server)
    publisher = stage.publisher
    publisher.repeats_parameters = False
    publisher.gop = 10
    stage.play(lambda: publisher.frames > 25, 3.0)
    viewer = stage.watched()
    kinds = [p.payload[0] & 31 for p in viewer.video[:3]]
    assert kinds[0] in (7, 24), f"the first packets have NAL types {kinds}"


@check("H10", media=True)
def aggregates_of_nri_0(server: Server) -> None:
    """A STAP-A whose NRI is 0 (FFmpeg) is passed like any other."""
    stage = Stage(server)
    stage.publisher.aggregate = b"\x18"
    viewer = stage.watched()
    assert viewer.video[0].payload[0] == 0x18, "the aggregate is missing"
    _unbroken(viewer.video)


@check("H11", media=True)
def timestamps_backwards(server: Server) -> None:
    """Timestamps that go backwards in sequence order (B-frames) are passed as they are."""
    stage = Stage(server)
    viewer = stage.watched()
    publisher = stage.publisher
    stage.rest(seconds=0.2)
    before = len(viewer.video)
    sent: list[Rtp] = []
    base = publisher.ts["video"]
    for step in (3, 1, 2, 6, 4, 5):
        publisher.ts["video"] = (base + 3000 * step) & 0xFFFFFFFF
        sent += publisher.frame()
        stage.rest(seconds=0.03)
    publisher.ts["video"] = (base + 3000 * 7) & 0xFFFFFFFF
    assert stage.rest(lambda: len(viewer.video) >= before + len(sent)), "packets are missing"
    got = viewer.video[before : before + len(sent)]
    _unbroken(viewer.video)
    assert [p.payload for p in got] == [p.payload for p in sent]
    assert [clock_delta(p.ts, got[0].ts) for p in got] == [
        clock_delta(p.ts, sent[0].ts) for p in sent
    ]


@check("H12", media=True)
def new_publisher(server: Server) -> None:
    """When another publisher takes the stream over, a viewer's SSRC and type stay, its numbers and
    times go on, and it goes on with a key frame."""
    stage = Stage(server)
    viewer = stage.watched()
    assert server.request("DELETE", stage.publisher.session).status == 200
    seen = len(viewer.video)
    stage.publisher = Publisher(server, stage.publisher.name, ssrcs=(0x5555, 0x6666)).connect()
    assert stage.play(lambda: len(viewer.video) > seen + 15), "nothing of the new publisher"
    last, following = viewer.video[seen - 1], viewer.video[seen]
    assert following.ssrc == last.ssrc
    assert following.payload[0] & 31 in KEY_START, "it does not go on with a key frame"
    assert clock_delta(following.ts, last.ts) > 0, "time goes backwards"
    _unbroken(viewer.video)


@check("H13", media=True)
def sender_reports(server: Server) -> None:
    """Sender reports to a viewer pair NTP with its own RTP time, under its own SSRC."""
    stage = Stage(server)
    viewer = stage.watched()

    def reports() -> list[RtcpSrPacket]:
        ssrc = viewer.video[0].ssrc
        return [p for p in rtcp_of(viewer.probe) if isinstance(p, RtcpSrPacket) and p.ssrc == ssrc]

    assert stage.play(lambda: len(reports()) >= 2, 8.0), "no two sender reports within 8 s"
    first, last = reports()[0].sender_info, reports()[-1].sender_info
    seconds = (last.ntp_timestamp - first.ntp_timestamp) / (1 << 32)
    assert seconds > 0, "NTP goes backwards"
    ticks = clock_delta(last.rtp_timestamp, first.rtp_timestamp)
    assert abs(ticks / 90000 - seconds) < 0.2, (ticks / 90000, seconds)
    newest = viewer.video[-1].ts
    assert abs(clock_delta(last.rtp_timestamp, newest)) < 3 * 90000, "not the viewer's timeline"


@check("H18", media=True)
def padding(server: Server) -> None:
    """Padding-only packets get no number of the viewer's."""
    stage = Stage(server)
    viewer = stage.watched()
    for _ in range(5):
        stage.publisher.packet("video", b"", padding=50)
        stage.play(seconds=0.1)
    seen = len(viewer.video)
    assert stage.play(lambda: len(viewer.video) > seen + 10)
    _unbroken(viewer.video)
    assert all(p.payload for p in viewer.video), "an empty packet reaches the viewer"
