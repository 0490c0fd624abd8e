"""The stream doctor's rounds: figures become warnings in the stream, the log, the events, the API
and the metrics. What provokes each of them is in tests/pipeline/test_doctor.py."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from rtcfwd.forwarder.api import ParameterSets
from rtcfwd.metrics import Metrics
from rtcfwd.session.events import Subscriber
from rtcfwd.session.warnings import TYPES, Diagnosis, Seen
from tests.unit.server_tools import serving
from tests.unit.session_tools import PUBLISH, World

HIGH_10 = b"\x67\x6e\x00\x28\xac"
DOCS = Path(__file__).parents[2] / "docs" / "operate.md"


def b_frames(world: World, count: int) -> None:
    """The data plane's figures from now on."""
    figures: dict[str, Any] = {"tracks": {"video": {"b_frames": count}, "audio": {}}, "layers": []}
    world.forwarder.stream_stats = lambda stream: figures  # type: ignore[method-assign]


def test_a_warning_is_logged_told_and_measured(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    publisher = world.live()
    stream = world.registry.streams["demo"]
    viewer = world.view()
    subscriber = Subscriber(["warnings"])
    viewer.subscribers[subscriber.id] = subscriber
    stream.events.add(subscriber)
    with caplog.at_level(logging.INFO, "rtcfwd.session.doctor"):
        for count in (0, 5, 9):
            b_frames(world, count)
            world.advance(2)
        assert [w.type for w in stream.diagnosis.warnings] == ["b_frames"]
        assert subscriber.take() == [("warnings", "")]
        assert (
            b'rtcfwd_stream_warning{stream="demo",type="b_frames"} 1.0'
            in Metrics(world.registry).text()
        )
        world.advance(12)
        assert stream.diagnosis.warnings == []
        assert subscriber.take() == [("warnings", "")]
        for i in range(20):  # again and again: the log does not hear of each time
            b_frames(world, 10 + i * 5)
            world.advance(2 if i % 7 == 0 else 12)
    lines = [r.getMessage() for r in caplog.records]
    assert lines[0].startswith("stream demo: b_frames: The video has B-frames")
    assert lines[1] == "stream demo: b_frames is over"
    assert len(lines) <= 12
    publisher.session.close("test")
    world.advance(5)
    assert stream.doctor is None
    world.registry.close_all()
    world.pump()
    world.advance(60)
    world.assert_empty()


def test_the_published_sps_is_judged_and_forgotten_with_its_publication() -> None:
    world = World()
    client = world.live()
    stream = world.registry.streams["demo"]
    assert client.session.peer is not None
    world.dispatch(ParameterSets(stream.handle, HIGH_10))
    world.advance(3)
    assert [w.type for w in stream.diagnosis.warnings] == ["profile"]
    client.session.close("test")
    world.advance(3)
    assert stream.diagnosis.warnings == []


def test_every_warning_is_explained() -> None:
    text = DOCS.read_text()
    for kind in TYPES:
        assert f"| `{kind}` |" in text


def test_no_figures_are_no_warning() -> None:
    diagnosis = Diagnosis()
    for stats in ({}, {"tracks": []}, {"tracks": {"video": None}}):
        assert diagnosis.look(Seen(stats)) == ([], [])


async def test_the_api_shows_them() -> None:
    async with serving() as (server, client, fake):
        await client.post("/whip/b", data=PUBLISH, headers={"Content-Type": "application/sdp"})
        stream = server.registry.streams["b"]
        for _ in range(2):
            stream.diagnosis.look(Seen({"tracks": {"video": {"b_frames": len(fake.calls)}}}))
            fake.calls.append(("", ()))
        async with client.get("/api/v1/streams") as reply:
            found = (await reply.json())["streams"][0]["warnings"]
        assert [w["type"] for w in found] == ["b_frames"]
        assert "bframes=0" in found[0]["text"]
