"""Whatever a client sends over HTTP: a clear status, never a 500 or a fault of ours."""

from __future__ import annotations

import asyncio
import http.client
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.server_tools import serving
from tests.unit.session_tools import PUBLISH, VIEW

METHODS = ["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT", "TRACE", "QUERY", "X-Y"]
PATHS = [
    "/",
    "/whip/a",
    "/whep/a",
    "/webrtc/whip?streamid=a",
    "/webrtc/whep?streamid=%ff",
    "/whip/session/" + "0" * 32,
    "/whep/session/x",
    "/api/v1/streams",
    "/api/v1/streams/a",
    "/metrics",
    "/web/app.js",
]
TYPES = [
    "application/sdp",
    "Application/SDP;x",
    "application/trickle-ice-sdpfrag",
    "text/x",
    "",
    "/",
]
header_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=40)
paths = st.one_of(
    st.sampled_from(PATHS),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60).map("/".__add__),
    st.binary(max_size=20).map(lambda b: "/whip/" + "".join(f"%{x:02x}" for x in b)),
)
headers = st.dictionaries(
    st.sampled_from(
        ["If-Match", "Authorization", "Accept", "Origin", "Access-Control-Request-Method", "Cookie",
         "If-None-Match", "Content-Encoding", "Range", "ETag", "Accept-Encoding", "X-Any"]
    ),
    header_text,
    max_size=4,
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    base = draw(
        st.sampled_from([PUBLISH, VIEW, b"", b"a=ice-ufrag:abcd\r\na=ice-pwd:" + b"p" * 24])
    )
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(base)))
        end = min(len(base), at + draw(st.integers(0, 30)))
        base = base[:at] + draw(st.binary(max_size=20)) + base[end:]
    return base


requests = st.tuples(st.sampled_from(METHODS), paths, st.sampled_from(TYPES), headers, bodies())


def exchange(port: int, sent: list[tuple[str, str, str, dict[str, str], bytes]]) -> None:
    for method, path, kind, extra, body in sent:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in extra.items():
                connection.putheader(name, value.encode("latin-1"))
            connection.putheader("Content-Type", kind)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            reply = connection.getresponse()
            content = reply.read()
        finally:
            connection.close()
        told = (method, path, reply.status, content[:200])
        assert reply.status < 500 or reply.status == 503, told
        assert b"Traceback" not in content, told
        if reply.getheader("Content-Type") == "application/problem+json" and content:
            assert json.loads(content)["status"] == reply.status, told
        if reply.status not in (204, 304):
            assert reply.getheader("Content-Length") is not None, told


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(requests, min_size=1, max_size=12))
def test_any_request_gets_a_clear_status(
    sent: list[tuple[str, str, str, dict[str, str], bytes]],
) -> None:
    async def run() -> None:
        async with serving() as (server, _, _fake):  # fails for any internal error
            await asyncio.to_thread(exchange, server.http_port, sent)

    asyncio.run(run())
