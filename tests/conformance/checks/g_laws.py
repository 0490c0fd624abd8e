"""G.711 in the other law, by the ITU's table, and what never reaches a viewer's numbering."""

from __future__ import annotations

from rtcfwd.client.probe import AUDIO_PT, VIDEO_PT
from tests.g711 import ALL, to_mu

from ..harness import NotApplicable, Server
from ..peer import Section, Stage, audio_section, video_section
from ..registry import check

CN, RED, TELEPHONE = 13, 63, 110


def _audio(*types: int) -> Section:
    """Audio by static payload types alone: no rtpmap (RFC 3551 section 6)."""
    return Section(
        "audio", types, [line for line in audio_section(True).lines if "rtpmap" not in line]
    )


@check("H20", media=True)
def the_other_law(server: Server) -> None:
    """A viewer of the other law gets every code word by the ITU's table, where it is served."""
    stage = Stage(server)
    viewer = stage.view(sections=[video_section(False), _audio(0)])
    if not stage.play(lambda: len(viewer.packets(0)) >= 3, 2.0):
        raise NotApplicable("the server does not convert G.711")
    stage.publisher.packet("audio", ALL)
    assert stage.play(lambda: any(len(p.payload) == 256 for p in viewer.packets(0)))
    sent = [to_mu(p.payload) for p in stage.publisher.sent["audio"]]
    got = [p.payload for p in viewer.packets(0)]
    assert got == sent[(start := sent.index(got[0])) : start + len(got)]
    assert not viewer.audio, "audio under a type that was not offered"


@check("H18", "G3", media=True)
def no_content_no_number(server: Server) -> None:
    """Padding, empty packets, CN, RED and telephone-event take no number of a viewer's."""
    stage = Stage(server)
    viewer = stage.watched()
    publisher = stage.publisher
    for turn in range(12):
        for kind in ("video", "audio"):
            publisher.packet(kind, b"", padding=100)
            publisher.packet(kind, b"")
        publisher.pt["audio"] = (CN, RED, TELEPHONE)[turn % 3]
        publisher.packet("audio", b"\x40\0\0\0")
        publisher.pt["audio"] = AUDIO_PT
        before = len(viewer.video), len(viewer.audio)
        assert stage.play(
            lambda b=before: len(viewer.video) > b[0] + 3 and len(viewer.audio) > b[1]
        )
    stage.rest(seconds=0.2)
    assert {p.pt for p in viewer.packets()} <= {AUDIO_PT, VIDEO_PT}
    for packets in (viewer.video, viewer.audio):
        numbers = sorted({p.seq for p in packets})
        if numbers[-1] - numbers[0] > 60000:
            continue  # wrapped on the way
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "a hole in the numbers"
        assert all(p.payload for p in packets), "a packet without content"
