"""Round trips as a receiver learns them (RFC 3611): its time out, and back with how long it lay."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

_XR, _DLRR = 207, 5


def rrtr(ssrc: int, ntp: int) -> bytes:
    """An XR with one receiver reference time (section 4.4), 32.32 fixed point."""
    return struct.pack("!BBHIBBHQ", 0x80, _XR, 4, ssrc, 4, 0, 2, ntp)


@dataclass(frozen=True, slots=True)
class Dlrr:
    """One sub-block of section 4.5. ``delay``: in 1/65536 s."""

    at: int
    sender: int
    ssrc: int
    last_rr: int
    delay: int


@dataclass(slots=True)
class RoundTrips:
    """What a peer's receivers were answered. ``bytes_heard``: of compounds with such answers."""

    answers: list[Dlrr] = field(default_factory=list)
    bytes_heard: int = 0
    compounds: int = 0

    def hear(self, plain: bytes, now: int) -> None:
        """A decrypted compound; one that begins with an XR or ends within one fails."""
        before, at = len(self.answers), 0
        while at < len(plain):
            kind, words = plain[at + 1], int.from_bytes(plain[at + 2 : at + 4])
            if kind == _XR:
                assert at > 0, "RFC 3550 section 6.1: a report first"
                self._blocks(plain[at + 4 : at + 4 + 4 * words], now)
            at += 4 + 4 * words
        assert at == len(plain)
        if len(self.answers) > before:
            self.compounds += 1
            self.bytes_heard += len(plain)

    def _blocks(self, body: bytes, now: int) -> None:
        sender, at = int.from_bytes(body[:4]), 4
        while at < len(body):
            kind, words = body[at], int.from_bytes(body[at + 2 : at + 4])
            block = body[at + 4 : at + 4 + 4 * words]
            assert len(block) == 4 * words
            if kind == _DLRR:
                self.answers += [
                    Dlrr(now, sender, *one) for one in struct.iter_unpack("!3I", block)
                ]
            at += 4 + 4 * words
