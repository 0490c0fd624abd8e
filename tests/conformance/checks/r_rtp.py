"""RTP and RTCP (RFC 3550, RFC 8834): reports, feedback, repair, routing, header extensions."""

from __future__ import annotations

import itertools
import struct
from typing import Any

from aiortc.rtp import (
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSrPacket,
)

from tests.pipeline.leg import Rtp
from tests.pipeline.numbered import feedback_packets, parse_feedback

from ..harness import NotApplicable, Server
from ..peer import (
    MID_ID,
    RTX_PT,
    VIDEO_PT,
    Section,
    Stage,
    Viewer,
    audio_section,
    feedback_of,
    rtcp_of,
    video_section,
)
from ..registry import check, not_checked

TWCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"


def _nack(viewer: Viewer, packet: Rtp) -> None:
    viewer.probe.send_rtp(bytes(RtcpRtpfbPacket(1, 1, packet.ssrc, [packet.seq])))


def _fir(ssrc: int, number: int) -> bytes:
    """RFC 5104 section 4.3.1: the media source is 0, the SSRC stands in the FCI."""
    return struct.pack("!BBHIIIB3x", 0x84, 206, 4, 1, 0, ssrc, number)


@check("R1", media=True)
def one_transport(server: Server) -> None:
    """The answer says rtcp-mux, and RTP and RTCP come to the one socket."""
    stage = Stage(server)
    viewer = stage.watched()
    assert all("a=rtcp-mux" in section for section in viewer.reply.sections())
    assert stage.play(lambda: viewer.probe.rtcp), "no RTCP"


@check("R2", media=True)
def compound_or_reduced(server: Server) -> None:
    """Where rtcp-rsize was not offered every RTCP datagram is compound: a report comes first."""
    video = _without(video_section(True, *_MSID), "a=rtcp-rsize")
    stage = Stage(server, sections=[video, audio_section(True)])
    stage.publisher.drop = lambda packet: packet.seq % 10 == 3
    stage.watched()
    publisher = stage.publisher.probe
    assert stage.play(lambda: feedback_of(publisher, RtcpRtpfbPacket, 1), 3.0), "no NACK"
    for _, data in publisher.rtcp:
        assert data[1] in (200, 201), f"an RTCP datagram begins with type {data[1]}"


_MSID = ("a=msid:probe v", "a=ssrc:4369 cname:probe")


def _without(section: Section, line: str) -> Section:
    return Section(section.kind, section.formats, [x for x in section.lines if x != line])


@check("R3", media=True)
def reports(server: Server) -> None:
    """Viewers get SR and SDES with one CNAME for both tracks, the publisher gets RR."""
    stage = Stage(server)
    viewer = stage.watched()

    def told() -> bool:
        sources = {p.ssrc for p in rtcp_of(viewer.probe) if isinstance(p, RtcpSrPacket)}
        return len(sources) == 2 and any(
            r.ssrc == stage.publisher.ssrc["video"]
            for p in rtcp_of(stage.publisher.probe)
            if isinstance(p, RtcpRrPacket | RtcpSrPacket)
            for r in p.reports
        )

    assert stage.play(told, 6.0), "no reports within 6 s"
    chunks = [c for p in rtcp_of(viewer.probe) if isinstance(p, RtcpSdesPacket) for c in p.chunks]
    names = {value for chunk in chunks for kind, value in chunk.items if kind == 1}
    assert len(names) == 1, names
    ssrcs = {viewer.video[0].ssrc, viewer.audio[0].ssrc}
    assert ssrcs <= {p.ssrc for p in rtcp_of(viewer.probe) if isinstance(p, RtcpSrPacket)}


