"""Bearer tokens from the settings, each with what it grants.

Tokens are looked up by their HMAC under a key of this process, so the time that a look-up takes
tells nothing of how much of a guess was right.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable

from .model import Ask, Rule, Verdict


class StaticTokens:
    """``rules``: (action, stream pattern, token), see :func:`rtcfwd.config_access.token_rules`."""

    def __init__(self, rules: Iterable[tuple[str, str, str]]) -> None:
        self._key = secrets.token_bytes(32)
        self._rules: dict[bytes, list[Rule]] = {}
        for action, stream, token in rules:
            self._rules.setdefault(self._digest(token), []).append(Rule(action, stream))

    def _digest(self, token: str) -> bytes:
        return hmac.digest(self._key, token.encode("utf-8", "surrogateescape"), "sha256")

    async def check(self, ask: Ask) -> Verdict:
        rules = None if ask.token is None else self._rules.get(self._digest(ask.token))
        if rules is None:
            return Verdict.UNKNOWN
        if any(rule.grants(ask.action, ask.stream) for rule in rules):
            return Verdict.ALLOWED
        return Verdict.FORBIDDEN
