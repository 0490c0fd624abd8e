"""Session URLs: PATCH, trickle ICE and ICE restart (RFC 9725 section 4.3; RFC 8840)."""

from __future__ import annotations

import re
from dataclasses import replace

from ..harness import (
    FRAGMENT,
    OFFERS,
    NotApplicable,
    Reply,
    Server,
    attribute,
    fragment,
    is_problem,
    publisher_offer,
)
from ..peer import Stage
from ..registry import check


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


@check("S7")
def trickle_without_condition(server: Server) -> None:
    """A trickle PATCH without If-Match gives 428 from a strict server (a lenient one takes it)."""
    _, session = server.publish()
    reply = _patch(server, session, fragment(publisher_offer()))
    if reply.status == 204:
        raise NotApplicable("a lenient profile, for the clients that send none")
    assert reply.status == 428, reply.status
    is_problem(reply)


@check("S7")
def restart_without_condition(server: Server) -> None:
    """A restart without If-Match gives 428, and changes nothing."""
    _, session = server.publish()
    reply = _patch(server, session, _restart())
    if reply.status == 422:
        raise NotApplicable("ICE restart is not supported")
    assert reply.status == 428, reply.status
    tag = session.header("ETag")
    assert _patch(server, session, fragment(publisher_offer()), If_Match=tag).status == 204


@check("S8")
def stale_tag(server: Server) -> None:
    """Another entity tag than the current one gives 412, for trickle and restart."""
    _, session = server.publish()
    for body in (fragment(publisher_offer()), _restart()):
        for tags in ('"stale"', '"a", "b"'):
            reply = _patch(server, session, body, If_Match=tags)
            assert reply.status == 412, (tags, reply.status)
            is_problem(reply)


def _restart(ufrag: str = "newufrag") -> str:
    return fragment(publisher_offer(), ufrag=ufrag, pwd="n" * 24)


def _restarted(server: Server, reply: Reply, body: str, **headers: str) -> Reply:
    """The 200 of a restart."""
    new = _patch(server, reply, body, **headers)
    if new.status == 422:
        raise NotApplicable("ICE restart is not supported")
    assert new.status == 200, (new.status, new.body)
    return new


@check("S11")
def restart(server: Server) -> None:
    """A restart gives 200: a fragment with new credentials, the answer's ice-lite and ice-options,
    candidates, and a new strong ETag."""
    _, session = server.publish()
    for round_ in range(4):  # more than old credentials are kept
        new = _restarted(server, session, _restart(f"new{round_}"), If_Match="*")
        assert new.header("Content-Type") == FRAGMENT
        assert re.fullmatch(r'"[!#-~]+"', new.header("ETag"))
        assert new.header("ETag") != session.header("ETag")
        assert new.body.endswith(b"\r\n")
        for name in ("ice-ufrag", "ice-pwd"):
            assert attribute(new.text, name) != attribute(session.text, name)
        assert new.lines("a=ice-lite") == session.lines("a=ice-lite")
        assert new.lines("a=ice-options") == session.lines("a=ice-options")
        given = set(new.lines("a=candidate:"))
        assert given, "no candidate"
        assert given <= set(session.lines("a=candidate:")), given


@check("S12")
def old_tag_after_restart(server: Server) -> None:
    """After a restart the old tag is stale and the new one is current; so is the old ufrag."""
    _, session = server.publish()
    old, new = session.header("ETag"), ""
    new = _restarted(server, session, _restart(), If_Match="*").header("ETag")
    assert _patch(server, session, _restart(), If_Match=old).status == 412
    assert _patch(server, session, _restart(), If_Match=new).status == 204
    assert _patch(server, session, fragment(publisher_offer()), If_Match="*").status == 412


