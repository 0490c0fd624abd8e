"""A viewer that comes before the publisher, over real sockets (--viewer-wait)."""

from __future__ import annotations

import asyncio

import pytest

from rtcfwd.app import Server
from rtcfwd.config import Config
from tests.conformance import harness
from tests.conformance.peer import Stage, Viewer

CONFIG = Config(host="127.0.0.1", port=0, udp_port=0, workers=1, viewer_wait=60.0)


@pytest.mark.duty("P3")
async def test_a_viewer_that_waits_gets_media_when_somebody_publishes() -> None:
    server = Server(CONFIG)
    await server.start()
    try:
        await asyncio.to_thread(_play, harness.Server(f"http://127.0.0.1:{server.http_port}/"))
    finally:
        await server.stop()
    assert server.internal_errors == []


def _play(server: harness.Server) -> None:
    try:
        name = server.name()
        viewer = Viewer(server, name)
        stage = Stage(server, name=name)
        stage.viewers.append(viewer)
        assert stage.play(lambda: len(viewer.video) > 20 and len(viewer.audio) > 5), (
            f"{len(viewer.video)} video and {len(viewer.audio)} audio packets came"
        )
    finally:
        server.clean()
