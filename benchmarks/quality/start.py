"""How long a newcomer waits for a picture, and until it is as live as one who was there before.

Joins come 6 s into a group of pictures of 10 s, from a publisher that ignores key-frame requests,
through links of several rates; and, for comparison, by other ways to start:

log      the server's rule: from the last key frame in its log, original timestamps, paced
at once  the same, unpaced (``--start-pace 1000M``)
next     the wait for the next key frame: at 6 Mbit/s the log (2048 packets) has lost the last one
         after 6 s, and the publisher ignores the request for another
PLI      no key frame is in the log (the last one was made :data:`FORGOTTEN` seconds before), and
         the publisher answers the request for one at once

The viewer is Chromium with H264; by the server's rule also Chromium and Firefox with VP8, and
GStreamer's webrtcbin with H264. One that is not installed is told of and left out. "As live as a
veteran" is against one of its own kind, since each buffers in its own way.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..media import FPS
from ..waiting import wait_for
from .clients import FirefoxTabs, GstViewer, why_missing
from .clip import Source
from .lab import Lab, Part, Stream, Tab

PHASE = 6.0  # seconds into the group of pictures
FORGOTTEN = 14.0  # seconds after which the log has no key frame any more
BEHIND = 0.05  # seconds more than the veteran's lag: as live as it
STEADY = 10  # pictures in a row that must not be further behind
DELAY = 0.01  # seconds, each way, of a link with a rate
CHROMIUM, CHROMIUM_VP8 = "Chromium", "Chromium, VP8"
FIREFOX, GSTREAMER = "Firefox, VP8", "GStreamer"
_SOURCE = Source(bitrate=1_500_000, gop=10, seconds=20)
_VP8 = Source(bitrate=1_500_000, gop=10, seconds=20, codec="VP8")
Viewer = Tab | GstViewer


@dataclass(frozen=True, slots=True)
class Join:
    way: str
    mbit: float = 0.0  # of the link; 0: loopback
    patience: float = 6.0
    client: str = CHROMIUM

    @property
    def place(self) -> str:
        return "VP8" if self.client.endswith("VP8") else self.way


JOINS = [
    *[Join("log")] * 3,
    *(Join("log", mbit) for mbit in (20, 10, 5)),
    Join("at once"),
    Join("at once", 5),
    Join("next"),
    Join("PLI"),
    *(Join("log", client=client) for client in (CHROMIUM_VP8, *[FIREFOX] * 3, *[GSTREAMER] * 3)),
]
# place -> (server option, the publications' begins in seconds, source)
WAYS: dict[str, tuple[str, tuple[float, ...], Source]] = {
    "log": ("30M", (0.0, 2.5, 5.0, 7.5), _SOURCE),
    "VP8": ("30M", (1.2, 6.2), _VP8),
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


def _longest(moments: list[float]) -> float | None:
    """The longest time without a new picture, ms."""
    return round(1000 * max((b - a for a, b in pairwise(moments)), default=0.0), 1) or None


def _ms(seconds: list[float]) -> float | None:
    return round(1000 * statistics.median(seconds), 1) if seconds else None


def figures(tab: Viewer, stream: Stream, usual: float) -> dict[str, Any]:
    """What one join was like; None: this client does not count it."""
    posted, lags, samples = tab.posted(), stream.lags(tab), tab.stats()
    last = samples[-1]["video"] if samples else {}
    caught = caught_up(lags, posted, usual)
    return {
        "first_ms": round(1000 * (lags[0][0] - posted), 1) if lags else None,
        "caught_up_ms": None if caught is None else round(1000 * caught, 1),
        "lag_ms_at_end": _ms([lag for _, lag in lags[-10:]]),
        "stand_ms": _longest([at for at, _ in lags]),
        "freezes": last.get("freezeCount"),
        "freeze_s": last.get("totalFreezesDuration"),
        "dropped": last.get("framesDropped"),
        "lost": last.get("packetsLost"),
        "curve": [(round(at - posted, 3), round(lag, 4)) for at, lag in lags],
    }


class _Place:
    """A server with its publications for one way of starting, or for one codec."""

    def __init__(self, part: Part, name: str, begin: float) -> None:
        pace, _, self._source = WAYS[name]
        address = "0.0.0.0" if name == "VP8" else "127.0.0.1"
        self.server = part.server("--start-pace", pace, address=address)
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


class _Viewers:
    """Opens viewers of all kinds, and knows how far behind each kind is in the long run."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._firefox: FirefoxTabs | None = None
        self._usual: dict[str, float] = {}

    def open(self, client: str, place: _Place, link: Any = None) -> Viewer:
        if client == GSTREAMER:
            viewer = GstViewer(place.server)
            self._part.callback(viewer.close)
            return viewer
        if client != FIREFOX:
            return self._part.tab(place.server, link)
        if self._firefox is None:
            self._firefox = self._part.enter_context(FirefoxTabs())
        return self._firefox.tab(place.server)

    def usual(self, client: str, place: _Place) -> float:
        """The lag of one that has long caught up, seconds."""
        if client not in self._usual:
            veteran = self.open(client, place)
            veteran.watch(place.streams[0].name)
            self._usual[client] = settled(place.streams[0], veteran)
            veteran.close()
        return self._usual[client]


