"""What scripted clients stand on: HTTP as bytes, with exactly the headers that a client sends,
golden offers made their own, and media: real H264 cut into RTP and decoded again, Opus, G.711.

A scripted client is given a server's URL and does what its model does, in its order; ICE, DTLS and
SRTP are :class:`rtcfwd.client.probe.Probe`'s. :func:`run` lets any number of them live for a while.
Nothing here is told anything of the server but what it answers.
"""

from __future__ import annotations

import http.client
import itertools
import re
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
from aiortc.codecs.h264 import h264_depayload
from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtcpRtpfbPacket, RtcpSenderInfo, RtcpSrPacket
from av import AudioFrame, Packet

from rtcfwd.client.pattern import Painter, read_number
from rtcfwd.client.probe import Probe
from tests.conformance.harness import OFFERS, Reply
from tests.interop.interop_tools import Server
from tests.pipeline.leg import Rtp, Unwrap, clock_delta, ntp, parse_rtp

FPS, GOP = 25, 50  # a key frame every 2 s, as OBS's manual advises
FRAGMENT = "application/trickle-ice-sdpfrag"


def exchange(
    url: str, method: str, headers: Iterable[tuple[str, str]] = (), body: str = ""
) -> Reply:
    """One request on a connection of its own. ``headers`` go out as they are, in their order, after
    Host and before Content-Length, which a body brings along."""
    parts = urlsplit(url)
    lines = [f"{method} {parts.path or '/'}{'?' * bool(parts.query)}{parts.query} HTTP/1.1"]
    lines += [f"Host: {parts.netloc}", *(f"{name}: {value}" for name, value in headers)]
    if body or method in ("POST", "PATCH"):
        lines.append(f"Content-Length: {len(body.encode())}")
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=8) as sock:
        sock.sendall("\r\n".join([*lines, "", body]).encode())
        reply = http.client.HTTPResponse(sock, method=method)
        reply.begin()
        return Reply(reply.status, reply.headers, reply.read())


# ---- offers ----


def golden(name: str, probe: Probe, *, candidates: bool = True) -> str:
    """An offer as a client sent it, with the probe's transport in place of the client's; without
    candidates as before setLocalDescription."""
    text = (OFFERS / f"{name}.sdp").read_bytes().decode().replace("\r\n", "\n")
    hash_name, value = probe.certificate.fingerprint
    for attribute, new in (
        ("ice-ufrag", probe.ufrag),
        ("ice-pwd", probe.pwd),
        ("fingerprint", f"{hash_name} {value}"),
    ):
        text = re.sub(rf"(?m)^a={attribute}:.*$", f"a={attribute}:{new}", text)
    if not candidates:
        text = re.sub(r"(?m)^a=candidate:.*\n", "", text)
        text = re.sub(r"(?m)^(m=\w+) [1-9]\d*", r"\1 9", text)
    return text.strip().replace("\n", "\r\n") + "\r\n"


def sections(sdp: str) -> list[list[str]]:
    """The lines of each m-section."""
    return [("m=" + part).split("\r\n") for part in sdp.split("\r\nm=")[1:]]


def values(section: Sequence[str], name: str) -> list[str]:
    return [line[len(name) + 3 :] for line in section if line.startswith(f"a={name}:")]


def first_ssrc(section: Sequence[str]) -> int:
    return int(values(section, "ssrc")[0].split()[0])


def payload_types(section: Sequence[str], codec: str) -> list[int]:
    """Those of a codec, by rtpmap or by number, in the m-line's order."""
    found = {int(v.split()[0]): v.split()[1].split("/")[0] for v in values(section, "rtpmap")}
    static = {0: "PCMU", 8: "PCMA"}
    listed = [int(number) for number in section[0].split()[3:]]
    return [n for n in listed if found.get(n, static.get(n, "")).upper() == codec.upper()]


# ---- media ----


@cache
def pictures(width: int, height: int, profile: str = "baseline") -> tuple[tuple[bytes, ...], ...]:
    """A GOP of the test pattern, numbered from 0: the NAL units of each picture."""
    options = {"bf": "0", "g": str(GOP), "preset": "veryfast", "profile": profile}
    options |= {"x264-params": "repeat-headers=1:scenecut=0", "b": "600000"}
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.options = options
    painter = Painter(width, height)
    packets: list[Packet] = []
    for number in range(GOP):
        picture = painter.paint(number, number / FPS)
        picture.pts, picture.time_base = number, Fraction(1, FPS)
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    units = [
        tuple(unit for unit in re.split(rb"\x00\x00\x00?\x01", bytes(p)) if unit) for p in packets
    ]
    assert len(units) == GOP
    return tuple(units)


