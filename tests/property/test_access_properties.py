"""Any header, any token, any claims: a verdict, never an exception."""

from __future__ import annotations

import asyncio
import base64
import json
import time

import jwt
import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import example, given
from hypothesis import strategies as st

from rtcfwd.auth import Verdict
from rtcfwd.auth.jwks import parse_keys
from rtcfwd.auth.signed_tokens import SignedTokens
from rtcfwd.http.addresses import Clients
from rtcfwd.http.guard import token_of
from tests.unit.access_tools import SECRET, ask

LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
NAME = st.text(max_size=8)
JSON = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAME, inner, max_size=4),
    max_leaves=8,
)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=100)
SIGNED = SignedTokens(secret=SECRET)
DEEP = "[" * 6000


def encoded(*parts: str) -> str:
    return ".".join(base64.urlsafe_b64encode(p.encode()).decode().rstrip("=") for p in parts)


def judged(token: str) -> Verdict:
    return asyncio.run(SIGNED.check(ask(token)))


@given(st.text(max_size=200) | st.lists(st.text(max_size=50), min_size=3, max_size=3).map(".".join))
def test_any_text_is_unknown(text: str) -> None:
    assert judged(text) is Verdict.UNKNOWN


@given(JSON | st.fixed_dictionaries({"alg": JSON | st.just("HS256")}, optional={"kid": JSON}), JSON)
@example(DEEP, {})
def test_any_header_without_a_signature_is_unknown(header: object, claims: object) -> None:
    head = header if header == DEEP else json.dumps(header)
    assert judged(encoded(str(head), json.dumps(claims), "x" * 32)) is Verdict.UNKNOWN


@given(
    st.fixed_dictionaries(
        {}, optional={"action": JSON, "stream": JSON, "exp": JSON, "nbf": JSON, "aud": JSON}
    )
)
def test_any_signed_claims_get_a_verdict(claims: dict[str, object]) -> None:
    """What is signed may still be nonsense; only what names the action and the stream allows."""
    token = jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET, algorithm="HS256")
    verdict = judged(token)
    exp = claims.get("exp")
    if not isinstance(exp, (int, float)) or not exp > time.time() - 100:
        assert verdict is Verdict.UNKNOWN
    if verdict is Verdict.ALLOWED:
        assert claims["action"] and claims["stream"]  # noqa: PT018


@given(st.binary(max_size=200) | JSON.map(lambda v: json.dumps({"keys": v}).encode()))
@example(b'{"keys": ' + DEEP.encode())
def test_any_key_set_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"it (has no|is no|is too)"):
        parse_keys(body)


@given(PRINTABLE, PRINTABLE, PRINTABLE)
def test_any_header_has_a_token_an_address_and_an_origin(
    authorization: str, forwarded: str, host: str
) -> None:
    class Transport:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return ("127.0.0.1", 1) if name == "peername" else default

    headers = {"Authorization": authorization, "X-Forwarded-For": forwarded, "Host": host}
    request = make_mocked_request("POST", "/whip/a", headers=headers, transport=Transport())
    token = token_of(request)
    assert token is None or token in authorization
    clients = Clients(["127.0.0.0/8"])
    assert clients.of(request) is not None
    assert clients.origin(request) in ("", f"http://{host}")
