"""How long packets stay: from their receive stamp to their sending, in virtual time exactly."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import generate_latest

from rtcfwd.forwarder._forwarder import DELAY_BOUNDS
from rtcfwd.forwarder.delays import octaves, quantiles
from rtcfwd.metrics import _workers
from tests.pipeline.netem import SECOND, Conditions
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import World

US = 1000


class BusyWorld(World):
    """Workers come to a datagram only ``late_ns`` after its stamp."""

    late_ns = 0

    def turn(self) -> None:
        self.now += self.late_ns
        super().turn()

    def delays(self) -> dict[str, Any]:
        found: dict[str, Any] = self.forwarder.stream_stats(self.stream)["delays"]
        return found

    def of_workers(self) -> list[int]:
        each = [s["delays"]["bucket"] for s in self.forwarder.worker_stats()]
        return [sum(counts) for counts in zip(*each, strict=True)]


def bucket_of(ns: int) -> int:
    return next(i for i, end in enumerate(DELAY_BOUNDS) if ns < end)


def test_prometheus_counts_by_octaves() -> None:
    with BusyWorld(seed=55) as w:
        w.publisher()
        w.viewer()
        w.late_ns = 300 * US
        w.run(2)
        stats = w.forwarder.worker_stats()
        registry = SimpleNamespace(collect=lambda: _workers(stats))
        text = generate_latest(registry).decode()
        count = stats[0]["delays"]["count"]
        assert count > 100
        assert 'rtcfwd_delay_seconds_bucket{le="0.000262144",worker="0"} 0.0' in text
        for end in ("0.000524288", "0.001048576", "+Inf"):
            assert f'rtcfwd_delay_seconds_bucket{{le="{end}",worker="0"}} {float(count)}' in text
        assert f'rtcfwd_delay_seconds_count{{worker="0"}} {float(count)}' in text
        assert f'rtcfwd_delay_seconds_sum{{worker="0"}} {count * 300 / 1e6}' in text


def test_bounds_grow_by_a_fifth_at_most() -> None:
    assert DELAY_BOUNDS[:5] == (1024, 2048, 3072, 4096, 5120)
    for below, above in itertools.pairwise(DELAY_BOUNDS[4:-1]):
        assert 1.14 < above / below <= 1.25
    assert 7 * SECOND < DELAY_BOUNDS[-2] < DELAY_BOUNDS[-1] == 2**64 - 1


@pytest.mark.parametrize("workers", [1, 3])
def test_quantiles_are_what_passed(workers: int) -> None:
    """Also for packets that arrive at another worker's socket, or leave by another's."""
    with BusyWorld(seed=51, workers=workers) as w:
        w.publisher()
        for _ in range(5):
            w.viewer()
        w.late_ns = 300 * US
        w.run(5)
        found = quantiles(w.delays())
        assert found["packets"] > 1000
        assert {found[name] for name in ("p50", "p90", "p99", "max", "mean")} == {0.3}
        before = w.delays()
        w.late_ns = 5000 * US
        w.run(0.5)
        after = w.delays()
        slow, all_of_them = bucket_of(5000 * US), after["count"]
        assert after["bucket"][slow] == all_of_them - before["count"] > 0
        assert after["bucket"][bucket_of(300 * US)] == before["count"]
        assert after["sum_ns"] == before["sum_ns"] + after["bucket"][slow] * 5000 * US
        found = quantiles(after)
        assert found["p50"] == round(DELAY_BOUNDS[bucket_of(300 * US)] / 1e6, 4)
        assert found["p99"] == found["max"] == 5.0
        assert w.of_workers() == after["bucket"]
        cumulative = dict(octaves(after))
        assert cumulative["+Inf"] == all_of_them
        assert cumulative["0.004194304"] == before["count"]


def test_a_backlog_and_repairs_are_no_delay_of_ours() -> None:
    """A start burst is as old as its key frame, a resend as old as its loss: neither is counted."""
    with BusyWorld(seed=52) as w:
        w.publisher()
        w.late_ns = 200 * US
        w.run(3.5)
        assert quantiles(w.delays()) == {
            "packets": 0, "mean": None, "p50": None, "p90": None, "p99": None, "max": None,
        }  # fmt: skip
        w.viewer(ViewerSetup(rtx=False), down=Conditions(delay_ms=20, loss=0.05))
        w.viewer(ViewerSetup(), down=Conditions(delay_ms=20, loss=0.05))
        w.run(5)
        views = [w.forwarder.peer_stats(p.handle)["tracks"]["video"] for p in w.peers[1:]]
        assert all(view["resent"] > 10 for view in views)
        assert quantiles(w.delays())["max"] == 0.2


def test_of_the_last_minute_alone() -> None:
    with BusyWorld(seed=53) as w:
        pub, _ = w.publisher()
        w.viewer()
        w.late_ns = 9000 * US
        w.run(2)
        assert quantiles(w.delays())["max"] == 9.0
        w.rest(pub, 1)
        w.late_ns = 0
        w.run(61, step_ms=100)
        pub.muted = False
        w.late_ns = 40 * US
        w.run(1)
        found = quantiles(w.delays())
        assert found["p50"] == found["max"] == 0.04
        assert w.of_workers()[bucket_of(9000 * US)] > 0  # those are since the start


def test_quantiles_are_never_too_small_and_a_quarter_too_large_at_most() -> None:
    rng = random.Random(54)
    values = sorted(round(10 ** rng.uniform(3.7, 8.5)) for _ in range(5000))
    buckets = [0] * len(DELAY_BOUNDS)
    for value in values:
        buckets[bucket_of(value)] += 1
    stats = {"count": len(values), "sum_ns": sum(values), "max_ns": values[-1],
             "bucket": buckets, "ends": DELAY_BOUNDS}  # fmt: skip
    found = quantiles(stats)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        true = values[round(share * len(values)) - 1] / 1e6
        assert true <= found[name] <= true * 1.26
