"""A real server in this process, with the fake data plane, and an HTTP client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp

from rtcfwd.app import Server
from rtcfwd.config import Config
from rtcfwd.forwarder.fake import FakeForwarder

CONFIG = Config(host="127.0.0.1", port=0, udp_port=0, workers=1)


@asynccontextmanager
async def serving(
    *, faults: bool = False, **settings: object
) -> AsyncIterator[tuple[Server, aiohttp.ClientSession, FakeForwarder]]:
    """The server, a client with its base URL, the data plane. Unless ``faults`` are expected, an
    exception that nobody foresaw fails the test at the end."""
    fake = FakeForwarder()
    server = Server(replace(CONFIG, **settings), make_forwarder=lambda config: fake)  # type: ignore[arg-type]
    await server.start()
    try:
        base = f"http://127.0.0.1:{server.http_port}"
        async with aiohttp.ClientSession(base) as client:
            yield server, client, fake
    finally:
        await server.stop()
    assert fake.closed
    assert fake.peers == {}
    assert fake.streams == set()
    if not faults:
        assert server.internal_errors == []
