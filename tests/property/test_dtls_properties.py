"""Whatever bytes come, a DTLS end does not raise, and what it sends fits a datagram."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtcfwd.dtls import MTU, DtlsState, DtlsTransport, pack_records
from tests.unit.dtls_tools import OURS, THEIRS, assert_connected, link

RECORD = st.builds(
    lambda kind, version, epoch, number, body: (
        bytes([kind])
        + version.to_bytes(2)
        + epoch.to_bytes(2)
        + number.to_bytes(6)
        + len(body).to_bytes(2)
        + body
    ),
    st.integers(20, 25),
    st.sampled_from([0xFEFD, 0xFEFF, 0xFEFC, 0]),
    st.integers(0, 2),
    st.integers(0, 5),
    st.binary(max_size=300),
)
DATAGRAM = st.one_of(st.binary(max_size=100), RECORD, st.lists(RECORD, max_size=3).map(b"".join))
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(datagrams=st.lists(DATAGRAM, max_size=8), is_client=st.booleans())
@FEW
def test_any_bytes_before_the_handshake(datagrams: list[bytes], is_client: bool) -> None:
    end = DtlsTransport(
        certificate=OURS, is_client=is_client, remote_fingerprints=[THEIRS.fingerprint]
    )
    end.start(0.0)
    for now, datagram in enumerate(datagrams):
        end.receive(datagram, now * 0.1)
        end.handle_timeout(now * 0.1)
        assert all(len(d) <= MTU for d in end.take_datagrams())
    assert end.keys is None
    assert end.state is not DtlsState.CONNECTED
    assert (end.error is not None) == (end.state is DtlsState.FAILED)


@given(datagrams=st.lists(DATAGRAM, max_size=8))
@FEW
def test_any_bytes_after_the_handshake_change_nothing(datagrams: list[bytes]) -> None:
    pair = link()
    pair.run()
    for datagram in datagrams:
        pair.server.receive(datagram, 1.0)
        pair.client.receive(datagram, 1.0)
    assert_connected(pair)


@given(seed=st.integers(0, 2**32), bits=st.integers(1, 4))
@FEW
def test_mutated_handshakes_connect_or_fail(seed: int, bits: int) -> None:
    """One datagram in three is damaged: never an exception, never keys on one end that the other
    could not have."""
    rng = random.Random(seed)

    def fate(_sender: str, _count: int, data: bytes) -> list[tuple[bytes, float]]:
        if rng.random() < 0.33:
            broken = bytearray(data)
            for _ in range(bits):
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            data = bytes(broken)
        return [(data, 0.0)]

    pair = link(fate)
    pair.run()
    for end in (pair.client, pair.server):
        assert (end.keys is not None) == (end.state is DtlsState.CONNECTED)
    if pair.client.keys is not None and pair.server.keys is not None:
        assert_connected(pair)


@given(lengths=st.lists(st.integers(0, MTU - 13), max_size=30))
def test_packing_keeps_the_bytes(lengths: list[int]) -> None:
    run = b"".join(b"\x16\xfe\xfd" + bytes(8) + n.to_bytes(2) + bytes(n) for n in lengths)
    packed = pack_records(run)
    assert b"".join(packed) == run
    assert all(0 < len(datagram) <= MTU for datagram in packed)
