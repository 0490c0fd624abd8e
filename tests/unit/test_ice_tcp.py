"""ICE-TCP on a real server: passive candidates, framed STUN, DTLS, SRTP and RTCP, a publisher and
viewers without any UDP, strangers and their limits (RFC 6544, RFC 4571)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from rtcfwd.app import Server
from rtcfwd.config import Config
from tests.net_peer import Peer, frame

KEY, DELTA = b"\x65", b"\x41"
CONFIG = Config(host="127.0.0.1", port=0, udp_port=0, workers=2)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server(CONFIG)
    await made.start()
    yield made
    await made.stop()
    assert made.internal_errors == []


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def url(server: Server, verb: str, name: str = "demo") -> str:
    return f"http://127.0.0.1:{server.http_port}/{verb}/{name}"


async def joined(
    server: Server, http: aiohttp.ClientSession, *, publish: bool, tcp: bool, **options: int
) -> Peer:
    peer = Peer(publish=publish)
    await peer.post(http, url(server, "whip" if publish else "whep"))
    (candidate,) = peer.candidates("tcp" if tcp else "udp")
    await peer.connect(await peer.open((candidate.host, candidate.port), tcp=tcp, **options))
    return peer


async def until(done: Callable[[], object]) -> None:
    """Wait for a figure of the server, which has no event of its own."""
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def numbers(peer: Peer) -> list[int]:
    """Sequence numbers of the video that it got."""
    return [
        struct.unpack("!H", data[2:4])[0]
        for _, data in peer.rtp
        if data[1] & 0x7F not in (0, 8, 111) and len(data) > 12
    ]


@pytest.mark.duty("T1", "T5")
async def test_candidates_stand_behind_those_of_udp(
    server: Server, http: aiohttp.ClientSession
) -> None:
    peer = Peer(publish=True)
    await peer.post(http, url(server, "whip"))
    lines = [line for line in peer.answer.splitlines() if line.startswith("a=candidate")]
    assert [line.split()[2] for line in lines] == ["udp", "tcp"] * 2 or [
        line.split()[2] for line in lines
    ] == ["udp", "tcp"]
    (tcp,), (udp,) = peer.candidates("tcp"), peer.candidates("udp")
    assert (tcp.type, tcp.tcptype, tcp.port) == ("host", "passive", server.tcp_port)
    assert tcp.priority < udp.priority
    assert tcp.foundation != udp.foundation
    assert server.tcp_port == server.udp_port


@pytest.mark.duty("T2", "T3", "T4", "C3")
@pytest.mark.parametrize(("publisher", "viewer"), [(True, True), (False, True), (True, False)])
async def test_media_without_udp(
    server: Server, http: aiohttp.ClientSession, publisher: bool, viewer: bool
) -> None:
    idle = server.forwarder.memory_stats()["tcp"]
    source = await joined(server, http, publish=True, tcp=publisher)
    source.send_rtp(1, 0, KEY + bytes(900))
    sink = await joined(server, http, publish=False, tcp=viewer)
    for n in range(2, 400):
        source.send_rtp(n, 3000 * n, DELTA + bytes([n & 0xFF]) * 900)
        if n % 50 == 0:
            await sink.until(lambda n=n: len(numbers(sink)) >= n, f"{n} packets")
    await sink.until(lambda: len(numbers(sink)) >= 399, "all packets")
    got = numbers(sink)
    assert [b - a & 0xFFFF for a, b in itertools.pairwise(got)] == [1] * 398
    assert sink.bad_rtp == 0
    await sink.check(sink.via)  # consent goes on
    await source.until(lambda: source.rtcp, "a receiver report")
    host, port = sink.via.address
    assert sink.mapped[sink.via] == (host, port)
    async with http.get(url(server, "api/v1/streams").replace("/demo", "") + "/demo") as reply:
        shown = await reply.json()
    transports = {s["role"]: s["stats"]["path"]["transport"] for s in shown["sessions"]}
    assert transports == {
        "publisher": "tcp" if publisher else "udp",
        "viewer": "tcp" if viewer else "udp",
    }
    assert server.forwarder.tcp_stats()["bound"] == publisher + viewer
    memory = server.forwarder.memory_stats()["tcp"] - idle
    assert (publisher + viewer) * (256 << 10) <= memory <= (publisher + viewer) * (280 << 10)
    async with http.delete(sink.session_url) as reply:
        assert reply.status == 200
    if viewer:
        await asyncio.wait_for(sink.via.closed.wait(), 5)
        last = list(sink.via.received)[-3:]
        assert any(20 <= data[0] <= 63 for data in last)  # close_notify
        assert any(203 in data for _, data in sink.rtcp[-2:])  # BYE
    await source.close()
    await sink.close()


@pytest.mark.duty("T2")
async def test_frames_come_in_any_pieces(server: Server, http: aiohttp.ClientSession) -> None:
    """One byte a segment, several frames in one, null packets between."""
    peer = Peer(publish=True)
    await peer.post(http, url(server, "whip"))
    (tcp,) = peer.candidates("tcp")
    on = await peer.open((tcp.host, tcp.port), tcp=True)
    for byte in frame(b"") + frame(peer.request()):
        on.send_raw(bytes([byte]))
        await asyncio.sleep(0)
    await asyncio.wait_for(on.checked.wait(), 5)
    count = len(on.received)
    on.send_raw(frame(peer.request()) * 3 + frame(b"") + frame(peer.request())[:30])
    await peer.until(lambda: len(on.received) == count + 3, "three answers")
    await peer.close()


@pytest.mark.duty("T2", "X0")
@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        frame(bytes([22, 254, 253]) + bytes(60)),
        frame(bytes([128, 96]) + bytes(60)),
        frame(b"\0" * 8),
        b"\xff\xff" + bytes(100),
    ],
    ids=["http", "tls", "dtls", "rtp", "short", "length"],
)
async def test_a_stranger_that_speaks_no_stun_is_shown_the_door(
    server: Server, data: bytes
) -> None:
    assert server.tcp_port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", server.tcp_port)
    writer.write(data)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""  # and not a byte in return
    writer.close()
    assert server.forwarder.tcp_stats()["malformed"] == 1


async def test_wrong_password_and_unknown_ufrag_get_no_answer(
    server: Server, http: aiohttp.ClientSession
) -> None:
    peer = Peer(publish=True)
    await peer.post(http, url(server, "whip"))
    (tcp,) = peer.candidates("tcp")
    on = await peer.open((tcp.host, tcp.port), tcp=True)
    for _ in range(63):
        on.send(peer.request(pwd="x" * 24))
    await peer.check(on)  # the 64th datagram, and the first one that is answered
    assert len(on.received) == 1
    again = await peer.open((tcp.host, tcp.port), tcp=True)
    for _ in range(65):
        again.send(peer.request(pwd="x" * 24))
    await asyncio.wait_for(again.closed.wait(), 5)
    assert not again.received
    await peer.close()


async def test_limit_of_one_address(server: Server) -> None:
    assert server.tcp_port is not None
    held = [await asyncio.open_connection("127.0.0.1", server.tcp_port) for _ in range(32)]
    reader, writer = await asyncio.open_connection("127.0.0.1", server.tcp_port)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert server.forwarder.tcp_stats()["refused"] == 1
    held.pop()[1].close()
    await until(lambda: server.forwarder.tcp_stats()["open"] == 31)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.tcp_port)
    await until(lambda: server.forwarder.tcp_stats()["open"] == 32)
    for _, one in [*held, (reader, writer)]:
        one.close()


async def test_one_connection_serves_one_session(
    server: Server, http: aiohttp.ClientSession
) -> None:
    first, second = Peer(publish=True), Peer(publish=True)
    await first.post(http, url(server, "whip", "a"))
    await second.post(http, url(server, "whip", "b"))
    (tcp,) = first.candidates("tcp")
    on = await first.open((tcp.host, tcp.port), tcp=True)
    await first.connect(on)
    before = len(on.received)
    on.send(second.request())
    await first.check(on)
    stun = [data for data in list(on.received)[before:] if data[0] < 4]
    assert len(stun) == 1  # the second session got no answer
    assert server.forwarder.tcp_stats()["bound"] == 1
    first.send_rtp(1, 0, KEY + bytes(100))
    await until(lambda: server.registry.streams["a"].live)
    await first.close()
    await second.close()


async def test_a_connection_that_breaks_leaves_nothing(
    server: Server, http: aiohttp.ClientSession
) -> None:
    """Gone before its reply, in the middle of the handshake, and in the middle of media."""
    for step in ("check", "handshake", "media"):
        peer = Peer(publish=True)
        await peer.post(http, url(server, "whip", step))
        (tcp,) = peer.candidates("tcp")
        on = await peer.open((tcp.host, tcp.port), tcp=True)
        if step == "check":
            for _ in range(20):
                on.send(peer.request())
        elif step == "handshake":
            await peer.check(on)
        else:
            await peer.connect(on)
            peer.send_rtp(1, 0, KEY + bytes(100))
        await on.close()
        await until(lambda: not server.forwarder.tcp_stats()["open"])
        async with http.delete(peer.session_url) as reply:
            assert reply.status == 200
    await until(lambda: not server.registry.by_peer)
    assert server.forwarder.tcp_stats()["bound"] == 0
