"""Helpers of the SDP tests: the golden offers, fixed identities, and a strict reader of answers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import aioice

from rtcfwd.forwarder.api import Kind
from rtcfwd.sdp import (
    CodecPolicy,
    Ids,
    LocalTransport,
    MediaFormat,
    PublisherAnswer,
    StreamFormats,
    ViewerAnswer,
    negotiate_publisher,
    negotiate_viewer,
    parse_offer,
)

OFFERS = Path(__file__).parent.parent / "vectors" / "offers"
PUBLISHERS = sorted(
    p.name for p in OFFERS.glob("*.sdp") if re.search("sendonly|whip-offer", p.name)
)
VIEWERS = sorted(p.name for p in OFFERS.glob("*.sdp") if re.search("recvonly|whep-offer", p.name))

FINGERPRINT = ":".join(["A5"] * 32)
LOCAL = LocalTransport(
    ufrag="srv1ufrg",
    pwd="serverpasswordof24chars0",
    fingerprint=("sha-256", FINGERPRINT),
    candidates=[
        aioice.Candidate("1", 1, "udp", 2130706431, "192.0.2.10", 8189, "host"),
        aioice.Candidate("2", 1, "udp", 2130706175, "2001:db8::10", 8189, "host"),
    ],
)
IDS = Ids("4711", "stream1", "cname1", 1001, 1002, 1003, 1004)

H264 = MediaFormat("H264", 90000, 1, {"profile-level-id": "42e01f", "packetization-mode": "1"})
PCMA = MediaFormat("PCMA", 8000)
ALL_KINDS = tuple(Kind)


def golden(name: str) -> bytes:
    return (OFFERS / name).read_bytes()


def stream(video: MediaFormat | None = H264, audio: MediaFormat | None = PCMA) -> StreamFormats:
    formats = StreamFormats()
    if video is not None:
        formats.index(Kind.VIDEO, video)
    if audio is not None:
        formats.index(Kind.AUDIO, audio)
    return formats


def publish(
    body: bytes, policy: CodecPolicy | None = None, formats: StreamFormats | None = None
) -> PublisherAnswer:
    return negotiate_publisher(
        parse_offer(body),
        local=LOCAL,
        policy=policy or CodecPolicy(),
        formats=formats or StreamFormats(),
        ids=IDS,
    )


def view(
    body: bytes,
    formats: StreamFormats | None = None,
    live: dict[Kind, int] | None = None,
    policy: CodecPolicy | None = None,
) -> ViewerAnswer:
    formats = formats or stream()
    if live is None:
        live = {kind: 0 for kind in Kind if formats[kind]}
    return negotiate_viewer(
        parse_offer(body),
        local=LOCAL,
        policy=policy or CodecPolicy(),
        formats=formats,
        live=live,
        ids=IDS,
    )


@dataclass
class Section:
    """One m-section of an answer: m= line's parts and all a= lines in order."""

    media: str
    port: int
    proto: str
    formats: list[str]
    attributes: list[str] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [a[len(name) + 1 :] for a in self.attributes if a.startswith(name + ":")]

    def one(self, name: str) -> str:
        values = self.all(name)
        assert len(values) == 1, (name, values)
        return values[0]

    def has(self, flag: str) -> bool:
        assert self.attributes.count(flag) <= 1
        return flag in self.attributes

    @property
    def direction(self) -> str:
        found = [
            a for a in self.attributes if a in ("sendrecv", "sendonly", "recvonly", "inactive")
        ]
        assert len(found) == 1, found
        return found[0]

    def by_pt(self, name: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for value in self.all(name):
            pt, _, rest = value.partition(" ")
            found.setdefault(pt, []).append(rest)
        return found


def strict(sdp: bytes) -> tuple[list[str], list[Section]]:
    """Read an answer with RFC 8866's grammar and order of lines, forgiving nothing; returns the
    session's attributes and the m-sections."""
    assert len(sdp) <= 8192
    assert sdp.endswith(b"\r\n")
    assert sdp.count(b"\n") == sdp.count(b"\r\n") == sdp.count(b"\r")
    lines = sdp.decode("ascii").split("\r\n")[:-1]
    assert all(re.fullmatch(r"[vostmca]=\S.*", line) and line == line.rstrip() for line in lines)
    assert lines[0] == "v=0"
    assert re.fullmatch(r"o=- [0-9]{1,19} [0-9]+ IN IP4 127\.0\.0\.1", lines[1])
    assert lines[2:4] == ["s=-", "t=0 0"]
    session: list[str] = []
    sections: list[Section] = []
    rest = lines[4:]
    while rest and rest[0].startswith("a="):
        session.append(rest.pop(0)[2:])
    while rest:
        head = re.fullmatch(r"m=(\S+) ([0-9]+) (\S+) (\S+(?: \S+)*)", rest.pop(0))
        assert head is not None
        section = Section(head[1], int(head[2]), head[3], head[4].split(" "))
        assert re.fullmatch(r"c=IN IP[46] \S+", rest.pop(0))
        while rest and not rest[0].startswith("m="):
            line = rest.pop(0)
            assert line.startswith("a=")
            section.attributes.append(line[2:])
        sections.append(section)
    return session, sections
