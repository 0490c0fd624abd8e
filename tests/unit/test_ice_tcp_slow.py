"""A viewer over TCP that stops reading, on a real server: its memory is bounded, the others do not
notice, and when it reads again it has lost whole frames and goes on at a key frame. The rules by
themselves are tested in virtual time in tests/c/test_legs.c."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import aiohttp
import pytest

from rtcfwd.app import Server
from rtcfwd.config import Config
from rtcfwd.http.api import resident_bytes
from tests.net_peer import Peer

PARTS, SIZE, KEYS = 12, 1000, 15
"""Packets of a frame, bytes of a packet, frames from key frame to key frame: 3 Mbit/s at 30."""


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server(Config(host="127.0.0.1", port=0, udp_port=0, workers=1))
    await made.start()
    yield made
    await made.stop()
    assert made.internal_errors == []


def frames(peer: Peer) -> list[tuple[int, int, bool]]:
    """(frame, part, key) of each packet of video that it got, in its order."""
    return [
        (*struct.unpack("!IB", data[-SIZE + 1 : -SIZE + 6]), data[-SIZE] == 0x65)
        for _, data in peer.rtp
        if len(data) >= SIZE
    ]


async def publish(source: Peer, first: int, count: int) -> int:
    for number in range(first, first + count):
        for part in range(PARTS):
            body = bytes([0x41 if number % KEYS else 0x65]) + struct.pack("!IB", number, part)
            source.send_rtp(
                number * PARTS + part, number * 3000, body.ljust(SIZE, b"\x55"),
                marker=part == PARTS - 1,
            )  # fmt: skip
        await asyncio.sleep(1 / 30)
    return first + count


@pytest.mark.duty("T2", "T4")
async def test_a_viewer_that_stops_reading(server: Server) -> None:
    base = f"http://127.0.0.1:{server.http_port}"
    async with aiohttp.ClientSession() as http:
        source, slow, quick = Peer(publish=True), Peer(publish=False), Peer(publish=False)
        await source.post(http, f"{base}/whip/demo")
        await source.connect(await source.open(("127.0.0.1", server.udp_port)))
        at = await publish(source, 0, 1)
        assert server.tcp_port is not None
        for peer in (slow, quick):
            await peer.post(http, f"{base}/whep/demo")
            to = ("127.0.0.1", server.tcp_port)
            await peer.connect(await peer.open(to, tcp=True, receive_buffer=32768))
        at = await publish(source, at, 20)
        await quick.until(lambda: len(frames(quick)) >= at * PARTS, "all of it")
        await slow.until(lambda: len(frames(slow)) >= at * PARTS, "all of it")
        before = await asyncio.to_thread(resident_bytes)
        await slow.via.stop_reading()
        deadline = asyncio.get_running_loop().time() + 15
        while not server.forwarder.worker_stats()[0]["drops"]["leg_late"]:
            assert asyncio.get_running_loop().time() < deadline
            at = await publish(source, at, 5)
        at = await publish(source, at, 30)
        # Its ring, the log's pages, and what this test keeps of the quick one, twice.
        kept = 2 * sum(len(data) + 200 for _, data in quick.rtp)
        assert await asyncio.to_thread(resident_bytes) - before < (6 << 20) + kept
        await quick.until(lambda: len(frames(quick)) >= at * PARTS, "all of it")
        slow.via.go_on_reading()
        at = await publish(source, at, KEYS + 5)
        await slow.until(lambda: frames(slow)[-1][:2] == (at - 1, PARTS - 1), "the newest frame")
        got = frames(slow)
        numbers = [number for number, _, _ in got]
        assert len(numbers) % PARTS == 0
        assert [part for _, part, _ in got] == list(range(PARTS)) * (len(got) // PARTS)
        assert all(
            b == a + 1 or key
            for (a, _, _), (b, _, key) in zip(got[::PARTS], got[PARTS::PARTS], strict=False)
        )
        assert len(set(numbers)) < at  # some are missing
        assert slow.bad_rtp == quick.bad_rtp == 0
        for peer in (source, slow, quick):
            await peer.close()
