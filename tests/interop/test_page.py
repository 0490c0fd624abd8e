"""The page in a real Chromium: what it shows and explains, and that it leaves nothing behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.interop.interop_tools import Pages, Server

WORKERS = 1
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--host-resolver-rules=MAP page.test 127.0.0.1",
]
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def strict_chromium(chromium: Browser) -> Iterator[Browser]:
    """A browser that grants no camera, and knows an insecure name for the server."""
    executable = "/usr/bin/chromium"
    browser = chromium.browser_type.launch(executable_path=executable, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def page(strict_chromium: Browser) -> Iterator[Page]:
    context = strict_chromium.new_context()
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "console",
        lambda message: (
            errors.append(message.text) if "Content Security Policy" in message.text else None
        ),
    )
    yield opened
    context.close()
    assert errors == []


def test_no_camera_allowed_is_explained(server: Server, page: Page) -> None:
    page.goto(server.url("/?source=camera"))
    page.click("#publish-start")
    expect(page.locator("#publish-message")).to_contain_text(
        re.compile("did not allow|no camera here")
    )
    expect(page.locator("#publish-start")).to_be_visible()
    assert page.evaluate("window.rtcfwd.publisher") is None


def test_insecure_page_explains_and_still_publishes(server: Server, page: Page) -> None:
    """Over plain HTTP there are no mediaDevices: the pattern works from the page's own canvas."""
    page.goto(server.url("/?publish=plain&video=VP8&audio=PCMU").replace("127.0.0.1", "page.test"))
    assert page.evaluate("window.isSecureContext") is False
    expect(page.locator("#insecure-note")).to_contain_text("https://page.test")
    expect(page.locator("input[value=camera]")).to_be_disabled()
    page.click("#publish-start")
    expect(page.locator("#publish-state")).to_have_text("live", timeout=15000)
    server.wait_live("plain")
    page.click("#publish-stop")
    expect(page.locator("#publish-state")).to_have_text("stopped")
    server.wait_gone("plain")


def test_viewer_waits_and_starts_by_itself(server: Server, pages: Pages, page: Page) -> None:
    page.goto(server.url("/?watch=later"))
    expect(page.locator("#watch-state")).to_have_text("waiting for the publisher")
    expect(page.locator("#watch-message")).to_contain_text("Nobody is publishing")
    publisher = pages.publish("later", video="H264", audio="PCMA")
    expect(page.locator("#watch-state")).to_have_text("live", timeout=20000)
    expect(page.locator("#watch-unmute")).to_be_visible(timeout=10000)
    expect(page.locator("#watch-figures")).to_contain_text("640 × 360")
    expect(page.locator("#watch-figures")).to_contain_text("H264 · PCMA")
    expect(page.locator("#live-list")).to_contain_text("later")
    expect(page.locator("#live-list")).to_contain_text("1 viewer")

    publisher.close()  # the tab goes, its pagehide ends the session
    server.wait_gone("later")
    expect(page.locator("#watch-message")).to_contain_text("The publisher is away", timeout=10000)
    # After its grace time the server ends the stream; the page goes back to waiting by itself.
    expect(page.locator("#watch-state")).to_have_text("waiting for the publisher", timeout=20000)
    expect(page.locator("#live-list li")).to_have_count(0, timeout=10000)
    page.click("#watch-stop")
    expect(page.locator("#watch-state")).to_have_text("stopped")


def test_a_phone_is_told_where_to_watch(server: Server, pages: Pages, page: Page) -> None:
    """By a link and its QR code; and a viewer who gives no name gets what is live."""
    address = server.url("/").replace("127.0.0.1", "page.test")
    publisher = pages.publish("only", video="H264", audio="PCMA")
    page.goto(address)
    expect(page.locator("#watch-name")).to_have_attribute("placeholder", "only")
    page.click("#watch-start")
    expect(page.locator("#watch-state")).to_have_text("live", timeout=20000)
    expect(page.locator("#page-url")).to_have_text(f"{address}?watch=only")
    expect(page.locator("#page-code")).to_be_visible()
    assert page.evaluate("document.getElementById('page-code').naturalWidth") > 100
    expect(page.locator("#page-note")).to_be_hidden()
    page.goto(server.url("/"))  # as 127.0.0.1, where this server alone listens
    expect(page.locator("#page-note")).to_be_visible()
    expect(page.locator("#page-code")).to_be_hidden()
    publisher.close()


