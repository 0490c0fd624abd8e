"""A viewer whose way carries 500 kbit/s of a stream of 2.5 Mbit/s: sound, and what picture it gets.

The bottleneck's queue holds a second, so a server that does not notice fills it: sound comes late
and in pieces. A neighbour on a free way shows that nobody else suffers.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from ..media import FPS
from .clip import Source
from .lab import Lab, Tab

SECONDS = 14.0
RATE = 500_000
QUEUE = 62_500  # bytes: a second
DELAY = 0.025
SOURCE = Source(bitrate=2_500_000, gop=2, seconds=20)


def seconds_of(tab: Tab) -> list[dict[str, float]]:
    """Second by second from the first packet: pictures decoded, share of sound concealed, kbit/s,
    and seconds of freeze."""
    samples = tab.stats()
    rows: list[dict[str, float]] = []
    if not samples:
        return rows
    older = samples[0]
    for sample in samples[1:]:
        span = sample["t"] - older["t"]
        if span < 0.95:
            continue
        video, audio = sample["video"], sample["audio"]
        was, heard = older["video"], older["audio"]

        def grown(new: dict[str, Any], old: dict[str, Any], name: str) -> float:
            return float(new.get(name, 0) - old.get(name, 0))

        played = grown(audio, heard, "totalSamplesReceived")
        received = grown(video, was, "bytesReceived") + grown(audio, heard, "bytesReceived")
        concealed = grown(audio, heard, "concealedSamples")
        rows.append(
            {
                "at": round(sample["t"] - samples[0]["t"], 2),
                "pictures": round(grown(video, was, "framesDecoded") / span, 1),
                "concealed": round(concealed / played, 4) if played else 0.0,
                "kbit": round(received * 8 / span / 1000, 1),
                "frozen": round(grown(video, was, "totalFreezesDuration"), 3),
            }
        )
        older = sample
    return rows


def longest_stand(tab: Tab) -> float:
    """Seconds between two decoded pictures at most, from the POST until now."""
    moments = [tab.posted(), *(at for at, _, _ in tab.frames())]
    moments.append(tab.moment(tab.evaluate("performance.now()")))
    return max((b - a for a, b in pairwise(moments)), default=0.0)


def run(lab: Lab, seconds: float = SECONDS) -> dict[str, Any]:
    """The two viewers for so many seconds."""
    with lab.part() as part:
        server = part.server()
        stream = part.stream(server, "narrow", SOURCE)
        link = part.link(server, delay=DELAY)
        link.down.rate, link.down.queue = RATE, QUEUE
        tab, free = part.tab(server, link), part.tab(server)
        free.watch(stream.name)
        free.wait_frames(FPS)
        tab.watch(stream.name)
        time.sleep(seconds)
        curve = seconds_of(tab)
        later = [row for row in curve if row["at"] > 5.0]
        last = tab.stats()[-1]
        beeps = tab.beeps()
        lags = [lag for _, lag in stream.lags(tab)]
        neighbour = free.stats()[-1]["video"]
        stand = longest_stand(tab)
        result = {
            "rate": RATE,
            "seconds": seconds,
            "pictures_per_second": _mean(later, "pictures"),
            "audio_concealed_share": _mean(later, "concealed"),
            "audio_concealed_share_first_5_s": _mean(curve[: len(curve) - len(later)], "concealed"),
            "freeze_share": round(
                last["video"].get("totalFreezesDuration", 0.0) / max(curve[-1]["at"], 1), 4
            ),
            "longest_stand_s": round(stand, 2),
            "lag_ms_last": round(1000 * lags[-1], 1) if lags else None,
            "beeps_heard": len(beeps),
            "beep_delay_ms": _late([at - (stream.start - 1 / FPS) for at in beeps[-5:]]),
            "overflowed": link.down.overflowed,
            "passed": link.down.passed,
            "neighbour_freezes": neighbour.get("freezeCount", 0),
            "neighbour_lost": neighbour.get("packetsLost", 0),
            "curve": curve,
            "link_late_ms": part.late_ms(),
        }
    lab.say(
        f"narrow: {result['pictures_per_second']} pictures/s, "
        f"{result['audio_concealed_share']:.1%} of sound concealed"
    )
    return result


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return round(sum(row[name] for row in rows) / len(rows), 4) if rows else 0.0


def _late(beeps: list[float]) -> float | None:
    """How long after a whole second beeps are heard, ms; the median."""
    late = sorted(1000 * (at % 1.0) for at in beeps)
    return round(late[len(late) // 2], 1) if late else None
