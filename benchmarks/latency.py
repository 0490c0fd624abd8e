"""Delay added by an idle server: one viewer and a hundred, all of them measured at the socket.

*single*: an audio packet, which is a fan-out pass of its own. *frame end*: the last packet of a
frame, from its own send to its own arrival. Stamps: the publisher's clock before the send call, the
kernel's on arrival; so two trips through veth are in it, and no scheduling of the reader.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from . import results
from .fanout import Bench, Say, Settings


def run(counts: list[int], settings: Settings, say: Say) -> dict[str, Any]:
    """``settings.samples`` viewers of each count are sampled; one server for each count."""
    result = results.stamp("latency")
    result.update({"bitrate": settings.bitrate, "seconds": settings.seconds, "nice": settings.nice})
    rows = []
    for viewers in counts:
        bench = Bench(dataclasses.replace(settings, viewers=viewers), say)
        try:
            joined = bench.join(viewers)
            time.sleep(1.0)
            figures = bench.window(settings.seconds)
            result["engine"] = bench.server.api("server").get("engine")
        finally:
            bench.close()
        delays = figures["latency_us"]
        rows.append(
            {
                "viewers": joined["joined"],
                "segmentation": bench.lab.segmentation,
                "single_p50_us": delays["audio"]["p50"],
                "single_p99_us": delays["audio"]["p99"],
                "frame_end_p50_us": delays["frame_end"]["p50"],
                "frame_end_p99_us": delays["frame_end"]["p99"],
                "key_end_p99_us": delays["key_end"]["p99"],
                "lost": figures["lost"],
                "caveats": figures["caveats"],
            }
        )
    result["rows"] = rows
    return result
