"""A join storm: how many viewers a second get from POST to SRTP keys while a stream is forwarded,
how long they wait for their first media packet, and what those who are watching notice of it.

Two placements, since a server with one worker has two threads that matter: Python on the worker's
core, where it takes the worker's time, and on the other one, where it shares with the joining
side (another Python, which needs as much for a join as the server does). Some viewers watch
throughout; their delays in a quiet window and during the storm stand side by side.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from . import results
from .fanout import Bench, Say, Settings
from .server import core_busy_ns

WATCHERS = 100


def run(settings: Settings, say: Say) -> dict[str, Any]:
    """``settings.viewers`` join at each placement, ``settings.seconds`` is the quiet window."""
    result = results.stamp("joins")
    rows = []
    for name, core in (("worker's core", None), ("other core", settings.load_cpu)):
        one = dataclasses.replace(settings, python_cpu=core)
        rows.append({"python": name, **_storm(one, say)})
    result.update({"at_once": settings.at_once, "watchers": WATCHERS, "rows": rows})
    return result


def _storm(settings: Settings, say: Say) -> dict[str, Any]:
    bench = Bench(settings, say)
    joined: dict[str, Any] = {}
    try:
        bench.join(WATCHERS)
        time.sleep(1.0)
        quiet = bench.window(settings.seconds)
        joiners = bench.more_viewers()
        before = bench.server.usage()
        busy = [core_busy_ns(settings.server_cpu), core_busy_ns(settings.load_cpu)]

        def storm() -> None:
            say(f"{settings.viewers} join")
            joined.update(
                joiners.call("join", settings.viewers, 4, settings.at_once, timeout=120.0)
            )
            joined["cpu_ns"] = bench.server.usage().cpu_ns - before.cpu_ns
            after = [core_busy_ns(settings.server_cpu), core_busy_ns(settings.load_cpu)]
            joined["busy_ns"] = [b - a for a, b in zip(busy, after, strict=True)]

        stormy = bench.window(0, storm)
        first = joiners.call("first_media_s")
    finally:
        bench.close()
    return _figures(quiet, stormy, joined, first)


def _figures(
    quiet: dict[str, Any], stormy: dict[str, Any], joined: dict[str, Any], first: list[float]
) -> dict[str, Any]:
    def milliseconds(percent: float, times: list[float]) -> float | None:
        value = results.percentile(times, percent)
        return None if value is None else round(value * 1000, 1)

    core, load = (round(100 * ns / joined["seconds"] / 1e9, 1) for ns in joined["busy_ns"])
    worst = {
        name: (quiet["latency_us"][name]["p99"], stormy["latency_us"][name]["p99"])
        for name in ("all", "audio", "frame_end")
    }
    return {
        "viewers": joined["joined"],
        "failures": len(joined["failures"]),
        "first_failure": joined["failures"][:1],
        "joins_per_second": round(joined["joined"] / joined["seconds"], 1),
        "join_p50_ms": milliseconds(50, joined["join_s"]),
        "join_p99_ms": milliseconds(99, joined["join_s"]),
        "first_packet_p50_ms": milliseconds(50, first),
        "first_packet_max_ms": milliseconds(100, first),
        "server_cpu_us_per_join": round(joined["cpu_ns"] / max(joined["joined"], 1) / 1000, 1),
        "server_core_busy_percent": core,
        "load_core_busy_percent": load,
        "quiet_p99_us": worst["all"][0],
        "storm_p99_us": worst["all"][1],
        "quiet_audio_p99_us": worst["audio"][0],
        "storm_audio_p99_us": worst["audio"][1],
        "quiet_frame_end_p99_us": worst["frame_end"][0],
        "storm_frame_end_p99_us": worst["frame_end"][1],
        "watchers_lost": stormy["lost"],
        "kernel_drops": stormy["kernel_drops"],
        "caveats": ["the joining side was the limit"] if load > 90 else [],
    }
