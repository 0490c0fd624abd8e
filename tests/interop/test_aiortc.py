"""aiortc publishes and plays through the real server: both directions, both G.711 laws.

What arrives is checked by content, not by count: the numbers in the test pattern's pictures, every
audio sample against what G.711 makes of the source, and a file's pictures pixel by pixel.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack
from av import AudioFrame

from rtcfwd.client.pattern import Painter, PatternTrack, ToneTrack, read_number
from rtcfwd.client.peer import Peer
from rtcfwd.client.whip import Session
from tests.g711 import to_a, to_mu
from tests.interop.interop_tools import Server

WORKERS = 2
SAMPLES = 160  # of a 20 ms packet
SECONDS = 3
T = TypeVar("T")
Start = Callable[..., "subprocess.Popen[str]"]


def in_own_loop(job: Coroutine[Any, Any, T]) -> T:
    """Run asyncio code in a thread: playwright's loop may live in this one."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, job).result(90)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "rtcfwd", *words]


def play(server: Server, name: str, *words: str) -> dict[str, Any]:
    """`rtcfwd play --stats`; its figures."""
    done = subprocess.run(
        command("play", "--stats", "--wait", "10", *words, server.url(f"/whep/{name}")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def stop(publisher: subprocess.Popen[str], server: Server, name: str) -> dict[str, Any]:
    """End `rtcfwd publish --stats` as a user does; its figures."""
    publisher.terminate()
    out, _ = publisher.communicate(timeout=20)
    assert publisher.returncode == 0, out
    server.wait_gone(name)
    figures: dict[str, Any] = json.loads(out)
    return figures


@pytest.mark.client("aiortc")
@pytest.mark.parametrize(
    ("video", "audio"), [("h264", "pcma"), ("h264", "pcmu"), ("vp8", "opus"), ("h264", "none")]
)
def test_commands(server: Server, processes: Start, record: Any, video: str, audio: str) -> None:
    """`rtcfwd publish` to `rtcfwd play`: every picture and every packet, in order."""
    name = f"aiortc-{video}-{audio}"
    whip = server.url(f"/whip/{name}")
    publisher = processes(
        command("publish", "--test", "--stats", "--video", video, "--audio", audio, whip)
    )
    server.wait_live(name)
    shown = play(server, name, "--seconds", str(SECONDS))
    sent = stop(publisher, server, name)
    record(shown=shown, sent=sent)

    assert shown["video"]["codec"] == sent["video"]["codec"] == video.upper()
    assert shown["video"]["size"] == "640x360"
    assert shown["video"]["frames"] >= 20 * SECONDS
    assert shown["video"]["lost"] == 0
    pattern = shown["pattern"]
    assert pattern["read"] == shown["video"]["frames"]
    assert (pattern["missing"], pattern["backward"], pattern["unreadable"]) == (0, 0, 0)
    if audio != "none":
        assert shown["audio"]["codec"] == sent["audio"]["codec"] == audio.upper()
        assert shown["audio"]["lost"] == 0
        rate = 48000 if audio == "opus" else 8000
        assert shown["audio"]["samples"] >= 0.8 * rate * SECONDS


def alaw(codes: np.ndarray) -> np.ndarray:
    """G.711 A-law codes to 16-bit samples (ITU-T G.711 table 1, left-justified)."""
    code = codes.astype(np.int32) ^ 0x55
    segment, step = code >> 4 & 7, code & 15
    size = (step << 4) + np.where(segment > 0, 0x108, 8)
    size <<= np.maximum(segment - 1, 0)
    return np.where(code & 0x80, size, -size).astype(np.int16)


def ulaw(codes: np.ndarray) -> np.ndarray:
    """G.711 u-law codes to 16-bit samples (ITU-T G.711 table 2, left-justified)."""
    code = ~codes.astype(np.int32) & 0xFF
    size = ((((code & 15) << 3) + 0x84) << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.int16)


LAWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"pcma": alaw, "pcmu": ulaw}


def codebook_noise(law: str, index: int) -> np.ndarray:
    """Packet `index` of noise made of the law's own values: G.711 changes none of them."""
    codes = np.random.default_rng(index).integers(0, 256, SAMPLES)
    return LAWS[law](codes)


def any_noise(law: str, index: int) -> np.ndarray:
    """Packet `index` of noise over all 16-bit values."""
    return np.random.default_rng(index).integers(-32768, 32768, SAMPLES, dtype=np.int16)


def round_trip(law: str, samples: np.ndarray) -> np.ndarray:
    """Encoded by FFmpeg's encoder, decoded by the tables above."""
    encoder = av.CodecContext.create({"pcma": "pcm_alaw", "pcmu": "pcm_mulaw"}[law], "w")
    encoder.format, encoder.layout, encoder.sample_rate = "s16", "mono", 8000
    encoder.time_base = Fraction(1, 8000)
    frame = AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "mono")
    frame.sample_rate, frame.pts = 8000, 0
    data = b"".join(bytes(packet) for packet in encoder.encode(frame))
    return LAWS[law](np.frombuffer(data, np.uint8))


