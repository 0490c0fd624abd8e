"""The published media: packets shaped like H264 at 30 fps with G.711, each one recognisable.

Pure: sizes, packetisation (RFC 6184 STAP-A and FU-A, RFC 3551), and the mark in each payload by
which a viewer finds the packet's index again and so its send time, and checks every byte.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

FPS = 30
GOP_SECONDS = 2
KEY_FRAME_RATIO = 5  # a key frame's bytes over another frame's
PACKET = 1200  # bytes of an RTP packet, header included
RTP_HEADER = 12
AUDIO_PER_SECOND = 50
AUDIO_BYTES = 160
VIDEO_PT, AUDIO_PT = 96, 8
VIDEO_CLOCK, AUDIO_CLOCK = 90000, 8000
_VIEWER_SSRC = 1  # sender of a viewer's RTCP
_MARK = struct.Struct("!IQ")  # magic, index
_MAGIC = 0x72746366
_NOISE = random.Random(1).randbytes(1 << 16)
_SPS = bytes.fromhex("6742c01fd9005005bb016a02020280")
_PPS = bytes.fromhex("68cb83cb20")
_PARAMETERS = b"".join(
    [b"\x78", struct.pack("!H", len(_SPS)), _SPS, struct.pack("!H", len(_PPS)), _PPS]
)


def filler(index: int, size: int) -> bytes:
    """``size`` bytes that only packet ``index`` carries: its mark, then noise chosen by it."""
    at = index * 7919 % (len(_NOISE) - PACKET)
    return (_MARK.pack(_MAGIC, index) + _NOISE[at : at + size])[:size]


def frame_bytes(bitrate: int, key: bool) -> int:
    """Bytes of one frame so that a whole group of pictures has ``bitrate`` bit/s."""
    frames = FPS * GOP_SECONDS
    delta = bitrate / 8 * GOP_SECONDS / (frames - 1 + KEY_FRAME_RATIO)
    return round(delta * (KEY_FRAME_RATIO if key else 1))


def fragments(size: int, even: bool) -> list[int]:
    """Payload sizes of a frame of ``size`` bytes: full packets and a rest, as OBS and FFmpeg cut,
    or ``even``: as alike as can be, the shorter ones first, as Chromium cuts."""
    room, least = PACKET - RTP_HEADER, 32  # room for the mark
    count = -(-size // room)
    if even:
        return [(size + i) // count for i in range(count)]
    sizes = [room] * (count - 1) + [size - room * (count - 1)]
    if sizes[-1] < least and count > 1:
        sizes[-2:] = [room - least, sizes[-1] + least]
    return sizes


@dataclass(frozen=True, slots=True)
class Packet:
    index: int
    kind: str  # "audio" | "video"
    key: bool  # of a key frame
    last: bool  # of its frame
    data: bytes  # RTP


class Media:
    """Makes the packets of one publication, frame by frame."""

    def __init__(self, bitrate: int, video_ssrc: int, audio_ssrc: int, even: bool = False) -> None:
        self.bitrate, self.even = bitrate, even
        self.video_ssrc, self.audio_ssrc = video_ssrc, audio_ssrc
        self.packets: list[tuple[str, bool, bool, int]] = []  # by index: kind, key, last, size
        self._video_seq = self._audio_seq = 1000

    def _packet(
        self, kind: str, key: bool, last: bool, head: bytes, size: int, timestamp: int
    ) -> Packet:
        video = kind == "video"
        index = len(self.packets)
        self.packets.append((kind, key, last, size))
        sequence = self._video_seq if video else self._audio_seq
        header = struct.pack(
            "!BBHII",
            0x80,
            (VIDEO_PT | (0x80 if last else 0)) if video else AUDIO_PT,
            sequence & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            self.video_ssrc if video else self.audio_ssrc,
        )
        if video:
            self._video_seq += 1
        else:
            self._audio_seq += 1
        payload = head + filler(index, size - len(head))
        return Packet(index, kind, key, last, header + payload)

    def video_frame(self, key: bool, timestamp: int) -> list[Packet]:
        """One frame: STAP-A with parameter sets before a key frame, then FU-A fragments."""
        packets = []
        if key:
            size = len(_PARAMETERS)
            packets.append(self._packet("video", True, False, _PARAMETERS, size, timestamp))
        nal = 5 if key else 1
        sizes = fragments(max(frame_bytes(self.bitrate, key), 64), self.even)
        for i, size in enumerate(sizes):
            last = i == len(sizes) - 1
            bits = (0 if i else 0x80) | (0x40 if last else 0)
            head = bytes([0x7C if key else 0x5C, bits | nal])
            packets.append(self._packet("video", key, last, head, size, timestamp))
        return packets

    def audio_frame(self, timestamp: int) -> Packet:
        return self._packet("audio", False, True, b"", AUDIO_BYTES, timestamp)

    def check(self, rtp: bytes) -> tuple[int, bool] | None:
        """``(index, payload as published)`` of a decrypted packet; None when it has no mark
        (parameter sets, padding)."""
        payload = rtp_payload(rtp)
        head = 0 if rtp[1] & 0x7F == AUDIO_PT else 2
        if len(payload) < head + _MARK.size:
            return None
        magic, index = _MARK.unpack_from(payload, head)
        if magic != _MAGIC or index >= len(self.packets):
            return None
        size = self.packets[index][3]
        return index, payload[head:] == filler(index, size - head)


def rtp_payload(rtp: bytes) -> bytes:
    """The payload without CSRCs, header extension and padding (RFC 3550 5.1)."""
    start = RTP_HEADER + 4 * (rtp[0] & 0x0F)
    if rtp[0] & 0x10:
        start += 4 + 4 * struct.unpack_from("!H", rtp, start + 2)[0]
    end = len(rtp) - (rtp[-1] if rtp[0] & 0x20 else 0)
    return rtp[start:end]


def sender_report(ssrc: int, unix_time: float, timestamp: int, packets: int, octets: int) -> bytes:
    """An RTCP compound: SR without report blocks, SDES CNAME (RFC 3550 6.4.1, 6.5)."""
    ntp = int((unix_time + 2208988800) * (1 << 32))
    report = struct.pack(
        "!BBHIQIII",
        0x80,
        200,
        6,
        ssrc,
        ntp & 0xFFFFFFFFFFFFFFFF,
        timestamp & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )
    item = b"\x01\x05bench"
    chunk = struct.pack("!I", ssrc) + item + bytes(4 - (len(item) % 4))
    return report + struct.pack("!BBH", 0x81, 202, len(chunk) // 4) + chunk


def receiver_feedback(
    ssrc: int, highest: int, percent: float, lost: list[int], following: int = 0
) -> bytes:
    """A viewer's RTCP compound: RR with one report block (RFC 3550 6.4.2), SDES, and a generic NACK
    (RFC 4585 6.2.1) with a pair for each of the ``lost`` sequence numbers, if there are any;
    ``following``: the pairs' bit mask of the 16 numbers behind each."""
    block = struct.pack("!IIIIII", ssrc, round(percent * 2.56) << 24, highest, 0, 0, 0)
    report = struct.pack("!BBHI", 0x81, 201, 7, _VIEWER_SSRC) + block
    chunk = struct.pack("!I", _VIEWER_SSRC) + b"\x01\x05bench" + b"\0"
    data = report + struct.pack("!BBH", 0x81, 202, len(chunk) // 4) + chunk
    if lost:
        pairs = b"".join(struct.pack("!HH", number, following) for number in lost)
        data += struct.pack("!BBHII", 0x81, 205, 2 + len(lost), _VIEWER_SSRC, ssrc) + pairs
    return data
