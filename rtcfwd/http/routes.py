"""All URLs of the server:

    /whip/{stream}   /webrtc/whip?streamid=     publish          /api/v1/…     admin API (JSON)
    /whep/{stream}   /webrtc/whep?streamid=     view             /metrics      Prometheus
    …/session/{id}                              a session        /healthz
    …/session/{id}/events, …/layer              a viewer's extensions
    /                /web/{file}                the page          /link

All but the page, /link and /healthz stand behind the guard (``guard.py``).
Every reply passes the problems middleware and gets the headers of ``headers.EVERYWHERE``.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from rtcfwd.auth import Action
from rtcfwd.session.registry import Registry

from .api import Api
from .events import Extensions
from .guard import Guard
from .headers import FRAGMENT, SDP, add_common
from .pages import Pages
from .phone import PhoneLink
from .problems import middleware
from .resource import Resource
from .selftest import SelfTest
from .whep import ViewerEndpoint
from .whip import SESSION_STEP, PublisherEndpoint, SessionUrl


def build(
    registry: Registry,
    guard: Guard,
    api: Api,
    metrics: Callable[[], bytes],
    selftest: SelfTest,
    pages: Pages,
    phone: PhoneLink,
    failed: Callable[[BaseException], None],
) -> web.Application:
    """The aiohttp application. ``metrics``: the text of /metrics; ``failed``: told of every
    exception that nobody foresaw."""
    app = web.Application(
        middlewares=[middleware(failed, registry.config.http_timeout)],
        client_max_size=registry.config.max_body,
    )
    app.on_response_prepare.append(add_common)
    _add_signalling(app.router, registry, guard)
    extensions = Extensions(registry)
    app.on_shutdown.append(extensions.shut_down)
    _add_extensions(app.router, extensions, guard)

    async def show_metrics(request: web.Request) -> web.Response:
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=metrics(), headers={"Content-Type": kind})

    async def healthy(request: web.Request) -> web.Response:
        if registry.draining:  # load balancers take it out
            return web.Response(status=503, text="stopping\n")
        return web.Response(text="ok\n")

    for path, handler in (
        ("/api/v1/streams", api.streams),
        ("/api/v1/streams/{stream}", api.stream),
        ("/api/v1/server", api.server),
        ("/api/v1/selftest", selftest.get),
        ("/metrics", show_metrics),
    ):
        app.router.add_route("*", path, guard.admin(Resource({"GET": handler}).handle))
    for path, handler in (
        ("/healthz", healthy),
        ("/link", phone.get),
        ("/", pages.index),
        ("/web/{file}", pages.file),
    ):
        app.router.add_route("*", path, Resource({"GET": handler}).handle)
    return app


def _add_signalling(router: web.UrlDispatcher, registry: Registry, guard: Guard) -> None:
    publishing = PublisherEndpoint(registry)
    viewing = ViewerEndpoint(registry)
    whip = Resource({"GET": publishing.get, "POST": publishing.post}, {"Accept-Post": SDP})
    whep = Resource(
        {"GET": viewing.get, "HEAD": viewing.head, "POST": viewing.post}, {"Accept-Post": SDP}
    )
    url = SessionUrl(registry)
    session = Resource(
        {"GET": url.get, "DELETE": url.delete, "PATCH": url.patch}, {"Accept-Patch": FRAGMENT}
    )
    for protocol, endpoint, action in (
        ("whip", whip, Action.PUBLISH),
        ("whep", whep, Action.VIEW),
    ):
        handle = guard.endpoint(action, endpoint.handle)
        router.add_route("*", f"/{protocol}/{{stream}}", handle)
        router.add_route("*", f"/webrtc/{protocol}", handle)
        for base in (f"/{protocol}", f"/webrtc/{protocol}"):
            url_handle = guard.session(session.handle)
            router.add_route("*", f"{base}/{SESSION_STEP}/{{id}}", url_handle)


def _add_extensions(router: web.UrlDispatcher, extensions: Extensions, guard: Guard) -> None:
    for path, resource in (
        ("events", Resource({"POST": extensions.subscribe})),
        (
            "events/{events}",
            Resource({"GET": extensions.events, "DELETE": extensions.unsubscribe}, head=False),
        ),
        ("layer", Resource({"POST": extensions.select, "DELETE": extensions.unselect})),
    ):
        for base in ("/whep", "/webrtc/whep"):
            handle = guard.session(resource.handle)
            router.add_route("*", f"{base}/{SESSION_STEP}/{{id}}/{path}", handle)
