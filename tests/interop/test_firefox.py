"""Debian's Firefox (it has no H264 without a download) publishes and watches VP8.

Its ClientHello comes in two datagrams and its offer carries fingerprint and direction at session
level; as a viewer it loses packets of a fast start and repairs them by RTX.
"""

from __future__ import annotations

import pytest

from tests.interop.interop_tools import Pages, Server, plays

WORKERS = 2
HOST = "0.0.0.0"  # Firefox offers the address of the default route alone, never 127.0.0.1


@pytest.mark.client("Firefox", "Chromium")
def test_firefox_publishes(server: Server, pages: Pages, firefox_pages: Pages, record) -> None:
    name = "firefox"
    firefox_pages.publish(name, video="VP8", audio="PCMA")
    viewers = {"chromium": pages.watch(name), "firefox": firefox_pages.watch(name)}
    # Without a sound card Firefox's AudioContext makes silence: packets come, but no tone.
    shown = {who: plays(tab, video="VP8", audio="PCMA", tone=False) for who, tab in viewers.items()}
    record(**shown)


@pytest.mark.client("Firefox", "Chromium")
def test_firefox_watches_chromium(
    server: Server, pages: Pages, firefox_pages: Pages, record
) -> None:
    name = "chromium-for-firefox"
    pages.publish(name, video="VP8", audio="opus")
    record(firefox=plays(firefox_pages.watch(name), video="VP8", audio="opus"))
