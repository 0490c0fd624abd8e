"""Writes the packets of this folder: one folder a parser, sound packets and their malformed twins.

    python tests/vectors/wire/make.py

They seed the fuzzers (tests/fuzz) and are judged by tests/c/test_vectors.c, under the rule
that a file named ``bad-*`` must be refused and every other one taken. Packets are built with
aiortc, aioice or by hand, never with our own code. Add what the wire teaches: a packet that broke
something goes in here with its name.
"""

from __future__ import annotations

import struct
from pathlib import Path

from aioice import stun
from aiortc import rtp

HERE = Path(__file__).parent
SPS = bytes.fromhex("6742e01f8c8d40502802d080")
PPS = bytes.fromhex("68ce3c80")
FOLDERS: dict[str, dict[str, bytes]] = {}


def sized(*parts: bytes) -> bytes:
    return b"".join(struct.pack("!H", len(p)) + p for p in parts)


def header(first: int, second: int, rest: bytes = b"", seq: int = 7) -> bytes:
    return struct.pack("!BBHLL", first, second, seq, 90000, 0x11223344) + rest


def rtp_vectors() -> dict[str, bytes]:
    extended = bytes.fromhex("bede0001") + b"\x10\x30\x00\x00"
    return {
        "plain": header(0x80, 8, b"\xd5" * 160),
        "marker": header(0x80, 0x80 | 96, b"\x65abc"),
        "csrc": header(0x82, 96, b"\0\0\0\1\0\0\0\2payload"),
        "extension": header(0x90, 96, extended + b"payload"),
        "extension-empty": header(0x90, 96, bytes.fromhex("bede0000") + b"payload"),
        "padding": header(0xA0, 96, b"payload\0\0\0\4"),
        "padding-only": header(0xA0, 96, b"\0" * 254 + b"\xff"),
        "empty": header(0x80, 96),
        "everything": header(0xB1, 0xE0, b"\0\0\0\1" + extended + b"payload\2\2"),
        "bad-short": header(0x80, 96)[:11],
        "bad-version": header(0x40, 96, b"payload"),
        "bad-csrc": header(0x8F, 96, b"\0" * 59),
        "bad-extension-head": header(0x90, 96, b"\xbe\xde\0"),
        "bad-extension-long": header(0x90, 96, bytes.fromhex("bede0002") + b"\0" * 7),
        "bad-padding-zero": header(0xA0, 96, b"payload\0"),
        "bad-padding-long": header(0xA0, 96, b"payload\x09"),
        "bad-padding-nothing": header(0xA0, 96),
    }


def stun_vectors() -> dict[str, bytes]:
    def request(**attributes: object) -> bytes:
        m = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, transaction_id=b"0123456789ab")
        for name, value in attributes.items():
            m.attributes[name.replace("_", "-")] = value
        if attributes:
            m.add_message_integrity(b"a password of some length")
        return bytes(m)

    def by_hand(*attributes: bytes, length: int | None = None) -> bytes:
        body = b"".join(attributes)
        size = len(body) if length is None else length
        return struct.pack("!HHL", 1, size, 0x2112A442) + b"0123456789ab" + body

    full = request(USERNAME="ours:theirs", PRIORITY=1845501695, ICE_CONTROLLING=7)
    return {
        "chromium": full,
        "ffmpeg-8": request(USERNAME="ours:theirs"),
        "long-ufrag": request(USERNAME="u" * 256 + ":theirs"),
        "no-username": by_hand(),
        "unknown-attribute": by_hand(bytes.fromhex("c057000400010000"), b"\0\x06\0\3a:b\0"),
        "username-last": by_hand(bytes.fromhex("00240004 6e0001ff"), b"\0\x06\0\3a:b\0"),
        "bad-short": full[:19],
        "bad-cut": full[:-4],
        "bad-longer": full + b"\0\0\0\0",
        "bad-cookie": full[:4] + b"\0\0\0\0" + full[8:],
        "bad-no-colon": by_hand(b"\0\x06\0\4abcd"),
        "bad-attribute-long": by_hand(b"\0\x06\0\x09a:b\0"),
        "bad-attribute-head": by_hand(b"\0\x06\0"),
        "bad-empty-username": by_hand(b"\0\x06\0\0"),
    }


