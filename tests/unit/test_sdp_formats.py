"""H264 profile equality (RFC 6184 Table 5), format identity, and which payload type takes what."""

from __future__ import annotations

import base64

import pytest

from rtcfwd.forwarder.api import Codec, Kind
from rtcfwd.sdp import CodecPolicy, MediaFormat, PayloadType, SdpError, StreamFormats, sps_profile
from rtcfwd.sdp.formats import MAX_FORMATS, find_rtx, is_derived, offered_sets, publisher_choice
from rtcfwd.sdp.h264 import Profile, fit, profile_of
from rtcfwd.sdp.offer import parameters

CB, B, E, M = Profile.CONSTRAINED_BASELINE, Profile.BASELINE, Profile.EXTENDED, Profile.MAIN
H, CH = Profile.HIGH, Profile.CONSTRAINED_HIGH


@pytest.mark.parametrize(
    ("value", "profile"),
    [
        # Constrained Baseline, its three rows
        ("42e01f", CB), ("42c01f", CB), ("42401f", CB), ("42C02A", CB), ("42f00b", CB),
        ("4d801f", CB), ("4de01f", CB), ("4dc01f", CB),
        ("58c01f", CB), ("58f01f", CB),
        # Baseline
        ("42001f", B), ("42801f", B), ("42a01f", B), ("58801f", B), ("58a01f", B),
        # Main, Extended
        ("4d001f", M), ("4d401f", M), ("4d501f", M), ("58001f", E), ("58301f", E),
        # High and above
        ("64001f", H), ("640c1f", CH), ("6e001f", Profile.HIGH_10), ("7a001f", Profile.HIGH_422),
        ("f4001f", Profile.HIGH_444), ("6e101f", Profile.INTRA), ("7a101f", Profile.INTRA),
        ("f4101f", Profile.INTRA), ("2c101f", Profile.INTRA),
        # flags that no row has
        ("64081f", H), ("4d201f", M), ("42011f", B), ("64041f", H),
        # absent, blank-padded, unreadable, unknown profile_idc
        (None, B), ("", B), ("  42e01f ", CB), ("junk", B), ("42e0", B), ("42e01f00", B),
        ("53001f", B),
        # FFmpeg 8.0's seven digits: 0x200 means constrained
        ("422001f", CB), ("4d2001f", M), ("642001f", H), ("421001f", B),
    ],
)  # fmt: skip
@pytest.mark.duty("H2")
def test_table_5(value: str | None, profile: Profile) -> None:
    assert profile_of(value) == profile


@pytest.mark.parametrize("level", [0x0A, 0x0B, 0x1F, 0x28, 0x34, 0xFF])
@pytest.mark.duty("H1")
def test_the_level_never_counts(level: int) -> None:
    assert profile_of(f"42e0{level:02x}") == CB
    assert h264(f"64{0:02x}{level:02x}").configuration() == h264("64001f").configuration()


def h264(profile: str | None = "42e01f", mode: str | None = "1") -> MediaFormat:
    fmtp = {"profile-level-id": profile, "packetization-mode": mode}
    return MediaFormat("H264", 90000, 1, {k: v for k, v in fmtp.items() if v is not None})


def pt(number: int, rtpmap: str, fmtp: str = "") -> PayloadType:
    name, clock, *channels = rtpmap.split("/")
    count = int(channels[0]) if channels else 1
    return PayloadType(number, name.upper(), int(clock), count, rtpmap, fmtp, parameters(fmtp), ())


def h264_pt(number: int, profile: str, mode: int = 1) -> PayloadType:
    return pt(number, "H264/90000", f"profile-level-id={profile};packetization-mode={mode}")


