"""WHEP: what differs from WHIP (P…), one function an id."""

from __future__ import annotations

import re

from ..harness import (
    FRAGMENT,
    SDP,
    NotApplicable,
    Reply,
    Server,
    fragment,
    is_problem,
    viewer_offer,
)
from ..peer import Probe, Stage, answer_to
from ..registry import check


@check("P1")
def viewer_created(server: Server) -> None:
    """A recvonly (or sendrecv) offer gives 201 and a sendonly answer; others are refused."""
    for offered in ("recvonly", "sendrecv"):
        reply = server.view(viewer_offer().replace("a=recvonly", f"a={offered}"))
        assert reply.status == 201, (offered, reply.status, reply.body)
        assert reply.header("Content-Type") == SDP
        assert re.fullmatch(r"/[^?#]*", reply.header("Location"))
        assert "http" not in reply.header("Location")
        assert re.fullmatch(r'"[!#-~]+"', reply.header("ETag"))
        assert all("a=sendonly" in section for section in reply.sections()), reply.text
    for offered in ("sendonly", "inactive"):
        reply = server.view(viewer_offer().replace("a=recvonly", f"a={offered}"))
        assert reply.status in (400, 422), (offered, reply.status)


@check("P2")
def one_media_stream(server: Server) -> None:
    """Every m-section has an msid with the same stream id, which is not "-"."""
    reply = server.view()
    sections = reply.sections()
    ids = {line.split()[0] for line in reply.lines("a=msid:")}
    assert len(reply.lines("a=msid:")) == len(sections), reply.text
    assert len(ids) == 1, ids
    assert ids != {"a=msid:-"}


@check("P3")
def nothing_published(server: Server) -> None:
    """Without a publisher: 409 with Retry-After."""
    reply = server.post(f"/whep/{server.name()}", viewer_offer())
    assert reply.status == 409, reply.status
    assert int(reply.header("Retry-After")) > 0
    is_problem(reply)


@check("P6")
def head(server: Server) -> None:
    """HEAD of an endpoint: 200, application/sdp, Content-Length 0."""
    reply = server.request("HEAD", f"/whep/{server.name()}")
    assert reply.status == 200, reply.status
    assert reply.header("Content-Type") == SDP
    assert reply.header("Content-Length") == "0"


@check("P7")
def viewer_get(server: Server) -> None:
    """GET of endpoint and session: 2xx without content."""
    viewer = server.view()
    for path in (f"/whep/{server.name()}", viewer.header("Location")):
        reply = server.request("GET", path)
        assert 200 <= reply.status < 300, (path, reply.status)
        assert reply.body == b""


@check("P8")
def viewer_patch(server: Server) -> None:
    """Trickle and its errors as for WHIP: 204, 415, 400, 404."""
    viewer = server.view()
    path, tag = viewer.header("Location"), viewer.header("ETag")
    body = fragment(viewer_offer()).encode()
    assert server.request("PATCH", path, body, FRAGMENT, If_Match=tag).status == 204
    assert server.request("PATCH", path, body, "text/plain", If_Match=tag).status == 415
    assert server.request("PATCH", path, b"?", FRAGMENT, If_Match=tag).status == 400
    gone = "/whep/session/" + "b" * 32
    assert server.request("PATCH", gone, body, FRAGMENT, If_Match=tag).status == 404


@check("P10")
def viewer_delete(server: Server) -> None:
    """DELETE: 200, If-Match ignored."""
    viewer = server.view()
    reply = server.request("DELETE", viewer.header("Location"), If_Match='"old"')
    assert reply.status == 200, reply.status


def _counter_offer(server: Server, name: str) -> Reply:
    """The 406 of a POST without an offer."""
    reply = server.request("POST", f"/whep/{name}", b"", SDP)
    if reply.status in (400, 422):
        raise NotApplicable("a MAY: no counter-offers")
    assert reply.status == 406, reply.status
    return reply


@check("P4")
def counter_offer(server: Server) -> None:
    """A viewer without an offer gets 406 with the server's, sendonly, and a Location."""
    name, _ = server.publish()
    reply = _counter_offer(server, name)
    assert reply.header("Content-Type").split(";")[0] == SDP
    assert reply.header("Location")
    assert reply.text.startswith("v=0\r\n")
    for section in reply.sections():
        assert {"a=sendonly", "a=setup:actpass", "a=rtcp-mux"} <= set(section), section
    assert server.request("DELETE", reply.header("Location")).status == 200


@check("P5", media=True)
def counter_answer(server: Server) -> None:
    """The answer to a counter-offer by PATCH: 204, and media; a malformed one: 4xx."""
    stage = Stage(server)
    reply = _counter_offer(server, stage.publisher.name)
    path = reply.header("Location")
    assert 400 <= server.request("PATCH", path, b"nonsense", SDP).status < 500
    probe = Probe(publish=False, setup="active")
    server.peers.append(probe)
    sent = server.request("PATCH", path, answer_to(reply.text, probe).encode(), SDP)
    assert sent.status == 204, (sent.status, sent.body)
    probe.answer(reply.text.replace("setup:actpass", "setup:passive"))
    probe.connect()

    def turn() -> bool:
        probe.turn(0)
        return len(probe.rtp) > 20

    assert stage.play(turn), f"{len(probe.rtp)} packets come"
    assert server.request("DELETE", path).status == 200


@check("P11")
def created_or_refused(server: Server) -> None:
    """A viewer's offer is answered by 201."""
    assert server.view().status == 201


@check("W3", "W4", "W29")
def viewer_content_type(server: Server) -> None:
    """415, 400 and 405 as for WHIP."""
    path = f"/whep/{server.name()}"
    assert server.post(path, viewer_offer(), "text/plain").status == 415
    assert server.post(path, "hello").status in (400, 422)
    assert server.request("PUT", path).status == 405
