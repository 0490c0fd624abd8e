"""Before the endpoints: tokens, rate limits, redirects, ice-server links, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import re
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from rtcfwd.auth import Action, Auth
from rtcfwd.config import Config
from rtcfwd.http.guard import Guard
from rtcfwd.http.ice_servers import IceServers
from rtcfwd.http.problems import middleware
from tests.unit.access_tools import SECRET, answering, token
from tests.unit.server_tools import serving
from tests.unit.session_tools import PUBLISH, VIEW, World

SDP = {"Content-Type": "application/sdp"}
PUBLISHER, VIEWER, ADMIN = "publisher-token-1", "viewer-token-0001", "admin-token-00001"
TOKENS = (("publish", "*", PUBLISHER), ("view", "demo", VIEWER), ("admin", "*", ADMIN))
SECURED: dict[str, Any] = {"auth_tokens": TOKENS, "auth_delay": 0.0}
PROXIED: dict[str, Any] = {"trusted_proxies": ("127.0.0.0/8",)}


async def ask(
    client: aiohttp.ClientSession,
    method: str,
    path: str,
    body: bytes | None = None,
    token: str | None = None,
    **headers: str,
) -> tuple[int, Any, bytes]:
    """Status, headers, body. ``headers``: underscores for dashes."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    if body is not None:
        sent |= SDP
    async with client.request(
        method, path, data=body, headers=sent, allow_redirects=False
    ) as reply:
        return reply.status, reply.headers, await reply.read()


@pytest.mark.duty("W21")
async def test_posts_want_a_token_for_the_action_and_the_stream() -> None:
    async with serving(**SECURED) as (server, client, _):
        status, headers, body = await ask(client, "POST", "/whip/demo", PUBLISH)
        assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="rtcfwd"')
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert b"Authorization" in body
        status, headers, _body = await ask(client, "POST", "/whip/demo", PUBLISH, "wrong")
        assert status == 401
        assert 'error="invalid_token"' in headers["WWW-Authenticate"]
        status, headers, _body = await ask(client, "POST", "/whip/demo", PUBLISH, VIEWER)
        assert status == 403
        assert 'error="insufficient_scope"' in headers["WWW-Authenticate"]
        assert server.registry.streams == {}
        status, headers, _body = await ask(client, "POST", "/whip/demo", PUBLISH, PUBLISHER)
        assert status == 201
        assert PUBLISHER not in str(headers)
        assert (await ask(client, "POST", "/whep/demo", VIEW, VIEWER))[0] == 201
        assert (await ask(client, "POST", "/whep/other", VIEW, VIEWER))[0] == 403
        assert (await ask(client, "POST", "/whip/a b", PUBLISH))[0] == 404  # no such name at all
        counts = server.registry.counts.http
        assert counts == {"unknown": 2, "forbidden": 2}


@pytest.mark.duty("W9", "W21")
async def test_preflights_pass_and_other_options_want_a_token() -> None:
    async with serving(**SECURED, ice_servers=("stun:stun.example.net",)) as (_, client, _fake):
        for path in ("/whip/demo", "/whep/demo", "/whip/session/" + "0" * 32, "/api/v1/streams"):
            status, headers, _body = await ask(
                client, "OPTIONS", path,
                Origin="https://example.com", Access_Control_Request_Method="POST",
            )  # fmt: skip
            assert status == 200, path
            assert "Link" not in headers
            assert "Authorization" in headers["Access-Control-Allow-Headers"]
        status, headers, _body = await ask(client, "OPTIONS", "/whep/demo")
        assert status == 401
        assert "Link" not in headers
        assert (await ask(client, "OPTIONS", "/whep/demo", token=VIEWER))[0] == 200


