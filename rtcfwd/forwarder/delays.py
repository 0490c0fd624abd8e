"""How long media stayed in the forwarder: quantiles out of the data plane's histograms.

Given ``rf_delay_stats`` as the boundary hands it over: ``bucket``, a count for each bucket, four of
them an octave, and ``ends``, where in ns each one ends. A quantile is its bucket's end: it may be
too large by a quarter, never too small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_FIRST_OCTAVE, _BUCKETS_AN_OCTAVE = 3, 4


def quantiles(stats: Mapping[str, Any]) -> dict[str, float | int | None]:
    """``p50``, ``p90``, ``p99``, ``max`` and ``mean`` in milliseconds, None without packets, and
    ``packets``, the number they are of."""
    count, most = stats.get("count", 0), stats.get("max_ns", 0)
    if not count:
        return {"packets": 0, "mean": None, **dict.fromkeys(QUANTILES), "max": None}
    found = {name: _ms(min(_at(stats, share), most)) for name, share in QUANTILES.items()}
    return {"packets": count, "mean": _ms(stats["sum_ns"] / count), **found, "max": _ms(most)}


def _at(stats: Mapping[str, Any], share: float) -> int:
    """The end in ns of the bucket that this share of the packets does not exceed."""
    wanted, seen = share * sum(stats["bucket"]), 0
    for bucket, packets in enumerate(stats["bucket"]):
        seen += packets
        if seen and seen >= wanted:
            return int(stats["ends"][bucket])
    return int(stats["ends"][-1])


def octaves(stats: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Cumulative, as Prometheus counts: (end in seconds, packets below it), the last "+Inf"."""
    buckets = stats.get("bucket", ())
    seen = 0
    for bucket, packets in enumerate(buckets):
        seen += packets
        if bucket % _BUCKETS_AN_OCTAVE == _FIRST_OCTAVE and bucket + 1 < len(buckets):
            yield f"{stats['ends'][bucket] / 1e9:.9g}", seen
    yield "+Inf", seen


def _ms(ns: float) -> float:
    return round(ns / 1e6, 4)
