"""Server-sent events: what is told to whom, in bounded memory; viewers that wait; a late SPS."""

from __future__ import annotations

import asyncio
import base64
import json
import re

import aiohttp
import pytest

from rtcfwd.config import Config
from rtcfwd.forwarder.api import Kind, ParameterSets, ViewerLayer
from rtcfwd.http.events import Extensions
from rtcfwd.session.dispatch import Dispatcher
from rtcfwd.session.events import TYPES, Subscriber
from rtcfwd.session.layers import LayerChoice, LayerError
from rtcfwd.session.registry import Refused
from rtcfwd.session.session import Session
from rtcfwd.session.states import SessionState
from tests.unit.server_tools import serving
from tests.unit.session_tools import PUBLISH, VIEW, World, golden

SDP = {"Content-Type": "application/sdp"}
LAYER_FIGURES = [
    "width",
    "height",
    "bitrate",
    "active",
    "packets",
    "bytes",
    "lost",
    "repaired",
    "nacks_sent",
    "keyframe_requests_sent",
    "keyframes",
    "ssrc",
]
WAIT = Config(viewer_wait=60.0, max_streams=4)


def subscribed(world: World, viewer: Session, *types: str) -> Subscriber:
    subscriber = Subscriber(types or TYPES)
    viewer.subscribers[subscriber.id] = subscriber
    world.registry.streams[viewer.stream_name].events.add(subscriber)
    return subscriber


def test_only_the_newest_event_of_a_type_waits() -> None:
    subscriber = Subscriber(TYPES)
    woken: list[int] = []
    subscriber.attach(lambda: woken.append(1))
    for _ in range(1000):
        for kind in TYPES:
            subscriber.put(kind)
    assert len(woken) == 1000 * len(TYPES)
    assert [kind for kind, _ in subscriber.take()] == list(TYPES[1:])  # inactive was the last
    assert subscriber.take() == []


@pytest.mark.duty("X5")
def test_states_counts_and_reconnects_are_told() -> None:
    world = World(Config(redirect_full="https://other.example.net"))
    publisher = world.live()
    viewer = world.view()
    subscriber = subscribed(world, viewer)
    world.media(publisher.session, comes=False)
    assert subscriber.take() == [("inactive", "")]
    world.media(publisher.session)
    assert subscriber.take() == [("active", "")]
    others = [world.view() for _ in range(3)]
    assert subscriber.take() == []  # at most once a second
    world.advance(1.1)
    assert subscriber.take() == [("viewercount", "")]
    others[0].close("test")
    world.advance(1.1)
    assert subscriber.take() == [("viewercount", "")]
    world.registry.start_draining()
    assert subscriber.take() == [("reconnect", "https://other.example.net")]
    viewer.close("test")
    assert subscriber.ended
    world.registry.close_all()
    world.pump()
    world.advance(60)
    world.assert_empty()


def test_a_viewer_without_the_new_codec_is_told_to_reconnect() -> None:
    world = World()
    client = world.live()
    viewer = world.view(offer=without_h265_and_opus(VIEW))
    subscriber = subscribed(world, viewer, "reconnect")
    world.media(client.session, comes=False)
    world.advance(3.5)
    world.publish(offer=PUBLISH.replace(b"H264/", b"H265/").replace(b"PCMA/8000", b"opus/48000/2"))
    assert viewer.state is SessionState.CLOSED
    assert subscriber.take() == [("reconnect", "")]
    assert subscriber.ended


def without_h265_and_opus(offer: bytes) -> bytes:
    return offer.replace(b"H265/", b"X-H265/").replace(b"opus/", b"X-opus/")


@pytest.mark.duty("P3")
def test_a_viewer_may_wait_for_the_publisher() -> None:
    world = World(WAIT)
    viewer = world.view()
    assert viewer.state is SessionState.NEW
    world.connected(viewer)
    subscriber = subscribed(world, viewer, "active")
    publisher = world.live()
    assert subscriber.take() == [("active", "")]
    stream = world.registry.streams["demo"]
    assert stream.publisher is publisher.session
    assert viewer.peer is not None
    video = stream.live[Kind.VIDEO]
    assert (Kind.VIDEO, video) in world.forwarder.peers[viewer.peer].formats
    world.advance(3600)
    assert viewer.state is SessionState.CONNECTED


