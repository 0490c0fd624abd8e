"""Chromium publishes three simulcast layers (addTransceiver with sendEncodings), another tab
watches: it gets the largest picture."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.interop_tools import Pages, Server, wait_until

WORKERS = 2

PUBLISH = """async (url) => {
  const canvas = document.createElement('canvas');
  canvas.width = 1280; canvas.height = 720;
  const ink = canvas.getContext('2d');
  let n = 0;
  setInterval(() => {
    ink.fillStyle = `hsl(${n++ % 360} 80% 50%)`;
    ink.fillRect((n * 7) % 1280, (n * 5) % 720, 200, 120);
  }, 33);
  const pc = window.pc = new RTCPeerConnection();
  pc.addTransceiver(canvas.captureStream(30).getVideoTracks()[0], {
    direction: 'sendonly',
    sendEncodings: [
      {rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 150000},
      {rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 500000},
      {rid: 'f', maxBitrate: 1500000},
    ],
  });
  await pc.setLocalDescription();
  const answer = await fetch(url, {
    method: 'POST', headers: {'Content-Type': 'application/sdp'}, body: pc.localDescription.sdp,
  });
  const sdp = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status} ${sdp}`);
  await pc.setRemoteDescription({type: 'answer', sdp});
  return sdp;
}"""


@pytest.mark.client("Chromium")
def test_chromium_sends_three_layers(server: Server, pages: Pages, record: Any) -> None:
    page = pages._context.new_page()
    page.goto(server.url("/"))
    answer = page.evaluate(PUBLISH, server.url("/whip/layers"))
    assert "a=simulcast:recv q;h;f\r\n" in answer
    server.wait_live("layers")

    def all_layers() -> list[dict[str, Any]] | None:
        layers = server.streams()["layers"]["layers"]
        return (
            layers if len(layers) == 3 and all(x["active"] and x["width"] for x in layers) else None
        )

    layers = wait_until(all_layers, "three layers on the air", timeout=40)
    assert [layer["rid"] for layer in layers] == ["q", "h", "f"]
    assert [layer["width"] for layer in layers] == sorted(layer["width"] for layer in layers)
    viewer = pages.watch("layers")

    def large() -> dict[str, Any] | None:
        video: dict[str, Any] = viewer.page.evaluate("(samples.at(-1) || {}).video || {}")
        enough = video.get("framesDecoded", 0) >= 40
        return video if enough and video.get("frameWidth") == layers[2]["width"] else None

    seen = wait_until(large, "the largest picture", timeout=30)
    assert seen["freezeCount"] == 0
    layers = server.streams()["layers"]["layers"]
    record(
        layers=[
            {
                k: x[k]
                for k in (
                    "rid",
                    "width",
                    "height",
                    "bitrate",
                    "keyframes",
                    "keyframe_requests_sent",
                )
            }
            for x in layers
        ]
    )
    page.close()
