"""FFmpeg's WHIP muxer publishes a real H264 file; `rtcfwd play` and Chromium watch.

FFmpeg offers setup:passive (the server is DTLS client), knows SHA1-80 only, and never answers a
key-frame request, so what a late viewer gets first comes from the server's log. FFmpeg 8.0 sends
STUN without PRIORITY and ICE-CONTROLLING, and none after the set-up.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from tests.interop.interop_tools import Pages, Server, ffmpeg8_command, ffmpeg_publish

WORKERS = 1
Clip = Callable[[int], Path]
Start = Callable[..., "subprocess.Popen[str]"]
ENOUGH_DB = 30.0
IDENTICAL_DB = 99.0  # stands for no error at all
FRAMES = 250  # of the clip


def finish(publisher: subprocess.Popen[str], server: Server, name: str) -> None:
    """Ask FFmpeg to end as a user does; it DELETEs its session."""
    out, _ = publisher.communicate("q", timeout=15)
    assert publisher.returncode == 0, out
    server.wait_gone(name)


def luma(path: Path) -> np.ndarray:
    """All pictures of a file, their luma only: (frames, height, width), 8 bit."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return np.stack(frames)


def match(shown: np.ndarray, source: np.ndarray) -> list[tuple[int, float]]:
    """For each shown picture the source picture nearest to it, and its PSNR in dB against that.

    The nearest ones are looked for among thumbnails, then the best by all pixels.
    """

    def thumbnails(frames: np.ndarray) -> np.ndarray:
        return frames[:, 4::8, 4::8].reshape(len(frames), -1).astype(np.float32)

    small, small_source = thumbnails(shown), thumbnails(source)
    norms = (small_source**2).sum(axis=1)
    found = []
    for picture, thumbnail in zip(shown, small, strict=True):
        nearest = np.argsort(norms - 2 * small_source @ thumbnail)[:3]
        errors = [
            float(((source[i].astype(np.int32) - picture) ** 2).mean()) for i in nearest.tolist()
        ]
        best = int(np.argmin(errors))
        psnr = IDENTICAL_DB if errors[best] == 0 else 10 * np.log10(255**2 / errors[best])
        found.append((int(nearest[best]), float(psnr)))
    return found


@pytest.mark.client("FFmpeg 9", "FFmpeg 8")
@pytest.mark.parametrize("kind", ["9-passive", "9-active", "8"])
def test_file_arrives_intact(
    server: Server,
    processes: Start,
    ffmpeg: str,
    clip: Clip,
    tmp_path: Path,
    record: Callable[..., None],
    kind: str,
) -> None:
    """What `rtcfwd play` writes is the file that FFmpeg published, picture by picture."""
    name = f"ffmpeg-{kind}"
    flags = ["-whip_flags", "dtls_active"] if kind == "9-active" else []
    program = ffmpeg8_command() if kind == "8" else ffmpeg
    source = clip(50)
    publisher = ffmpeg_publish(processes, program, source, server.url(f"/whip/{name}"), *flags)
    server.wait_live(name)
    out = tmp_path / "out.mkv"  # FFV1: loses nothing
    url = server.url(f"/whep/{name}")
    play = [sys.executable, "-m", "rtcfwd", "play", "--seconds", "6", "-o", str(out), url]
    played = subprocess.run(play, capture_output=True, text=True, timeout=60, check=False)
    assert played.returncode == 0, played.stdout + played.stderr
    finish(publisher, server, name)

    shown = luma(out)
    found = match(shown, luma(source))
    psnr = np.array([db for _, db in found])
    steps = np.diff([index for index, _ in found]) % FRAMES  # the file starts over at its end
    record(
        frames=len(shown),
        psnr_db={
            "min": round(float(psnr.min()), 1),
            "median": round(float(np.median(psnr)), 1),
            "max": round(float(psnr.max()), 1),
        },
        identical_share=round(float((psnr == IDENTICAL_DB).mean()), 3),
        next_frame_share=round(float((steps == 1).mean()), 3),
    )
    assert len(shown) >= 100
    assert (psnr > ENOUGH_DB).mean() > 0.98
    assert (psnr == IDENTICAL_DB).mean() > 0.9  # the same H264 through the same decoder
    assert (steps <= 2).mean() > 0.98  # in the source's order, none or one left out or repeated


@pytest.mark.client("FFmpeg 9", "Chromium")
def test_viewer_outlives_its_publisher(
    server: Server, pages: Pages, processes: Start, ffmpeg: str, clip: Clip, record
) -> None:
    """FFmpeg is killed and started anew: the viewer's picture goes on by itself, same SSRC."""
    name, whip = "ffmpeg-again", server.url("/whip/ffmpeg-again")
    first = ffmpeg_publish(processes, ffmpeg, clip(50), whip)
    server.wait_live(name)
    viewer = pages.watch(name)
    before = viewer.wait(lambda s: s["video"].get("framesDecoded", 0) >= 50, "50 frames")["video"]
    first.kill()
    first.wait()
    server.wait_gone(name)
    second = ffmpeg_publish(processes, ffmpeg, clip(50), whip)
    server.wait_live(name)
    frames = viewer.samples()[-1]["video"]["framesDecoded"]
    after = viewer.wait(lambda s: s["video"]["framesDecoded"] >= frames + 75, "3 s more")["video"]
    assert after["ssrc"] == before["ssrc"]
    record(frames_before=frames, frames_after=after["framesDecoded"], lost=after["packetsLost"])
    finish(second, server, name)


@pytest.mark.client("FFmpeg 9", "Chromium")
def test_chromium_joins_mid_gop(
    server: Server, pages: Pages, processes: Start, ffmpeg: str, clip: Clip, record
) -> None:
    """A GOP of 10 s and a publisher that ignores PLI: a newcomer has its picture before the next
    key frame, which the veteran's count of key frames shows."""
    name = "ffmpeg-gop"
    publisher = ffmpeg_publish(processes, ffmpeg, clip(250), server.url(f"/whip/{name}"))
    server.wait_live(name)
    veteran = pages.watch(name)
    veteran_ms = veteran.first_frame_ms()
    # Past the first second or two of a GOP, so that waiting for the next one would take long.
    sample = veteran.wait(lambda s: s["video"].get("framesDecoded", 0) >= 50, "50 frames")
    keys = sample["video"]["keyFramesDecoded"]
    late = pages.watch(name)
    late_ms = late.first_frame_ms()
    assert veteran.samples()[-1]["video"]["keyFramesDecoded"] == keys
    seen = late.wait(
        lambda s: s["video"]["framesDecoded"] > 100 and s["audio"]["packetsReceived"] > 100,
        "4 s of FFmpeg's picture and sound",
    )
    assert seen["video"]["codec"] == "video/H264"
    assert seen["audio"]["codec"] == "audio/opus"
    record(
        first_frame_ms=round(veteran_ms, 1),
        late_first_frame_ms=round(late_ms, 1),
        nacks=seen["video"].get("nackCount", 0),
        lost=seen["video"]["packetsLost"],
    )
    finish(publisher, server, name)
