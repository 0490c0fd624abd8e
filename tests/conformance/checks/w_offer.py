"""WHIP endpoint: the offer and its answer (RFC 9725 sections 4.2 to 4.4, 4.8)."""

from __future__ import annotations

import re

from ..harness import SDP, NotApplicable, Server, attribute, is_problem, publisher_offer
from ..registry import check


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
