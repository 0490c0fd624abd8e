"""How a packet's cost grows with the viewers: one server, more and more of them.

At 600 kbit/s a frame is two packets, so runs are as long with ten viewers as with thousands; each
row says how long they were. ``plot`` draws it (matplotlib, of the development extra).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from . import results
from .fanout import Bench, Say, Settings

VIEWERS = (10, 100, 1000, 3000)


def run(settings: Settings, say: Say, viewers: tuple[int, ...] = VIEWERS) -> dict[str, Any]:
    """One window of ``settings.seconds`` at each number of viewers."""
    result = results.stamp("scale")
    rows: list[dict[str, Any]] = []
    bench = Bench(settings, say)
    try:
        there = 0
        for wanted in viewers:
            joined = bench.join(wanted - there, samples=2)
            there = joined["joined"]
            time.sleep(1.0)
            # few viewers make few packets: a longer window for the same precision
            figures = bench.window(settings.seconds * (2 if wanted <= 100 else 1))
            rows.append(
                {
                    "viewers": there,
                    "segmentation": bench.lab.segmentation,
                    "ns_per_packet": figures["ns_per_packet"],
                    "run_length_mean": figures["run_length_mean"],
                    "delivered": figures["delivered"],
                    "lost": figures["lost"],
                    "server_core_percent": figures["server_core_percent"],
                    "latency_p50_us": figures["latency_p50_us"],
                    "latency_p99_us": figures["latency_p99_us"],
                    "caveats": figures["caveats"],
                }
            )
            say(f"{there} viewers: {figures['ns_per_packet']} ns a packet")
            if there < wanted:
                break
        result["engine"] = bench.server.api("server").get("engine")
    finally:
        bench.close()
    result.update({"bitrate": settings.bitrate, "seconds": settings.seconds, "rows": rows})
    cost = {row["viewers"]: row["ns_per_packet"] for row in rows}
    if 100 in cost and 3000 in cost:
        result["growth_3000_over_100"] = round(cost[3000] / cost[100], 2)
    return result


def plot(result: dict[str, Any], path: Path) -> bool:
    """ns per packet over viewers as a PNG; False where matplotlib is missing."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = result["rows"]
    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=120)
    axes.plot([r["viewers"] for r in rows], [r["ns_per_packet"] for r in rows], "o-")
    for row in rows:
        axes.annotate(
            f"{row['ns_per_packet']:.0f} ns\nruns of {row['run_length_mean']:.2f}",
            (row["viewers"], row["ns_per_packet"]),
            textcoords="offset points",
            xytext=(0, 9),
            ha="center",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(
        min(r["ns_per_packet"] for r in rows) / 2, max(r["ns_per_packet"] for r in rows) * 2
    )
    axes.set_xlim(rows[0]["viewers"] / 2, rows[-1]["viewers"] * 2)
    axes.set_xlabel(f"viewers at {result['bitrate'] / 1000:.0f} kbit/s + G.711")
    axes.set_ylabel("server CPU, ns per delivered packet")
    axes.set_title(f"{rows[0]['segmentation']} segmentation, {result['engine']}", fontsize=10)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
    return True
