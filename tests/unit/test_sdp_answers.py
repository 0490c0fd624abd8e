"""Every golden offer gets an answer, held against the duties of RFC 9725, RFC 9143, RFC 8842 and
the clients, one by one; aiortc's parser and a strict reader take every answer."""

from __future__ import annotations

import re

import pytest
from aiortc.sdp import SessionDescription

from rtcfwd.forwarder.api import Codec, Kind
from rtcfwd.sdp import (
    CodecPolicy,
    MediaFormat,
    PublisherAnswer,
    SdpError,
    StreamFormats,
    ViewerAnswer,
)

from .sdp_tools import (
    FINGERPRINT,
    H264,
    IDS,
    LOCAL,
    PUBLISHERS,
    VIEWERS,
    Section,
    golden,
    publish,
    stream,
    strict,
    view,
)

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
TRANSPORT_WIDE = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
HOP_BY_HOP = ("abs-send-time", "toffset", "csrc-audio-level")


def answer(name: str) -> PublisherAnswer | ViewerAnswer:
    return publish(golden(name)) if name in PUBLISHERS else view(golden(name))


def offer_lines(name: str) -> list[str]:
    return golden(name).decode().splitlines()


def offered_sections(name: str) -> list[list[str]]:
    sections: list[list[str]] = []
    for line in offer_lines(name):
        if line.startswith("m="):
            sections.append([])
        if sections:
            sections[-1].append(line)
    return sections


ALL = PUBLISHERS + VIEWERS
accepted = pytest.mark.parametrize("name", ALL)


def read(name: str) -> tuple[list[str], list[Section]]:
    session, sections = strict(answer(name).sdp)
    return session, sections


def test_the_golden_offers_are_there() -> None:
    assert len(PUBLISHERS) >= 11
    assert len(VIEWERS) >= 8


@accepted
def test_aiortc_parses_it(name: str) -> None:
    parsed = SessionDescription.parse(answer(name).sdp.decode())
    assert len(parsed.media) == len(offered_sections(name))
    assert [media.kind for media in parsed.media] == [
        section[0][2:].split()[0] for section in offered_sections(name)
    ]


@accepted
def test_bundle_holds_the_accepted_mids_in_the_offers_order(name: str) -> None:
    session, sections = read(name)
    groups = [value for value in session if value.startswith("group:")]
    mids = [section.one("mid") for section in sections if section.port]
    assert groups == ["group:BUNDLE " + " ".join(mids)]
    offered = [re.search(r"^a=mid:(.*)$", "\n".join(s), re.M) for s in offered_sections(name)]
    assert [section.one("mid") for section in sections] == [m[1] for m in offered if m]


@accepted
def test_ice_lite_and_dtls(name: str) -> None:
    session, sections = read(name)
    assert session.count("ice-lite") == 1
    assert "end-of-candidates" not in session
    passive = "a=setup:passive" in offer_lines(name)
    for section in (section for section in sections if section.port):
        assert not section.has("ice-lite")
        assert section.one("ice-ufrag") == LOCAL.ufrag
        assert section.one("ice-pwd") == LOCAL.pwd
        assert section.one("fingerprint") == f"sha-256 {FINGERPRINT}"
        assert section.one("setup") == ("active" if passive else "passive")
        assert not section.all("tls-id")
    assert answer(name).setup == ("active" if passive else "passive")


@accepted
def test_candidates_stand_in_every_accepted_section(name: str) -> None:
    _, sections = read(name)
    accepted_ones = [section for section in sections if section.port]
    for section in accepted_ones:
        assert section.all("candidate") == [
            "1 1 udp 2130706431 192.0.2.10 8189 typ host",
            "2 1 udp 2130706175 2001:db8::10 8189 typ host",
        ]
        assert section.has("end-of-candidates")
    assert {section.port for section in accepted_ones} == {8189}
    assert not any(section.has("bundle-only") for section in sections)


@accepted
def test_rtcp(name: str) -> None:
    _, sections = read(name)
    for section, offered in zip(sections, offered_sections(name), strict=True):
        if section.port:
            assert section.has("rtcp-mux")
            assert section.has("rtcp-mux-only")
            assert section.has("rtcp-rsize") == ("a=rtcp-rsize" in offered)
            assert not section.all("rtcp-xr")