@pytest.mark.duty("H4")
def test_fit_orders_decoders() -> None:
    def order(stream: Profile, *decoders: Profile) -> list[Profile]:
        return sorted(decoders, key=lambda decoder: fit(stream, decoder))

    assert order(CB, H, CH, M, B, CB) == [CB, B, M, CH, H]
    assert order(B, H, M, CB, B) == [B, CB, M, H]
    assert order(M, CB, CH, H, M) == [M, H, CH, CB]
    assert order(CH, CB, M, H, CH) == [CH, H, CB, M]
    assert order(H, Profile.HIGH_444, CB, M, B, CH, H) == [H, CH, CB, M, B, Profile.HIGH_444]
    assert all(fit(a, b) >= 0 for a in Profile for b in Profile)


def test_format_identity() -> None:
    formats = StreamFormats()
    assert formats.index(Kind.VIDEO, h264("42e01f")) == 0
    assert formats.index(Kind.VIDEO, h264("4d8028")) == 0
    assert formats.index(Kind.VIDEO, h264("42001f")) == 1
    assert formats.index(Kind.VIDEO, h264("42e01f", "0")) == 2
    assert formats.index(Kind.VIDEO, h264("42e01f", None)) == 2
    assert formats.index(Kind.VIDEO, h264(None, None)) == 3
    assert formats.index(Kind.VIDEO, MediaFormat("VP9", 90000)) == 4
    assert formats.index(Kind.VIDEO, MediaFormat("VP9", 90000, 1, {"profile-id": "0"})) == 4
    assert formats.index(Kind.VIDEO, MediaFormat("VP9", 90000, 1, {"profile-id": "2"})) == 5
    assert formats.index(Kind.AUDIO, MediaFormat("OPUS", 48000, 2)) == 0
    assert formats.index(Kind.AUDIO, MediaFormat("OPUS", 48000, 2, {"stereo": "1"})) == 0
    assert formats.index(Kind.AUDIO, MediaFormat("PCMA", 8000)) == 1
    assert [fmt.number for fmt in formats[Kind.AUDIO]] == [Codec.OPUS, Codec.PCMA]
    assert len(formats[Kind.VIDEO]) == 6


def test_formats_are_bounded() -> None:
    formats = StreamFormats()
    for number in range(MAX_FORMATS):
        fmt = MediaFormat("VP9", 90000, 1, {"profile-id": str(number)})
        assert formats.index(Kind.VIDEO, fmt) == number
    assert formats.index(Kind.VIDEO, MediaFormat("VP9", 90000)) == 0
    with pytest.raises(SdpError, match="16 video formats") as caught:
        formats.index(Kind.VIDEO, h264())
    assert caught.value.status == 422
    assert formats.index(Kind.AUDIO, MediaFormat("PCMA", 8000)) == 0


CHROMIUM = [
    h264_pt(102, "42001f"), h264_pt(104, "42001f", 0), h264_pt(108, "42e01f"),
    h264_pt(114, "42e01f", 0), h264_pt(116, "4d001f"), h264_pt(41, "f4001f"),
]  # fmt: skip
SAFARI = [h264_pt(96, "640c1f"), h264_pt(98, "42e01f")]


@pytest.mark.parametrize(
    ("sps", "offered", "expected"),
    [
        ("67420029", CHROMIUM, 102),
        ("6742c029", CHROMIUM, 108),
        ("674d4029", CHROMIUM, 116),
        ("67640029", CHROMIUM, 108),
        ("67640029", SAFARI, 96),
        ("67640c29", SAFARI, 96),
        ("674d4029", SAFARI, 96),
        ("6742c029", SAFARI, 98),
        ("67420029", SAFARI, 98),
        ("6742c029", [h264_pt(1, "64001f")], 1),
        # mode 1 of a farther profile before mode 0 of the nearest
        ("6742c029", [h264_pt(1, "42e01f", 0), h264_pt(2, "4d001f", 1)], 2),
        # nothing but mode 0: lenient (GStreamer's whepsrc has no fmtp at all)
        ("6742c029", [pt(103, "H264/90000")], 103),
        ("6742c029", [pt(96, "VP8/90000")], None),
    ],
)
@pytest.mark.duty("H4")
def test_h264_match_follows_the_sps(
    sps: str, offered: list[PayloadType], expected: int | None
) -> None:
    formats = StreamFormats()
    index = formats.index(Kind.VIDEO, h264("42e01f"))
    formats.set_sps(index, bytes.fromhex(sps))
    found = formats.match(Kind.VIDEO, index, offered)
    assert (found.pt if found else None) == expected