def test_nobody_waits_for_ever_and_waiting_leaves_room_for_publishers() -> None:
    world = World(WAIT)
    for name in ("a", "b"):
        world.connected(world.view(name))
    with pytest.raises(Refused) as refused:
        world.view("c")
    assert refused.value.status == 409
    with pytest.raises(ValueError, match="SDP"):
        world.registry.view("a", b"junk")
    assert set(world.registry.streams) == {"a", "b"}
    with pytest.raises(ValueError, match="SDP"):
        world.registry.publish("a", b"junk")
    assert len(world.registry.streams["a"].viewers) == 1
    world.advance(61)
    world.pump()
    world.advance(61)
    world.assert_empty()


CHROMIUM = golden("chromium156-recvonly-default.sdp")
MAIN_SPS = bytes.fromhex("674d001fda014016e9b808080a")


@pytest.mark.duty("H4", "H5")
def test_viewers_are_matched_anew_by_the_publishers_sps() -> None:
    """The SPS says Main where the offer said Baseline: a live viewer gets the payload type that it
    offered for Main, with its own RTX; once."""
    world = World()
    world.live()
    viewer = world.view(offer=CHROMIUM)
    stream = world.registry.streams["demo"]
    video = stream.live[Kind.VIDEO]
    before = viewer.formats[Kind.VIDEO][video]
    world.dispatch(ParameterSets(stream.handle, MAIN_SPS))
    after = viewer.formats[Kind.VIDEO][video]
    offered = CHROMIUM.decode()
    wanted = re.search(r"a=fmtp:(\d+) .*packetization-mode=1;profile-level-id=4d00", offered)
    assert wanted is not None
    rtx = re.search(rf"a=fmtp:(\d+) apt={wanted[1]}\r?\n", offered)
    assert rtx is not None
    assert after == (int(wanted[1]), int(rtx[1])) != before
    told = [args for name, args in world.forwarder.calls if name == "set_format"]
    assert told == [(viewer.peer, Kind.VIDEO, video, *after)]
    world.forwarder.calls.clear()
    world.dispatch(ParameterSets(stream.handle, MAIN_SPS))
    assert world.forwarder.calls == []  # nothing new


@pytest.mark.duty("H5", "H8")
def test_an_sps_that_only_the_offer_tells_matches_watchers_anew() -> None:
    """Another publisher of the same format, whose offer alone says that it sends Main."""
    world = World()
    publisher = world.live()
    viewer = world.view(offer=CHROMIUM)
    video = world.registry.streams["demo"].live[Kind.VIDEO]
    before = viewer.formats[Kind.VIDEO][video]
    publisher.session.close("gone")
    sets = f";sprop-parameter-sets={base64.b64encode(MAIN_SPS).decode()},aM48gA=="
    world.publish(offer=re.sub(rb"(profile-level-id=\w+)", rb"\1" + sets.encode(), PUBLISH))
    assert world.registry.streams["demo"].live[Kind.VIDEO] == video
    after = viewer.formats[Kind.VIDEO][video]
    assert after != before
    told = [args for name, args in world.forwarder.calls if name == "set_format"]
    assert told == [(viewer.peer, Kind.VIDEO, video, *after)]


@pytest.mark.duty("X8")
def test_a_layer_is_one_of_the_streams_own() -> None:
    LayerChoice("h").check(("h", "l"))
    LayerChoice(spatial=0, temporal=0).check(())
    with pytest.raises(LayerError, match="there is h, l"):
        LayerChoice("x").check(("h", "l"))
    with pytest.raises(LayerError, match="without a rid"):
        LayerChoice("h").check(())
    with pytest.raises(LayerError, match="is 0"):
        LayerChoice(spatial=1).check(())


@pytest.mark.duty("X8", "X9")
async def test_layers_of_simulcast_are_told_and_chosen() -> None:
    async with serving() as (server, client, _fake):
        session = (await join(client)).removesuffix("/events")
        server.registry.streams["demo"].rids = ("h", "l")
        (viewer,) = server.registry.streams["demo"].viewers.values()
        for body, status, layer in (
            ({"rid": "l"}, 200, "l"),
            ({"rid": "x"}, 422, "l"),
            ({"encodingId": "h"}, 200, "h"),
            ({}, 200, ""),
        ):
            async with client.post(session + "/layer", json=body) as reply:
                assert reply.status == status
            assert viewer.layer == layer
        async with client.post(session + "/events", json=["layers"]) as reply:
            url = reply.headers["Location"]
        async with client.get(url) as reply:
            assert await reply.content.readline() == b"event: layers\n"
            data = json.loads((await reply.content.readline()).removeprefix(b"data: "))
        assert list(data.values()) == [[{"rid": "h"}, {"rid": "l"}]]


