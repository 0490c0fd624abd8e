"""Chromium in a network that lets no UDP through: it publishes and watches over ICE-TCP.

Its own policy for such networks (`disable_non_proxied_udp`) makes it send none; the server's
figures show that nothing went by UDP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from tests.interop.conftest import CHROMIUM, CHROMIUM_FLAGS
from tests.interop.interop_tools import Pages, Server, plays

WORKERS = 2


@pytest.fixture
def tcp_pages(chromium: Browser, server: Server) -> Iterator[Pages]:
    """Pages of another browser, started by the same playwright."""
    flags = [*CHROMIUM_FLAGS, "--webrtc-ip-handling-policy=disable_non_proxied_udp"]
    browser = chromium.browser_type.launch(executable_path=CHROMIUM, args=flags)
    context = browser.new_context()
    yield Pages(context, server)
    context.close()
    browser.close()


def paths(server: Server, name: str) -> dict[str, str]:
    return {
        session["role"]: session["stats"]["path"]["transport"]
        for session in server.api(f"/streams/{name}")["sessions"]
    }


@pytest.mark.client("Chromium")
@pytest.mark.duty("T1", "T2", "T3", "T4")
def test_publish_and_watch_without_udp(
    server: Server, tcp_pages: Pages, record: Callable[..., None]
) -> None:
    publisher = tcp_pages.publish("no-udp", video="H264", audio="PCMA")
    viewer = tcp_pages.watch("no-udp")
    shown = plays(viewer, video="H264", audio="PCMA")
    assert paths(server, "no-udp") == {"publisher": "tcp", "viewer": "tcp"}
    state = server.api("/server")
    figures = state["tcp_stats"]
    assert figures["bound"] >= 2
    assert figures["malformed"] == 0
    assert sum(w["sent"] for w in state["worker_stats"]) == 0  # by UDP
    record(viewer=shown, tcp=figures)
    publisher.close()
