"""A publisher that numbers everything it sends, whatever the track, and reads the feedback on that
(draft-holmer-rmcat-transport-wide-cc-extensions-01); and a world that keeps the truth beside it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from tests.pipeline.leg import Rtp, is_rtcp
from tests.pipeline.publisher import Publisher
from tests.pipeline.world import Peer, World

TRANSPORT_WIDE = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
EXT_ID = 5
TICK = 250_000  # ns
FIRST = 65_400  # so that 16 bits overflow soon


@dataclass(frozen=True, slots=True)
class Feedback:
    """One packet of it. ``ticks``: for each number from ``base`` on, the time in steps of 250 µs on
    a clock of 32 bits, or None where it did not come."""

    at: int  # ns, when the publisher read it
    base: int
    count: int
    ticks: list[int | None]
    size: int  # bytes of the compound


def feedback_packets(compound: bytes) -> list[bytes]:
    """Those of a compound's packets that are transport-wide feedback (RFC 4585: RTPFB, FMT 15)."""
    found, at = [], 0
    while at < len(compound):
        size = 4 + 4 * int.from_bytes(compound[at + 2 : at + 4], "big")
        if compound[at : at + 2] == b"\x8f\xcd":
            found.append(compound[at : at + size])
        at += size
    return found


def parse_feedback(packet: bytes) -> tuple[int, int, list[int | None]]:
    """Section 3.1, to the last byte: base, count and ticks."""
    base, statuses = struct.unpack_from("!HH", packet, 12)
    reference, count = int.from_bytes(packet[16:19], "big"), packet[19]
    at, symbols = 20, []
    while len(symbols) < statuses:
        (chunk,) = struct.unpack_from("!H", packet, at)
        at += 2
        if not chunk >> 15:
            assert chunk & 0x1FFF
            symbols += [chunk >> 13] * (chunk & 0x1FFF)
            assert len(symbols) <= statuses
        elif not chunk >> 14 & 1:
            symbols += [chunk >> bit & 1 for bit in range(13, -1, -1)]
        else:
            symbols += [chunk >> bit & 3 for bit in range(12, -1, -2)]
    assert not any(symbols[statuses:])
    now, ticks = reference * 256, []
    for symbol in symbols[:statuses]:
        assert symbol <= 2
        if symbol:
            (delta,) = struct.unpack_from("!B" if symbol == 1 else "!h", packet, at)
            at += symbol
            now += delta
        ticks.append(now % (1 << 32) if symbol else None)
    assert len(packet) - at < 4
    assert not any(packet[at:])
    return base, count, ticks


class NumberedPublisher(Publisher):
    """``number``: of the next packet, without end; the wire has 16 bits of it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.setup.extensions[EXT_ID] = TRANSPORT_WIDE
        self.number = FIRST
        self.number_of: dict[bytes, int] = {}
        self.feedback: list[Feedback] = []

    def packet(self, *args: Any, **options: Any) -> bytes:
        options["extensions"] = (*options.get("extensions", ()), self._stamp())
        return self._numbered(super().packet(*args, **options))

    def rtx(self, rtp: Rtp) -> bytes:
        self._rtx_seq += 1
        payload = rtp.seq.to_bytes(2, "big") + rtp.payload
        return self._on_rtx_ssrc(Rtp(97, rtp.marker, self._rtx_seq, rtp.ts, self.rtx_ssrc, payload))

    def on_rtx(self, payload: bytes, padding: int = 0) -> bytes:
        self._rtx_seq += 1
        packet = Rtp(97, False, self._rtx_seq, 0, self.rtx_ssrc, payload, padding=padding)
        return self._on_rtx_ssrc(packet)

    def receive(self, data: bytes, now: int) -> None:
        plain = self.crypto.unprotect(data) if is_rtcp(data) else None
        if plain is None:
            return
        packets = feedback_packets(plain)
        for packet in packets:
            assert packet[4:8] == (4242).to_bytes(4, "big")
            base, count, ticks = parse_feedback(packet)
            self.feedback.append(Feedback(now, base, count, ticks, len(plain)))
        if not packets:
            self.hear(plain, now)

    def _stamp(self) -> tuple[int, bytes]:
        return EXT_ID, (self.number & 0xFFFF).to_bytes(2, "big")

    def _on_rtx_ssrc(self, rtp: Rtp) -> bytes:
        stamped = Rtp(rtp.pt, rtp.marker, rtp.seq, rtp.ts, rtp.ssrc, rtp.payload,
                      extensions=(self._stamp(),), padding=rtp.padding)  # fmt: skip
        return self._numbered(self.crypto.protect(stamped.pack()))

    def _numbered(self, data: bytes) -> bytes:
        self.number_of[data] = self.number
        self.number += 1
        return data


class TruthfulWorld(World):
    """``came``: when each number arrived first, in ns; what the network did."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.came: dict[int, int] = {}

    def numbered(self, *args: Any, **options: Any) -> tuple[NumberedPublisher, Peer]:
        return self.publisher(*args, script_of=NumberedPublisher, **options)

    def inject(self, peer: Peer, data: bytes, worker: int | None = None) -> None:
        script = peer.script
        if isinstance(script, NumberedPublisher) and data in script.number_of:
            self.came.setdefault(script.number_of[data], self.now)
        super().inject(peer, data, worker)


def told(publisher: NumberedPublisher) -> dict[int, list[int | None]]:
    """All that was said of each number, numbers unwrapped."""
    near, said = FIRST, {}
    for feedback in publisher.feedback:
        base = near + (feedback.base - near + 0x8000) % 0x10000 - 0x8000
        for i, tick in enumerate(feedback.ticks):
            said.setdefault(base + i, []).append(tick)
        near = base + len(feedback.ticks)
    return said
