"""``rtcfwd play``: watch a stream over WHEP, count what comes, and write it to a file if asked.

Exit status 0 when the time is up, when the stream ends after something was received, or on Ctrl-C;
1 when nothing came or the server refused; 2 for wrong arguments. ``--stats`` prints one JSON object
to standard output. Pictures of the test pattern are recognised by their code strip and checked for
gaps and order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from rtcfwd.client.options import positive, run_client, url, wait_for_end
from rtcfwd.client.pattern import read_number
from rtcfwd.client.peer import Peer
from rtcfwd.client.recorder import SUFFIXES, Recorder
from rtcfwd.client.report import (
    Line,
    PatternCheck,
    Rate,
    bits,
    clock,
    loss,
    received_packets,
    transport_bytes,
)
from rtcfwd.client.whip import ClientError, Session

TICK = 0.5
CODECS = {"video": ("h264", "vp8"), "audio": ("pcma", "pcmu", "opus")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", type=url, help="WHEP endpoint, as http://HOST:8080/whep/NAME")
    parser.add_argument("--seconds", type=positive, metavar="N", help="stop after N seconds")
    parser.add_argument(
        "-o",
        dest="output",
        type=Path,
        metavar="FILE",
        help="write to .mkv (lossless), .mp4, .mov, .y4m (pictures only) or .wav (sound only)",
    )
    parser.add_argument(
        "--video", choices=(*CODECS["video"], "none"), help="offer only this codec (default: both)"
    )
    parser.add_argument(
        "--audio", choices=(*CODECS["audio"], "none"), help="offer only this codec (default: all)"
    )
    parser.add_argument(
        "--wait",
        type=positive,
        metavar="N",
        help="wait up to N seconds for somebody to publish (default: fail at once)",
    )
    parser.add_argument("--token", help="sent as Authorization: Bearer")
    parser.add_argument("--stats", action="store_true", help="print one JSON object at the end")


def run(args: argparse.Namespace) -> int:
    """Play as the parsed arguments say; the exit status."""
    if args.output and args.output.suffix.lower() not in SUFFIXES:
        print(f"rtcfwd play: -o takes files in {', '.join(SUFFIXES)}", file=sys.stderr)
        return 2
    if args.output and not args.output.absolute().parent.is_dir():
        print(f"rtcfwd play: {args.output.parent} is not a folder", file=sys.stderr)
        return 2
    if args.video == "none" and args.audio == "none":
        print("rtcfwd play: --video none and --audio none leave nothing to play", file=sys.stderr)
        return 2
    return run_client("play", _play(args))


class Sink:
    """Takes the frames of one track and counts them; seconds are of the stream's own clock."""

    def __init__(self, kind: str, asked_at: float, recorder: Recorder | None) -> None:
        self.kind = kind
        self.frames = 0
        self.samples = 0
        self.size = ""
        self.sizes: list[str] = []
        self.first_ms: float | None = None  # from the POST to the first decoded frame
        self.longest_gap = 0.0  # seconds between two frames' arrivals, after the first second
        self.check = PatternCheck()
        self._asked_at = asked_at
        self._recorder = recorder
        self._span = (0.0, 0.0)
        self._first = self._last = 0.0

    async def drain(self, track: MediaStreamTrack) -> None:
        """Until the track ends."""
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            self._count(frame)
            if self._recorder is not None:
                # Usually immediate; a slow encoder holds up reading, never the event loop.
                await asyncio.to_thread(self._recorder.write, frame)

    def _count(self, frame: Any) -> None:
        now = time.monotonic()
        if self.first_ms is None:
            self.first_ms = (now - self._asked_at) * 1000
            self._first = now
            self._span = (frame.time, frame.time)
        elif now - self._first > 1:
            self.longest_gap = max(self.longest_gap, now - self._last)
        self._last = now
        self._span = (self._span[0], max(self._span[1], frame.time))
        self.frames += 1
        if isinstance(frame, VideoFrame):
            size = f"{frame.width}x{frame.height}"
            if size != self.size:
                self.size = size
                self.sizes.append(size)
            self.check.add(read_number(frame))
        else:
            self.samples += frame.samples

    def figures(self, peer: Peer, receiver: Any) -> dict[str, Any]:
        received, lost = received_packets(receiver)
        span = self._span[1] - self._span[0]
        figures: dict[str, Any] = {
            "codec": peer.codec(self.kind),
            "frames": self.frames,
            "packets": received,
            "lost": lost,
            "first_ms": None if self.first_ms is None else round(self.first_ms, 1),
            "longest_gap_ms": round(1000 * self.longest_gap, 1),
        }
        if self.kind == "video":
            figures["fps"] = round((self.frames - 1) / span, 2) if span > 0 else 0.0
            figures["size"] = self.size
            figures["sizes"] = self.sizes
        else:
            figures["samples"] = self.samples
        return figures


