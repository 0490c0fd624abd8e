"""GStreamer's webrtcbin as a WHIP publisher or a WHEP viewer, one process each.

    /usr/bin/python3 gst_webrtc.py publish URL [PCMA|PCMU]
    /usr/bin/python3 gst_webrtc.py play URL [PCMA|PCMU]

Prints one JSON object a line: {"event": "connected"}, and for `play` about five times a second
{"event": "media", "frames": decoded, "width": …, "height": …, "samples": audio samples,
"tone_hz": the tone's pitch by zero crossings, "posted": when, "pictures": [[when, number], …] since
the line before}. Times are seconds of the monotonic clock; numbers are read from the pictures' code
strip (rtcfwd/client/pattern.py; -1: none). Runs until its standard input ends, then DELETEs its
session and leaves with status 0. Needs Debian's python3-gi and GStreamer 1.22.

libnice leaves loopback out of its candidates, so 127.0.0.1 is added by hand.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.parse
import urllib.request

import gi

for _name in ("Gst", "GstWebRTC", "GstSdp", "GstApp"):
    gi.require_version(_name, "1.0")
from gi.repository import Gst, GstSdp, GstWebRTC  # noqa: E402

PAYLOAD_TYPES = {"PCMA": 8, "PCMU": 0}
LAWS = {"PCMA": "alaw", "PCMU": "mulaw"}

PUBLISH = """
webrtcbin name=peer
videotestsrc is-live=true pattern=smpte ! video/x-raw,width=640,height=360,framerate=25/1
  ! x264enc tune=zerolatency speed-preset=veryfast bitrate=800 key-int-max=50
  ! video/x-h264,profile=constrained-baseline
  ! rtph264pay config-interval=-1 aggregate-mode=zero-latency pt=96
  ! application/x-rtp,media=video,encoding-name=H264,payload=96 ! queue ! peer.
audiotestsrc is-live=true freq=440 volume=0.5 ! audio/x-raw,rate=8000,channels=1
  ! {law}enc ! rtp{name}pay pt={pt}
  ! application/x-rtp,media=audio,encoding-name={upper},payload={pt} ! queue ! peer.
