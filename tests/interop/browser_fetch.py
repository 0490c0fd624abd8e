"""A browser's `fetch` as a script (Fetch standard, 3.2 CORS protocol), for replays of JavaScript
clients: preflights go out before whatever needs one, and a reply's headers are seen only where
Access-Control-Expose-Headers lets them.

It raises AssertionError where `fetch` would reject with a TypeError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.conformance.harness import Reply
from tests.interop.scripted import exchange

SAFE_METHODS = ("GET", "HEAD", "POST")
SAFE_REPLY = ("cache-control", "content-language", "content-type", "expires", "last-modified")
AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/156.0.0.0 Safari/537.36"
)


@dataclass(frozen=True)
class Fetched:
    """A reply as a script sees it."""

    status: int
    text: str
    _reply: Reply
    _exposed: frozenset[str]

    def header(self, name: str) -> str | None:
        """None where it is missing or not exposed; several of a name are joined."""
        if name.lower() not in self._exposed and name.lower() not in SAFE_REPLY:
            return None
        found = self._reply.headers.get_all(name)
        return ", ".join(found) if found else None


@dataclass
class Page:
    """A page of ``origin``. ``sent``: method and status of each request, preflights included."""

    origin: str = "https://player.example"
    sent: list[tuple[str, int]] = field(default_factory=list)

    def fetch(
        self,
        url: str,
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
        body: str = "",
    ) -> Fetched:
        names = sorted(name.lower() for name, _ in headers)
        if method not in SAFE_METHODS or names:
            self._preflight(url, method, names)
        lines = [*self._common(), *headers]
        reply = exchange(url, method, lines, body)
        self.sent.append((method, reply.status))
        assert reply.header("Access-Control-Allow-Origin") in ("*", self.origin), "CORS error"
        exposed = {
            part.strip().lower()
            for part in reply.header("Access-Control-Expose-Headers").split(",")
        }
        return Fetched(reply.status, reply.text, reply, frozenset(exposed))

    def _common(self) -> list[tuple[str, str]]:
        return [
            ("Connection", "keep-alive"),
            ("User-Agent", AGENT),
            ("Accept", "*/*"),
            ("Origin", self.origin),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", "empty"),
            ("Referer", self.origin + "/"),
            ("Accept-Encoding", "gzip, deflate, br, zstd"),
            ("Accept-Language", "en-US,en;q=0.9"),
        ]

    def _preflight(self, url: str, method: str, names: list[str]) -> None:
        asks = [("Access-Control-Request-Method", method)]
        if names:
            asks.append(("Access-Control-Request-Headers", ",".join(names)))
        reply = exchange(url, "OPTIONS", [*self._common(), *asks])
        self.sent.append(("preflight", reply.status))
        assert 200 <= reply.status < 300, f"preflight: {reply.status}"
        assert reply.header("Access-Control-Allow-Origin") in ("*", self.origin), "CORS error"
        methods = {m.strip() for m in reply.header("Access-Control-Allow-Methods").split(",")}
        assert method in methods or method in SAFE_METHODS, f"{method} is not in {methods}"
        allowed = {
            h.strip().lower() for h in reply.header("Access-Control-Allow-Headers").split(",")
        }
        assert set(names) <= allowed, f"{names} are not all in {allowed}"