def test_what_is_wrong_with_a_stream_is_shown(server: Server, pages: Pages, page: Page) -> None:
    """The API's warnings, of the stream that is watched; here with one put among them."""

    def doctored(route: Any) -> None:
        reply = route.fetch()
        told = reply.json()
        for stream in told["streams"]:
            stream["warnings"] = [{"type": "b_frames", "text": f"B-frames in {stream['name']}"}]
        route.fulfill(response=reply, json=told)

    publisher = pages.publish("ill", video="H264", audio="PCMA")
    page.goto(server.url("/?watch=ill"))
    expect(page.locator("#watch-state")).to_have_text("live", timeout=20000)
    expect(page.locator("#watch-warnings")).to_be_hidden()
    page.route("**/api/v1/streams", doctored)
    expect(page.locator("#watch-warnings li")).to_have_text(["B-frames in ill"], timeout=10000)
    page.unroute("**/api/v1/streams")
    expect(page.locator("#watch-warnings")).to_be_hidden(timeout=10000)
    publisher.close()


def test_taken_name_is_refused(server: Server, pages: Pages, page: Page) -> None:
    publisher = pages.publish("mine", video="H264", audio="PCMA")
    page.goto(server.url("/?publish=mine&auto=1"))
    expect(page.locator("#publish-state")).to_have_text("failed", timeout=10000)
    expect(page.locator("#publish-message")).to_contain_text("Somebody else is publishing")
    publisher.close()


def test_unknown_codec_is_refused(server: Server, page: Page) -> None:
    page.goto(server.url("/?publish=odd&video=MPEG2&auto=1"))
    expect(page.locator("#publish-message")).to_contain_text("cannot send MPEG2")
    assert "odd" not in server.streams()


def test_pattern_is_read_by_the_command(server: Server, pages: Pages, record: Any) -> None:
    """The page draws the code strip that `rtcfwd play` reads, so the two check each other."""
    publisher = pages.publish("strip", video="H264", audio="opus")
    played = subprocess.run(
        [
            sys.executable,
            *["-m", "rtcfwd", "play", "--seconds", "3", "--stats"],
            server.url("/whep/strip"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    publisher.close()
    assert played.returncode == 0, played.stderr
    figures = json.loads(played.stdout)
    record(**figures)
    pattern = figures["pattern"]
    assert pattern["read"] >= 50
    assert pattern["backward"] == pattern["unreadable"] == 0
    assert figures["audio"]["codec"] == "OPUS"


@pytest.mark.parametrize("query", ["", "?watch=nobody", "?publish=" + "w" * 64])
def test_fits_a_phone(server: Server, page: Page, query: str) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.goto(server.url("/" + query))
    expect(page.locator("#publish-start")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, input:not([type=radio])')]"
        ".filter(e => e.offsetParent && e.offsetHeight < 32).map(e => e.id)"
    )
    assert small == []  # everything can be hit with a finger


def test_the_self_test_is_shown(server: Server, page: Page) -> None:
    page.goto(server.url("/"))
    page.click("#selftest-start")
    expect(page.locator("#selftest-message")).to_have_text("All is in order.", timeout=15_000)
    expect(page.locator("#selftest-lines li.ok", has_text="first frame")).to_be_visible()
    expect(page.locator("#selftest-lines li.bad")).to_have_count(0)
    page.click("#selftest-start")  # too soon
    expect(page.locator("#selftest-message")).to_contain_text("One self-test at a time")
