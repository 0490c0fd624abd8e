"""libwebrtc M152 without a browser (PyPI's `wrtc`) publishes and plays.

Checked by content: the numbers in the pictures that it decodes rise. H264 wants OpenH264 2.6, which
the Makefile takes from Debian 13; without it that case is skipped, VP8 is not.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.interop_tools import Server

WORKERS = 1
OPENH264 = Path(__file__).resolve().parents[2] / "build" / "openh264" / "libopenh264.so"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("wrtc") is None, reason="wrtc has no wheel for this machine"
)


@pytest.mark.client("libwebrtc (wrtc)")
@pytest.mark.parametrize(
    ("video", "audio"),
    [
        pytest.param("H264", "PCMA", marks=pytest.mark.skipif(
            not OPENH264.exists(), reason="no OpenH264 2.6: build/openh264/libopenh264.so")),
        pytest.param("VP8", "opus", marks=pytest.mark.full),
    ],
)  # fmt: skip
def test_publish_and_play(
    server: Server, processes: Callable[..., Any], record: Any, video: str, audio: str
) -> None:
    name = f"wrtc-{video}-{audio}".lower()

    def client(role: str, url: str) -> subprocess.Popen[str]:
        """Returns when it is connected."""
        library = [str(OPENH264)] if video == "H264" else []
        module = [sys.executable, "-m", "tests.interop.wrtc_client"]
        started = processes([*module, role, url, video, audio, *library])
        line = started.stdout.readline()
        assert line, f"{role}: ended with {started.wait()}"
        assert json.loads(line) == {"event": "connected"}
        return started

    publisher = client("publish", server.url(f"/whip/{name}"))
    stream = server.wait_live(name)
    assert {t["codec"].upper() for t in stream["tracks"]} == {video.upper(), audio.upper()}
    player = client("play", server.url(f"/whep/{name}"))
    media: dict[str, Any] = {"numbers": 0, "samples": 0}
    rate = 48000 if audio == "opus" else 8000
    while media["numbers"] < 50 or media["samples"] < rate or media["loudest"] < 1000:
        line = player.stdout.readline()
        assert line, f"the player ended with {player.wait()}: {media}"
        media = json.loads(line)
    record(**media)
    assert media["backward"] == 0
    assert media["numbers"] > 0.9 * media["frames"]
    assert {video.upper(), audio.upper()} <= {codec.upper() for codec in media["codecs"]}
    for process in (player, publisher):
        process.communicate(timeout=20)
        assert process.returncode == 0
    server.wait_gone(name)
