"""libwebrtc without a browser (PyPI's wrtc, with aiortc's API): a WHIP publisher or a WHEP viewer,
one process each.

    python -m tests.interop.wrtc_client publish URL VIDEO AUDIO [OPENH264]
    python -m tests.interop.wrtc_client play URL VIDEO AUDIO [OPENH264]

VIDEO is VP8 or H264 (which wants the path of an OpenH264 2.6 library), AUDIO opus, PCMA or PCMU.
Prints JSON lines as gst_webrtc.py does: {"event": "connected"}, and for `play` after each second
{"event": "media", "frames": decoded, "numbers": those read in the pictures, "first"/"last" number,
"size", "samples", "loudest", "codecs": as the answer has them}. Runs until its standard input ends,
then DELETEs its session and leaves with status 0.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import sys
from typing import Any

os.environ["WRTC_ALLOW_LOOPBACK"] = "1"  # before the import: libwebrtc gathers 127.0.0.1, too

import numpy as np
import wrtc
from webrtc.aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)

from rtcfwd.client.pattern import PatternTrack, ToneTrack, read_number
from rtcfwd.client.whip import Session


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


class Sent(MediaStreamTrack):
    """One of our tracks under libwebrtc's own class."""

    def __init__(self, source: Any) -> None:
        self.kind = source.kind
        super().__init__()
        self._source = source

    async def recv(self) -> Any:
        return await self._source.recv()


class Seen:
    """What a viewer has decoded so far."""

    def __init__(self) -> None:
        self.frames = self.samples = self.loudest = 0
        self.numbers: list[int] = []
        self.size = ""

    async def watch(self, track: Any) -> None:
        while True:
            frame = await track.recv()
            self.frames += 1
            self.size = f"{frame.width}x{frame.height}"
            number = read_number(frame)
            if number is not None:
                self.numbers.append(number)

    async def listen(self, track: Any) -> None:
        while True:
            frame = await track.recv()
            self.samples += frame.samples
            self.loudest = max(self.loudest, int(np.abs(frame.to_ndarray().astype(int)).max()))

    def figures(self) -> dict[str, object]:
        numbers = self.numbers
        return {
            "frames": self.frames,
            "numbers": len(numbers),
            "backward": sum(b <= a for a, b in itertools.pairwise(numbers)),
            "first": numbers[0] if numbers else None,
            "last": numbers[-1] if numbers else None,
            "size": self.size,
            "samples": self.samples,
            "loudest": self.loudest,
        }


def prefer(transceiver: Any, kind: str, name: str) -> None:
    known = RTCRtpReceiver.getCapabilities(kind).codecs
    chosen = [c for c in known if c.mimeType.lower() == f"{kind}/{name}".lower()]
    assert chosen, f"no {name} in {[c.mimeType for c in known]}"
    repair = [c for c in known if c.mimeType.lower().endswith("/rtx")]
    transceiver.setCodecPreferences(chosen + repair)


async def run(role: str, url: str, video: str, audio: str) -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    seen = Seen()
    tasks = []
    if role == "publish":
        rate = 48000 if audio == "opus" else 8000
        sources = {"video": PatternTrack(640, 360), "audio": ToneTrack(rate)}
    for kind, name in (("video", video), ("audio", audio)):
        if role == "publish":
            transceiver = peer.addTransceiver(Sent(sources[kind]), direction="sendonly")
        else:
            transceiver = peer.addTransceiver(kind, direction="recvonly")
        prefer(transceiver, kind, name)

    connected = asyncio.Event()

    @peer.on("connectionstatechange")
    def _changed() -> None:
        if peer.connectionState == "connected":
            connected.set()

    @peer.on("track")
    def _track(track: Any) -> None:
        reader = seen.watch if track.kind == "video" else seen.listen
        tasks.append(asyncio.ensure_future(reader(track)))

    async with Session(url, "publish" if role == "publish" else "play") as session:
        await peer.setLocalDescription(await peer.createOffer())
        answer = await session.post(peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(20):
            await connected.wait()
        say(event="connected")
        ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
        codecs = re.findall(r"a=rtpmap:\d+ (\w+)/", answer)
        while not ended.done():
            await asyncio.wait([ended], timeout=1.0)
            if role == "play":
                say(event="media", codecs=codecs, **seen.figures())
        for task in tasks:
            task.cancel()
        await session.delete()
        await peer.close()


if __name__ == "__main__":
    if len(sys.argv) > 5:
        wrtc.loadOpenH264(sys.argv[5])
    asyncio.run(run(*sys.argv[1:5]))
    sys.stdout.flush()
    os._exit(0)  # libwebrtc's threads would be torn down under Python's feet
