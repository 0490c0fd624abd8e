"""The web page: the files of ``rtcfwd/web``, read once at start and served by exact name.

No path of a request ever reaches the file system, so there is nothing to traverse. The content
security policy allows this origin only, and the servers that joins are redirected to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import resources
from urllib.parse import urlsplit

from aiohttp import web

from .problems import Problem

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob: mediastream:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Pages:
    """Handlers for ``/`` and ``/web/{file}``. ``others``: URLs of servers that the page may be
    redirected to."""

    def __init__(self, others: Iterable[str] = ()) -> None:
        origins = sorted({f"{u.scheme}://{u.netloc}" for u in map(urlsplit, others)})
        allowed = " ".join(["'self'", *origins])
        policy = f"{_HEADERS['Content-Security-Policy']}; connect-src {allowed}"
        headers = {**_HEADERS, "Content-Security-Policy": policy}
        self._files: dict[str, tuple[bytes, dict[str, str]]] = {}
        folder = resources.files("rtcfwd") / "web"
        for item in folder.iterdir() if folder.is_dir() else ():
            suffix = "." + item.name.rpartition(".")[2]
            if item.is_file() and suffix in _TYPES:
                body = item.read_bytes()
                tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
                self._files[item.name] = (
                    body, {**headers, "Content-Type": _TYPES[suffix], "ETag": tag}
                )  # fmt: skip

    async def index(self, request: web.Request) -> web.Response:
        return self._reply(request, "index.html")

    async def file(self, request: web.Request) -> web.Response:
        return self._reply(request, request.match_info["file"])

    def _reply(self, request: web.Request, name: str) -> web.Response:
        if name not in self._files:
            raise Problem(404, "Not found", "There is nothing here; see / for the page.")
        body, headers = self._files[name]
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)
