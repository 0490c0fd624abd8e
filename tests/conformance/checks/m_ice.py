"""ICE at a lite server (RFC 8445, RFC 8839): candidates, checks and nominations."""

from __future__ import annotations

import socket
import time

from aioice import stun

from tests.unit import stun_tools

from ..harness import Server
from ..peer import Probe, Stage, Viewer, need_lite
from ..registry import check, not_checked


def _answered(server: Server, **options: object) -> Probe:
    """A viewer's probe that has its answer and has sent nothing yet."""
    name, _ = server.publish()
    return Viewer(server, name, connect=False, **options).probe


def _reply_to(probe: Probe, datagram: bytes, seconds: float = 0.3) -> stun.Message | None:
    """What the server says to one STUN datagram."""
    before = len(probe.replies)
    probe.send(datagram)
    probe.wait(lambda: len(probe.replies) > before, seconds)
    return probe.replies[before] if len(probe.replies) > before else None


@check("M1", media=True)
def lite_is_controlled(server: Server) -> None:
    """A lite server says so at session level, and takes checks of a controlling peer."""
    probe = _answered(server)
    need_lite(probe.sdp)
    assert "a=ice-lite" in probe.sdp.split("m=")[0]
    reply = _reply_to(probe, bytes(probe.check()), 2.0)
    assert reply is not None, "no answer"
    assert reply.message_class == stun.Class.RESPONSE, reply


@check("M2")
def candidates(server: Server) -> None:
    """Host candidates alone, one an address and transport, component 1, priorities unique."""
    reply = server.view()
    need_lite(reply.text)
    lines = [line.split() for line in reply.sections()[0] if line.startswith("a=candidate:")]
    assert lines, "no candidate"
    assert all(words[1] == "1" and words[7] == "host" for words in lines), lines
    ends = [(words[2].lower(), words[4]) for words in lines]
    assert len(set(ends)) == len(ends), ends
    priorities = [int(words[3]) for words in lines]
    assert len(set(priorities)) == len(priorities), priorities
    udp = [words for words in lines if words[2].lower() == "udp"]
    assert all(int(words[3]) >> 24 == 126 for words in udp), priorities
    assert len({words[0] for words in udp}) == len(udp), "foundations are shared"


@check("M3", media=True)
def every_candidate_answers(server: Server) -> None:
    """Every UDP candidate answers a check, signed and with the mapped address, unasked-for by any
    remote candidate."""
    probe = _answered(server)
    answered = 0
    for host, port in probe.remote.candidates:
        try:
            sock = Probe.open_socket((host, port))
        except Exception:
            continue  # an address that this machine has no way to
        probe.sock.close()
        probe.sock = sock
        message = probe.check()
        reply = _reply_to(probe, bytes(message), 1.0)
        assert reply is not None, f"{host} port {port} is silent"
        assert reply.transaction_id == message.transaction_id
        mapped = reply.attributes["XOR-MAPPED-ADDRESS"]
        assert mapped == sock.getsockname()[:2], (mapped, sock.getsockname())
        assert reply.check_message_integrity(probe.remote.pwd.encode())
        assert "FINGERPRINT" in reply.attributes
        answered += 1
    assert answered, "no candidate can be reached"


@check("M4", media=True)
def nomination_is_followed(server: Server) -> None:
    """Media goes to the pair that was nominated, and moves when another is."""
    stage = Stage(server)
    viewer = stage.watched()
    probe = viewer.probe
    old, probe.sock = probe.sock, Probe.open_socket(probe.remote.candidates[0])
    try:
        probe.ping()
        seen = len(viewer.video)
        assert stage.play(lambda: len(viewer.video) > seen + 10), "no media at the new pair"
        while True:  # what was under way to the old one
            try:
                old.recv(2048)
            except BlockingIOError:
                break
        seen = len(viewer.video)
        assert stage.play(lambda: len(viewer.video) > seen + 10)
        try:
            rest = old.recv(2048)
        except BlockingIOError:
            rest = b""
        assert not rest, "media still goes to the old pair"
    finally:
        old.close()


