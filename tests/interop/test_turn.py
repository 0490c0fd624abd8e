"""Viewers that may only relay: Chromium and aiortc through Debian's coturn, with the time-limited
credentials of the Link headers.

coturn relays from ports of its own range, so the server's view of a viewer's path shows that its
media really came that way.
"""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aioice.stun import TransactionFailed
from aioice.turn import create_turn_endpoint
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from playwright.sync_api import Browser, expect

from rtcfwd.http.ice_servers import time_limited
from tests.interop.interop_tools import Pages, Server, serving, wait_until

SECRET = "north-south-east-west"
RELAYS = range(52000, 52100)


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """coturn on loopback; its UDP and TCP port."""
    folder = tmp_path_factory.mktemp("coturn")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port: int = free.getsockname()[1]
    options = f"""-n --listening-ip 127.0.0.1 --relay-ip 127.0.0.1 --listening-port {port}
      --min-port {RELAYS[0]} --max-port {RELAYS[-1]} --realm rtcfwd.test --fingerprint
      --use-auth-secret --static-auth-secret {SECRET} --allow-loopback-peers
      --no-cli --no-tls --no-dtls --no-multicast-peers --verbose --log-file stdout
      --pidfile {folder}/pid --userdb {folder}/db""".split()
    log = folder / "log"
    with log.open("wb") as out, subprocess.Popen(
        ["turnserver", *options], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder
    ) as process:  # fmt: skip
        try:
            wait_until(lambda: listening(port), "coturn listens")
            yield port
        finally:
            process.terminate()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def server(turn: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log: Path = tmp_path_factory.mktemp("server") / "server.log"
    servers = f"turn:127.0.0.1:{turn}?transport=udp turn:127.0.0.1:{turn}?transport=tcp"
    options = ("--ice-servers", servers, "--turn-secret", SECRET, "--drain", "0")
    with serving(log, workers=1, options=options) as running:
        yield running
    assert SECRET not in running.text()


def viewer_ports(server: Server, name: str) -> list[int]:
    """The remote ports of all paths of the stream's viewers."""
    sessions = server.api(f"/streams/{name}")["sessions"]
    told = [str(s["stats"]) for s in sessions if s["role"] == "viewer"]
    return [int(port) for text in told for port in re.findall(r"127\.0\.0\.1 (\d+)", text)]


@pytest.mark.client("Chromium", "coturn")
@pytest.mark.duty("W10", "W11")
def test_chromium_watches_through_turn_alone(
    server: Server, pages: Pages, chromium: Browser, record: Any
) -> None:
    publisher = pages.publish("relayed", video="H264", audio="PCMA")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(server.url("/?watch=relayed&relay=1"))
    expect(page.locator("#watch-state")).to_have_text("live", timeout=20000)
    expect(page.locator("#watch-figures")).to_contain_text("640 × 360", timeout=20000)
    used = page.evaluate(
        """async () => {
          const report = [...(await window.rtcfwd.viewer.pc.getStats()).values()];
          const pair = report.find(s => s.type === 'candidate-pair' && s.nominated);
          const local = report.find(s => s.id === pair.localCandidateId);
          const video = report.find(s => s.type === 'inbound-rtp' && s.kind === 'video');
          const {candidateType: type, relayProtocol: relay} = local;
          return {type, relay, frames: video.framesDecoded};
        }"""
    )
    ports = viewer_ports(server, "relayed")
    record(**used, ports=ports)
    assert used["type"] == "relay"
    assert used["frames"] > 0
    assert ports
    assert set(ports) <= set(RELAYS)
    context.close()
    publisher.close()


RELAYS_ONLY = """{
  const Native = RTCPeerConnection;
  window.policies = [];
  window.RTCPeerConnection = class extends Native {
    constructor(settings) {
      window.policies.push((settings.iceServers || []).length);
      super({...settings, iceTransportPolicy: 'relay'});
    }
  };
}"""


@pytest.mark.full  # the page gives it 10 s without
@pytest.mark.client("Chromium", "coturn")
@pytest.mark.duty("W10")
def test_the_page_takes_turn_when_it_does_not_go_without(
    server: Server, pages: Pages, chromium: Browser, record: Any
) -> None:
    """A browser that must not send to the server itself: the page's first attempt is without STUN
    and TURN, as always, and fails; then it asks for them and plays, by itself."""
    publisher = pages.publish("fallback", video="H264", audio="PCMA")
    context = chromium.new_context()
    page = context.new_page()
    page.add_init_script(RELAYS_ONLY)
    page.goto(server.url("/?watch=fallback"))
    expect(page.locator("#watch-state")).to_have_text("live", timeout=60000)
    expect(page.locator("#watch-figures")).to_contain_text("640 × 360", timeout=20000)
    policies = page.evaluate("window.policies")
    ports = viewer_ports(server, "fallback")
    record(servers_by_attempt=policies, ports=ports)
    assert policies[0] == 0
    assert policies[-1] > 0
    assert set(ports) & set(RELAYS)
    context.close()
    publisher.close()


async def relay_only(url: str, line: int) -> tuple[int, str]:
    """An aiortc viewer that may only relay, by one Link line: the packets that it got,
    and the state of its connection."""
    async with aiohttp.ClientSession() as http:
        async with http.options(url) as reply:
            links = reply.headers.getall("Link")
        link = re.fullmatch(
            r'<([^>]+)>; rel="ice-server"; username="([^"]+)"; credential="([^"]+)".*', links[line]
        )
        assert link is not None
        pc = RTCPeerConnection(
            RTCConfiguration(
                [RTCIceServer(urls=link[1], username=link[2], credential=link[3])],
                iceTransportPolicy=RTCIceTransportPolicy.RELAY,
            )
        )
        got = asyncio.Event()

        @pc.on("track")
        async def track(media: Any) -> None:
            if media.kind == "audio":
                for _ in range(25):
                    await media.recv()
                got.set()

        try:
            pc.addTransceiver("video", direction="recvonly")
            pc.addTransceiver("audio", direction="recvonly")
            await pc.setLocalDescription(await pc.createOffer())
            offer = pc.localDescription.sdp
            assert "typ host" not in offer
            assert "typ relay" in offer
            headers = {"Content-Type": "application/sdp"}
            async with http.post(url, data=offer.encode(), headers=headers) as reply:
                assert reply.status == 201, await reply.text()
                answer = await reply.text()
            await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await asyncio.wait_for(got.wait(), 30)
            return 25, pc.connectionState
        finally:
            await pc.close()


@pytest.mark.client("aiortc", "coturn")
@pytest.mark.duty("W11")
def test_aiortc_watches_through_turn_alone_over_udp_and_tcp(server: Server, pages: Pages) -> None:
    publisher = pages.publish("relayed2", video="H264", audio="PCMA")
    for line in range(2):
        packets, state = run(relay_only(server.url("/whep/relayed2"), line))
        assert (packets, state) == (25, "connected")
    publisher.close()


@pytest.mark.duty("W11")
def test_coturn_takes_what_the_secret_makes_and_only_in_its_time(turn: int) -> None:
    async def allocate(username: str, password: str) -> None:
        transport, _ = await create_turn_endpoint(
            asyncio.DatagramProtocol,
            server_addr=("127.0.0.1", turn),
            username=username,
            password=password,
        )
        transport.close()

    now = int(time.time())
    run(allocate(*time_limited(SECRET, now + 60, "viewer")))
    for username, password in (
        time_limited(SECRET, now - 60, "viewer"),
        time_limited("another secret", now + 60, "viewer"),
        (f"{now + 3600}:viewer", time_limited(SECRET, now + 60, "viewer")[1]),
    ):
        with pytest.raises(TransactionFailed, match="401"):
            run(allocate(username, password))


def run(job: Coroutine[Any, Any, Any]) -> Any:
    """In a loop of another thread: Playwright's own runs in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, job).result(60)
