"""The HTTP face beyond what tests/conformance asks: aliases, bodies, the page, faults, the API."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Callable

import aiohttp
import pytest

from rtcfwd.forwarder.api import ForwarderBusy, Kind, PublisherActive
from rtcfwd.http.headers import if_match
from tests.unit.server_tools import serving
from tests.unit.session_tools import PUBLISH, VIEW

SDP = {"Content-Type": "application/sdp"}


async def post(client: aiohttp.ClientSession, path: str, body: bytes) -> aiohttp.ClientResponse:
    async with client.post(path, data=body, headers=SDP) as reply:
        await reply.read()
        return reply


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the events are handled."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


async def test_aliases_by_query() -> None:
    async with serving() as (server, client, _):
        published = await post(client, "/webrtc/whip?streamid=a", PUBLISH)
        assert published.status == 201
        location = published.headers["Location"]
        assert location.startswith("/webrtc/whip/session/")
        viewed = await post(client, "/webrtc/whep?streamid=a", VIEW)
        assert viewed.status == 201
        assert list(server.registry.streams) == ["a"]
        assert (await client.delete(location)).status == 200
        assert (await post(client, "/webrtc/whip", PUBLISH)).status == 400
        assert (await post(client, "/webrtc/whip?streamid=a/b", PUBLISH)).status == 404


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("a", 201),
        ("A-Z.z_0~9", 201),
        ("x" * 128, 201),
        ("httpdemo", 201),
        ("x" * 129, 404),
        ("..%2fetc", 404),
        ("a%20b", 404),
        ("%00", 404),
        ("caf%C3%A9", 404),
        ("a/b", 404),
    ],
)
async def test_stream_names(name: str, status: int) -> None:
    async with serving() as (_, client, _fake):
        reply = await post(client, f"/whip/{name}", PUBLISH)
        assert reply.status == status
        if status == 201:
            assert "http" not in reply.headers["Location"]
        else:
            assert reply.content_type == "application/problem+json"


async def test_body_limits_and_encodings() -> None:
    async with serving() as (_, client, _fake):
        assert (await post(client, "/whip/a", b"v" * 65537)).status == 413
        assert (await post(client, "/whip/a", b"v" * 65536)).status == 400
        headers = {**SDP, "Content-Encoding": "gzip"}
        async with client.post("/whip/a", data=b"not gzip", headers=headers) as reply:
            assert reply.status == 415
            assert reply.headers["Accept-Encoding"] == "identity"
        assert (await post(client, "/whip/a", PUBLISH)).status == 201


async def test_chunked_requests_are_taken_and_replies_have_a_length() -> None:
    async def chunks():  # type: ignore[no-untyped-def]
        yield PUBLISH[:1000]
        yield PUBLISH[1000:]

    async with (
        serving() as (_, client, _fake),
        client.post("/whip/a", data=chunks(), headers=SDP) as reply,
    ):
        assert reply.status == 201
        assert int(reply.headers["Content-Length"]) == len(await reply.read())
        assert "Transfer-Encoding" not in reply.headers


async def test_the_page_is_served_by_exact_name() -> None:
    async with serving() as (_, client, _fake):
        async with client.get("/?stream=demo") as reply:
            assert reply.status == 200
            assert reply.content_type == "text/html"
            assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
            tag = reply.headers["ETag"]
        async with client.get("/", headers={"If-None-Match": tag}) as reply:
            assert reply.status == 304
        async with client.get("/web/app.js") as reply:
            assert reply.content_type == "text/javascript"
        for path in ("/web/../app.py", "/web/%2e%2e%2fapp.py", "/web/", "/web/x.js", "/app.py"):
            async with client.get(path) as reply:
                assert reply.status == 404, path
        async with client.post("/") as reply:
            assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_the_page_may_follow_redirects_to_the_configured_servers_only() -> None:
    async with serving() as (_, client, _fake), client.get("/") as reply:
        assert reply.headers["Content-Security-Policy"].endswith("; connect-src 'self'")
    settings = {
        "redirect": (("view", "*", "https://edge.example.net:8443/base"),),
        "redirect_full": "https://other.example.net",
    }
    async with serving(**settings) as (_, client, _fake), client.get("/") as reply:
        assert reply.headers["Content-Security-Policy"].endswith(
            "; connect-src 'self' https://edge.example.net:8443 https://other.example.net"
        )


async def test_the_api_shows_streams_and_sessions() -> None:
    async with serving() as (server, client, fake):
        published = await post(client, "/whip/b", PUBLISH)
        await post(client, "/whip/a", PUBLISH)
        await post(client, "/whep/b", VIEW)
        stream = server.registry.streams["b"]
        assert stream.publisher is not None
        assert stream.publisher.peer is not None
        fake.push(PublisherActive(stream.publisher.peer, stream.handle, Kind.VIDEO))
        await until(lambda: stream.state.value == "live")
        async with client.get("/api/v1/streams") as reply:
            streams = (await reply.json())["streams"]
        assert [(s["name"], s["state"], s["viewers"]) for s in streams] == [
            ("a", "idle", 0),
            ("b", "live", 1),
        ]
        assert [(t["kind"], t["codec"]) for t in streams[1]["tracks"]] == [
            ("video", "H264"),
            ("audio", "PCMA"),
        ]
        async with client.get("/api/v1/streams/b") as reply:
            text = await reply.text()
            roles = [s["role"] for s in (await reply.json())["sessions"]]
        assert roles == ["publisher", "viewer"]
        # The id is the right to end the session: the API does not tell it.
        assert published.headers["Location"].rpartition("/")[2] not in text
        assert (await client.get("/api/v1/streams/none")).status == 404
        assert (await client.get("/api/v1/streams/%20")).status == 404
        async with client.get("/api/v1/server") as reply:
            told = await reply.json()
        assert told["engine"] == "fake"
        assert told["memory"] > 0


async def test_metrics_and_health() -> None:
    async with serving() as (_, client, _fake):
        await post(client, "/whip/secretname", PUBLISH)
        async with client.get("/metrics") as reply:
            assert reply.status == 200
            text = await reply.text()
        assert 'rtcfwd_joined_total{role="publisher"} 1.0' in text
        assert 'rtcfwd_sessions{role="publisher",state="new"} 1.0' in text
        assert "rtcfwd_internal_errors_total 0.0" in text
        assert "secretname" not in text
        assert (await client.get("/healthz")).status == 200


async def test_a_fault_is_a_503_without_inner_details(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(faults=True) as (server, client, fake):

        def broken(*args: object) -> None:
            raise RuntimeError("inner detail")

        fake.open_stream = broken  # type: ignore[method-assign, assignment]
        with caplog.at_level(logging.CRITICAL):
            async with client.post("/whip/a", data=PUBLISH, headers=SDP) as reply:
                assert reply.status == 503
                assert reply.content_type == "application/problem+json"
                assert reply.headers["Access-Control-Allow-Origin"] == "*"
                assert "inner detail" not in await reply.text()
        assert len(server.internal_errors) == 1
        async with client.get("/metrics") as reply:
            assert "rtcfwd_internal_errors_total 1.0" in await reply.text()


async def test_a_full_data_plane_is_503_with_retry_after() -> None:
    async with serving() as (_, client, fake):

        def full(*args: object) -> None:
            raise ForwarderBusy("full")

        fake.open_stream = full  # type: ignore[method-assign, assignment]
        reply = await post(client, "/whip/a", PUBLISH)
        assert reply.status == 503
        assert reply.headers["Retry-After"] == "1"


async def test_two_hundred_joins_leave_no_task_or_socket() -> None:
    async with serving() as (server, client, fake):
        await post(client, "/whip/a", PUBLISH)
        tasks = len(asyncio.all_tasks())
        for _ in range(200):
            reply = await post(client, "/whep/a", VIEW)
            assert reply.status == 201
            assert (await client.delete(reply.headers["Location"])).status == 200
        await until(lambda: len(fake.peers) == len(server.registry.by_peer) == 1)
        assert len(asyncio.all_tasks()) == tasks
        assert len(server.registry.sessions) == 1
        assert len(server.registry.ssrcs) == 1
    gc.collect()  # an unclosed socket or transport would warn here, and a warning is an error


async def test_stopping_while_sessions_are_open_lets_go_of_all() -> None:
    async with serving() as (server, client, fake):
        await post(client, "/whip/a", PUBLISH)
        await post(client, "/whep/a", VIEW)
        await server.stop()
        assert fake.peers == {}
        assert server.registry.empty


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ('"x"', ["x"]),
        ("x", ["x"]),
        ("*", ["*"]),
        ('"*"', ["*"]),
        ('"a", W/"b" ,c', ["a", "b", "c"]),
        (" , ", []),
        (None, None),
    ],
)
def test_if_match_in_all_its_forms(value: str | None, tags: list[str] | None) -> None:
    class Request:
        headers = {} if value is None else {"If-Match": value}

    assert if_match(Request) == tags  # type: ignore[arg-type]


FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


@pytest.mark.duty("S7")
@pytest.mark.parametrize(("profile", "status"), [("strict", 428), ("lenient", 204)])
async def test_trickle_without_if_match(profile: str, status: int) -> None:
    async with serving(http_profile=profile) as (_, client, _fake):
        published = await post(client, "/whip/demo", PUBLISH)
        url = published.headers["Location"]
        body = b"a=candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host\r\n"
        for more, expected in (({}, status), ({"If-Match": published.headers["ETag"]}, 204)):
            async with client.patch(url, data=body, headers={**FRAGMENT, **more}) as reply:
                assert reply.status == expected


@pytest.mark.parametrize("sent", [b"POST /whip/demo HTTP/1.1\r\nHost: x\r\nX-Slow", b""])
async def test_a_head_that_takes_too_long_ends_the_connection(sent: bytes) -> None:
    async with serving(http_timeout=0.1) as (server, _, _fake):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        writer.write(sent)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.duty("1E")
@pytest.mark.parametrize(
    "sent",
    [
        b"GET /whip/a HTTX/1.1\r\nHost: x\r\n\r\n",
        b"GE\x00T / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["version", "method", "long", "length"],
)
async def test_what_is_no_request_gets_a_problem_that_a_page_can_read(sent: bytes) -> None:
    async with serving() as (server, _, _fake):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        writer.write(sent)
        head, body = (await reader.read()).split(b"\r\n\r\n", 1)  # to the connection's end
        writer.close()
        assert head.split(b" ", 2)[1] == b"400"
        assert b"Access-Control-Allow-Origin: *" in head
        assert b"Content-Type: application/problem+json" in head
        assert json.loads(body)["title"] == "Unreadable request"


async def test_a_body_that_takes_too_long_gets_408() -> None:
    async with serving(http_timeout=0.1) as (server, _, _fake):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        head = "POST /whip/demo HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\n"
        writer.write(f"{head}Content-Length: 500\r\n\r\nv=0".encode())
        answer = await reader.read()  # to the connection's end
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"Access-Control-Allow-Origin: *" in answer
        writer.close()


async def test_a_viewer_may_ask_for_a_playout_delay() -> None:
    async with serving(playout_delay=(0, 50)) as (_, client, fake):
        await post(client, "/whip/a", PUBLISH)
        for query in ("", "?playout=0", "?playout=100-300", "?playout=auto"):
            assert (await post(client, "/whep/a" + query, VIEW)).status == 201
        told = [p.subscription.playout for p in fake.peers.values() if p.subscription]
        assert told == [(0, 50), (0, 0), (100, 300), (0, 50)]
        async with client.post("/whep/a?playout=soon", data=VIEW, headers=SDP) as reply:
            assert reply.status == 400
            assert "MIN-MAX such as 0-100" in await reply.text()
        assert len(told) == sum(p.subscription is not None for p in fake.peers.values())