async def test_the_layer_that_a_viewer_gets_is_told_when_it_changes() -> None:
    """In the event, in the API and in the metrics; a layer that is none of the publication's (the
    publisher before had more) is nobody's."""
    async with serving() as (server, client, fake):
        url = await join(client)
        stream = server.registry.streams["demo"]
        stream.rids = ("h", "l")
        (viewer,) = stream.viewers.values()
        fake.figures = {
            "best_layer": 0,
            "layer_changes": 3,
            "layers": [dict.fromkeys(LAYER_FIGURES, 1)] * 2,
            "tracks": {"video": {"inspected": 8, "discardable": 2}},
        }
        async with client.post(url, json=["layers"]) as reply:
            events = reply.headers["Location"]
        async with client.get(events) as reply:
            for index, current in ((None, None), (1, "l"), (0, "h"), (2, None)):
                if index is not None and viewer.peer is not None:
                    Dispatcher(server.registry)(ViewerLayer(viewer.peer, index))
                assert await reply.content.readline() == b"event: layers\n"
                data = json.loads((await reply.content.readline()).removeprefix(b"data: "))
                await reply.content.readline()
                (told,) = data.values()
                assert [layer["rid"] for layer in told] == ["h", "l"]
                assert [x["rid"] for x in told if x.get("current")] == [current][: bool(current)]
                async with client.get("/api/v1/streams/demo") as answer:
                    shown = await answer.json()
                assert [s["layer"] for s in shown["sessions"]] == [None, current]
                assert sum(layer["viewers"] for layer in shown["layers"]) == (current is not None)
        assert shown["layer_changes"] == 3
        assert shown["tracks"][0]["discardable_share"] == 0.25
        Dispatcher(server.registry)(ViewerLayer(viewer.peer or 0, 1))
        async with client.get("/metrics") as reply:
            text = await reply.text()
        assert 'rtcfwd_viewers_layer{layer="lower"} 1.0' in text
        assert 'rtcfwd_viewers_layer{layer="best"} 0.0' in text


async def join(client: aiohttp.ClientSession) -> str:
    """The URL of a viewer's event streams."""
    async with client.post("/whip/demo", data=PUBLISH, headers=SDP) as reply:
        assert reply.status == 201
    async with client.post("/whep/demo", data=VIEW, headers=SDP) as reply:
        assert reply.status == 201
        return reply.headers["Location"] + "/events"


async def test_a_session_has_four_event_streams_at_most() -> None:
    async with serving() as (_, client, _fake):
        url = await join(client)
        for status in (201, 201, 201, 201, 409):
            async with client.post(url) as reply:
                assert reply.status == status
        async with client.post(url, data=b"[]", headers={"Content-Type": "text/x"}) as reply:
            assert reply.status == 415
        async with client.post(
            url, data=b"[" * 50_000, headers={"Content-Type": "application/json"}
        ) as reply:
            assert reply.status == 400


async def test_a_silent_stream_is_kept_alive_and_ends_with_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Extensions.__init__, "__defaults__", (0.01,))
    async with serving() as (server, client, _fake):
        url = await join(client)
        types = json.dumps(["active"])
        async with client.post(
            url, data=types, headers={"Content-Type": "application/json"}
        ) as reply:
            url = reply.headers["Location"]
        async with client.get(url) as reply:
            comments = b""
            while comments.count(b":\n\n") < 3:
                comments += await reply.content.readany()
            stopping = asyncio.create_task(server.stop())
            assert (await reply.content.read()).strip(b":\n") == b""
            await stopping


async def test_a_publisher_has_no_events_and_no_layers() -> None:
    async with serving() as (_, client, _fake):
        async with client.post("/whip/demo", data=PUBLISH, headers=SDP) as reply:
            url = reply.headers["Location"]
        for path in (url + "/events", url.replace("whip", "whep") + "/layer"):
            async with client.post(path) as reply:
                assert reply.status == 404
