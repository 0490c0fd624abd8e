"""What the scenarios share: servers, numbered publishers, links, and tabs of a real Chromium.

Everything runs on 127.0.0.1 and ends with the lab. Times that tabs report are turned into
``time.monotonic()`` seconds, the clock of publishers and links.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..link import Link
from ..media import FPS
from ..rpc import Remote
from ..server import Server
from ..waiting import wait_for
from .clip import NumberedPublisher, Source, unwrap
from .direct import DirectPublisher, free_port

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]
# Tabs that are not in front must run as fast as the one that is.
IN_BACKGROUND = [
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
]
_WINDOW: Any = {"width": 800, "height": 600}
PROBE = Path(__file__).with_name("probe.js")
Say = Callable[[str], None]


class Tab:
    """One tab of the server's page with the probe in it (probe.js)."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._offset, self._trip = 0.0, 1e9
        self.calibrate()

    def calibrate(self) -> None:
        """Find out at which monotonic second the page's performance.now() was zero: by the
        quickest of some questions, now or before. Good to half of that one's time."""
        for _ in range(10):
            before = time.monotonic()
            now = self._page.evaluate("performance.now()") / 1000
            after = time.monotonic()
            if after - before < self._trip:
                self._trip, self._offset = after - before, (before + after) / 2 - now

    def clock_error(self) -> float:
        """Seconds by which :meth:`moment` may be wrong."""
        return self._trip / 2

    def evaluate(self, expression: str) -> Any:
        return self._page.evaluate(expression)

    def watch(self, name: str) -> None:
        """Press the page's button; sound on."""
        self.evaluate(
            f"""(() => {{
              document.getElementById('watch-name').value = '{name}';
              document.getElementById('watch-start').click();
              document.getElementById('watch-video').muted = false;
            }})()"""
        )

    def moment(self, ms: float) -> float:
        return float(ms) / 1000 + self._offset

    def frames(self) -> list[tuple[float, int, int]]:
        """(moment, number, width) of each picture that was decoded, or is sent."""
        seen = self.evaluate("probe.frames")
        return [(self.moment(t), number, width) for t, number, width, *_ in seen if number >= 0]

    def shown(self) -> list[tuple[float, int, int]]:
        """The same of each picture when it was given to the screen; see :meth:`Part.tab`. Which
        one it is, is known by its RTP timestamp."""
        known = {stamp: (number, width) for _, number, width, _, stamp in self._decoded()}
        seen = self.evaluate("probe.shown")
        return [(self.moment(t), *known[stamp]) for t, stamp in seen if stamp in known]

    def _decoded(self) -> list[Any]:
        return [frame for frame in self.evaluate("probe.frames") if frame[1] >= 0]

    def drawn(self) -> list[tuple[float, int]]:
        """(moment, number) of each picture of the test pattern when its drawing began."""
        return [(self.moment(t), number) for t, number in self.evaluate("probe.drawn")]

    def playout_delay(self) -> float:
        """Seconds that sound takes from where it is timed (:meth:`beeps`) to the speaker, as the
        browser counts (getStats, media-playout)."""
        played = next(s["playout"] for s in reversed(self.stats()) if "playout" in s)
        return float(played["totalPlayoutDelay"] / played["totalSamplesCount"])

    def beeps(self) -> list[float]:
        return [self.moment(t) for t in self.evaluate("probe.beeps")]

    def posted(self) -> float:
        """The moment of the last POST."""
        return self.moment(self.evaluate("probe.posts.at(-1)"))

    def stats(self) -> list[dict[str, Any]]:
        """Samples of getStats with their moment as ``t``; both kinds are in each."""
        seen = self.evaluate("probe.stats")
        both = [s for s in seen if "audio" in s and "video" in s]
        return [{**s, "t": self.moment(s["t"])} for s in both]

    def wait_frames(self, count: int, timeout: float = 20.0) -> None:
        wait_for(
            lambda: self.evaluate("probe.frames.length") >= count,
            f"{count} pictures ({self.evaluate('probe.error')})",
            timeout,
        )

    def close(self) -> None:
        self._page.close()


