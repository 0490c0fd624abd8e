"""Parsing of offers: what loose clients write is taken, what cannot be served is refused with a
status and a sentence that says what to change."""

from __future__ import annotations

import pytest

from rtcfwd.forwarder.api import Kind
from rtcfwd.sdp import SdpError, StreamFormats, parse_offer
from rtcfwd.sdp import lines as limits

from .sdp_tools import ALL_KINDS, golden, publish, stream, strict, view

SHA256 = ":".join(["0A"] * 32)
SESSION = "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\n"
TRANSPORT = (
    "a=ice-ufrag:abcd\na=ice-pwd:abcdefghijklmnopqrstuv\n"
    f"a=fingerprint:sha-256 {SHA256}\na=setup:actpass\n"
)
VIDEO = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96\nc=IN IP4 0.0.0.0\na=mid:v\na=sendonly\na=rtcp-mux\n"
    "a=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f\n"
)
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 8\nc=IN IP4 0.0.0.0\na=mid:a\na=sendonly\na=rtcp-mux\n"
BUNDLE = "a=group:BUNDLE v a\n"
GOOD = SESSION + BUNDLE + TRANSPORT + VIDEO + AUDIO


def test_the_base_of_these_tests_is_good() -> None:
    assert len(publish(GOOD.encode()).publication.tracks) == 2
    assert len(view(GOOD.replace("sendonly", "recvonly").encode()).subscription.tracks) == 2


# ---- tolerated ----


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends(end: str) -> None:
    offer = parse_offer(GOOD.replace("\n", end).encode())
    assert offer.bundle == ("v", "a")
    assert offer.direction == "sendonly"
    assert parse_offer(GOOD.rstrip("\n").encode()) == offer
    assert parse_offer((GOOD + "\n\n").encode()) == offer


@pytest.mark.parametrize(("number", "name"), [("8", "PCMA"), ("0", "PCMU")])
@pytest.mark.parametrize("rtpmap", [None, "{0}/8000", "{0}/8000/1", "{1}/8000"])
def test_g711_static_payload_types(number: str, name: str, rtpmap: str | None) -> None:
    audio = AUDIO.replace("SAVPF 8", f"SAVPF {number}")
    if rtpmap is not None:
        audio += f"a=rtpmap:{number} {rtpmap.format(name, name.lower())}\n"
    made = publish((SESSION + TRANSPORT + audio).encode())
    (fmt,) = made.publication.tracks[0].formats
    assert (fmt.pt, fmt.codec.name) == (int(number), name)
    _, (section,) = strict(made.sdp)
    written = rtpmap.format(name, name.lower()) if rtpmap else f"{name}/8000"
    assert section.one("rtpmap") == f"{number} {written}"
    made = view((SESSION + TRANSPORT + audio).replace("sendonly", "recvonly").encode(),
                StreamFormats(), {})  # fmt: skip
    assert made.answered[Kind.AUDIO][0][0].pt == int(number)


def test_dynamic_g711_is_taken_and_stereo_is_not() -> None:
    audio = AUDIO.replace("SAVPF 8", "SAVPF 100 101")
    audio += "a=rtpmap:100 PCMA/8000/2\na=rtpmap:101 PCMA/8000\n"
    (track,) = publish((SESSION + TRANSPORT + audio).encode()).publication.tracks
    assert track.formats[0].pt == 101


def test_capitals() -> None:
    audio = AUDIO.replace("SAVPF 8", "SAVPF 97") + "a=rtpmap:97 OPUS/48000/2\n"
    body = (SESSION + TRANSPORT.replace("sha-256", "SHA-256") + audio).replace("0A:", "0a:")
    made = publish(body.encode())
    assert parse_offer(body.encode()).remote.fingerprints == (("sha-256", SHA256),)
    assert b"a=rtpmap:97 OPUS/48000/2\r\n" in made.sdp
    assert made.publication.tracks[0].formats[0].codec.name == "OPUS"