@check("R4", media=True)
def feedback(server: Server) -> None:
    """A viewer's NACK is answered; its PLI and its FIR bring the publisher a request for a key
    frame."""
    stage = Stage(server)
    stage.publisher.answers_pli = False
    viewer = stage.watched(packets=30)
    lost = viewer.video[-5]
    seen = len(viewer.packets(RTX_PT))
    _nack(viewer, lost)
    assert stage.play(lambda: len(viewer.packets(RTX_PT)) > seen), "a NACK brings nothing"
    for number, (name, data) in enumerate(
        (("PLI", bytes(RtcpPsfbPacket(1, 1, lost.ssrc))), ("FIR", _fir(lost.ssrc, 7)))
    ):
        stage.play(seconds=1.2 * (number + 1))  # requests are thinned out to one a second or so
        before = _requests(stage)
        for _ in range(3):
            viewer.probe.send_rtp(data)
            if stage.play(lambda before=before: _requests(stage) > before, 1.0):
                break
        assert _requests(stage) > before, f"a {name} brings no request for a key frame"


def _requests(stage: Stage) -> int:
    probe = stage.publisher.probe
    return len(feedback_of(probe, RtcpPsfbPacket, 1)) + len(feedback_of(probe, RtcpPsfbPacket, 4))


@check("R5", "H15", media=True)
def publishers_rtx(server: Server) -> None:
    """What a publisher resends, by RTX on an SSRC of its own or as it was, reaches the viewers."""
    for rtx in (True, False):
        _repairs(Stage(server, sections=_rtx_sections() if rtx else None), rtx)


def _repairs(stage: Stage, rtx: bool) -> None:
    viewer = stage.watched()
    publisher = stage.publisher
    lost: list[Rtp] = []

    def drop(packet: Rtp) -> bool:
        if packet.marker and not lost:
            lost.append(packet)
            return True
        return False

    def asked() -> bool:
        nacks = feedback_of(publisher.probe, RtcpRtpfbPacket, 1)
        return bool(lost) and any(lost[0].seq in nack.lost for nack in nacks)

    publisher.drop = drop
    assert stage.play(asked), "no NACK for a lost packet"
    again = lost[0]
    if rtx:
        payload = struct.pack("!H", again.seq) + again.payload
        again = Rtp(RTX_PT, again.marker, 77, again.ts, 0x3333, payload)
    publisher.probe.send_rtp(again.pack())
    wanted = lost[0].payload
    found = stage.play(lambda: any(p.payload.endswith(wanted) for p in viewer.packets()))
    assert found, ("RTX" if rtx else "a plain repetition") + " is not forwarded"


def _rtx_sections() -> list[Section]:
    video = ["a=ssrc-group:FID 4369 13107", "a=ssrc:4369 cname:probe", "a=ssrc:13107 cname:probe"]
    audio = ["a=msid:probe a", "a=ssrc:8738 cname:probe"]
    return [video_section(True, "a=msid:probe v", *video), audio_section(True, *audio)]


@check("R6", "H17", media=True)
def routing(server: Server) -> None:
    """Packets find their m-section by MID, by signalled SSRC, and by their payload type alone."""
    for way in ("MID", "SSRC", "payload type"):
        sections = None if way == "SSRC" else [video_section(True), audio_section(True)]
        stage = Stage(server, sections=sections)
        if way == "MID":
            stage.publisher.name_mids()
        viewer = stage.watched()
        sent = {p.payload for p in stage.publisher.sent["audio"]}
        assert all(p.payload in sent for p in viewer.audio), way


@check("R9", "H16", media=True)
def header_extensions(server: Server) -> None:
    """A viewer gets the extensions that it offered, under its own ids, with its own MID; never the
    publisher's transport-wide numbers."""
    twcc = f"a=extmap:5 {TWCC}"
    stage = Stage(server, sections=[video_section(True, twcc), audio_section(True, twcc)])
    for kind, mid in (("video", b"0"), ("audio", b"1")):
        stage.publisher.extensions[kind] = ((MID_ID, mid), (5, b"\x12\x34"))
    turned = [_renumbered(audio_section(False)), _renumbered(video_section(False))]  # mid 0: audio
    viewer, plain = stage.watched(sections=turned), stage.view(sections=[
        _without_extensions(video_section(False)), _without_extensions(audio_section(False))
    ])  # fmt: skip
    assert stage.play(lambda: len(plain.video) > 5)
    assert all(not p.extensions for p in plain.packets()), "extensions that were not offered"
    for packet in viewer.packets():
        for number, value in packet.extensions:
            assert (number, value) == (9, b"0" if packet.pt == 8 else b"1"), packet
    assert any(p.extensions for p in viewer.packets()), "no MID for a viewer that offered it"


