"""Events from the data plane on the event loop: batches, faults, stopping."""

from __future__ import annotations

import asyncio
import logging

import pytest

from rtcfwd.forwarder.api import Event, Path, PeerGone, PeerHandle, Punt, Role
from rtcfwd.forwarder.bridge import BATCH, EventBridge
from rtcfwd.forwarder.debug import LoggingForwarder
from rtcfwd.forwarder.fake import FakeForwarder


async def test_a_flood_is_drained_in_batches() -> None:
    fake = FakeForwarder()
    seen: list[Event] = []
    order: list[str] = []
    bridge = EventBridge(fake, seen.append, lambda error: None)
    bridge.start(asyncio.get_running_loop())
    for n in range(3 * BATCH + 1):
        fake.push(PeerGone(PeerHandle(n)))
    while len(seen) < 3 * BATCH + 1:
        order.append(str(len(seen)))
        await asyncio.sleep(0)
    assert str(BATCH) in order  # other work had its turn in between
    assert [event.peer for event in seen if isinstance(event, PeerGone)] == list(range(193))
    bridge.stop()
    fake.close()


async def test_a_handler_that_raises_is_reported_and_the_rest_is_handled() -> None:
    fake = FakeForwarder()
    seen: list[int] = []
    failed: list[BaseException] = []

    def handle(event: Event) -> None:
        assert isinstance(event, PeerGone)
        if event.peer == 1:
            raise RuntimeError("fault")
        seen.append(event.peer)

    bridge = EventBridge(fake, handle, failed.append)
    for n in range(3):
        fake.push(PeerGone(PeerHandle(n)))
    bridge.drain()
    assert seen == [0, 2]
    assert [str(error) for error in failed] == ["fault"]
    fake.close()


async def test_after_stop_nothing_is_handled() -> None:
    fake = FakeForwarder()
    seen: list[Event] = []
    first = asyncio.Event()

    def handle(event: Event) -> None:
        seen.append(event)
        first.set()

    bridge = EventBridge(fake, handle, lambda error: None)
    bridge.start(asyncio.get_running_loop())
    for n in range(2 * BATCH):
        fake.push(PeerGone(PeerHandle(n)))
    await first.wait()
    count = len(seen)
    bridge.stop()
    bridge.stop()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(seen) == count
    fake.close()


def test_the_proxy_logs_calls_but_no_bytes(caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeForwarder()
    proxy = LoggingForwarder(fake)
    with caplog.at_level(logging.DEBUG):
        stream = proxy.open_stream()
        peer = proxy.open_peer(stream, Role.VIEWER)
        path = Path(("192.0.2.7", 9), "192.0.2.1")
        proxy.send(0, path, b"topsecret")
        fake.push(Punt("stun", 0, path, None, b"topsecret"))
        assert len(proxy.poll()) == 1
        with pytest.raises(Exception, match="peer 99"):
            proxy.close_peer(99)
    assert proxy.engine == "fake"
    assert peer in fake.peers
    assert "open_peer(" in caplog.text
    assert "raised StaleHandle" in caplog.text
    assert "topsecret" not in caplog.text
    fake.close()