@cache
def sounds(codec: str) -> tuple[bytes, ...]:
    """A second of a 440 Hz tone in packets of 20 ms: opus, or pcm_alaw/pcm_mulaw."""
    rate = 48000 if codec == "opus" else 8000
    encoder = av.CodecContext.create("libopus" if codec == "opus" else codec, "w")
    encoder.format, encoder.sample_rate = "s16", rate
    encoder.layout = "stereo" if codec == "opus" else "mono"
    encoder.time_base = Fraction(1, rate)
    step = rate // 50
    packets: list[bytes] = []
    for i in range(52):
        tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(i * step, (i + 1) * step) / rate)
        samples = np.repeat(tone.astype(np.int16), 2 if codec == "opus" else 1)[None]
        frame = AudioFrame.from_ndarray(samples, "s16", "stereo" if codec == "opus" else "mono")
        frame.sample_rate, frame.pts = rate, i * step
        packets += [bytes(p) for p in encoder.encode(frame)]
    return tuple(packets[:50])


def cut(unit: bytes, limit: int = 1200) -> list[bytes]:
    """A NAL unit as payloads: alone, or FU-A of at most ``limit`` bytes (RFC 6184 5.8)."""
    if len(unit) <= limit:
        return [unit]
    head, rest = unit[0], unit[1:]
    parts = [rest[i : i + limit - 2] for i in range(0, len(rest), limit - 2)]
    last = len(parts) - 1
    return [
        bytes([head & 0xE0 | 28, (i == 0) << 7 | (i == last) << 6 | head & 31]) + part
        for i, part in enumerate(parts)
    ]


@dataclass
class Track:
    """What one SSRC sends. ``extensions`` go on every packet; ``kept`` for NACKs, by number."""

    pt: int
    ssrc: int
    clock: int
    units: Sequence[Sequence[bytes]]  # by frame: payload units
    per_second: int
    extensions: tuple[tuple[int, bytes], ...] = ()
    marked: bool = True  # the last packet of a frame has the marker
    seq: int = 0
    base: int = 0
    frames: int = 0
    octets: int = 0
    packets: int = 0
    kept: dict[int, Rtp] = field(default_factory=dict)


class Sender:
    """Sends tracks in real time through a connected probe, with a sender report a second. A NACK is
    answered with the same packet on the same SSRC; ``answers_pli``: a PLI or FIR starts a new GOP.
    ``lose``: packets that it is true of are kept for NACKs but never sent."""

    def __init__(
        self, probe: Probe, video: list[Track], audio: Track | None, *, answers_pli: bool = True
    ) -> None:
        self.probe = probe
        self.tracks = [*video, *([audio] if audio else [])]
        self.video, self.audio = video, audio
        self.answers_pli = answers_pli
        self.lose: Callable[[Rtp], bool] = lambda packet: False
        self.lost = self.repeated = self.asked_for_key = 0
        self.sent: set[bytes] = set()  # audio payloads
        self._at = {id(track): (0, time.monotonic()) for track in self.tracks}
        self._report_at = 0.0
        self._heard = 0

    def tick(self, now: float) -> None:
        self._feedback()
        for track in self.tracks:
            count, since = self._at[id(track)]
            while count <= (now - since) * track.per_second:
                self._frame(track)
                count += 1
            self._at[id(track)] = (count, since)
        if now - self._report_at >= 1.0:
            self._report_at = now
            for track in self.tracks:
                self._report(track)

    def _frame(self, track: Track) -> None:
        payloads = [p for unit in track.units[track.frames % len(track.units)] for p in cut(unit)]
        stamp = track.base + track.frames * track.clock // track.per_second
        for i, payload in enumerate(payloads):
            last = i == len(payloads) - 1
            packet = Rtp(
                track.pt,
                track.marked and last,
                track.seq & 0xFFFF,
                stamp,
                track.ssrc,
                payload,
                extensions=track.extensions,
            )
            track.kept[packet.seq] = packet
            track.seq += 1
            track.packets += 1
            track.octets += len(payload)
            if track is self.audio:
                self.sent.add(payload)
            if self.lose(packet):
                self.lost += 1
            else:
                self.probe.send_rtp(packet.pack())
        track.frames += 1

    def _report(self, track: Track) -> None:
        stamp = track.base + track.frames * track.clock // track.per_second
        info = RtcpSenderInfo(
            ntp(time.time_ns()), stamp & 0xFFFFFFFF, track.packets, track.octets & 0xFFFFFFFF
        )
        self.probe.send_rtp(bytes(RtcpSrPacket(track.ssrc, info)))

    def _feedback(self) -> None:
        new, self._heard = self.probe.rtcp[self._heard :], len(self.probe.rtcp)
        for packet in (p for _, data in new for p in RtcpPacket.parse(data)):
            if isinstance(packet, RtcpPsfbPacket) and packet.fmt in (1, 4):
                self.asked_for_key += 1
                if self.answers_pli:
                    for track in self.video:
                        track.frames += -track.frames % GOP
            elif isinstance(packet, RtcpRtpfbPacket) and packet.fmt == 1:
                for track in self.tracks:
                    if track.ssrc == packet.media_ssrc:
                        self._repeat(track, packet.lost)

    def _repeat(self, track: Track, lost: Iterable[int]) -> None:
        for number in lost:
            if number in track.kept:
                self.repeated += 1
                self.probe.send_rtp(track.kept[number].pack())


