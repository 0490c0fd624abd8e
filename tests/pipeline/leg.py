"""A leg: one SRTP association between the forwarder and a scripted peer, with pylibsrtp at the
peer's end, and the two links between them. Also the tests' own reading and writing of RTP headers
(RFC 3550, RFC 8285), independent of the C parsers."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from aiortc.rtp import AnyRtcpPacket, RtcpPacket
from pylibsrtp import Error, Policy, Session
from pylibsrtp._binding import ffi

from rtcfwd.forwarder import api
from rtcfwd.forwarder.libsrtp import KEY_SALT_BYTES

_PROFILES = {
    api.SrtpProfile.AES128_CM_HMAC_SHA1_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    api.SrtpProfile.AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    api.SrtpProfile.AEAD_AES_256_GCM: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


def session(profile: api.SrtpProfile, key: bytes, *, inbound: bool) -> Session:
    policy = Policy(
        key=key,
        ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=_PROFILES[profile],
    )
    policy.window_size = 8192
    made = Session(policy)
    # pylibsrtp's own buffer holds 1500 bytes with the trailer; tests send larger packets.
    made._cdata = ffi.new("char[]", 4096)
    made._buffer = ffi.buffer(made._cdata)
    return made


class Crypto:
    """A peer's end of the association. ``rx_key``/``tx_key`` are the forwarder's, for set_keys."""

    def __init__(self, profile: api.SrtpProfile, seed: bytes) -> None:
        size = KEY_SALT_BYTES[profile]
        self.profile = profile
        self.rx_key = (seed * size)[:size]
        self.tx_key = (seed[::-1] * size)[:size]
        self._out = session(profile, self.rx_key, inbound=False)
        self._in = session(profile, self.tx_key, inbound=True)
        self.protect = self._out.protect
        self.protect_rtcp = self._out.protect_rtcp

    def unprotect(self, data: bytes) -> bytes | None:
        """The RTP or RTCP packet; None for the network's duplicate."""
        try:
            return (self._in.unprotect_rtcp if is_rtcp(data) else self._in.unprotect)(data)
        except Error as exc:
            if "replay" not in str(exc):
                raise
            return None


@dataclass(frozen=True, slots=True)
class Rtp:
    """A parsed RTP packet; payload without padding."""

    pt: int
    marker: bool
    seq: int
    ts: int
    ssrc: int
    payload: bytes
    csrcs: tuple[int, ...] = ()
    extensions: tuple[tuple[int, bytes], ...] = ()
    padding: int = 0

    def pack(self) -> bytes:
        """One-byte header extensions (RFC 8285 section 4.2), or two-byte where one does not do."""
        ext = b""
        if self.extensions:
            short = all(1 <= n <= 14 and 1 <= len(v) <= 16 for n, v in self.extensions)
            for number, value in self.extensions:
                head = bytes([number << 4 | len(value) - 1] if short else [number, len(value)])
                ext += head + value
            ext += bytes(-len(ext) % 4)
            ext = struct.pack("!HH", 0xBEDE if short else 0x1000, len(ext) // 4) + ext
        first = 0x80 | bool(self.padding) << 5 | bool(ext) << 4 | len(self.csrcs)
        pad = bytes(self.padding - 1) + bytes([self.padding]) if self.padding else b""
        return (
            struct.pack(
                "!BBHII",
                first,
                self.marker << 7 | self.pt,
                self.seq & 0xFFFF,
                self.ts & 0xFFFFFFFF,
                self.ssrc,
            )
            + b"".join(struct.pack("!I", c) for c in self.csrcs)
            + ext
            + self.payload
            + pad
        )


def parse_rtp(data: bytes) -> Rtp:
    first, second, seq, ts, ssrc = struct.unpack_from("!BBHII", data)
    assert first >> 6 == 2
    at = 12 + 4 * (first & 15)
    csrcs = struct.unpack_from(f"!{first & 15}I", data, 12)
    extensions: list[tuple[int, bytes]] = []
    if first & 0x10:
        profile, words = struct.unpack_from("!HH", data, at)
        body = data[at + 4 : at + 4 + 4 * words]
        assert len(body) == 4 * words
        at += 4 + 4 * words
        i = 0
        while i < len(body):
            if body[i] == 0:
                i += 1
                continue
            if profile == 0xBEDE:
                number, size = body[i] >> 4, (body[i] & 15) + 1
                i += 1
            else:
                assert profile & 0xFFF0 == 0x1000
                number, size = body[i], body[i + 1]
                i += 2
            assert i + size <= len(body)
            extensions.append((number, body[i : i + size]))
            i += size
    payload, padding = data[at:], 0
    if first & 0x20:
        padding = payload[-1]
        assert 1 <= padding <= len(payload)
        payload = payload[:-padding]
    return Rtp(
        second & 127, bool(second >> 7), seq, ts, ssrc, payload, csrcs, tuple(extensions), padding
    )


def is_rtcp(data: bytes) -> bool:
    return 192 <= data[1] <= 223


def parse_rtcp(data: bytes) -> list[AnyRtcpPacket]:
    """Strict: whatever aiortc would not read fails the test."""
    assert len(data) % 4 == 0
    packets = RtcpPacket.parse(data)
    assert packets
    return packets


class Unwrap:
    """16-bit sequence numbers to unbounded ones (RFC 3550 appendix A.1), by the nearest."""

    def __init__(self) -> None:
        self.highest: int | None = None

    def __call__(self, seq: int) -> int:
        if self.highest is None:
            self.highest = seq
            return seq
        delta = (seq - self.highest + 0x8000) % 0x10000 - 0x8000
        value = self.highest + delta
        self.highest = max(self.highest, value)
        return value


def ntp(unix_ns: int) -> int:
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    return (seconds + 2208988800) << 32 | (rest << 32) // 1_000_000_000


def unix_ns(stamp: int) -> int:
    return ((stamp >> 32) - 2208988800) * 1_000_000_000 + (
        ((stamp & 0xFFFFFFFF) * 1_000_000_000) >> 32
    )


def clock_delta(a: int, b: int) -> int:
    """a − b of two 32-bit RTP timestamps, signed."""
    return (a - b + 0x80000000) % 0x100000000 - 0x80000000
