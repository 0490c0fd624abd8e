"""Chromium finds the rate of its way up: transport-wide feedback, REMB as the limit (ADR 15).

Rates are Chromium's own, from getStats, over a second each. How long it took is for the record: the
bounds here are those of a machine that has much else to do.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.link import Link
from tests.interop.interop_tools import Pages, Server, Tab, rate, wait_until

pytestmark = pytest.mark.full  # minutes

TARGET = 2_500_000
NARROW = 1_000_000
QUEUE = 37_500  # bytes: 300 ms of the bottleneck
WANTED = f"size=640x360&b={TARGET // 1000}"


@pytest.fixture
def link(server: Server) -> Iterator[Link]:
    made = Link(server.udp_port, delay=0.025)
    yield made
    made.close()


def points(tab: Tab) -> list[tuple[float, float]]:
    return rate(tab.samples())


def last(tab: Tab, seconds: float) -> list[float]:
    """The rates of so many seconds before the newest sample; none if there is no such time."""
    seen = points(tab)
    if not seen or seen[-1][0] - seen[0][0] < seconds:
        return []
    return [bits for t, bits in seen if t >= seen[-1][0] - seconds]


def until(tab: Tab, what: str, seconds: float, low: float, high: float, timeout: float) -> float:
    """Wait until the median of the last `seconds` is between the two; the moment of the newest
    sample, in seconds since the first packet."""

    def met() -> bool:
        rates = last(tab, seconds)
        return bool(rates) and low <= statistics.median(rates) <= high

    wait_until(met, what, timeout)
    return points(tab)[-1][0]


def first(tab: Tab, since: float, bits: float) -> float | None:
    """Seconds from then until so much was sent."""
    return next((round(t - since, 1) for t, b in points(tab) if t > since and b >= bits), None)


def figures(tab: Tab) -> dict[str, Any]:
    samples = tab.samples()
    start = next(s["t"] for s in samples if s["video"].get("packetsSent", 0) > 0)
    allowed = [(s["t"] - start, s.get("pair", {}).get("availableOutgoingBitrate")) for s in samples]
    return {
        "kbit_s": [(round(t, 1), round(bits / 1000)) for t, bits in points(tab)][::5],
        "allowed_kbit_s": [(round(t, 1), round(bits / 1000)) for t, bits in allowed if bits][::5],
    }


def test_a_bottleneck_is_followed(server: Server, pages: Pages, record, link: Link) -> None:
    """Up to the target and held there, down to a bottleneck without filling it, and up again."""
    pages.through(link.port)
    tab = pages.publish("bottleneck", video="H264", audio="PCMA", more=WANTED)
    until(tab, "the target is held", 5, 0.8 * TARGET, 1.3 * TARGET, 150)
    reached = first(tab, 0, 0.9 * TARGET)

    link.up.queue, link.up.rate = QUEUE, NARROW
    narrowed = points(tab)[-1][0]
    settled = until(tab, "it fits the bottleneck", 3, 0.1 * NARROW, 1.1 * NARROW, 90)
    before = link.up.overflowed
    until(tab, "and holds", 5, 0.4 * NARROW, 1.1 * NARROW, 90)
    overflowed, later = before, link.up.overflowed - before

    link.up.rate = 0.0
    freed = points(tab)[-1][0]
    until(tab, "the target is held again", 3, 0.8 * TARGET, 1.3 * TARGET, 200)
    feedback = server.streams()["bottleneck"]["feedback_sent"]
    record(
        seconds_to_target=reached,
        seconds_to_settle=round(settled - narrowed, 1),
        overflowed=overflowed,
        overflowed_after_it_fitted=later,
        rate_recovery_s=first(tab, freed, 0.9 * TARGET),
        feedback_packets=feedback,
        **figures(tab),
    )
    assert feedback > 5 * points(tab)[-1][0]
    # REMB alone, which has to fill a queue to find out: 2664.
    assert overflowed < 1000
    tab.close()


def test_loss_does_not_keep_the_rate_down(pages: Pages, record, link: Link) -> None:
    """5 % loss towards the server: with REMB alone one start of four stayed at an eighth."""
    link.up.loss = 0.05
    pages.through(link.port)
    shown = []
    for start in range(3):
        tab = pages.publish(f"lossy{start}", video="H264", audio="PCMA", more=WANTED)
        until(tab, "half the target in spite of loss", 2, 0.5 * TARGET, 1.5 * TARGET, 120)
        shown.append({"seconds_to_half": first(tab, 0, 0.5 * TARGET), **figures(tab)})
        tab.close()
    record(starts=shown, lost=link.up.lost)
    assert link.up.lost > 50