@accepted
def test_payload_types_are_echoed(name: str) -> None:
    _, sections = read(name)
    for section, offered in zip(sections, offered_sections(name), strict=True):
        if not section.port:
            continue
        rtpmaps = section.by_pt("rtpmap")
        assert list(rtpmaps) == section.formats
        for pt, (rtpmap,) in rtpmaps.items():
            static = {"0": "PCMU/8000", "8": "PCMA/8000"}.get(pt)
            assert pt in offered[0].split()
            assert f"a=rtpmap:{pt} {rtpmap}" in offered or rtpmap == static
            assert not re.match(r"(?i)red|ulpfec|flexfec|telephone-event|CN|G722", rtpmap)
        for pt, lines in section.by_pt("fmtp").items():
            assert len(lines) == 1
            assert "sprop" not in lines[0]
            apt = re.fullmatch(r"apt=([0-9]+)", lines[0])
            assert (apt is not None) == rtpmaps[pt][0].lower().startswith("rtx/")
            if apt:
                assert section.formats.index(apt[1]) == section.formats.index(pt) - 1
        for pt, lines in section.by_pt("rtcp-fb").items():
            assert pt in section.formats
            assert len(set(lines)) == len(lines)
            for line in lines:
                assert f"a=rtcp-fb:{pt} {line}" in offered
                assert line in ("nack", "nack pli", "ccm fir", "rrtr", "goog-remb", "transport-cc")


@accepted
def test_header_extensions(name: str) -> None:
    _, sections = read(name)
    everything: dict[int, str] = {}
    for section, offered in zip(sections, offered_sections(name), strict=True):
        for line in section.all("extmap"):
            word, uri = line.split(" ")
            number, _, direction = word.partition("/")
            mirrored = {"sendonly": "/recvonly", "recvonly": "/sendonly", "": ""}[direction]
            assert f"a=extmap:{number}{mirrored} {uri}" in offered
            assert not any(part in uri for part in HOP_BY_HOP)
            assert everything.setdefault(int(number), uri) == uri
        assert section.has("extmap-allow-mixed") == (
            section.port > 0 and "a=extmap-allow-mixed" in offered
        )
        offers_mid = any(line.startswith("a=extmap:") and line.endswith(MID) for line in offered)
        if section.port and offers_mid:
            assert any(line.endswith(MID) for line in section.all("extmap"))
    made = answer(name)
    if isinstance(made, PublisherAnswer):
        assert made.publication.extensions == everything
    else:
        assert made.subscription.extensions == {uri: n for n, uri in everything.items()}
        assert not any("stream-id" in uri for uri in everything.values())


@accepted
def test_extmap_allow_mixed_of_the_session_is_echoed(name: str) -> None:
    session, _ = read(name)
    before = golden(name).decode().split("\nm=")[0]
    assert ("extmap-allow-mixed" in session) == ("a=extmap-allow-mixed" in before)


@accepted
def test_nobody_is_actpass(name: str) -> None:
    assert b"actpass" not in answer(name).sdp


@pytest.mark.parametrize("name", VIEWERS)
def test_viewers_get_nothing_of_transport_cc(name: str) -> None:
    text = answer(name).sdp
    assert b"transport-cc" not in text
    assert b"transport-wide-cc" not in text


