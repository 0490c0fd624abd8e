"""Ten minutes of publisher restarts, joins and leaves: counts and memory stay flat.

`make soak`, or RTCFWD_SOAK_SECONDS=60 for a short one. In each round the publisher (FFmpeg) dies
and comes back while viewers stay, and others join and leave in all the ways there are. At the end
of a round the server has to stand as it stood after the first ones. The figures of every round are
kept in build/interop/test_soak.json.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.interop.interop_tools import Server, ffmpeg_publish, wait_until
from tests.interop.test_joins import LEAVES, counts
from tests.interop.whep_probe import WhepProbe

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]
WORKERS = 2
SECONDS = float(os.environ.get("RTCFWD_SOAK_SECONDS", "600"))
RESIDENTS = 4
JOINS_A_ROUND = 20
FEWEST_ROUNDS = 6
MAY_GROW_KIB = 4 * 1024


class Resident(threading.Thread):
    """A viewer that stays through all rounds."""

    def __init__(self, probe: WhepProbe) -> None:
        super().__init__(daemon=True)
        self.probe = probe
        self.stop = threading.Event()

    def run(self) -> None:
        self.probe.stay(self.stop.is_set)


def test_soak(
    server: Server,
    processes: Callable[..., Any],
    ffmpeg: str,
    clip: Callable[[int], Path],
    record: Callable[..., None],
) -> None:
    base = server.url("").rstrip("/")

    def publish() -> Any:
        started = ffmpeg_publish(processes, ffmpeg, clip(50), server.url("/whip/soak"))
        server.wait_live("soak")
        return started

    def probe() -> WhepProbe:
        joined = WhepProbe(base, "soak", server.udp_port)
        joined.join()
        return joined

    publisher = publish()
    residents = [Resident(probe()) for _ in range(RESIDENTS)]
    for resident in residents:
        resident.start()
    rounds: list[dict[str, int]] = []
    started = time.monotonic()
    while time.monotonic() - started < SECONDS or len(rounds) < FEWEST_ROUNDS:
        publisher.kill()  # no DELETE: the viewers' sessions go on
        publisher.wait()
        server.wait_gone("soak")
        seen = [resident.probe.packets for resident in residents]
        publisher = publish()
        for i in range(JOINS_A_ROUND):
            probe().leave(LEAVES[i % len(LEAVES)])
        wait_until(
            lambda: server.streams()["soak"]["viewers"] == RESIDENTS, "only the residents stay", 45
        )
        wait_until(
            lambda seen=seen: all(
                r.probe.packets > n + 100 for r, n in zip(residents, seen, strict=True)
            ),
            "the residents see the new publisher",
        )
        rss = psutil.Process(server.pid).memory_info().rss >> 10
        rounds.append({"seconds": int(time.monotonic() - started), "rss_kib": rss})
        rounds[-1] |= {k: v for k, v in counts(server).items() if k in ("peers", "udp", "threads")}

    for resident in residents:
        resident.stop.set()
        resident.join(5)
        resident.probe.leave("delete")
    missing = sum(resident.probe.missing() for resident in residents)
    received = sum(resident.probe.packets for resident in residents)
    record(rounds=rounds, packets=received, missing=missing)
    publisher.communicate("q", timeout=15)

    # Media logs and the table of peers are mapped at the start and touched as they fill, so memory
    # grows for a while: what counts is the last third.
    settled, last = rounds[len(rounds) * 2 // 3], rounds[-1]
    assert last["rss_kib"] - settled["rss_kib"] < MAY_GROW_KIB
    for name in ("peers", "udp", "threads"):
        assert last[name] == settled[name], name
    assert missing <= received / 1000
