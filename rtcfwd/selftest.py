"""The self-test: what this machine offers, and a WHIP→WHEP loop through the real data path.

A scripted publisher sends generated H264 and A-law to the server that is tested, a scripted viewer
gets it back; both join as anybody does, but for HTTP. Each finding is a :class:`Line`, with what to
change where something is to be changed. Blocking, about a second: for a thread of its own.
`rtcfwd doctor` and ``GET /api/v1/selftest`` show it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import platform
import resource
import secrets
import statistics
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from rtcfwd import __version__
from rtcfwd.client.probe import AUDIO_PT, VIDEO_PT, Probe, ProbeError
from rtcfwd.forwarder.api import Forwarder
from rtcfwd.tuning import buffer_hints

FRAMES = 30
"""Pictures that the loop sends, at 30 a second."""

_FRAME_S, _AUDIO_S = 1 / 30, 0.02
_REACH_S = 1.0
_CONNECT_S = 5.0
_MEDIA_S = 3.0
_FILES = 4096
_SPS = bytes.fromhex("6742c01fda014016e9b808080a")
_PPS = bytes.fromhex("68ce3c80")
_PARAMETERS = b"\x78" + b"".join(len(unit).to_bytes(2) + unit for unit in (_SPS, _PPS))


@dataclass(frozen=True, slots=True)
class Line:
    """One finding. ``ok``: None where there is nothing to judge; ``advice``: what to change."""

    name: str
    value: str
    ok: bool | None = None
    advice: str = ""


class Joins(Protocol):
    """How the loop joins and leaves; called from the self-test's thread. ``publish`` and ``view``
    return the session's id and its answer and raise any exception where they refuse."""

    def publish(self, name: str, offer: bytes) -> tuple[str, bytes]: ...
    def view(self, name: str, offer: bytes) -> tuple[str, bytes]: ...
    def leave(self, session_id: str) -> None: ...


def report(lines: Sequence[Line]) -> dict[str, Any]:
    """As JSON: {"ok": …, "lines": [{name, value, ok, advice}]}."""
    return {"ok": all(line.ok is not False for line in lines), "lines": [asdict(x) for x in lines]}


def run(forwarder: Forwarder, addresses: Sequence[str], udp_port: int, joins: Joins) -> list[Line]:
    """All of it. Never raises for what is wrong with the machine: that is a line."""
    return [
        *machine(forwarder),
        _addresses(addresses),
        *Loop(joins, udp_port).run(),
    ]


# ---- the machine ----


def machine(forwarder: Forwarder) -> list[Line]:
    """What the server runs on."""
    lines = [
        Line("version", f"rtcfwd {__version__}, Python {sys.version.split()[0]}"),
        Line("kernel", f"{platform.system()} {platform.release()}"),
        Line("cores", f"{len(os.sched_getaffinity(0))}, {forwarder.workers} workers"),
    ]
    slow = forwarder.engine == "libsrtp"
    lines.append(
        Line(
            "SRTP engine",
            forwarder.engine,
            True,
            "faster with ipsec-mb (x86-64): install libipsec-mb-dev and build anew" if slow else "",
        )
    )
    lines.append(
        Line(
            "UDP segmentation offload",
            "yes" if forwarder.gso else "no",
            forwarder.gso,
            ""
            if forwarder.gso
            else "sending costs more without: Linux 4.18 or later, --egress gso",
        )
    )
    worker = dict(next(iter(forwarder.worker_stats()), {}))
    hints = buffer_hints([worker])
    for name in ("receive_buffer", "send_buffer"):
        text = name.replace("_", " ")
        hint = next((hint for hint in hints if text in hint), "")
        if name in worker:
            lines.append(Line(f"socket {text}", f"{worker[name]} bytes", not hint, hint))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    enough = files == resource.RLIM_INFINITY or files >= _FILES
    advice = "" if enough else f"HTTP clients need one each: ulimit -n {_FILES} (LimitNOFILE=)"
    lines.append(Line("open files", f"{files} at most", enough, advice))
    return lines


