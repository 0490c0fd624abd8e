"""WHIP endpoint: HTTP around the offer, URLs, errors and CORS (RFC 9725 4.1, 4.2; RFC 9110)."""

from __future__ import annotations

import re

from ..harness import SDP, Server, has_cors, is_problem, publisher_offer
from ..registry import check, not_checked


@check("W2")
def etag(server: Server) -> None:
    """The 201 has a strong quoted ETag, another for each session."""
    tags = [server.whip().header("ETag") for _ in range(2)]
    assert all(re.fullmatch(r'"[!#-~]+"', tag) for tag in tags), tags
    assert tags[0] != tags[1], tags


@check("W7")
def get(server: Server) -> None:
    """GET of endpoint and session: 2xx without content."""
    name, session = server.publish()
    for path in (f"/whip/{name}", session.header("Location")):
        reply = server.request("GET", path)
        assert 200 <= reply.status < 300, (path, reply.status)
        assert reply.body == b""


@check("W8")
def options(server: Server) -> None:
    """OPTIONS: 200 (or 204), CORS, Accept-Post."""
    reply = server.request("OPTIONS", f"/whip/{server.name()}")
    assert reply.status in (200, 204), reply.status
    assert reply.header("Accept-Post") == SDP
    has_cors(reply)


@check("W9")
def preflight(server: Server) -> None:
    """A preflight works without Authorization and carries no ice-server Link."""
    reply = server.request(
        "OPTIONS",
        f"/whip/{server.name()}",
        Origin="https://example.com",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization,content-type",
    )
    assert reply.status in (200, 204), reply.status
    assert "ice-server" not in reply.header("Link")
    has_cors(reply)


@check("W26")
def unguessable(server: Server) -> None:
    """Session URLs carry at least 128 random bits."""
    urls = [server.whip().header("Location") for _ in range(3)]
    last = [url.rpartition("/")[2] for url in urls]
    assert len(set(last)) == 3
    assert all(len(part) >= 22 for part in last), last


@check("W28")
def problems(server: Server) -> None:
    """Errors are application/problem+json with a detail, and have Content-Length and CORS."""
    for reply in (
        server.post("/whip/x", "", "text/plain"),
        server.post("/whip/x", "v=1"),
        server.request("PUT", "/whip/x"),
        server.request("GET", "/nothing/here"),
        server.request("DELETE", "/whip/session/" + "0" * 32),
    ):
        assert 400 <= reply.status < 500, reply.status
        is_problem(reply)
        assert reply.header("Content-Length") == str(len(reply.body))
        has_cors(reply)


@check("W29")
def unsupported_method(server: Server) -> None:
    """Other methods: 405 with Allow."""
    for method in ("PUT", "DELETE", "PATCH", "TRACE"):
        reply = server.request(method, f"/whip/{server.name()}")
        assert reply.status == 405, (method, reply.status)
        allow = {m.strip() for m in reply.header("Allow").split(",")}
        assert {"POST", "OPTIONS"} <= allow, allow


@check("1E")
def cors_everywhere(server: Server) -> None:
    """The CORS set is complete on real replies and on errors."""
    _, session = server.publish()
    has_cors(session)
    has_cors(server.post(f"/whip/{server.name()}", "v=1"))
    has_cors(server.request("GET", "/nothing"))
    has_cors(server.post(f"/whep/{server.name()}", publisher_offer()))


not_checked("W10", "a MAY: OPTIONS carries no ice-server Link here")
not_checked("W11", "a MAY: a lite server needs no STUN or TURN server")
not_checked("W24", "no protocol extension is served")
