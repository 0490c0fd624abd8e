"""Payload types (RFC 3551, RFC 7587): G.711 by its static types, Opus, and what is left out."""

from __future__ import annotations

from ..harness import OFFERS, Reply, Server
from ..peer import Probe, Publisher, Section, Stage, video_section
from ..registry import check


def _audio_of(reply: Reply) -> list[str]:
    return next(s for s in reply.sections() if s[0].startswith("m=audio"))


def _formats(reply: Reply) -> list[str]:
    return _audio_of(reply)[0].split()[3:]


def _asked(server: Server, audio: Section) -> list[Reply]:
    """The answers to a publisher and to a viewer of the same audio section."""
    more = ("a=msid:probe a", "a=ssrc:8738 cname:probe")
    published = Section("audio", audio.formats, [*audio.lines, *more])
    name = server.name()
    offers = [
        Probe(publish=True, sections=[video_section(True), published]).offer,
        Probe(publish=False, sections=[video_section(False), audio]).offer,
    ]
    replies = [
        server.post(f"/{p}/{name}", o) for p, o in zip(("whip", "whep"), offers, strict=True)
    ]
    assert [reply.status for reply in replies] == [201, 201], [reply.body for reply in replies]
    return replies


@check("G1", "H20", media=True)
def static_types(server: Server) -> None:
    """PCMA and PCMU by their static types, with no rtpmap, with one, and with "/1"; the types stay
    8 and 0 on both legs, and packets pass."""
    for pt, name in ((8, "PCMA"), (0, "PCMU")):
        for lines in ([], [f"a=rtpmap:{pt} {name}/8000"], [f"a=rtpmap:{pt} {name}/8000/1"]):
            for reply in _asked(server, Section("audio", (pt,), lines)):
                assert _formats(reply)[0] == str(pt), _audio_of(reply)[0]
    bare = Section("audio", (8,), ["a=msid:probe a", "a=ssrc:8738 cname:probe"])
    stage = Stage(server, sections=[video_section(True), bare])
    viewer = stage.watched(sections=[video_section(False), Section("audio", (8,), [])])
    sent = {packet.payload for packet in stage.publisher.sent["audio"]}
    assert all(packet.payload in sent for packet in viewer.audio)


@check("G2")
def opus(server: Server) -> None:
    """Opus is opus/48000/2 in the answers, under the offer's type."""
    lines = ["a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1"]
    for reply in _asked(server, Section("audio", (111,), lines)):
        assert "a=rtpmap:111 opus/48000/2" in _audio_of(reply), reply.text


@check("G3")
def no_helpers(server: Server) -> None:
    """CN, telephone-event and red are not in the answers."""
    lines = [
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:13 CN/8000",
        "a=rtpmap:63 red/48000/2",
        "a=rtpmap:101 telephone-event/8000",
    ]
    for reply in _asked(server, Section("audio", (8, 13, 63, 101), lines)):
        assert _formats(reply) == ["8"], _audio_of(reply)[0]


@check("H19")
def one_format_each(server: Server) -> None:
    """A WHIP answer to a browser's whole list keeps one video format, its rtx, and one audio
    format."""
    offer = (OFFERS / "chromium156-sendonly-default.sdp").read_bytes().decode()
    reply = server.whip(offer)
    assert reply.status == 201, reply.status
    for section in reply.sections():
        names = [line.split()[1] for line in section if line.startswith("a=rtpmap:")]
        main = [name for name in names if not name.lower().startswith("rtx/")]
        assert len(main) == 1, names
        assert len(names) <= 2, names


@check("H3")
def odd_profiles(server: Server) -> None:
    """A profile-level-id of seven digits (FFmpeg 8.0), in capitals, or cut short is no reason to
    refuse."""
    for value in ("422001f", "42E01F", "42e0"):
        probe = Probe(publish=True)
        offer = probe.offer.replace("profile-level-id=42e01f", f"profile-level-id={value}")
        reply = server.post(f"/whip/{server.name()}", offer)
        assert reply.status == 201, (value, reply.status, reply.body)


@check("H1", "H2", media=True)
def profiles_are_kept(server: Server) -> None:
    """Each H264 type in a viewer's answer keeps the profile and packetization-mode it was offered
    with; profiles that are the same by their bits are taken for the same."""
    publisher = Publisher(server)
    for equal in ("42e01f", "42c01f", "4d801f", "42E01F", "42401f"):
        lines = [
            "a=rtpmap:102 H264/90000",
            f"a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={equal}",
            "a=rtpmap:104 H264/90000",
            f"a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id={equal}",
        ]
        offer = Probe(publish=False, sections=[Section("video", (102, 104), lines)]).offer
        reply = server.post(f"/whep/{publisher.name}", offer)
        assert reply.status == 201, (equal, reply.status, reply.body)
        section = reply.sections()[0]
        assert section[0].split()[3] == "102", section[0]
        for pt, mode in (("102", "1"), ("104", "0")):
            for line in section:
                if line.startswith(f"a=fmtp:{pt} "):
                    values = dict(p.strip().split("=") for p in line.split(" ", 1)[1].split(";"))
                    assert values.get("packetization-mode", "0") == mode, line
                    assert values["profile-level-id"][:4].lower() == equal[:4].lower(), line
