"""The three ways of sending in one run: one send per packet, sendmmsg, GSO.

Three servers with the same viewers stand side by side on the same core; their windows take turns,
software segmentation and device segmentation as well, so that whatever else the machine does
hits all of them alike. Figures are of all windows of a server together.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from . import results
from .fanout import Bench, Say, Settings, open_lab
from .netlab import Loopback

MODES = ("sendto", "sendmmsg", "gso")


def run(settings: Settings, say: Say, rounds: int = 3) -> dict[str, Any]:
    """``settings.seconds`` for each window; ``settings.egress`` and ``segmentation`` do not
    matter."""
    result = results.stamp("egress")
    lab = open_lab(settings, say)
    benches: dict[str, Bench] = {}
    windows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    try:
        for mode in MODES:
            # a publisher that waits for its turn must not be given up
            options = [o for o in settings.server_options if not o.startswith("--egress")]
            options += [f"--egress={mode}", "--grace=600", "--idle-timeout=600"]
            one = dataclasses.replace(settings, egress=mode, server_options=options)
            benches[mode] = Bench(one, say, lab)
            benches[mode].join(settings.viewers)
            time.sleep(1.0)  # the last joiners' start bursts
            benches[mode].publisher.call("pause")
        segmentations = ("loopback",) if isinstance(lab, Loopback) else ("software", "device")
        for number in range(rounds):
            for segmentation in segmentations:
                if not isinstance(lab, Loopback):
                    lab.segment(segmentation)
                for mode, bench in benches.items():
                    say(f"round {number + 1}: {mode}, {segmentation}")
                    figures = bench.window(settings.seconds)
                    windows.setdefault((segmentation, mode), []).append(figures)
        about = benches["gso"].server.api("server")
    finally:
        for bench in benches.values():
            bench.close()
        lab.close()
    rows = [_row(segmentation, mode, one) for (segmentation, mode), one in windows.items()]
    best = {row["segmentation"]: row["packets_per_cpu_s"] for row in rows if row["egress"] == "gso"}
    for row in rows:
        row["gso_gain"] = round(best[row["segmentation"]] / row["packets_per_cpu_s"], 2)
    result.update(
        {
            "viewers": settings.viewers,
            "bitrate": settings.bitrate,
            "seconds": settings.seconds * rounds,
            "engine": about.get("engine"),
            "rows": rows,
        }
    )
    return result


def _row(segmentation: str, mode: str, windows: list[dict[str, Any]]) -> dict[str, Any]:
    delivered = sum(w["delivered"] for w in windows)
    cpu = sum(w["server_cpu_s"] for w in windows)
    calls = sum(w["worker"].get("send_calls", 0) for w in windows)
    caveats = sorted({c for w in windows for c in w["caveats"]})
    return {
        "segmentation": segmentation,
        "egress": mode,
        "delivered": delivered,
        "lost": sum(w["lost"] for w in windows),
        "ns_per_packet": round(cpu / delivered * 1e9, 1),
        "packets_per_cpu_s": round(delivered / cpu),
        "send_calls_per_packet": round(calls / delivered, 4),
        "run_length_mean": windows[-1]["run_length_mean"],
        "latency_p99_us": max(w["latency_p99_us"] for w in windows),
        "caveats": caveats,
    }