class Samples(ToneTrack):
    """A track whose packet `i` holds `source(law, i)`, at the pace of a ToneTrack."""

    def __init__(self, law: str, source: Callable[[str, int], np.ndarray]) -> None:
        super().__init__(8000)
        self._law, self._source = law, source

    async def recv(self) -> AudioFrame:
        frame = await super().recv()
        index = frame.pts // SAMPLES
        frame.planes[0].update(self._source(self._law, index).tobytes())
        return frame


async def receive_audio(server: Server, name: str, law: str, count: int) -> list[AudioFrame]:
    """`count` decoded audio packets of a stream, while its video is taken and dropped."""

    async def drop(track: MediaStreamTrack) -> None:
        while True:
            await track.recv()

    async with Session(server.url(f"/whep/{name}"), "play") as session:
        peer = Peer(session)
        dropping: asyncio.Task[None] | None = None
        try:
            receivers = [peer.receive("audio", [law]), peer.receive("video", ["h264"])]
            await peer.connect()
            audio, video = [transceiver.receiver.track for transceiver in receivers]
            dropping = asyncio.create_task(drop(video))
            async with asyncio.timeout(30):
                return [await audio.recv() for _ in range(count)]
        finally:
            if dropping is not None:
                dropping.cancel()
            await peer.close()


async def send_and_receive(
    server: Server,
    name: str,
    law: str,
    source: Callable[[str, int], np.ndarray],
    count: int,
    heard: tuple[str, ...] = (),
) -> list[list[AudioFrame]]:
    """Publish the samples with video; what two viewers heard, or one of each law ``heard``."""
    async with Session(server.url(f"/whip/{name}"), "publish") as session:
        publisher = Peer(session)
        try:
            publisher.send(Samples(law, source), [law])
            publisher.send(PatternTrack(320, 180), ["h264"])
            await publisher.connect()
            await asyncio.to_thread(server.wait_live, name)
            laws = heard or (law, law)
            viewers = [receive_audio(server, name, law, count) for law in laws]
            return await asyncio.gather(*viewers)
        finally:
            await publisher.close()


@pytest.mark.client("aiortc")
@pytest.mark.parametrize("source", [codebook_noise, any_noise])
@pytest.mark.parametrize("law", ["pcma", "pcmu"])
def test_samples_are_exact(
    server: Server, record: Any, law: str, source: Callable[[str, int], np.ndarray]
) -> None:
    """Each received sample is what G.711 makes of the sample that was published."""
    count = 100  # 2 s
    name = f"samples-{law}-{source.__name__}"
    heard = in_own_loop(send_and_receive(server, name, law, source, count))
    expected = [round_trip(law, source(law, i)) for i in range(1000)]
    if source is codebook_noise:
        assert all(np.array_equal(e, source(law, i)) for i, e in enumerate(expected))
    index_of = {packet.tobytes(): i for i, packet in enumerate(expected)}
    starts = []
    for frames in heard:
        packets = [frame.to_ndarray()[0] for frame in frames]
        found = [index_of.get(packet.tobytes()) for packet in packets]
        assert found[0] is not None
        starts.append(found[0])
        assert found == list(range(found[0], found[0] + count))  # none lost, changed or moved
        clock = [frame.pts - frames[0].pts for frame in frames]
        assert clock == [i * SAMPLES for i in range(count)]
    record(first_packets_heard=starts, packets_exact=2 * count, samples_exact=2 * count * SAMPLES)