def test_the_bundle_may_name_a_mid_that_has_no_section() -> None:
    body = (SESSION + "a=group:BUNDLE v zz a\n" + TRANSPORT + VIDEO + AUDIO).encode()
    assert parse_offer(body).bundle == ("v", "a")
    ffmpeg8 = (SESSION + "a=group:BUNDLE a v\n" + TRANSPORT + VIDEO).encode()
    assert b"a=group:BUNDLE v\r\n" in publish(ffmpeg8).sdp


def test_a_lone_section_needs_neither_bundle_nor_mid() -> None:
    made = publish((SESSION + TRANSPORT + VIDEO.replace("a=mid:v\n", "")).encode())
    assert b"BUNDLE" not in made.sdp
    assert b"a=mid" not in made.sdp
    assert made.publication.tracks[0].mid == ""


@pytest.mark.parametrize("level", ["session", "media"])
def test_attributes_at_session_or_media_level(level: str) -> None:
    moved = TRANSPORT + "a=sendonly\n"
    media = VIDEO.replace("a=sendonly\n", "") + (moved if level == "media" else "")
    offer = parse_offer((SESSION + (moved if level == "session" else "") + media).encode())
    assert offer.remote.ufrag == "abcd"
    assert offer.remote.fingerprints == (("sha-256", SHA256),)
    assert offer.direction == "sendonly"


def test_media_level_wins_over_session_level() -> None:
    own = VIDEO.replace("a=sendonly", "a=ice-ufrag:wxyz\na=ice-pwd:" + "z" * 22 + "\na=sendonly")
    offer = parse_offer((SESSION + "a=recvonly\n" + TRANSPORT + own).encode())
    assert offer.remote.ufrag == "wxyz"
    assert offer.remote.pwd == "z" * 22
    assert offer.direction == "sendonly"


def test_the_bundle_tags_transport_counts() -> None:
    first = "a=ice-ufrag:aaaa\na=ice-pwd:" + "a" * 22 + "\n"
    tagged = "a=ice-ufrag:tttt\na=ice-pwd:" + "t" * 22 + "\n"
    body = SESSION + "a=group:BUNDLE a v\n" + TRANSPORT + VIDEO + first + AUDIO + tagged
    assert parse_offer(body.encode()).remote.ufrag == "tttt"
    made = publish(body.encode())
    assert b"a=group:BUNDLE a v\r\n" in made.sdp
    _, sections = strict(made.sdp)
    assert all(section.all("candidate") for section in sections)  # the tag's and the first's


def test_missing_direction_is_sendrecv() -> None:
    offer = parse_offer(GOOD.replace("a=sendonly\n", "").encode())
    assert {section.direction for section in offer.media} == {"sendrecv"}
    assert b"a=recvonly" in publish(GOOD.replace("a=sendonly\n", "").encode()).sdp
    assert b"a=sendonly" in view(GOOD.replace("a=sendonly\n", "").encode()).sdp


@pytest.mark.parametrize(
    ("offered", "ours"),
    [("actpass", "passive"), ("active", "passive"), ("passive", "active"), (None, "passive")],
)
def test_setup(offered: str | None, ours: str) -> None:
    line = f"a=setup:{offered}\n" if offered else ""
    made = publish(GOOD.replace("a=setup:actpass\n", line).encode())
    assert made.setup == ours
    assert f"a=setup:{ours}\r\n".encode() in made.sdp


