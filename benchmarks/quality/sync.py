"""Sound against picture, a publisher that is replaced, and the way from browser to browser.

skew    a source whose sound and pictures have one clock, sent at once or the sound 80 ms late: when
        the browser plays each beep against when it decodes the picture of the same moment; again
        behind a lossy link, and after the publisher was replaced. Sound is timed where the browser
        takes it for its sound card, whose own delay is not in it
switch  the publisher's process is killed; another, of another size of picture, takes the stream
        over: from when its first key frame was sent to when a viewer's decoder gives the first
        picture of it
delay   a Chromium publishes the test pattern, another tab watches: from when a picture enters the
        sending track to when the viewer's page expects it on the screen, and to when the decoder
        gives it; what the page itself says, and the forwarder's share, by its own figures
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

SECONDS = 6.0
SOUND_LATE = 0.08
SWITCHES = 3
BEEPS = 5  # that are judged
_GENERATION = 1 << 16  # numbers of one publisher
_SIZES = [(640, 360), (480, 270), (640, 360), (854, 480)]


def skews(tab: Tab, stream: Stream, since: float = 0.0) -> list[float]:
    """Seconds by which each beep is heard after the picture of its moment; negative: before.
    A picture that was not decoded gives none."""
    shown = {
        round((at - lag - stream.start) * FPS): at for at, lag in stream.lags(tab) if at > since
    }
    epoch = stream.start - 1 / FPS
    found = []
    for beep in tab.beeps():
        for second in (int(beep - epoch) - 1, int(beep - epoch)):
            picture = shown.get(second * FPS - 1)
            if picture is not None and abs(beep - picture) < 0.5:
                found.append(beep - picture)
    return found


def _skew_row(name: str, found: list[float]) -> dict[str, Any]:
    """By the last beeps: browsers pull sound and picture together over some ten seconds."""
    first = [round(1000 * s, 1) for s in found[:1]]
    found = sorted(1000 * s for s in found[-BEEPS:])
    return {
        "case": name,
        "beeps": len(found),
        "first_ms": first[0] if first else None,
        "skew_ms": round(statistics.median(found), 1) if found else None,
        "least_ms": round(found[0], 1) if found else None,
        "most_ms": round(found[-1], 1) if found else None,
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


def skew_and_switch(lab: Lab, seconds: float) -> dict[str, Any]:
    """Lip sync of three viewers, then the publishers of one of them change."""
    sources = [
        Source(2_500_000, 2, 4, *size, first=at * _GENERATION) for at, size in enumerate(_SIZES)
    ]
    with lab.part() as part:
        server = part.server("--takeover-silence", "0.5")
        even = part.stream(server, "even", sources[0])
        behind = Source(2_500_000, 2, 20, audio_late=SOUND_LATE)
        late = part.stream(server, "late", behind)
        lossy = part.link(server, loss=0.05, delay=0.025)
        tabs = [part.tab(server), part.tab(server), part.tab(server, lossy)]
        for tab, stream in zip(tabs, (even, late, late), strict=True):
            tab.watch(stream.name)
        tabs[0].wait_frames(FPS)
        time.sleep(seconds)
        rows = [_skew_row("one clock", skews(tabs[0], even))]
        switches, stream = [], even
        for source in sources[1 : SWITCHES + 1]:
            stream.close()
            stream = take_over(part, server, "even", source)
            sent = stream.first_sent()

            def new(source: Source = source) -> list[tuple[float, int, int]]:
                return [f for f in tabs[0].frames() if f[1] >= source.first]

            first = wait_for(new, "a picture of the new publisher")[0]
            switches.append(
                {
                    "size": f"{source.width}x{source.height}",
                    "ms": round(1000 * (first[0] - sent), 1),
                }
            )
            time.sleep(1.0)
        settled = time.monotonic()
        time.sleep(4.0)
        rows += [
            _skew_row("after the publishers changed", skews(tabs[0], stream, settled)),
            _skew_row("sound sent 80 ms late", skews(tabs[1], late)),
            _skew_row("the same, 5 % loss", skews(tabs[2], late)),
        ]
        freezes = tabs[0].stats()[-1]["video"]
    for row in rows:
        lab.say(f"skew, {row['case']}: {row['skew_ms']} ms")
    lab.say(f"switch: {[s['ms'] for s in switches]} ms")
    measured = [abs(row["skew_ms"]) for row in rows if row["skew_ms"] is not None]
    return {
        "av_skew_ms": max(measured, default=None),
        "publisher_switch_ms": statistics.median(s["ms"] for s in switches),
        "rows": rows,
        "switches": switches,
        "freezes_of_the_viewer": freezes.get("freezeCount", 0),
    }


def lens_to_screen(lab: Lab, seconds: float) -> dict[str, Any]:
    """From the sending track to the screen, picture by picture."""
    with lab.part() as part:
        server = part.server()
        query = "publish=lens&source=pattern&video=H264&audio=PCMA&size=640x360&b=2500&auto=1"
        sender = part.tab(server, None, query)
        sender.wait_frames(FPS)
        wait_for(lambda: server.api("streams/lens").get("state") == "live", "the stream is live")
        viewer = part.tab(server, screen=True)
        viewer.watch("lens")
        viewer.wait_frames(2 * FPS)
        time.sleep(seconds)
        for tab in (sender, viewer):
            tab.calibrate()
        sent = {number: at for at, number, _ in sender.frames()}
        decoded = [(at, number) for at, number, _ in viewer.frames()]
        since = decoded[0][0] + 2.0
        screen, decoder = (
            sorted(1000 * (at - sent[n]) for at, n in seen if n in sent and at > since)
            for seen in (viewer.shown(), decoded)
        )
        last = viewer.stats()[-1]["video"]
        server_ms = server.api("streams/lens")["delay_ms"]
        page_ms = viewer.evaluate("rtcfwd.viewer.figures().then(f => f.lensMs)")
    lab.say(f"delay: median {statistics.median(screen):.1f} ms")
    return {
        "delay_ms": round(statistics.median(screen), 1),
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
    """All three."""
    return {**skew_and_switch(lab, seconds), **lens_to_screen(lab, 5.0)}