@pytest.mark.duty("W22")
async def test_a_token_in_the_query_is_taken_and_never_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(**SECURED) as (_, client, _fake):
        published = await ask(client, "POST", f"/whip/demo?token={PUBLISHER}", PUBLISH)
        assert published[0] == 201
        assert PUBLISHER not in str(published[1])
        viewed = await ask(client, "POST", f"/webrtc/whep?streamid=demo&token={VIEWER}", VIEW)
        assert viewed[0] == 201
        assert viewed[1]["Location"].startswith("/webrtc/whep/session/")
        assert (await ask(client, "POST", "/whep/demo?token=wrong-token-00001", VIEW))[0] == 401
        assert (await ask(client, "POST", "/whep/demo?token=", VIEW))[0] == 401
        undefined = {"Authorization": "Bearer undefined"}
        path = f"/whep/demo?token={VIEWER}"
        assert (await ask(client, "POST", path, VIEW, **undefined))[0] == 201
        # One player sends its key bare; a header that is no bearer token is none.
        bare = await ask(client, "POST", "/whep/demo", VIEW, Authorization=VIEWER)
        assert bare[0] == 201
        basic = "Basic " + base64.b64encode(VIEWER.encode()).decode()
        assert (await ask(client, "POST", "/whep/demo", VIEW, Authorization=basic))[0] == 401
        assert (await ask(client, "GET", "/metrics?token=" + ADMIN))[0] == 200
    assert "POST /whep/demo: 401" in caplog.text
    for secret in (PUBLISHER, VIEWER, ADMIN, "wrong-token"):
        assert secret not in caplog.text


@pytest.mark.duty("W21")
async def test_a_session_url_is_a_capability_unless_tokens_are_asked_for() -> None:
    async with serving(**SECURED) as (_, client, _fake):
        made = await ask(client, "POST", "/whip/demo", PUBLISH, PUBLISHER)
        location = made[1]["Location"]
        assert (await ask(client, "DELETE", location, Authorization="Bearer undefined"))[0] == 200
    async with serving(**SECURED, auth_sessions="token") as (_, client, _fake):
        made = await ask(client, "POST", "/whip/demo", PUBLISH, PUBLISHER)
        seen = await ask(client, "POST", "/whep/demo", VIEW, VIEWER)
        location, viewer = made[1]["Location"], seen[1]["Location"]
        for method in ("PATCH", "DELETE"):
            status, headers, _body = await ask(client, method, location)
            assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="rtcfwd"')
        assert (await ask(client, "DELETE", location, token=VIEWER))[0] == 403
        assert (await ask(client, "PATCH", viewer, b"", VIEWER))[0] == 415
        assert (await ask(client, "DELETE", viewer, token=VIEWER))[0] == 200
        assert (await ask(client, "DELETE", location, token=PUBLISHER))[0] == 200
        assert (await ask(client, "DELETE", location))[0] == 200  # ended already


async def test_the_api_and_the_metrics_are_the_admins() -> None:
    async with serving(**SECURED) as (_, client, _fake):
        for path in ("/api/v1/streams", "/api/v1/server", "/api/v1/streams/x", "/metrics"):
            assert (await ask(client, "GET", path))[0] == 401
            assert (await ask(client, "GET", path, token=VIEWER))[0] == 403
            assert (await ask(client, "GET", path, token=ADMIN))[0] in (200, 404)
        for path in ("/", "/web/app.js", "/healthz"):
            assert (await ask(client, "GET", path))[0] == 200


async def test_everything_is_open_without_any_authority() -> None:
    async with serving() as (_, client, _fake):
        assert (await ask(client, "POST", "/whip/demo", PUBLISH, "any"))[0] == 201
        assert (await ask(client, "POST", "/whep/demo?token=any", VIEW))[0] == 201
        assert (await ask(client, "GET", "/api/v1/streams"))[0] == 200


async def test_signed_tokens_and_the_webhook_over_http() -> None:
    async def decide(request: web.Request) -> web.Response:
        told = await request.json()
        assert told["address"] == "203.0.113.5"
        return web.Response(status=200 if told["token"] == "let-me-in" else 403)

    signed = {"auth_jwt_secret": SECRET, "auth_delay": 0.0}
    async with answering(decide) as url, serving(auth_webhook=url, **signed, **PROXIED) as started:
        _, client, _fake = started
        told = {"X_Forwarded_For": "203.0.113.5"}
        assert (await ask(client, "POST", "/whip/demo", PUBLISH, token(), **told))[0] == 201
        assert (await ask(client, "POST", "/whep/demo", VIEW, "let-me-in", **told))[0] == 201
        assert (await ask(client, "POST", "/whep/demo", VIEW, "else", **told))[0] == 403
        assert (await ask(client, "POST", "/whep/demo", VIEW, **told))[0] == 403
    async with serving(auth_webhook="http://127.0.0.1:9/") as (_, client, _fake):
        status, headers, _body = await ask(client, "POST", "/whip/demo", PUBLISH, "let-me-in")
        assert (status, headers["Retry-After"]) == (503, "2")