def _renumbered(section: Section) -> Section:
    lines = [line.replace(f"extmap:{MID_ID} ", "extmap:9 ") for line in section.lines]
    return Section(section.kind, section.formats, lines)


def _without_extensions(section: Section) -> Section:
    lines = [line for line in section.lines if not line.startswith("a=extmap")]
    return Section(section.kind, section.formats, lines)


@check("H14", media=True)
def rtx_to_viewers(server: Server) -> None:
    """A resend to a viewer with rtx: its type by apt, another SSRC in the answer's FID group, the
    original number first; to one without rtx the packet again as it was."""
    stage = Stage(server)
    viewer, plain = stage.watched(packets=30), stage.watched(packets=30, sections=_no_rtx())
    lost = viewer.video[-5]
    _nack(viewer, lost)
    assert stage.play(lambda: viewer.packets(RTX_PT)), "no resend"
    again = next(p for p in viewer.packets(RTX_PT) if p.payload[:2] == struct.pack("!H", lost.seq))
    assert again.payload[2:] == lost.payload
    assert (again.ts, again.marker) == (lost.ts, lost.marker)
    group = f"a=ssrc-group:FID {lost.ssrc} {again.ssrc}"
    assert group in viewer.probe.sdp, group
    missed: list[int] = []

    def lose(data: bytes) -> bool:
        if data[1] & 127 == lost.pt and len(data) > 200 and not missed:
            missed.append(int.from_bytes(data[2:4]))
            return True
        return False

    plain.probe.lose = lose
    assert stage.play(lambda: missed)
    plain.probe.send_rtp(bytes(RtcpRtpfbPacket(1, 1, plain.video[0].ssrc, missed)))
    repeated = stage.play(lambda: any(p.seq == missed[0] for p in plain.video))
    assert repeated, "no repetition for a viewer without rtx"


def _no_rtx() -> list[Section]:
    section = video_section(False)
    lines = [line for line in section.lines if "rtx" not in line and "apt=" not in line]
    return [Section("video", section.formats[:1], lines), audio_section(False)]


@check("R10", media=True)
def transport_wide_feedback(server: Server) -> None:
    """A publisher whose transport-wide numbers are answered is told which of its packets came."""
    lines = (f"a=extmap:5 {TWCC}", f"a=rtcp-fb:{VIDEO_PT} transport-cc")
    stage = Stage(server, sections=[video_section(True, *lines), audio_section(True, lines[0])])
    publisher = stage.publisher
    if "transport-cc" not in publisher.reply.text:
        raise NotApplicable("transport-cc is not answered")
    numbers, plain = itertools.count(65_530), publisher.packet
    unsent = {65_533, 65_540}

    def numbered(kind: str, payload: bytes, **more: Any) -> Rtp:
        number = next(numbers)
        publisher.drop = lambda _: number in unsent
        return plain(kind, payload, extensions=((5, (number & 0xFFFF).to_bytes(2)),), **more)

    publisher.packet = numbered
    told: dict[int, bool] = {}

    def enough() -> bool:
        for _, data in publisher.probe.rtcp:
            for packet in feedback_packets(data):
                base, _, ticks = parse_feedback(packet)
                told.update({base + i: tick is not None for i, tick in enumerate(ticks)})
        return 65_530 in told and 30 in told

    assert stage.play(enough), "no feedback on transport-wide numbers"
    for number in range(65_530, 65_566):
        came = told.get(number, told.get(number - 65_536))
        assert came == (number not in unsent), f"packet {number & 0xFFFF}: {came}"


not_checked("R7", "no client sends TMMBR; publishers are told by REMB what to send at most")
not_checked(
    "R8",
    "tests/pipeline/test_slow.py has RFC 8083's breaker and the estimate in virtual time: here it "
    "would take half a minute and a bottleneck",
)
