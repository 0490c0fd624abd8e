"""GStreamer's webrtcbin (Debian's) publishes and plays H264 + G.711, with Chromium looking on.

Its offers are of a kind of their own: port 0 with bundle-only, names in capitals, H264 without an
fmtp line; its DTLS certificate is RSA and its only SRTP profile AES128_CM_HMAC_SHA1_80.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.interop_tools import Pages, Server

WORKERS = 1
SCRIPT = Path(__file__).with_name("gst_webrtc.py")


def gst(processes: Callable[..., Any], role: str, url: str, audio: str) -> subprocess.Popen[str]:
    """Debian's Python, since only that has the GStreamer bindings; returns when connected."""
    client = processes(["/usr/bin/python3", str(SCRIPT), role, url, audio])
    line = client.stdout.readline()
    assert line, f"{role}: ended with {client.wait()}"
    assert json.loads(line) == {"event": "connected"}
    return client


def leave(client: subprocess.Popen[str]) -> None:
    client.communicate(timeout=15)
    assert client.returncode == 0


@pytest.mark.client("GStreamer webrtcbin", "Chromium")
@pytest.mark.parametrize("audio", ["PCMA", "PCMU"])
def test_publish_and_play(
    server: Server, pages: Pages, processes: Callable[..., Any], record, audio: str
) -> None:
    name = f"gst-{audio.lower()}"
    publisher = gst(processes, "publish", server.url(f"/whip/{name}"), audio)
    server.wait_live(name)
    player = gst(processes, "play", server.url(f"/whep/{name}"), audio)
    browser = pages.watch(name)

    media: dict[str, Any] = {"frames": 0, "samples": 0}
    while media["frames"] < 125 or media["samples"] < 5 * 8000:
        line = player.stdout.readline()
        assert line, f"the player ended with {player.wait()}: {media}"
        media = json.loads(line)
    assert (media["width"], media["height"]) == (640, 360)
    assert 430 < media["tone_hz"] < 450  # the publisher's tone of 440 Hz, through G.711

    first_frame_ms = browser.first_frame_ms()
    seen = browser.wait(
        lambda s: s["video"].get("framesDecoded", 0) > 50 and s["audio"]["packetsReceived"] > 50,
        "2 s of GStreamer's picture and sound",
    )
    assert seen["video"]["codec"] == "video/H264"
    assert seen["audio"]["codec"] == f"audio/{audio}"
    record(gstreamer=media, chromium_first_frame_ms=round(first_frame_ms, 1))

    leave(player)
    leave(publisher)
    server.wait_gone(name)
