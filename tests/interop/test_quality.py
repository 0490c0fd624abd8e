"""The quality benchmark's scenarios, short, and judged by what is right and not by how fast: lost
packets come again, a late start shows every picture, a narrow way starves nobody else, a new
publisher is seen. Timing is for `python -m benchmarks quality`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from benchmarks.link import Link, is_rtcp
from benchmarks.media import FPS
from benchmarks.quality.clip import Source, unwrap
from benchmarks.quality.lab import Lab
from benchmarks.quality.loss import by_kind
from benchmarks.quality.sync import take_over
from benchmarks.waiting import wait_for

SOURCE = Source(bitrate=1_500_000, gop=10, seconds=20)


@pytest.fixture(scope="module")
def lab(chromium: Browser) -> Iterator[Lab]:
    opened = Lab(print, chromium)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param({"loss": 0.1}, id="random"),
        pytest.param({"loss": 0.05, "burst": 5.0}, id="bursts", marks=pytest.mark.full),
    ],
)
def test_lost_packets_come_again(lab: Lab, record: Any, loss: dict[str, float]) -> None:
    """Six seconds of loss; then the way is free, and whoever still misses something gets it."""
    with lab.part() as part:
        server = part.server()
        stream = part.stream(server, "lossy", SOURCE)
        link = part.link(server, delay=0.025, **loss)
        link.down.keep = True
        tab = part.tab(server, link)
        tab.watch("lossy")
        wait_for(lambda: len(link.down.seen) > 6 * 150, "six seconds of packets", 60)
        link.down.loss = link.up.loss = 0.0

        def video() -> dict[str, Any]:
            samples = tab.stats()
            return samples[-1]["video"] if samples else {}

        seen = by_kind(link.down.seen)
        lost = sum(packet.fate != "passed" for packet in seen["video"])
        wait_for(
            lambda: video().get("retransmittedPacketsReceived", 0) > 0.99 * lost,
            f"over 99 % of {lost} lost packets sent again",
            30,
        )
        before = len(tab.frames())
        tab.wait_frames(before + 2 * FPS)
        numbers = unwrap([number for _, number, _ in tab.frames()[before:]], 20 * FPS)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        record(lost=lost, phase=stream.phase(0.0), **video())
        assert lost > 5


def lose_for_good(link: Link, packets: int) -> None:
    """The next packets of the video never come, nor what is sent in their place."""
    seen = by_kind(link.down.seen)
    (video, *_), (audio, *_) = ({packet.ssrc for packet in seen[k]} for k in ("video", "audio"))
    left = itertools.count(packets, -1)

    def lose(data: bytes) -> bool:
        ssrc = int.from_bytes(data[8:12], "big")
        if is_rtcp(data) or ssrc == audio:
            return False
        return ssrc != video or next(left) > 0

    link.down.lose = lose


def test_a_picture_damaged_for_good_goes_on_from_the_log(lab: Lab, record: Any) -> None:
    """The publisher ignores PLI, and the next key frame is 20 s away: what the viewer lacks comes
    from the log, from the last key frame on, each picture, none of them damaged."""
    with lab.part() as part:
        server = part.server()
        stream = part.stream(server, "damaged", Source(bitrate=800_000, gop=20, seconds=20))
        link = part.link(server, delay=0.01)
        link.down.keep = True
        tab = part.tab(server, link)
        tab.watch("damaged")
        tab.wait_frames(FPS)
        lose_for_good(link, 10)
        lost_at = time.monotonic()

        def split() -> tuple[list[tuple[float, int]], list[tuple[float, int]]]:
            """(moment, number) of each picture before the first came again, and from then on."""
            seen = [(at, number) for at, number, _ in tab.frames()]
            starts = [i for i, (_, number) in enumerate(seen) if number == 0]
            at = starts[1] if len(starts) > 1 else len(seen)
            return seen[:at], seen[at:]

        wait_for(lambda: split()[1], "the key frame again", 30)
        live = wait_for(lambda: [at for at, lag in stream.lags(tab)[-1:] if lag < 0.2], "live", 30)
        before, again = split()
        record(
            stood_s=round(again[0][0] - before[-1][0], 2),
            live_again_s=round(live[0] - lost_at, 2),
            pictures_again=len(again),
            **tab.stats()[-1]["video"],
        )
        assert again[0][0] < stream.due(20 * FPS)  # not the next key frame
        assert [number for _, number in again] == list(range(len(again)))
        assert tab.evaluate("probe.frames.filter(([, number]) => number < 0).length") == 0


def test_a_late_start_shows_every_picture(lab: Lab, record: Any) -> None:
    """Through 10 Mbit/s, from the key frame on: none is left out on the way to the live edge."""
    with lab.part() as part:
        server = part.server()
        stream = part.stream(server, "late", SOURCE)
        veteran = part.tab(server)
        veteran.watch("late")
        veteran.wait_frames(4 * FPS)
        link = part.link(server, delay=0.01, rate=10e6)
        tab = part.tab(server, link)
        tab.watch("late")
        tab.wait_frames(8 * FPS, 40)
        numbers = unwrap([number for _, number, _ in tab.frames()], 20 * FPS)
        record(pictures=len(numbers), overflowed=link.down.overflowed, **tab.stats()[-1]["video"])
        assert numbers[0] % (10 * FPS) == 0
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert link.down.overflowed == 0
        assert stream.lags(tab)[-1][1] < stream.lags(tab)[0][1]


@pytest.mark.full
def test_a_narrow_way_is_nobody_elses(lab: Lab, record: Any) -> None:
    """A viewer on 500 kbit/s hears the source's beeps; its neighbour misses nothing."""
    with lab.part() as part:
        server = part.server()
        part.stream(server, "narrow", Source(2_500_000, 2, 20))
        link = part.link(server, delay=0.025)
        link.down.rate, link.down.queue = 500_000, 62_500
        tab, free = part.tab(server, link), part.tab(server)
        free.watch("narrow")
        free.wait_frames(FPS)
        tab.watch("narrow")
        wait_for(lambda: len(tab.beeps()) >= 5, "five beeps", 30)
        neighbour = free.stats()[-1]["video"]
        record(**neighbour)
        assert neighbour["packetsLost"] == 0
        numbers = unwrap([number for _, number, _ in free.frames()], 20 * FPS)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_new_publisher_is_seen(lab: Lab, record: Any) -> None:
    """The publisher's process is killed; another one, of another size, goes on in its place."""
    with lab.part() as part:
        server = part.server("--takeover-silence", "0.5")
        first = part.stream(server, "switch", Source(gop=2, seconds=4))
        tab = part.tab(server)
        tab.watch("switch")
        tab.wait_frames(FPS)
        first.close()
        other = Source(gop=2, seconds=4, width=480, height=270, first=1 << 16)
        take_over(part, server, "switch", other)

        def new() -> list[tuple[float, int, int]]:
            return [frame for frame in tab.frames() if frame[1] >= other.first]

        wait_for(lambda: len(new()) >= FPS, "a second of the new publisher's pictures", 30)
        record(**tab.stats()[-1]["video"])
        assert new()[0][1] == other.first  # its first picture, a key frame
        assert {width for _, _, width in new()} == {480}
        assert tab.evaluate("rtcfwd.viewer.tries") == 0  # over the same connection
