"""The page, FFmpeg and `rtcfwd play` with tokens, HTTPS, and a server that ends."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.interop.interop_tools import Server, serving, wait_until

PUBLISHER, VIEWER, ADMIN = "publisher-token-1", "viewer-token-0001", "admin-token-00001"
TOKENS = f"publish:*:{PUBLISHER} view:*:{VIEWER} admin:*:{ADMIN}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("secured") / "server.log"
    options = ("--auth-tokens", *TOKENS.split(), "--auth-delay", "0", "--drain", "0")
    with serving(log, workers=1, options=options) as running:
        yield running
    for token in (PUBLISHER, VIEWER, ADMIN):
        assert token not in running.text()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(ignore_https_errors=True)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


def play(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rtcfwd", "play", "--seconds", "2", "--stats", *options, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.duty("W21", "W22")
def test_the_page_asks_for_a_token(secured: Server, page: Page) -> None:
    """Without one it says so; with one, from its field or its URL, it publishes and watches."""
    page.goto(secured.url("/"))
    expect(page.locator("#token-form")).to_be_visible()
    expect(page.locator("#live-empty")).to_contain_text("admin token")
    page.click("#publish-start")
    expect(page.locator("#publish-state")).to_have_text("failed")
    expect(page.locator("#publish-message")).to_contain_text("401")
    page.fill("#token", PUBLISHER)
    page.click("#token-use")  # tries again by itself
    expect(page.locator("#publish-state")).to_have_text("live", timeout=15000)
    viewer = page.context.new_page()
    viewer.goto(secured.url(f"/?watch=demo&token={VIEWER}"))
    expect(viewer.locator("#watch-state")).to_have_text("live", timeout=15000)
    assert VIEWER not in viewer.inner_text("#page-url")

    refused = play(secured.url("/whep/demo"))
    assert refused.returncode == 1
    assert "wants a token" in refused.stderr
    played = play(secured.url("/whep/demo"), "--token", VIEWER)
    assert played.returncode == 0, played.stderr
    assert json.loads(played.stdout)["audio"]["packets"] > 0

    admin = page.context.new_page()
    admin.goto(secured.url(f"/?token={ADMIN}"))
    expect(admin.locator("#live-list")).to_contain_text("demo")
    page.click("#publish-stop")
    expect(page.locator("#publish-state")).to_have_text("stopped")


@pytest.mark.duty("W21")
def test_ffmpeg_publishes_with_a_token(
    secured: Server,
    processes: Callable[..., subprocess.Popen[str]],
    ffmpeg: str,
    clip: Callable[[int], Path],
) -> None:
    command = f"{ffmpeg} -v error -re -stream_loop -1 -i {clip(25)} -c copy -f whip".split()
    url = secured.url("/whip/ff")
    refused = subprocess.run(
        [*command, url], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
    )
    assert refused.returncode != 0
    processes([*command, "-authorization", PUBLISHER, url], stdin=subprocess.DEVNULL)
    played = wait_until(
        lambda: (p := play(secured.url("/whep/ff"), "--token", VIEWER)).returncode == 0 and p,
        "a player gets FFmpeg's pictures",
    )
    assert json.loads(played.stdout)["video"]["packets"] > 0


@pytest.mark.duty("W27")
def test_a_self_signed_page_is_secure_enough_for_the_camera(page: Page, tmp_path: Path) -> None:
    """What a phone does: past the warning the page is a secure context with a camera."""
    log = tmp_path / "server.log"
    server = Server(workers=1, log=log, options=("--tls-self-signed", "--drain", "0"))
    try:
        server.wait_ready()
        base = f"https://127.0.0.1:{server.port}"
        page.goto(f"{base}/?publish=phone&source=camera&video=VP8&auto=1")
        assert page.evaluate("window.isSecureContext") is True
        expect(page.locator("#publish-state")).to_have_text("live", timeout=15000)
        viewer = page.context.new_page()
        viewer.goto(f"{base}/?watch=phone")
        expect(viewer.locator("#watch-figures")).to_contain_text("VP8", timeout=15000)
    finally:
        server.stop()
    server.assert_clean_exit()


@pytest.mark.duty("S3", "W20")
def test_a_restart_brings_everybody_back(page: Page, tmp_path: Path) -> None:
    """SIGTERM closes both sessions at once; the page comes back to the next server by itself."""
    first = Server(workers=1, log=tmp_path / "first.log", options=("--drain", "1"))
    try:
        first.wait_ready()
        page.goto(first.url("/?publish=again&video=VP8&auto=1"))
        expect(page.locator("#publish-state")).to_have_text("live", timeout=15000)
        viewer = page.context.new_page()
        viewer.goto(first.url("/?watch=again"))
        expect(viewer.locator("#watch-state")).to_have_text("live", timeout=15000)
    finally:
        first.stop()
    first.assert_clean_exit()
    assert "draining" in first.text()
    expect(viewer.locator("#watch-state")).to_have_text("reconnecting…")
    ports = ("--port", str(first.port), "--udp-port", str(first.udp_port))
    second = Server(workers=1, log=tmp_path / "second.log", options=(*ports, "--drain", "0"))
    try:
        second.wait_ready()
        expect(page.locator("#publish-state")).to_have_text("live", timeout=20000)
        expect(viewer.locator("#watch-state")).to_have_text("live", timeout=20000)
    finally:
        second.stop()
    second.assert_clean_exit()


@pytest.mark.duty("W19")
def test_the_page_ffmpeg_and_play_follow_a_redirect(
    page: Page,
    tmp_path: Path,
    processes: Callable[..., subprocess.Popen[str]],
    ffmpeg: str,
    clip: Callable[[int], Path],
) -> None:
    """A publisher and two viewers that ask one server are served by another; their token goes
    along, which browsers and aiohttp leave out of a redirect to another origin."""
    token = ("--auth-tokens", f"*:*:{ADMIN}", "--drain", "0")
    there = Server(workers=1, log=tmp_path / "there.log", options=token)
    here = None
    try:
        there.wait_ready()
        options = (*token, "--redirect", f"*:*:{there.url('')}")
        here = Server(workers=1, log=tmp_path / "here.log", options=options)
        here.wait_ready()
        command = f"{ffmpeg} -v error -re -stream_loop -1 -i {clip(25)} -c copy"
        command += f" -f whip -authorization {ADMIN} {here.url('/whip/moved')}"
        processes(command.split(), stdin=subprocess.DEVNULL)
        played = wait_until(
            lambda: (p := play(here.url("/whep/moved"), "--token", ADMIN)).returncode == 0 and p,
            "rtcfwd play is served",
        )
        assert json.loads(played.stdout)["video"]["packets"] > 0
        page.goto(here.url(f"/?watch=moved&token={ADMIN}"))
        expect(page.locator("#watch-state")).to_have_text("live", timeout=15000)
        assert viewers(there) == {"moved": 1}
        page.click("#watch-stop")
        wait_until(lambda: viewers(there) == {"moved": 0}, "DELETE went there, too")
        assert viewers(here) == {}
    finally:
        there.stop()
        if here is not None:
            here.stop()
    there.assert_clean_exit()
    assert here is not None
    here.assert_clean_exit()


def viewers(server: Server) -> dict[str, int]:
    """How many a server has, by stream."""
    request = urllib.request.Request(
        server.url("/api/v1/streams"), headers={"Authorization": f"Bearer {ADMIN}"}
    )
    with urllib.request.urlopen(request, timeout=5) as reply:
        return {stream["name"]: stream["viewers"] for stream in json.load(reply)["streams"]}
