"""What scenarios assert about a viewer against the publishers' ledgers."""

from __future__ import annotations

from rtcfwd.forwarder import api
from tests.pipeline.leg import Rtp, clock_delta
from tests.pipeline.publisher import Publisher, Sent
from tests.pipeline.viewer import Viewer


def assert_whole(
    viewer: Viewer, publisher: Publisher, kind: api.Kind, *, from_first: bool = False
) -> list[Sent]:
    """From its first packet on the viewer has every published packet, in order, once, with the same
    payload and marker and the same time between packets, up to the last one published. Gives the
    ledger's part that it has."""
    ledger = publisher.sent[kind]
    assert viewer.holes(kind) == 0
    packets = viewer.in_order(kind)
    first = next(i for i, s in enumerate(ledger) if s.payload == packets[0].payload)
    if from_first:
        assert first == 0
    part = ledger[first:]
    assert [p.payload for p in packets] == [s.payload for s in part]
    assert_clock(packets, part)
    return part


def assert_clock(packets: list[Rtp], part: list[Sent]) -> None:
    shift = packets[0].ts - part[0].ts
    for packet, sent in zip(packets, part, strict=True):
        assert packet.marker == sent.marker
        assert clock_delta(packet.ts, sent.ts + shift) == 0
