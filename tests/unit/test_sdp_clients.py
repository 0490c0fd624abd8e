"""Every golden offer gets an answer that its own client accepts: the clients' readers, each as
strict or as odd as its source, put to the answers. What all answers have in common is
test_sdp_answers.py's."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from rtcfwd.sdp import MediaFormat
from tests.unit.sdp_tools import (
    H264,
    PCMA,
    PUBLISHERS,
    VIEWERS,
    golden,
    publish,
    stream,
    strict,
    view,
)

Reader = Callable[[str, str], None]
OPUS = MediaFormat("OPUS", 48000, 2)
VP8 = MediaFormat("VP8", 90000)


def lines(sdp: str, name: str) -> list[str]:
    return re.findall(rf"(?m)^a={name}:(.*?)\r?$", sdp)


def active(answer: str) -> list[str]:
    """The m-sections that are not rejected."""
    parts = answer.split("\r\nm=")[1:]
    return ["m=" + part for part in parts if part.split()[1] != "0"]


def obs(offer: str, answer: str) -> None:
    """libdatachannel: no port 0, setup decided; OBS: as many layers as it sends."""
    assert len(active(answer)) == offer.count("\nm=")
    assert set(lines(answer, "setup")) <= {"active", "passive"}
    if "a=simulcast" in offer:
        layers = re.findall(r"a=rid:(\S+) send", offer)
        start = answer.index("a=simulcast")
        text = answer[start : answer.index("\r\n", start)]
        assert text.count(";") + 1 == len(layers)
        assert text.split()[-1].split(";") == layers


def ffmpeg(offer: str, answer: str) -> None:
    """whip.c: at most 8192 bytes, starts with v=, the first candidate line with "host" is UDP; DTLS
    the other way round than it offered; its two payload types are sent whatever is answered."""
    assert answer.startswith("v=")
    assert len(answer) <= 8192
    host = next(line for line in answer.splitlines() if "candidate" in line and "host" in line)
    assert " udp " in host
    assert lines(answer, "ice-ufrag")
    assert lines(answer, "ice-pwd")
    assert lines(answer, "fingerprint")
    theirs, ours = lines(offer, "setup")[0], lines(answer, "setup")[0]
    assert (theirs, ours) in (("passive", "active"), ("active", "passive"), ("actpass", "passive"))
    assert [section.split("\r\n")[0].split()[3] for section in active(answer)] == [
        line.split()[3] for line in re.findall(r"(?m)^m=.*$", offer)
    ]


def gstreamer(offer: str, answer: str) -> None:
    """webrtcbin: as many m-sections, the same kinds and mids in the same order, bundle-only ones
    alive in the answer, too; each payload type with the encoding name and clock rate of its own,
    since they have to intersect with its caps."""
    head = re.findall(r"(?m)^m=(\w+) ", offer)
    assert [section[2:].split()[0] for section in active(answer)] == head
    assert lines(answer, "mid") == lines(offer, "mid")
    offered = {v.split()[0]: v.split()[1].upper() for v in lines(offer, "rtpmap")}
    for value in lines(answer, "rtpmap"):
        number, name = value.split()[:2]
        assert offered[number] == name.upper()


def browser(offer: str, answer: str) -> None:
    """JSEP: the m-lines of the offer in order, mids kept, no actpass, only payload types and
    extension ids that were offered, a codec in each live section, the bundle's first mid alive."""
    offered = offer.replace("\r\n", "\n").split("\nm=")[1:]
    answered = answer.split("\r\nm=")[1:]
    assert [s.split()[0] for s in answered] == [s.split()[0] for s in offered]
    assert lines(answer, "mid") == lines(offer, "mid")
    for theirs, ours in zip(offered, answered, strict=True):
        first = ours.split("\r\n")[0].split()
        if first[1] == "0":
            continue
        assert set(first[3:]) <= set(theirs.split("\n")[0].split()[3:])
        assert len(set(first[3:])) == len(first[3:])
        for name in ("extmap", "rtpmap"):
            ids = {re.split(r"[ /]", v)[0] for v in re.findall(rf"(?m)^a={name}:(.*)$", ours)}
            known = {re.split(r"[ /]", v)[0] for v in re.findall(rf"(?m)^a={name}:(.*)$", theirs)}
            assert ids <= known | ({"0", "8", "9", "13"} if name == "rtpmap" else set())
    group = lines(answer, "group")[0].split()
    assert group[0] == "BUNDLE"
    assert group[1] in [v for s in active(answer) for v in re.findall(r"a=mid:(\S+)", s)]
    assert "actpass" not in answer


