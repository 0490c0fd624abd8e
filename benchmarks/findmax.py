"""The most viewers that one core carries: loss under 0.01 % and p99 delay under 50 ms.

Viewers are added to one running server step by step, each step is measured, and the first bad step
ends it. A step is bad when it is bad three times: whatever else runs on the machine for a moment
does not end it, and each row says how often it was tried. The delay limit is on audio and on the
last packet of a frame that is no key frame; the key frame's own is printed beside them.
"""

from __future__ import annotations

import time
from typing import Any

from . import results
from .fanout import Bench, Say, Settings
from .peer import PROFILE_NAMES

LOSS_PERCENT = 0.01
DELAY_US = 50_000.0
TRIES = 3


def judge(figures: dict[str, Any]) -> bool:
    """Whether a step is good."""
    delays = figures["latency_us"]
    slow = max((delays[name]["p99"] or 0.0) for name in ("audio", "frame_end"))
    lost = 100 * figures["lost"] / max(figures["packets_sent"], 1)
    return bool(lost < LOSS_PERCENT and slow < DELAY_US)


def run(settings: Settings, say: Say, grow: float, limit: int) -> dict[str, Any]:
    result = results.stamp("findmax")
    result.update({"bitrate": settings.bitrate, "seconds": settings.seconds, "viewers": 0})
    result["nice"] = settings.nice
    rows: list[dict[str, Any]] = []
    bench = Bench(settings, say)
    try:
        there, wanted = 0, settings.viewers
        while wanted <= limit:
            joined = bench.join(wanted - there, samples=settings.samples if not there else 2)
            there = joined["joined"]
            time.sleep(1.0)
            for tries in range(1, TRIES + 1):
                figures = bench.window(settings.seconds)
                row = {**_row(there, bench, figures), "tries": tries}
                if row["good"]:
                    break
                say(f"{there} viewers, try {tries}: {row['caveats'] or 'not good'}")
            rows.append(row)
            say(f"{there} viewers: {row}")
            if not row["good"] or there < wanted:
                break
            result["viewers"] = there
            wanted = max(round(there * grow), there + 1)
        result["engine"] = bench.server.api("server").get("engine")
        result["profile"] = "+".join(PROFILE_NAMES[int(p)] for p in joined["profiles"])
    finally:
        bench.close()
    result["rows"] = rows
    return result


def _row(viewers: int, bench: Bench, figures: dict[str, Any]) -> dict[str, Any]:
    delays = figures["latency_us"]
    return {
        "viewers": viewers,
        "segmentation": bench.lab.segmentation,
        "good": judge(figures),
        "loss_percent": round(100 * figures["lost"] / figures["packets_sent"], 4),
        "ns_per_packet": figures["ns_per_packet"],
        "run_length_mean": figures["run_length_mean"],
        "kernel_drops": figures["kernel_drops"],
        "server_core_percent": figures["server_core_percent"],
        "latency_p50_us": figures["latency_p50_us"],
        "single_p99_us": delays["audio"]["p99"],
        "frame_end_p99_us": delays["frame_end"]["p99"],
        "key_end_p99_us": delays["key_end"]["p99"],
        "caveats": figures["caveats"],
    }
