"""A client on real sockets that moves: between addresses, families and transports, in the middle of
its session. Media goes on without a break, by the tuple that was nominated last."""

from __future__ import annotations

import itertools
import struct
from collections.abc import AsyncIterator

import aiohttp
import pytest

from rtcfwd.app import Server
from rtcfwd.config import Config
from tests.net_peer import Peer, Tuple
from tests.unit.test_ice_tcp import until
from tests.unit.test_udp_addresses import has_ipv6

KEY, DELTA = b"\x65", b"\x41"
IPV6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    host = "::" if has_ipv6() else "0.0.0.0"
    made = Server(Config(host=host, port=0, udp_port=0, workers=2))
    await made.start()
    yield made
    await made.stop()
    assert made.internal_errors == []


class Scene:
    """A publisher and a viewer of one stream; ``media`` sends, and waits until all came."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        self.source = Peer(publish=True)
        self.sink = Peer(publish=False)
        self.sent = 0

    def at(self, address: str, tcp: bool = False) -> tuple[str, int]:
        port = self.server.tcp_port if tcp else self.server.udp_port
        assert port is not None
        return address, port

    async def start(self, publisher: str, viewer: str, *, tcp: bool = False) -> None:
        base = f"http://127.0.0.1:{self.server.http_port}"
        await self.source.post(self.http, f"{base}/whip/demo")
        await self.source.connect(await self.source.open(self.at(publisher, tcp), tcp=tcp))
        self.source.send_rtp(self._next(), 0, KEY + bytes(500))
        await self.sink.post(self.http, f"{base}/whep/demo")
        await self.sink.connect(await self.sink.open(self.at(viewer, tcp), tcp=tcp))
        await self.sink.until(lambda: self.numbers(), "the first picture")

    def _next(self) -> int:
        self.sent += 1
        return self.sent

    def numbers(self) -> list[int]:
        return [struct.unpack("!H", d[2:4])[0] for _, d in self.sink.rtp if len(d) > 100]

    async def media(self, count: int = 40) -> list[Tuple]:
        """Returns the tuples by which it came, one for each packet."""
        before = len(self.numbers())
        for _ in range(count):
            n = self._next()
            self.source.send_rtp(n, 3000 * n, DELTA + bytes(500))
        await self.sink.until(lambda: len(self.numbers()) >= before + count, "the rest")
        return [on for on, data in self.sink.rtp if len(data) > 100][before:]

    async def moved(self, on: Tuple) -> None:
        """Until media comes by this tuple. The reply to a nomination over TCP may be there before
        the viewer's worker has taken the nomination over: it goes another way out."""
        for _ in range(100):
            if await self.media(1) == [on]:
                return
        raise AssertionError("media does not follow the nomination")

    async def end(self) -> None:
        numbers = self.numbers()
        assert [b - a & 0xFFFF for a, b in itertools.pairwise(numbers)] == [1] * (self.sent - 1)
        assert self.sink.bad_rtp == 0
        await self.source.close()
        await self.sink.close()


@pytest.fixture
async def scene(server: Server) -> AsyncIterator[Scene]:
    async with aiohttp.ClientSession() as http:
        yield Scene(server, http)


@pytest.mark.duty("M3", "M5", "T1")
@IPV6
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(("publisher", "viewer"), [("::1", "::1"), ("127.0.0.1", "::1")])
async def test_ipv6_and_both_families(scene: Scene, publisher: str, viewer: str, tcp: bool) -> None:
    await scene.start(publisher, viewer, tcp=tcp)
    assert set(await scene.media()) == {scene.sink.via}
    assert scene.sink.mapped[scene.sink.via] == scene.sink.via.address
    await scene.end()


@pytest.mark.duty("M4", "M10", "C3")
async def test_viewer_moves_from_one_network_to_the_next(scene: Scene) -> None:
    """Wi-Fi to mobile: a check on the new tuple moves nothing, its nomination moves all of it, and
    going back does too. The old one is answered meanwhile."""
    await scene.start("127.0.0.1", "127.0.0.1")
    wifi = scene.sink.via
    mobile = await scene.sink.open(scene.at("127.0.0.2"), source="127.0.0.3")
    await scene.sink.check(mobile, nominate=False)
    assert set(await scene.media()) == {wifi}
    await scene.sink.check(mobile)
    assert set(await scene.media()) == {mobile}
    await scene.sink.check(wifi, nominate=False)
    assert set(await scene.media()) == {mobile}
    await scene.sink.check(wifi)
    assert set(await scene.media()) == {wifi}
    await scene.end()


@pytest.mark.duty("M4", "M5")
async def test_publisher_moves(scene: Scene) -> None:
    """Its media is taken from any tuple that a check has verified, at once."""
    await scene.start("127.0.0.1", "127.0.0.1")
    await scene.media()
    other = await scene.source.open(scene.at("127.0.0.4"), source="127.0.0.5")
    await scene.source.check(other, nominate=False)
    scene.source.via = other
    await scene.media()
    await scene.source.check(other)
    await scene.source.until(lambda: any(on is other for on, _ in scene.source.rtcp), "reports")
    await scene.media()
    await scene.end()


@pytest.mark.duty("M4", "T4")
@IPV6
async def test_viewer_moves_between_transports_and_families(scene: Scene) -> None:
    await scene.start("::1", "127.0.0.1")
    udp = scene.sink.via
    for address, tcp in (("127.0.0.1", True), ("::1", False), ("::1", True)):
        on = await scene.sink.open(scene.at(address, tcp), tcp=tcp)
        await scene.sink.check(on)
        await scene.moved(on)
        assert set(await scene.media()) == {on}
    await scene.sink.check(udp)
    await scene.moved(udp)
    assert set(await scene.media()) == {udp}
    assert scene.server.forwarder.tcp_stats()["bound"] == 2
    await scene.end()


@pytest.mark.duty("M4", "T4")
async def test_viewer_connects_anew_over_tcp(scene: Scene) -> None:
    """Its connection is gone with the network that it had; media follows to the next one."""
    await scene.start("127.0.0.1", "127.0.0.1", tcp=True)
    await scene.media()
    again = await scene.sink.open(scene.at("127.0.0.2", True), tcp=True, source="127.0.0.6")
    await scene.sink.tuples[0].close()
    await scene.sink.check(again)
    await scene.moved(again)
    assert set(await scene.media()) == {again}
    await scene.end()


@pytest.mark.duty("M3", "M4")
async def test_more_tuples_than_are_kept(scene: Scene) -> None:
    """Twenty ports of a NAT that forgets, of both transports: the one in use is never forgotten."""
    await scene.start("127.0.0.1", "127.0.0.1")
    for n in range(20):
        on = await scene.sink.open(scene.at("127.0.0.1", n % 2 == 1), tcp=n % 2 == 1)
        await scene.sink.check(on, nominate=False)
        assert set(await scene.media(5)) == {scene.sink.tuples[0]}
    await scene.sink.check(on)
    await scene.moved(on)
    assert set(await scene.media(5)) == {on}
    await until(lambda: scene.server.forwarder.tcp_stats()["bound"] <= 8)
    await scene.end()