async def _play(args: argparse.Namespace) -> int:
    line = Line()
    give_up = time.monotonic() + (args.wait or 0)
    while True:
        try:
            return await _play_once(args, line)
        except ClientError as error:
            left = give_up - time.monotonic()
            if error.retry_after is None or left <= 0:
                raise
            line.show([f"waiting: {error}"])
            await asyncio.sleep(min(error.retry_after, left))


async def _play_once(args: argparse.Namespace, line: Line) -> int:
    wanted = {
        kind: [getattr(args, kind)] if getattr(args, kind) else list(codecs)
        for kind, codecs in CODECS.items()
        if getattr(args, kind) != "none"
    }
    recorder: Recorder | None = None
    tasks: list[asyncio.Task[None]] = []
    async with Session(args.url, "play", token=args.token) as session:
        peer = Peer(session)
        try:
            receivers = {k: peer.receive(k, codecs).receiver for k, codecs in wanted.items()}
            await peer.connect()
            if args.output:
                recorder = Recorder(args.output, set(receivers))
            sinks = {kind: Sink(kind, peer.asked_at, recorder) for kind in receivers}
            tasks = [
                asyncio.create_task(sinks[kind].drain(receiver.track))
                for kind, receiver in receivers.items()
            ]
            assert peer.connected_ms is not None
            line.note(f"playing {args.url}  (connected in {peer.connected_ms:.0f} ms)")
            figures = await _watch(peer, receivers, sinks, args.seconds, line)
        finally:
            line.end()
            await peer.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if recorder is not None:
                await asyncio.to_thread(recorder.close)
    if args.stats:
        print(json.dumps({"url": args.url, **figures}), flush=True)
    if not any(sink.frames for sink in sinks.values()):
        raise ClientError(f"nothing was received in {figures['seconds']:.1f} s")
    if args.output:
        line.note(f"written: {args.output}")
    return 0


async def _watch(
    peer: Peer,
    receivers: dict[str, Any],
    sinks: dict[str, Sink],
    seconds: float | None,
    line: Line,
) -> dict[str, Any]:
    """Show progress until the time is up or the connection ends; the figures."""
    start = time.monotonic()
    frame_rate, bit_rate = Rate(), Rate()
    total = 0
    interrupted = False
    while True:
        elapsed = time.monotonic() - start
        left = TICK if seconds is None else min(TICK, seconds - elapsed)
        if left > 0:
            interrupted = await wait_for_end([peer.ended], left)
        now = time.monotonic()
        total = await transport_bytes(peer.pc, "received") or total
        parts = ["play", clock(now - start)]
        received = lost = 0
        for kind, sink in sinks.items():
            got = received_packets(receivers[kind])
            received, lost = received + got[0], lost + max(0, got[1])
            parts += [sink.size, peer.codec(kind) or ""]
            if kind == "video":
                parts.append(f"{frame_rate.add(now, sink.frames):.1f} fps")
        parts += [bits(bit_rate.add(now, 8 * total)), loss(lost, received)]
        first = _first_frame(sinks)
        if first is not None:
            parts.append(f"first frame {first:.0f} ms")
        line.show(parts)
        if interrupted or peer.ended.done() or left <= 0:
            break
    lasted = time.monotonic() - start
    figures: dict[str, Any] = {
        "seconds": round(lasted, 2),
        "connected_ms": round(peer.connected_ms or 0, 1),
        "first_frame_ms": None if first is None else round(first, 1),
        "bitrate_kbps": round(8 * total / lasted / 1000, 1) if lasted > 0 else 0.0,
        "ended": _why_ended(peer, interrupted),
    }
    for kind, sink in sinks.items():
        figures[kind] = sink.figures(peer, receivers[kind])
    if "video" in sinks and sinks["video"].check.read:
        figures["pattern"] = sinks["video"].check.as_dict()
    return figures


def _why_ended(peer: Peer, interrupted: bool) -> str:
    if peer.ended.done():
        return peer.ended.result()
    return "interrupted" if interrupted else "time"


def _first_frame(sinks: dict[str, Sink]) -> float | None:
    """Time to the first picture; to the first sound where no video was asked for."""
    return sinks["video"].first_ms if "video" in sinks else sinks["audio"].first_ms
