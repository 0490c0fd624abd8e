"""The lossy link of benchmarks and interop tests: what a way does to datagrams, by a clock of the
test's own; and that datagrams go both ways through the sockets."""

from __future__ import annotations

import itertools
import socket

import pytest

from benchmarks.link import IP_UDP, LATE, Link, Way, is_media, is_rtcp

SIZE = 1000


def rtp(number: int = 0, size: int = SIZE) -> bytes:
    head = bytes([0x80, 96]) + (number & 0xFFFF).to_bytes(2) + bytes(4) + (7).to_bytes(4)
    return head.ljust(size, b"\0")


def through(way: Way, count: int, gap: float = 0.0) -> list[tuple[float, int]]:
    """Numbered packets at every ``gap`` seconds; those that arrive, with their moments."""
    for number in range(count):
        way.put(rtp(number), number, number * gap)
    return way.take(1e9)


def test_kinds_of_datagrams() -> None:
    assert is_media(rtp())
    assert not is_rtcp(rtp())
    assert is_rtcp(bytes([0x81, 205, 0, 3]))
    assert not is_media(bytes([0, 1]))
    assert not is_media(bytes([22, 254]))


def test_an_open_way_passes_at_once_and_in_order() -> None:
    assert through(Way(), 5, 0.1) == [(pytest.approx(n * 0.1), n) for n in range(5)]


def test_delay_jitter_and_order() -> None:
    came = through(Way(delay=0.05, jitter=0.03), 200, 0.001)
    assert [item for _, item in came] == list(range(200))
    for at, number in came:
        assert 0.05 <= at - number * 0.001 <= 0.0801
    assert len({round(at - number * 0.001, 4) for at, number in came}) > 20


def test_reordering() -> None:
    came = through(Way(reorder=0.1), 1000, 0.002)
    late = [number for at, number in came if at - number * 0.002 > LATE / 2]
    assert 60 < len(late) < 140
    assert [item for _, item in came] != list(range(1000))
    assert sorted(item for _, item in came) == list(range(1000))


def test_single_losses_have_their_share() -> None:
    way = Way(loss=0.1)
    assert len(through(way, 20_000)) == way.passed
    assert way.lost == 20_000 - way.passed
    assert 0.09 < way.lost / 20_000 < 0.11


@pytest.mark.parametrize(("share", "length"), [(0.05, 4), (0.2, 8)])
def test_bursts_have_their_share_and_length(share: float, length: float) -> None:
    way = Way(loss=share, burst=length)
    there = {item for _, item in through(way, 50_000)}
    runs = [
        len(list(run)) for lost, run in itertools.groupby(n not in there for n in range(50_000))
        if lost
    ]  # fmt: skip
    assert sum(runs) / 50_000 == pytest.approx(share, rel=0.15)
    assert sum(runs) / len(runs) == pytest.approx(length, rel=0.15)


def test_same_seed_same_losses() -> None:
    assert through(Way(loss=0.3), 100) == through(Way(loss=0.3), 100)
    assert through(Way(loss=0.3), 100) != through(Way(loss=0.3, seed=2), 100)


def test_what_is_no_media_is_never_lost() -> None:
    way = Way(loss=1.0, rate=8000, queue=10)
    for data in (bytes([0, 1]), bytes([22] * SIZE)):
        way.put(data, "kept", 0.0)
    way.put(rtp(), "lost", 0.0)
    assert [item for _, item in way.take(100.0)] == ["kept", "kept"]
    assert (way.lost, way.overflowed) == (1, 0)


def test_a_chosen_packet_is_lost() -> None:
    way = Way(lose=lambda data: data[3] == 2)
    assert [item for _, item in through(way, 4)] == [0, 1, 3]


def test_rate_spaces_and_queue_overflows() -> None:
    way = Way(rate=8 * (SIZE + IP_UDP) * 10, queue=4 * SIZE)  # ten packets a second
    for number in range(10):
        way.put(rtp(number), number, 0.0)
    assert way.overflowed == 6
    assert way.queued == 4 * SIZE
    assert way.next() == pytest.approx(0.1)
    assert [(round(at, 6), n) for at, n in way.take(0.25)] == [(0.1, 0), (0.2, 1)]
    assert way.queued == 2 * SIZE
    assert len(way.take(0.5)) == 2
    assert way.next() is None


def test_rate_changes_for_those_that_wait() -> None:
    way = Way(rate=8 * (SIZE + IP_UDP))  # one a second, and a second of queue: one waits
    way.queue = 10 * SIZE
    for number in range(3):
        way.put(rtp(number), number, 0.0)
    assert [n for _, n in way.take(1.0)] == [0]
    way.rate *= 10
    assert [(round(at, 6), n) for at, n in way.take(2.0)] == [(1.1, 1), (1.2, 2)]
    way.rate = 0
    way.put(rtp(), 3, 5.0)
    assert way.take(5.0) == [(5.0, 3)]


def test_what_was_seen_is_kept() -> None:
    way = Way(loss=0.5, keep=True)
    through(way, 50, 0.5)
    way.put(bytes([0x81, 200]) + bytes(30), "report", 30.0)
    assert [s.sequence for s in way.seen] == list(range(50))
    report_lost = way.lost - sum(s.fate == "lost" for s in way.seen)
    assert report_lost in (0, 1)
    assert way.passed + way.lost == 51
    assert {(s.ssrc, s.timestamp, s.size) for s in way.seen} == {(7, 0, SIZE)}
    assert way.seen[3].at == 1.5


def test_both_ways_over_sockets() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        for sock in (server, client):
            sock.settimeout(10)
        link = Link(server.getsockname()[1], delay=0.001)
        try:
            client.connect(("127.0.0.1", link.port))
            client.send(rtp(1))
            data, source = server.recvfrom(2048)
            assert data == rtp(1)
            assert source != client.getsockname()
            server.sendto(b"\x16answer", source)
            assert client.recv(2048) == b"\x16answer"
            link.down.loss = 1.0
            server.sendto(rtp(2), source)
            server.sendto(b"\x16after it", source)
            assert client.recv(2048) == b"\x16after it"
            assert (link.down.lost, link.down.passed, link.up.passed) == (1, 2, 1)
            assert link.late_ms.total() == 3
            assert link.late(1.0) >= link.late(0.1) >= 0
        finally:
            link.close()
