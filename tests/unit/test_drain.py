"""The end in order: no new sessions, viewers are told and may leave, close_notify, bounded time."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rtcfwd.config import Config
from rtcfwd.dtls import DtlsState
from rtcfwd.session.registry import Refused
from tests.unit.server_tools import serving
from tests.unit.session_tools import PUBLISH, VIEW, World

SDP = {"Content-Type": "application/sdp"}


@pytest.mark.duty("W20")
def test_a_draining_registry_takes_nobody_and_media_goes_on() -> None:
    world = World(Config(redirect_full="https://other.example.net"))
    publisher = world.live()
    viewer = world.connected(world.view())
    told: list[str] = []
    world.registry.on_reconnect.append(told.append)
    world.registry.start_draining()
    world.registry.start_draining()
    assert told == ["https://other.example.net"]
    for join in (world.publish, world.view):
        with pytest.raises(Refused) as refused:
            join("demo")
        assert (refused.value.status, refused.value.retry_after) == (503, 2)
    assert world.registry.has_viewers()
    assert publisher.dtls.state is viewer.dtls.state is DtlsState.CONNECTED
    viewer.close()
    assert not world.registry.has_viewers()
    assert list(world.registry.sessions.values()) == [publisher.session]


@pytest.mark.duty("S3")
def test_the_publisher_gets_close_notify_so_that_it_reconnects() -> None:
    world = World()
    publisher = world.live()
    viewer = world.connected(world.view())
    world.registry.start_draining()
    sent = len(world.forwarder.sent)
    world.registry.close_all()
    for client in (publisher, viewer):
        for _, path, data in world.forwarder.sent[sent:]:
            if path == client.path:
                client.dtls.receive(data, world.now)
        assert client.dtls.state is DtlsState.CLOSED
    world.pump()
    world.advance(60)
    world.assert_empty()


async def test_draining_ends_when_the_last_viewer_has_left() -> None:
    async with serving(drain=3600.0) as (server, client, _):
        async with client.post("/whip/a", data=PUBLISH, headers=SDP) as reply:
            assert reply.status == 201
        async with client.post("/whep/a", data=VIEW, headers=SDP) as reply:
            location = reply.headers["Location"]
        begun = asyncio.Event()
        server.registry.on_reconnect.append(lambda url: begun.set())
        draining = asyncio.create_task(server.drain())
        await begun.wait()
        for path, body in (("/whip/b", PUBLISH), ("/whep/a", VIEW)):
            async with client.post(path, data=body, headers=SDP) as reply:
                assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
        async with client.get("/healthz") as reply:
            assert reply.status == 503
        async with client.get(location) as reply:
            assert reply.status == 204
        assert not draining.done()
        async with client.delete(location) as reply:
            assert reply.status == 200
        await draining
        assert len(server.registry.sessions) == 1  # the publisher's; stop() ends it


async def test_draining_is_bounded_and_nobody_is_waited_for_without_viewers() -> None:
    async with serving(drain=0.0) as (server, client, _):
        async with client.post("/whip/a", data=PUBLISH, headers=SDP) as reply:
            assert reply.status == 201
        async with client.post("/whep/a", data=VIEW, headers=SDP) as reply:
            assert reply.status == 201
        await server.drain()
        assert len(server.registry.sessions) == 2
    async with serving(drain=3600.0) as (server, client, _):
        async with client.post("/whip/a", data=PUBLISH, headers=SDP) as reply:
            assert reply.status == 201
        await server.drain()


@pytest.mark.duty("W19", "W20")
async def test_while_draining_joins_are_sent_on_where_there_is_another_server() -> None:
    async with serving(redirect_full="https://other.example.net") as (server, client, _):
        await server.drain()
        async with client.post(
            "/whip/a", data=PUBLISH, headers=SDP, allow_redirects=False
        ) as reply:
            assert reply.status == 307
            wanted = "https://other.example.net/whip/a?rtcfwd-hop=1"
            assert reply.headers["Location"] == wanted


# ---- the command ----


@contextmanager
def command(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``rtcfwd serve`` with a publisher and a viewer that never leave, and its base URL."""
    pytest.importorskip("rtcfwd.forwarder._forwarder")
    fixed = ["--host", "127.0.0.1", "--port", "0", "--udp-port", "0", "--workers", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "rtcfwd", "serve", *fixed, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        guard = threading.Timer(60, process.kill)
        guard.start()
        assert process.stdout is not None
        match = re.match(r"rtcfwd: ready (\S+)/ udp", process.stdout.readline())
        assert match is not None
        assert post(match[1] + "/whip/a", PUBLISH) == 201
        assert post(match[1] + "/whep/a", VIEW) == 201
        try:
            yield process, match[1]
        finally:
            process.kill()
            guard.cancel()


def post(url: str, body: bytes) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, SDP), timeout=30) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def until_logged(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"the server ended before it said {word!r}")


@pytest.mark.duty("W20")
def test_sigterm_drains_and_a_second_one_ends_at_once() -> None:
    with command("--drain", "3600") as (process, base):
        process.send_signal(signal.SIGTERM)
        until_logged(process, "draining")
        assert post(base + "/whip/b", PUBLISH) == 503
        assert post(base + "/whep/a", VIEW) == 503
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors


def test_sigterm_ends_after_the_drain_time() -> None:
    with command("--drain", "0.2") as (process, _):
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert "some viewers have not left" in errors
        assert "Traceback" not in errors


def test_sighup_does_not_end_the_server() -> None:
    with command("--drain", "0") as (process, base):
        process.send_signal(signal.SIGHUP)
        assert post(base + "/whep/a", VIEW) == 201
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
