"""DTLS handshakes over a link that loses, doubles, reorders and damages datagrams (RFC 6347
section 4.2.4), in virtual time."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from rtcfwd.dtls import HANDSHAKE_S, MTU, DtlsState, pack_records
from tests.unit.dtls_tools import CLIENT, SERVER, assert_connected, link

Arrivals = Iterable[tuple[bytes, float]]

# The handshake is four datagrams: ClientHello, the server's flight, the client's, Finished.
FLIGHTS = [(CLIENT, 0), (SERVER, 0), (CLIENT, 1), (SERVER, 1)]
FLIGHT_IDS = ["client-hello", "server-flight", "client-flight", "last-flight"]
each_flight = pytest.mark.parametrize("flight", FLIGHTS, ids=FLIGHT_IDS)


def test_undisturbed() -> None:
    pair = link()
    pair.run()
    assert_connected(pair)
    assert [sender for _, sender, _ in pair.log] == [CLIENT, SERVER, CLIENT, SERVER]
    assert pair.client.next_timeout() is None
    assert pair.server.next_timeout() is None
    assert pair.client.resent == pair.server.resent == 0


@each_flight
@pytest.mark.duty("D9")
def test_one_flight_lost_once(flight: tuple[str, int]) -> None:
    def fate(sender: str, count: int, data: bytes) -> Arrivals:
        return [] if (sender, count) == flight else [(data, 0.0)]

    pair = link(fate)
    pair.run()
    assert_connected(pair)
    assert pair.now < 0.2


@each_flight
def test_one_flight_lost_three_times(flight: tuple[str, int]) -> None:
    sender, first = flight

    def fate(by: str, count: int, data: bytes) -> Arrivals:
        return [] if by == sender and first <= count < first + 3 else [(data, 0.0)]

    pair = link(fate)
    pair.run()
    assert_connected(pair)
    assert pair.now < 1.0


@each_flight
def test_one_flight_doubled(flight: tuple[str, int]) -> None:
    def fate(sender: str, count: int, data: bytes) -> Arrivals:
        return [(data, 0.0), (data, 0.03)] if (sender, count) == flight else [(data, 0.0)]

    pair = link(fate)
    pair.run()
    assert_connected(pair)


@each_flight
def test_one_flight_very_late(flight: tuple[str, int]) -> None:
    """It arrives after its own repetition."""

    def fate(sender: str, count: int, data: bytes) -> Arrivals:
        return [(data, 1.0 if (sender, count) == flight else 0.0)]

    pair = link(fate)
    pair.run()
    assert_connected(pair)


@pytest.mark.parametrize("flight", FLIGHTS[2:], ids=FLIGHT_IDS[2:])
def test_finished_damaged(flight: tuple[str, int]) -> None:
    """A record whose authentication fails is dropped, its repetition is taken. (Before the keys
    exist nothing tells a damaged message from a wrong one.)"""

    def fate(sender: str, count: int, data: bytes) -> Arrivals:
        if (sender, count) == flight:
            data = data[:-1] + bytes([data[-1] ^ 1])
        return [(data, 0.0)]

    pair = link(fate)
    pair.run()
    assert_connected(pair)


@each_flight
def test_flight_cut_short(flight: tuple[str, int]) -> None:
    """A record that says it is longer than its datagram is dropped, the repetition is taken."""

    def fate(sender: str, count: int, data: bytes) -> Arrivals:
        return [(data[:12] if (sender, count) == flight else data, 0.0)]

    pair = link(fate)
    pair.run()
    assert_connected(pair)


@each_flight
def test_header_damaged(flight: tuple[str, int]) -> None:
    """Another version: not ours."""

    def fate(sender: str, count: int, data: bytes) -> Arrivals:
        if (sender, count) == flight:
            data = data[:1] + b"\x00\x00" + data[3:]
        return [(data, 0.0)]

    pair = link(fate)
    pair.run()
    assert_connected(pair)


@each_flight
@pytest.mark.duty("D9")
def test_one_byte_damaged_anywhere(flight: tuple[str, int]) -> None:
    """Before keys exist a damaged message cannot be told from a wrong one, so the handshake may
    fail; but both ends end, and neither has keys that the other could not have."""
    pair = link()
    pair.run()
    sizes = [size for _, sender, size in pair.log if sender == flight[0]]
    for position in range(0, sizes[flight[1]], 5):

        def fate(sender: str, count: int, data: bytes, position: int = position) -> Arrivals:
            if (sender, count) == flight:
                at = position % len(data)
                data = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
            return [(data, 0.0)]

        pair = link(fate)
        pair.run()
        ends = {pair.client.state, pair.server.state}
        assert ends <= {DtlsState.CONNECTED, DtlsState.FAILED, DtlsState.NEW}, position
        if pair.client.keys is not None and pair.server.keys is not None:
            assert_connected(pair)


@each_flight
@pytest.mark.duty("D9")
def test_all_is_lost_from_a_flight_on(flight: tuple[str, int]) -> None:
    """Whoever waits gives up after ten seconds, tells why, and has no keys."""
    by, first = flight

    def fate(sender: str, count: int, data: bytes) -> Arrivals:
        return [] if sender == by and count >= first else [(data, 0.0)]

    pair = link(fate)
    pair.run()
    waiting = pair.server if by == CLIENT else pair.client
    assert pair.client.state is DtlsState.FAILED or flight == (CLIENT, 1)
    assert waiting.keys is None
    assert waiting.state in (DtlsState.FAILED, DtlsState.NEW)
    assert pair.client.next_timeout() is None
    assert pair.server.next_timeout() is None
    assert pair.now <= HANDSHAKE_S + 0.1


@each_flight
@pytest.mark.duty("D9")
def test_one_flight_behind_the_next(flight: tuple[str, int]) -> None:
    """It arrives after its sender's first repetition of it, and the repetition twice."""

    def fate(sender: str, count: int, data: bytes) -> Arrivals:
        if (sender, count) == flight:
            return [(data, 0.12)]
        return [(data, 0.0), (data, 0.001)]

    pair = link(fate)
    pair.run()
    assert_connected(pair)


