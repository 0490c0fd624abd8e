"""The server behind NAT, in network namespaces of our own: a router with a public address that maps
it to the server's (1:1, nftables), a client outside, and a server with several interfaces.

    outside 198.51.100.9 ── 198.51.100.1 router 10.9.0.1 ── 10.9.0.2 server, 10.8.0.2 (unused)
                            203.0.113.7 ⇄ 10.9.0.2

The client is scripted (tests/net_peer.py), the server a process as a user runs it. Needs root, ip
and nft; without them the tests are skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.net_peer import Peer

PUBLIC, INSIDE, OUTSIDE = "203.0.113.7", "10.9.0.2", "198.51.100.9"
READY = re.compile(r"rtcfwd: ready http://.*:(\d+)/ udp:(\d+)")
_CLONE_NEWNET = 0x40000000


class Namespace:
    """A network namespace that lives as long as its holding process."""

    def __init__(self) -> None:
        self.holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo ready; exec sleep 600"], stdout=subprocess.PIPE
        )
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != b"ready\n":
            self.close()
            pytest.skip("no right to make a network namespace")
        self.pid = self.holder.pid
        self.run("ip link set lo up")

    def run(self, command: str) -> None:
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-n", *command.split()],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def close(self) -> None:
        self.holder.kill()
        self.holder.wait()
        if self.holder.stdout is not None:
            self.holder.stdout.close()

    def call(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine in a thread of its own that lives in this namespace."""
        failed: list[BaseException] = []

        def body() -> None:
            try:
                fd = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
                libc = ctypes.CDLL(None, use_errno=True)
                assert libc.setns(fd, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
                os.close(fd)
                asyncio.run(work())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join(90)
        assert not thread.is_alive()
        if failed:
            raise failed[0]


class Net:
    """The three namespaces of the drawing."""

    def __init__(self) -> None:
        self.outside, self.router, self.inside = Namespace(), Namespace(), Namespace()
        self._join(self.outside, OUTSIDE, self.router, "198.51.100.1", "wan")
        self._join(self.inside, INSIDE, self.router, "10.9.0.1", "lan")
        self._join(self.inside, "10.8.0.2", self.router, "10.8.0.1", "spare")
        for end, gate in ((self.outside, "198.51.100.1"), (self.inside, "10.9.0.1")):
            end.run(f"ip route add default via {gate}")
        self.router.run("sysctl -qw net.ipv4.ip_forward=1")
        self.router.run("nft add table ip nat")
        for hook, priority in (("prerouting", -100), ("postrouting", 100)):
            chain = f"{{ type nat hook {hook} priority {priority} ; }}"
            self.router.run(f"nft add chain ip nat {hook} {chain}")
        self.router.run(f"nft add rule ip nat prerouting ip daddr {PUBLIC} dnat to {INSIDE}")
        self.router.run(f"nft add rule ip nat postrouting ip saddr {INSIDE} snat to {PUBLIC}")

    @staticmethod
    def _join(end: Namespace, address: str, router: Namespace, gate: str, name: str) -> None:
        router.run(f"ip link add {name} type veth peer name {name} netns {end.pid}")
        router.run(f"ip addr add {gate}/24 dev {name}")
        router.run(f"ip link set {name} up")
        end.run(f"ip addr add {address}/24 dev {name}")
        end.run(f"ip link set {name} up")

    def close(self) -> None:
        for namespace in (self.outside, self.router, self.inside):
            namespace.close()


@pytest.fixture
def net() -> Iterator[Net]:
    if os.geteuid() or not all(map(shutil.which, ("ip", "nft", "unshare", "nsenter"))):
        pytest.skip("needs root, ip and nft")
    made = Net()
    yield made
    made.close()


@contextlib.contextmanager
def serving(net: Net, tmp_path: Path, *options: str) -> Iterator[int]:
    """A server in the inner namespace; its HTTP port."""
    log = tmp_path / "server.log"
    command = ["nsenter", "-t", str(net.inside.pid), "-n", sys.executable, "-m", "rtcfwd", "serve"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--host", "0.0.0.0", "--port", "8080", "--workers", "2", *options],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            if READY.search(log.read_text()):
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield 8080
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    assert "Traceback" not in log.read_text()


async def play(base: str, hosts: list[str], *, tcp: bool) -> None:
    """Publish and watch by the first candidate of that transport; ``hosts``: all of them."""
    async with aiohttp.ClientSession() as http:
        source, sink = Peer(publish=True), Peer(publish=False)
        for peer, verb in ((source, "whip"), (sink, "whep")):
            await peer.post(http, f"{base}/{verb}/demo")
            found = peer.candidates("tcp" if tcp else "udp")
            assert [c.host for c in found] == hosts
            await peer.connect(await peer.open((found[0].host, found[0].port), tcp=tcp))
            assert peer.mapped[peer.via][0] == OUTSIDE
            if peer is source:
                source.send_rtp(0, 0, b"\x65" + bytes(500))
        for n in range(1, 100):
            source.send_rtp(n, 3000 * n, b"\x41" + bytes(500))
        await sink.until(lambda: len([1 for _, d in sink.rtp if len(d) > 400]) >= 100, "media")
        await source.close()
        await sink.close()


@pytest.mark.duty("M2", "M3", "T1")
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_nat_one_to_one(net: Net, tmp_path: Path, tcp: bool) -> None:
    with serving(net, tmp_path, "--announce", PUBLIC, INSIDE) as port:
        net.outside.call(lambda: play(f"http://{PUBLIC}:{port}", [PUBLIC, INSIDE], tcp=tcp))


@pytest.mark.duty("T1", "T4")
def test_udp_is_blocked(net: Net, tmp_path: Path) -> None:
    """A firewall that drops all UDP, as in many an office: TCP goes, UDP does not."""
    net.router.run("nft add chain ip nat forward { type filter hook forward priority 0 ; }")
    net.router.run("nft add rule ip nat forward ip protocol udp drop")

    async def udp_is_dead(base: str) -> None:
        async with aiohttp.ClientSession() as http:
            peer = Peer(publish=True)
            await peer.post(http, f"{base}/whip/other")
            (udp,) = peer.candidates("udp")
            on = await peer.open((udp.host, udp.port))
            on.send(peer.request())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(on.checked.wait(), 1)
            async with http.delete(peer.session_url) as reply:
                assert reply.status == 200
            await peer.close()

    with serving(net, tmp_path, "--announce", PUBLIC) as port:
        base = f"http://{PUBLIC}:{port}"
        net.outside.call(lambda: udp_is_dead(base))
        net.outside.call(lambda: play(base, [PUBLIC], tcp=True))


@pytest.mark.duty("M2")
def test_several_interfaces(net: Net, tmp_path: Path) -> None:
    """All of them are listed, unless names or networks choose; each answers for itself."""
    everything = [INSIDE, "10.8.0.2", "127.0.0.1"]

    async def listed(base: str, hosts: list[str]) -> None:
        async with aiohttp.ClientSession() as http:
            peer = Peer(publish=True)
            await peer.post(http, f"{base}/whip/demo")
            assert sorted(c.host for c in peer.candidates("udp")) == sorted(hosts)
            for host in hosts:
                port = peer.candidates("udp")[0].port
                for tcp in (False, True):
                    await peer.check(await peer.open((host, port), tcp=tcp))
            await peer.close()

    for options, hosts in (
        ((), everything),
        (("--interfaces", "lan"), [INSIDE]),
        (("--exclude-interfaces", "10.9.0.0/16", "lo"), ["10.8.0.2"]),
    ):
        with serving(net, tmp_path, *options) as port:
            base = f"http://127.0.0.1:{port}"
            net.inside.call(lambda base=base, hosts=hosts: listed(base, hosts))
