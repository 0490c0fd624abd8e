"""Prometheus metrics: a collector that reads the data plane's counters when it is scraped.

Labels are worker numbers, drop reasons, roles and states: a bounded set. Stream names are among
them only where something is wrong with a stream (the API has figures per stream).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from rtcfwd import __version__
from rtcfwd.forwarder import delays
from rtcfwd.forwarder.api import ForwarderError, Role, Slow
from rtcfwd.session.registry import Registry
from rtcfwd.session.states import SessionState, StreamState

_WORKER_COUNTERS = {
    "turns": "Turns of the worker's loop",
    "received": "Datagrams received",
    "received_bytes": "Bytes received",
    "sent": "Datagrams sent",
    "sent_bytes": "Bytes sent",
    "send_calls": "Send system calls",
    "receive_calls": "Receive system calls",
    "wakeups": "Wake-ups by another thread",
    "punts": "Datagrams handed to the control plane",
    "mailboxed": "Datagrams passed to the owner of their tuple",
    "feedback": "Transport-wide feedback packets sent to publishers",
    "kernel_drops": "Datagrams that the kernel dropped before they were read",
    "packets": "Media packets sent over UDP, resends too",
    "video": "Video packets of publishers",
    "discardable": "Of these, packets of frames that may be left out for slow viewers",
    "layer_changes": "Changes of viewers from one simulcast layer to another",
}


_TCP_COUNTERS = {
    "accepted": "TCP connections accepted",
    "refused": "TCP connections refused at a limit",
    "expired": "TCP connections closed because nobody authenticated in time",
    "malformed": "TCP connections closed because they sent no frames of ours",
    "closed": "TCP connections that are over",
    "received": "Datagrams received over TCP",
    "received_bytes": "Bytes received over TCP, lengths included",
    "sent": "Datagrams sent over TCP",
    "sent_bytes": "Bytes sent over TCP, lengths included",
}


class Metrics:
    """``text()`` is the body of /metrics. ``internal_errors`` counts what nobody foresaw."""

    def __init__(self, registry: Registry) -> None:
        self.internal_errors = 0
        self._collectors = CollectorRegistry(auto_describe=False)
        self._collectors.register(_Collector(registry, self))

    def text(self) -> bytes:
        return generate_latest(self._collectors)


class _Collector(Collector):
    def __init__(self, registry: Registry, metrics: Metrics) -> None:
        self._registry = registry
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        registry = self._registry
        forwarder = registry.forwarder
        info = GaugeMetricFamily("rtcfwd_info", "The server", labels=["version", "engine", "gso"])
        info.add_metric([__version__, forwarder.engine, str(forwarder.gso).lower()], 1)
        yield info
        yield from self._control()
        yield from _workers(forwarder.worker_stats())
        yield from _tcp(forwarder.tcp_stats())

    def _control(self) -> Iterator[Metric]:
        registry = self._registry
        streams = GaugeMetricFamily("rtcfwd_streams", "Streams by state", labels=["state"])
        for stream_state in StreamState:
            count = sum(s.state is stream_state for s in registry.by_handle.values())
            streams.add_metric([stream_state.value], count)
        yield streams
        sessions = GaugeMetricFamily(
            "rtcfwd_sessions", "Sessions by role and state", labels=["role", "state"]
        )
        for role in Role:
            for state in SessionState:
                count = sum(s.role is role and s.state is state for s in registry.sessions.values())
                sessions.add_metric([role.name.lower(), state.value], count)
        yield sessions
        counts = registry.counts
        for name, text, table in (
            ("rtcfwd_joined", "Sessions answered with 201", counts.joined),
            ("rtcfwd_connected", "Sessions whose DTLS handshake succeeded", counts.connected),
        ):
            family = CounterMetricFamily(name, text, labels=["role"])
            for role, value in table.items():
                family.add_metric([role.name.lower()], value)
            yield family
        for name, text, number in (
            ("rtcfwd_refused", "Joins refused with 409 or 503", counts.refused),
            ("rtcfwd_takeovers", "Publishers replaced by another", counts.takeovers),
            ("rtcfwd_events", "Events of the data plane", counts.events),
            ("rtcfwd_internal_errors", "Faults of the server", self._metrics.internal_errors),
        ):
            yield CounterMetricFamily(name, text, value=number)
        slow = GaugeMetricFamily(
            "rtcfwd_viewers_video", "Viewers by how much of the video they get", labels=["video"]
        )
        changes = CounterMetricFamily(
            "rtcfwd_viewer_changes", "Changes of that, by what it became", labels=["video"]
        )
        for level in Slow:
            now = sum(s.slow is level and s.role is Role.VIEWER for s in registry.sessions.values())
            slow.add_metric([level.name.lower()], now)
            changes.add_metric([level.name.lower()], counts.slow[level])
        yield from (slow, changes)
        yield self._layers()
        wrong = GaugeMetricFamily(
            "rtcfwd_stream_warning", "What is wrong with a stream", labels=["stream", "type"]
        )
        for stream in registry.streams.values():
            for warning in stream.diagnosis.warnings:
                wrong.add_metric([stream.name, warning.type], 1)
        yield wrong
        turned_away = CounterMetricFamily(
            "rtcfwd_http_turned_away", "Requests answered before the endpoints", labels=["reason"]
        )
        for reason, value in counts.http.items():
            turned_away.add_metric([reason], value)
        yield turned_away
        drops = CounterMetricFamily(
            "rtcfwd_control_drops", "STUN and DTLS that came to nothing", labels=["reason"]
        )
        for reason, value in counts.drops.items():
            drops.add_metric([reason], value)
        yield drops

    def _layers(self) -> Metric:
        """Viewers of simulcast streams, by whether theirs is the largest layer on the air."""
        count = {"best": 0, "lower": 0}
        for stream in self._registry.streams.values():
            if stream.rids:
                try:
                    stats = self._registry.forwarder.stream_stats(stream.handle)
                except ForwarderError:
                    continue
                for viewer in stream.viewers.values():
                    if viewer.gets_layer is not None:
                        is_best = viewer.gets_layer == stats.get("best_layer")
                        count["best" if is_best else "lower"] += 1
        family = GaugeMetricFamily(
            "rtcfwd_viewers_layer", "Viewers of simulcast, by their layer", labels=["layer"]
        )
        for layer, viewers in count.items():
            family.add_metric([layer], viewers)
        return family


def _tcp(stats: dict[str, int]) -> Iterator[Metric]:
    for key, text in _TCP_COUNTERS.items():
        yield CounterMetricFamily(f"rtcfwd_tcp_{key}", text, value=stats.get(key, 0))
    connections = GaugeMetricFamily("rtcfwd_tcp_open", "TCP connections", labels=["bound"])
    bound = stats.get("bound", 0)
    connections.add_metric(["yes"], bound)
    connections.add_metric(["no"], stats.get("open", 0) - bound)
    yield connections


def _workers(stats: list[dict[str, Any]]) -> Iterator[Metric]:
    for key, text in _WORKER_COUNTERS.items():
        family = CounterMetricFamily(f"rtcfwd_worker_{key}", text, labels=["worker"])
        for worker, figures in enumerate(stats):
            family.add_metric([str(worker)], figures.get(key, 0))
        yield family
    delay = HistogramMetricFamily(
        "rtcfwd_delay_seconds",
        "Media packets by the time from the kernel's receive stamp to their send",
        labels=["worker"],
    )
    drops = CounterMetricFamily(
        "rtcfwd_drops", "Datagrams dropped, by reason", labels=["worker", "reason"]
    )
    peers = GaugeMetricFamily("rtcfwd_worker_peers", "Peers the worker owns", labels=["worker"])
    for worker, figures in enumerate(stats):
        stayed = figures.get("delays", {})
        delay.add_metric([str(worker)], list(delays.octaves(stayed)), stayed.get("sum_ns", 0) / 1e9)
        peers.add_metric([str(worker)], figures.get("peers", 0))
        for reason, count in figures.get("drops", {}).items():
            drops.add_metric([str(worker), reason], count)
    yield from (delay, drops, peers)