@pytest.mark.parametrize("name", PUBLISHERS)
def test_transport_cc_goes_with_its_numbers(name: str) -> None:
    """The numbers in every section that offers them if the feedback on them is offered in one
    (Chromium's G.711 has none); the feedback where the numbers are."""
    made = publish(golden(name))
    _, sections = strict(made.sdp)
    offered = offered_sections(name)
    wanted = any(
        f"a=rtcp-fb:{section.formats[0]} transport-cc" in lines
        for section, lines in zip(sections, offered, strict=True)
    )
    for section, lines in zip(sections, offered, strict=True):
        numbers = [line for line in section.all("extmap") if line.endswith(TRANSPORT_WIDE)]
        offers_numbers = any(line.endswith(TRANSPORT_WIDE) for line in lines)
        assert len(numbers) == (wanted and offers_numbers)
        pt = section.formats[0]
        feedback = section.by_pt("rtcp-fb").get(pt, [])
        offers_feedback = f"a=rtcp-fb:{pt} transport-cc" in lines
        assert ("transport-cc" in feedback) == (bool(numbers) and offers_feedback)
    assert (TRANSPORT_WIDE in made.publication.extensions.values()) == any(
        line.endswith(TRANSPORT_WIDE) for section in sections for line in section.all("extmap")
    )
    if "sendonly" in name and name.startswith(("chromium", "firefox")):
        assert all(TRANSPORT_WIDE in "".join(section.all("extmap")) for section in sections)


def test_numbers_without_feedback_on_them_are_left_out() -> None:
    text = golden("chromium156-sendonly-default.sdp")
    lines = [line for line in text.splitlines(keepends=True) if b"transport-cc" not in line]
    assert b"transport-wide-cc" not in publish(b"".join(lines)).sdp


@pytest.mark.parametrize("name", PUBLISHERS)
def test_whip_keeps_one_codec_a_section(name: str) -> None:
    made = publish(golden(name))
    _, sections = strict(made.sdp)
    for section in sections:
        assert section.port
        assert section.direction == "recvonly"
        names = [rtpmap[0].split("/")[0].lower() for rtpmap in section.by_pt("rtpmap").values()]
        assert names[0] != "rtx"
        assert names[1:] in ([], ["rtx"])
        assert not section.all("msid")
        assert not section.all("ssrc")
        assert section.all("simulcast") == ["recv 0;1"] * ("obs" in name and names[0] == "h264")
        assert len(section.all("rid")) == 2 * len(section.all("simulcast"))
    tracks = {track.kind: track for track in made.publication.tracks}
    assert len(tracks) == len(sections) == len(made.chosen)
    for section in sections:
        track = tracks[Kind.AUDIO if section.media == "audio" else Kind.VIDEO]
        (fmt,) = track.formats
        assert track.mid == section.one("mid")
        assert [str(pt) for pt in (fmt.pt, fmt.rtx_pt) if pt is not None] == section.formats
        assert fmt.format == made.chosen[track.kind]
        feedback = section.by_pt("rtcp-fb").get(str(fmt.pt), [])
        assert track.nack == ("nack" in feedback)
        assert track.pli == ("nack pli" in feedback)
        assert track.fir == ("ccm fir" in feedback)
        assert track.remb == ("goog-remb" in feedback)
        assert len(track.ssrcs) == len(track.rtx_ssrcs)
    assert made.publication.local_ssrc == IDS.local_ssrc
    assert made.publication.cname == IDS.cname
    assert made.publication.reduced_size == (b"a=rtcp-rsize" in golden(name))


@pytest.mark.parametrize(
    ("name", "video", "audio"),
    [
        ("chromium156-sendonly-default.sdp", (108, Codec.H264, 109), (111, Codec.OPUS)),
        ("chromium156-sendonly-h264-pcma.sdp", (108, Codec.H264, None), (8, Codec.PCMA)),
        ("firefox153-openh264-sendonly-default.sdp", (126, Codec.H264, 127), (109, Codec.OPUS)),
        ("ffmpeg9-whip-offer.sdp", (106, Codec.H264, 105), (111, Codec.OPUS)),
        ("ffmpeg80-whip-offer.sdp", (106, Codec.H264, None), (111, Codec.OPUS)),
        ("gst1.22-webrtcbin-whip-offer.sdp", (96, Codec.H264, None), (8, Codec.PCMA)),
        ("aiortc1.16-sendonly-offer.sdp", (101, Codec.H264, 102), (8, Codec.PCMA)),
        ("made-obs-whip-offer.sdp", (96, Codec.H264, None), (111, Codec.OPUS)),
        ("rfc9725-whip-offer.sdp", (96, Codec.VP8, 97), (111, Codec.OPUS)),
    ],
)
def test_whip_choice(
    name: str, video: tuple[int, Codec, int | None], audio: tuple[int, Codec]
) -> None:
    tracks = {track.kind: track for track in publish(golden(name)).publication.tracks}
    (fmt,) = tracks[Kind.VIDEO].formats
    assert (fmt.pt, fmt.codec, fmt.rtx_pt) == video
    (fmt,) = tracks[Kind.AUDIO].formats
    assert (fmt.pt, fmt.codec, fmt.rtx_pt) == (*audio, None)