@pytest.mark.duty("H5")
def test_the_sdp_counts_until_an_sps_is_seen() -> None:
    formats = StreamFormats()
    index = formats.index(Kind.VIDEO, h264("4d001f"))
    assert formats.profile(index) == M
    formats.set_sps(index, b"\x68junk")
    formats.set_sps(index, b"")
    assert formats.profile(index) == M
    formats.set_sps(index, bytes.fromhex("67640029"))
    assert formats.profile(index) == H


@pytest.mark.parametrize(
    ("fmt", "offered", "expected"),
    [
        (MediaFormat("VP8", 90000), [pt(96, "VP8/90000")], 96),
        (MediaFormat("VP9", 90000), [pt(1, "VP9/90000", "profile-id=2"), pt(2, "VP9/90000")], 2),
        (MediaFormat("VP9", 90000), [pt(1, "VP9/90000", "profile-id=2")], None),
        (MediaFormat("AV1", 90000), [pt(1, "AV1/90000", "profile=1")], 1),
        (MediaFormat("AV1", 90000, 1, {"profile": "1"}), [pt(1, "AV1/90000")], None),
        (MediaFormat("H265", 90000), [pt(1, "H265/90000", "profile-id=1;tx-mode=SRST")], 1),
        (MediaFormat("H265", 90000), [pt(1, "H265/90000", "profile-id=2")], None),
        (MediaFormat("VP8", 90000), [pt(1, "VP8/48000")], None),
    ],
)
def test_other_video_matches(
    fmt: MediaFormat, offered: list[PayloadType], expected: int | None
) -> None:
    formats = StreamFormats()
    found = formats.match(Kind.VIDEO, formats.index(Kind.VIDEO, fmt), offered)
    assert (found.pt if found else None) == expected


def test_audio_matches() -> None:
    formats = StreamFormats()
    opus = formats.index(Kind.AUDIO, MediaFormat("OPUS", 48000, 2))
    alaw = formats.index(Kind.AUDIO, MediaFormat("PCMA", 8000))
    offered = [pt(30, "PCMA/8000/2"), pt(8, "PCMA/8000"), pt(111, "opus/48000/2", "stereo=1")]
    assert formats.match(Kind.AUDIO, opus, offered) is offered[2]
    assert formats.match(Kind.AUDIO, alaw, offered) is offered[1]
    assert formats.match(Kind.AUDIO, alaw, offered[2:]) is None


@pytest.mark.duty("G1", "H20")
@pytest.mark.parametrize(("law", "other"), [("PCMA", "PCMU"), ("PCMU", "PCMA")])
def test_the_other_law_takes_a_format_when_its_own_is_not_offered(law: str, other: str) -> None:
    formats = StreamFormats()
    index = formats.index(Kind.AUDIO, MediaFormat(law, 8000))
    opus = formats.index(Kind.AUDIO, MediaFormat("OPUS", 48000, 2))
    wide, mine, its = pt(96, f"{other}/16000"), pt(97, f"{law}/8000"), pt(98, f"{other}/8000")
    assert formats.match(Kind.AUDIO, index, [wide, its, mine]) is mine
    assert formats.match(Kind.AUDIO, index, [wide, its]) is its
    assert formats.match(Kind.AUDIO, index, [wide]) is None
    assert formats.match(Kind.AUDIO, opus, [its, mine]) is None
    assert is_derived(formats[Kind.AUDIO][index], its)
    assert not is_derived(formats[Kind.AUDIO][index], mine)
    assert not is_derived(formats[Kind.AUDIO][opus], its)


