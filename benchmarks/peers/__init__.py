"""rtcfwd beside its peers: one run, one machine, the same load, one table.

Every server is pinned to core 0 in the lab's namespace, the load has core 1; viewers ask for
AES-128-GCM of all of them. Steps of viewers are added to a running server until one is bad: loss
of 0.01 % and more, or 50 ms at p99. rtcfwd is measured at the peer's numbers and at a load near its
own capacity.

aiortc decodes and encodes anew, so it is fed with real H264 and judged by the frames that come out:
bad is less than 29 of 30 a second; its delay is the audio's.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from .. import results
from ..encoded import EncodedPublisher
from ..fanout import Bench, Say, Settings
from ..findmax import judge
from ..janus import JanusBench, version
from ..media import FPS
from ..netlab import Lab
from ..swarm import Swarm, Target, row

NAMES = ("janus", "rtcfwd", "aiortc")
STEPS = {"janus": (100, 200, 300, 400), "rtcfwd": (100, 200, 300, 1500), "aiortc": (1, 2, 4, 6)}
_PROFILE = "AEAD_AES_128_GCM"
_KEPT = (
    *("viewers", "profile", "packets_per_cpu_s", "ns_per_packet", "server_core_percent"),
    *("packets_published", "delivered", "lost", "loss_percent", "checked_good", "checked_bad"),
    *("latency_p50_us", "latency_p99_us", "audio_p99_us", "frame_end_p99_us", "key_end_p99_us"),
    *("bottleneck", "drain_s", "caveats"),
)
_MEDIA_RELAY = Target(
    "http://{server}:8080/whip",
    "http://{server}:8080/whep",
    command=f"{sys.executable} -m benchmarks.peers.media_relay --host {{server}} --port 8080",
)


class MediaRelayBench(Swarm):
    publisher_kind = EncodedPublisher


def transcoded(figures: dict[str, Any]) -> dict[str, Any]:
    """A row of a server that encodes anew: what can be said of frames and audio instead of
    packets. ``good``: all but one of 30 frames a second arrive."""
    sampled, delays = figures["sampled"], figures["latency_us"]["audio"]
    seconds = figures["sending_s"] * sampled["viewers"]
    rate = sampled.get("frame_ends", 0) / seconds if seconds else 0.0
    return {
        "frames_per_second": round(rate, 1),
        "good": rate >= FPS - 1,
        "note": f"{rate:.1f} of {FPS} frames a second; delay: audio",
        "loss_percent": None,
        "lost": None,
        "checked_good": sampled.get("good", 0),
        "checked_bad": None,
        "latency_p50_us": delays["p50"],
        "latency_p99_us": delays["p99"],
        "frame_end_p99_us": None,
        "key_end_p99_us": None,
        "delivered": figures["delivered"] + figures["beyond"],
        "caveats": [],  # theirs are about packets as published
    }


def _climb(
    name: str, bench: Bench, steps: Sequence[int], seconds: float, say: Say
) -> list[dict[str, Any]]:
    """A row a step, the first bad one last."""
    rows: list[dict[str, Any]] = []
    there = 0
    for wanted in steps:
        bench.publisher.call("begin")  # they join a stream that flows
        joined = bench.join(wanted - there, 8 if not there else 2)
        there = joined["joined"]
        time.sleep(1.0)
        figures = bench.window(seconds)
        whole = row(figures, joined)
        one = {"server": name, **{key: whole[key] for key in _KEPT if key in whole}}
        one["segmentation"] = bench.lab.segmentation
        one["good"] = judge(figures)
        if name == "aiortc":
            one.update(transcoded(figures))
        if there < wanted:
            one["good"] = False
            one["note"] = f"only {there} of {wanted} viewers could join"
        say(f"{name}, {there} viewers: {one}")
        rows.append(one)
        if not one["good"]:
            one.setdefault("note", "beyond what it carries")
            break
    return rows


def times(rows: list[dict[str, Any]], peer: str) -> dict[str, Any]:
    """rtcfwd's packets per CPU second over the peer's: at every number of viewers that both
    carried, and each at its best step."""

    def of(name: str) -> dict[int, int]:
        return {
            r["viewers"]: r["packets_per_cpu_s"]
            for r in rows
            if r["server"] == name and r["good"] and r["packets_per_cpu_s"]
        }

    ours, theirs = of("rtcfwd"), of(peer)
    return {
        "at_viewers": {str(n): round(ours[n] / theirs[n], 2) for n in sorted({*ours} & {*theirs})},
        "at_best": round(max(ours.values()) / max(theirs.values()), 2) if ours and theirs else None,
    }


def run(settings: Settings, say: Say, names: Sequence[str] = NAMES) -> dict[str, Any]:
    """All of ``names`` in turn; RuntimeError for a name that is none of :data:`NAMES`, where there
    is no lab, and from a server that does not start."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise RuntimeError(f"no such peer: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    result = results.stamp("peers")
    settings = dataclasses.replace(settings, profile=_PROFILE, viewers=0)
    lab = Lab(settings.segmentation)
    makers: dict[str, Callable[[], Bench]] = {
        "rtcfwd": lambda: Bench(settings, say, lab),
        "janus": lambda: JanusBench(settings, say, lab),
        "aiortc": lambda: MediaRelayBench(_MEDIA_RELAY, settings, say, lab),
    }
    rows: list[dict[str, Any]] = []
    try:
        for name in NAMES:
            if name not in names:
                continue
            bench = makers[name]()
            try:
                rows += _climb(name, bench, STEPS[name], settings.seconds, say)
            finally:
                bench.close()
    finally:
        lab.close()
    result.update(
        {
            "bitrate": settings.bitrate,
            "seconds": settings.seconds,
            "nice": settings.nice,
            "versions": {
                "janus": version() if "janus" in names else None,
                "aiortc": importlib.metadata.version("aiortc") if "aiortc" in names else None,
            },
            "times_janus": times(rows, "janus"),
            "times_aiortc": times(rows, "aiortc"),
            "rows": rows,
        }
    )
    return result
