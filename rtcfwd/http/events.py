"""A viewer's extensions (WHEP extensions, sections 3 and 4): server-sent events and layers.

    POST   …/session/{id}/events             a JSON array of types, or no body ─▶ 201, Location
    GET    …/session/{id}/events/{events}    text/event-stream
    DELETE …/session/{id}/events/{events}    200; later GETs get 404
    POST   …/session/{id}/layer              a JSON object ─▶ 200
    DELETE …/session/{id}/layer              back to the server's choice ─▶ 200

The stream of events needs no header, as browsers' EventSource sends none: its URL is a capability.
One that does not read is dropped: no subscriber holds more than its socket's buffer and one event
of each type.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

from aiohttp import web

from rtcfwd.forwarder.api import ForwarderError, Kind, Role
from rtcfwd.session.events import MAX_SUBSCRIBERS, TYPES, Subscriber
from rtcfwd.session.layers import LayerChoice, LayerError, rid_of
from rtcfwd.session.registry import Registry
from rtcfwd.session.session import Session
from rtcfwd.session.states import StreamState
from rtcfwd.session.stream import Stream

from .headers import JSON, has_media_type
from .problems import Problem
from .rates import Rates

KEEP_ALIVE_S = 15.0
_URN = "urn:ietf:params:whep:ext:core:"
_WRITE_BUFFER = 4096
_FIGURES = ("bitrate", "width", "height")
_CONSTRAINTS = ("maxSpatialLayerId", "maxTemporalLayerId", "maxWidth", "maxHeight")


def links(location: str) -> list[str]:
    """Values of Link for the 201 of a session whose URL this is."""
    return [
        f'<{location}/events>; rel="{_URN}server-sent-events"; events="{",".join(TYPES)}"',
        f'<{location}/layer>; rel="{_URN}layer"',
    ]


class Extensions:
    """Handlers. ``keep_alive``: seconds between comments on a silent stream of events, and the
    time that a write may take."""

    def __init__(self, registry: Registry, keep_alive: float = KEEP_ALIVE_S) -> None:
        self._registry = registry
        self._rates = Rates()
        self._keep_alive = keep_alive
        self._open: set[Subscriber] = set()  # that are being written

    # ---- events ----

    async def subscribe(self, request: web.Request) -> web.Response:
        session, stream = self._viewer(request)
        types = await _types(request)
        if len(session.subscribers) >= MAX_SUBSCRIBERS:
            raise Problem(
                409, "Too many event streams",
                f"A session has at most {MAX_SUBSCRIBERS}; DELETE one first.",
            )  # fmt: skip
        subscriber = Subscriber(types)
        session.subscribers[subscriber.id] = subscriber
        stream.events.add(subscriber)
        location = f"{request.path}/{subscriber.id}"
        return web.Response(status=201, headers={"Location": location})

    async def events(self, request: web.Request) -> web.StreamResponse:
        session, stream = self._viewer(request)
        subscriber = self._subscriber(request, session)
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # proxies are not to hold it back
            }
        )
        woken = asyncio.Event()
        subscriber.attach(woken.set)
        self._greet(subscriber, stream)
        self._open.add(subscriber)
        try:
            await response.prepare(request)
            if request.transport is not None:
                request.transport.set_write_buffer_limits(_WRITE_BUFFER)
            while subscriber.is_attached(woken.set):
                woken.clear()
                text = "".join(
                    f"event: {kind}\ndata: {json.dumps(self._data(kind, url, session, stream))}\n\n"
                    for kind, url in subscriber.take()
                )
                if text or not subscriber.ended:
                    async with asyncio.timeout(self._keep_alive):
                        await response.write((text or ":\n\n").encode())
                if subscriber.ended:
                    break
                await _wait(woken, self._keep_alive)
            await response.write_eof()
        except TimeoutError:  # it does not read
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # it has gone; it may come again
        finally:
            if subscriber.is_attached(woken.set):
                self._open.discard(subscriber)
        return response

    async def unsubscribe(self, request: web.Request) -> web.Response:
        session, stream = self._viewer(request)
        subscriber = self._subscriber(request, session)
        del session.subscribers[subscriber.id]
        stream.events.remove(subscriber)
        subscriber.end(drop=True)
        return web.Response(status=200)

    async def shut_down(self, app: web.Application) -> None:
        """The server stops: end what is being written."""
        for subscriber in list(self._open):
            subscriber.end()

    def _greet(self, subscriber: Subscriber, stream: Stream) -> None:
        """What holds now. Never "inactive" at the start."""
        if stream.state is StreamState.LIVE:
            subscriber.put("active")
        subscriber.put("layers")
        subscriber.put("viewercount")
        if stream.diagnosis.warnings:
            subscriber.put("warnings")

    def _data(self, kind: str, url: str, session: Session, stream: Stream) -> dict[str, Any]:
        if kind == "viewercount":
            return {"viewercount": len(stream.viewers)}
        if kind == "reconnect":
            return {"url": f"{url}/whep/{stream.name}"} if url else {}
        if kind == "warnings":
            return {"warnings": [asdict(warning) for warning in stream.diagnosis.warnings]}
        if kind == "slow":
            return {"video": session.slow.name.lower(), "estimate": session.estimate}
        if kind == "layers":
            return self._layers(session, stream)
        return {}

    def _layers(self, session: Session, stream: Stream) -> dict[str, Any]:
        """Of the video that is published now; by the m-line of the viewer's own SDP. The layer that
        this viewer gets has ``current``, which the draft does not know; clients have to ignore
        what they do not know."""
        if session.video_line is None or Kind.VIDEO not in stream.live:
            return {}
        try:
            stats = self._registry.forwarder.stream_stats(stream.handle)
        except ForwarderError:
            return {}
        by_layer = stats.get("layers", ())
        gets = rid_of(session.gets_layer, stream.rids)
        layers: list[dict[str, Any]] = [
            {
                "rid": rid,
                **_figures(by_layer[index] if index < len(by_layer) else {}),
                **({"current": True} if rid == gets else {}),
            }
            for index, rid in enumerate(stream.rids)
        ]
        if not layers:
            alone = {"spatialLayerId": 0, "temporalLayerId": 0}
            layers = [{**alone, "bitrate": self._bitrate(stream, stats.get("tracks"))}]
        return {str(session.video_line): layers}

    def _bitrate(self, stream: Stream, tracks: object) -> int:
        self._rates.forget(self._registry.by_handle)
        figures = tracks.get("video", {}) if isinstance(tracks, dict) else {}
        octets = figures.get("bytes", 0)
        now = self._registry.clock()
        return self._rates.rate((stream.handle, Kind.VIDEO), stream.opened_at, now, octets)

    # ---- layers ----

    async def select(self, request: web.Request) -> web.Response:
        session, stream = self._viewer(request)
        body = await _json(request)
        if not isinstance(body, dict):
            raise Problem(400, "Layer expected", 'Send a JSON object such as {"rid": "hd"}.')
        return self._apply(session, stream, _choice(body, session))

    async def unselect(self, request: web.Request) -> web.Response:
        session, stream = self._viewer(request)
        return self._apply(session, stream, LayerChoice())

    def _apply(self, session: Session, stream: Stream, choice: LayerChoice) -> web.Response:
        try:
            choice.check(stream.rids)
            session.select_layer(choice.rid or "", stream.rids)
        except LayerError as error:
            raise Problem(422, "No such layer", str(error)) from None
        except ForwarderError:
            raise Problem(
                503, "Too much at once", "Try again in a second.", {"Retry-After": "1"}
            ) from None
        return web.Response(status=200)

    # ---- whose request it is ----

    def _viewer(self, request: web.Request) -> tuple[Session, Stream]:
        session = self._registry.sessions.get(request.match_info["id"])
        if session is None or session.role is not Role.VIEWER or session.peer is None:
            raise Problem(404, "No such session", "It has ended or never was; POST a new offer.")
        return session, self._registry.by_peer[session.peer]

    def _subscriber(self, request: web.Request, session: Session) -> Subscriber:
        subscriber = session.subscribers.get(request.match_info["events"])
        if subscriber is None:
            raise Problem(404, "No such event stream", "It was deleted or never was; POST again.")
        return subscriber


def _figures(known: dict[str, Any]) -> dict[str, Any]:
    """What is told of a layer, as far as it is known; one without a bitrate is off the air."""
    return {name: known[name] for name in _FIGURES if known.get(name)}


async def _wait(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        pass


async def _json(request: web.Request) -> object:
    """The body's value; None without a body."""
    body = await request.read()
    if not body:
        return None
    if not has_media_type(request, JSON):
        raise Problem(
            415, "JSON expected", f"Send the body with Content-Type: {JSON}.", {"Accept": JSON}
        )
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "Malformed JSON", "The body is no JSON text (RFC 8259).") from None


