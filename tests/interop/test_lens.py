"""Chromium to Chromium: the page knows how old pictures are on its screen, or says that it does
not; the server tells how long they stayed with it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser

from tests.interop.interop_tools import Pages, Server, Tab, wait_until

WORKERS = 2
LENS = "#watch-figures div:has(dt:text-is('Lens to screen')) dd"
# What a browser without the interface does: it neither sends nor asks for capture times.
WITHOUT = "delete RTCRtpTransceiver.prototype.setHeaderExtensionsToNegotiate"


def lens(tab: Tab) -> float | None:
    found: float | None = tab.page.evaluate("rtcfwd.viewer.figures().then(f => f && f.lensMs)")
    return found


def test_lens_to_screen_is_known(server: Server, pages: Pages, record: Any) -> None:
    pages.publish("lens", video="H264", audio="PCMA")
    viewer = pages.watch("lens")
    ms = wait_until(lambda: lens(viewer), "the age of pictures is known")
    # One machine, one clock: no picture is shown before it was taken, none is seconds old.
    assert 0 < ms < 3000
    wait_until(lambda: viewer.page.inner_text(LENS).endswith(" ms"), "the page shows it")
    stayed = wait_until(lambda: server.streams()["lens"]["delay_ms"], "packets were counted")
    assert stayed["packets"] > 0
    assert 0 < stayed["p50"] <= stayed["p90"] <= stayed["p99"] <= stayed["max"] < 3000
    assert stayed["p50"] < ms
    # By worker, since the start: what /metrics shows.
    all_of_them = sum(w["delays"]["packets"] for w in server.api("/server")["worker_stats"])
    assert all_of_them >= stayed["packets"]
    record(lens_ms=ms, server_ms=stayed)


def test_not_known_is_said(server: Server, chromium: Browser) -> None:
    context = chromium.new_context()
    context.add_init_script(WITHOUT)
    pages = Pages(context, server)
    pages.publish("blind", video="H264", audio="PCMA")
    viewer = pages.watch("blind")
    wait_until(lambda: server.streams()["blind"]["delay_ms"]["packets"], "media flows")
    wait_until(lambda: viewer.page.inner_text(LENS) == "not known", "the page says so")
    assert lens(viewer) is None
    context.close()
