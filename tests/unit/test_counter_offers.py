"""WHEP counter-offers: what they hold, how long, and what an answer makes of them."""

from __future__ import annotations

import pytest

from rtcfwd.forwarder.api import ForwarderBusy, Kind
from rtcfwd.sdp import SdpError, parse_offer
from rtcfwd.session.registry import Refused
from tests.conformance.peer import Probe, answer_to
from tests.unit.session_tools import PUBLISH, World


def answer(offer: bytes) -> bytes:
    return answer_to(offer.decode(), Probe(publish=False, setup="active")).encode()


@pytest.mark.duty("P4")
def test_a_counter_offer_is_good_for_thirty_seconds() -> None:
    world = World()
    publisher = world.live()
    before = len(world.registry.ssrcs)
    pending = world.registry.counter_offer("demo")
    read = parse_offer(pending.sdp)
    assert [section.kind for section in read.media] == [Kind.VIDEO, Kind.AUDIO]
    assert {section.direction for section in read.media} == {"sendonly"}
    world.advance(29)
    assert pending.id in world.registry.counter_offers
    world.advance(2)
    assert world.registry.counter_offers == {}
    assert len(world.registry.ssrcs) == before
    publisher.close()
    world.advance(60)
    world.assert_empty()


@pytest.mark.duty("P5")
def test_an_answer_makes_the_session_that_was_promised() -> None:
    world = World()
    world.live()
    pending = world.registry.counter_offer("demo")
    with pytest.raises(SdpError):
        world.registry.answer_counter_offer(pending, b"junk")
    session = world.registry.answer_counter_offer(pending, answer(pending.sdp))
    assert (session.id, session.etag) == (pending.id, pending.etag)
    assert session.agent.local_ufrag in pending.sdp.decode()
    assert world.registry.counter_offers == {}
    assert session.peer is not None
    subscription = world.forwarder.peers[session.peer].subscription
    assert subscription is not None
    for track in subscription.tracks:
        assert f"a=ssrc:{track.ssrc} " in pending.sdp.decode()
        assert track.payload_types
    assert world.registry.delete(session.id)
    world.registry.close_all()
    world.pump()
    world.advance(60)
    world.assert_empty()


def test_a_full_data_plane_leaves_the_offer_and_an_ended_stream_takes_it_along() -> None:
    world = World()
    publisher = world.live()
    pending = world.registry.counter_offer("demo")
    open_peer = world.forwarder.open_peer

    def busy(*_: object) -> None:
        raise ForwarderBusy("full")

    world.forwarder.open_peer = busy  # type: ignore[method-assign, assignment]
    with pytest.raises(Refused) as refused:
        world.registry.answer_counter_offer(pending, answer(pending.sdp))
    assert refused.value.status == 503
    assert pending.id in world.registry.counter_offers
    world.forwarder.open_peer = open_peer  # type: ignore[method-assign]
    publisher.close()
    with pytest.raises(Refused) as refused:
        world.registry.answer_counter_offer(pending, answer(pending.sdp))
    assert refused.value.status == 409
    world.advance(60)
    world.assert_empty()


def test_nothing_is_offered_of_what_is_not_published_or_to_too_many() -> None:
    world = World()
    with pytest.raises(Refused):
        world.registry.counter_offer("demo")
    world.publish(offer=PUBLISH)
    room = world.registry.config.max_handshakes - 1  # the publisher is one
    for _ in range(room):
        world.registry.counter_offer("demo")
    with pytest.raises(Refused) as refused:
        world.registry.counter_offer("demo")
    assert refused.value.status == 503
