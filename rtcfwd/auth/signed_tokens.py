"""Signed tokens: JWT (RFC 7519) by HS256 with a shared secret, RS256 and ES256 with a key set.

    {"action": "publish" | "view" | "admin" | "*" | [..], "stream": "NAME*" | [..], "exp": …}

Both claims and ``exp`` must be there; ``nbf``, and ``iss`` and ``aud`` where they are configured,
are judged too, with :data:`LEEWAY_S` for the clocks. The algorithm of a token selects among the
keys of that algorithm only, so a public key is never taken for a shared secret, and ``none`` is
nothing at all. PyJWT does the cryptography.
"""

from __future__ import annotations

import jwt

from .jwks import KeySet
from .model import Action, Ask, Rule, Verdict

LEEWAY_S = 30.0
_MOST_RULES = 64


class SignedTokens:
    """``secret``: of HS256, empty for none. ``keys``: of RS256 and ES256."""

    def __init__(
        self,
        *,
        secret: str = "",
        keys: KeySet | None = None,
        issuer: str | None = None,
        audience: str | None = None,
    ) -> None:
        self._secret = secret
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    async def check(self, ask: Ask) -> Verdict:
        if ask.token is None:
            return Verdict.UNKNOWN
        try:
            header = jwt.get_unverified_header(ask.token)
        except (jwt.InvalidTokenError, ValueError, RecursionError):  # the last: JSON of [[[[…
            return Verdict.UNKNOWN
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm == "HS256" and self._secret:
            keys: list[object] = [self._secret]
        elif self._keys is not None and algorithm in self._keys.ALGORITHMS:
            found = await self._keys.find(algorithm, kid if isinstance(kid, str) else None)
            if found is None:
                return Verdict.UNAVAILABLE
            keys = list(found)
        else:
            return Verdict.UNKNOWN
        for key in keys:
            claims = self._verified(ask.token, algorithm, key)
            if claims is not None:
                return _judge(claims, ask)
        return Verdict.UNKNOWN

    def _verified(self, token: str, algorithm: str, key: object) -> dict[str, object] | None:
        try:
            claims: dict[str, object] = jwt.decode(
                token,
                key,  # type: ignore[arg-type]
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_S,
                options={
                    "require": ["exp"],
                    "verify_aud": self._audience is not None,
                    "verify_iss": self._issuer is not None,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        return claims


def _judge(claims: dict[str, object], ask: Ask) -> Verdict:
    actions, streams = _texts(claims.get("action")), _texts(claims.get("stream"))
    if ask.stream is None and ask.action is Action.ADMIN and "admin" in actions:
        return Verdict.ALLOWED
    for action in actions:
        if any(Rule(action, stream).grants(ask.action, ask.stream) for stream in streams):
            return Verdict.ALLOWED
    return Verdict.FORBIDDEN


def _texts(value: object) -> list[str]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        return []
    return [item for item in items[:_MOST_RULES] if isinstance(item, str)]
