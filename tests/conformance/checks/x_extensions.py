"""WHEP's extensions: server-sent events and layer selection (X…)."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urljoin

from ..harness import EventStream, NotApplicable, Reply, Server, is_problem, viewer_offer
from ..peer import Stage
from ..registry import check

URN = "urn:ietf:params:whep:ext:core:"
JSON = "application/json"


def _link(reply: Reply, extension: str) -> tuple[str, str]:
    """URL and parameters of an extension's Link; not applicable without one."""
    for value in reply.headers.get_all("Link", []):
        found = re.match(rf'<([^>]+)>;(.*rel="{URN}{extension}".*)', value)
        if found:
            return urljoin(reply.header("Location"), found[1]), found[2]
    raise NotApplicable(f"the 201 links no {extension}")


def _subscribe(server: Server, viewer: Reply, types: list[str] | None) -> Reply:
    url, _ = _link(viewer, "server-sent-events")
    if types is None:
        return server.request("POST", url)
    return server.request("POST", url, json.dumps(types).encode(), JSON)


def _events(server: Server, viewer: Reply, types: list[str] | None) -> tuple[str, EventStream]:
    """URL and contents of a new stream of events."""
    created = _subscribe(server, viewer, types)
    assert created.status == 201, (created.status, created.body)
    url = created.header("Location")
    return url, server.events(url)


@check("X1", "P9")
def events_link(server: Server) -> None:
    """The 201 links the server-sent events, with their types."""
    url, more = _link(server.view(), "server-sent-events")
    assert url
    told = re.search(r'events="([^"]*)"', more)
    assert told is None or "active" in told[1].split(","), more


@check("X2")
def events_created(server: Server) -> None:
    """POST of some types, or of nothing: 201 with the Location of another stream each."""
    viewer = server.view()
    urls = set()
    for types in (["active", "viewercount"], [], None):
        reply = _subscribe(server, viewer, types)
        assert reply.status == 201, (types, reply.status)
        urls.add(reply.header("Location"))
    assert len(urls) == 3, urls


@check("X3")
def events_unknown(server: Server) -> None:
    """A type that is unknown or was not advertised: 400; so is what is no list of names."""
    viewer = server.view()
    url, more = _link(viewer, "server-sent-events")
    bodies: list[bytes] = [b'["active","nonsense"]', b"{", b"{}", b"[1]", b'"active"']
    if 'events="' in more and "scte35" not in more:
        bodies.append(b'["scte35"]')
    for body in bodies:
        reply = server.request("POST", url, body, JSON)
        assert reply.status == 400, (body, reply.status)
        is_problem(reply)


@check("X4")
def events_format(server: Server) -> None:
    """GET: text/event-stream; an event is its type and one line of JSON."""
    _, stream = _events(server, server.view(), ["viewercount"])
    assert stream.header("Content-Type").startswith("text/event-stream")
    kind, data = stream.next()
    assert (kind, data) == ("viewercount", {"viewercount": 1})
    assert len(stream.raw) == 2, stream.raw


@check("X5")
def viewers_are_counted(server: Server) -> None:
    """viewercount is told anew when viewers come; a type that was not asked for is not told."""
    name, _ = server.publish()
    viewer = server.post(f"/whep/{name}", viewer_offer())
    _, stream = _events(server, viewer, ["viewercount"])
    assert stream.next() == ("viewercount", {"viewercount": 1})
    server.post(f"/whep/{name}", viewer_offer())
    assert stream.next() == ("viewercount", {"viewercount": 2})


@check("X5", media=True)
def active_and_inactive(server: Server) -> None:
    """active at the start of what is live; inactive when its publisher leaves, never at first."""
    stage = Stage(server)
    viewer = stage.watched()
    _, stream = _events(server, viewer.reply, ["active", "inactive"])
    assert stream.next() == ("active", {})
    assert server.request("DELETE", stage.publisher.session).status == 200
    assert stream.next() == ("inactive", {})
    _, later = _events(server, viewer.reply, ["inactive"])
    server.request("DELETE", viewer.session)
    assert later.next() is None


@check("X6")
def events_deleted(server: Server) -> None:
    """DELETE ends a stream of events, and later GETs give 404; the session's end ends all."""
    viewer = server.view()
    url, stream = _events(server, viewer, ["active"])
    assert server.request("DELETE", url).status == 200
    assert stream.next() is None
    assert server.request("GET", url).status == 404
    other, stream = _events(server, viewer, ["active"])
    assert server.request("DELETE", viewer.header("Location")).status == 200
    assert stream.next() is None
    assert server.request("GET", other).status == 404


@check("X7", "P9")
def layer_link(server: Server) -> None:
    """The 201 links the layer selection only together with events that tell the layers."""
    viewer = server.view()
    _link(viewer, "layer")
    _, more = _link(viewer, "server-sent-events")
    told = re.search(r'events="([^"]*)"', more)
    assert told is None or "layers" in told[1].split(","), more


@check("X8")
def layer_selection(server: Server) -> None:
    """POST of the server's own choice: 200; a rid (or encodingId) that there is not: 4xx."""
    viewer = server.view()
    url, _ = _link(viewer, "layer")
    line = next(str(i) for i, lines in enumerate(viewer.sections()) if lines[0][2:7] == "video")

    def select(body: Any) -> int:
        return server.request("POST", url, json.dumps(body).encode(), JSON).status

    for body in ({}, {"mediaId": line}, {"mediaId": line, "rid": None}):
        assert select(body) == 200, body
    for body in ({"rid": "no-such"}, {"encodingId": "no-such"}, {"mediaId": "7"}, [], {"rid": 1}):
        assert 400 <= select(body) < 500, body
    assert server.request("DELETE", url).status == 200


@check("X9")
def layers_payload(server: Server) -> None:
    """layers tells the layers by the m-line of the viewer's SDP, each with a name."""
    viewer = server.view()
    _, stream = _events(server, viewer, ["layers"])
    event = stream.next()
    assert event is not None
    kind, data = event
    assert kind == "layers"
    for line, layers in data.items():
        assert viewer.sections()[int(line)][0].startswith("m=video"), line
        assert layers
        assert all({"rid", "spatialLayerId", "temporalLayerId"} & set(layer) for layer in layers)


@check("X10")
def events_without_header(server: Server) -> None:
    """The stream's URL works without Authorization, cannot be guessed, and may be read anew."""
    viewer = server.view()
    url, stream = _events(server, viewer, ["viewercount"])
    assert re.search(r"[0-9A-Za-z_-]{22,}", url), url
    assert stream.next() is not None
    assert server.events(url).next() is not None
    assert stream.next() is None  # who came before gives way
