"""A viewer's Chromium goes on by itself when its publisher is another one: FFmpeg killed and
started again, then a browser with another codec. No time is judged; the figures are kept."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.interop_tools import Pages, Server, Tab, ffmpeg_publish, wait_until

WORKERS = 1
Clip = Callable[[int], Path]
Start = Callable[..., "subprocess.Popen[str]"]

# What the page's viewer has received and decoded, every 20 ms.
FINE = """() => {
  window.fine = [];
  setInterval(async () => {
    for (const s of (await window.rtcfwd.viewer.pc.getStats()).values())
      if (s.type === 'inbound-rtp' && s.kind === 'video')
        window.fine.push([s.timestamp, s.packetsReceived, s.framesDecoded, s.ssrc]);
  }, 20);
}"""


def switched(tab: Tab) -> tuple[float, float]:
    """The longest time in ms without a packet, and from the packet that ended it to the next
    decoded picture (to 20 ms)."""
    fine = tab.page.evaluate("window.fine.splice(0)")
    assert len({ssrc for *_, ssrc in fine}) == 1
    last, longest, back = fine[0], 0.0, 0
    for i, sample in enumerate(fine):
        if sample[1] > last[1]:
            if sample[0] - last[0] > longest:
                longest, back = sample[0] - last[0], i
            last = sample
    decoded = next(s for s in fine[back:] if s[2] > fine[back - 1][2])
    return longest, float(decoded[0] - fine[back - 1][0])


@pytest.mark.client("FFmpeg 9", "Chromium")
def test_ffmpeg_is_killed_and_comes_back_then_a_browser_takes_over(
    server: Server,
    pages: Pages,
    processes: Start,
    ffmpeg: str,
    clip: Clip,
    record: Callable[..., Any],
) -> None:
    url = server.url("/whip/switch")

    def publishes(count: int) -> bool:
        stream = server.streams().get("switch", {})
        return stream.get("state") == "live" and stream.get("publications") == count

    first = ffmpeg_publish(processes, ffmpeg, clip(50), url)
    server.wait_live("switch")
    tab = pages.watch("switch")
    tab.wait(lambda s: s["video"].get("framesDecoded", 0) > 25, "pictures")
    tab.page.evaluate(FINE)

    first.kill()
    wait_until(lambda: server.streams()["switch"]["state"] == "interrupted", "it is missed")
    second = ffmpeg_publish(processes, ffmpeg, clip(50), url)
    wait_until(lambda: publishes(2), "FFmpeg is back")
    before = tab.samples()[-1]["video"]["framesDecoded"]
    tab.wait(lambda s: s["video"]["framesDecoded"] > before + 50, "pictures again")
    away, took = switched(tab)
    assert away > 1000
    record(away_ms=round(away), publisher_switch_ms=round(took))

    second.communicate("q", timeout=15)  # it DELETEs its session
    publisher = pages.publish("switch", video="VP8", audio="opus")
    wait_until(lambda: publishes(3), "the browser publishes")
    tab.wait(lambda s: s["video"].get("codec") == "video/VP8", "VP8")
    before = tab.samples()[-1]["video"]["framesDecoded"]
    tab.wait(lambda s: s["video"]["framesDecoded"] > before + 50, "pictures of the browser")
    away, took = switched(tab)
    record(away_codec_ms=round(away), publisher_switch_codec_ms=round(took))
    assert server.streams()["switch"]["viewers"] == 1
    publisher.close()