async def guarded(guard: Guard) -> TestClient[Any, Any]:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=201)

    app = web.Application(middlewares=[middleware(lambda error: None)])
    app.router.add_route("*", "/whip/{stream}", guard.endpoint(Action.PUBLISH, handler))
    client = TestClient(TestServer(app))
    await client.start_server()
    return client


async def test_wrong_tokens_wait_without_holding_up_anybody() -> None:
    """300 wrong tokens: 256 wait, as long as they are told to; the rest is answered at once, and
    a right one in the midst of them too."""
    naps: list[float] = []
    over = asyncio.Event()

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        await over.wait()

    config = Config(auth_tokens=TOKENS, auth_failures=1000)
    guard = Guard(World(config).registry, Auth.from_config(config), sleep=sleep)
    client = await guarded(guard)

    async def post(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        async with client.post("/whip/demo", headers=headers) as reply:
            return reply.status

    client.session.connector._limit = 0  # type: ignore[union-attr]
    guesses = [asyncio.create_task(post(f"guess-{n}")) for n in range(300)]
    done: set[asyncio.Task[int]] = set()
    while len(done) < 300 - 256:
        done, _ = await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)
    assert {task.result() for task in done} == {401}
    assert await post(PUBLISHER) == 201
    over.set()
    assert set(await asyncio.gather(*guesses)) == {401}
    assert naps == [0.5] * 256
    async with client.post("/whip/demo") as reply:  # no token is no guess: no delay
        assert reply.status == 401
    assert len(naps) == 256
    await client.close()


async def test_refusals_are_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(**SECURED, **PROXIED) as (_, client, _fake):
        for _ in range(20):
            there = {"X_Forwarded_For": "203.0.113.5"}
            assert (await ask(client, "POST", "/whip/a", PUBLISH, "hunter2", **there))[0] == 401
            assert (await ask(client, "POST", "/whip/a", PUBLISH, **there))[0] == 401
    told = [r.getMessage() for r in caplog.records if r.name == "rtcfwd.http.guard"]
    assert told == ["refused for want of a right token: 1, now 203.0.113.5"]


async def test_who_fails_often_gets_429_and_a_right_token_still_passes() -> None:
    asked = 0

    async def decide(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=403)

    async with answering(decide) as url:
        settings = {**SECURED, **PROXIED, "auth_failures": 5, "auth_webhook": url}
        async with serving(**settings) as (_, client, _fake):
            there = {"X_Forwarded_For": "203.0.113.5"}
            statuses = [
                (await ask(client, "POST", "/whip/demo", PUBLISH, "wrong", **there))[0]
                for _ in range(8)
            ]
            assert statuses == [403] * 5 + [429] * 3
            assert asked == 5  # the webhook is not bothered by who guesses
            status, headers, _body = await ask(
                client, "POST", "/whip/demo", PUBLISH, "wrong", **there
            )
            assert status == 429
            assert 1 <= int(headers["Retry-After"]) <= 12
            good = await ask(client, "POST", "/whip/demo", PUBLISH, PUBLISHER, **there)
            assert good[0] == 201
            elsewhere = {"X_Forwarded_For": "203.0.113.6"}
            other = await ask(client, "POST", "/whip/demo", PUBLISH, "wrong", **elsewhere)
            assert other[0] == 403


@pytest.mark.duty("W25")
async def test_floods_are_limited_per_address() -> None:
    settings = {**PROXIED, "rate_limit": 0.01, "rate_burst": 6}
    async with serving(**settings) as (server, client, _):
        there = {"X_Forwarded_For": "203.0.113.5"}
        made = await ask(client, "POST", "/whip/demo", PUBLISH, **there)
        location = made[1]["Location"]
        statuses = [(await ask(client, "PATCH", location, b"", **there))[0] for _ in range(3)]
        assert statuses == [415] * 3
        assert (await ask(client, "POST", "/whep/demo", VIEW, **there))[0] == 201
        assert (await ask(client, "DELETE", "/whip/session/x", **there))[0] == 404
        for method, path in (
            ("POST", "/whip/demo"),
            ("POST", "/webrtc/whep?streamid=demo"),
            ("PATCH", location),
            ("DELETE", location),
        ):
            status, headers, body = await ask(client, method, path, b"", **there)
            assert status == 429, (method, path)
            assert int(headers["Retry-After"]) >= 1
            assert headers["Content-Type"] == "application/problem+json"
            assert b"Retry-After" in body
        assert server.registry.counts.http["rate_limited"] == 4
        # Reading is free, others are not concerned, and loopback has no limit.
        assert (await ask(client, "GET", location, **there))[0] == 204
        assert (await ask(client, "OPTIONS", "/whip/demo", **there))[0] == 200
        elsewhere = {"X_Forwarded_For": "203.0.113.6"}
        assert (await ask(client, "POST", "/whep/demo", VIEW, **elsewhere))[0] == 201
        for _ in range(10):
            assert (await ask(client, "POST", "/whep/demo", VIEW))[0] == 201
        async with client.get("/metrics") as reply:
            assert 'turned_away_total{reason="rate_limited"} 4.0' in await reply.text()


