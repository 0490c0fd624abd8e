"""The forwarder in memory: what it hands up (punts, events) and how that is bounded, paths and
ufrags of a peer, and its figures. Media is the business of tests/pipeline."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest
from aioice import stun

from rtcfwd.forwarder import api
from rtcfwd.forwarder._forwarder import DROPS, MemoryForwarder

SECOND = 1_000_000_000
DTLS = bytes([22, 254, 253]) + bytes(40)
NOW = 50 * SECOND


def check(ufrag: str = "ours", transaction: bytes = b"0123456789ab") -> bytes:
    """A STUN binding request, without MESSAGE-INTEGRITY: the data plane looks at USERNAME alone."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, transaction)
    message.attributes["USERNAME"] = f"{ufrag}:theirs"
    return bytes(message)


def path(n: int = 1, port: int = 4000) -> api.Path:
    return api.Path((f"10.0.{n >> 8}.{n & 255}", port), "10.9.9.9")


@pytest.fixture
def forwarder() -> Iterator[MemoryForwarder]:
    f = MemoryForwarder(max_peers=16, max_streams=4, punt_slots=64)
    yield f
    f.close()


@pytest.fixture
def peer(forwarder: MemoryForwarder) -> api.PeerHandle:
    made = forwarder.open_peer(forwarder.open_stream(), api.Role.VIEWER)
    forwarder.add_ufrag(made, "ours")
    return made


def drops(f: MemoryForwarder) -> dict[str, int]:
    return {k: v for w in f.worker_stats() for k, v in w["drops"].items() if v}


def test_stun_is_punted_by_its_ufrag(forwarder: MemoryForwarder, peer: api.PeerHandle) -> None:
    forwarder.inject(0, path(), check("other"), NOW)
    forwarder.inject(0, path(), check(), NOW)
    forwarder.inject(0, path(), check()[:21], NOW)
    forwarder.turn(0, NOW)
    (punt,) = forwarder.poll()
    assert punt == api.Punt("stun", 0, path(), peer, check())
    assert drops(forwarder) == {"stun_unknown_ufrag": 1, "stun_malformed": 1}
    forwarder.remove_ufrag(peer, "ours")
    forwarder.inject(0, path(), check(), NOW)
    forwarder.turn(0, NOW)
    assert not forwarder.poll()


def test_dtls_is_punted_from_a_validated_tuple_alone(
    forwarder: MemoryForwarder, peer: api.PeerHandle
) -> None:
    forwarder.inject(0, path(), DTLS, NOW)
    forwarder.turn(0, NOW)
    assert not forwarder.poll()
    forwarder.add_path(peer, path())
    forwarder.inject(0, path(), DTLS, NOW)
    forwarder.inject(0, path(1, 4001), DTLS, NOW)
    forwarder.turn(0, NOW)
    assert forwarder.poll() == [api.Punt("dtls", 0, path(), peer, DTLS)]
    assert drops(forwarder) == {"dtls_unknown_tuple": 2}


def test_the_ninth_path_takes_the_place_of_the_oldest_unselected(
    forwarder: MemoryForwarder, peer: api.PeerHandle
) -> None:
    for n in range(1, 10):
        forwarder.add_path(peer, path(n))
        forwarder.add_path(peer, path(n))  # twice is once
    for n in range(1, 10):
        forwarder.inject(0, path(n), DTLS, NOW)
    forwarder.turn(0, NOW)
    # Media goes to the first one until another is selected.
    assert [e.path for e in forwarder.poll()] == [path(1), *(path(n) for n in range(3, 10))]
    assert forwarder.peer_stats(peer)["path"] == path(1)
    with pytest.raises(api.ForwarderError, match="state"):
        forwarder.select_path(peer, path(2))
    forwarder.select_path(peer, path(5))
    forwarder.turn(0, NOW)
    assert forwarder.peer_stats(peer)["path"] == path(5)


def test_a_peer_has_four_ufrags_at_most(forwarder: MemoryForwarder, peer: api.PeerHandle) -> None:
    for n in range(3):
        forwarder.add_ufrag(peer, f"more{n}")
    with pytest.raises(api.ForwarderBusy):
        forwarder.add_ufrag(peer, "fifth")
    forwarder.remove_ufrag(peer, "more1")
    forwarder.add_ufrag(peer, "fifth")
    forwarder.inject(0, path(), check("fifth"), NOW)
    forwarder.turn(0, NOW)
    assert len(forwarder.poll()) == 1


def test_a_flood_of_strangers_does_not_crowd_out_sessions(
    forwarder: MemoryForwarder, peer: api.PeerHandle
) -> None:
    """The ring of strangers is full; a known tuple has its own."""
    forwarder.add_path(peer, path(1))
    for i in range(200):
        forwarder.inject(0, path(2 + i), check(transaction=i.to_bytes(12, "big")), NOW)
    forwarder.inject(0, path(1), check(), NOW)
    forwarder.turn(0, NOW)
    events = forwarder.poll(1000)
    assert path(1) in [e.path for e in events]
    assert len(events) == 64 + 1
    assert drops(forwarder) == {"punt_full": 136}


