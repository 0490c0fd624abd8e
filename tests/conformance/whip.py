"""WHIP (RFC 9725): the endpoint's duties W… and the session's S…, one function an id."""

from __future__ import annotations

import re

from .harness import (
    ELSEWHERE,
    FRAGMENT,
    SDP,
    NotApplicable,
    Reply,
    Server,
    attribute,
    check,
    fragment,
    has_cors,
    is_problem,
    publisher_offer,
)


def _patch(server: Server, reply: Reply, body: str, kind: str = FRAGMENT, **headers: str) -> Reply:
    return server.request("PATCH", reply.header("Location"), body.encode(), kind, **headers)


@check("W1")
def created(server: Server) -> None:
    """POST of an offer gives 201, an answer, and a Location that every client resolves."""
    reply = server.whip()
    assert reply.status == 201, reply.status
    assert reply.header("Content-Type") == SDP, reply.header("Content-Type")
    assert reply.body.startswith(b"v=0\r\n"), reply.body[:20]
    assert reply.body.endswith(b"\r\n")
    assert len(reply.body) <= 8192, len(reply.body)
    assert reply.header("Content-Length") == str(len(reply.body))
    location = reply.header("Location")
    assert re.fullmatch(r"/[^?#]*", location), location
    assert not location.startswith("//"), location
    assert "http" not in location, location


@check("W2")
def etag(server: Server) -> None:
    """The 201 has a strong quoted ETag, another for each session."""
    tags = [server.whip().header("ETag") for _ in range(2)]
    assert all(re.fullmatch(r'"[!#-~]+"', tag) for tag in tags), tags
    assert tags[0] != tags[1], tags


@check("W3")
def content_type(server: Server) -> None:
    """Any other Content-Type gives 415 with Accept; case and parameters do not matter."""
    path = f"/whip/{server.name()}"
    for kind in ("text/plain", "application/json", "application/sdpx"):
        reply = server.post(path, publisher_offer(), kind)
        assert reply.status == 415, (kind, reply.status)
        assert reply.header("Accept") == SDP
    assert server.request("POST", path, publisher_offer().encode()).status == 415
    for kind in ("Application/SDP", "application/sdp; charset=utf-8"):
        reply = server.post(f"/whip/{server.name()}", publisher_offer(), kind)
        assert reply.status == 201, (kind, reply.status)


@check("W4")
def malformed(server: Server) -> None:
    """Malformed, empty and m-line-less SDP give 400 (or 422)."""
    head = publisher_offer().split("m=")[0]
    bad_port = re.sub(r"m=video \d+", "m=video x", publisher_offer())
    for body in ("", "hello", "v=0\r\n", head, bad_port):
        reply = server.whip(body) if body else server.post(f"/whip/{server.name()}", "")
        assert reply.status in (400, 422), (body[:20], reply.status)
        is_problem(reply)


@check("W5")
def direction(server: Server) -> None:
    """sendonly and sendrecv offers are answered recvonly in every m-section."""
    for offered in ("sendonly", "sendrecv"):
        reply = server.whip(publisher_offer().replace("a=sendonly", f"a={offered}"))
        assert reply.status == 201, (offered, reply.status)
        sections = reply.sections()
        assert sections
        assert all("a=recvonly" in section for section in sections), reply.text


@check("W6")
def wrong_direction(server: Server) -> None:
    """recvonly and inactive offers are refused."""
    for offered in ("recvonly", "inactive"):
        reply = server.whip(publisher_offer().replace("a=sendonly", f"a={offered}"))
        assert reply.status in (400, 422), (offered, reply.status)


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


@check("W12")
def too_many_tracks(server: Server) -> None:
    """Two video tracks, or two MediaStreams: 422 or 400."""
    offer = publisher_offer()
    video = offer[offer.index("m=video") :].split("\nm=audio")[0].rstrip() + "\r\n"
    mid = attribute(video, "mid")
    more = video.replace(f"a=mid:{mid}", "a=mid:7")
    more = re.sub(r"a=ssrc[^\n]*\n", "", more)
    doubled = re.sub(r"(a=group:BUNDLE[^\r\n]*)", r"\1 7", offer).rstrip() + "\r\n" + more
    reply = server.whip(doubled)
    assert reply.status in (400, 422), reply.status
    is_problem(reply)


