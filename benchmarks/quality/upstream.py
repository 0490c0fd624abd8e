"""Chromium publishes at 2.5 Mbit/s; its way up becomes a bottleneck of 1 Mbit/s and free again.

The rates are what Chromium sent, from its getStats, over a second each; what overflowed the
bottleneck's queue is the link's own figure.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from ..waiting import wait_for
from .lab import Lab, Tab

TARGET = 2_500_000
NARROW = 1_000_000
QUEUE = 37_500  # bytes: 300 ms at the narrow rate
DELAY = 0.025
OPEN_SECONDS, NARROW_SECONDS = 11.0, 10.0
AGAIN_SECONDS = 40.0  # at most
ENOUGH = 0.9  # of the rate before the bottleneck, or of the target


def sent_rate(samples: list[dict[str, Any]], window: float = 1.0) -> list[tuple[float, float]]:
    """(moment, bit/s of video over the last ``window`` seconds)."""
    points = []
    for i, sample in enumerate(samples):
        older = [s for s in samples[:i] if sample["t"] - s["t"] >= window]
        if older and "bytesSent" in sample["video"] and "bytesSent" in older[-1]["video"]:
            grown = sample["video"]["bytesSent"] - older[-1]["video"]["bytesSent"]
            points.append((sample["t"], 8 * grown / (sample["t"] - older[-1]["t"])))
    return points


def reached(points: list[tuple[float, float]], since: float, rate: float) -> float | None:
    """Seconds after ``since`` until the rate was reached; None: never."""
    return next((round(t - since, 2) for t, bits in points if t > since and bits >= rate), None)


def fell(points: list[tuple[float, float]], since: float, rate: float) -> float | None:
    """Seconds after ``since`` until it was kept for 2 s."""
    for i, (t, _) in enumerate(points):
        later = [bits for u, bits in points[i:] if u <= t + 2.0]
        if t > since and max(later) <= rate:
            return round(t - since, 2)
    return None


def _between(points: list[tuple[float, float]], start: float, end: float) -> float | None:
    chosen = [bits for t, bits in points if start <= t <= end]
    return round(statistics.median(chosen)) if chosen else None


def run(lab: Lab) -> dict[str, Any]:
    """Open, narrow, open again."""
    with lab.part() as part:
        server = part.server()
        link = part.link(server, delay=DELAY)
        query = "publish=up&source=pattern&video=H264&audio=PCMA&size=640x360"
        tab: Tab = part.tab(server, link, f"{query}&b={TARGET // 1000}&auto=1")
        wait_for(
            lambda: tab.evaluate("(probe.stats.at(-1) || {}).video?.packetsSent"), "video is sent"
        )
        begin = tab.stats()[0]["t"]
        time.sleep(max(0.0, begin + OPEN_SECONDS - time.monotonic()))
        link.up.queue, link.up.rate = QUEUE, NARROW
        narrowed = time.monotonic()
        time.sleep(NARROW_SECONDS)
        overflowed = link.up.overflowed
        link.up.rate = 0.0
        freed = time.monotonic()
        before = _between(sent_rate(tab.stats()), narrowed - 4, narrowed) or 0
        end = freed + AGAIN_SECONDS
        while time.monotonic() < end:  # until it has its rate again, and five seconds more
            time.sleep(1.0)
            since = reached(sent_rate(tab.stats()), freed, ENOUGH * before)
            if since is not None:
                end = min(end, freed + since + 5.0)
        done = time.monotonic()
        samples = tab.stats()
        points = sent_rate(samples)
        pair = [(s["t"], s.get("pair", {}).get("availableOutgoingBitrate")) for s in samples]
        late = part.late_ms()
    recovery = reached(points, freed, ENOUGH * before)
    result = {
        "rate_recovery_s": recovery,
        "reach_s": reached(points, begin, ENOUGH * TARGET),
        "before_bps": before,
        "narrow_bps": _between(points, freed - 5, freed),
        "settle_s": fell(points, narrowed, 1.1 * NARROW),
        "after_bps": _between(points, done - 4, done),
        "overflowed": overflowed,
        "bottleneck_bps": NARROW,
        "target_bps": TARGET,
        "narrowed_at": round(narrowed - begin, 2),
        "freed_at": round(freed - begin, 2),
        "curve": [(round(t - begin, 2), round(bits)) for t, bits in points],
        "allowed": [(round(t - begin, 2), bits) for t, bits in pair if bits],
        "link_late_ms": late,
    }
    lab.say(f"upstream: reached in {result['reach_s']} s, recovered in {recovery} s")
    return result
