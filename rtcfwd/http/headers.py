"""Headers that go on every reply, and reading those that come in.

The CORS set is the union of what browser clients need, on errors too: without it ``fetch`` hides
the status from the page. ``ETag`` among the allowed request headers and
``Access-Control-Allow-Methods`` among the exposed ones are for one widely used SDK.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
JSON = "application/json"

CORS: Mapping[str, str] = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, ETag",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Accept-Post, Accept-Patch, "
    "Retry-After, WWW-Authenticate, Access-Control-Allow-Methods",
    "Access-Control-Max-Age": "600",
}

EVERYWHERE: Mapping[str, str] = {
    **CORS,
    "X-Content-Type-Options": "nosniff",
    "Server": "rtcfwd",
}


async def add_common(request: web.Request, response: web.StreamResponse) -> None:
    """aiohttp's on_response_prepare signal: the last word on every reply's headers."""
    for name, value in EVERYWHERE.items():
        response.headers[name] = value


def has_media_type(request: web.Request, wanted: str) -> bool:
    """Whether Content-Type names ``wanted``: case-insensitive, parameters ignored (RFC 9110
    section 8.3.1); an absent one is no match."""
    value = request.headers.get("Content-Type", "")
    return value.partition(";")[0].strip().lower() == wanted


def if_match(request: web.Request) -> list[str] | None:
    """The tags of If-Match without their quotes, ``*`` for any; None when there is none.

    Clients write ``"x"``, ``x``, ``*``, ``"*"`` and lists, and all of it is taken.
    """
    value = request.headers.get("If-Match")
    if value is None:
        return None
    tags = [tag.strip() for tag in value.split(",")]
    return [tag.removeprefix("W/").strip('"') for tag in tags if tag]
