"""Keys, signed tokens, and a small HTTP server that stands for somebody else's."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from rtcfwd.auth import Action, Ask

SECRET = "an HS256 secret of at least 32 bytes"
RSA_KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
EC_KEY = ec.generate_private_key(ec.SECP256R1())

TestServer.__test__ = False  # type: ignore[attr-defined]


def jwk(key: Any, kid: str) -> dict[str, object]:
    """The public half as a JWK."""
    rsa_key = isinstance(key, rsa.RSAPrivateKey)
    algorithm = jwt.get_algorithm_by_name("RS256" if rsa_key else "ES256")
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


def key_set(*keys: dict[str, object]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def token(
    key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **claims: object
) -> str:
    """Good for a minute, for publishing ``demo``; ``claims`` change that (None removes one)."""
    told = {"action": "publish", "stream": "demo", "exp": time.time() + 60, **claims}
    told = {name: value for name, value in told.items() if value is not None}
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(told, key, algorithm=algorithm, headers=headers)


def ask(token: str | None, action: Action = Action.PUBLISH, stream: str | None = "demo") -> Ask:
    return Ask(action, stream, token, "192.0.2.7")


@asynccontextmanager
async def answering(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """A server on loopback that answers everything by ``handler``; its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    try:
        yield str(server.make_url("/"))
    finally:
        await server.close()
