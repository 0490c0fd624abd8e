"""The checks of W… against a server with HTTPS, tokens, rate limits, STUN and TURN."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from rtcfwd.app import Server
from rtcfwd.forwarder.fake import FakeForwarder
from tests.conformance import registry
from tests.conformance.test_conformance import CONFIG

TOKEN = "a-token-for-everything"


async def run(server: Server, **options: str) -> dict[str, dict[str, str]]:
    await server.start()
    try:
        url = f"{server.scheme}://127.0.0.1:{server.http_port}/"
        results = await asyncio.to_thread(lambda: list(registry.run(url, options, media=False)))
    finally:
        await server.stop()
    failed = [result for result in results if result["status"] == "fail"]
    assert not failed, failed
    assert not server.internal_errors
    return {result["id"]: result for result in results}


async def test_all_checks_on_a_secured_server() -> None:
    config = replace(
        CONFIG,
        auth_tokens=(("*", "*", TOKEN),),
        auth_sessions="token",
        auth_delay=0.0,
        tls_self_signed=True,
        ice_servers=("stun:stun.example.net", "turn:turn.example.net?transport=udp"),
        turn_secret="north",
    )
    found = await run(Server(config, make_forwarder=lambda c: FakeForwarder()), token=TOKEN)
    for id in ("W1", "W9", "W10", "W11", "W19", "W21", "W22", "W27", "S1", "S9", "P1", "P3"):
        assert found[id]["status"] == "pass", found[id]


async def test_floods_on_a_limited_server() -> None:
    """Loopback is never limited, so a proxy on it tells another address."""
    config = replace(CONFIG, trusted_proxies=("127.0.0.0/8",), rate_limit=0.1, rate_burst=100)
    server = Server(config, make_forwarder=lambda c: FakeForwarder())
    await server.start()
    try:
        url = f"http://127.0.0.1:{server.http_port}/"
        options = {"flood": "yes", "forwarded": "203.0.113.5"}
        results = await asyncio.to_thread(
            lambda: list(registry.run(url, options, media=False, only="W25"))
        )
    finally:
        await server.stop()
    assert [result["status"] for result in results] == ["pass"], results