@check("W13")
def unusable_section(server: Server) -> None:
    """An m-section that cannot be processed: the whole POST is refused, none is rejected."""
    reply = server.whip(re.sub(r"H264/90000", "FOO/90000", publisher_offer()))
    assert reply.status in (400, 422), reply.status


@check("W14")
def setup(server: Server) -> None:
    """setup: actpass and active are answered passive, passive is answered active."""
    wanted = {"actpass": ("passive", "active"), "active": ("passive",), "passive": ("active",)}
    for offered, allowed in wanted.items():
        reply = server.whip(publisher_offer().replace("a=setup:actpass", f"a=setup:{offered}"))
        assert reply.status == 201, (offered, reply.status)
        roles = {line.removeprefix("a=setup:") for line in reply.lines("a=setup:")}
        assert len(roles) == 1, roles
        assert roles <= set(allowed), (offered, roles)


@check("W15")
def bundle(server: Server) -> None:
    """One BUNDLE group over all accepted m-sections, rtcp-mux in each, the same port."""
    reply = server.whip()
    sections = reply.sections()
    mids = [line.removeprefix("a=mid:") for line in reply.lines("a=mid:")]
    assert reply.lines("a=group:BUNDLE") == ["a=group:BUNDLE " + " ".join(mids)], reply.text
    assert all("a=rtcp-mux" in section for section in sections)
    ports = {section[0].split()[1] for section in sections}
    assert len(ports) == 1, ports
    assert ports != {"0"}


@check("W16")
def mux_only(server: Server) -> None:
    """rtcp-mux-only in every bundled m-section (RFC 9725; RFC 8858 says otherwise)."""
    assert all("a=rtcp-mux-only" in section for section in server.whip().sections())


@check("W17")
def candidates(server: Server) -> None:
    """The answer has the full candidate list, an IPv4 UDP host candidate first if there is one."""
    first = server.whip().sections()[0]
    found = [line.split() for line in first if line.startswith("a=candidate:")]
    assert found, first
    assert found[0][2].lower() == "udp", found[0]
    assert "host" in found[0], found[0]
    hosts = [words[4] for words in found]
    assert ":" not in hosts[0] or all(":" in host for host in hosts), hosts


@check("W18")
def ice_lite(server: Server) -> None:
    """ice-lite, if used, stands before the first m-line."""
    reply = server.whip()
    if "a=ice-lite" not in reply.text:
        raise NotApplicable("full ICE")
    assert "a=ice-lite" in reply.text.split("m=")[0]


@check("W19")
def no_redirect(server: Server) -> None:
    """No 301 or 302."""
    assert server.whip().status not in (301, 302)


@check("W23")
def simulcast(server: Server) -> None:
    """Simulcast, where it is accepted, is answered by RFC 8853."""
    offer = publisher_offer()
    at = offer.index("a=sendonly", offer.index("m=video"))
    layers = "a=rid:a send\r\na=rid:b send\r\na=simulcast:send a;b\r\n"
    reply = server.whip(offer[:at] + layers + offer[at:])
    if reply.status != 201 or "a=simulcast" not in reply.text:
        assert reply.status in (201, 400, 422), reply.status
        raise NotApplicable("simulcast is not accepted")
    assert "a=simulcast:recv" in reply.text
    assert reply.lines("a=rid:a recv")


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


@check("1E")
def cors_everywhere(server: Server) -> None:
    """The CORS set is complete on real replies and on errors."""
    _, session = server.publish()
    has_cors(session)
    has_cors(server.post(f"/whip/{server.name()}", "v=1"))
    has_cors(server.request("GET", "/nothing"))
    has_cors(server.post(f"/whep/{server.name()}", publisher_offer()))


ELSEWHERE |= {
    "W10": "a MAY: OPTIONS carries no ice-server Link here",
    "W11": "a MAY: a lite server needs no STUN or TURN server",
    "W20": "a MAY: 503 under overload, see tests/unit/test_session_registry.py",
    "W21": "no authentication in this version",
    "W22": "no authentication in this version",
    "W24": "no protocol extension is served",
    "W25": "no rate limits in this version",
    "W27": "HTTPS is the deployment's",
    "S3": "needs DTLS: tests/unit/test_session.py",
    "S7": "If-Match is not judged in this version: every form is taken",
    "S8": "If-Match is not judged in this version: every form is taken",
    "S11": "ICE restart is refused with 422 in this version (S6)",
    "S12": "ICE restart is refused with 422 in this version (S6)",
}
