"""Fairness: one viewer that asks for everything again, all the time, and what the others notice.

Two windows with the same viewers: a quiet one, and one in which the lossy viewer sends NACKs for
the newest 255 packets of its video a thousand times a second. The others' delays stand side by
side, audio apart that was sent while a key frame was on its way to everybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import aiohttp

from rtcfwd.certs import Certificate

from . import results
from .fanout import STREAM, Bench, Say, Settings
from .media import VIDEO_PT, receiver_feedback
from .peer import Peer
from .rpc import Remote, Worker

_EVERY = 0.001  # seconds between two compounds
_ASKED = 255  # packets a compound: 15 pairs of 17


class Lossy(Worker):
    """One viewer that loses all it gets. Methods are called over :class:`benchmarks.rpc.Remote`."""

    def __init__(self, url: str, address: str) -> None:
        self._peer = Peer(url, address, Certificate.generate())
        self._newest = 0
        self._running = False
        self._next_check = 0.0
        self._asked = self._got = 0

    def join(self) -> None:
        async def run() -> None:
            async with aiohttp.ClientSession() as http:
                await self._peer.join(http)

        asyncio.run(run())

    def ask(self, on: bool) -> tuple[int, int]:
        """Begin or end asking; packets asked and packets received so far."""
        self._running = on
        return self._asked, self._got

    def idle(self) -> float | None:
        if not self._peer.connected:
            return None
        now = time.monotonic()
        self._drain()
        if now >= self._next_check:
            self._next_check = now + 2.5
            with contextlib.suppress(OSError):
                self._peer.sock.send(self._peer.check())
        if not self._running:
            return 0.02
        first = [(self._newest - 17 * i - 16) & 0xFFFF for i in range(_ASKED // 17)]
        data = receiver_feedback(self._peer.ssrcs_in[0], self._newest, 50.0, first, 0xFFFF)
        with contextlib.suppress(OSError):
            self._peer.sock.send(self._peer.tx.protect_rtcp(data))
            self._asked += _ASKED
        return _EVERY

    def _drain(self) -> None:
        while True:
            try:
                data = self._peer.sock.recv(2048)
            except OSError:
                return
            if len(data) > 12 and 128 <= data[0] <= 191 and not 192 <= data[1] <= 223:
                self._got += 1
                if data[1] & 0x7F == VIDEO_PT:
                    self._newest = int.from_bytes(data[2:4])


def run(settings: Settings, say: Say) -> dict[str, Any]:
    """``settings.viewers`` and one more; two windows of ``settings.seconds``."""
    result = results.stamp("fairness")
    bench = Bench(settings, say)
    lossy: Remote | None = None
    try:
        joined = bench.join(settings.viewers)
        lossy = Remote(
            Lossy,
            settings.load_cpu,
            url=f"{bench.server.url}/whep/{STREAM}",
            address=bench.lab.probe_address,
        )
        lossy.call("join")
        time.sleep(1.0)
        quiet = bench.window(settings.seconds)
        asked, got = lossy.call("ask", True)
        loud = bench.window(settings.seconds)
        asked, got = (b - a for a, b in zip((asked, got), lossy.call("ask", False), strict=True))
    finally:
        if lossy is not None:
            lossy.close()
        bench.close()
    rows = [_row("quiet", quiet), _row("one lossy viewer", loud)]
    answers = {
        name.removeprefix("drops."): count
        for name, count in loud["worker"].items()
        if name.startswith("drops.nack")
    }
    result.update(
        {
            "viewers": joined["joined"],
            "bitrate": settings.bitrate,
            "nacked_packets": asked,
            "lossy_viewer_got": got,
            "refused": answers,
            "rows": rows,
        }
    )
    return result


def _row(name: str, figures: dict[str, Any]) -> dict[str, Any]:
    delays = figures["latency_us"]
    return {
        "window": name,
        "ns_per_packet": figures["ns_per_packet"],
        "lost": figures["lost"],
        "kernel_drops": figures["kernel_drops"],
        "latency_p50_us": delays["all"]["p50"],
        "latency_p99_us": delays["all"]["p99"],
        "audio_p99_us": delays["audio"]["p99"],
        "audio_at_key_p99_us": delays["audio_at_key"]["p99"],
        "frame_end_p99_us": delays["frame_end"]["p99"],
        "key_end_p99_us": delays["key_end"]["p99"],
        "caveats": figures["caveats"],
    }
