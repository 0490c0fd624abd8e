"""Starting and stopping: ports, addresses for the answers, the command as a process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address

import pytest

from rtcfwd import addresses, app, cli
from rtcfwd.addresses import Interface
from rtcfwd.app import Server, StartError, announced_addresses, listen
from rtcfwd.config import Config
from rtcfwd.forwarder.fake import FakeForwarder
from tests.unit.server_tools import CONFIG


def test_addresses_for_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        Interface(name, ip_address(address))
        for name, address in (("lo", "127.0.0.1"), ("eth0", "2001:db8::7"), ("eth0", "192.0.2.7"))
    ]
    monkeypatch.setattr(addresses, "interfaces", lambda: found)
    assert announced_addresses(Config()) == ["192.0.2.7", "2001:db8::7", "127.0.0.1"]
    assert announced_addresses(Config(host="0.0.0.0")) == ["192.0.2.7", "127.0.0.1"]
    assert announced_addresses(Config(host="127.0.0.1")) == ["127.0.0.1"]
    assert announced_addresses(Config(host="::1")) == ["::1"]
    assert announced_addresses(Config(host="192.0.2.7")) == ["192.0.2.7"]
    assert announced_addresses(Config(announce=("198.51.100.1",))) == ["198.51.100.1"]
    found = [Interface("eth0", ip_address(f"192.0.2.{n}")) for n in range(1, 40)]
    monkeypatch.setattr(addresses, "interfaces", lambda: found)
    assert len(announced_addresses(Config())) == 8


@pytest.mark.parametrize("host", ["::", "0.0.0.0", "127.0.0.1"])
def test_listening(host: str) -> None:
    with listen(host, 0) as first, socket.create_connection(
        ("127.0.0.1", first.getsockname()[1])
    ), pytest.raises(StartError, match="choose another --port"):  # fmt: skip
        listen(host, first.getsockname()[1])


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(StartError, match=r"HTTP 192\.0\.2\.99"):
        listen("192.0.2.99", 0)


async def test_a_start_that_fails_leaves_nothing() -> None:
    def refuse(config: Config) -> FakeForwarder:
        raise StartError("no UDP")

    server = Server(CONFIG, make_forwarder=refuse)
    with pytest.raises(StartError, match="no UDP"):
        await server.start()
    await server.stop()


async def test_a_second_server_on_the_udp_port_is_refused() -> None:
    config = replace(CONFIG, udp_port=59189)
    fakes = [FakeForwarder(), FakeForwarder()]
    first = Server(config, make_forwarder=lambda c: fakes[0])
    await first.start()
    with pytest.raises(StartError, match="another rtcfwd serves UDP port 59189"):
        await Server(config, make_forwarder=lambda c: fakes[1]).start()
    await first.stop()
    again = Server(config, make_forwarder=lambda c: fakes[1])
    await again.start()
    await again.stop()
    assert [fake.closed for fake in fakes] == [True, True]


async def test_starting_and_stopping_leaves_no_thread_or_descriptor() -> None:
    pytest.importorskip("rtcfwd.forwarder._forwarder")

    async def once() -> tuple[int, int]:
        server = Server(CONFIG)
        await server.start()
        assert server.udp_port > 0
        await server.stop()
        await server.stop()
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    # the loop's own threads come as they are needed: one, so that it is there after the first time
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await once()
    counts = [await once() for _ in range(5)]
    assert len(set(counts)) == 1, counts
    assert len(asyncio.all_tasks()) == 1


def test_the_command_serves_until_sigterm() -> None:
    pytest.importorskip("rtcfwd.forwarder._forwarder")
    command = [sys.executable, "-m", "rtcfwd", "serve", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        [*command, "--udp-port", "0", "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        guard = threading.Timer(60, process.kill)
        guard.start()
        assert process.stdout is not None
        ready = process.stdout.readline()
        match = re.fullmatch(r"rtcfwd: ready (http://127\.0\.0\.1:\d+/) udp:(\d+)\n", ready)
        assert match is not None, ready
        with urllib.request.urlopen(match[1] + "healthz", timeout=30) as reply:
            assert reply.read() == b"ok\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
        guard.cancel()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("level", ["info", "debug"])
def test_bad_http_fills_no_log_and_tells_no_token(level: str) -> None:
    pytest.importorskip("rtcfwd.forwarder._forwarder")
    fixed = "--host 127.0.0.1 --port 0 --udp-port 0 --workers 1 --log-level"
    with subprocess.Popen(
        [sys.executable, "-m", "rtcfwd", "serve", *fixed.split(), level],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        guard = threading.Timer(60, process.kill)
        guard.start()
        assert process.stdout is not None
        match = re.search(r":(\d+)/ udp", process.stdout.readline())
        assert match is not None
        for request in (
            b"GE\x00T /whip/a?token=hunter2 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /whip/a?token=hunter2 HTTX/1.1\r\nHost: x\r\n\r\n",
            b"GET /whip/a?token=hunter2\x01 HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer hunter2\x01\r\nfoo\r\n\r\n",
            b"POST /?token=hunter2 HTTP/1.1\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET http://hunter2:x@[/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /whip/a?token=hunter2 HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nhunter2\r\n",
        ):
            with socket.create_connection(("127.0.0.1", int(match[1]))) as client:
                client.sendall(request)
                assert client.recv(100).startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
        process.terminate()
        _, errors = process.communicate()
        guard.cancel()
    assert process.returncode == 0, errors
    assert "hunter2" not in errors
    assert "Traceback" not in errors


def test_a_server_that_cannot_start_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(config: Config) -> FakeForwarder:
        raise StartError("UDP port 1: no")

    monkeypatch.setattr(app, "compiled_forwarder", refuse)
    monkeypatch.setattr(cli.logs, "configure", lambda level: None)
    assert cli.main(["serve", "--host", "127.0.0.1", "--port", "0", "--udp-port", "0"]) == 1
    assert capsys.readouterr().err == "rtcfwd: UDP port 1: no\n"
