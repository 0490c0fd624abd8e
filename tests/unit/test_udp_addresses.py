"""A real server answers STUN on the local address that was asked, over IPv4 and IPv6, and tells
each asker its own address. A connected socket takes nothing from any other address, so that a reply
at all is the proof (pktinfo)."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aioice import stun

from benchmarks.peer import Credentials, binding_request, make_offer, read_answer
from rtcfwd.app import Server
from rtcfwd.certs import Certificate
from rtcfwd.config import Config

CERTIFICATE = Certificate.generate()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


async def ask(remote: Credentials, local: Credentials, address: str, port: int) -> stun.Message:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect((address, port))
        sock.send(binding_request(local, remote, 7))
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 2048), 5)
        message = stun.parse_message(data)
        assert message.check_message_integrity(remote.pwd.encode())
        assert message.attributes["XOR-MAPPED-ADDRESS"] == sock.getsockname()[:2]
        return message


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_every_address_answers_for_itself(host: str) -> None:
    if host == "::" and not has_ipv6():
        pytest.skip("no IPv6 on this machine")
    server = Server(Config(host=host, port=0, udp_port=0, workers=2))
    await server.start()
    try:
        local = Credentials("abcd1234", "p" * 24, (CERTIFICATE.fingerprint,), "actpass")
        url = f"http://127.0.0.1:{server.http_port}/whip/demo"
        headers = {"Content-Type": "application/sdp"}
        async with aiohttp.ClientSession() as http:
            offer = make_offer(local, True, (1, 2)).encode()
            async with http.post(url, data=offer, headers=headers) as response:
                assert response.status == 201
                remote = read_answer(await response.text())
        addresses = ["127.0.0.1", "127.0.0.3", "127.9.9.9"]
        addresses += ["::1"] if host == "::" else []
        for address in addresses:
            answer = await ask(remote, local, address, server.udp_port)
            assert answer.message_class == stun.Class.RESPONSE
        assert server.internal_errors == []
    finally:
        await server.stop()