def test_whip_ssrcs() -> None:
    tracks = {t.kind: t for t in publish(golden("ffmpeg9-whip-offer.sdp")).publication.tracks}
    assert tracks[Kind.VIDEO].ssrcs == (2872661456,)
    assert tracks[Kind.VIDEO].rtx_ssrcs == (2872661457,)
    assert tracks[Kind.AUDIO].ssrcs == (2872661455,)
    assert tracks[Kind.AUDIO].rtx_ssrcs == (0,)
    tracks = {t.kind: t for t in publish(golden("made-obs-whip-offer.sdp")).publication.tracks}
    assert tracks[Kind.VIDEO].ssrcs == ()  # OBS with simulcast signals none


def test_whip_mirrors_opus_parameters() -> None:
    _, sections = strict(publish(golden("made-obs-whip-offer.sdp")).sdp)
    assert sections[0].one("fmtp") == (
        "111 minptime=10;maxaveragebitrate=96000;stereo=1;useinbandfec=1"
    )


def test_sprop_stereo_alone_asks_for_stereo() -> None:
    body = golden("made-obs-whip-offer.sdp").replace(b";stereo=1", b"")
    _, sections = strict(publish(body).sdp)
    assert sections[0].one("fmtp").endswith("useinbandfec=1;stereo=1")


def test_whip_policy_order_decides() -> None:
    policy = CodecPolicy(video=("VP9", "H264"), audio=("PCMU", "OPUS"), audio_by_offer=False)
    made = publish(golden("chromium156-sendonly-default.sdp"), policy)
    tracks = {track.kind: track.formats[0].pt for track in made.publication.tracks}
    assert tracks == {Kind.AUDIO: 0, Kind.VIDEO: 98}


def test_sprop_parameter_sets_fill_the_profile() -> None:
    formats = StreamFormats()
    body = golden("gst1.22-webrtcbin-whip-offer.sdp").replace(b"Z0LAHtoC", b"Z2QAHtoC")
    made = publish(body, formats=formats)
    assert formats.profile(made.chosen[Kind.VIDEO]).name == "HIGH"


@pytest.mark.duty("H16")
def test_orientation_is_passed_or_the_publisher_turns_the_picture() -> None:
    uri = "urn:3gpp:video-orientation"
    body = golden("chromium156-sendonly-default.sdp")
    assert uri in publish(body).publication.extensions.values()
    turned = publish(body, CodecPolicy(turn_video=True))
    assert uri not in turned.publication.extensions.values()
    assert uri.encode() not in turned.sdp
    assert uri in view(golden("chromium156-recvonly-default.sdp")).subscription.extensions


@pytest.mark.duty("H16")
def test_ids_above_14_need_extmap_allow_mixed() -> None:
    """RFC 8285 section 4.1.2: they have the two-byte form alone."""
    body = golden("chromium156-recvonly-default.sdp")
    level = b"urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    wide = re.sub(rb"a=extmap:\d+ " + level, b"a=extmap:99 " + level, body)
    assert wide != body
    made = view(wide)
    assert made.subscription.mixed
    assert made.subscription.extensions[level.decode()] == 99
    made = view(wide.replace(b"a=extmap-allow-mixed\r\n", b""))
    assert not made.subscription.mixed
    assert level not in made.sdp
    assert max(made.subscription.extensions.values()) <= 14


