"""Sound against picture, a publisher that is replaced, and the way from browser to browser.

skew    a source whose sound and pictures have one clock, sent at once or the sound 80 ms late: when
        a beep comes out of the speaker against when the picture of the same moment is given to the
        screen; again behind a lossy link, and after the publisher was replaced. Beside it a viewer
        to whom the publisher sends straight (direct.py): what such a one has is the browser's own.
        There is no sound card: sound is timed where the browser takes it for one, and what the
        browser counts for the way from there to the speaker is added
switch  the publisher's process is killed; another, of another size of picture, takes the stream
        over: from when its first key frame was sent to when a viewer's decoder gives the first
        picture of it
delay   a Chromium publishes the test pattern, another tab watches: from when the drawing of a
        picture begins to the first refresh of the screen after it was given to that, and to when
        the decoder gives it; what the page itself says, and the forwarder's share, by its own
        figures
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from ..media import FPS
from ..peer import JoinFailed
from ..rpc import RemoteError
from ..server import Server
from ..waiting import wait_for
from .clip import Source
from .lab import Lab, Part, Stream, Tab

SECONDS = 12.0
SOUND_LATE = 0.08
SWITCHES = 3
BEEPS = 5  # that are judged
ASKED = 0.04  # seconds of skew at most
SETTLE = 36.0  # seconds, for sound that is sent late
REFRESH_MS = 1000 / 60  # a picture given to the screen is seen at the next refresh at the latest
_GENERATION = 1 << 16  # numbers of one publisher
_SIZES = [(640, 360), (480, 270), (640, 360), (854, 480)]


Heard = tuple[float, float]  # when a beep is heard, seconds after the picture of its moment is seen


def skews(tab: Tab, stream: Stream, since: float = 0.0) -> list[Heard]:
    """Of each beep; negative: before the picture. One that was not shown gives none."""
    shown = {
        round((at - lag - stream.start) * FPS): at
        for at, lag in stream.lags(tab, screen=True)
        if at > since
    }
    epoch = stream.start - 1 / FPS
    late = tab.playout_delay()
    found = []
    for beep in tab.beeps():
        for second in (int(beep - epoch) - 1, int(beep - epoch)):
            picture = shown.get(second * FPS - 1)
            if picture is not None and abs(beep - picture) < 0.5:
                found.append((beep + late, beep + late - picture))
    return found


def settled(found: list[Heard]) -> float | None:
    """Seconds from the first beep until three in a row are within what is asked; None: never."""
    within = [abs(skew) <= ASKED for _, skew in found]
    return next(
        (at - found[0][0] for i, (at, _) in enumerate(found) if within[i : i + 3] == [True] * 3),
        None,
    )


def _median(found: list[Heard]) -> float | None:
    last = [1000 * skew for _, skew in found[-BEEPS:]]
    return statistics.median(last) if last else None


def _skew_row(name: str, found: list[Heard], direct: list[Heard] | None = None) -> dict[str, Any]:
    """By the last beeps: browsers pull sound and picture together over some ten seconds.
    ``direct``: of a viewer without a server in between, in the same seconds."""
    last = sorted(1000 * skew for _, skew in found[-BEEPS:])
    skew, alone, after = _median(found), _median(direct or []), settled(found)
    both = skew is not None and alone is not None

    def ms(value: float | None) -> float | None:
        return None if value is None else round(value, 1)

    return {
        "case": name,
        "beeps": len(last),
        "first_ms": ms(1000 * found[0][1] if found else None),
        "settled_s": ms(after),
        "skew_ms": ms(skew),
        "least_ms": ms(last[0] if last else None),
        "most_ms": ms(last[-1] if last else None),
        "direct_ms": ms(alone),
        "added_ms": ms(abs(skew) - abs(alone)) if both else None,
    }


def take_over(part: Part, server: Server, name: str, source: Source) -> Stream:
    """Publish where a publisher has just died: refused until the server takes it for dead."""

    def attempt() -> Stream | None:
        try:
            return part.stream(server, name, source)
        except (RemoteError, JoinFailed) as error:
            if "409" not in str(error):
                raise
            return None

    stream: Stream = wait_for(attempt, "the stream can be taken over")
    return stream


def one_clock_and_switch(lab: Lab, seconds: float) -> dict[str, Any]:
    """Lip sync of a viewer, also after its publishers have changed, beside that of one who gets the
    same media straight from a publisher."""
    sources = [
        Source(2_500_000, 2, 4, *size, first=at * _GENERATION) for at, size in enumerate(_SIZES)
    ]
    with lab.part() as part:
        server = part.server("--takeover-silence", "0.5")
        direct = part.direct(sources[0])
        stream = part.stream(server, "even", sources[0])
        tab = part.tab(server, screen=True)
        tab.watch("even")
        tab.wait_frames(FPS)
        time.sleep(seconds)
        rows = [_skew_row("one clock", skews(tab, stream), skews(direct.tab, direct))]
        switches = []
        for source in sources[1 : SWITCHES + 1]:
            stream.close()
            stream = take_over(part, server, "even", source)
            sent = stream.first_sent()

            def new(source: Source = source) -> list[tuple[float, int, int]]:
                return [f for f in tab.frames() if f[1] >= source.first]

            first = wait_for(new, "a picture of the new publisher")[0]
            switches.append(
                {
                    "size": f"{source.width}x{source.height}",
                    "ms": round(1000 * (first[0] - sent), 1),
                }
            )
            time.sleep(1.0)
        since = time.monotonic()
        time.sleep(seconds)
        after = skews(tab, stream, since)
        rows.append(
            _skew_row("after the publishers changed", after, skews(direct.tab, direct, since))
        )
        freezes = tab.stats()[-1]["video"]
    lab.say(f"switch: {[s['ms'] for s in switches]} ms")
    return {
        "publisher_switch_ms": statistics.median(s["ms"] for s in switches),
        "rows": rows,
        "switches": switches,
        "freezes_of_the_viewer": freezes.get("freezeCount", 0),
    }


def late_sound(lab: Lab, seconds: float) -> list[dict[str, Any]]:
    """Lip sync where sound is sent late: straight, through the server, and behind a lossy link."""
    source = Source(2_500_000, 2, 20, audio_late=SOUND_LATE)
    with lab.part() as part:
        server = part.server()
        direct = part.direct(source)
        late = part.stream(server, "late", source)
        lossy = part.link(server, loss=0.05, delay=0.025)
        tabs = [part.tab(server, screen=True), part.tab(server, lossy, screen=True)]
        for tab in tabs:
            tab.watch("late")
        time.sleep(seconds)
        alone = skews(direct.tab, direct)
        return [
            _skew_row("sound sent 80 ms late", skews(tabs[0], late), alone),
            _skew_row("the same, 5 % loss", skews(tabs[1], late), alone),
        ]


def lens_to_screen(lab: Lab, seconds: float) -> dict[str, Any]:
    """From the brush to the screen, picture by picture."""
    with lab.part() as part:
        server = part.server()
        query = "publish=lens&source=pattern&video=H264&audio=PCMA&size=640x360&b=2500&auto=1"
        sender = part.tab(server, None, query, lens=True)
        sender.wait_frames(FPS)
        wait_for(lambda: server.api("streams/lens").get("state") == "live", "the stream is live")
        viewer = part.tab(server, screen=True)
        viewer.watch("lens")
        viewer.wait_frames(2 * FPS)
        time.sleep(seconds)
        for tab in (sender, viewer):
            tab.calibrate()
        drawn = {number: at for at, number in sender.drawn()}
        decoded = viewer.frames()
        since = decoded[0][0] + 2.0
        screen, decoder = (
            sorted(1000 * (at - drawn[n]) for at, n, _ in seen if n in drawn and at > since)
            for seen in (viewer.shown(), decoded)
        )
        screen = [ms + REFRESH_MS for ms in screen]
        last = viewer.stats()[-1]["video"]
        server_ms = server.api("streams/lens")["delay_ms"]
        page_ms = viewer.evaluate("rtcfwd.viewer.figures().then(f => f.lensMs)")
        clocks_ms = 1000 * (sender.clock_error() + viewer.clock_error())
    lab.say(f"delay: median {statistics.median(screen):.1f} ms, clocks to {clocks_ms:.1f} ms")
    return {
        "delay_ms": round(statistics.median(screen), 1),
        "delay_least_ms": round(screen[0], 1),
        "clocks_ms": round(clocks_ms, 1),
        "page_says_ms": page_ms and round(page_ms, 1),
        "forwarder_ms": server_ms["p50"],
        "forwarder_p99_ms": server_ms["p99"],
        "delay_p95_ms": round(screen[len(screen) * 95 // 100], 1),
        "decoded_ms": round(statistics.median(decoder), 1),
        "decoded_p95_ms": round(decoder[len(decoder) * 95 // 100], 1),
        "pictures": len(decoder),
        "pictures_on_screen": len(screen),
        "decoder_ms": round(1000 * last["totalProcessingDelay"] / last["framesDecoded"], 1),
        "freezes": last.get("freezeCount", 0),
    }


def run(lab: Lab, seconds: float = SECONDS) -> dict[str, Any]:
    """All of it."""
    found = one_clock_and_switch(lab, seconds)
    rows = found["rows"] + late_sound(lab, SETTLE)
    for row in rows:
        lab.say(f"skew, {row['case']}: {row['skew_ms']} ms, straight {row['direct_ms']} ms")
    skew = [abs(row["skew_ms"]) for row in rows if row["skew_ms"] is not None]
    added = [row["added_ms"] for row in rows if row["added_ms"] is not None]
    found |= {
        "av_skew_ms": max(skew, default=None),
        "av_skew_added_ms": max(added, default=None),
        "rows": rows,
    }
    return {**found, **lens_to_screen(lab, 5.0)}