async def test_what_needs_a_token_is_limited_too() -> None:
    """Or a flood of questions to the webhook would keep others from theirs."""
    async with serving(**SECURED, **PROXIED, rate_limit=0.01, rate_burst=2) as (_, client, _fake):
        for path, method in (("/metrics", "GET"), ("/whep/demo", "OPTIONS")):
            there = {"X_Forwarded_For": f"203.0.113.{len(path)}"}
            statuses = [(await ask(client, method, path, **there))[0] for _ in range(3)]
            assert statuses == [401, 401, 429]


async def test_no_rate_limit_when_it_is_zero() -> None:
    async with serving(**PROXIED, rate_limit=0.0, rate_burst=1) as (_, client, _fake):
        for _ in range(5):
            made = await ask(client, "DELETE", "/whip/session/x", X_Forwarded_For="203.0.113.5")
            assert made[0] == 404


# ---- redirects ----


@pytest.mark.duty("W19")
async def test_redirects_by_stream_are_307_and_absolute() -> None:
    rules = (
        ("view", "cam-*", "https://edge.example.net/base"),
        ("publish", "cam-*", "http://10.0.0.9:8080"),
        ("*", "gone", "https://other.example.net"),
    )
    async with serving(redirect=rules) as (server, client, _):
        edge = "https://edge.example.net/base"
        for path, location in (
            ("/whep/cam-1", f"{edge}/whep/cam-1?rtcfwd-hop=1"),
            ("/whep/cam-1?token=a%26b&x=1", f"{edge}/whep/cam-1?token=a%26b&x=1&rtcfwd-hop=1"),
            ("/webrtc/whep?streamid=cam-1", f"{edge}/webrtc/whep?streamid=cam-1&rtcfwd-hop=1"),
            ("/whip/cam-1", "http://10.0.0.9:8080/whip/cam-1?rtcfwd-hop=1"),
            ("/whep/gone", "https://other.example.net/whep/gone?rtcfwd-hop=1"),
        ):
            status, headers, _body = await ask(client, "POST", path, VIEW)
            assert (status, headers["Location"]) == (307, location)
            assert headers["Access-Control-Allow-Origin"] == "*"
        assert (await ask(client, "POST", "/whip/demo", PUBLISH))[0] == 201
        assert server.registry.counts.http["redirected"] == 5


async def test_a_redirected_request_gets_an_absolute_location_and_no_further_redirect() -> None:
    rules = (("*", "*", "https://edge.example.net"),)
    async with serving(redirect=rules, **PROXIED) as (_, client, _fake):
        path = "/whip/demo?rtcfwd-hop=1"
        for headers, origin in (
            ({"Host": "here.example.net:8443"}, "http://here.example.net:8443"),
            ({"Host": "h.example", "X_Forwarded_Proto": "https"}, "https://h.example"),
            ({"Host": "[2001:db8::1]:80"}, "http://[2001:db8::1]:80"),
            ({"Host": "h.example", "X_Forwarded_Proto": "gopher"}, "http://h.example"),
            ({"Host": 'odd"host/x'}, ""),
        ):
            status, found, _body = await ask(client, "POST", path, PUBLISH, **headers)
            assert status == 201
            assert found["Location"].startswith(f"{origin}/whip/session/")
            session = found["Location"].removeprefix(origin)
            assert (await ask(client, "DELETE", session))[0] == 200


@pytest.mark.duty("S18")
async def test_sessions_are_never_redirected() -> None:
    async with serving() as (server, client, _):
        made = await ask(client, "POST", "/whip/demo", PUBLISH)
        object.__setattr__(server.config, "redirect", (("*", "*", "https://other.example.net"),))
        for method, status in (("PATCH", 415), ("DELETE", 200)):
            assert (await ask(client, method, made[1]["Location"], b""))[0] == status


