"""Bad datagrams to the UDP port of a real server with the compiled data plane: random ones, STUN
that knows a ufrag but not its password, DTLS and RTP rubbish from strangers, from a tuple that is
only validated, and from a connected peer's own tuple. The server lives, names every drop, answers
none of the unsigned, and its sessions go on.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from benchmarks.media import Media
from benchmarks.peer import Credentials, JoinFailed, Peer, binding_request, make_offer, read_answer
from rtcfwd.app import Server
from rtcfwd.certs import Certificate
from rtcfwd.config import Config
from tests.unit.stun_tools import check

SSRCS = (0x11111111, 0x22222222)
CERTIFICATE = Certificate.generate()
STRANGER = "127.0.0.2"  # token buckets go by address; the good peers are on 127.0.0.1


class Running:
    """A server with one publisher and one viewer that media flows between."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        self.base = f"http://127.0.0.1:{server.http_port}"
        self.publisher = self.peer("/whip/demo", publish=True, ssrcs=SSRCS)
        self.viewer = self.peer("/whep/demo")
        self._media = Media(500_000, *SSRCS)
        self._frames = 0

    def peer(self, path: str, **options: Any) -> Peer:
        return Peer(self.base + path, "127.0.0.1", CERTIFICATE, **options)

    async def join(self) -> None:
        await self.publisher.join(self.http)
        self.publish()
        await self.until(lambda stats: self.server.registry.streams["demo"].live)
        await self.viewer.join(self.http)

    def publish(self) -> None:
        """One key frame and one audio packet."""
        self._frames += 1
        packets = self._media.video_frame(True, self._frames * 3000)
        packets.append(self._media.audio_frame(self._frames * 160))
        for packet in packets:
            self.publisher.sock.send(self.publisher.tx.protect(packet.data))

    def next_audio(self) -> bytes:
        """The publisher's next audio packet, encrypted, not sent."""
        self._frames += 1
        return self.publisher.tx.protect(self._media.audio_frame(self._frames * 160).data)

    async def media_flows(self, viewer: Peer | None = None) -> None:
        """Publish until the viewer has a packet of this time, that decrypts."""
        viewer = viewer or self.viewer
        loop = asyncio.get_running_loop()
        fresh = 0
        async with asyncio.timeout(10):
            while fresh < 20:
                self.publish()
                data = await loop.sock_recv(viewer.sock, 2048)
                if 128 <= data[0] <= 191 and not 192 <= data[1] <= 223:
                    viewer.rx.unprotect(data)
                    fresh += 1

    async def stats(self) -> dict[str, Any]:
        async with self.http.get(self.base + "/api/v1/server") as response:
            assert response.status == 200
            body: dict[str, Any] = await response.json()
            return body

    async def drops(self) -> dict[str, int]:
        """All drop counters, the data plane's and the control plane's."""
        stats = await self.stats()
        total: dict[str, int] = dict(stats["control_drops"])
        for worker in stats["worker_stats"]:
            for name, count in worker["drops"].items():
                total[name] = total.get(name, 0) + count
        return total

    async def until(self, condition: Callable[[dict[str, int]], object]) -> dict[str, int]:
        """Ask for the counters until they are as they should be; each answer is a round trip."""
        async with asyncio.timeout(10):
            while not condition(counters := await self.drops()):
                pass
        return counters

    async def throw(self, sock: socket.socket, datagrams: list[bytes]) -> None:
        """Send, in portions that a socket buffer holds; the API's answer lets the worker run."""
        for start in range(0, len(datagrams), 50):
            for datagram in datagrams[start : start + 50]:
                sock.send(datagram)
            await self.stats()

    def stranger(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind((STRANGER, 0))
        sock.connect(("127.0.0.1", self.server.udp_port))
        return sock


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    server = Server(Config(host="127.0.0.1", port=0, udp_port=0, workers=2))
    await server.start()
    async with aiohttp.ClientSession() as http:
        world = Running(server, http)
        try:
            await world.join()
            await world.media_flows()
            yield world
            # Whatever the test did: media goes on, somebody new can join, nothing was a surprise.
            await world.media_flows()
            another = world.peer("/whep/demo")
            await another.join(http)
            await world.media_flows(another)
            another.sock.close()
            assert server.internal_errors == []
        finally:
            for peer in (world.publisher, world.viewer):
                if hasattr(peer, "sock"):
                    peer.sock.close()
            await server.stop()


def rubbish(rng: random.Random, first: range, count: int, length: int = 200) -> list[bytes]:
    """Datagrams of 1 to ``length`` bytes whose first byte is in ``first``."""
    return [bytes([rng.choice(first)]) + rng.randbytes(rng.randrange(length)) for _ in range(count)]


def mutated(rng: random.Random, data: bytes, count: int) -> list[bytes]:
    """Copies with one to four bits wrong, some cut short, some with a tail."""
    copies = []
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(rng.randrange(1, 5)):
            copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.3:
            del copy[rng.randrange(len(copy)) :]
        elif rng.random() < 0.2:
            copy += rng.randbytes(rng.randrange(1, 100))
        copies.append(bytes(copy))
    return copies


def answers(sock: socket.socket) -> list[bytes]:
    """What has come to a socket that asked for nothing."""
    received = []
    try:
        while True:
            received.append(sock.recv(2048))
    except BlockingIOError:
        return received


@pytest.mark.parametrize("seed", range(3))
async def test_rubbish_from_a_stranger(seed: int) -> None:
    rng = random.Random(seed)
    async with running() as world:
        with world.stranger() as sock:
            before = await world.drops()
            await world.throw(sock, rubbish(rng, range(256), 600))
            await world.throw(sock, rubbish(rng, range(4), 100))
            await world.throw(sock, rubbish(rng, range(20, 64), 100, 1400))
            await world.throw(sock, rubbish(rng, range(128, 192), 100, 1400))
            await world.throw(sock, [b"", b"\x80", b"\xff" * 1472, bytes(1472), b"\x80" * 9000])
            names = ("unclassified", "dtls_unknown_tuple", "unknown_tuple")
            await world.until(
                lambda drops: all(drops.get(name, 0) > before.get(name, 0) for name in names)
            )
            assert answers(sock) == []


async def test_stun_that_knows_the_ufrag_but_not_the_password() -> None:
    rng = random.Random(1)
    async with running() as world:
        ufrag = world.publisher.remote.ufrag
        with world.stranger() as sock:
            good = check(ufrag, "x" * 24, nominate=True)
            await world.throw(sock, [good])
            await world.until(lambda drops: drops.get("stun_integrity", 0) > 0)
            await world.throw(sock, mutated(rng, good, 300))
            await world.throw(sock, [check("nobody12", "x" * 24)] * 20)
            await world.until(lambda drops: drops.get("stun_unknown_ufrag", 0) >= 20)
            assert answers(sock) == []


async def test_mutations_of_a_checks_real_bytes() -> None:
    """A signed request with bits wrong, from the owner's own tuple, where punts are not scarce."""
    rng = random.Random(2)
    async with running() as world:
        peer = world.viewer
        await world.throw(peer.sock, mutated(rng, peer.check(), 200))
        drops = await world.until(lambda drops: drops.get("stun_integrity", 0) > 0)
        assert drops.get("stun_malformed", 0) + drops.get("stun_unknown_ufrag", 0) > 0
        forged = check(peer.remote.ufrag, "x" * 24)
        await world.throw(peer.sock, [forged] * 1000)  # punts of a tuple are rationed
        await world.until(lambda drops: drops.get("punt_rate", 0) > 0)


async def test_dtls_rubbish_from_a_tuple_that_is_only_validated() -> None:
    """It may spoil its own handshake, and nothing else."""
    rng = random.Random(3)
    async with running() as world:
        local = Credentials("abcd1234", "p" * 24, (CERTIFICATE.fingerprint,), "actpass")
        headers = {"Content-Type": "application/sdp"}
        url = world.base + "/whep/demo"
        for round_ in range(6):
            offer = make_offer(local, False).encode()
            async with world.http.post(url, data=offer, headers=headers) as response:
                assert response.status == 201
                remote = read_answer(await response.text())
            with world.stranger() as sock:
                sock.send(binding_request(local, remote, round_))
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 2048), 5)
                records = [
                    bytes([rng.choice([20, 21, 22, 23]), 0xFE, rng.choice([0xFD, 0xFF])])
                    + bytes(8)
                    + len(body).to_bytes(2)
                    + body
                    for body in (rng.randbytes(rng.randrange(300)) for _ in range(30))
                ]
                await world.throw(sock, records)
                await world.throw(sock, rubbish(rng, range(20, 64), 60, 1400))
                await world.throw(sock, rubbish(rng, range(128, 192), 60, 1400))
        await world.until(lambda drops: drops.get("no_keys", 0) + drops.get("unknown_tuple", 0))


