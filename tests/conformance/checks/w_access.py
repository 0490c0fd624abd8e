"""WHIP endpoint: who may publish, where to, and how often (RFC 9725 sections 4.5 to 4.7, 5).

A server with authentication is run with ``--with token=…``, a token for every stream and action.
"""

from __future__ import annotations

import re
import urllib.parse

from ..harness import FRAGMENT, NotApplicable, Reply, Server, fragment, publisher_offer
from ..registry import check, not_checked

LINK = re.compile(
    r'<(stuns?|turns?):[^>]+>; rel="ice-server"'
    r'(; username="[^"]+"; credential="[^"]+"; credential-type="password")?'
)


def _ice_links(reply: Reply) -> list[str]:
    lines = reply.headers.get_all("Link") or []
    return [line for line in lines if "ice-server" in line]


@check("W10")
def options_links(server: Server) -> None:
    """OPTIONS that is no preflight: its ice-server Links are well formed, and it has no others."""
    reply = server.request("OPTIONS", f"/whip/{server.name()}")
    if not _ice_links(reply):
        raise NotApplicable("a MAY: this server lists no STUN or TURN server")
    for line in reply.headers.get_all("Link") or []:
        assert LINK.fullmatch(line), line


@check("W11")
def created_links(server: Server) -> None:
    """The 201 has a Link line for each STUN and TURN server, with credentials for TURN."""
    links = _ice_links(server.whip())
    if not links:
        raise NotApplicable("a MAY: this server lists no STUN or TURN server")
    for line in links:
        assert LINK.fullmatch(line), line
        assert line.startswith("<stun") or "credential=" in line, line


@check("W19")
def no_redirect(server: Server) -> None:
    """No 301 or 302; a 307 has an absolute Location."""
    for reply in (server.whip(), server.view()):
        assert reply.status not in (301, 302, 303, 308), reply.status
        if reply.status == 307:
            assert re.match(r"https?://[^/]+/", reply.header("Location")), reply.header("Location")


@check("W21")
def bearer_tokens(server: Server) -> None:
    """Without a token 401 with WWW-Authenticate: Bearer, with it 201; a bad one gives 401 too."""
    offer = publisher_offer()
    refused = server.post(f"/whip/{server.name()}", offer, Authorization="")
    if refused.status == 201:
        raise NotApplicable("this server asks for no token")
    for reply in (
        refused,
        server.post(f"/whip/{server.name()}", offer, Authorization="Bearer wrong-wrong-wrong"),
    ):
        assert reply.status == 401, reply.status
        assert reply.header("WWW-Authenticate").lower().startswith("bearer"), reply.headers
        assert reply.header("Access-Control-Allow-Origin")
    server.given("token", "a token for every stream and action")
    assert server.whip().status == 201


@check("W21")
def tokens_on_sessions(server: Server) -> None:
    """PATCH and DELETE of a session with Authorization work, and a preflight without it."""
    _, made = server.publish()
    location, body = made.header("Location"), fragment(publisher_offer()).encode()
    token = server.options.get("token", "t0ken")
    sent = {"Authorization": f"Bearer {token}", "If_Match": made.header("ETag")}
    reply = server.request("PATCH", location, body, FRAGMENT, **sent)
    assert reply.status == 204, reply.status
    preflight = server.request(
        "OPTIONS", location, Authorization="", Origin="https://example.com",
        Access_Control_Request_Method="DELETE", Access_Control_Request_Headers="authorization",
    )  # fmt: skip
    assert preflight.status in (200, 204), preflight.status
    assert "authorization" in preflight.header("Access-Control-Allow-Headers").lower()
    reply = server.request("DELETE", location, Authorization=f"Bearer {token}")
    assert reply.status == 200, reply.status


@check("W22")
def token_in_query(server: Server) -> None:
    """A token as ?token= instead of a header: 201, and Location does not repeat it."""
    token = server.options.get("token", "t0ken")
    query = urllib.parse.urlencode({"token": token})
    reply = server.post(f"/whip/{server.name()}?{query}", publisher_offer(), Authorization="")
    assert reply.status == 201, reply.status
    assert token not in reply.header("Location")


@check("W25")
def floods(server: Server) -> None:
    """3000 DELETEs in a row: 429 or 503 with Retry-After at some time."""
    sent = {"X_Forwarded_For": server.options["forwarded"]} if "forwarded" in server.options else {}
    for _ in range(3000 if "flood" in server.options else 0):
        reply = server.request("DELETE", "/whip/session/" + "0" * 32, **sent)
        if reply.status in (429, 503):
            assert int(reply.header("Retry-After")) > 0
            return
        assert reply.status == 404, reply.status
    server.given("flood", "yes, from an address that is limited")
    raise AssertionError("all were answered")


@check("W27")
def https(server: Server) -> None:
    """The server is reached by HTTPS."""
    if server.base.scheme != "https":
        raise NotApplicable("run with an https:// URL")
    assert server.whip().status == 201


not_checked("W20", "503 needs a full server: seen only from inside")
