"""Browser libraries that speak WHIP or WHEP, as npm has them, in Chromium: each publishes to or
plays from the server out of a page of another origin, so that its preflights count, too.

What a library sends is read from the browser's network log, what it shows from getStats. Its
bundle is made by ``make build/npm/clients.bundle.js``, which ``make test`` and ``make interop`` do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request

from tests.interop.interop_tools import Server, wait_until

WORKERS = 1
BUNDLE = Path(__file__).resolve().parents[2] / "build" / "npm" / "clients.bundle.js"
PAGE = b"<!doctype html><video autoplay muted></video><script src=clients.js></script>"
FRAMES = 50
TOKEN = "abc"  # the server asks for none; what a library does with it is what is looked at


class Files(BaseHTTPRequestHandler):
    """The page and the bundle."""

    def do_GET(self) -> None:
        script = self.path.endswith(".js")
        body = BUNDLE.read_bytes() if script else PAGE
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if script else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def page_url() -> Iterator[str]:
    assert BUNDLE.exists(), "run `make build/npm/clients.bundle.js`"
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as files:
        thread = threading.Thread(target=files.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{files.server_port}/"
        files.shutdown()
        thread.join()


@pytest.fixture
def open_client(chromium: Browser, server: Server, page_url: str) -> Iterator[Callable[[], Client]]:
    context = chromium.new_context()
    yield lambda: Client(context.new_page(), server, page_url)
    context.close()


class Client:
    """A page with one library at work. ``sent``: its requests to the server, in order."""

    def __init__(self, page: Page, server: Server, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self.sent: list[Request] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

        def keep(request: Request) -> None:
            if request.url.startswith(server.url()):
                self.sent.append(request)

        self.page.on("request", keep)
        self.page.goto(url)

    def start(self, role: str, library: str, url: str, token: str | None = None) -> None:
        self.page.evaluate(
            "([role, library, url, token]) => clients[role][library](url, token ?? undefined)",
            [role, library, url, token],
        )

    def wait(self, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """Until getStats meet the condition; those figures."""

        def met() -> dict[str, Any] | None:
            found: dict[str, Any] = self.page.evaluate("clients.figures()")
            return found if condition(found) else None

        return wait_until(met, what, 30)

    def plays(self) -> dict[str, Any]:
        """Frames are decoded, the video element has a picture, sound is there."""
        return self.wait(
            lambda f: (
                f.get("video", {}).get("framesDecoded", 0) >= FRAMES
                and f.get("audio", {}).get("packetsReceived", 0) >= FRAMES
                and f["width"] > 0
            ),
            f"{FRAMES} frames decoded",
        )

    def statuses(self, method: str) -> list[int]:
        """What its requests of a method were answered."""
        replies = [request.response() for request in self.sent if request.method == method]
        return [reply.status for reply in replies if reply is not None]

    def headers(self, method: str) -> list[dict[str, str]]:
        return [request.all_headers() for request in self.sent if request.method == method]

    def stop(self) -> None:
        """As the library's own user ends it; at least the DELETE is asked for."""
        self.page.evaluate("clients.stop()")
        wait_until(lambda: self.statuses("DELETE"), "a DELETE")
        assert not self.errors, self.errors


@pytest.mark.client("whip-whep")
def test_whip_whep(open_client: Callable[[], Client], server: Server, record: Any) -> None:
    """`whip-whep` on both ends: no candidates in the offers, trickled ones (with the ETag as a
    publisher, without If-Match as a viewer), an ICE restart of each in the middle of the media."""
    publisher, viewer = open_client(), open_client()
    publisher.start("publish", "whip-whep", server.url("/whip/npm-whip-whep"), TOKEN)
    server.wait_live("npm-whip-whep")
    viewer.start("play", "whip-whep", server.url("/whep/npm-whip-whep"), TOKEN)
    viewer.plays()

    offers = [client.sent[0].post_data or "" for client in (publisher, viewer)]
    assert not any("a=candidate" in offer for offer in offers)
    assert all(h["authorization"] == f"Bearer {TOKEN}" for h in publisher.headers("PATCH"))
    assert all("if-match" in headers for headers in publisher.headers("PATCH"))
    assert not any("if-match" in headers for headers in viewer.headers("PATCH"))
    trickled = {}
    for name, client in (("publisher", publisher), ("viewer", viewer)):
        wait_until(lambda c=client: c.statuses("PATCH"), "a PATCH")
        trickled[name] = client.statuses("PATCH")
        assert set(trickled[name]) == {204}

    for client in (publisher, viewer):
        client.page.evaluate("clients.restart()")
        wait_until(lambda c=client: 200 in c.statuses("PATCH"), "a PATCH answered 200")
    frames = viewer.plays()["video"]["framesDecoded"]
    seen = viewer.wait(
        lambda f: f["video"]["framesDecoded"] >= frames + FRAMES, "frames after the restarts"
    )
    assert seen["state"] == "connected"
    events = [r.url for r in viewer.sent if r.resource_type == "eventsource"]
    record(
        patches=trickled,
        video=seen["video"]["codec"],
        audio=seen["audio"]["codec"],
        frames=seen["video"]["framesDecoded"],
        event_streams=len(events),
    )
    viewer.stop()
    publisher.stop()
    assert viewer.statuses("DELETE") == publisher.statuses("DELETE") == [200]
    server.wait_gone("npm-whip-whep")


@pytest.mark.client("@eyevinn/whip-web-client", "@eyevinn/webrtc-player")
def test_eyevinn(open_client: Callable[[], Client], server: Server, record: Any) -> None:
    """`@eyevinn/whip-web-client` publishes: it trickles because a scripted OPTIONS says that PATCH
    is allowed, with an ETag as a request header and component 0; `@eyevinn/webrtc-player` plays."""
    publisher, viewer = open_client(), open_client()
    url = server.url("/whip/npm-eyevinn")
    publisher.start("publish", "@eyevinn/whip-web-client", url, TOKEN)
    server.wait_live("npm-eyevinn")
    viewer.start("play", "@eyevinn/webrtc-player", server.url("/whep/npm-eyevinn"), TOKEN)
    seen = viewer.plays()

    assert publisher.sent[0].method == "OPTIONS"
    wait_until(lambda: publisher.statuses("PATCH"), "a PATCH")
    assert set(publisher.statuses("PATCH")) == {204}
    for headers in publisher.headers("PATCH"):
        assert "etag" in headers
        assert "if-match" not in headers
    fragments = [r.post_data or "" for r in publisher.sent if r.method == "PATCH"]
    assert all(" 0 udp " in f.lower() or " 0 tcp " in f.lower() for f in fragments)
    assert viewer.headers("POST")[0]["authorization"] == TOKEN  # its scheme is left out
    assert seen["connections"] == 1  # it did not connect anew
    record(
        patches=publisher.statuses("PATCH"),
        video=seen["video"]["codec"],
        audio=seen["audio"]["codec"],
        frames=seen["video"]["framesDecoded"],
    )
    viewer.stop()
    publisher.stop()
    assert viewer.statuses("DELETE") == publisher.statuses("DELETE") == [200]
    server.wait_gone("npm-eyevinn")