@pytest.mark.parametrize("delay", [0.05, 0.3, 1.0, 1.5])
def test_far_away(delay: float) -> None:
    """A round trip of up to three seconds: repetitions cross, none does harm."""
    pair = link(lambda _sender, _count, data: [(data, delay)])
    pair.run()
    assert_connected(pair)


@pytest.mark.parametrize("seed", range(12))
def test_a_quarter_is_lost_and_the_rest_out_of_order(seed: int) -> None:
    rng = random.Random(seed)

    def fate(_sender: str, _count: int, data: bytes) -> Arrivals:
        copies = rng.choices([0, 1, 2], weights=[25, 65, 10])[0]
        return [(data, rng.uniform(0.0, 0.05)) for _ in range(copies)]

    pair = link(fate)
    pair.run()
    assert_connected(pair)


def test_records_arrive_one_by_one_and_backwards() -> None:
    """Each record in a datagram of its own, the last one first."""

    def fate(_sender: str, _count: int, data: bytes) -> Arrivals:
        records = []
        while data:
            end = 13 + int.from_bytes(data[11:13])
            records.append(data[:end])
            data = data[end:]
        return [(record, 0.001 * (len(records) - i)) for i, record in enumerate(records)]

    pair = link(fate)
    pair.run()
    assert_connected(pair)


def test_client_repeats_its_hello_quickly_then_ever_more_slowly() -> None:
    def fate(sender: str, _count: int, data: bytes) -> Arrivals:
        return [] if sender == CLIENT else [(data, 0.0)]

    pair = link(fate)
    pair.run()
    times = [time for time, sender, _ in pair.log if sender == CLIENT]
    assert times == pytest.approx([0.0, 0.05, 0.15, 0.35, 0.75, 1.55, 3.15, 6.35])
    assert pair.client.state is DtlsState.FAILED
    assert pair.client.error == "DTLS handshake timed out"
    assert pair.now == pytest.approx(HANDSHAKE_S)
    assert pair.client.keys is None
    assert pair.server.state is DtlsState.NEW


def test_server_gives_up_on_a_client_that_goes_away() -> None:
    def fate(sender: str, _count: int, data: bytes) -> Arrivals:
        return [(data, 0.0)] if sender == CLIENT else []

    pair = link(fate)
    pair.run()
    assert pair.server.state is DtlsState.FAILED
    assert pair.server.next_timeout() is None
    # What it sent in vain stays small: about 0.7 KB, six times.
    assert sum(length for _, sender, length in pair.log if sender == SERVER) < 8 * MTU


def test_last_flight_is_not_repeated_for_ever() -> None:
    """A peer that plays its flight again and again gets eight answers."""
    flight: list[bytes] = []

    def fate(sender: str, count: int, data: bytes) -> Arrivals:
        if (sender, count) == (CLIENT, 1):
            flight.append(data)
        return [(data, 0.0)]

    pair = link(fate)
    pair.run()
    answered = 0
    for _ in range(100):
        pair.server.receive(flight[0], pair.now)
        answered += len(pair.server.take_datagrams())
    assert answered == 8
    assert pair.server.state is DtlsState.CONNECTED


def test_early_timers_are_harmless() -> None:
    pair = link()
    pair.client.handle_timeout(0.0)
    pair.client.start(1.0)
    pair.client.start(1.0)
    assert len(pair.client.take_datagrams()) == 1
    pair.client.handle_timeout(1.04)
    assert pair.client.take_datagrams() == []
    assert pair.client.next_timeout() == pytest.approx(1.05)


def test_records_are_packed_whole_into_datagrams() -> None:
    def record(length: int, content: int = 22) -> bytes:
        return bytes([content]) + bytes(10) + length.to_bytes(2) + bytes(length)

    run = [record(n) for n in (100, 500, 600, 20, 1187, 1, 2)]
    packed = pack_records(b"".join(run))
    assert b"".join(packed) == b"".join(run)
    assert [len(d) for d in packed] == [626, 613 + 33, 1200, 14 + 15]
    assert pack_records(b"") == []