@pytest.mark.client("aiortc")
@pytest.mark.duty("G1", "H20")
@pytest.mark.parametrize(("law", "other"), [("pcma", "pcmu"), ("pcmu", "pcma")])
def test_a_viewer_of_the_other_law_hears_the_itu_table(
    server: Server, record: Any, law: str, other: str
) -> None:
    """aiortc offers one law alone to a stream of the other: every code word by G.711's own table,
    beside a viewer of the stream's law, who gets its bytes."""
    count = 100  # 2 s
    convert = to_mu if law == "pcma" else to_a
    codes = [np.random.default_rng(i).integers(0, 256, SAMPLES) for i in range(1000)]
    raw = [c.astype(np.uint8).tobytes() for c in codes]
    if law == "pcmu":  # it has two zeros; the publisher's encoder knows one
        raw = [r.replace(b"\x7f", b"\xff") for r in raw]
    assert len(set(b"".join(raw[:50]))) >= 255
    job = send_and_receive(server, f"other-{law}", law, codebook_noise, count, (other, law, other))
    frames = in_own_loop(job)
    expected = {
        law: [LAWS[law](np.frombuffer(r, np.uint8)).tobytes() for r in raw],
        other: [LAWS[other](np.frombuffer(convert(r), np.uint8)).tobytes() for r in raw],
    }
    starts = []
    for heard, got in zip((other, law, other), frames, strict=True):
        packets = [frame.to_ndarray()[0].tobytes() for frame in got]
        start = expected[heard].index(packets[0])
        assert packets == expected[heard][start : start + count]
        starts.append(start)
    record(starts=starts, packets=count)


def make_clip(path: Path, frames: int = 150) -> None:
    """A QuickTime file: H264 of the pattern at 25/s, a key frame every 2 s, and A-law noise."""
    painter = Painter(320, 180)
    options = {"bf": "0", "g": "50", "preset": "veryfast", "profile": "baseline"}
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options=options)
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        audio = container.add_stream("pcm_alaw", rate=8000, layout="mono")
        for number in range(frames):
            picture = painter.paint(number, number / 25)
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(video.encode(picture))
            for i in (2 * number, 2 * number + 1):
                sound = AudioFrame.from_ndarray(codebook_noise("pcma", i)[None], "s16", "mono")
                sound.sample_rate, sound.pts = 8000, i * SAMPLES
                sound.time_base = Fraction(1, 8000)
                container.mux(audio.encode(sound))
        container.mux(video.encode(None))


@pytest.mark.client("aiortc")
def test_file_arrives_unchanged(
    server: Server, processes: Start, tmp_path: Path, record: Any
) -> None:
    """`publish --file` passes the file's packets through; what `play -o` writes is the same."""
    clip, out = tmp_path / "clip.mov", tmp_path / "out.mkv"
    make_clip(clip)
    name = "aiortc-file"
    whip = server.url(f"/whip/{name}")
    publisher = processes(command("publish", "--file", str(clip), "--loop", "--stats", whip))
    server.wait_live(name)
    shown = play(server, name, "--seconds", str(SECONDS), "-o", str(out))
    sent = stop(publisher, server, name)
    record(shown=shown, sent=sent)
    assert (sent["video"]["codec"], sent["audio"]["codec"]) == ("H264", "PCMA")

    with av.open(str(clip)) as container:
        source = [frame.to_ndarray() for frame in container.decode(video=0)]
    with av.open(str(out)) as container:
        written = list(container.decode(video=0))
    assert len(written) >= 20 * SECONDS
    numbers = [read_number(frame) for frame in written]
    assert None not in numbers
    for number, frame in zip(numbers, written, strict=True):
        assert number is not None
        assert np.array_equal(frame.to_ndarray(), source[number])
    steps = {(b - a) % len(source) for a, b in itertools.pairwise(numbers)}
    assert steps == {1}


def test_refusals(server: Server, processes: Start) -> None:
    """Nobody publishes; somebody publishes already; no such stream name."""

    def refused(*words: str) -> str:
        done = subprocess.run(
            command(*words), capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "nobody is publishing 'empty'" in refused("play", server.url("/whep/empty"))
    name = "taken"
    publisher = processes(command("publish", "--stats", server.url(f"/whip/{name}")))
    server.wait_live(name)
    assert "somebody publishes 'taken' already" in refused("publish", server.url(f"/whip/{name}"))
    assert "(404)" in refused("publish", server.url("/nothing/here"))
    stop(publisher, server, name)