@pytest.mark.duty("H19", "W13")
def test_a_codec_policy_keeps_one_codec_or_refuses() -> None:
    body = golden("chromium156-sendonly-default.sdp")
    made = publish(body, CodecPolicy.of(("VP8", "PCMU", "H264", "OPUS")))
    assert [t.formats[0].codec for t in made.publication.tracks] == [Codec.PCMU, Codec.VP8]
    _, sections = strict(made.sdp)
    for section in sections:
        kept = [m[0] for m in section.by_pt("rtpmap").values() if not m[0].startswith("rtx/")]
        assert len(kept) == 1
    with pytest.raises(SdpError) as error:
        publish(body, CodecPolicy.of(("H265", "PCMA")))
    assert error.value.status == 422
    assert "offer one of H265" in str(error.value)
    with pytest.raises(SdpError) as error:
        publish(body, CodecPolicy.of(("PCMA",)))
    assert error.value.status == 422
    assert "takes no video" in str(error.value)


@pytest.mark.duty("G3")
def test_red_cn_fec_and_telephone_event_are_in_no_answer() -> None:
    extra = b" 63 110 112 13 118\r\n"
    body = golden("chromium156-sendonly-default.sdp")
    lines = (
        b"a=rtpmap:63 red/48000/2\r\na=rtpmap:110 telephone-event/48000\r\n"
        b"a=rtpmap:112 ulpfec/48000\r\na=rtpmap:118 flexfec-03/48000\r\n"
    )
    if b"red/48000" not in body:
        body = re.sub(rb"(m=audio [^\r]*)\r\n", rb"\1" + extra, body, count=1)
        body = body.replace(b"a=rtcp-mux\r\n", b"a=rtcp-mux\r\n" + lines, 1)
    for sdp in (publish(body).sdp, view(body.replace(b"a=sendonly", b"a=recvonly")).sdp):
        found = re.findall(rb"a=rtpmap:\d+ (\S+?)/", sdp)
        assert found
        helpers = {b"red", b"ulpfec", b"flexfec-03", b"cn", b"telephone-event"}
        assert not {name.lower() for name in found} & helpers


def test_firefox_receive_only_extension_is_not_for_publishers() -> None:
    sdp = publish(golden("firefox153-by-whipjs-whip-offer.sdp")).sdp
    assert b"playout-delay" not in sdp
    sdp = view(golden("firefox153-by-whepjs-whep-offer.sdp")).sdp
    assert b"a=extmap:6/sendonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay" in sdp


def test_round_trips_are_answered_where_they_are_offered() -> None:
    """``rrtr`` (receivers' reference times, RFC 3611) has to be in the offer, for each type."""
    text = golden("chromium156-recvonly-default.sdp")
    assert b"rrtr" not in view(text).sdp
    asks = text.replace(b"a=rtcp-fb:108 nack\r\n", b"a=rtcp-fb:108 nack\r\na=rtcp-fb:108 rrtr\r\n")
    assert asks != text
    answered = [line for line in view(asks).sdp.splitlines() if b"rrtr" in line]
    assert answered == [b"a=rtcp-fb:108 rrtr"]


@pytest.mark.parametrize("name", VIEWERS)
def test_whep_sections(name: str) -> None:
    made = view(golden(name))
    session, sections = strict(made.sdp)
    assert f"msid-semantic: WMS {IDS.stream_id}" in session
    tracks = {track.kind: track for track in made.subscription.tracks}
    for section in sections:
        if section.media == "application":
            continue
        assert section.port
        assert section.direction == "sendonly"
        track = tracks[Kind.AUDIO if section.media == "audio" else Kind.VIDEO]
        ssrc = IDS.audio_ssrc if section.media == "audio" else IDS.video_ssrc
        msid = f"{IDS.stream_id} {section.media}"
        assert section.one("msid") == msid
        has_rtx = any("rtx/" in rtpmap[0] for rtpmap in section.by_pt("rtpmap").values())
        assert section.all("ssrc-group") == ([f"FID {ssrc} {IDS.rtx_ssrc}"] if has_rtx else [])
        expected = [ssrc, IDS.rtx_ssrc] if has_rtx else [ssrc]
        assert section.all("ssrc") == [
            line for n in expected for line in (f"{n} cname:{IDS.cname}", f"{n} msid:{msid}")
        ]
        assert track.mid == section.one("mid")
        assert track.ssrc == ssrc
        assert track.rtx_ssrc == (IDS.rtx_ssrc if has_rtx else 0)
        live_pt, live_rtx = track.payload_types[0]
        assert section.formats[0] == str(live_pt)
        assert section.formats[1:2] == ([str(live_rtx)] if live_rtx else section.formats[1:2])
        feedback = {line for lines in section.by_pt("rtcp-fb").values() for line in lines}
        assert track.nack == ("nack" in feedback)
        assert "goog-remb" not in feedback
    assert made.payload_types(stream()) == {k: t.payload_types for k, t in tracks.items()}