def _join(
    part: Part, place: _Place, join: Join, usual: float, open_viewer: Callable[..., Viewer]
) -> dict[str, Any]:
    link = None
    if join.mbit:
        link = part.link(place.server, delay=DELAY, rate=join.mbit * 1e6)
    tab = open_viewer(join.client, place, link)
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
    asked = {"way": join.way, "client": join.client, "mbit": join.mbit}
    return {**asked, **found, "overflowed": overflowed}


def settled(stream: Stream, veteran: Viewer) -> float:
    """The lag of one that has long caught up, seconds; the median of a second of pictures."""

    def lag() -> float | None:
        last = [lag for _, lag in stream.lags(veteran)[-FPS:]]
        return statistics.median(last) if len(last) == FPS and max(last) < 0.5 else None

    found: float = wait_for(lag, "the veteran is live")
    return found


def _row(group: list[dict[str, Any]]) -> dict[str, Any]:
    """Joins of a kind as one row of medians and sums."""
    row: dict[str, Any] = {name: group[0][name] for name in ("way", "client", "mbit")}
    row["joins"] = len(group)
    for name in ("first_ms", "caught_up_ms", "lag_ms_at_end", "stand_ms"):
        values = [one[name] for one in group if one[name] is not None]
        row[name] = round(statistics.median(values), 1) if values else None
    firsts = [one["first_ms"] for one in group]
    row["worst_first_ms"] = None if None in firsts else max(firsts)
    for name in ("freezes", "freeze_s", "dropped", "lost", "overflowed"):
        values = [one[name] for one in group if one[name] is not None]
        row[name] = round(sum(values), 3) if values else None
    row["curve"] = group[0]["curve"]
    return row


def _installed(lab: Lab, joins: list[Join]) -> tuple[list[Join], dict[str, str]]:
    """The joins whose client is there, and why others are not."""
    missing = {client: why_missing(client) for client in {join.client for join in joins}}
    told = {client: why for client, why in sorted(missing.items()) if why}
    for client, why in told.items():
        lab.say(f"start: {client} is left out, {why}")
    return [join for join in joins if join.client not in told], told


def run(lab: Lab, joins: list[Join] | None = None) -> dict[str, Any]:
    """All joins, one at a time."""
    left, missing = _installed(lab, JOINS if joins is None else joins)
    done: list[dict[str, Any]] = []
    with lab.part() as part:
        begin = time.monotonic() + 3.0
        places = {name: _Place(part, name, begin) for name in dict.fromkeys(j.place for j in left)}
        begins = [(moment, place) for name, place in places.items() for moment in WAYS[name][1]]
        for moment, place in sorted(begins, key=lambda one: one[0]):
            time.sleep(max(0.0, begin + moment - time.monotonic()))
            place.publish()
        viewers = _Viewers(part)
        home = places["log"]
        veteran = viewers.open(CHROMIUM, home)
        veteran.watch(home.streams[0].name)
        usual = settled(home.streams[0], veteran)
        for join in left:
            if join.client != CHROMIUM:
                viewers.usual(join.client, places[join.place])
        while left:
            join = min(left, key=lambda one: places[one.place].soonest()[0])
            left.remove(join)
            place = places[join.place]
            own = usual if join.client == CHROMIUM else viewers.usual(join.client, place)
            row = _join(part, place, join, own, viewers.open)
            done.append(row)
            lab.say(
                f"start {row['way']} {row['client']} {row['mbit']:g} Mbit/s: "
                f"first {row['first_ms']} ms, caught up {row['caught_up_ms']} ms"
            )
        steady = home.streams[0].lags(veteran)
        freezes = veteran.stats()[-1]["video"].get("freezeCount", 0)
        late = part.late_ms()
    kinds = dict.fromkeys((join.way, join.client, float(join.mbit)) for join in JOINS)
    groups = [[r for r in done if (r["way"], r["client"], r["mbit"]) == kind] for kind in kinds]
    rows = [_row(group) for group in groups if group]
    ours = next(row for row in rows if row["way"] == "log" and not row["mbit"])
    return {
        "start_ms": ours["first_ms"],
        "start_caught_up_ms": ours["caught_up_ms"],
        "veteran_lag_ms": round(1000 * statistics.median(lag for _, lag in steady[-FPS:]), 1),
        "veteran_freezes": freezes,
        "missing": missing,
        "rows": rows,
        "link_late_ms": late,
    }
