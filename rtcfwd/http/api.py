"""The admin API (JSON, read only):

    GET /api/v1/streams          {"streams": [{name, state, viewers, tracks: [{kind, codec, …}],
                                                   layers: [{rid, width, …}], warnings: […]}]}
    GET /api/v1/streams/{name}   the same for one stream, with its sessions and their figures
    GET /api/v1/selftest         what this machine offers, and a loop through it (selftest.py)
    GET /api/v1/server           version, engine, workers and their counters, memory

Bitrates are bits a second over the time since the figure was last asked for (at least 1 s).
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web

from rtcfwd import __version__
from rtcfwd.forwarder.api import ForwarderError, Kind
from rtcfwd.forwarder.delays import quantiles
from rtcfwd.session.ids import is_stream_name
from rtcfwd.session.layers import rid_of
from rtcfwd.session.registry import Registry
from rtcfwd.session.session import Session
from rtcfwd.session.states import SessionState
from rtcfwd.session.stream import Stream

from .problems import Problem
from .rates import Rates


def resident_bytes() -> int:
    """Resident memory of this process; 0 where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class Api:
    """Handlers of /api/v1."""

    def __init__(
        self, registry: Registry, addresses: list[str], udp_port: int, tcp_port: int | None = None
    ) -> None:
        self._registry = registry
        self._rates = Rates()
        self._started = registry.clock()
        self._addresses = addresses
        self._udp_port = udp_port
        self._tcp_port = tcp_port

    async def streams(self, request: web.Request) -> web.Response:
        registry = self._registry
        self._rates.forget(registry.by_handle)
        listed = [self._show(registry.streams[name]) for name in sorted(registry.streams)]
        return as_json({"streams": listed})

    async def stream(self, request: web.Request) -> web.Response:
        name = request.match_info["stream"]
        stream = self._registry.streams.get(name) if is_stream_name(name) else None
        if stream is None:
            raise Problem(404, "No such stream", "GET /api/v1/streams lists those there are.")
        sessions = [self._show_session(s, stream) for s in stream.peers.values() if s is not None]
        return as_json({**self._show(stream), "sessions": sessions})

    async def server(self, request: web.Request) -> web.Response:
        registry = self._registry
        forwarder = registry.forwarder
        return as_json(
            {
                "version": __version__,
                "uptime": round(registry.clock() - self._started, 1),
                "time": time.time(),
                "engine": forwarder.engine,
                "gso": forwarder.gso,
                "workers": forwarder.workers,
                "udp_port": self._udp_port,
                "tcp_port": self._tcp_port,
                "tcp_stats": forwarder.tcp_stats(),
                "addresses": self._addresses,
                "worker_stats": [
                    {**figures, "delays": quantiles(figures.get("delays", {}))}
                    for figures in forwarder.worker_stats()
                ],
                "control_drops": dict(registry.counts.drops),
                "memory": await asyncio.to_thread(resident_bytes),
                "forwarder_memory": forwarder.memory_stats(),
                "streams": len(registry.streams),
                "sessions": len(registry.sessions),
                "peers": len(registry.by_peer),
                "tasks": len(asyncio.all_tasks()),
            }
        )

    def _show(self, stream: Stream) -> dict[str, Any]:
        now = self._registry.clock()
        try:
            stats = self._registry.forwarder.stream_stats(stream.handle)
        except ForwarderError:
            stats = {}
        tracks = []
        for kind, index in sorted(stream.live.items(), reverse=True):  # video first
            form = stream.formats[kind][index]
            figures = _of_kind(stats, kind)
            octets = figures.get("bytes", 0)
            tracks.append(
                {
                    **figures,
                    "kind": kind.name.lower(),
                    "codec": form.codec,
                    "clock_rate": form.clock_rate,
                    "channels": form.channels,
                    "fmtp": dict(form.parameters),
                    "bitrate": self._rates.rate(
                        (stream.handle, kind), stream.opened_at, now, octets
                    ),
                    "discardable_share": _discardable_share(form.codec, figures),
                }
            )
        return {
            "name": stream.name,
            "state": stream.state.value,
            "tracks": tracks,
            "layers": _layers(stream, stats),
            "layer_changes": stats.get("layer_changes", 0),
            "warnings": [asdict(warning) for warning in stream.diagnosis.warnings],
            "viewers": len(stream.viewers),
            "feedback_sent": stats.get("feedback_sent", 0),
            "delay_ms": quantiles(stats.get("delays", {})),
            "published": stream.publisher is not None,
            "publications": stream.publications,
            "age": round(now - stream.opened_at, 1),
        }

    def _show_session(self, session: Session, stream: Stream) -> dict[str, Any]:
        try:
            stats = (
                {} if session.peer is None else self._registry.forwarder.peer_stats(session.peer)
            )
        except ForwarderError:
            stats = {}
        now = self._registry.clock()
        return {
            # Not the whole id: it is the right to end the session.
            "session": session.id[:8],
            "role": session.role.name.lower(),
            "state": session.state.value,
            "reason": session.reason,
            "age": round(now - session.opened_at, 1),
            "connect_time": None
            if session.connected_at is None
            else round(session.connected_at - session.opened_at, 3),
            "connected": session.state is SessionState.CONNECTED,
            # Simulcast: which layer it gets, which it has asked for.
            "layer": rid_of(session.gets_layer, stream.rids),
            "chosen_layer": session.layer or None,
            "stats": stats,
        }


_CAN_TELL = ("H264", "VP8")  # their packets say whether other frames refer to theirs


def _discardable_share(codec: str, figures: dict[str, Any]) -> float | None:
    """Of the packets of this publication, those of frames that may be left out for a viewer whose
    way is too narrow (0 to 1); None where packets do not tell."""
    seen = figures.get("inspected", 0)
    return round(figures["discardable"] / seen, 3) if seen and codec in _CAN_TELL else None


def _layers(stream: Stream, stats: dict[str, Any]) -> list[dict[str, Any]]:
    """Simulcast: each layer with its figures, in the publisher's order; ``best`` is the largest on
    the air, what viewers without a choice get if their way carries it. Bitrates are the payload's
    over the last second."""
    watching = Counter(viewer.gets_layer for viewer in stream.viewers.values())
    return [
        {
            "rid": rid,
            "width": figures["width"] or None,
            "height": figures["height"] or None,
            "bitrate": figures["bitrate"],
            "active": bool(figures["active"]),
            "best": index == stats["best_layer"],
            "viewers": watching[index],
            **{name: figures[name] for name in ("packets", "bytes", "lost", "repaired",
                                                "nacks_sent", "keyframe_requests_sent",
                                                "keyframes", "ssrc")},
        }
        for index, (rid, figures) in enumerate(
            zip(stream.rids, stats.get("layers", ()), strict=False)
        )
    ]  # fmt: skip


def _of_kind(stats: dict[str, Any], kind: Kind) -> dict[str, Any]:
    tracks = stats.get("tracks")
    found = tracks.get(kind.name.lower()) if isinstance(tracks, dict) else None
    return dict(found) if isinstance(found, dict) else {}


def as_json(value: object) -> web.Response:
    """200 with that as JSON."""
    return web.Response(
        body=json.dumps(value, default=_plain).encode(),
        headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
    )


def _plain(value: object) -> object:
    """What the figures hold besides JSON's own types: paths."""
    remote, local = getattr(value, "remote", None), getattr(value, "local", None)
    if remote is not None:
        transport = "tcp" if getattr(value, "connection", 0) else "udp"
        return {"remote": f"{remote[0]} {remote[1]}", "local": local, "transport": transport}
    return str(value)