@pytest.mark.parametrize(
    ("name", "video", "audio"),
    [
        ("chromium156-recvonly-default.sdp", (108, 109), (8, None)),
        ("chromium156-recvonly-h264-pcma.sdp", (108, None), (8, None)),
        ("chromium156-by-eyewhep-whep-offer.sdp", (108, 109), (8, None)),
        ("firefox153-openh264-recvonly-default.sdp", (126, 127), (8, None)),
        ("gst1.22-webrtcbin-whep-offer.sdp", (96, None), (8, None)),
        ("aiortc1.16-recvonly-offer.sdp", (101, 102), (8, None)),
        ("wrtc-M152-recvonly-h264-pcma.sdp", (102, 103), (8, None)),
        ("made-mediamtx-reader-whep-offer.sdp", (103, 104), (8, None)),
    ],
)
def test_whep_choice(
    name: str, video: tuple[int, int | None], audio: tuple[int, int | None]
) -> None:
    tracks = {track.kind: track for track in view(golden(name)).subscription.tracks}
    assert tracks[Kind.VIDEO].payload_types == {0: video}
    assert tracks[Kind.AUDIO].payload_types == {0: audio}


def test_whep_lists_all_allowed_payload_types() -> None:
    _, sections = strict(view(golden("chromium156-recvonly-default.sdp")).sdp)
    names = [rtpmap[0] for rtpmap in sections[1].by_pt("rtpmap").values()]
    assert {name.split("/")[0] for name in names} == {"H264", "VP8", "VP9", "AV1", "rtx"}
    assert sections[0].formats == ["8", "111", "0"]


def test_whep_in_wait_mode_and_with_an_absent_track() -> None:
    for live in ({}, {Kind.VIDEO: 0}):
        made = view(golden("chromium156-recvonly-default.sdp"), stream(audio=None), live)
        _, sections = strict(made.sdp)
        assert [section.direction for section in sections] == ["sendonly", "sendonly"]
        assert all(section.all("msid") and section.all("ssrc") for section in sections)
        assert {track.kind for track in made.subscription.tracks} == {Kind.AUDIO, Kind.VIDEO}
    audio = next(t for t in made.subscription.tracks if t.kind == Kind.AUDIO)
    assert audio.payload_types == {}


@pytest.mark.duty("P2", "H20")
@pytest.mark.parametrize("absent", list(Kind))
def test_a_player_that_waits_for_two_tracks_gets_two_sections(absent: Kind) -> None:
    """vue-wish shows nothing before two track events: what is not published is sendonly too."""
    formats = stream(audio=None) if absent == Kind.AUDIO else stream(video=None)
    live = {kind: 0 for kind in Kind if kind != absent}
    made = view(golden("chromium156-recvonly-h264-pcma.sdp"), formats, live)
    session, sections = strict(made.sdp)
    assert [s.direction for s in sections] == ["sendonly", "sendonly"]
    assert all(s.port and s.formats for s in sections)
    assert len({s.one("msid").split()[0] for s in sections}) == 1
    bundle = next(line for line in session if line.startswith("group:BUNDLE"))
    assert bundle.split()[1:] == [s.one("mid") for s in sections]
    track = next(t for t in made.subscription.tracks if t.kind == absent)
    assert (track.payload_types, track.ssrc != 0) == ({}, True)