def test_candidates() -> None:
    candidates = [
        "1 1 udp 2122194687 192.0.2.1 5000 typ host generation 0 network-id 3 network-cost 50",
        "2 1 UDP 2015364095 2001:DB8::1 5001 typ srflx raddr 0.0.0.0 rport 0",
        "2 1 udp 5 192.0.2.1 5000 typ host",  # the first one again
        "3 1 udp 5 0a1b2c3d-0000-4000-8000-000000000000.local 5002 typ host",
        "4 1 tcp 1518214911 192.0.2.1 9 typ host tcptype active",
        "5 2 udp 5 192.0.2.1 5003 typ host",
        "6 1 udp 5 192.0.2.1 0 typ host",
        "7 1 udp 5 192.0.2.1 99999 typ host",
        "8 1 udp 5 192.0.2.1 5004 typ magic",
        "9 1 udp 99999999999 192.0.2.1 5005 typ host",
        "10 1 udp 5 0.0.0.0 5006 typ host",
        "11 1 udp 5 fe80::1%eth0 5007 typ host",
        "12 1 udp 5 224.0.0.1 5008 typ host",
        "short",
        "",
    ]
    text = "".join(f"a=candidate:{value}\n" for value in candidates)
    found = parse_offer((SESSION + TRANSPORT + VIDEO + text).encode()).remote.candidates
    assert [(c.host, c.port, c.type, c.transport) for c in found] == [
        ("192.0.2.1", 5000, "host", "udp"),
        ("2001:db8::1", 5001, "srflx", "udp"),
    ]


def test_many_candidates_are_cut() -> None:
    text = "".join(f"a=candidate:1 1 udp 5 192.0.2.1 {n + 1} typ host\n" for n in range(1000))
    found = parse_offer((SESSION + TRANSPORT + VIDEO + text).encode()).remote.candidates
    assert len(found) == limits.MAX_CANDIDATES


def test_fingerprints() -> None:
    sha512 = ":".join(["0B"] * 64)
    body = GOOD.replace(
        f"a=fingerprint:sha-256 {SHA256}\n",
        f"a=fingerprint:sha-1 {SHA256[:59]}\na=fingerprint:md5 AA\na=fingerprint:sha-512 {sha512}\n"
        f"a=fingerprint:sha-256 {SHA256[:-3]}\na=fingerprint:sha-256 {SHA256}\n",
    )
    assert parse_offer(body.encode()).remote.fingerprints == (
        ("sha-512", sha512),
        ("sha-256", SHA256),
    )


def test_payload_types_that_look_like_rtcp_are_left_out() -> None:
    video = VIDEO.replace("SAVPF 96", "SAVPF 72 96 96") + "a=rtpmap:72 VP8/90000\n"
    (section,) = parse_offer((SESSION + TRANSPORT + video).encode()).media
    assert [pt.pt for pt in section.payload_types] == [96]


def test_rtcp_feedback_wildcard() -> None:
    video = VIDEO + "a=rtcp-fb:* nack\na=rtcp-fb:* NACK  PLI\na=rtcp-fb:96 nack\n"
    (track,) = publish((SESSION + TRANSPORT + video).encode()).publication.tracks
    assert (track.nack, track.pli, track.fir) == (True, True, False)


def test_extension_ids_are_kept_apart_over_the_transport() -> None:
    mid, level = (
        "urn:ietf:params:rtp-hdrext:sdes:mid",
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    )
    video = VIDEO + f"a=extmap:3 {mid}\na=extmap:15 {level}\na=extmap:0 {level}\na=extmap:x {mid}\n"
    audio = AUDIO + f"a=extmap:3 {level}\na=extmap:4 {mid}\na=extmap:5/inactive {level}\n"
    made = publish((SESSION + BUNDLE + TRANSPORT + video + audio).encode())
    assert made.publication.extensions == {3: mid}


def test_stream_ids() -> None:
    one = VIDEO + "a=msid:- v\na=ssrc:5 msid:s v\n"
    two = AUDIO + "a=msid:s a\na=msid:t a\n"
    body = (SESSION + BUNDLE + TRANSPORT + one + two).encode()
    assert [section.stream_ids for section in parse_offer(body).media] == [{"s"}, {"s", "t"}]
    publish(body)


def test_parameters_that_are_not_ascii_are_not_echoed() -> None:
    body = GOOD.replace("packetization-mode=1;", "packetization-mode=1;x=\u00e9;")
    _, (video, _) = strict(publish(body.encode()).sdp)
    assert video.one("fmtp") == "96 packetization-mode=1;profile-level-id=42e01f"


