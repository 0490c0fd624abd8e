"""Chromium publishes three simulcast layers (addTransceiver with sendEncodings), another tab
watches: it gets the largest picture, or the one that it chooses by WHEP's layer extension."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.interop.interop_tools import Pages, Server, Tab, wait_until

WORKERS = 2

# `busy`: noise that moves, so that each layer takes the bitrate that it may; in the smallest size
# that Chromium sends in three layers.
PUBLISH = """async ([url, busy]) => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = busy ? [960, 540] : [1280, 720];
  const ink = canvas.getContext('2d');
  const tile = document.createElement('canvas');
  tile.width = tile.height = 128;
  const noise = tile.getContext('2d').createImageData(128, 128);
  noise.data.forEach((_, i) => noise.data[i] = i % 4 === 3 ? 255 : Math.random() * 255);
  tile.getContext('2d').putImageData(noise, 0, 0);
  let n = 0;
  setInterval(() => {
    ink.fillStyle = `hsl(${n++ % 360} 80% 50%)`;
    ink.fillRect((n * 7) % canvas.width, (n * 5) % canvas.height, 200, 120);
    for (let i = 0; busy && i < 4; i++)
      ink.drawImage(tile, Math.random() * canvas.width - 64, Math.random() * canvas.height - 64);
  }, busy ? 66 : 33);
  const pc = window.pc = new RTCPeerConnection();
  pc.addTransceiver(canvas.captureStream(busy ? 15 : 30).getVideoTracks()[0], {
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
  const sender = pc.getSenders()[0], parameters = sender.getParameters();
  if (busy) parameters.degradationPreference = 'maintain-resolution';
  await sender.setParameters(parameters);
  return sdp;
}"""


def publish_three(
    server: Server, pages: Pages, name: str, *, busy: bool = False
) -> tuple[Any, list[dict[str, Any]]]:
    """The publisher's tab, and the layers when all three are on the air."""
    page = pages._context.new_page()
    page.goto(server.url("/"))
    answer = page.evaluate(PUBLISH, [server.url(f"/whip/{name}"), busy])
    assert "a=simulcast:recv q;h;f\r\n" in answer
    server.wait_live(name)

    def all_layers() -> list[dict[str, Any]] | None:
        layers = server.streams()[name]["layers"]
        return (
            layers if len(layers) == 3 and all(x["active"] and x["width"] for x in layers) else None
        )

    layers = wait_until(all_layers, "three layers on the air", timeout=40)
    assert [layer["rid"] for layer in layers] == ["q", "h", "f"]
    return page, layers


@pytest.mark.client("Chromium")
def test_chromium_sends_three_layers(server: Server, pages: Pages, record: Any) -> None:
    page, layers = publish_three(server, pages, "layers")
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


CHOOSE = """async ([url, method, body]) => (await fetch(url, {
  method, headers: {'Content-Type': 'application/json'}, body: body && JSON.stringify(body),
})).status"""


@pytest.mark.client("Chromium")
@pytest.mark.duty("X8")
def test_chromium_chooses_a_layer(server: Server, pages: Pages, record: Any) -> None:
    """By the URL that the answer to its own POST names; each choice is seen in the picture's size,
    and pictures go on without a freeze."""
    publisher, layers = publish_three(server, pages, "choice")
    width = {layer["rid"]: layer["width"] for layer in layers}
    viewer = Tab(pages._context.new_page(), "viewer")
    links: list[str] = []

    def note(reply: Any) -> None:
        if reply.request.method == "POST" and "/whep/" in reply.url and reply.status == 201:
            links.append(reply.header_value("link") or "")

    viewer.page.on("response", note)
    viewer.page.goto(server.url("/?watch=choice"))

    def shows(rid: str) -> dict[str, Any]:
        start = viewer.page.evaluate("(samples.at(-1) || {}).video?.framesDecoded || 0")

        def seen() -> dict[str, Any] | None:
            video: dict[str, Any] = viewer.page.evaluate("(samples.at(-1) || {}).video || {}")
            enough = video.get("framesDecoded", 0) >= start + 30
            return video if enough and video.get("frameWidth") == width[rid] else None

        return wait_until(seen, f"layer {rid}", timeout=30)

    shows("f")
    link = re.search(r'<([^>]*)>; rel="urn:ietf:params:whep:ext:core:layer"', links[0])
    assert link is not None
    url = server.url(link[1])
    steps = []
    for method, body, rid in (
        ("POST", {"mediaId": "0", "rid": "q"}, "q"),
        ("POST", {"mediaId": "0", "rid": "h"}, "h"),
        ("DELETE", None, "f"),
    ):
        assert viewer.page.evaluate(CHOOSE, [url, method, body]) == 200
        video = shows(rid)
        steps.append({k: video[k] for k in ("frameWidth", "framesDecoded", "freezeCount")})
    assert viewer.page.evaluate(CHOOSE, [url, "POST", {"mediaId": "0", "rid": "none"}]) == 422
    record(steps=steps)
    assert steps[-1]["freezeCount"] == 0
    publisher.close()
