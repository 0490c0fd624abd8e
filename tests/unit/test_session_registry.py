"""Streams and who may join them: publishers, takeover, grace, codec changes, limits, no leaks."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from rtcfwd.config import Config, load
from rtcfwd.forwarder.api import ForwarderBusy, ForwarderError, Kind, ParameterSets
from rtcfwd.sdp import SdpError
from rtcfwd.session.registry import Refused
from rtcfwd.session.states import SessionState, StreamState
from tests.unit.session_tools import PUBLISH, VIEW, World

PCMU = re.sub(rb"(m=audio \d+ \S+) 8\b", rb"\1 0", PUBLISH)
PCMU = PCMU.replace(b"a=rtpmap:8 PCMA/8000", b"a=rtpmap:0 PCMU/8000")
VP8 = re.sub(rb"a=fmtp:\d+ [^\r\n]*profile-level-id[^\r\n]*\r?\n", b"", PCMU)
VP8 = VP8.replace(b"H264/90000", b"VP8/90000")
NO_PCMU = re.sub(rb"(m=audio \d+ \S+) 0 8\b", rb"\1 8", VIEW)
NO_PCMU = NO_PCMU.replace(b"a=rtpmap:0 PCMU/8000\r\n", b"")
NO_G711 = re.sub(rb"(m=audio \d+ \S+) 8\b", rb"\1 111", NO_PCMU)
NO_G711 = NO_G711.replace(b"a=rtpmap:8 PCMA/8000", b"a=rtpmap:111 opus/48000/2")


def test_a_viewer_needs_a_publisher() -> None:
    world = World()
    with pytest.raises(Refused) as refused:
        world.view()
    assert refused.value.status == 409
    assert refused.value.retry_after > 0
    world.publish()
    assert world.view().viewer is not None


def test_a_second_publisher_is_refused_while_the_first_is_alive() -> None:
    world = World()
    first = world.live().session
    world.advance(100)
    with pytest.raises(Refused) as refused:
        world.publish()
    assert refused.value.status == 409
    world.media(first, comes=False)
    world.advance(3)
    second = world.publish()
    assert first.state is SessionState.CLOSED
    assert world.registry.streams["demo"].publisher is second


def test_one_that_connects_is_alive_for_three_seconds() -> None:
    world = World()
    world.publish()
    world.advance(2.9)
    with pytest.raises(Refused):
        world.publish()
    world.advance(0.2)
    second = world.connected(world.publish()).session
    world.advance(2.9)
    with pytest.raises(Refused):
        world.publish()
    world.advance(0.2)
    world.publish()
    assert second.state is SessionState.CLOSED


def test_viewers_wait_for_a_publisher_that_comes_back() -> None:
    world = World()
    publisher = world.live()
    viewer = world.connected(world.view()).session
    stream = world.registry.streams["demo"]
    publisher.close()
    assert stream.state is StreamState.INTERRUPTED
    with pytest.raises(Refused):
        world.view()
    world.advance(9)
    world.live()
    assert stream is world.registry.streams["demo"]
    assert stream.state is StreamState.LIVE
    assert stream.publications == 2
    world.advance(60)
    assert viewer.state is SessionState.CONNECTED


@pytest.mark.parametrize("end", ["close_notify", "DELETE"])
def test_the_grace_time_ends_a_stream(end: str) -> None:
    world = World(Config(grace=5))
    publisher = world.live()
    viewer = world.connected(world.view()).session
    if end == "DELETE":
        world.registry.delete(publisher.session.id)
        world.pump()
    else:
        publisher.close()
    world.advance(4.9)
    assert viewer.state is SessionState.CONNECTED
    world.advance(0.2)
    assert viewer.state is SessionState.CLOSED
    world.advance(31)
    world.assert_empty()


def test_a_stream_without_anybody_ends_at_once() -> None:
    world = World()
    publisher = world.live()
    viewer = world.connected(world.view())
    publisher.close()
    assert "demo" in world.registry.streams
    viewer.close()
    assert "demo" not in world.registry.streams


def test_silence_interrupts_and_media_resumes() -> None:
    world = World()
    session = world.live().session
    stream = world.registry.streams["demo"]
    world.media(session, comes=False)
    assert stream.state is StreamState.INTERRUPTED
    assert world.view().state is SessionState.NEW  # its publisher is still there
    world.media(session)
    assert stream.state is StreamState.LIVE


def test_events_of_a_replaced_publisher_do_not_count() -> None:
    world = World()
    first = world.live().session
    stream = world.registry.streams["demo"]
    world.media(first, comes=False)
    world.advance(3)
    second = world.publish()
    world.media(first)
    assert stream.state is StreamState.INTERRUPTED
    assert not second.media


def test_viewers_who_can_take_nothing_of_the_new_codecs_are_closed() -> None:
    world = World()
    first = world.live()
    viewer = world.connected(world.view(offer=NO_G711)).session
    first.close()
    world.publish(offer=PCMU)
    assert viewer.state is SessionState.CONNECTED  # H264 goes on, PCMU it did not offer
    world.advance(3)
    world.publish(offer=VP8)
    assert viewer.state is SessionState.CLOSED


@pytest.mark.duty("H20")
def test_a_publisher_that_comes_back_in_the_other_law_is_heard_by_all() -> None:
    """A-law, then mu-law: a viewer of A-law alone gets the new format in its own law."""
    world = World()
    first = world.live()
    viewer = world.connected(world.view(offer=NO_PCMU)).session
    assert viewer.peer is not None
    subscription = world.forwarder.peers[viewer.peer].subscription
    assert subscription is not None
    assert {t.kind: t.derived for t in subscription.tracks}[Kind.AUDIO] == frozenset()
    first.close()
    world.publish(offer=PCMU)
    peer = world.forwarder.peers[viewer.peer]
    assert peer.formats == {(Kind.AUDIO, 1): (8, None)}
    assert peer.derived == {(Kind.AUDIO, 1)}
    late = world.view(offer=NO_PCMU)
    assert late.peer is not None
    subscription = world.forwarder.peers[late.peer].subscription
    assert subscription is not None
    audio = next(t for t in subscription.tracks if t.kind == Kind.AUDIO)
    assert (audio.payload_types, audio.derived) == ({0: (8, None), 1: (8, None)}, {1})


@pytest.mark.duty("H19")
def test_codecs_are_a_streams_own_or_everybodys() -> None:
    """--codecs for all, --stream-codecs for some; a viewer is held to them too."""
    config = load(
        {"codecs": ["VP8", "PCMA"], "stream_codecs": ["cam*:H264,PCMA", "*2:h264,pcmu,pcma"]}
    )
    world = World(config)
    world.live("cam1")
    world.live("x2")
    with pytest.raises(SdpError) as error:
        world.publish("other")
    assert error.value.status == 422
    assert "offers H264; offer one of VP8." in str(error.value)
    viewer = world.view("cam1")
    assert viewer.viewer is not None
    audio = [pt.name for pt, _ in viewer.viewer.answered[Kind.AUDIO]]
    assert audio == ["PCMA"]
    viewer = world.view("x2")
    assert viewer.viewer is not None
    audio = [pt.name for pt, _ in viewer.viewer.answered[Kind.AUDIO]]
    assert sorted(audio) == ["PCMA", "PCMU"]


def test_a_viewer_keeps_what_it_can_take() -> None:
    world = World()
    first = world.live()
    viewer = world.connected(world.view()).session
    first.close()
    world.publish(offer=PCMU)
    assert viewer.state is SessionState.CONNECTED
    assert viewer.peer is not None
    assert world.forwarder.peers[viewer.peer].formats == {(Kind.AUDIO, 1): (0, None)}
    world.publish("other")  # and another stream has formats of its own
    assert world.registry.streams["other"].live[Kind.AUDIO] == 0


@pytest.mark.duty("H4")
def test_the_sps_is_remembered_for_later_viewers() -> None:
    world = World()
    world.live()
    stream = world.registry.streams["demo"]
    world.dispatch(ParameterSets(stream.handle, bytes.fromhex("6764001facd9")))
    assert "HIGH" in stream.formats.profile(stream.live[Kind.VIDEO]).name


@pytest.mark.parametrize(
    ("config", "joins"),
    [
        (Config(max_handshakes=1), lambda w: (w.publish("a"), w.publish("b"))),
        (Config(max_streams=1), lambda w: (w.publish("a"), w.publish("b"))),
        (Config(max_viewers=1), lambda w: (w.publish("a"), w.view("a"), w.view("a"))),
    ],
)
def test_limits(config: Config, joins: Callable[[World], object]) -> None:
    world = World(config)
    with pytest.raises(Refused) as refused:
        joins(world)
    assert refused.value.status == 503
    assert refused.value.retry_after > 0
    world.registry.close_all()
    world.pump()
    world.advance(31)
    world.assert_empty()


@pytest.mark.parametrize("limit", [{"max_peers": 0}, {"max_streams": 0}])
def test_a_full_data_plane_is_503(limit: dict[str, int]) -> None:
    world = World(**limit)
    with pytest.raises(Refused) as refused:
        world.publish()
    assert refused.value.status == 503
    world.pump()
    world.assert_empty()


@pytest.mark.parametrize("call", ["publish", "add_ufrag"])
@pytest.mark.parametrize("error", [ForwarderBusy, ForwarderError])
def test_a_refusal_half_way_leaves_nothing(call: str, error: type[Exception]) -> None:
    world = World()

    def refuse(*args: object) -> None:
        raise error("no")

    setattr(world.forwarder, call, refuse)
    with pytest.raises((Refused, ForwarderError)):
        world.publish()
    world.pump()
    world.assert_empty()


@pytest.mark.parametrize("offer", [b"", b"\xff\xfe", b"v=0\r\n", VIEW])
def test_a_bad_offer_leaves_nothing(offer: bytes) -> None:
    world = World()
    with pytest.raises(SdpError):
        world.registry.publish("demo", offer)
    world.assert_empty()


def test_ssrcs_of_open_sessions_differ() -> None:
    world = World()
    world.live()
    viewers = [world.view() for _ in range(20)]
    ssrcs = [ssrc for viewer in viewers for ssrc in viewer.ssrcs]
    assert len(set(ssrcs)) == 80
    assert 0 not in ssrcs


def test_two_hundred_joins_and_leaves_leave_nothing() -> None:
    world = World(max_peers=5)
    publisher = world.live()
    for n in range(200):
        viewer = world.connected(world.view())
        if n % 3 == 0:
            viewer.close()
        elif n % 3 == 1:
            world.registry.delete(viewer.session.id)
        else:
            viewer.session.close("test")
        world.pump()
        assert len(world.forwarder.peers) == 1
        assert len(world.registry.ssrcs) == 1
    assert len(world.registry.sessions) == 1
    publisher.close()
    world.advance(31)
    world.assert_empty()


def test_two_hundred_publishers_come_back_to_one_stream() -> None:
    world = World(max_peers=3, max_streams=1)
    first = world.live()
    viewer = world.connected(world.view())
    first.close()
    for _ in range(200):
        world.live().close()
    assert viewer.session.state is SessionState.CONNECTED
    assert world.registry.streams["demo"].publications == 201
    world.advance(41)
    world.assert_empty()
