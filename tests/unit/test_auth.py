"""Who may do what: static tokens, signed tokens and their key sets, the webhook."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import time
from pathlib import Path

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rtcfwd.auth import Action, Auth, Verdict
from rtcfwd.auth.jwks import PAUSE_S, REFRESH_S, KeySet, parse_keys
from rtcfwd.auth.model import Rule
from rtcfwd.auth.signed_tokens import SignedTokens
from rtcfwd.auth.static_tokens import StaticTokens
from rtcfwd.auth.webhook import Webhook
from rtcfwd.config import Config
from tests.unit.access_tools import (
    EC_KEY,
    RSA_KEYS,
    SECRET,
    answering,
    ask,
    jwk,
    key_set,
    token,
)


@pytest.mark.parametrize(
    ("rule", "action", "stream", "granted"),
    [
        (("publish", "demo"), Action.PUBLISH, "demo", True),
        (("publish", "demo"), Action.VIEW, "demo", False),
        (("publish", "demo"), Action.PUBLISH, "demo2", False),
        (("view", "cam-*"), Action.VIEW, "cam-1", True),
        (("view", "cam-*"), Action.VIEW, "Cam-1", False),
        (("*", "*"), Action.ADMIN, None, True),
        (("admin", "*"), Action.ADMIN, None, True),
        (("admin", "demo"), Action.ADMIN, None, False),
        (("*", "demo"), Action.ADMIN, None, False),
        (("view", "*"), Action.ADMIN, None, False),
    ],
)
def test_rules(rule: tuple[str, str], action: Action, stream: str | None, granted: bool) -> None:
    assert Rule(*rule).grants(action, stream) is granted


@pytest.mark.duty("W21")
async def test_static_tokens() -> None:
    tokens = StaticTokens([("publish", "demo", "a" * 16), ("view", "*", "a" * 16)])
    assert await tokens.check(ask("a" * 16)) is Verdict.ALLOWED
    assert await tokens.check(ask("a" * 16, Action.VIEW, "other")) is Verdict.ALLOWED
    assert await tokens.check(ask("a" * 16, stream="other")) is Verdict.FORBIDDEN
    assert await tokens.check(ask("a" * 15)) is Verdict.UNKNOWN
    assert await tokens.check(ask(None)) is Verdict.UNKNOWN
    assert await tokens.check(ask("\udcff")) is Verdict.UNKNOWN


def test_a_token_is_in_no_repr() -> None:
    assert "hunter2" not in repr(ask("hunter2"))
    config = Config(auth_tokens=(("*", "*", "hunter2"),), auth_jwt_secret="hunter2")
    assert "hunter2" not in repr(config)


# ---- signed tokens ----


@pytest.mark.parametrize(
    ("claims", "verdict"),
    [
        ({}, Verdict.ALLOWED),
        ({"action": ["view", "publish"], "stream": ["x", "de*"]}, Verdict.ALLOWED),
        ({"action": "*", "stream": "*"}, Verdict.ALLOWED),
        ({"action": "view"}, Verdict.FORBIDDEN),
        ({"stream": "other"}, Verdict.FORBIDDEN),
        ({"action": None}, Verdict.FORBIDDEN),
        ({"stream": None}, Verdict.FORBIDDEN),
        ({"stream": {"demo": 1}}, Verdict.FORBIDDEN),
        ({"stream": [["demo"], 7]}, Verdict.FORBIDDEN),
        ({"exp": None}, Verdict.UNKNOWN),
        ({"exp": 1}, Verdict.UNKNOWN),
        ({"exp": "soon"}, Verdict.UNKNOWN),
        ({"exp": 1e400}, Verdict.UNKNOWN),
        ({"nbf": time.time() + 3600}, Verdict.UNKNOWN),
    ],
)
@pytest.mark.duty("W21")
async def test_claims_of_signed_tokens(claims: dict[str, object], verdict: Verdict) -> None:
    signed = SignedTokens(secret=SECRET)
    assert await signed.check(ask(token(**claims))) is verdict


async def test_an_admin_token_needs_no_stream() -> None:
    signed = SignedTokens(secret=SECRET)
    admin = token(action="admin", stream=None)
    assert await signed.check(ask(admin, Action.ADMIN, None)) is Verdict.ALLOWED
    assert await signed.check(ask(admin)) is Verdict.FORBIDDEN


async def test_issuer_and_audience() -> None:
    signed = SignedTokens(secret=SECRET, issuer="me", audience="rtcfwd")
    good = token(iss="me", aud=["other", "rtcfwd"])
    assert await signed.check(ask(good)) is Verdict.ALLOWED
    for claims in ({"iss": "me"}, {"aud": "rtcfwd"}, {"iss": "you", "aud": "rtcfwd"}, {}):
        assert await signed.check(ask(token(**claims))) is Verdict.UNKNOWN
    # Where none is configured, a token may name any.
    assert await SignedTokens(secret=SECRET).check(ask(good)) is Verdict.ALLOWED


@pytest.mark.parametrize(
    "text", ["", "x", "a.b.c", "....", "\udcff.\udcff.\udcff", "eyJhbGciOiJIUzI1NiJ9..", "é.é.é"]
)
async def test_what_is_no_jwt_is_unknown(text: str) -> None:
    assert await SignedTokens(secret=SECRET).check(ask(text)) is Verdict.UNKNOWN


def by_public_key(key: RSAPrivateKey, kid: str) -> str:
    """HS256 with the public key (PEM) as its secret; PyJWT itself refuses to make one."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = [{"alg": "HS256", "kid": kid}, {"action": "*", "stream": "*", "exp": 10**10}]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(pem, text, "sha256")).rstrip(b"=")
    return (text + b"." + signature).decode()