def rtcp_vectors() -> dict[str, bytes]:
    report = rtp.RtcpReceiverInfo(
        ssrc=1, fraction_lost=12, packets_lost=-3, highest_sequence=70000, jitter=9, lsr=5, dlsr=6
    )
    info = rtp.RtcpSenderInfo(0xE0000000_80000000, 90000, 10, 1000)
    sr = bytes(rtp.RtcpSrPacket(1, info, [report]))
    rr = bytes(rtp.RtcpRrPacket(2, [report, report]))
    sdes = bytes(rtp.RtcpSdesPacket([rtp.RtcpSourceInfo(1, [(1, b"a cname")])]))
    nack = bytes(rtp.RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2, lost=[65530, 65535]))
    pli = bytes(rtp.RtcpPsfbPacket(fmt=1, ssrc=1, media_ssrc=2))
    fir = bytes(rtp.RtcpPsfbPacket(fmt=4, ssrc=1, media_ssrc=0, fci=b"\0\0\0\2\7\0\0\0"))
    remb_fci = rtp.pack_remb_fci(2_500_000, [2, 3])
    remb = bytes(rtp.RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=remb_fci))
    bye = bytes(rtp.RtcpByePacket([1, 2]))
    padded = b"\xa0" + rr[1:3] + bytes([rr[3] + 1]) + rr[4:] + b"\0\0\0\4"
    padded = bytes([padded[0] | 2]) + padded[1:]
    return {
        "sr": sr + sdes,
        "rr": rr + sdes,
        "rr-empty": bytes(rtp.RtcpRrPacket(2)),
        "nack": nack,
        "pli": rr + pli,
        "fir": rr + fir,
        "remb": rr + remb,
        "bye": rr + bye,
        "padding": padded,
        "twcc": bytes.fromhex("8fcd000500000001000000020001000200000100" + "20020408"),
        "xr": bytes.fromhex("80cf0002000000010400 0000".replace(" ", "")),
        "xr-rrtr": rr + bytes.fromhex("80cf00040000000104000002e000000080000000"),
        "xr-more": bytes.fromhex(
            "80cf000700000001070000010000000004000002e00000008000000005000000"
        ),
        "xr-cut": rr + bytes.fromhex("80cf00030000000104000002e0000000"),
        "app": bytes.fromhex("80cc00020000000161626364"),
        "bad-empty": b"",
        "bad-short": rr[:3],
        "bad-length": rr[:-1],
        "bad-version": b"\x01" + rr[1:],
        "bad-second": rr + b"\x80\xc8\x00",
        "bad-second-long": rr + bytes.fromhex("81ce0005") + b"\0" * 8,
        "bad-padding-zero": padded[:-1] + b"\0",
        "bad-padding-odd": padded[:-1] + b"\3",
        "bad-padding-long": padded[:-1] + b"\xf8",
        "bad-padding-first": padded + pli,
    }


def hdrext_vectors() -> dict[str, bytes]:
    """profile, seed of the fuzzer, block."""
    return {
        "one-byte": b"\xbe\xde\x01" + bytes.fromhex("1030 22010203 0000 51ff".replace(" ", "")),
        "one-byte-stop": b"\xbe\xde\x01" + bytes.fromhex("1030f0aabbcc1031"),
        "one-byte-cut": b"\xbe\xde\x01" + bytes.fromhex("10302f01"),
        "two-byte": b"\x10\x00\x02" + bytes.fromhex("0101300200000005c803010203"),
        "two-byte-cut": b"\x10\x00\x02" + bytes.fromhex("01013002ff00"),
        "other-profile": b"\x12\x34\x00" + bytes.fromhex("deadbeef"),
    }