class Screen:
    """Decodes what a viewer's probe has received: the numbers in its pictures, in order."""

    def __init__(self, probe: Probe, video: Iterable[int], audio: Iterable[int]) -> None:
        self.probe = probe
        self.video, self.audio = set(video), set(audio)

    def tick(self, now: float) -> None:
        """A viewer sends nothing of its own accord."""

    def packets(self, types: set[int]) -> list[Rtp]:
        """Those of some payload types by number, each once."""
        unwrap = Unwrap()
        found = {
            unwrap(p.seq): p for _, data in self.probe.rtp if (p := parse_rtp(data)).pt in types
        }
        return [found[number] for number in sorted(found)]

    @property
    def sounds(self) -> list[bytes]:
        return [p.payload for p in self.packets(self.audio)]

    def pictures(self) -> list[tuple[int | None, int, int]]:
        """(number, width, height) of each decoded picture."""
        decoder = av.CodecContext.create("h264", "r")
        shown = []
        for data in self.access_units():
            for frame in decoder.decode(Packet(data)):
                shown.append((read_number(frame), frame.width, frame.height))
        return [*shown, *((read_number(f), f.width, f.height) for f in decoder.decode(None))]

    def access_units(self) -> list[bytes]:
        packets = [p for p in self.packets(self.video) if p.payload]
        units: list[bytes] = []
        stamp: int | None = None
        for packet in packets:
            if stamp is None or clock_delta(packet.ts, stamp):
                units.append(b"")
                stamp = packet.ts
            units[-1] += h264_depayload(packet.payload)
        return units[:-1]  # the last one may be half there

    def frames(self) -> int:
        """Pictures that have begun."""
        return len({p.ts for p in self.packets(self.video) if p.payload})


def run(clients: Sequence[Any], until: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    """Let senders and screens live until something is so; fail at the deadline."""
    deadline = time.monotonic() + seconds
    look_at = 0.0
    while True:
        now = time.monotonic()
        for client in clients:
            client.tick(now)
            client.probe.turn(0.002)
        if now >= look_at:
            look_at = now + 0.1
            if until():
                return
            assert now < deadline, f"not within {seconds:g} s: {what}"


def go_live(publisher: Any, server: Server, name: str) -> None:
    """Send until the server says that the stream is live."""
    run([publisher], lambda: server.streams()[name]["state"] == "live", f"stream {name} is live")


def in_order(shown: Sequence[tuple[int | None, int, int]]) -> bool:
    """Whether every picture is the one after its predecessor, over the end of the GOP, too."""
    numbers = [number for number, _, _ in shown]
    return None not in numbers and all(
        (b - a) % GOP == 1  # type: ignore[operator]
        for a, b in itertools.pairwise(numbers)
    )
