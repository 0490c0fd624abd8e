"""The WHIP/WHEP HTTP client against a server that answers what the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from rtcfwd.client.whip import Action, ClientError, Session, check_url, problem_detail

OFFER = "v=0\r\noffer"
ANSWER = "v=0\r\nanswer"
Reply = Callable[[web.Request], Awaitable[web.Response]]


class Scripted:
    """Answers every POST with `reply` and notes all requests."""

    def __init__(self) -> None:
        self.status = 201
        self.body = ANSWER
        self.content_type = "application/sdp"
        self.headers: dict[str, str] = {"Location": "/session/1"}
        self.seen: list[tuple[str, str, dict[str, str], str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append(
            (request.method, request.path, dict(request.headers), await request.text())
        )
        if request.method == "DELETE":
            return web.Response(status=200)
        if request.path == "/whip/elsewhere":
            return web.Response(status=307, headers={"Location": "/whip/here"})
        return web.Response(
            status=self.status,
            body=self.body.encode(),
            content_type=self.content_type,
            headers=self.headers,
        )


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[Scripted, TestServer]]:
    script = Scripted()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.handle)
    async with TestServer(app) as server:
        yield script, server


Fixture = tuple[Scripted, TestServer]


async def post(server: TestServer, action: Action = "publish", path: str = "/whip/a") -> str:
    async with Session(str(server.make_url(path)), action) as session:
        return await session.post(OFFER)


async def test_offer_answer_delete(scripted: Fixture) -> None:
    script, server = scripted
    async with Session(str(server.make_url("/whip/a")), "publish", token="secret") as session:
        assert await session.post(OFFER) == ANSWER
        assert session.location == str(server.make_url("/session/1"))
    (_, _, headers, body), (method, path, deleted, _) = script.seen
    assert headers["Content-Type"] == "application/sdp"
    assert headers["Authorization"] == deleted["Authorization"] == "Bearer secret"
    assert body == OFFER
    assert (method, path) == ("DELETE", "/session/1")


async def test_delete_is_sent_once(scripted: Fixture) -> None:
    script, server = scripted
    async with Session(str(server.make_url("/whip/a")), "publish") as session:
        await session.post(OFFER)
        await session.delete()
        await session.delete()
    assert [method for method, *_ in script.seen] == ["POST", "DELETE"]


async def test_redirect_307_is_followed(scripted: Fixture) -> None:
    """RFC 9725 4.5: the POST is repeated there, and Location is relative to there."""
    script, server = scripted
    script.headers = {"Location": "ids/1"}
    async with Session(str(server.make_url("/whip/elsewhere")), "publish") as session:
        await session.post(OFFER)
        assert session.location == str(server.make_url("/whip/ids/1"))
    assert script.seen[1][1] == "/whip/here"
    assert script.seen[1][3] == OFFER


@pytest.mark.parametrize(
    ("status", "action", "text"),
    [
        (409, "play", "nobody is publishing 'a' now (409)"),
        (409, "publish", "somebody publishes 'a' already (409)"),
        (404, "play", "no WHIP/WHEP endpoint"),
        (401, "publish", "--token"),
        (422, "publish", "does not accept this offer (422)"),
        (503, "play", "answered 503"),
    ],
)
async def test_refusals_are_explained(
    scripted: Fixture, status: int, action: Action, text: str
) -> None:
    script, server = scripted
    script.status = status
    script.content_type = "application/problem+json"
    script.body = '{"title": "T", "detail": "the detail of it"}'
    script.headers = {"Retry-After": "7"}
    with pytest.raises(ClientError) as caught:
        await post(server, action)
    assert text in str(caught.value)
    assert str(caught.value).endswith(": the detail of it")
    assert caught.value.status == status
    assert caught.value.retry_after == (7 if status in (409, 503) else None)
    assert [method for method, *_ in script.seen] == ["POST"]  # nothing to delete


async def test_conflict_without_retry_after(scripted: Fixture) -> None:
    script, server = scripted
    script.status, script.headers, script.body = 409, {}, ""
    with pytest.raises(ClientError) as caught:
        await post(server, "play")
    assert caught.value.retry_after == 2


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"content_type": "text/html"}, "not SDP"),
        ({"body": "<html>"}, "not SDP"),
        ({"headers": {}}, "without a Location"),
    ],
)
async def test_bad_answers(scripted: Fixture, change: dict[str, object], text: str) -> None:
    script, server = scripted
    for name, value in change.items():
        setattr(script, name, value)
    with pytest.raises(ClientError, match=text):
        await post(server)
    # A session that came about all the same is not left behind.
    deleted = [method for method, *_ in script.seen if method == "DELETE"]
    assert len(deleted) == (1 if "headers" not in change else 0)


async def test_nobody_listens() -> None:
    port = unused_port()
    async with Session(f"http://127.0.0.1:{port}/whip/a", "publish") as session:
        with pytest.raises(ClientError, match=f"no server answers at 127.0.0.1:{port}"):
            await session.post(OFFER)


@pytest.mark.parametrize(
    "url", ["", "whip/a", "ftp://h/whip/a", "http:///whip/a", "http://h", "http://h:x/whip/a"]
)
def test_check_url_refuses(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_url(url)


def test_check_url_accepts() -> None:
    assert check_url("http://[::1]:8080/whip/a?x=1") == "http://[::1]:8080/whip/a?x=1"


@pytest.mark.parametrize("body", ["", "[1]", "{", "null", '{"detail": ""}'])
def test_problem_detail_of_anything(body: str) -> None:
    assert problem_detail("application/problem+json", body) == ""
    assert problem_detail("text/plain", '{"detail": "x"}') == ""
