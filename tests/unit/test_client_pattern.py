"""The test pattern: what its code strip says is read back, also after lossy coding and scaling."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import av
import pytest
from av import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from rtcfwd.client.pattern import Painter, PatternTrack, ToneTrack, code_bits, read_number

SIZES = [(160, 90), (320, 180), (642, 358), (1280, 720)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [0, 1, 299, 0xABCDEF, (1 << 24) - 1])
def test_number_is_read_back(size: tuple[int, int], number: int) -> None:
    frame = Painter(*size).paint(number, 12.34)
    assert (frame.width, frame.height) == size
    assert read_number(frame) == number


def test_number_wraps() -> None:
    assert read_number(Painter(160, 90).paint(1 << 24, 0)) == 0


@given(st.integers(0, (1 << 24) - 1))
def test_code_carries_number_and_check(number: int) -> None:
    bits = code_bits(number)
    assert len(bits) == 32
    assert int("".join(map(str, bits[:24])), 2) == number
    first, second, third = number >> 16, number >> 8 & 0xFF, number & 0xFF
    assert int("".join(map(str, bits[24:])), 2) == first ^ second ^ third ^ 0xA5


def test_survives_coding_and_scaling() -> None:
    painter = Painter(640, 360)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 640, 360, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"crf": "38", "tune": "zerolatency"}
    decoder = av.CodecContext.create("h264", "r")
    packets = []
    for number in range(20):
        frame = painter.paint(number, number / 30)
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [f for packet in packets for f in decoder.decode(packet)]
    decoded += decoder.decode(None)
    assert [read_number(f) for f in decoded] == list(range(20))
    small = [f.reformat(320, 180) for f in decoded]
    assert [read_number(f) for f in small] == list(range(20))


@pytest.mark.parametrize("value", [0, 16, 128, 235])
def test_other_pictures_have_no_number(value: int) -> None:
    frame = VideoFrame(320, 180, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([value]) * plane.buffer_size)
    assert read_number(frame) is None


@pytest.mark.parametrize("size", [(158, 90), (161, 90), (160, 88), (320, 181)])
def test_painter_refuses(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="even"):
        Painter(*size)


async def test_pattern_track_numbers_and_clock() -> None:
    track = PatternTrack(160, 90, fps=30)
    frames = [await track.recv() for _ in range(4)]
    track.stop()
    assert [read_number(f) for f in frames] == [0, 1, 2, 3]
    steps = [b.pts - a.pts for a, b in itertools.pairwise(frames)]
    assert all(step % 3000 == 0 and step > 0 for step in steps)


@pytest.mark.parametrize("rate", [8000, 48000])
async def test_tone_track(rate: int) -> None:
    track = ToneTrack(rate)
    first, second = await track.recv(), await track.recv()
    track.stop()
    assert (first.pts, second.pts, second.sample_rate) == (0, rate // 50, rate)
    heard = memoryview(bytes(second.planes[0])[: rate // 50 * 2]).cast("h")
    start = rate // 50
    expected = [
        round(8192 * math.sin(2 * math.pi * 440 * (start + i) / rate)) for i in range(len(heard))
    ]
    assert list(heard) == expected
