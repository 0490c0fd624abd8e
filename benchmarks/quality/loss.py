"""How much of what the viewer's way loses is repaired in time, and how long the picture stands.

Two viewers of one stream at once, each through a link of its own with 50 ms of round trip: one
loses 10 % of the datagrams at random, the other 5 % in bursts of 5 on average. The way back, with
the viewer's NACKs, loses as much; then once more with a way back that loses nothing. Headlines are
of loss both ways, the worse case. A lost packet was repaired in time if the picture that it belongs
to was decoded: links tell which packets of which pictures they lost, the tab which pictures it saw.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from ..link import Link, Seen
from ..media import FPS, VIDEO_CLOCK
from .clip import Source, unwrap
from .lab import Lab, Stream, Tab

SECONDS = 20.0
SETTLED = 5.0  # seconds after the first picture in which the server learns of the loss
DELAY = 0.025  # each way
KINDS = {"random": {"loss": 0.10}, "bursts": {"loss": 0.05, "burst": 5.0}}
SOURCE = Source(bitrate=2_500_000, gop=2, seconds=20)
_STEP = VIDEO_CLOCK // FPS
_AUDIO_SIZE = 300  # bytes; no video packet stream is all below it


def by_kind(seen: list[Seen]) -> dict[str, list[Seen]]:
    """What a way saw as ``video``, ``audio`` and ``rtx`` (RFC 4588), told apart by their sizes."""
    streams: dict[int, list[Seen]] = {}
    for packet in seen:
        streams.setdefault(packet.ssrc, []).append(packet)
    found: dict[str, list[Seen]] = {"video": [], "audio": [], "rtx": []}
    for one in sorted(streams.values(), key=lambda s: -sum(p.size for p in s)):
        sizes = {p.size for p in one}
        if len(one) > 1 and max(sizes) < _AUDIO_SIZE and len(sizes) < 4:
            found["audio"] += one
        elif not found["video"]:
            found["video"] = one
        else:
            found["rtx"] += one
    return found


def repaired(video: list[Seen], numbers: list[int], period: int, skip: int = 0) -> dict[str, Any]:
    """``video``: packets as the link saw them; ``numbers``: of the pictures decoded, the first of
    which is the first that came through the link. The last second is left out: it may be under
    repair. ``skip``: pictures at the begin that are left out, too."""
    shown = unwrap(numbers, period)
    if not shown or not video:
        raise RuntimeError("no picture was decoded")
    decoded = {number - shown[0] for number in shown}
    first = video[0].timestamp
    lost: Counter[int] = Counter()
    end = max(decoded) - FPS
    for packet in video:
        picture = ((packet.timestamp - first) & 0xFFFFFFFF) // _STEP
        if packet.fate != "passed" and skip <= picture <= end:
            lost[picture] += 1
    gone = [picture for picture in range(skip, end + 1) if picture not in decoded]
    never = sum(lost[picture] for picture in gone)
    total = lost.total()
    return {
        "pictures": max(end + 1 - skip, 0),
        "pictures_never_decoded": len(gone),
        "lost_packets": total,
        "never_repaired": never,
        "repair_rate": round(1 - never / total, 5) if total else None,
    }


def _frozen(samples: list[dict[str, Any]], since: float) -> float | None:
    """Share of the time after ``since`` that the picture stood."""
    later = [s for s in samples if s["t"] >= since]
    if len(later) < 2:
        return None
    first, last = later[0], later[-1]
    frozen = last["video"]["totalFreezesDuration"] - first["video"]["totalFreezesDuration"]
    return round(frozen / (last["t"] - first["t"]), 5)


def watched(tab: Tab, link: Link, stream: Stream) -> dict[str, Any]:
    """All figures of a viewer behind a link whose ``down.keep`` is set."""
    kinds = by_kind(link.down.seen)
    numbers = [number for _, number, _ in tab.frames()]
    samples = [s for s in tab.stats() if s["video"].get("framesDecoded", 0) > 0]
    if not samples:
        raise RuntimeError("no picture was decoded")
    first, last = samples[0], samples[-1]
    seconds = last["t"] - first["t"]
    video, audio = last["video"], last["audio"]
    frozen = video.get("totalFreezesDuration", 0.0) - first["video"].get("totalFreezesDuration", 0)
    lags = [lag for at, lag in stream.lags(tab) if at > first["t"] + 2.0]
    emitted = video["jitterBufferEmittedCount"] - first["video"]["jitterBufferEmittedCount"]
    buffered = video["jitterBufferDelay"] - first["video"]["jitterBufferDelay"]
    return {
        **repaired(kinds["video"], numbers, stream.source.seconds * FPS),
        "seconds": round(seconds, 1),
        "packets": len(kinds["video"]),
        "rtx_sent": len(kinds["rtx"]),
        "rtx_lost": sum(p.fate != "passed" for p in kinds["rtx"]),
        "rtx_received": video.get("retransmittedPacketsReceived", 0),
        "lost_by_stats": video["packetsLost"],
        "nacks": video["nackCount"],
        "plis": video["pliCount"],
        "freezes": video["freezeCount"],
        "freeze_s": round(frozen, 3),
        "freeze_share": round(frozen / seconds, 5),
        "freeze_share_later": _frozen(samples, first["t"] + SETTLED),
        "frames_per_second": round(
            (video["framesDecoded"] - first["video"]["framesDecoded"]) / seconds, 2
        ),
        "dropped": video["framesDropped"],
        "lag_ms_median": round(1000 * sorted(lags)[len(lags) // 2], 1) if lags else None,
        "lag_ms_p95": round(1000 * sorted(lags)[len(lags) * 95 // 100], 1) if lags else None,
        "jitter_buffer_ms": round(1000 * buffered / emitted, 1) if emitted else None,
        "audio_concealed_share": round(
            (audio["concealedSamples"] - audio.get("silentConcealedSamples", 0))
            / max(audio["totalSamplesReceived"], 1),
            5,
        ),
    }


def run(lab: Lab, seconds: float = SECONDS) -> dict[str, Any]:
    """Both viewers for so many seconds, with loss both ways and with loss downstream alone."""
    both, both_late = _viewers(lab, seconds, "", back=True)
    alone, alone_late = _viewers(lab, seconds, ", downstream alone", back=False)
    return {
        "repair_rate": min((r["repair_rate"] or 0.0 for r in both), default=None),
        "freeze_share": max(r["freeze_share"] for r in both),
        "rows": both + alone,
        "link_late_ms": max(both_late, alone_late),
    }


def _viewers(
    lab: Lab, seconds: float, suffix: str, *, back: bool
) -> tuple[list[dict[str, Any]], int]:
    """Rows, and how late the links were. ``back``: the way back loses as much."""
    rows = []
    with lab.part() as part:
        server = part.server()
        stream = part.stream(server, "loss", SOURCE)
        viewers = []
        for kind, settings in KINDS.items():
            link = part.link(server, delay=DELAY, **settings)
            link.down.keep = True
            if not back:
                link.up.loss = link.up.burst = 0.0
            viewers.append((kind, link, part.tab(server, link)))
        for _, _, tab in viewers:
            tab.watch(stream.name)
        for _, _, tab in viewers:
            tab.wait_frames(5)
        time.sleep(seconds)
        for kind, link, tab in viewers:
            curve = [
                (round(at - tab.posted(), 3), round(lag, 4)) for at, lag in stream.lags(tab)
            ]  # fmt: skip
            rows.append({"loss": kind + suffix, **watched(tab, link, stream), "curve": curve})
            lab.say(
                f"loss {kind}{suffix}: repaired {rows[-1]['repair_rate']}, "
                f"frozen {rows[-1]['freeze_share']:.2%}"
            )
        return rows, part.late_ms()