async def _types(request: web.Request) -> list[str]:
    body = await _json(request)
    if body is None:
        return list(TYPES)
    known = f"a JSON array with some of {', '.join(TYPES)}"
    if not isinstance(body, list) or not all(isinstance(item, str) for item in body):
        raise Problem(400, "Event types expected", f"Send {known}, or no body for all of them.")
    unknown = [item for item in body if item not in TYPES]
    if unknown:
        raise Problem(
            400, "Unknown event type", f"{unknown[0][:40]!r} is none of ours; send {known}."
        )
    return body


def _choice(body: dict[str, Any], session: Session) -> LayerChoice:
    """The fields of the present draft, and ``encodingId``, which rid was called before."""
    media = body.get("mediaId")
    if media is not None and str(media) != str(session.video_line):
        raise Problem(
            422, "No such media", f"mediaId is the video m-line's index: {session.video_line}."
        )
    rid = body.get("rid", body.get("encodingId"))
    if rid is not None and not isinstance(rid, str):
        raise Problem(400, "Malformed layer", "rid is a string.")
    numbers: dict[str, int | None] = {}
    for name in ("spatialLayerId", "temporalLayerId", *_CONSTRAINTS):
        value = body.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise Problem(400, "Malformed layer", f"{name} is a whole number.")
        numbers[name] = value
    for name in ("maxWidth", "maxHeight"):
        if numbers[name] is not None:
            raise Problem(422, "No such limit", f"{name} is not known here; select a rid.")
    return LayerChoice(rid, numbers["spatialLayerId"], numbers["temporalLayerId"])