async def test_rubbish_from_the_tuples_of_connected_peers() -> None:
    rng = random.Random(4)
    async with running() as world:
        for peer in (world.publisher, world.viewer):
            await world.throw(peer.sock, rubbish(rng, range(256), 300, 1400))
            await world.throw(peer.sock, rubbish(rng, range(20, 64), 100, 300))
            await world.throw(peer.sock, rubbish(rng, range(128, 192), 200, 1400))
            await world.throw(peer.sock, [b"\x15\xfe\xfd" + bytes(9) + b"\2\2\x28"] * 5)
        drops = await world.until(lambda drops: drops.get("auth_failed", 0) > 100)
        assert drops.get("rtp_malformed", 0) + drops.get("too_short", 0) > 0


async def test_damaged_and_repeated_media_of_the_publisher() -> None:
    """Only bytes that authenticate reach the viewers; a repetition is dropped by name."""
    rng = random.Random(5)
    async with running() as world:
        signed = world.next_audio()
        await world.throw(world.publisher.sock, mutated(rng, signed, 100))
        await world.throw(world.publisher.sock, [signed] * 3)
        await world.until(lambda drops: drops.get("auth_failed", 0) and drops.get("replayed", 0))


async def test_a_viewer_with_another_certificate_gets_no_media() -> None:
    async with running() as world:
        impostor = world.peer("/whep/demo")
        impostor.certificate = Certificate.generate()
        original = impostor.certificate.fingerprint
        impostor.certificate.fingerprint = CERTIFICATE.fingerprint  # what its offer claims
        with pytest.raises(JoinFailed, match="DTLS"):
            await impostor.join(world.http)
        impostor.sock.close()
        assert original != CERTIFICATE.fingerprint
