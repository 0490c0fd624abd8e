"""Session URLs: DELETE, other methods (RFC 9725 section 4.2; RFC 9110)."""

from __future__ import annotations

from ..harness import FRAGMENT, SDP, Reply, Server, fragment, publisher_offer
from ..registry import check, not_checked


def _patch(server: Server, reply: Reply, body: str, kind: str = FRAGMENT, **headers: str) -> Reply:
    return server.request("PATCH", reply.header("Location"), body.encode(), kind, **headers)


@check("S1")
def delete(server: Server) -> None:
    """DELETE: 200, and again 200 for a while; the stream can be published again."""
    name, session = server.publish()
    for _ in range(2):
        reply = server.request("DELETE", session.header("Location"))
        assert reply.status == 200, reply.status
        assert reply.header("Content-Length") == "0"
    assert server.whip(name=name).status == 201


@check("S2")
def delete_if_match(server: Server) -> None:
    """DELETE ignores If-Match."""
    _, session = server.publish()
    assert server.request("DELETE", session.header("Location"), If_Match='"old"').status == 200


@check("S16")
def unknown_session(server: Server) -> None:
    """PATCH and DELETE of an unknown session: 404."""
    path = "/whip/session/" + "a" * 32
    assert server.request("DELETE", path).status == 404
    body = fragment(publisher_offer()).encode()
    assert server.request("PATCH", path, body, FRAGMENT).status == 404


@check("S17")
def session_methods(server: Server) -> None:
    """PUT and POST of a session: 405 with Allow."""
    _, session = server.publish()
    for method in ("PUT", "POST"):
        reply = server.request(method, session.header("Location"), b"x", SDP)
        assert reply.status == 405, (method, reply.status)
        assert "DELETE" in reply.header("Allow")


@check("S18")
def session_no_redirect(server: Server) -> None:
    """PATCH and DELETE are not redirected."""
    _, session = server.publish()
    body = fragment(publisher_offer())
    assert _patch(server, session, body, If_Match="*").status // 100 != 3
    assert server.request("DELETE", session.header("Location")).status // 100 != 3


not_checked("S3", "needs DTLS: tests/unit/test_session.py")
