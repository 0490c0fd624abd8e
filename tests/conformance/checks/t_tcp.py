"""ICE-TCP (RFC 6544) and its framing (RFC 4571)."""

from __future__ import annotations

import itertools
import socket
from typing import Any

from aioice import Candidate

from ..harness import NotApplicable, Server
from ..peer import Probe, Stage, Viewer
from ..registry import check


class Framed:
    """A TCP connection with the face of a datagram socket. ``cut``: bytes of a segment."""

    def __init__(self, to: tuple[str, int]) -> None:
        self._sock = socket.create_connection(to, 5)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setblocking(False)
        self._buffer = b""
        self.cut = 1 << 20
        self.ended = False

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, data: bytes) -> int:
        framed = len(data).to_bytes(2) + data
        for at in range(0, len(framed), self.cut):
            self._sock.send(framed[at : at + self.cut])
        return len(data)

    def recv(self, size: int) -> bytes:
        while len(self._buffer) < 2 or len(self._buffer) < 2 + int.from_bytes(self._buffer[:2]):
            more = b"" if self.ended else self._sock.recv(65536)  # BlockingIOError: nothing whole
            if not more:
                self.ended = True
                raise BlockingIOError
            self._buffer += more
        end = 2 + int.from_bytes(self._buffer[:2])
        data, self._buffer = self._buffer[2:end], self._buffer[end:]
        return data

    def getsockname(self) -> Any:
        return self._sock.getsockname()

    def getpeername(self) -> Any:
        return self._sock.getpeername()

    def close(self) -> None:
        self._sock.close()


def _lines(sdp: str) -> list[str]:
    return [line for line in sdp.split("m=")[1].splitlines() if line.startswith("a=candidate:")]


def _tcp(sdp: str) -> list[Candidate]:
    found = [Candidate.from_sdp(line.removeprefix("a=candidate:")) for line in _lines(sdp)]
    found = [c for c in found if c.transport.lower() == "tcp"]
    if not found:
        raise NotApplicable("the answer has no TCP candidate")
    return found


def _over_tcp(probe: Probe) -> Framed:
    """The probe's connection to the first TCP candidate that this machine reaches."""
    for candidate in _tcp(probe.sdp):
        try:
            framed = Framed((candidate.host, candidate.port))
        except OSError:
            continue
        probe.sock.close()
        probe.sock = framed  # type: ignore[assignment]
        return framed
    raise AssertionError("no TCP candidate can be reached")


def _answered(server: Server) -> Probe:
    name, _ = server.publish()
    return Viewer(server, name, connect=False).probe


@check("T1", "T5")
def passive_and_last(server: Server) -> None:
    """TCP candidates are passive host ones, behind all of UDP, with lower priorities."""
    sdp = server.view().text
    tcp = _tcp(sdp)
    assert all(c.type == "host" and c.tcptype == "passive" and c.component == 1 for c in tcp), tcp
    transports = [line.split()[2].lower() for line in _lines(sdp)]
    assert transports == sorted(transports, reverse=True), transports
    udp = [int(line.split()[3]) for line in _lines(sdp) if line.split()[2].lower() == "udp"]
    assert not udp or max(c.priority for c in tcp) < min(udp), "TCP is preferred to UDP"


@check("T2", "T4", media=True)
def framed_media(server: Server) -> None:
    """A viewer with nothing but TCP gets media and answers to its checks, and is heard though its
    frames come a byte at a time."""
    stage = Stage(server)
    viewer = stage.view(connect=False)
    framed = _over_tcp(viewer.probe)
    framed.cut = 1
    viewer.probe.connect()
    assert stage.play(lambda: len(viewer.video) > 10 and len(viewer.audio) > 3), "no media"
    for _ in range(3):
        viewer.probe.ping()
    numbers = [packet.seq for packet in viewer.video]
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers)), numbers


@check("T2", media=True)
def nonsense_ends_the_connection(server: Server) -> None:
    """What is no frame of a protocol of ours ends the connection, without a byte in return."""
    probe = _answered(server)
    framed = _over_tcp(probe)
    framed.cut = 1 << 20
    framed._sock.send(b"GET / HTTP/1.1\r\n\r\n")
    probe.wait(lambda: framed.ended, 5.0)
    assert framed.ended, "the connection is kept"
    assert not framed._buffer, framed._buffer


@check("T3", media=True)
def setup_and_direction_are_apart(server: Server) -> None:
    """Whoever is the DTLS client, the viewer opens the TCP connection."""
    name, _ = server.publish()
    for setup in ("actpass", "active"):
        viewer = Viewer(server, name, connect=False, setup=setup)
        _over_tcp(viewer.probe)
        viewer.probe.connect()
