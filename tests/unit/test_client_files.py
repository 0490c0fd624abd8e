"""Files as sources and as recordings: packets passed through unchanged, pictures kept exactly."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from rtcfwd.client.files import Source
from rtcfwd.client.pattern import Painter, read_number
from rtcfwd.client.recorder import Recorder
from rtcfwd.client.whip import ClientError

FPS = 25


def pictures(count: int, size: tuple[int, int] = (160, 90)) -> list[VideoFrame]:
    painter = Painter(*size)
    frames = []
    for number in range(count):
        frame = painter.paint(number, number / FPS)
        frame.pts, frame.time_base = number * 90000 // FPS, Fraction(1, 90000)
        frames.append(frame)
    return frames


def sound(count: int, rate: int = 8000) -> list[AudioFrame]:
    rng = np.random.default_rng(1)
    frames = []
    for number in range(count):
        samples = rng.integers(-8000, 8000, (1, rate // 50), np.int16)
        frame = AudioFrame.from_ndarray(samples, "s16", "mono")
        frame.sample_rate, frame.pts = rate, number * rate // 50
        frame.time_base = Fraction(1, rate)
        frames.append(frame)
    return frames


def write_h264(path: Path, *, b_frames: int, count: int = 20, fps: int = FPS) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"bf": str(b_frames)})
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for number, frame in enumerate(pictures(count)):
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_alaw(path: Path, count: int = 10) -> list[bytes]:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_alaw", rate=8000, layout="mono")
        packets = [p for frame in sound(count) for p in stream.encode(frame)]
        payloads = [bytes(p) for p in packets]
        container.mux(packets)
    return payloads


async def read_all(track: object) -> list[object]:
    items = []
    while True:
        try:
            items.append(await track.recv())  # type: ignore[attr-defined]
        except MediaStreamError:
            return items


async def test_h264_is_passed_through(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_h264(path, b_frames=0)
    source = Source(path)
    assert (source.video_codec, source.audio_codec, source.passed) == ("h264", None, {"video"})
    packets = await read_all(source.video)
    assert source.video is not None
    assert source.video.error is None
    decoder = av.CodecContext.create("h264", "r")
    frames = [f for p in packets for f in decoder.decode(av.Packet(bytes(p)))]
    frames += decoder.decode(None)
    assert [read_number(f) for f in frames] == list(range(20))
    assert bytes(packets[0]).startswith(b"\0\0\0\1")  # Annex B, as aiortc's packetiser wants it
    assert [p.pts for p in packets] == [i * 90000 // FPS for i in range(20)]


@pytest.mark.parametrize("reencode", [False, True])
async def test_b_frames_and_wishes_are_decoded(tmp_path: Path, reencode: bool) -> None:
    path = tmp_path / "a.mp4"
    write_h264(path, b_frames=0 if reencode else 2)
    source = Source(path, reencode=reencode)
    assert source.passed == set()
    frames = await read_all(source.video)
    assert [read_number(f) for f in frames] == list(range(20))


async def test_fast_video_is_thinned_to_30_fps(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_h264(path, b_frames=2, fps=60)
    frames = await read_all(Source(path).video)
    assert [read_number(f) for f in frames] == list(range(0, 20, 2))


async def test_alaw_is_passed_through(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    payloads = write_alaw(path)
    source = Source(path)
    assert (source.audio_codec, source.passed) == ("pcma", {"audio"})
    packets = await read_all(source.audio)
    assert b"".join(bytes(p) for p in packets) == b"".join(payloads)
    assert {len(bytes(p)) for p in packets} == {160}  # 20 ms, however the file groups them
    assert [p.pts for p in packets] == [i * 960 for i in range(10)]


async def test_alaw_for_another_codec_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_alaw(path)
    source = Source(path, audio="pcmu")
    assert source.passed == set()
    frames = await read_all(source.audio)
    assert {(f.samples, f.sample_rate, f.format.name) for f in frames} == {(160, 8000, "s16")}


@pytest.mark.parametrize("content", [None, b"", b"not a media file at all"])
def test_unreadable_files(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ClientError, match="cannot be read"):
        Source(path)


def test_nothing_left_to_publish(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_h264(path, b_frames=0)
    with pytest.raises(ClientError, match="neither"):
        Source(path, video="none")


def test_mkv_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    recorder = Recorder(path, {"video", "audio"})
    sent, heard = pictures(10), sound(20)
    for frame in [*sent, *heard]:
        recorder.write(frame)
    recorder.close()
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    with av.open(str(path)) as container:
        samples = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert len(frames) == len(sent)
    for got, want in zip(frames, pictures(10), strict=True):
        assert np.array_equal(got.to_ndarray(), want.to_ndarray())
    assert np.array_equal(samples, np.concatenate([f.to_ndarray()[0] for f in sound(20)]))


def test_y4m_is_raw(tmp_path: Path) -> None:
    path = tmp_path / "out.y4m"
    recorder = Recorder(path, {"video"})
    for frame in pictures(3):
        recorder.write(frame)
    recorder.write(pictures(1, (320, 180))[0])  # scaled to the first size
    recorder.close()
    data = path.read_bytes()
    header, _, rest = data.partition(b"\n")
    assert header.startswith(b"YUV4MPEG2 W160 H90 ")
    assert len(rest) == 4 * (6 + 160 * 90 * 3 // 2)
    assert recorder.frames == 4


def test_mp4_can_be_played(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    recorder = Recorder(path, {"video", "audio"})
    for frame in [*pictures(25), *sound(50)]:
        recorder.write(frame)
    recorder.close()
    with av.open(str(path)) as container:
        assert [read_number(f) for f in container.decode(video=0)] == list(range(25))
        assert container.streams.audio[0].codec_context.name == "aac"


def test_nothing_received_writes_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out.mp4", {"video", "audio"})
    recorder.close()
    assert not list(tmp_path.iterdir())


def test_recorder_tells_what_went_wrong(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "no" / "folder.y4m", {"video"})
    recorder.write(pictures(1)[0])
    with pytest.raises(ClientError, match="could not be written"):
        recorder.close()
