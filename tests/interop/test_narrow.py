"""Chromium behind a link of 500 kbit/s, watching 2.4 Mbit/s: what it hears and sees while the link
is narrow and after it widens. Timing is for the record; a busy machine stretches it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.link import Link
from tests.interop.interop_tools import Pages, Server, Tab, ffmpeg_publish, wait_until

WORKERS = 1
NARROW, QUEUE = 500_000, 64_000


@pytest.fixture
def link(server: Server) -> Iterator[Link]:
    made = Link(server.udp_port, delay=0.02)
    yield made
    made.close()


@pytest.fixture(scope="module")
def wide_clip(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H264 at 2.4 Mbit/s, a key frame every 2 s, and Opus."""
    path = tmp_path_factory.mktemp("clip") / "wide.mp4"
    sources = "-f lavfi -i testsrc2=s=960x540:r=25:d=10"
    sources += " -f lavfi -i sine=frequency=440:sample_rate=48000:duration=10"
    video = "-c:v libx264 -preset veryfast -profile:v baseline -bf 0 -sc_threshold 0 -g 50"
    video += " -pix_fmt yuv420p -x264-params nal-hrd=cbr -b:v 2400k -minrate 2400k -maxrate 2400k"
    video += " -bufsize 2400k"
    audio = "-c:a libopus -ar 48000 -ac 2 -b:a 64k"
    command = f"{ffmpeg} -v error {sources} {video} {audio}".split()
    subprocess.run([*command, str(path)], check=True, stdin=subprocess.DEVNULL)
    return path


def figures(tab: Tab, since: float, until: float) -> dict[str, Any]:
    """Between two moments of the page's clock."""
    part = [s for s in tab.samples() if since <= s["t"] <= until and "audio" in s]
    a, b = part[0], part[-1]

    def more(kind: str, name: str) -> float:
        return float(b[kind].get(name, 0) - a[kind].get(name, 0))

    concealed = more("audio", "concealedSamples") - more("audio", "silentConcealedSamples")
    emitted = more("audio", "jitterBufferEmittedCount")
    return {
        "seconds": round(b["t"] - a["t"], 1),
        "audio_concealed": round(concealed / max(1.0, more("audio", "totalSamplesReceived")), 4),
        "audio_lost": more("audio", "packetsLost"),
        "audio_received": more("audio", "packetsReceived"),
        "audio_buffer_ms": round(1000 * more("audio", "jitterBufferDelay") / max(1.0, emitted)),
        "frames_decoded": more("video", "framesDecoded"),
        "key_frames": more("video", "keyFramesDecoded"),
        "frames_dropped": more("video", "framesDropped"),
        "plis": more("video", "pliCount"),
        "nacks": more("video", "nackCount"),
        "freezes": more("video", "freezeCount"),
        "frozen_s": round(more("video", "totalFreezesDuration"), 2),
        "lost": more("video", "packetsLost"),
    }


@pytest.mark.full  # a minute
def test_half_a_megabit(
    server: Server,
    pages: Pages,
    link: Link,
    wide_clip: Path,
    ffmpeg: str,
    processes: Callable[..., subprocess.Popen[str]],
    record: Callable[..., None],
) -> None:
    ffmpeg_publish(processes, ffmpeg, wide_clip, server.url("/whip/narrow"))
    server.wait_live("narrow")
    link.down.rate, link.down.queue = NARROW, QUEUE
    pages.through(link.port)
    tab = pages.watch("narrow")
    tab.first_frame_ms()
    tab.page.evaluate("document.getElementById('watch-video').muted = false")

    def viewer() -> dict[str, Any]:
        sessions = server.api("/streams/narrow")["sessions"]
        stats: dict[str, Any] = next(s["stats"] for s in sessions if s["role"] == "viewer")
        return stats

    def now() -> float:
        return float(tab.samples()[-1]["t"])

    told: list[tuple[float, int, int, int, int]] = []

    def watch(seconds: float) -> None:
        end = now() + seconds
        while now() < end:
            s, waits = viewer(), link.down.queued * 8000 // NARROW  # ms
            told.append(
                (round(now(), 1), s["slow"], s["estimate_bps"], s["rtt_ns"] // 10**6, waits)
            )
            time.sleep(0.5)

    watch(8)
    begin = now()
    watch(20)
    narrow = figures(tab, begin, now())
    link.down.rate = 20e6
    widened = now()
    wait_until(lambda: viewer()["slow"] == 0, "everything again", 60)
    back = now() - widened
    watch(4)
    broad = figures(tab, now() - 3, now())
    record(narrow=narrow, broad=broad, back_s=round(back, 1), estimates=told)
    assert viewer()["tracks"]["video"]["skipped"] > 0
    assert narrow["frames_decoded"] > 0
    assert narrow["audio_received"] > 0
    assert broad["frames_decoded"] > 0