@pytest.mark.duty("G1", "H20")
def test_g711_by_static_types_without_rtpmap_in_either_law() -> None:
    body = re.sub(
        rb"(m=audio \d+ \S+)[ 0-9]+", rb"\1 0", golden("chromium156-recvonly-h264-pcma.sdp")
    )
    body = re.sub(rb"a=rtpmap:8 PCMA/8000\r\n", b"", body)
    made = view(body)
    _, sections = strict(made.sdp)
    audio = next(t for t in made.subscription.tracks if t.kind == Kind.AUDIO)
    assert (audio.payload_types, audio.derived) == ({0: (0, None)}, {0})
    assert next(s for s in sections if s.media == "audio").formats == ["0"]
    assert made.is_derived(stream(), Kind.AUDIO, 0)
    pcma = view(body, policy=CodecPolicy(audio=("PCMA",)))
    assert {t.kind for t in pcma.subscription.tracks} == {Kind.VIDEO}  # not allowed here


def test_a_later_format_finds_its_payload_type() -> None:
    formats = stream()
    made = view(golden("chromium156-recvonly-default.sdp"), formats)
    formats.index(Kind.VIDEO, MediaFormat("VP8", 90000))
    formats.index(Kind.VIDEO, MediaFormat("H265", 90000))
    formats.index(Kind.AUDIO, MediaFormat("OPUS", 48000, 2))
    assert made.payload_types(formats) == {
        Kind.VIDEO: {0: (108, 109), 1: (96, 97)},
        Kind.AUDIO: {0: (8, None), 1: (111, None)},
    }


@pytest.mark.duty("H4", "H5")
def test_an_sps_seen_later_changes_the_match() -> None:
    formats = stream()
    made = view(golden("chromium156-recvonly-default.sdp"), formats)
    formats.set_sps(0, bytes.fromhex("674d001facd9"))
    assert made.payload_types(formats)[Kind.VIDEO] == {0: (116, 117)}
    formats.set_sps(0, bytes.fromhex("6764001facd9"))  # High, as OBS sends: no offered profile
    assert made.payload_types(formats)[Kind.VIDEO] == {0: (108, 109)}


def test_a_rejected_data_channel_leaves_the_bundle_and_the_tag_moves() -> None:
    session, sections = strict(view(golden("made-mediamtx-reader-whep-offer.sdp")).sdp)
    assert "group:BUNDLE 1 2" in session
    data, video, audio = sections
    assert (data.media, data.port, data.formats) == ("application", 0, ["webrtc-datachannel"])
    assert data.attributes == ["mid:0"]
    assert video.all("candidate")
    assert audio.formats == ["8", "111", "0"]  # not PCMA/8000/2, multiopus, L16


def test_a_section_without_an_allowed_codec_stays_sendonly() -> None:
    body = golden("made-mediamtx-reader-whep-offer.sdp")
    made = view(body, stream(audio=None), policy=CodecPolicy(audio=()))
    _, sections = strict(made.sdp)
    assert sections[2].direction == "sendonly"
    assert sections[2].formats == ["111"]
    assert [track.kind for track in made.subscription.tracks] == [Kind.VIDEO]


def test_whep_answer_is_cut_to_8_kib() -> None:
    body = golden("chromium156-recvonly-default.sdp")
    body = body.replace(
        b"level-asymmetry-allowed=1;", b"level-asymmetry-allowed=1;x=" + b"y" * 800 + b";"
    )
    made = view(body)
    _, sections = strict(made.sdp)
    assert sections[1].formats[:2] == ["108", "109"]
    assert made.subscription.tracks[1].payload_types == {0: (108, 109)}


def test_play_out_delay_is_told() -> None:
    assert view(golden("chromium156-recvonly-default.sdp")).subscription.start_playout_delay
    assert not view(golden("aiortc1.16-recvonly-offer.sdp")).subscription.start_playout_delay


def test_h264_stream_format_is_shared_by_equal_profiles() -> None:
    formats = StreamFormats()
    assert publish(golden("made-obs-whip-offer.sdp"), formats=formats).chosen[Kind.VIDEO] == 0
    made = publish(golden("gst1.22-webrtcbin-whip-offer.sdp"), formats=formats)  # 42c01e
    assert made.chosen[Kind.VIDEO] == 0
    made = publish(golden("ffmpeg9-whip-offer.sdp"), formats=formats)  # 42001e
    assert made.chosen[Kind.VIDEO] == 1
    assert formats[Kind.VIDEO][0].configuration() == H264.configuration()