@check("M5", "M10", media=True)
def nothing_before_a_valid_pair(server: Server) -> None:
    """DTLS works before a nomination; a viewer that only checks gets no media and no DTLS flood."""
    stage = Stage(server)
    idle = stage.view(connect=False)
    idle.probe.ping()
    stage.play(seconds=0.3)
    assert not idle.probe.rtp
    assert not [d for d in idle.probe.other if 128 <= d[0] <= 191], "SRTP before any key"
    early = stage.view(connect=False)
    early.probe.connect(nominate=False)
    early.probe.ping()
    assert stage.play(lambda: len(early.video) > 5), "no media after a late nomination"


@check("M6", media=True)
def short_checks(server: Server) -> None:
    """A check with USERNAME, USE-CANDIDATE, integrity and fingerprint alone is answered."""
    probe = _answered(server)
    reply = _reply_to(probe, stun_tools.ffmpeg_8(probe.remote.ufrag, probe.remote.pwd), 2.0)
    assert reply is not None, "no answer"
    assert reply.message_class == stun.Class.RESPONSE, reply


@check("M9", media=True)
def role_conflict(server: Server) -> None:
    """A peer that says it is controlled gets 487, or nothing; never success."""
    probe = _answered(server)
    need_lite(probe.sdp)
    attributes = [
        (stun_tools.USERNAME, f"{probe.remote.ufrag}:peer".encode()),
        (stun_tools.PRIORITY, (1853824767).to_bytes(4)),
        (stun_tools.CONTROLLED, bytes(8)),
    ]
    reply = _reply_to(probe, stun_tools.message(attributes, probe.remote.pwd))
    if reply is not None:
        assert reply.message_class == stun.Class.ERROR, reply
        assert reply.attributes["ERROR-CODE"][0] == 487, reply


@check("M10", media=True)
def unsigned_checks(server: Server) -> None:
    """A check that is not signed, or with another password or name, gets no success and harms
    nobody."""
    probe = _answered(server)
    name = f"{probe.remote.ufrag}:peer".encode()
    for datagram in (
        stun_tools.message([(stun_tools.USERNAME, name)], None),
        stun_tools.message([(stun_tools.USERNAME, name)], "x" * 24),
        stun_tools.message([(stun_tools.USERNAME, b"nobody00:peer")], probe.remote.pwd),
        stun_tools.message([], probe.remote.pwd),
    ):
        reply = _reply_to(probe, datagram, 0.1)
        assert reply is None or reply.message_class == stun.Class.ERROR, reply
        assert reply is None or len(bytes(reply)) <= 3 * len(datagram), "it amplifies"
    probe.connect()


@check("X0", media=True)
def one_port_for_all(server: Server) -> None:
    """STUN, DTLS, RTP and RTCP share the port; any other first byte is passed over."""
    stage = Stage(server)
    viewer = stage.watched()
    for first in range(256):
        viewer.probe.send(bytes([first]))
        viewer.probe.send(bytes([first]) + bytes(40))
        stage.publisher.probe.send(bytes([first, 0xFF]) * 30)
    seen = len(viewer.video)
    assert stage.play(lambda: len(viewer.video) > seen + 20), "media has stopped"
    viewer.probe.ping()
    assert stage.play(lambda: viewer.probe.rtcp, 3.0), "no RTCP beside RTP"


@check("W17", media=True)
def addresses_are_numbers(server: Server) -> None:
    """Candidates are numeric addresses, and the first one that can be reached connects."""
    probe = _answered(server)
    for host, _ in probe.remote.candidates:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.inet_pton(family, host)
    started = time.monotonic()
    probe.connect()
    assert time.monotonic() - started < 10


not_checked(
    "M7",
    "clients' checks, every 2.5 s or so, keep the pairs of a lite server open, and sender reports "
    "go to viewers as long as there is media",
)