async def test_algorithms_are_not_confused(tmp_path: Path) -> None:
    """A public key is no shared secret, ``none`` is no signature, a symmetric key in a set is not
    used, and another algorithm of the same key neither."""
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(jwk(RSA_KEYS[0], "r"), {"kty": "oct", "k": "c2VjcmV0", "kid": "o"}))
    keys = KeySet(str(file))
    await keys.start()
    for signed in (SignedTokens(keys=keys), SignedTokens(secret=SECRET, keys=keys)):
        assert await signed.check(ask(token(RSA_KEYS[0], "RS256", "r"))) is Verdict.ALLOWED
        for forged in (
            token(RSA_KEYS[1], "RS256", "r"),
            token(RSA_KEYS[0], "RS512", "r"),
            token(RSA_KEYS[0], "PS256", "r"),
            token(EC_KEY, "ES256", "r"),
            by_public_key(RSA_KEYS[0], "r"),
            token("secret" * 6, "HS256", "o"),
            jwt.encode({"action": "*", "stream": "*", "exp": 1e10}, None, algorithm="none"),
        ):
            assert await signed.check(ask(forged)) is Verdict.UNKNOWN
    await keys.close()


@pytest.mark.duty("W21")
async def test_keys_of_both_kinds_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(jwk(RSA_KEYS[0], "r"), jwk(EC_KEY, "e")))
    keys = KeySet(str(file))
    await keys.start()
    signed = SignedTokens(keys=keys)
    assert await signed.check(ask(token(RSA_KEYS[0], "RS256", "r"))) is Verdict.ALLOWED
    assert await signed.check(ask(token(EC_KEY, "ES256", "e"))) is Verdict.ALLOWED
    assert await signed.check(ask(token(EC_KEY, "ES256"))) is Verdict.ALLOWED  # no kid: tried
    assert await signed.check(ask(token(EC_KEY, "ES256", "r"))) is Verdict.UNKNOWN
    await keys.close()


async def test_rotation_in_a_file_and_how_often_it_is_read(tmp_path: Path) -> None:
    now = 1000.0
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(jwk(RSA_KEYS[0], "1")))
    keys = KeySet(str(file), clock=lambda: now)
    await keys.start()
    signed = SignedTokens(keys=keys)
    old, new = token(RSA_KEYS[0], "RS256", "1"), token(RSA_KEYS[1], "RS256", "2")
    file.write_bytes(key_set(jwk(RSA_KEYS[1], "2")))
    assert await signed.check(ask(new)) is Verdict.UNKNOWN  # it was read a moment ago
    assert await signed.check(ask(old)) is Verdict.ALLOWED
    now += PAUSE_S
    assert await signed.check(ask(old)) is Verdict.ALLOWED  # known: nothing is read
    assert await signed.check(ask(new)) is Verdict.ALLOWED
    assert await signed.check(ask(old)) is Verdict.UNKNOWN
    file.write_bytes(b"half a fi")
    now += PAUSE_S
    assert await signed.check(ask(old)) is Verdict.UNKNOWN
    assert await signed.check(ask(new)) is Verdict.ALLOWED  # a bad set does not replace a good one
    await keys.close()


async def test_a_key_set_by_url_is_kept_renewed_and_survives_its_server() -> None:
    now, reads, status = 1000.0, 0, 200
    served = key_set(jwk(RSA_KEYS[0], "1"))

    async def handler(request: web.Request) -> web.Response:
        nonlocal reads
        reads += 1
        return web.Response(status=status, body=served)

    async with answering(handler) as url:
        keys = KeySet(url, clock=lambda: now)
        await keys.start()
        signed = SignedTokens(keys=keys)
        old, new = token(RSA_KEYS[0], "RS256", "1"), token(RSA_KEYS[1], "RS256", "2")
        for _ in range(20):
            assert await signed.check(ask(old)) is Verdict.ALLOWED
            assert await signed.check(ask(new)) is Verdict.UNKNOWN
        assert reads == 1
        served = key_set(jwk(RSA_KEYS[0], "1"), jwk(RSA_KEYS[1], "2"))
        now += PAUSE_S
        verdicts = await asyncio.gather(*(signed.check(ask(new)) for _ in range(20)))
        assert set(verdicts) == {Verdict.ALLOWED}
        assert reads == 2  # one reading for all
        status = 500
        now += REFRESH_S
        for _ in range(20):
            assert await signed.check(ask(old)) is Verdict.ALLOWED
        await keys.close()
    assert reads <= 3