def keyframe_vectors() -> dict[str, bytes]:
    """codec, payload. ``key-*`` begins a key frame; ``bad-*`` is malformed."""
    idr, delta = b"\x65\x88\x84", b"\x41\x9a\x02"
    h264 = {
        "key-h264-sps": SPS,
        "key-h264-idr": idr,
        "key-h264-stap": b"\x18" + sized(SPS, PPS, idr),
        "key-h264-fu-start": b"\x7c\x85\x88",
        "h264-fu-middle": b"\x7c\x05\x88",
        "h264-fu-end": b"\x7c\x45\x88",
        "h264-delta": delta,
        "h264-discardable": b"\x01\x9a",
        "h264-pps": PPS,
        "h264-stap-sei": b"\x18" + sized(b"\x06\x05\x01\x80", delta),
        "bad-h264-stap-zero": b"\x18" + sized(delta, b""),
        "bad-h264-stap-cut": (b"\x18" + sized(delta, SPS))[:-3],
        "bad-h264-stap-empty": b"\x18",
        "bad-h264-fu-both": b"\x7c\xc5\x88",
        "bad-h264-fu-short": b"\x7c",
        "bad-h264-fu-b": b"\x7d\x85\x88\x00",
    }
    h265 = {
        "key-h265-vps": b"\x40\x01\x0c",
        "key-h265-idr": b"\x26\x01\xaf",
        "key-h265-ap": b"\x60\x01" + sized(b"\x40\x01\x0c", b"\x42\x01\x01", b"\x26\x01\xaf"),
        "key-h265-fu-start": b"\x62\x01\x93\xaf",
        "h265-fu-middle": b"\x62\x01\x13\xaf",
        "h265-delta": b"\x02\x01\xd0",
        "bad-h265-short": b"\x40",
        "bad-h265-ap-cut": b"\x60\x01" + sized(b"\x40\x01\x0c")[:-1],
        "bad-h265-fu-both": b"\x62\x01\xd3\xaf",
    }
    vp8 = {
        "key-vp8": b"\x90\x80\x81\x23\x10\x02\x00\x9d\x01\x2a\x80\x02",
        "key-vp8-bare": b"\x10\x10\x02\x00\x9d\x01\x2a\x80\x02",
        "vp8-delta": b"\x90\xe0\x81\x23\x05\x40\x31\x02\x00",
        "vp8-later-partition": b"\x11\x10\x02\x00",
        "bad-vp8-cut": b"\x90\x80\x81",
    }
    vp9 = {
        "key-vp9": b"\x8c\x81\x23\x82\x49\x83",
        "vp9-delta": b"\xcc\x81\x23\x86",
        "vp9-upper-layer": b"\xac\x81\x23\x02\x01\x86",
        "bad-vp9-cut": b"\xac\x81\x23\x02",
    }
    av1 = {
        "key-av1": b"\x18\x0a\x0a\x00\x00\x00",
        "av1-delta": b"\x10\x32\x01\x02",
        "av1-continued": b"\x90\x01\x02\x03",
    }
    numbered = ((1, h264), (2, h265), (3, vp8), (4, vp9), (5, av1))
    return {n: bytes([c]) + p for c, group in numbered for n, p in group.items()}


def classify_vectors() -> dict[str, bytes]:
    return {
        "stun": stun_vectors()["chromium"],
        "dtls": bytes.fromhex("16fefd0000000000000000000100") + b"\0" * 10,
        "rtp-low-pt": header(0x80, 0x80 | 35, b"payload"),
        "rtcp": rtcp_vectors()["nack"],
        "zrtp": b"\x10" + b"\0" * 20,
        "turn-channel": b"\x40" + b"\0" * 20,
        "quic": b"\xc3" + b"\0" * 20,
    }


