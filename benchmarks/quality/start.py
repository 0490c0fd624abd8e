"""How long a newcomer waits for a picture, and until it is as live as one who was there before.

Joins come 6 s into a group of pictures of 10 s, from a publisher that ignores key-frame requests,
through links of several rates; and, for comparison, by other ways to start:

log      the server's rule: from the last key frame in its log, original timestamps, paced
at once  the same, unpaced (``--start-pace 1000M``)
next     the wait for the next key frame: at 6 Mbit/s the log (2048 packets) has lost the last one
         after 6 s, and the publisher ignores the request for another
PLI      no key frame is in the log (the last one was made :data:`FORGOTTEN` seconds before), and
         the publisher answers the request for one at once
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

from ..media import FPS
from ..waiting import wait_for
from .clip import Source
from .lab import Lab, Part, Stream, Tab

PHASE = 6.0  # seconds into the group of pictures
FORGOTTEN = 14.0  # seconds after which the log has no key frame any more
BEHIND = 0.05  # seconds more than the veteran's lag: as live as it
STEADY = 10  # pictures in a row that must not be further behind
DELAY = 0.01  # seconds, each way, of a link with a rate
_SOURCE = Source(bitrate=1_500_000, gop=10, seconds=20)


@dataclass(frozen=True, slots=True)
class Join:
    way: str
    mbit: float = 0.0  # of the link; 0: loopback
    patience: float = 6.0


JOINS = [
    *[Join("log")] * 3,
    *(Join("log", mbit) for mbit in (20, 10, 5)),
    Join("at once"),
    Join("at once", 5),
    Join("next"),
    Join("PLI"),
]
# way -> (server option, the publications' begins in seconds, source)
WAYS: dict[str, tuple[str, tuple[float, ...], Source]] = {
    "log": ("30M", (0.0, 2.5, 5.0, 7.5), _SOURCE),
    "at once": ("1000M", (1.2, 6.2), _SOURCE),
    "next": ("30M", (3.7,), Source(bitrate=6_000_000, gop=10, seconds=10)),
    "PLI": ("30M", (0.0,), Source(bitrate=1_500_000, live=True)),
}


def caught_up(
    lags: list[tuple[float, float]], posted: float, usual: float, since: float = 0.0
) -> float | None:
    """Seconds from the POST to the first of :data:`STEADY` pictures in a row that are at most
    :data:`BEHIND` further behind than ``usual``; None: it never was."""
    run = 0
    for i, (at, lag) in enumerate(lags):
        run = run + 1 if lag <= usual + BEHIND and at >= since else 0
        if run == STEADY:
            return lags[i - STEADY + 1][0] - posted
    return None


def _ms(seconds: list[float]) -> float | None:
    return round(1000 * statistics.median(seconds), 1) if seconds else None


def figures(tab: Tab, stream: Stream, usual: float) -> dict[str, Any]:
    """What one join was like."""
    posted, lags, samples = tab.posted(), stream.lags(tab), tab.stats()
    last = samples[-1]["video"] if samples else {}
    caught = caught_up(lags, posted, usual)
    return {
        "first_ms": round(1000 * (lags[0][0] - posted), 1) if lags else None,
        "caught_up_ms": None if caught is None else round(1000 * caught, 1),
        "lag_ms_at_end": _ms([lag for _, lag in lags[-10:]]),
        "freezes": last.get("freezeCount", 0),
        "freeze_s": round(last.get("totalFreezesDuration", 0.0), 3),
        "dropped": last.get("framesDropped", 0),
        "lost": last.get("packetsLost", 0),
        "curve": [(round(at - posted, 3), round(lag, 4)) for at, lag in lags],
    }


class _Place:
    """A server with its publications for one way of starting."""

    def __init__(self, part: Part, way: str, begin: float) -> None:
        pace, _, self._source = WAYS[way]
        self.server = part.server("--start-pace", pace)
        self._part = part
        self._last_key = begin  # of a live source
        self.streams: list[Stream] = []

    def publish(self) -> None:
        name = f"start{len(self.streams)}"
        self.streams.append(self._part.stream(self.server, name, self._source))

    def soonest(self) -> tuple[float, Stream]:
        """Seconds until one of them is :data:`PHASE` into its group of pictures, and which."""
        now = time.monotonic()
        gop = self._source.gop
        waits = [((PHASE - s.phase(now) - 0.3) % gop + 0.3, s) for s in self.streams]
        if self._source.live:
            waits = [(max(0.3, self._last_key + FORGOTTEN - now), self.streams[0])]
        return min(waits, key=lambda wait: wait[0])

    def joined(self) -> None:
        self._last_key = time.monotonic()


def _join(part: Part, place: _Place, join: Join, usual: float) -> dict[str, Any]:
    link = None
    if join.mbit:
        link = part.link(place.server, delay=DELAY, rate=join.mbit * 1e6)
    tab = part.tab(place.server, link)
    wait, stream = place.soonest()
    time.sleep(wait)
    tab.watch(stream.name)
    place.joined()
    end = time.monotonic() + join.patience
    while time.monotonic() < end:
        time.sleep(0.5)
        lags = stream.lags(tab)
        if lags and caught_up(lags, 0.0, usual) is not None:
            break
    time.sleep(0.3)
    found = figures(tab, stream, usual)
    tab.close()
    overflowed = link.down.overflowed if link else 0
    return {"way": join.way, "mbit": join.mbit, **found, "overflowed": overflowed}


def _usual(stream: Stream, veteran: Tab) -> float:
    """The lag of one that has long caught up, seconds; the median of a second of pictures."""

    def settled() -> float | None:
        last = [lag for _, lag in stream.lags(veteran)[-FPS:]]
        return statistics.median(last) if len(last) == FPS and max(last) < 0.5 else None

    lag: float = wait_for(settled, "the veteran is live")
    return lag


def _row(group: list[dict[str, Any]]) -> dict[str, Any]:
    """Joins of a kind as one row of medians."""
    row: dict[str, Any] = {"way": group[0]["way"], "mbit": group[0]["mbit"], "joins": len(group)}
    for name in ("first_ms", "caught_up_ms", "lag_ms_at_end"):
        values = [one[name] for one in group if one[name] is not None]
        row[name] = round(statistics.median(values), 1) if values else None
    for name in ("freezes", "freeze_s", "dropped", "lost", "overflowed"):
        row[name] = round(sum(one[name] for one in group), 3)
    row["curve"] = group[0]["curve"]
    return row


def run(lab: Lab, joins: list[Join] | None = None) -> dict[str, Any]:
    """All joins, one at a time."""
    left = list(JOINS if joins is None else joins)
    done: list[dict[str, Any]] = []
    with lab.part() as part:
        begin = time.monotonic() + 3.0
        places = {way: _Place(part, way, begin) for way in dict.fromkeys(j.way for j in left)}
        begins = [(moment, place) for way, place in places.items() for moment in WAYS[way][1]]
        for moment, place in sorted(begins, key=lambda one: one[0]):
            time.sleep(max(0.0, begin + moment - time.monotonic()))
            place.publish()
        veteran = part.tab(places["log"].server)
        home = places["log"].streams[0]
        veteran.watch(home.name)
        usual = _usual(home, veteran)
        while left:
            join = min(left, key=lambda one: places[one.way].soonest()[0])
            left.remove(join)
            done.append(_join(part, places[join.way], join, usual))
            row = done[-1]
            lab.say(
                f"start {row['way']} {row['mbit']:g} Mbit/s: first {row['first_ms']} ms, "
                f"caught up {row['caught_up_ms']} ms"
            )
        steady = home.lags(veteran)
        freezes = veteran.stats()[-1]["video"].get("freezeCount", 0)
        late = part.late_ms()
    rows = [
        _row([one for one in done if (one["way"], one["mbit"]) == key])
        for key in dict.fromkeys((join.way, float(join.mbit)) for join in JOINS)
        if any((one["way"], one["mbit"]) == key for one in done)
    ]
    ours = next(row for row in rows if row["way"] == "log" and not row["mbit"])
    return {
        "start_ms": ours["first_ms"],
        "start_caught_up_ms": ours["caught_up_ms"],
        "veteran_lag_ms": round(1000 * statistics.median(lag for _, lag in steady[-FPS:]), 1),
        "veteran_freezes": freezes,
        "rows": rows,
        "link_late_ms": late,
    }