def player(offer: str, answer: str) -> None:
    """Players show what comes with a media stream: every live section has an msid, of one stream
    whose name is not "-" (Eyevinn's player), and there are two of them (vue-wish)."""
    browser(offer, answer)
    streams = {value.split()[0] for value in lines(answer, "msid")}
    assert len(streams) == 1
    assert "-" not in streams
    assert len(lines(answer, "msid")) == len(active(answer)) >= 2


def simple(offer: str, answer: str) -> None:
    """simple-whip/whep-client: begins with v=0 CRLF, candidates in the first m-section."""
    assert answer.startswith("v=0\r\n")
    assert "a=candidate:" in answer.split("\r\nm=")[1]


def mediamtx(offer: str, answer: str) -> None:
    """Its reader offers a data channel too: that section alone is rejected."""
    player(offer, answer)
    rejected = [s.split()[0] for s in answer.split("\r\nm=")[1:] if s.split()[1] == "0"]
    assert rejected == ["application"]


READERS: dict[str, list[Reader]] = {
    "aiortc": [browser],
    "chromium156-sendonly": [browser],
    "chromium156-recvonly": [player],
    "chromium156-by-eyewhep": [player],
    "ffmpeg": [ffmpeg],
    "firefox153-by-whepjs": [player],
    "firefox153-by-whipjs": [browser],
    "firefox153-openh264-recvonly": [player],
    "firefox153-openh264-sendonly": [browser],
    "gst1.22-webrtcbin": [gstreamer, simple],
    "made-mediamtx-reader": [mediamtx],
    "made-obs": [obs],
    "pyav": [ffmpeg],
    "rfc9725": [browser],
    "wrtc-M152-recvonly": [player],
    "wrtc-M152-sendonly": [browser],
}


def readers(name: str) -> list[Reader]:
    found = [own for prefix, own in READERS.items() if name.startswith(prefix)]
    assert len(found) == 1, f"{name}: which client's reader?"
    return found[0]


@pytest.mark.parametrize("name", PUBLISHERS)
def test_a_publisher_accepts_its_answer(name: str) -> None:
    offer = golden(name)
    answer = publish(offer).sdp
    strict(answer)
    for reader in readers(name):
        reader(offer.decode(), answer.decode())


def playable() -> list[tuple[str, MediaFormat, MediaFormat]]:
    """Each viewer with the streams whose codecs it has."""
    found = []
    for name in VIEWERS:
        text = golden(name).decode().lower()
        alaw = r"(?m)^m=audio \d+ \S+ (\d+ )*8\b"
        for video in (H264, VP8):
            for audio in (PCMA, OPUS):
                has_audio = f" {audio.codec}/".lower() in text or (
                    audio is PCMA and re.search(alaw, text)
                )
                if has_audio and f" {video.codec}/".lower() in text:
                    found.append((name, video, audio))
    return found


def test_every_viewer_can_play_something() -> None:
    assert {name for name, _, _ in playable()} == set(VIEWERS)


@pytest.mark.parametrize(
    ("name", "video", "audio"),
    [pytest.param(*case, id=f"{case[0]}-{case[1].codec}-{case[2].codec}") for case in playable()],
)
def test_a_viewer_accepts_its_answer(name: str, video: MediaFormat, audio: MediaFormat) -> None:
    offer = golden(name)
    answer = view(offer, stream(video, audio)).sdp
    strict(answer)
    for reader in readers(name):
        reader(offer.decode(), answer.decode())