# ---- refused ----


def without(text: str, base: str = GOOD) -> str:
    assert text in base
    return base.replace(text, "")


def swap(old: str, new: str, base: str = GOOD) -> str:
    assert old in base
    return base.replace(old, new)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("", 400, "send an SDP offer"),
        ("\n\n", 400, "send an SDP offer"),
        ("{}", 400, "Line 1"),
        ("v=1\n", 400, "v=0"),
        (SESSION, 400, "add tracks or transceivers"),
        (GOOD + "nonsense\n", 400, "<letter>=<value>"),
        (GOOD + "a=x\x00y\n", 400, "control character"),
        (GOOD + "a=x\ry\n", 400, "control character"),
        (GOOD + "a=x\u2028y\n", 400, "control character"),
        (GOOD + "a=" + "x" * limits.MAX_LINE + "\n", 400, "longer than"),
        (GOOD + "a=x\n" * limits.MAX_LINES, 400, "lines"),
        (GOOD + "a=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n" * 3000, 400, "bytes"),
        (swap("m=video 9", "m=video 99999"), 400, "port of m-line 0"),
        (swap("m=video 9", "m=video -1"), 400, "port of m-line 0"),
        (swap("m=video 9 UDP/TLS/RTP/SAVPF 96", "m=video 9"), 400, "m-line 0 must be"),
        (swap("SAVPF 96", "SAVPF 128"), 400, "payload type"),
        (swap("SAVPF 96", "SAVPF x"), 400, "payload type"),
        (swap("m=video", "m=vid\u00e9o"), 400, "not a token"),
        (swap("m=audio 9 UDP/TLS/RTP/SAVPF 8", "m=x 9 y \u00e9"), 400, "not a token"),
        (without("a=mid:v\n"), 400, "no a=mid"),
        (swap("a=mid:v", "a=mid:a"), 400, "same mid"),
        (swap("a=mid:v", "a=mid:v v"), 400, "mid of m-line 0"),
        (swap("a=mid:v", "a=mid:" + "v" * 17), 400, "mid of m-line 0"),
        (without("a=ice-ufrag:abcd\n"), 400, "add a=ice-ufrag"),
        (swap("ufrag:abcd", "ufrag:abc"), 400, "a=ice-ufrag must"),
        (swap("ufrag:abcd", "ufrag:ab:cd"), 400, "a=ice-ufrag must"),
        (swap("pwd:abcdefghijklmnopqrstuv", "pwd:short"), 400, "a=ice-pwd must"),
        (without(f"a=fingerprint:sha-256 {SHA256}\n"), 422, "add a=fingerprint:sha-256"),
        (swap(f"sha-256 {SHA256}", f"sha-1 {SHA256[:59]}"), 422, "add a=fingerprint:sha-256"),
        (swap("setup:actpass", "setup:holdconn"), 422, "offer a=setup:actpass"),
        (without(BUNDLE), 422, "one BUNDLE group"),
        (swap(BUNDLE, "a=group:BUNDLE v\na=group:BUNDLE a\n"), 422, "one BUNDLE group"),
        (without("a=rtcp-mux\n"), 422, "add a=rtcp-mux"),
        (GOOD.replace("m=video 9", "m=video 0").replace("m=audio 9", "m=audio 0"), 422, "port 0"),
        (
            GOOD + "".join(f"{AUDIO}".replace(":a", f":a{n}") for n in range(20)),
            422,
            "more than 16",
        ),
        (swap("SAVPF 96", "SAVPF" + " 96" * 200), 422, "formats"),
        (swap("profile-level-id", "x" * 1100 + "=1;p"), 422, "fmtp of payload type 96"),
    ],
)
def test_refused_by_the_parser(body: str, status: int, says: str) -> None:
    with pytest.raises(SdpError) as caught:
        parse_offer(body.encode())
    assert caught.value.status == status
    assert says in caught.value.detail
    assert caught.value.detail.endswith(".")
    assert caught.value.title