def test_one_tuple_cannot_have_more_than_its_rate(
    forwarder: MemoryForwarder, peer: api.PeerHandle
) -> None:
    forwarder.add_path(peer, path())
    got = 0
    for ms in range(5000):
        now = NOW + ms * 1_000_000
        forwarder.inject(0, path(), DTLS, now)
        forwarder.turn(0, now)
        got += len(forwarder.poll())
    assert 5 * 200 <= got <= 5 * 200 + 400  # the rate, and the burst that was saved up
    assert drops(forwarder)["punt_rate"] == 5000 - got


def test_one_address_cannot_have_more_than_its_rate(
    forwarder: MemoryForwarder, peer: api.PeerHandle
) -> None:
    for port in range(1, 10_001):
        forwarder.inject(0, path(3, port), check(), NOW)
        if port % 50 == 0:
            while forwarder.turn(0, NOW):
                pass
            forwarder.poll(1000)
    assert drops(forwarder)["punt_rate"] == 10_000 - 4000
    for n in range(100, 120):  # its neighbours are served (all but those of the same bucket)
        forwarder.inject(0, path(n), check(), NOW)
    forwarder.turn(0, NOW)
    assert len(forwarder.poll()) >= 18


def test_gone_is_told_even_when_nobody_listens_for_long(forwarder: MemoryForwarder) -> None:
    stream = forwarder.open_stream()
    handles = []
    for _ in range(4):
        batch = [forwarder.open_peer(stream, api.Role.VIEWER) for _ in range(4)]
        for h in batch:
            forwarder.close_peer(h)
        handles += batch
    with pytest.raises(api.ForwarderBusy):
        forwarder.open_peer(stream, api.Role.VIEWER)  # places are free when PEER_GONE was read
    forwarder.close_stream(stream)
    forwarder.turn(0, NOW)
    assert select.select([forwarder.fileno()], [], [], 0)[0]
    events = forwarder.poll(1000)
    assert events == [*(api.PeerGone(h) for h in handles), api.StreamGone(stream)]
    assert not forwarder.poll()


def test_a_turn_takes_commands_before_the_media_that_needs_them(
    forwarder: MemoryForwarder, peer: api.PeerHandle
) -> None:
    forwarder.inject(0, path(), DTLS, NOW)
    for n in range(1, 9):
        forwarder.add_path(peer, path(n))
    forwarder.turn(0, NOW)
    assert len(forwarder.poll()) == 1


def test_figures_have_names_and_types(forwarder: MemoryForwarder, peer: api.PeerHandle) -> None:
    forwarder.add_path(peer, path())
    for i in range(5):
        forwarder.inject(0, path(), bytes([100 + i]) * 30, NOW)
    assert not forwarder.turn(0, NOW)
    (worker,) = forwarder.worker_stats()
    assert worker["received"] == 5
    assert worker["received_bytes"] == 150
    assert worker["peers"] == 1
    assert tuple(worker["drops"]) == DROPS
    assert worker["drops"]["unclassified"] == 5
    stats = forwarder.peer_stats(peer)
    assert stats["role"] is api.Role.VIEWER
    assert not stats["has_keys"]
    assert stats["has_path"]
    assert set(stats["tracks"]) == {"audio", "video"}


def test_memory_is_told_by_what_it_is_for(forwarder: MemoryForwarder) -> None:
    before = forwarder.memory_stats()
    assert before["workers"] > 1 << 20
    stream = forwarder.open_stream()
    opened = forwarder.memory_stats()
    assert opened["streams"] - before["streams"] > 64 * 1600
    for _ in range(3):
        forwarder.open_peer(stream, api.Role.VIEWER)
    after = forwarder.memory_stats()
    assert after["viewer_count"] == before["viewer_count"] + 3
    assert 0 < after["viewers"] - before["viewers"] <= 3 * after["viewer"]
    assert after["viewer"] < 24 << 10  # what a viewer may take


@pytest.mark.parametrize("size", [0, 1, 1600])
def test_a_datagram_of_any_size_is_taken(forwarder: MemoryForwarder, size: int) -> None:
    forwarder.inject(0, path(), bytes(size), NOW)
    forwarder.turn(0, NOW)
    assert sum(drops(forwarder).values()) == 1


def test_time_may_jump_forward(forwarder: MemoryForwarder, peer: api.PeerHandle) -> None:
    for now in (0, NOW, NOW * 1000, 1 << 62):
        forwarder.inject(0, path(), check(), now)
        forwarder.turn(0, now)
    assert [e for e in forwarder.poll() if isinstance(e, api.Punt)]
