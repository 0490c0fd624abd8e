"""The self-test: over the real data plane all is well; without one it says what is not."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from typing import Any

import aiohttp
import pytest

from rtcfwd import selftest
from rtcfwd.app import Server
from rtcfwd.client.probe import Probe, Remote
from rtcfwd.forwarder.fake import FakeForwarder
from tests.unit.server_tools import CONFIG, serving

URL = "/api/v1/selftest"


def _by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {line["name"]: line for line in report["lines"]}


async def test_a_sound_server() -> None:
    server = Server(CONFIG)
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.http_port}") as client:
            async with client.get(URL) as reply:
                assert reply.status == 200
                report = await reply.json()
            async with client.get(URL) as reply:
                assert reply.status == 429
                assert int(reply.headers["Retry-After"]) >= 1
    finally:
        await server.stop()
    lines = _by_name(report)
    reached = lines[f"UDP 127.0.0.1 port {server.udp_port}"]
    assert reached["ok"], reached
    tcp = lines[f"TCP 127.0.0.1 port {server.tcp_port}"]
    assert tcp["ok"], tcp
    assert "answers after" in tcp["value"]
    assert lines["publisher connected"]["ok"]
    assert lines["viewer connected"]["ok"]
    assert lines["first frame"]["ok"], lines
    assert lines["media"]["ok"], lines
    assert lines["SRTP engine"]["value"] in ("libsrtp", "ipsec-mb")
    assert "only this machine" in lines["addresses in answers"]["advice"]
    assert not server.internal_errors
    assert server.registry.empty


async def test_where_no_datagram_is_answered() -> None:
    async with serving() as (_, client, _fake), client.get(URL) as reply:
        report = await reply.json()
    assert report["ok"] is False
    lines = _by_name(report)
    assert "no address of the answer" in lines["loop"]["value"]
    (port,) = [line for name, line in lines.items() if name.startswith("UDP 127")]
    assert port["ok"] is False
    assert "firewall" in port["advice"]


async def test_who_may_ask() -> None:
    async with serving() as (_, client, _fake):
        for header in ({"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}):
            async with client.get(URL, headers=header) as reply:
                assert reply.status == 403
                assert "rtcfwd doctor" in (await reply.json())["detail"]
    tokens = (("admin", "*", "secret"),)
    async with serving(auth_tokens=tokens, auth_delay=0.0) as (_, client, _fake):
        async with client.get(URL) as reply:
            assert reply.status == 401
        headers = {"Authorization": "Bearer secret", "X-Forwarded-For": "192.0.2.1"}
        async with client.get(URL, headers=headers) as reply:
            assert reply.status == 200


async def test_one_at_a_time() -> None:
    async with serving() as (_, client, _fake):

        async def ask() -> int:
            async with client.get(URL) as reply:
                return reply.status

        assert sorted(await asyncio.gather(*(ask() for _ in range(4)))) == [200, 429, 429, 429]


async def test_a_full_server_is_told() -> None:
    async with serving(max_streams=1) as (server, client, _fake):
        offer = selftest.Probe(publish=True).offer.encode()
        session = server.registry.publish("other", offer)
        async with client.get(URL) as reply:
            report = await reply.json()
        line = _by_name(report)["loop"]
        assert line["ok"] is False
        assert "Too many streams" in line["value"]
        server.registry.delete(session.id)


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        (["127.0.0.1", "::1"], "only this machine"),
        (["192.168.1.2", "127.0.0.1"], "enough for the local network"),
        (["8.8.8.8", "192.168.1.2"], ""),
    ],
)
def test_addresses_are_judged(addresses: list[str], said: str) -> None:
    line = selftest._addresses(addresses)
    assert said in line.advice
    assert bool(line.advice) == bool(said)


def test_a_tcp_port_that_does_not_answer_is_told() -> None:
    """Nobody listens; somebody listens who closes at once."""
    probe = Probe(publish=True)
    probe.remote = Remote("ufrag", "p" * 24, "passive", (), ())
    with socket.socket() as closed, socket.socket() as mute:
        closed.bind(("127.0.0.1", 0))
        line = selftest._tcp(probe, closed.getsockname())
        assert line.ok is False
        assert "refused" in line.value
        assert "firewall" in line.advice
        mute.bind(("127.0.0.1", 0))
        mute.listen()

        def close_one() -> None:
            mute.accept()[0].close()

        thread = threading.Thread(target=close_one)
        thread.start()
        line = selftest._tcp(probe, mute.getsockname())
        thread.join()
        assert line.ok is False


def test_the_machine_is_judged() -> None:
    fake = FakeForwarder()
    lines = {line.name: line for line in selftest.machine(fake)}
    assert lines["SRTP engine"].value == fake.engine
    assert lines["UDP segmentation offload"].ok is fake.gso
    assert bool(lines["UDP segmentation offload"].advice) == (not fake.gso)


def test_doctor_leaves_a_port_that_is_taken() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        command = ["doctor", "--host", "127.0.0.1", "--port", "0", "--udp-port", str(port)]
        done = subprocess.run(
            [sys.executable, "-m", "rtcfwd", *command],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"UDP port {port}: address already in use" in done.stdout
    assert "ok  first frame: " in done.stdout
    assert "BAD" not in done.stdout
