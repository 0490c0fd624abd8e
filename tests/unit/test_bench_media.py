"""The benchmark's media: sizes, packetisation, and that a packet is found again and checked."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import bitrate
from benchmarks.media import (
    FPS,
    GOP_SECONDS,
    PACKET,
    Media,
    frame_bytes,
    receiver_feedback,
    rtp_payload,
    sender_report,
)


def _group(media: Media) -> list[bytes]:
    frames = [media.video_frame(i == 0, i * 3000) for i in range(FPS * GOP_SECONDS)]
    return [packet.data for frame in frames for packet in frame]


@pytest.mark.parametrize("rate", [300_000, 2_500_000, 20_000_000])
def test_a_group_of_pictures_has_the_rate_asked(rate: int) -> None:
    payload = sum(len(data) - 12 for data in _group(Media(rate, 1, 2)))
    assert payload * 8 / GOP_SECONDS == pytest.approx(rate, rel=0.02)
    assert frame_bytes(rate, True) > frame_bytes(rate, False)


def test_packets_are_full_but_the_last_of_a_frame() -> None:
    frame = Media(2_500_000, 1, 2).video_frame(False, 0)
    assert len(frame) == 9
    assert {len(p.data) for p in frame[:-1]} == {PACKET}
    assert [p.data[1] >> 7 for p in frame] == [0] * 8 + [1]
    assert [p.data[13] for p in frame] == [0x81, *[0x01] * 7, 0x41]  # FU-A: start … end


def test_packets_of_a_frame_cut_evenly_differ_by_a_byte() -> None:
    sizes = [len(p.data) for p in Media(2_500_000, 1, 2, even=True).video_frame(False, 0)]
    assert sizes == sorted(sizes)
    assert sizes[-1] - sizes[0] <= 1
    full = Media(2_500_000, 1, 2).video_frame(False, 0)
    assert sum(size - 14 for size in sizes) == sum(len(p.data) - 14 for p in full)


def test_sequence_numbers_have_no_holes() -> None:
    numbers = [int.from_bytes(data[2:4]) for data in _group(Media(600_000, 1, 2))]
    assert numbers == list(range(1000, 1000 + len(numbers)))


def test_a_forwarded_packet_is_found_and_a_changed_one_is_noticed() -> None:
    media = Media(2_500_000, 1, 2)
    packets = [*media.video_frame(True, 0), media.audio_frame(0)]
    assert media.check(packets[0].data) is None  # parameter sets carry no mark
    for packet in packets[1:]:
        rewritten = packet.data[:2] + b"\x00\x01" + bytes(4) + b"SSRC" + packet.data[12:]
        assert media.check(rewritten) == (packet.index, True)
        spoilt = rewritten[:-1] + bytes([rewritten[-1] ^ 1])
        assert media.check(spoilt) == (packet.index, False)
        assert media.check(rewritten[:20]) is None


def test_payload_without_extension_and_padding() -> None:
    head = bytes([0xB1, 96]) + bytes(10) + b"CSRC"
    assert rtp_payload(head + b"\xbe\xde\x00\x01EXTN" + b"payload" + b"\0\0\3") == b"payload"


def test_sender_report_is_a_compound_of_whole_words() -> None:
    report = sender_report(7, 1.5, 90000, 10, 1000)
    assert report[1] == 200
    assert len(report) % 4 == 0
    first = 4 * (int.from_bytes(report[2:4]) + 1)
    assert report[first + 1] == 202
    assert first + 4 * (int.from_bytes(report[first + 2 : first + 4]) + 1) == len(report)


@pytest.mark.parametrize(
    ("text", "value"), [("2.5M", 2_500_000), ("600k", 600_000), ("8000", 8000)]
)
def test_bit_rates(text: str, value: int) -> None:
    assert bitrate(text) == value


def test_a_viewers_feedback_is_a_compound() -> None:
    data = receiver_feedback(0xABCD, 77, 2.0, [65535, 3])
    kinds, at = [], 0
    while at < len(data):
        kinds.append(data[at + 1])
        at += 4 + 4 * int.from_bytes(data[at + 2 : at + 4])
    assert at == len(data)
    assert kinds == [201, 202, 205]
    assert data[12:16] == bytes([5, 0, 0, 0])  # 2 % of 256 lost
    assert data[-8:] == bytes.fromhex("ffff000000030000")
    assert len(receiver_feedback(1, 0, 0.0, [])) < len(data)