def test_publisher_choice() -> None:
    policy = CodecPolicy()
    vp8, vp9 = pt(96, "VP8/90000"), pt(98, "VP9/90000")
    assert publisher_choice(policy, Kind.VIDEO, [vp9, vp8, h264_pt(1, "64001f")]) is not vp8
    assert publisher_choice(policy, Kind.VIDEO, [vp9, vp8]) is vp8
    assert publisher_choice(policy, Kind.VIDEO, [pt(1, "H266/90000")]) is None
    high, main = h264_pt(1, "64001f"), h264_pt(2, "4d001f")
    assert publisher_choice(policy, Kind.VIDEO, [high, main]) is high
    assert publisher_choice(policy, Kind.VIDEO, [high, main, CHROMIUM[2]]) is CHROMIUM[2]
    assert publisher_choice(policy, Kind.VIDEO, [CHROMIUM[3], main]) is main
    opus, alaw = pt(111, "OPUS/48000/2"), pt(8, "PCMA/8000/1")
    assert publisher_choice(policy, Kind.AUDIO, [opus, alaw]) is opus
    assert publisher_choice(policy, Kind.AUDIO, [alaw, opus]) is alaw
    by_policy = CodecPolicy(audio_by_offer=False)
    assert publisher_choice(by_policy, Kind.AUDIO, [opus, alaw]) is alaw


def test_rtx_is_found_by_apt() -> None:
    video = h264_pt(96, "42e01f")
    rtx = pt(97, "rtx/90000", "apt=96;rtx-time=3000")
    assert find_rtx([video, pt(99, "rtx/90000", "apt=98"), rtx], video) is rtx
    assert find_rtx([video, pt(97, "rtx/48000", "apt=96")], video) is None


def test_sps_profile() -> None:
    assert sps_profile(bytes.fromhex("6742c01edd")) == "42c01e"
    for junk in (b"", b"\x67\x42", b"\x68\x42\xc0\x1e", b"\xe7\x42\xc0\x1e", b"\x00\x00\x01\x67"):
        with pytest.raises(ValueError):
            sps_profile(junk)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Z0LAHtoCgL/lwFqDAwNSgAAAAwCAAAAZR4sXUA==,aM48gA==", "42c01e"),
        ("aM48gA==,Z0LAHtoC", "42c01e"),
        ("", None),
        ("!!!,=", None),
        ("aM48gA==", None),
        ("\u00e9", None),
    ],
)
def test_offered_sets(value: str, expected: str | None) -> None:
    found = offered_sets("H264", {"sprop-parameter-sets": value})
    assert (sps_profile(found[0]) if found and found[0][0] == 0x67 else None) == expected
    assert [nal[0] & 0x1F for nal in found] == sorted(nal[0] & 0x1F for nal in found)


def test_offered_sets_are_bounded() -> None:
    one = base64.b64encode(b"\x68" + bytes(300)).decode()
    assert len(offered_sets("H264", {"sprop-parameter-sets": ",".join([one] * 50)})) == 2


@pytest.mark.duty("H8")
def test_offered_sets_of_h265() -> None:
    """RFC 7798 section 7.1: three parameters, each a list; VPS before SPS before PPS."""
    vps, sps, pps = b"\x40\x01\x0c", b"\x42\x01\x01", b"\x44\x01\xc1"
    one, two, three = (base64.b64encode(nal).decode() for nal in (vps, sps, pps))
    told = {"sprop-pps": three, "sprop-sps": f"{two},junk!,{three}", "sprop-vps": one}
    assert offered_sets("H265", told) == (vps, sps, pps, pps)
    assert offered_sets("H265", {"sprop-parameter-sets": two}) == ()
    assert offered_sets("VP8", told) == ()