def test_not_utf8_is_refused() -> None:
    with pytest.raises(SdpError, match="not UTF-8") as caught:
        parse_offer(GOOD.encode() + b"a=\xff\n")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (swap("a=sendonly", "a=recvonly"), "must offer sendonly"),
        (swap("a=sendonly", "a=inactive"), "must offer sendonly"),
        (GOOD.replace("a=group:BUNDLE v a", "a=group:BUNDLE v a b") + AUDIO.replace(":a", ":b"),
         "several"),
        (swap("H264", "THEORA"), "THEORA; offer one of H264"),
        (swap("H264/90000", "H264/48000"), "offer one of H264"),
        (swap("SAVPF 8\n", "SAVPF 9\n"), "G722; offer one of PCMA"),
        (swap("m=audio 9 UDP/TLS/RTP/SAVPF 8", "m=application 9 UDP/DTLS/SCTP x"), "leave it out"),
        (swap("m=audio 9 UDP/TLS/RTP/SAVPF 8", "m=audio 9 RTP/AVP 8"), "leave it out"),
        (GOOD.replace("a=mid:v", "a=mid:v\na=msid:x v").replace("a=mid:a", "a=mid:a\na=msid:y a"),
         "one MediaStream"),
    ],
)  # fmt: skip
def test_refused_to_a_publisher(body: str, says: str) -> None:
    formats = StreamFormats()
    with pytest.raises(SdpError) as caught:
        publish(body.encode(), formats=formats)
    assert caught.value.status == 422
    assert says in caught.value.detail
    assert not any(formats[kind] for kind in ALL_KINDS)


WATCH = GOOD.replace("sendonly", "recvonly")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (GOOD, "must offer recvonly"),
        (swap("recvonly", "inactive", WATCH), "must offer recvonly"),
        (SESSION + TRANSPORT + "m=application 9 UDP/DTLS/SCTP x\na=mid:0\n", "audio or a video"),
        (swap("H264", "VP8", WATCH).replace(
            "SAVPF 8\n", "SAVPF 111\na=rtpmap:111 opus/48000/2\n"),
         "The stream is PCMA audio and H264 video; the offer can play video VP8; audio OPUS."),
        (swap("H264", "X", WATCH).replace("SAVPF 8\n", "SAVPF 9\n"), "audio G722"),
    ],
)  # fmt: skip
def test_refused_to_a_viewer(body: str, says: str) -> None:
    with pytest.raises(SdpError) as caught:
        view(body.encode())
    assert caught.value.status == 422
    assert says in caught.value.detail


def test_a_viewer_with_one_live_kind_in_common_is_served() -> None:
    opus = "SAVPF 111\na=rtpmap:111 opus/48000/2\n"
    made = view(swap("SAVPF 8\n", opus, WATCH).encode())
    tracks = {track.kind: track.payload_types for track in made.subscription.tracks}
    assert tracks == {Kind.VIDEO: {0: (96, None)}, Kind.AUDIO: {}}


def test_a_viewer_that_asks_only_for_what_is_not_there_is_refused() -> None:
    body = (SESSION + TRANSPORT + AUDIO).replace("sendonly", "recvonly").encode()
    with pytest.raises(SdpError, match="The stream is H264 video"):
        view(body, stream(audio=None))
    assert view(body, StreamFormats(), {}).answered


def test_nothing_live_and_nothing_allowed() -> None:
    body = swap("H264", "X", WATCH).replace("SAVPF 8\n", "SAVPF 9\n")
    with pytest.raises(SdpError, match="offer one of H264"):
        view(body.encode(), StreamFormats(), {})


def test_two_sections_of_a_kind_are_refused_to_a_viewer() -> None:
    body = golden("chromium156-recvonly-default.sdp").replace(b"m=audio", b"m=video")
    with pytest.raises(SdpError, match="Offer one video m-line"):
        view(body)