"""
H264_CAPS = "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96"
G711_CAPS = "application/x-rtp,media=audio,encoding-name={upper},clock-rate=8000,payload={pt}"


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


class Peer:
    """A webrtcbin that offers to a WHIP or WHEP endpoint."""

    def __init__(self, role: str, audio: str) -> None:
        self.audio = audio
        self.law = LAWS[audio]
        self.negotiation = threading.Event()
        self.gathered = threading.Event()
        self.frames = self.width = self.height = 0
        self.samples = self.crossings = 0
        self.posted = 0.0
        self.pictures: list[tuple[float, int]] = []
        self._last_negative = False
        names = {"law": self.law, "name": audio.lower(), "upper": audio, "pt": PAYLOAD_TYPES[audio]}
        if role == "publish":
            self.pipeline = Gst.parse_launch(PUBLISH.format(**names))
        else:
            self.pipeline = Gst.Pipeline.new(None)
            self.pipeline.add(Gst.ElementFactory.make("webrtcbin", "peer"))
        self.peer = self.pipeline.get_by_name("peer")
        self.peer.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.peer.connect("on-negotiation-needed", lambda _: self.negotiation.set())
        self.peer.connect("notify::ice-gathering-state", self._on_gathering)
        self.peer.connect("pad-added", self._on_pad)
        # Kept: the object comes with a floating reference, which the Python wrapper sinks and,
        # when it goes, takes from under webrtcbin.
        self.ice = self.peer.props.ice_agent
        self.ice.emit("add-local-ip-address", "127.0.0.1")
        if role == "play":
            for caps in (H264_CAPS, G711_CAPS):
                self.peer.emit(
                    "add-transceiver",
                    GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY,
                    Gst.Caps.from_string(caps.format(**names)),
                )
        bus = self.pipeline.get_bus()
        bus.set_sync_handler(self._on_message)

    def _on_message(self, _bus: object, message: Gst.Message) -> Gst.BusSyncReply:
        if message.type == Gst.MessageType.ERROR:
            error, detail = message.parse_error()
            print(f"{error.message}: {detail}", file=sys.stderr, flush=True)
        return Gst.BusSyncReply.DROP

    def _on_gathering(self, peer: Gst.Element, _spec: object) -> None:
        if peer.props.ice_gathering_state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self.gathered.set()

    def _on_pad(self, _peer: Gst.Element, pad: Gst.Pad) -> None:
        if pad.direction != Gst.PadDirection.SRC:
            return
        if pad.get_current_caps().get_structure(0).get_value("media") == "video":
            chain = "rtph264depay ! avdec_h264 ! appsink name=sink sync=false emit-signals=true"
            on_sample = self._on_picture
        else:
            chain = f"rtp{self.audio.lower()}depay ! {self.law}dec"
            chain += " ! appsink name=sink sync=false emit-signals=true"
            on_sample = self._on_sound
        branch = Gst.parse_bin_from_description("queue ! " + chain, True)
        branch.get_by_name("sink").connect("new-sample", on_sample)
        self.pipeline.add(branch)
        branch.sync_state_with_parent()
        pad.link(branch.get_static_pad("sink"))

    def _on_picture(self, sink: Gst.Element) -> Gst.FlowReturn:
        sample = sink.emit("pull-sample")
        caps = sample.get_caps().get_structure(0)
        self.width, self.height = caps.get_value("width"), caps.get_value("height")
        self.frames += 1
        at = time.monotonic()
        self.pictures.append((at, self._number(sample.get_buffer())))
        return Gst.FlowReturn.OK

    def _number(self, buffer: Gst.Buffer) -> int:
        """What the code strip says, in the lowest ninth of the luma plane: 32 cells in two rows,
        24 bits and a check byte."""
        strip, stride = self.height / 9, (self.width + 3) & ~3
        top = int(self.height - strip)
        luma = buffer.extract_dup(top * stride, (self.height - top) * stride)
        word = 0
        for bit in range(32):
            y = int(self.height - strip + (bit // 16 + 0.5) * strip / 2) - top
            x = int((bit % 16 + 0.5) * self.width / 16)
            word = word << 1 | (luma[y * stride + x] > 125)
        number = word >> 8
        check = (number ^ number >> 8 ^ number >> 16 ^ 0xA5) & 0xFF
        return number if check == word & 0xFF else -1

    def _on_sound(self, sink: Gst.Element) -> Gst.FlowReturn:
        buffer = sink.emit("pull-sample").get_buffer()
        data = memoryview(buffer.extract_dup(0, buffer.get_size())).cast("h")
        for value in data:
            negative = value < 0
            self.crossings += negative != self._last_negative
            self._last_negative = negative
        self.samples += len(data)
        return Gst.FlowReturn.OK

    def offer(self) -> str:
        """Start the pipeline; the complete offer, all candidates in it."""
        self.pipeline.set_state(Gst.State.PLAYING)
        assert self.negotiation.wait(10), "no negotiation-needed"
        promise = Gst.Promise.new()
        self.peer.emit("create-offer", None, promise)
        promise.wait()
        reply = promise.get_reply()  # kept: the description is a view into it
        description = reply.get_value("offer")
        self._describe("set-local-description", description)
        assert self.gathered.wait(10), "gathering did not end"
        return self.peer.props.local_description.sdp.as_text()

    def accept(self, answer: str) -> None:
        result, message = GstSdp.SDPMessage.new_from_text(answer)
        assert result == GstSdp.SDPResult.OK, result
        description = GstWebRTC.WebRTCSessionDescription.new(
            GstWebRTC.WebRTCSDPType.ANSWER, message
        )
        self._describe("set-remote-description", description)

    def _describe(self, action: str, description: GstWebRTC.WebRTCSessionDescription) -> None:
        promise = Gst.Promise.new()
        self.peer.emit(action, description, promise)
        promise.wait()

    def connected(self) -> bool:
        state = self.peer.props.connection_state
        assert state != GstWebRTC.WebRTCPeerConnectionState.FAILED, "the connection failed"
        return state == GstWebRTC.WebRTCPeerConnectionState.CONNECTED

    def figures(self) -> dict[str, object]:
        seconds = self.samples / 8000
        tone = self.crossings / 2 / seconds if seconds else 0.0
        count = len(self.pictures)  # the decoder's thread goes on adding
        pictures, self.pictures[:count] = self.pictures[:count], []
        return {
            "frames": self.frames,
            "width": self.width,
            "height": self.height,
            "samples": self.samples,
            "tone_hz": round(tone, 1),
            "posted": self.posted,
            "pictures": pictures,
        }


def post(url: str, offer: str) -> tuple[str, str]:
    """The answer and the session's URL."""
    request = urllib.request.Request(
        url, offer.encode(), {"Content-Type": "application/sdp"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=15) as reply:
        assert reply.status == 201, reply.status
        return reply.read().decode(), urllib.parse.urljoin(url, reply.headers["Location"])


def main() -> int:
    role, url = sys.argv[1:3]
    audio = sys.argv[3] if len(sys.argv) > 3 else "PCMA"
    Gst.init(None)
    peer = Peer(role, audio)
    offer = peer.offer()
    peer.posted = time.monotonic()
    answer, session = post(url, offer)
    peer.accept(answer)
    deadline = time.monotonic() + 15
    while not peer.connected():
        assert time.monotonic() < deadline, "not connected within 15 s"
        time.sleep(0.02)
    say(event="connected")
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    while not done.wait(0.2):
        if role == "play":
            say(event="media", **peer.figures())
    urllib.request.urlopen(urllib.request.Request(session, method="DELETE"), timeout=10).close()
    peer.pipeline.set_state(Gst.State.NULL)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # no finalizers: see Peer.ice