def forwarder_vectors() -> dict[str, bytes]:
    """Records for the fuzzer of the whole forwarder, see fuzz_forwarder.c."""

    def record(who: int, packet: bytes, ms: int = 5, flags: int = 0) -> bytes:
        return bytes([who | flags, ms]) + struct.pack("!H", len(packet)) + packet

    def video(seq: int, payload: bytes, marker: int = 0) -> bytes:
        return struct.pack("!BBHLL", 0x80, marker << 7 | 96, seq, 3000 * seq, 0xAA) + payload

    start = b"\x01" + b"".join(
        record(0, video(i, p)) for i, p in enumerate((SPS, PPS, b"\x65\x88", b"\x41\x9a", b"\x41"))
    )
    sound = record(0, struct.pack("!BBHLL", 0x80, 8, 1, 160, 0xBB) + b"\xd5" * 20)
    padding = record(0, struct.pack("!BBHLL", 0xA0, 96, 5, 3000, 0xAA) + b"\0\0\0\4")
    later = b"".join(record(0, video(i, b"\x41\x9a")) for i in (8, 7, 9, 20))
    jump = b"".join(record(0, video(i, b"\x65\x88")) for i in (30000, 30001, 30002))
    repair = record(0, struct.pack("!BBHLL", 0x80, 97, 1, 3000, 0xCC) + b"\0\x06\x41\x9a")

    def nack(ssrc: int, *lost: int) -> bytes:
        return bytes(rtp.RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=ssrc, lost=list(lost)))

    asks = record(1, nack(0x11, *range(1, 40))) + record(2, nack(0x15, *range(100, 140)), 30)
    wish = record(1, rtcp_vectors()["pli"][:-4] + b"\0\0\0\x11", 255, 0x80)
    checks = stun_vectors()
    other = b"".join(record(who, p) for who in (0, 1, 3) for p in rtcp_vectors().values())
    return {
        "start": start + sound,
        "repair": start + padding + later + repair,
        "jump": start + later + jump,
        "asks": start + later + asks + wish + asks,
        "rtcp": start + other,
        "checks": start + b"".join(record(who, p) for who in (0, 1, 5) for p in checks.values()),
        "mail": bytes([start[0]]) + start[1:].replace(b"\0\5\0", b"\4\5\0"),
    }


def tcp_vectors() -> dict[str, bytes]:
    """Two bytes for the target (what happens meanwhile, how it is cut), then RFC 4571 frames."""

    def framed(*datagrams: bytes) -> bytes:
        return b"".join(len(d).to_bytes(2) + d for d in datagrams)

    check = stun_vectors()["chromium"]
    media = [header(0x80, 96, bytes([n]) * (n * 37 % 1588), seq=n) for n in range(12)]
    return {
        "checks": b"\x00\x03" + framed(check, b"", check),
        "stranger": b"\x04\x00" + framed(check, media[1]),
        "bound": b"\x02\x00" + framed(check, *media),
        "bound_later": b"\x16\x1e" + framed(check) + framed(*media),
        "full": b"\x07\x28" + framed(*media, check),
        "long": b"\x02\x40" + framed(header(0x80, 96, bytes(1588)), bytes(1601)),
        "flood": b"\x01\x08" + framed(*[b""] * 70, check),
    }


FOLDERS |= {
    "tcp": tcp_vectors(),
    "rtp": rtp_vectors(),
    "stun": stun_vectors(),
    "stun_check": stun_vectors(),
    "rtcp": rtcp_vectors(),
    "hdrext": hdrext_vectors(),
    "keyframe": keyframe_vectors(),
    "classify": classify_vectors(),
    "forwarder": forwarder_vectors(),
}


def main() -> None:
    for folder, packets in FOLDERS.items():
        (HERE / folder).mkdir(exist_ok=True)
        for name, data in packets.items():
            (HERE / folder / f"{name}.bin").write_bytes(data)


if __name__ == "__main__":
    main()
