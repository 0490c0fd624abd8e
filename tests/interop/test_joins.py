"""200 viewers come and go, one after the other: nothing of them stays behind in the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.interop.interop_tools import Server, ffmpeg_publish, wait_until
from tests.interop.whep_probe import WhepProbe

WORKERS = 2
JOINS = 200
LEAVES = ("delete", "close", "both", "delete")


def counts(server: Server) -> dict[str, int]:
    """What could be left behind, as the server itself and the kernel count it."""
    process = psutil.Process(server.pid)
    state = server.api("/server")
    return {
        "peers": state["peers"],
        "sessions": state["sessions"],
        "tasks": state["tasks"],
        "udp": len(process.net_connections("udp")),
        "threads": process.num_threads(),
    }


def descriptors(server: Server) -> int:
    """Open files and sockets, the API's own kept-alive connections apart."""
    process = psutil.Process(server.pid)
    return process.num_fds() - len(process.net_connections("tcp"))


def test_joins_leave_nothing(
    server: Server,
    processes: Callable[..., Any],
    ffmpeg: str,
    clip: Callable[[int], Path],
    record: Callable[..., None],
) -> None:
    publisher = ffmpeg_publish(processes, ffmpeg, clip(50), server.url("/whip/joins"))
    server.wait_live("joins")

    def join(how: str) -> None:
        probe = WhepProbe(server.url("").rstrip("/"), "joins", server.udp_port)
        try:
            probe.join()
            probe.leave(how)
        finally:
            probe.discard()

    join("delete")  # what is made once, on first use, is made now
    wait_until(lambda: server.streams()["joins"]["viewers"] == 0, "the first viewer is gone")
    before, open_before = counts(server), descriptors(server)
    rss_before = psutil.Process(server.pid).memory_info().rss
    for i in range(JOINS):
        join(LEAVES[i % len(LEAVES)])
    wait_until(
        lambda: counts(server) == before and descriptors(server) == open_before,
        f"back to {before} and {open_before} descriptors",
        45,  # a tombstone answers DELETE for 30 s
    )
    rss = psutil.Process(server.pid).memory_info().rss
    assert server.streams()["joins"]["viewers"] == 0
    record(joins=JOINS, **before, descriptors=open_before, rss_growth_kib=(rss - rss_before) >> 10)
    publisher.communicate("q", timeout=15)
    assert publisher.returncode == 0
