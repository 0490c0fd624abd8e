"""A join storm: how many viewers a second get from POST to SRTP keys while a stream is forwarded,
and how long the sampled ones wait for their first media packet.

The joining side is Python on the other core; when that core is busy, the figure is a lower bound
and the result says so.
"""

from __future__ import annotations

import time
from typing import Any

from . import results
from .fanout import Bench, Say, Settings
from .server import core_busy_ns


def run(settings: Settings, say: Say) -> dict[str, Any]:
    result = results.stamp("joins")
    bench = Bench(settings, say)
    try:
        at, load, core = (
            time.monotonic(),
            core_busy_ns(settings.load_cpu),
            core_busy_ns(settings.server_cpu),
        )
        joined = bench.join(settings.viewers)
        wall = time.monotonic() - at
        load = core_busy_ns(settings.load_cpu) - load
        core = core_busy_ns(settings.server_cpu) - core
        time.sleep(1.0)
        first = bench.viewers.call("first_media_s")
        rss = bench.server.usage().rss - bench.rss_before
    finally:
        bench.close()
    count = max(joined["joined"], 1)
    times = joined["join_s"]

    def milliseconds(percent: float, times: list[float] = times) -> float | None:
        value = results.percentile(times, percent)
        return None if value is None else round(value * 1000, 1)

    load_percent = round(100 * load / wall / 1e9, 1)
    result.update(
        {
            "viewers": joined["joined"],
            "at_once": settings.at_once,
            "nice": settings.nice,
            "failures": len(joined["failures"]),
            "first_failure": joined["failures"][:1],
            "joins_per_second": round(joined["joined"] / joined["seconds"], 1),
            "drops": joined["drops"],
            "join_p50_ms": milliseconds(50),
            "join_p99_ms": milliseconds(99),
            "first_packet_p50_ms": milliseconds(50, first),
            "first_packet_max_ms": milliseconds(100, first),
            "server_cpu_us_per_join": round(joined["server_cpu_ns"] / count / 1000, 1),
            "server_core_busy_percent": round(100 * core / wall / 1e9, 1),
            "load_core_busy_percent": load_percent,
            "rss_bytes_per_viewer": round(rss / count),
            "caveats": ["the joining side was the limit"] if load_percent > 90 else [],
        }
    )
    return result
