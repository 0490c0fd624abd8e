"""Session URLs: PATCH, trickle ICE and ICE restart (RFC 9725 section 4.3; RFC 8840)."""

from __future__ import annotations

from ..harness import (
    FRAGMENT,
    NotApplicable,
    Reply,
    Server,
    attribute,
    fragment,
    is_problem,
    publisher_offer,
)
from ..registry import check, not_checked


def _patch(server: Server, reply: Reply, body: str, kind: str = FRAGMENT, **headers: str) -> Reply:
    return server.request("PATCH", reply.header("Location"), body.encode(), kind, **headers)


@check("S4")
def patch_content_type(server: Server) -> None:
    """PATCH of another type: 415 with Accept-Patch."""
    _, session = server.publish()
    reply = _patch(server, session, "{}", "application/json", If_Match="*")
    assert reply.status == 415, reply.status
    assert FRAGMENT in reply.header("Accept-Patch")


@check("S5")
def patch_malformed(server: Server) -> None:
    """PATCH of a malformed fragment: 400."""
    _, session = server.publish()
    tag = session.header("ETag")
    for body in ("", "nonsense", "a=ice-ufrag:x\r\n", "a=candidate:what\r\n"):
        reply = _patch(server, session, body, If_Match=tag)
        assert reply.status == 400, (body, reply.status)
        is_problem(reply)


@check("S6")
def restart_unsupported(server: Server) -> None:
    """Where trickle is supported and restart is not, a restart gives 422."""
    _, session = server.publish()
    body = fragment(publisher_offer(), ufrag="newufrag", pwd="n" * 24)
    reply = _patch(server, session, body, If_Match="*")
    if reply.status == 200:
        raise NotApplicable("ICE restart is supported")
    assert reply.status == 422, reply.status


@check("S9")
def trickle(server: Server) -> None:
    """PATCH with the current tag and candidates: 204, empty, no ETag."""
    _, session = server.publish()
    body = fragment(publisher_offer(), more="a=end-of-candidates\r\n")
    reply = _patch(server, session, body, If_Match=session.header("ETag"))
    assert reply.status == 204, reply.status
    assert reply.body == b""
    assert not reply.header("ETag")


@check("S10")
def odd_candidates(server: Server) -> None:
    """TCP, .local and unknown candidates are left out silently: 204."""
    _, session = server.publish()
    more = (
        "a=candidate:2 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active\r\n"
        "a=candidate:3 1 udp 2130706431 0c0ffee0-1234-4321-9999-abcdefabcdef.local 5 typ host\r\n"
        "a=candidate:4 1 udp 2130706431 192.0.2.7 50001 typ strange\r\n"
    )
    body = fragment(publisher_offer(), more=more)
    reply = _patch(server, session, body, If_Match=session.header("ETag"))
    assert reply.status == 204, reply.status


@check("S13")
def refused_restart_keeps_session(server: Server) -> None:
    """A restart that is not satisfied leaves the session as it was."""
    _, session = server.publish()
    body = fragment(publisher_offer(), ufrag="newufrag", pwd="n" * 24)
    if _patch(server, session, body, If_Match="*").status == 200:
        raise NotApplicable("ICE restart is supported")
    assert server.request("GET", session.header("Location")).status in (200, 204)
    body = fragment(publisher_offer())
    assert _patch(server, session, body, If_Match=session.header("ETag")).status == 204


@check("S14")
def star_is_no_restart(server: Server) -> None:
    """If-Match: * with unchanged credentials is plain trickle: 204."""
    _, session = server.publish()
    reply = _patch(server, session, fragment(publisher_offer()), If_Match="*")
    assert reply.status == 204, reply.status


@check("S15")
def fragment_forms(server: Server) -> None:
    """Credentials at session or media level, both pseudo m-lines, repeats, end-of-candidates."""
    _, session = server.publish()
    offer = publisher_offer()
    ufrag, pwd = attribute(offer, "ice-ufrag"), attribute(offer, "ice-pwd")
    credentials = f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n"
    line = "a=candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host\r\n"
    for body in (
        credentials + "m=audio 9 RTP/AVP 0\r\na=mid:0\r\n" + line,
        "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" + credentials + line + line,
        credentials + "a=end-of-candidates\r\n",
    ):
        reply = _patch(server, session, body, If_Match=session.header("ETag"))
        assert reply.status == 204, (body, reply.status)


@check("S19")
def same_ufrag_other_pwd(server: Server) -> None:
    """The RFC's trickle figure: same ufrag, another pwd: 204."""
    _, session = server.publish()
    body = fragment(publisher_offer(), pwd="P" * 24)
    reply = _patch(server, session, body, If_Match=session.header("ETag"))
    assert reply.status == 204, reply.status


@check("S20")
def quoted_star(server: Server) -> None:
    """If-Match is taken as *, "*", an unquoted tag, and a list."""
    _, session = server.publish()
    tag = session.header("ETag")
    for value in ("*", '"*"', tag.strip('"'), f'"other", {tag}'):
        reply = _patch(server, session, fragment(publisher_offer()), If_Match=value)
        assert reply.status == 204, (value, reply.status)


not_checked("S7", "If-Match is not judged in this version: every form is taken")
not_checked("S8", "If-Match is not judged in this version: every form is taken")
not_checked("S11", "ICE restart is refused with 422 in this version (S6)")
not_checked("S12", "ICE restart is refused with 422 in this version (S6)")
