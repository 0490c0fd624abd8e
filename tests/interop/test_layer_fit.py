"""Chromium publishes three simulcast layers, another one watches through a link that becomes narrow
and wide again: its layer goes down and up by itself, and it is told which one it gets. Times are
for the record; a busy machine stretches them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from benchmarks.link import Link
from tests.interop.interop_tools import Pages, Server, Tab, longest_freeze, wait_until
from tests.interop.test_simulcast import publish_three

WORKERS = 2
NARROW, QUEUE, NARROW_S = 800_000, 64_000, 40.0
LONGEST_FREEZE_S = 8.0

LISTEN = """async (url) => {
  const told = window.told = [];
  const made = await fetch(url, {
    method: 'POST', headers: {'Content-Type': 'application/json'}, body: '["layers"]',
  });
  const source = new EventSource(made.headers.get('Location'));
  source.addEventListener('layers', (event) => {
    for (const layer of Object.values(JSON.parse(event.data))[0] || [])
      if (layer.current) told.push(layer.rid);
  });
}"""


@pytest.fixture
def link(server: Server) -> Iterator[Link]:
    made = Link(server.udp_port, delay=0.02)
    yield made
    made.close()


def samples(tab: Tab) -> list[dict[str, Any]]:
    """Those with video; there is no sound."""
    seen: list[dict[str, Any]] = tab.page.evaluate("window.samples")
    return [s for s in seen if "video" in s]


def video(tab: Tab) -> dict[str, Any]:
    seen: dict[str, Any] = tab.page.evaluate("(samples.at(-1) || {}).video || {}")
    return seen


def watch(pages: Pages, server: Server, name: str) -> tuple[Tab, str]:
    """A viewer's tab, and the URL of its events."""
    tab = Tab(pages._context.new_page(), "viewer")
    links: list[str] = []

    def note(reply: Any) -> None:
        if reply.request.method == "POST" and "/whep/" in reply.url and reply.status == 201:
            links.append(reply.header_value("link") or "")

    tab.page.on("response", note)
    tab.page.goto(server.url(f"/?watch={name}"))
    wait_until(lambda: video(tab).get("framesDecoded", 0) > 0, "a first picture", 30)
    found = re.search(r'<([^>]*)>; rel="urn:ietf:params:whep:ext:core:server-sent', links[0])
    assert found is not None
    return tab, server.url(found[1])


@pytest.mark.full  # two minutes
@pytest.mark.client("Chromium")
@pytest.mark.duty("X5", "X9")
def test_the_layer_follows_the_link(server: Server, pages: Pages, link: Link, record: Any) -> None:
    publisher, layers = publish_three(server, pages, "fit", busy=True)
    width = {layer["rid"]: layer["width"] for layer in layers}
    pages.through(link.port)
    tab, events = watch(pages, server, "fit")
    tab.page.evaluate(LISTEN, events)

    def viewer() -> dict[str, Any]:
        sessions = server.api("/streams/fit")["sessions"]
        found: dict[str, Any] = next(s for s in sessions if s["role"] == "viewer")
        return found

    def shows(rid: str) -> bool:
        return viewer()["layer"] == rid and video(tab).get("frameWidth") == width[rid]

    trace: list[tuple[float, str, int]] = []
    begin = time.monotonic()

    def note() -> str:
        """Which layer it gets now; kept when it is another one."""
        now = viewer()
        if not trace or trace[-1][1] != now["layer"]:
            at = round(time.monotonic() - begin, 1)
            trace.append((at, now["layer"], now["stats"]["estimate_bps"] // 1000))
        return str(now["layer"])

    wait_until(lambda: shows("f"), "the largest picture", 40)
    rates = {layer["rid"]: layer["bitrate"] // 1000 for layer in server.streams()["fit"]["layers"]}
    wide = video(tab)
    begin = time.monotonic()
    note()
    link.down.queue, link.down.rate = QUEUE, NARROW
    wait_until(lambda: note() != "f", "a smaller layer", 30)
    down_s = time.monotonic() - begin
    frames = []
    while time.monotonic() - begin < NARROW_S:
        time.sleep(1)
        note()
        frames.append(video(tab)["framesDecoded"])
    narrow = video(tab)
    changes = viewer()["stats"]["tracks"]["video"]["layer_changes"]
    link.down.rate = 20e6
    widened = time.monotonic()
    wait_until(lambda: note() == "f" and shows("f"), "the largest layer again", 90)
    up_s = time.monotonic() - widened
    back = video(tab)
    freeze = longest_freeze(samples(tab))
    told = tab.page.evaluate("told")
    record(
        kbit_of_layers=rates,
        down_s=round(down_s, 1),
        up_s=round(up_s, 1),
        changes_while_narrow=changes,
        layers=trace,
        told=told,
        freezes_narrow=narrow["freezeCount"] - wide["freezeCount"],
        frozen_s_narrow=round(narrow["totalFreezesDuration"] - wide["totalFreezesDuration"], 2),
        freezes_up=back["freezeCount"] - narrow["freezeCount"],
        longest_freeze_s=round(freeze, 2),
        frames_narrow=narrow["framesDecoded"] - wide["framesDecoded"],
        plis=back["pliCount"],
        lost=back["packetsLost"],
    )
    # What the API says, the page was told, and the other way round.
    assert told[0] == "f"
    assert {"h", "q"} & set(told)
    assert told[-1] == "f"
    assert all(a != b for a, b in pairwise(told))
    # The picture moves: no stretch of ten seconds without a decoded frame.
    assert all(b > a for a, b in zip(frames, frames[10:], strict=False))
    assert server.api("/streams/fit")["layer_changes"] >= changes >= 1
    assert freeze < LONGEST_FREEZE_S
    publisher.close()
