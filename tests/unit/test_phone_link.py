"""The link to the page for another device, over HTTP and in the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest

from rtcfwd.http import phone
from tests.unit.server_tools import serving

OUTSIDE = ["192.168.1.5", "2001:db8::5", "127.0.0.1"]


@pytest.mark.parametrize(
    ("bound", "addresses", "hosts"),
    [
        ("::", OUTSIDE, ["192.168.1.5", "[2001:db8::5]"]),
        ("0.0.0.0", ["127.0.0.1"], []),
        ("127.0.0.1", OUTSIDE, []),
        ("::1", OUTSIDE, []),
    ],
)
def test_outside(bound: str, addresses: list[str], hosts: list[str]) -> None:
    assert phone.outside(bound, addresses) == hosts


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.1.2.3", True),
        ("[::1]", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("[::2]", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert phone.is_loopback(host) is expected


async def ask(client: Any, host: str, name: str = "demo") -> dict[str, Any]:
    async with client.get(f"/link?watch={name}", headers={"Host": host}) as reply:
        assert reply.status == 200
        told = await reply.json()
    assert set(told) == {"url", "image"}
    return told  # type: ignore[no-any-return]


async def test_who_came_by_localhost_is_told_an_address_that_others_reach() -> None:
    async with serving(host="0.0.0.0", announce=("203.0.113.7",)) as (_, client, _fake):
        told = await ask(client, "localhost:8080")
        assert told["url"] == "http://203.0.113.7:8080/?watch=demo"
        assert told["image"].startswith("data:image/svg+xml")
        assert (await ask(client, "127.0.0.1"))["url"] == "http://203.0.113.7/?watch=demo"


async def test_who_came_by_another_name_keeps_it() -> None:
    async with serving() as (_, client, _fake):
        assert (await ask(client, "tv.example"))["url"] == "http://tv.example/?watch=demo"
        assert (await ask(client, "[2001:db8::1]:81"))["url"] == (
            "http://[2001:db8::1]:81/?watch=demo"
        )


async def test_a_server_for_this_machine_alone_has_no_link() -> None:
    async with serving(host="127.0.0.1") as (_, client, _fake):
        assert await ask(client, "localhost:8080") == {"url": None, "image": None}


@pytest.mark.parametrize(
    "query", ["", "?watch=", "?watch=a/b", "?watch=%00", "?watch=" + "x" * 129]
)
async def test_without_a_proper_name_it_says_what_to_ask(query: str) -> None:
    async with serving() as (_, client, _fake), client.get("/link" + query) as reply:
        assert reply.status == 400
        assert "?watch=NAME" in (await reply.json())["detail"]


async def test_codes_are_not_drawn_without_end() -> None:
    async with serving() as (_, client, _fake):
        images = [(await ask(client, "tv.example", f"s{i}"))["image"] for i in range(60)]
    assert images[0] is not None
    assert None in images


def test_the_terminal_shows_a_code() -> None:
    out = io.StringIO()
    phone.print_code("http://192.168.1.5:8080/?watch=demo", out)
    lines = out.getvalue().splitlines()
    assert len(lines) > 10
    assert len({len(line) for line in lines}) == 1