@pytest.mark.duty("W20")
async def test_full_is_503_with_retry_after() -> None:
    async with serving(max_streams=1, max_viewers=1, max_handshakes=4) as (_, client, _fake):
        assert (await ask(client, "POST", "/whip/a", PUBLISH))[0] == 201
        status, headers, body = await ask(client, "POST", "/whip/b", PUBLISH)
        assert (status, headers["Retry-After"]) == (503, "5")
        assert b"Too many streams" in body
        assert (await ask(client, "POST", "/whep/a", VIEW))[0] == 201
        status, headers, body = await ask(client, "POST", "/whep/a", VIEW)
        assert (status, headers["Retry-After"]) == (503, "5")
        assert b"Too many viewers" in body


@pytest.mark.duty("W19", "W20")
async def test_full_sends_on_once() -> None:
    """A second server that is full too does not send the client back."""
    async with (
        serving(max_streams=1) as (second, _, _fake),
        serving(max_streams=1, redirect_full=f"http://127.0.0.1:{second.http_port}") as (
            first,
            client,
            _fake2,
        ),
    ):
        object.__setattr__(second.config, "redirect_full", f"http://127.0.0.1:{first.http_port}")
        assert (await ask(client, "POST", "/whip/a", PUBLISH))[0] == 201
        status, headers, _body = await ask(client, "POST", "/whip/b?token=t", PUBLISH)
        assert status == 307
        there = f"http://127.0.0.1:{second.http_port}/whip/b?token=t&rtcfwd-hop=1"
        assert headers["Location"] == there
        async with client.post("/whip/b", data=PUBLISH, headers=SDP) as reply:  # follows
            assert reply.status == 201
            assert reply.url.port == second.http_port
        assert list(second.registry.streams) == ["b"]
        async with client.post("/whip/c", data=PUBLISH, headers=SDP) as reply:
            assert reply.status == 503
            assert reply.headers["Retry-After"] == "5"
        # 409 and 4xx are nobody else's.
        assert (await ask(client, "POST", "/whep/none", VIEW))[0] == 409


# ---- ice servers ----

LINK = re.compile(
    r'<([^>]+)>; rel="ice-server"'
    r'(?:; username="([^"]+)"; credential="([^"]+)"; credential-type="password")?'
)


@pytest.mark.duty("W11", "W10")
async def test_links_of_stun_and_turn_servers() -> None:
    servers = ("stun:stun.example.net:3478", "turn:turn.example.net?transport=udp")
    async with serving(ice_servers=servers, turn_secret="north", turn_ttl=600.0) as started:
        _, client, _fake = started
        before = time.time()
        for method, path, body in (
            ("POST", "/whip/demo", PUBLISH),
            ("POST", "/whep/demo", VIEW),
            ("OPTIONS", "/whep/demo", None),
        ):
            _, headers, _body = await ask(client, method, path, body)
            lines = [line for line in headers.getall("Link") if "ext:core" not in line]
            links = [LINK.fullmatch(line) for line in lines]  # a line each
            assert len(links) == 2
            stun, turn = links
            assert stun is not None
            assert turn is not None
            assert (stun[1], stun[2]) == (servers[0], None)
            assert turn[1] == servers[1]
            until, _, name = turn[2].partition(":")
            assert before + 599 <= int(until) <= time.time() + 601
            assert name
            digest = hmac.digest(b"north", turn[2].encode(), "sha1")
            assert turn[3] == base64.b64encode(digest).decode()
            assert not {",", ";"} & set(turn[2] + turn[3])  # some clients split there
        status, headers, _body = await ask(client, "POST", "/whep/none", VIEW)
        assert (status, "Link" in headers) == (409, False)


def test_fixed_and_no_turn_credentials() -> None:
    assert IceServers(["turn:h", "stun:h"], fixed=("u", "p")).links() == [
        '<turn:h>; rel="ice-server"; username="u"; credential="p"; credential-type="password"',
        '<stun:h>; rel="ice-server"',
    ]
    secret = IceServers(["turns:h"], secret="s", ttl=60, clock=lambda: 1000.5)
    assert 'username="1060:' in secret.links()[0]
    assert secret.links() != secret.links()