class Stream:
    """A publication of ours on a server."""

    def __init__(self, server: Server, name: str, source: Source) -> None:
        self.name = name
        self._open(NumberedPublisher, f"{server.url}/whip/{name}", source)
        self._begin()

    def _open(self, publisher: type[NumberedPublisher], url: str, source: Source) -> None:
        self.source = source
        self._remote = Remote(publisher, None, url=url, source=source)
        self._remote.start("join")

    def _begin(self) -> None:
        try:
            self._remote.finish()
            self._remote.call("begin")
            self.start = float(self._remote.call("clock")[0])
        except BaseException:
            self.close()
            raise

    def first_sent(self) -> float:
        """The moment at which the last packet of its first key frame was sent."""
        return float(
            wait_for(lambda: self._remote.call("clock")[1], f"{self.name}'s first picture sent")
        )

    def phase(self, now: float) -> float:
        """Seconds since the newest key frame of its own accord."""
        return (now - self.start) % self.source.gop

    def due(self, number: int) -> float:
        """When the picture with this unwrapped number was due to be sent."""
        return self.start + (number - self.source.first) / FPS

    def lags(self, tab: Tab, screen: bool = False) -> list[tuple[float, float]]:
        """(moment, seconds that the decoded picture, or the one given to the screen, is behind the
        newest sent one)."""
        source = self.source
        period = source.seconds * FPS
        end = source.first + (1 << 24 if source.live else period)
        frames = tab.shown() if screen else tab.frames()
        seen = [frame for frame in frames if source.first <= frame[1] < end]
        numbers = unwrap([number for _, number, _ in seen], period)
        if not numbers:
            return []
        # the loop that the first one belongs to: the last one that is not ahead of its time
        loops = (seen[0][0] - self.due(numbers[0])) * FPS // period
        shift = 0 if source.live else int(loops) * period
        return [
            (at, at - self.due(number + shift))
            for (at, _, _), number in zip(seen, numbers, strict=True)
        ]

    def close(self) -> None:
        self._remote.close()


class Direct(Stream):
    """The same publication to one tab alone, which ``opened`` opens at the URL that it is given."""

    def __init__(self, source: Source, opened: Callable[[str], Tab]) -> None:
        self.name = "direct"
        url = f"http://127.0.0.1:{free_port()}"
        self._open(DirectPublisher, url, source)
        try:
            wait_for(lambda: _listens(url), "the publisher's own page")
            self.tab = opened(url)
        except BaseException:
            self.close()
            raise
        self._begin()


def _listens(url: str) -> bool:
    host, _, port = url.rpartition("/")[2].partition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


class Lab:
    """Owns all that a run starts; close it. ``browser``: a Chromium that runs already."""

    def __init__(self, say: Say, browser: Any = None) -> None:
        self.say = say
        self._open = contextlib.ExitStack()
        self._browser = browser

    def close(self) -> None:
        self._open.close()

    def browser(self) -> Any:
        if self._browser is None:
            from playwright.sync_api import sync_playwright

            playwright = self._open.enter_context(sync_playwright())
            self._browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=[*CHROMIUM_FLAGS, *IN_BACKGROUND]
            )
            self._open.callback(self._browser.close)
        return self._browser

    def part(self) -> Part:
        """A scenario's own things, ended before the next one begins."""
        return Part(self)


class Part(contextlib.ExitStack):
    """What one scenario opens, closed in reverse order at its end."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self._lab = lab
        self._links: list[Link] = []
        self._context = lab.browser().new_context(viewport=_WINDOW)
        self.callback(self._context.close)

    def server(self, *options: str, address: str = "127.0.0.1") -> Server:
        """Reached at 127.0.0.1. Firefox needs ``address`` 0.0.0.0: as candidates it offers the
        addresses of the default route alone."""
        server = Server(address, None, None, ["--ice-tcp-port", "off", *options])
        self.callback(server.close)
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        return server

    def stream(self, server: Server, name: str, source: Source) -> Stream:
        stream = Stream(server, name, source)
        self.callback(stream.close)
        return stream

    def link(self, server: Server, **both: Any) -> Link:
        link = Link(server.udp_port, **both)
        self._links.append(link)
        self.callback(link.close)
        return link

    def tab(
        self,
        server: Server,
        link: Link | None = None,
        query: str = "",
        screen: bool = False,
        lens: bool = False,
    ) -> Tab:
        """A tab with the page loaded; ``query`` may have it begin by itself. ``screen``: what
        comes on the screen is read, too; ``lens``: when the test pattern is drawn."""
        port = link.port if link else 0
        return self._tab(f"{server.url}/?{query}", screen, lens, port)

    def direct(self, source: Source) -> Direct:
        """A publication straight to a tab, which is its ``tab``; its screen is read."""
        stream = Direct(source, lambda url: self._tab(url, screen=True))
        self.callback(stream.close)
        return stream

    def _tab(self, url: str, screen: bool = False, lens: bool = False, port: int = 0) -> Tab:
        context = self._context
        if screen or lens:  # in front of a window of its own, or no picture comes on the screen
            context = self._lab.browser().new_context(viewport=_WINDOW, bypass_csp=lens)
            self.callback(context.close)
        page = context.new_page()
        names = {"readScreen": screen, "readLens": lens, "linkPort": port}
        page.add_init_script(f"Object.assign(window, {json.dumps(names)});")
        page.add_init_script(path=str(PROBE))
        page.goto(url)
        return Tab(page)

    def late_ms(self) -> int:
        """What the links themselves added at most to 99.9 % of datagrams, in whole ms."""
        return max((link.late(0.999) for link in self._links), default=0)
