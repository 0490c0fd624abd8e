"""Any bytes on the UDP port of a real server: named drops, no fault, and other sessions live on."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable

import pytest
from aioice import stun
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtcfwd.app import Server
from rtcfwd.config import Config
from rtcfwd.session.session import Session
from tests.unit.session_tools import CLIENT, PUBLISH, with_fingerprint

pytest.importorskip("rtcfwd.forwarder._forwarder")

CONFIG = Config(host="127.0.0.1", port=0, udp_port=0, workers=2)


def check(session: Session) -> bytes:
    """A valid STUN check of the session's peer."""
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{session.agent.local_ufrag}:peer"
    request.attributes["USE-CANDIDATE"] = None
    request.add_message_integrity(session.agent.local_pwd.encode())
    return bytes(request)


@st.composite
def mutated(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A change of a datagram: bytes replaced, cut short, put behind."""
    edits = draw(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4))
    cut = draw(st.one_of(st.none(), st.integers(0, 120)))
    tail = draw(st.binary(max_size=16))

    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        for at, value in edits:
            if at < len(changed):
                changed[at] = value
        return bytes(changed[:cut]) + tail

    return change


first_bytes = st.sampled_from([0, 1, 16, 20, 22, 23, 63, 64, 128, 144, 191, 200, 255])
junk = st.one_of(
    st.binary(max_size=1500),
    st.builds(lambda b, rest: bytes([b]) + rest, first_bytes, st.binary(max_size=1300)),
    st.builds(
        lambda v, pt, rest: bytes([v, pt]) + rest,
        st.integers(128, 191),
        st.integers(0, 255),
        st.binary(max_size=200),
    ),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(junk, mutated()), min_size=1, max_size=60))
def test_any_datagrams(sent: list[bytes | Callable[[bytes], bytes]]) -> None:
    async def run() -> None:
        server = Server(CONFIG)
        await server.start()
        try:
            session = server.registry.publish("demo", with_fingerprint(PUBLISH, CLIENT))
            loop = asyncio.get_running_loop()
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as known,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
            ):
                for source in (known, stranger):
                    source.setblocking(False)
                    source.connect(("127.0.0.1", server.udp_port))
                known.send(check(session))  # from now on its tuple is a validated one
                assert (await loop.sock_recv(known, 2000))[:2] == b"\x01\x01"
                for item in sent:
                    data = item if isinstance(item, bytes) else item(check(session))
                    known.send(data)
                    stranger.send(data)
                # A session that hears junk as DTLS may end; another one is served as before.
                last = check(server.registry.publish("other", with_fingerprint(PUBLISH, CLIENT)))
                known.send(last)
                async with asyncio.timeout(30):
                    while True:
                        answer = await loop.sock_recv(known, 2000)
                        if answer[4:20] == last[4:20]:
                            break
        finally:
            await server.stop()
        assert not server.internal_errors
        assert server.registry.empty

    asyncio.run(run())


def test_a_reply_is_never_larger_than_what_an_unknown_source_sent() -> None:
    """No amplification: without our password nothing is answered at all."""

    async def run() -> None:
        server = Server(CONFIG)
        await server.start()
        try:
            session = server.registry.publish("demo", with_fingerprint(PUBLISH, CLIENT))
            good = check(session)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.setblocking(False)
                stranger.connect(("127.0.0.1", server.udp_port))
                hello = bytes.fromhex("16feff0000000000000000") + b"\x00\x2f" + bytes(47)
                forged = re.sub(rb"(?s)^(.{30})", rb"\1", good[:-28]) + bytes(28)
                for data in (b"", b"\x00", forged, hello, b"\x80" + bytes(60), bytes(1400)):
                    stranger.send(data)
                stranger.send(good)
                answer = await asyncio.get_running_loop().sock_recv(stranger, 2000)
                assert answer[4:20] == good[4:20]  # the first answer is the one to the valid check
                assert len(answer) <= len(good)
        finally:
            await server.stop()

    asyncio.run(run())
