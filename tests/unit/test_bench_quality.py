"""Pure pieces of the quality benchmark: numbers in pictures, what was repaired, when a newcomer has
caught up, rates, skew, and that its page can be filled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import av
import pytest

from benchmarks import quality, results
from benchmarks.__main__ import _parser
from benchmarks.link import Seen
from benchmarks.media import AUDIO_BYTES, FPS, rtp_payload
from benchmarks.quality import clients, clip, loss, narrow, report, start, sync, upstream
from benchmarks.quality.lab import Lab
from rtcfwd.client.pattern import read_number

STEP = 90000 // FPS


def test_numbers_of_a_loop_go_on() -> None:
    assert clip.unwrap([], 600) == []
    assert clip.unwrap([598, 599, 0, 1, 5], 600) == [598, 599, 600, 601, 605]
    assert clip.unwrap([3, 2, 599, 0], 600) == [3, 2, -1, 0]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> clip.Source:
    monkeypatch.setattr(clip, "CACHE", tmp_path)
    return clip.Source(bitrate=400_000, gop=1, seconds=2, width=320, height=180, first=70_000)


def test_pictures_carry_their_number(source: clip.Source) -> None:
    frames = clip.loop(source)
    assert frames == clip.loop(source)  # from the cache
    decoder = cast(Any, av.CodecContext.create("h264", "r"))
    seen = []
    for units in frames:
        packet = av.Packet(b"".join(b"\0\0\0\1" + unit for unit in units))
        seen += [read_number(frame) for frame in decoder.decode(packet)]
    seen += [read_number(frame) for frame in decoder.decode(None)]
    assert seen == list(range(70_000, 70_000 + 2 * FPS))
    keys = [at for at, units in enumerate(frames) if any(u[0] & 31 == 5 for u in units)]
    assert keys == [0, FPS]


def test_a_live_source_makes_key_frames_when_asked(source: clip.Source) -> None:
    live = clip.Source(bitrate=400_000, width=320, height=180, live=True)
    media = clip.NumberedMedia(live, 1, 2)
    keys = []
    for at in range(6):
        media.key_wanted = at == 4
        keys.append(any(p.key for p in media.video_frame(False, at * STEP)))
    assert keys == [True, False, False, False, True, False]


def test_a_beep_at_each_whole_second(source: clip.Source) -> None:
    media = clip.NumberedMedia(source, 1, 2)
    loud = [
        block
        for block in range(120)
        if set(rtp_payload(media.audio_frame(block * AUDIO_BYTES).data)) != {0xD5}
    ]
    assert loud == [0, 1, 2, 50, 51, 52, 100, 101, 102]


def packets(pictures: int, lost: set[tuple[int, int]], each: int = 3) -> list[Seen]:
    return [
        Seen(0.0, 1, 96, 0, picture * STEP, 1000, "lost" if (picture, at) in lost else "passed")
        for picture in range(pictures)
        for at in range(each)
    ]


def test_what_was_repaired() -> None:
    video = packets(100, {(10, 0), (20, 1), (20, 2), (95, 0)})
    whole = loss.repaired(video, [n % 60 for n in range(100)], 60)
    assert (whole["lost_packets"], whole["never_repaired"], whole["repair_rate"]) == (3, 0, 1.0)
    some = loss.repaired(video, [n % 60 for n in range(100) if n not in (20, 21)], 60)
    assert (some["pictures"], some["pictures_never_decoded"]) == (100 - FPS, 2)
    assert (some["never_repaired"], some["repair_rate"]) == (2, round(1 / 3, 5))
    with pytest.raises(RuntimeError, match="no picture"):
        loss.repaired(video, [], 60)


def test_packets_are_told_apart() -> None:
    def one(ssrc: int, size: int) -> Seen:
        return Seen(0.0, ssrc, 0, 0, 0, size, "passed")

    seen = [one(1, 900), one(1, 1100), one(2, 182), one(2, 182), one(3, 902), one(2, 182)]
    kinds = loss.by_kind(seen)
    assert {kind: len(there) for kind, there in kinds.items()} == {"video": 2, "audio": 3, "rtx": 1}


def test_caught_up_means_for_good() -> None:
    lags = [(10 + i / 30, max(1.0 - i / 10, 0.01)) for i in range(40)]
    assert start.caught_up(lags, 9.5, 0.01) == pytest.approx(0.5 + 10 / 30)
    lags[14] = (lags[14][0], 0.5)
    assert start.caught_up(lags, 9.5, 0.01) == pytest.approx(0.5 + 15 / 30)
    assert start.caught_up(lags[:12], 9.5, 0.01) is None


def test_rates_over_a_second() -> None:
    samples = [{"t": i / 5, "video": {"bytesSent": i * 10_000}} for i in range(20)]
    points = upstream.sent_rate(samples)
    assert points[0] == (1.0, pytest.approx(400_000))
    assert {round(bits) for _, bits in points} == {400_000}
    steps = [(i / 2, 1e6 if 4 <= i < 12 else 2e6) for i in range(30)]
    assert upstream.fell(steps, 1.0, 1.1e6) == 1.0
    assert upstream.reached(steps, 3.0, 1.9e6) == 3.0
    assert upstream.reached(steps, 0.0, 3e6) is None


class FakeTab:
    """What a tab has seen of a stream that began at 100 s, as :mod:`sync` asks for it."""

    def beeps(self) -> list[float]:
        return [100 - 1 / FPS + s + 0.05 for s in (1, 2, 3)]

    def playout_delay(self) -> float:
        return 0.01


class FakeStream:
    start = 100.0

    def lags(self, tab: FakeTab, screen: bool) -> list[tuple[float, float]]:
        assert screen
        return [(100 + i / FPS + 0.02, 0.02) for i in range(100) if i != 2 * FPS - 1]


def test_skew_is_of_one_moment() -> None:
    found = sync.skews(cast(Any, FakeTab()), cast(Any, FakeStream()))
    assert [skew for _, skew in found] == [pytest.approx(0.04)] * 2  # one picture is missing


def test_when_a_skew_has_settled() -> None:
    def heard(*skews: float) -> list[sync.Heard]:
        return [(10.0 + at, skew) for at, skew in enumerate(skews)]

    assert sync.settled(heard(0.1, 0.03, 0.05, -0.03, 0.0, 0.04)) == 3.0
    assert sync.settled(heard(0.03, 0.03)) is None
    assert sync.settled([]) is None


def test_what_the_server_adds_to_a_skew() -> None:
    def heard(skew: float) -> list[sync.Heard]:
        return [(10.0 + at, skew) for at in range(9)]

    row = sync._skew_row("late", heard(-0.03), heard(0.02))
    assert (row["skew_ms"], row["direct_ms"], row["added_ms"]) == (-30.0, 20.0, 10.0)
    assert (row["beeps"], row["settled_s"]) == (sync.BEEPS, 0.0)
    assert sync._skew_row("none", [], heard(0.02))["added_ms"] is None


def test_seconds_of_a_viewer() -> None:
    class Tab:
        def stats(self) -> list[dict[str, Any]]:
            return [
                {
                    "t": i * 0.2,
                    "video": {"framesDecoded": 6 * i, "bytesReceived": 1000 * i},
                    "audio": {"totalSamplesReceived": 1600 * i, "concealedSamples": 160 * i},
                }
                for i in range(11)
            ]

    rows = narrow.seconds_of(cast(Any, Tab()))
    assert [row["pictures"] for row in rows] == [30.0, 30.0]
    assert [row["concealed"] for row in rows] == [0.1, 0.1]


def result(**scenarios: Any) -> dict[str, Any]:
    stamp = {"commit": "abc", "when": "2026-01-01T00:00:00Z", "browser": "Chromium 1"}
    found = {name: {**stamp, **figures} for name, figures in scenarios.items()}
    return quality._with_headlines(results.stamp("quality") | {"browser": "Chromium 1"}, found)


def test_parts_are_kept_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "KEPT", tmp_path / "quality.json")
    quality.keep(result(start={"start_ms": 40.0}, loss={"repair_rate": 0.9}))
    quality.keep(result(loss={"error": "no browser"}, sync={"delay_ms": 9.0, "rows": []}))
    kept = quality.load()
    assert list(kept["scenarios"]) == ["start", "loss", "sync"]
    assert (kept["start_ms"], kept["repair_rate"], kept["delay_ms"]) == (40.0, 0.9, 9.0)
    assert kept["rate_recovery_s"] is None
    assert quality.failed(result(loss={"error": "no browser"}))


def test_the_page_has_a_place_for_everything() -> None:
    kept = quality.load()
    page = results.fill(report.PAGE.read_text(), report.sections(kept))
    assert "`delay_ms`" in page
    few = report.sections(result(narrow={"curve": []}))
    assert set(few) == set(report.sections(kept))
    assert "– / – / – / –" in few["figures"]


def test_the_kept_result_has_the_headlines() -> None:
    kept = json.loads(quality.KEPT.read_text())
    assert all(kept[name] is not None for name in quality.HEADLINES)


def test_the_command() -> None:
    arguments = _parser().parse_args(["quality", "--json", "--only", "start,loss"])
    assert (arguments.json, arguments.keep, arguments.only) == (True, False, "start,loss")


def test_vp8_is_cut_with_the_shortest_descriptor() -> None:
    frame = bytes(range(250)) * 10
    parts = list(clip.vp8_payloads(frame, 1000))
    assert [part[0] for part in parts] == [0x10, 0, 0]
    assert b"".join(part[1:] for part in parts) == frame
    assert max(map(len, parts)) == 1000


def test_a_client_that_is_not_installed_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "FIREFOX", "/nowhere/firefox")
    monkeypatch.setattr(clients, "SYSTEM_PYTHON", "/nowhere/python3")
    said: list[str] = []
    lab = Lab(said.append)
    joins, missing = start._installed(lab, start.JOINS)
    assert {join.client for join in joins} == {"Chromium", "Chromium, VP8"}
    assert set(missing) == {"Firefox, VP8", "GStreamer"}
    assert "firefox-esr" in said[0]


def test_figures_that_a_client_does_not_count_stay_unknown() -> None:
    join = {"way": "log", "client": "GStreamer", "mbit": 0.0, "first_ms": 350.0, "curve": []}
    join |= {"caught_up_ms": None, "lag_ms_at_end": 2.0, "stand_ms": 40.0, "overflowed": 0}
    join |= dict.fromkeys(("freezes", "freeze_s", "dropped", "lost"))
    row = start._row([join, join | {"first_ms": 370.0}])
    assert (row["first_ms"], row["worst_first_ms"], row["joins"]) == (360.0, 370.0, 2)
    assert row["freezes"] is None
    assert row["caught_up_ms"] is None