@check("S12", media=True)
def media_during_restart(server: Server) -> None:
    """Media goes on while ICE restarts, on the old pair first, then on the new one."""
    stage = Stage(server)
    viewer = stage.watched()
    probe = viewer.probe
    body = fragment(probe.offer, ufrag="again", pwd="a" * 24)
    new = _restarted(server, viewer.reply, body, If_Match="*")
    before = len(viewer.video)
    assert stage.play(lambda: len(viewer.video) >= before + 20), "no media after the PATCH"
    probe.ping()  # the old credentials still count
    ufrag, pwd = attribute(new.text, "ice-ufrag"), attribute(new.text, "ice-pwd")
    probe.ufrag, probe.remote = "again", replace(probe.remote, ufrag=ufrag, pwd=pwd)
    old = probe.sock
    probe.sock = probe.open_socket(old.getpeername()[:2])  # as after a change of network
    try:
        for _ in range(3):
            probe.ping()
        before = len(viewer.video)
        assert stage.play(lambda: len(viewer.video) >= before + 20), "no media on the new pair"
    finally:
        old.close()
    numbers = {packet.seq for packet in viewer.video}
    assert len(numbers) >= before + 20, "numbers are repeated"


@check("S13")
def half_a_restart(server: Server) -> None:
    """A restart that cannot be satisfied (without a password) leaves the session as it was."""
    _, session = server.publish()
    body = "a=ice-ufrag:newufrag\r\n"
    assert _patch(server, session, body, If_Match="*").status in (400, 422)
    assert server.request("GET", session.header("Location")).status in (200, 204)
    tag = session.header("ETag")
    assert _patch(server, session, fragment(publisher_offer()), If_Match=tag).status == 204


@check("S14")
def restart_by_tag(server: Server) -> None:
    """New credentials are a restart also with the current tag in If-Match."""
    _, session = server.publish()
    new = _restarted(server, session, _restart(), If_Match=session.header("ETag"))
    assert new.header("ETag") != session.header("ETag")


RFC_TRICKLE = """\
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1
a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0 ufrag EsAw network-id 2
a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag EsAw network-id 1
a=candidate:2154773085 1 tcp 1518214911 198.51.100.2 9 typ host tcptype active generation 0 ufrag EsAw network-id 2
a=end-of-candidates
"""  # noqa: E501
RFC_RESTART = """\
a=ice-options:trickle ice2
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a=ice-ufrag:ysXw
a=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1
a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0 ufrag EsAw network-id 2
a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag EsAw network-id 1
a=candidate:2154773085 1 tcp 1518214911 198.51.100.2 9 typ host tcptype active generation 0 ufrag EsAw network-id 2
"""  # noqa: E501
RFC_OFFER = (OFFERS / "rfc9725-whip-offer.sdp").read_bytes().decode()


@check("S19", "W1")
def figures_of_the_rfc(server: Server) -> None:
    """The RFC's figures, word for word: POST 201, trickle 204 (same ufrag, another password),
    restart 200 with the quoted star (candidates with the old ufrag), DELETE 200."""
    session = server.whip(RFC_OFFER)
    assert session.status == 201, (session.status, session.body)
    reply = _patch(server, session, RFC_TRICKLE, If_Match=session.header("ETag"))
    assert reply.status == 204, (reply.status, reply.body)
    assert not reply.header("ETag")
    new = _restarted(server, session, RFC_RESTART, If_Match='"*"')
    assert new.header("ETag") not in ("", session.header("ETag"))
    assert attribute(new.text, "ice-ufrag") != attribute(session.text, "ice-ufrag")
    assert server.request("DELETE", session.header("Location")).status == 200


@check("S20")
def quoted_star(server: Server) -> None:
    """If-Match is taken as *, "*", an unquoted tag, and a list."""
    _, session = server.publish()
    tag = session.header("ETag")
    for value in ("*", '"*"', tag.strip('"'), f'"other", {tag}'):
        reply = _patch(server, session, fragment(publisher_offer()), If_Match=value)
        assert reply.status == 204, (value, reply.status)