def _addresses(addresses: Sequence[str]) -> Line:
    found = [ipaddress.ip_address(address) for address in addresses]
    advice = ""
    if all(address.is_loopback for address in found):
        advice = "only this machine can connect: --host 0.0.0.0, or --announce ADDR"
    elif not any(address.is_global for address in found):
        advice = "enough for the local network; from the Internet: --announce PUBLIC-ADDR"
    return Line("addresses in answers", " ".join(addresses), bool(found), advice)


# ---- the loop ----


class Loop:
    """A publisher, a viewer and what they see."""

    def __init__(self, joins: Joins, udp_port: int) -> None:
        self._joins = joins
        self._udp_port = udp_port
        self._name = "selftest-" + secrets.token_hex(4)
        self._sessions: list[str] = []
        self._probes: list[Probe] = []
        self._sequence = {VIDEO_PT: secrets.randbits(16), AUDIO_PT: secrets.randbits(16)}
        self._sent_at: dict[bytes, float] = {}  # by payload

    def run(self) -> list[Line]:
        lines: list[Line] = []
        try:
            self._run(lines)
        except ProbeError as error:
            advice = "look at the lines before, and at this machine's firewall"
            lines.append(Line("loop", str(error), False, advice))
        except Exception as error:  # a refused join: full, draining, stopping
            lines.append(Line("loop", f"{type(error).__name__}: {error}", False, "see the log"))
        finally:
            for probe in self._probes:
                with contextlib.suppress(OSError):
                    probe.hang_up()
                probe.close()
            for session in reversed(self._sessions):
                self._joins.leave(session)
        return lines

    def _run(self, lines: list[Line]) -> None:
        publisher = Probe(publish=True)
        session, answer = self._joins.publish(self._name, publisher.offer.encode())
        self._sessions.append(session)
        self._probes.append(publisher)
        candidate = self._reach(publisher, answer.decode(), lines)
        if candidate is None:
            raise ProbeError("no address of the answer can be reached")
        publisher.answer(publisher.sdp, candidate)
        lines.append(_connected("publisher connected", publisher, publisher.connect(_CONNECT_S)))
        frame = 0
        self._send_frame(publisher, frame)
        viewer = Probe(publish=False)
        asked = time.monotonic()
        session, answer = self._joins.view(self._name, viewer.offer.encode())
        self._sessions.append(session)
        self._probes.append(viewer)
        viewer.answer(answer.decode(), candidate)
        viewer.connect(_CONNECT_S)
        lines.append(_connected("viewer connected", viewer, time.monotonic() - asked))
        self._play(publisher, viewer)
        lines += self._judge(viewer, asked)

    def _reach(self, probe: Probe, sdp: str, lines: list[Line]) -> tuple[str, int] | None:
        """A line for each candidate; the first that answers, or this machine's own address."""
        probe.answer(sdp, ("127.0.0.1", self._udp_port))
        best = None
        own = [("127.0.0.1", self._udp_port), ("::1", self._udp_port)]
        offered = list(probe.remote.candidates)
        for candidate in [*offered, *(c for c in own if c not in offered)]:
            if candidate not in offered and best is not None:
                break
            try:
                probe.close()
                probe.sock = Probe.open_socket(candidate)
                took = f"answers after {probe.ping(_REACH_S) * 1000:.1f} ms"
                best, ok, advice = best or candidate, True, ""
            except ProbeError as error:
                took, ok = str(error), False
                advice = (
                    f"let UDP port {candidate[1]} through the firewall; behind a NAT that does not "
                    "lead back in, try from outside"
                )
            if candidate in offered:
                lines.append(Line(f"UDP {candidate[0]} port {candidate[1]}", took, ok, advice))
        lines += [_tcp(probe, candidate) for candidate in probe.remote.tcp]
        probe.close()
        return best

    def _play(self, publisher: Probe, viewer: Probe) -> None:
        """Send, and read what comes back, until all has come or time is up."""
        started = time.monotonic()
        frame, block = 1, 0
        while time.monotonic() - started < _MEDIA_S:
            now = time.monotonic() - started
            if frame < FRAMES and now >= frame * _FRAME_S:
                self._send_frame(publisher, frame)
                frame += 1
            if block * _AUDIO_S <= min(now, FRAMES * _FRAME_S):
                self._send(publisher, AUDIO_PT, os.urandom(160), block * 160, marker=block == 0)
                block += 1
            publisher.turn(0.001)
            viewer.turn(0.002)
            if frame == FRAMES and now > FRAMES * _FRAME_S and self._all_there(viewer):
                return

    def _all_there(self, viewer: Probe) -> bool:
        last = next(reversed(self._sent_at))
        return any(data.endswith(last) for _, data in viewer.rtp[-20:])

    def _send_frame(self, publisher: Probe, number: int) -> None:
        """A key frame (parameter sets and one IDR packet), or another picture."""
        timestamp = number * 3000
        if number == 0:
            self._send(publisher, VIDEO_PT, _PARAMETERS, timestamp)
        nal = b"\x65" if number == 0 else b"\x41"
        self._send(publisher, VIDEO_PT, nal + os.urandom(900), timestamp, marker=True)

    def _send(
        self, publisher: Probe, pt: int, payload: bytes, timestamp: int, *, marker: bool = False
    ) -> None:
        sequence = self._sequence[pt] = self._sequence[pt] + 1 & 0xFFFF
        ssrc = publisher.ssrcs[0 if pt == VIDEO_PT else 1]
        header = struct.pack("!BBHII", 0x80, marker << 7 | pt, sequence, timestamp, ssrc)
        self._sent_at[payload] = time.monotonic()
        publisher.send_rtp(header + payload)

    def _judge(self, viewer: Probe, asked: float) -> list[Line]:
        came = {_payload(data): at for at, data in reversed(viewer.rtp)}
        delays = [at - self._sent_at[p] for p, at in came.items() if p in self._sent_at]
        pictures = [at for at, data in viewer.rtp if data[1] == 0x80 | VIDEO_PT]
        lines = []
        if pictures:
            first = f"{(min(pictures) - asked) * 1000:.0f} ms after asking"
            lines.append(Line("first frame", first, True))
        else:
            lines.append(Line("first frame", "never came", False, "see the log and /metrics"))
        due = [p for p, at in self._sent_at.items() if not came or at > min(came.values())]
        lost = sum(payload not in came for payload in due)
        lines.append(
            Line(
                "media",
                f"{len(came)} packets came back as they were sent, {lost} lost",
                bool(came) and lost == 0,
                "" if came and not lost else "see the drops of /metrics, and the socket buffers",
            )
        )
        # Those that waited for the viewer to join say nothing of the way.
        late = delays[len(delays) // 3 :]
        if late:
            lines.append(Line("delay", f"{statistics.median(late) * 1000:.2f} ms (median)", True))
        return lines


def _tcp(probe: Probe, candidate: tuple[str, int]) -> Line:
    """Whether a client whose UDP is blocked could come this way."""
    name = f"TCP {candidate[0]} port {candidate[1]}"
    try:
        return Line(
            name, f"answers after {probe.ping_tcp(candidate, _REACH_S) * 1000:.1f} ms", True
        )
    except ProbeError as error:
        advice = f"let TCP port {candidate[1]} through the firewall, or --ice-tcp-port off"
        return Line(name, str(error), False, advice)


def _payload(packet: bytes) -> bytes:
    """Behind the header and its extension (RFC 3550 section 5.1)."""
    at = 12 + 4 * (packet[0] & 15)
    if packet[0] & 0x10:
        at += 4 + 4 * int.from_bytes(packet[at + 2 : at + 4])
    return packet[at:]


def _connected(name: str, probe: Probe, seconds: float) -> Line:
    assert probe.keys is not None
    return Line(name, f"after {seconds * 1000:.0f} ms, {probe.keys.profile.name}", True)