async def test_without_any_key_set_nothing_is_decided(caplog: pytest.LogCaptureFixture) -> None:
    now = 1000.0
    up = False

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=200 if up else 503, body=key_set(jwk(EC_KEY, "e")))

    async with answering(handler) as url:
        keys = KeySet(url, clock=lambda: now)
        await keys.start()
        assert "the answer was 503" in caplog.text
        signed = SignedTokens(keys=keys)
        good = ask(token(EC_KEY, "ES256", "e"))
        assert await signed.check(good) is Verdict.UNAVAILABLE
        up = True
        now += PAUSE_S
        assert await signed.check(good) is Verdict.ALLOWED
        await keys.close()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no JSON object"),
        (b"[]", "no JSON object"),
        (b'{"keys": 7}', "no JSON object"),
        (b'{"keys": []}', "no RSA or P-256 key"),
        (b'{"keys": [7, {}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256"}]}', "no RSA or P-256"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "no RSA or P-256"),
        (b" " * (1 << 18) + b"{}", "too long"),
    ],
)
async def test_a_key_file_that_is_no_good_is_told(tmp_path: Path, body: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_keys(body)
    file = tmp_path / "keys.json"
    file.write_bytes(body)
    with pytest.raises(ValueError, match=f"key set .*keys.json: .*{told}"):
        await KeySet(str(file)).start()


async def test_a_missing_key_file_is_told() -> None:
    with pytest.raises(ValueError, match=r"key set /nowhere/keys\.json: .*No such file"):
        await KeySet("/nowhere/keys.json").start()


# ---- the webhook ----


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.ALLOWED),
        (204, Verdict.ALLOWED),
        (401, Verdict.UNKNOWN),
        (403, Verdict.FORBIDDEN),
        (302, Verdict.UNAVAILABLE),
        (404, Verdict.UNAVAILABLE),
        (500, Verdict.UNAVAILABLE),
    ],
)
@pytest.mark.duty("W21")
async def test_the_webhook_is_asked_and_only_2xx_allows(status: int, verdict: Verdict) -> None:
    questions = []

    async def handler(request: web.Request) -> web.Response:
        questions.append((request.method, request.path, await request.json()))
        return web.Response(status=status, headers={"Location": "/yes"} if status == 302 else None)

    async with answering(handler) as url:
        webhook = Webhook(url + "decide", timeout=5, parallel=4)
        await webhook.start()
        assert await webhook.check(ask("t")) is verdict
        await webhook.close()
    told = {"action": "publish", "stream": "demo", "token": "t", "address": "192.0.2.7"}
    assert questions == [("POST", "/decide", told)]


async def test_a_webhook_that_is_not_there_or_slow_refuses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    never = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    async with answering(handler) as url:
        webhook = Webhook(url, timeout=0.1, parallel=1)
        await webhook.start()
        assert await webhook.check(ask("hunter2")) is Verdict.UNAVAILABLE
        await webhook.close()
        never.set()
    webhook = Webhook("http://127.0.0.1:9/", timeout=5, parallel=1)
    await webhook.start()
    for _ in range(3):
        assert await webhook.check(ask("hunter2")) is Verdict.UNAVAILABLE
    await webhook.close()
    assert await webhook.check(ask("hunter2")) is Verdict.UNAVAILABLE
    told = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(told) == 2  # once a minute each, not once a request
    assert "hunter2" not in caplog.text


async def test_questions_to_the_webhook_are_bounded() -> None:
    answer, both = asyncio.Event(), asyncio.Event()
    now = most = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 2:
            both.set()
        await answer.wait()
        now -= 1
        return web.Response()

    async with answering(handler) as url:
        webhook = Webhook(url, timeout=30, parallel=2)
        await webhook.start()
        asked = [asyncio.create_task(webhook.check(ask("t"))) for _ in range(40)]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        # 2 on their way and 16 waiting; the others were refused at once.
        assert {task.result() for task in done} == {Verdict.UNAVAILABLE}
        assert (len(done), len(waiting)) == (22, 18)
        await both.wait()
        answer.set()
        assert {await task for task in waiting} == {Verdict.ALLOWED}
        assert most == 2
        await webhook.close()


async def test_the_most_telling_verdict_is_given() -> None:
    asked = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=500)

    async with answering(handler) as url:
        config = Config(
            auth_tokens=(("view", "demo", "v" * 16),), auth_jwt_secret=SECRET, auth_webhook=url
        )
        auth = Auth.from_config(config)
        assert auth is not None
        await auth.start()
        assert await auth.decide(ask(token())) is Verdict.ALLOWED
        assert asked == 0  # what is known here needs no question
        assert await auth.decide(ask("v" * 16)) is Verdict.UNAVAILABLE
        assert await auth.decide(ask("v" * 16), ask_remote=False) is Verdict.FORBIDDEN
        assert await auth.decide(ask(None), ask_remote=False) is Verdict.UNKNOWN
        assert asked == 1
        await auth.close()
    assert Auth.from_config(Config()) is None
