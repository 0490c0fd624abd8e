"""``rtcfwd publish``: publish a test pattern or a file over WHIP (RFC 9725).

Exit status 0 when the time is up, the file has ended or on Ctrl-C; 1 when publishing failed or the
server ended it; 2 for wrong arguments. ``--stats`` prints one JSON object to standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rtcfwd.client.files import FileTrack, Source
from rtcfwd.client.options import (
    bitrate,
    positive,
    run_client,
    size,
    url,
    wait_for_end,
)
from rtcfwd.client.pattern import PatternTrack, ToneTrack
from rtcfwd.client.peer import Peer, set_bitrate
from rtcfwd.client.report import Line, Rate, bits, clock, loss
from rtcfwd.client.whip import ClientError, Session

TICK = 0.5  # seconds between looks at the counters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", type=url, help="WHIP endpoint, as http://HOST:8080/whip/NAME")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--test", action="store_true", help="a test pattern with a 440 Hz tone (the default)"
    )
    source.add_argument(
        "--file",
        type=Path,
        metavar="F",
        help="a media file; H264 without B-frames, VP8, Opus and G.711 are sent as they are",
    )
    parser.add_argument("--seconds", type=positive, metavar="N", help="stop after N seconds")
    parser.add_argument("--loop", action="store_true", help="start the file again at its end")
    parser.add_argument("--reencode", action="store_true", help="never send the file's own packets")
    parser.add_argument(
        "--video", choices=("h264", "vp8", "none"), help="default: h264, or the file's own"
    )
    parser.add_argument(
        "--audio",
        choices=("pcma", "pcmu", "opus", "none"),
        help="default: pcma, or the file's own, else opus",
    )
    parser.add_argument(
        "--size", type=size, default=(640, 360), metavar="WxH", help="of the pattern: 640x360"
    )
    parser.add_argument("--fps", type=int, default=30, choices=range(1, 31), metavar="1..30")
    parser.add_argument(
        "--bitrate",
        type=bitrate,
        default=2_000_000,
        metavar="B",
        help="of encoded video at most, as 2M or 800k (2M)",
    )
    parser.add_argument("--token", help="sent as Authorization: Bearer")
    parser.add_argument("--stats", action="store_true", help="print one JSON object at the end")


def run(args: argparse.Namespace) -> int:
    """Publish as the parsed arguments say; the exit status."""
    if args.loop and not args.file:
        print("rtcfwd publish: --loop needs --file", file=sys.stderr)
        return 2
    set_bitrate(args.bitrate)
    return run_client("publish", _publish(args))


def _tracks(
    args: argparse.Namespace,
) -> list[tuple[PatternTrack | ToneTrack | FileTrack, str]]:
    """The tracks to publish with their codecs. Raises :class:`ClientError`."""
    if args.file:
        source = Source(
            args.file,
            video=args.video,
            audio=args.audio,
            loop=args.loop,
            reencode=args.reencode,
        )
        pairs = [(source.video, source.video_codec), (source.audio, source.audio_codec)]
        return [(track, codec) for track, codec in pairs if track is not None and codec]
    tracks: list[tuple[PatternTrack | ToneTrack | FileTrack, str]] = []
    video, audio = args.video or "h264", args.audio or "pcma"
    if video != "none":
        tracks.append((PatternTrack(args.size[0], args.size[1], args.fps), video))
    if audio != "none":
        tracks.append((ToneTrack(48000 if audio == "opus" else 8000), audio))
    if not tracks:
        raise ClientError("with --video none and --audio none there is nothing to publish")
    return tracks


async def _publish(args: argparse.Namespace) -> int:
    tracks = _tracks(args)
    line = Line()
    async with Session(args.url, "publish", token=args.token) as session:
        peer = Peer(session)
        done = asyncio.Event()
        try:
            senders = []
            for track, codec in tracks:
                track.on("ended", done.set)
                senders.append((peer.send(track, [codec]).sender, track))
            await peer.connect()
            for kind in ("video", "audio"):
                if any(t.kind == kind for t, _ in tracks) and not peer.codec(kind):
                    raise ClientError(f"the server takes no {kind} in this codec")
            assert peer.connected_ms is not None
            line.note(f"publishing {args.url}  (connected in {peer.connected_ms:.0f} ms)")
            figures = await _watch(peer, senders, done, args.seconds, line)
        finally:
            line.end()
            await peer.close()
            for track, _ in tracks:
                track.stop()
    if args.stats:
        print(json.dumps({"url": args.url, **figures}), flush=True)
    for track, _ in tracks:
        if isinstance(track, FileTrack) and track.error is not None:
            error = track.error
            raise ClientError(f"{args.file} cannot be read: {error or type(error).__name__}")
    if figures["ended"] not in ("time", "source", "interrupted"):
        raise ClientError(f"publishing ended after {figures['seconds']:.1f} s: {figures['ended']}")
    return 0


async def _watch(
    peer: Peer,
    senders: Sequence[tuple[Any, PatternTrack | ToneTrack | FileTrack]],
    done: asyncio.Event,
    seconds: float | None,
    line: Line,
) -> dict[str, Any]:
    """Show progress until the time is up, a track ends or the connection does; the figures."""
    start = time.monotonic()
    rates = {"bits": Rate(), "frames": Rate()}
    figures: dict[str, Any] = {"connected_ms": round(peer.connected_ms or 0, 1)}
    finished: asyncio.Task[Any] = asyncio.create_task(done.wait())
    waited: list[asyncio.Future[Any]] = [finished, peer.ended]
    interrupted = False
    try:
        while True:
            elapsed = time.monotonic() - start
            left = TICK if seconds is None else min(TICK, seconds - elapsed)
            if left > 0:
                interrupted = await wait_for_end(waited, left)
            now = time.monotonic()
            figures["seconds"] = round(now - start, 2)
            parts = ["publish", clock(now - start)]
            sent = 0
            for sender, track in senders:
                kind = await _sender_figures(sender, track, peer.codec(track.kind))
                figures[track.kind] = kind
                sent += kind["bytes"]
                if track.kind == "video":
                    parts += [kind["size"], kind["codec"]]
                    parts.append(f"{rates['frames'].add(now, kind['frames']):.1f} fps")
                else:
                    parts.append(kind["codec"])
            parts.append(bits(rates["bits"].add(now, 8 * sent)))
            main = figures.get("video") or figures["audio"]
            parts.append(loss(main["lost"], main["packets"]))
            if main["rtt_ms"] is not None:
                parts.append(f"rtt {main['rtt_ms']:.1f} ms")
            line.show(parts)
            if interrupted or peer.ended.done() or done.is_set() or left <= 0:
                break
    finally:
        finished.cancel()
    if peer.ended.done():
        figures["ended"] = peer.ended.result()
    elif done.is_set():
        figures["ended"] = "source"
    else:
        figures["ended"] = "interrupted" if interrupted else "time"
    return figures


async def _sender_figures(sender: Any, track: Any, codec: str | None) -> dict[str, Any]:
    figures: dict[str, Any] = {"codec": codec, "frames": track.frames, "rtt_ms": None, "lost": 0}
    size = getattr(track, "size", None)
    figures["size"] = f"{size[0]}x{size[1]}" if size else ""
    figures |= {"packets": 0, "bytes": 0}
    for entry in (await sender.getStats()).values():
        if entry.type == "outbound-rtp":
            figures |= {"packets": entry.packetsSent, "bytes": entry.bytesSent}
        elif entry.type == "remote-inbound-rtp":
            figures["lost"] = max(figures["lost"], entry.packetsLost)
            if entry.roundTripTime is not None:
                figures["rtt_ms"] = round(entry.roundTripTime * 1000, 2)
    return figures
