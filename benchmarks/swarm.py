"""The same publisher and viewers against any WHIP and WHEP server.

Two ways to name the server:

- ``--pid PID``: it runs already, in our network namespace (on 127.0.0.1, or on any address of this
  machine). Viewers drop and count media by a filter at their sockets. The way of a packet through
  the receiving stack up to that filter is then charged to the sender, so the figures compare
  with each other and with none from the lab.
- ``--run 'COMMAND'``: it is started in the lab of :mod:`benchmarks.netlab`, on a core of its own,
  where its address is 10.199.0.1; ``{server}`` in the command and in both URLs stands for it.

CPU is that of all threads of the one process, from ``/proc/PID``.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import socket
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any

from . import results
from .fanout import Bench, Say, Settings, open_lab
from .netlab import Lab, Loopback, Present
from .peer import PROFILE_NAMES
from .server import Command, ServerFailed, Subject


@dataclass(frozen=True, slots=True)
class Target:
    """A server: where it is published to and watched, and its process or how to start it."""

    whip: str
    whep: str
    pid: int | None = None
    command: str | None = None
    address: str | None = None  # of viewers and publisher, with ``pid``; None: by the route

    def at(self, server: str) -> Target:
        """With ``{server}`` filled in."""
        whip, whep = (url.replace("{server}", server) for url in (self.whip, self.whep))
        command = self.command and self.command.replace("{server}", server)
        return dataclasses.replace(self, whip=whip, whep=whep, command=command)


def local_address(url: str) -> str:
    """Our address on the way to ``url``'s host; RuntimeError if there is no way."""
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname:
        raise RuntimeError(f"{url}: not a URL with a host")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_DGRAM)[0]
        with socket.socket(found[0], socket.SOCK_DGRAM) as probe:
            probe.connect(found[4])
            return str(probe.getsockname()[0])
    except OSError as error:
        raise RuntimeError(f"{url}: {error}") from None


class Swarm(Bench):
    """Publisher and viewers around a server that is not ours."""

    def __init__(self, target: Target, settings: Settings, say: Say, lab: Lab | Loopback) -> None:
        self.target = target.at(lab.server)
        super().__init__(settings, say, lab)

    def _serve(self) -> Subject:
        target = self.target
        self.whip, self.whep = target.whip, target.whep
        if target.command is None:
            assert target.pid is not None
            return Subject(target.pid)
        s = self.settings
        command = shlex.split(target.command)
        server = Command(command, self.lab.server_namespace, s.server_cpu, s.nice - os.nice(0))
        try:
            server.wait_for(target.whip)
        except BaseException:
            server.close()
            raise
        return server


def bottlenecks(figures: dict[str, Any]) -> list[str]:
    """Why the viewer or publisher side, and not the server, may be what these figures show."""
    said = []
    drops = figures["sampled"].get("socket_drops", 0)
    if drops:
        said.append(f"sampled viewers' sockets overflowed ({drops} packets)")
    if figures["load_core_busy_percent"] > 90:
        said.append(f"the load core was {figures['load_core_busy_percent']} % busy")
    if figures["publisher_late_max_ms"] > 20:
        said.append(f"the publisher was up to {figures['publisher_late_max_ms']} ms late")
    if figures["publisher_feedback"].get("send_failed"):
        said.append("the publisher could not send some packets")
    return said


def row(figures: dict[str, Any], joined: dict[str, Any]) -> dict[str, Any]:
    """What a table says of one window."""
    sampled, delays = figures["sampled"], figures["latency_us"]
    spent = figures["ns_per_packet"]
    tight = bottlenecks(figures)
    return {
        "viewers": joined["joined"],
        "join_failures": joined["failures"][:3],
        "profile": "+".join(PROFILE_NAMES.get(int(p), str(p)) for p in joined["profiles"]),
        "loss_percent": round(100 * figures["lost"] / max(figures["packets_sent"], 1), 4),
        "packets_per_cpu_s": round(1e9 / spent) if spent else None,
        "audio_p99_us": delays["audio"]["p99"],
        "frame_end_p99_us": delays["frame_end"]["p99"],
        "key_end_p99_us": delays["key_end"]["p99"],
        "checked_good": sampled.get("good", 0),
        "checked_bad": sampled.get("wrong", 0) + sampled.get("refused", 0),
        "bottleneck": "; ".join(tight) or None,
        **figures,
    }


def _settle(target: Target, settings: Settings) -> Settings:
    """Which core is whose: a running server's where it is pinned, and another one for us."""
    if target.pid is None:
        return settings
    theirs = Subject(target.pid).cores()
    free = sorted(os.sched_getaffinity(0) - theirs)
    return dataclasses.replace(
        settings,
        server_cpu=min(theirs),
        load_cpu=free[-1] if free else settings.load_cpu,
        workers=len(theirs),
    )


def run(target: Target, settings: Settings, say: Say) -> dict[str, Any]:
    """One window; RuntimeError where no viewer can join, the server is not there, …"""
    result = results.stamp("swarm")
    settings = _settle(target, settings)
    lab: Lab | Loopback
    if target.command is None:
        lab = Present(target.address or local_address(target.whep))
    else:
        lab = open_lab(settings, say)
    try:
        bench = Swarm(target, settings, say, lab)
        try:
            joined = bench.join(settings.viewers)
            if not joined["joined"]:
                raise ServerFailed(f"no viewer could join: {joined['failures'][:1]}")
            time.sleep(1.0)
            say("measuring")
            figures = bench.window(settings.seconds)
            rss = bench.server.usage().rss
        finally:
            bench.close()
    finally:
        lab.close()
    result.update(
        {
            "whep": bench.target.whep,
            "command": bench.target.command,
            "bitrate": settings.bitrate,
            "seconds": settings.seconds,
            "segmentation": lab.segmentation,
            "rss_bytes_per_viewer": round((rss - bench.rss_before) / joined["joined"]),
            **row(figures, joined),
        }
    )
    result["caveats"] += caveats(result, settings)
    return result


def caveats(result: dict[str, Any], settings: Settings) -> list[str]:
    """What a reader of a swarm's figures must know beyond those of every window."""
    said = []
    if result["bottleneck"]:
        said.append(f"the load side may be the limit: {result['bottleneck']}")
    sampled = result["sampled"]
    if sampled["viewers"] and not result["checked_good"]:
        said.append(
            "no sampled packet carried what was published: the server packs or encodes anew,"
            " and loss and delay cannot be told"
        )
    if settings.workers > 1:
        said.append("the server is not pinned to one core (taskset -acp CORE PID)")
    if result["segmentation"] == "loopback":
        said.append("on loopback the sender pays for receiving, too: compare with loopback only")
    return said
