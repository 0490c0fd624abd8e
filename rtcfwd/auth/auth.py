"""All authorities that the settings name, asked in turn: the cheap ones first.

The first that allows decides. Otherwise the most telling verdict is given: UNAVAILABLE before
FORBIDDEN before UNKNOWN, so a webhook that is down never looks like a bad token.
"""

from __future__ import annotations

from rtcfwd.config import Config

from .jwks import KeySet
from .model import Ask, Authority, Verdict
from .signed_tokens import SignedTokens
from .static_tokens import StaticTokens
from .webhook import Webhook

_TELLING = (Verdict.UNAVAILABLE, Verdict.FORBIDDEN, Verdict.UNKNOWN)


class Auth:
    """``local``: decide by what this process knows. ``remote``: somebody else is asked."""

    def __init__(self, local: list[Authority], remote: Authority | None = None) -> None:
        self._local = local
        self._remote = remote
        self._closing: list[KeySet | Webhook] = []

    @classmethod
    def from_config(cls, config: Config) -> Auth | None:
        """None where no authority is configured. Call :meth:`start` before its first use."""
        local: list[Authority] = []
        closing: list[KeySet | Webhook] = []
        if config.auth_tokens:
            local.append(StaticTokens(config.auth_tokens))
        if config.auth_jwt_secret or config.auth_jwt_keys:
            keys = KeySet(config.auth_jwt_keys) if config.auth_jwt_keys else None
            if keys is not None:
                closing.append(keys)
            local.append(
                SignedTokens(
                    secret=config.auth_jwt_secret,
                    keys=keys,
                    issuer=config.auth_jwt_issuer or None,
                    audience=config.auth_jwt_audience or None,
                )
            )
        remote = None
        if config.auth_webhook:
            remote = Webhook(
                config.auth_webhook,
                timeout=config.auth_webhook_timeout,
                parallel=config.auth_webhook_parallel,
            )
            closing.append(remote)
        if not local and remote is None:
            return None
        auth = cls(local, remote)
        auth._closing = closing
        return auth

    async def start(self) -> None:
        """Read the keys. Raises :class:`ValueError` with one line if their file is no good."""
        for part in self._closing:
            await part.start()

    async def close(self) -> None:
        for part in self._closing:
            await part.close()

    async def decide(self, ask: Ask, *, ask_remote: bool = True) -> Verdict:
        """``ask_remote=False`` leaves the webhook out: who guesses shall not load it."""
        verdicts = {Verdict.UNKNOWN}
        authorities = list(self._local)
        if self._remote is not None and ask_remote:
            authorities.append(self._remote)
        for authority in authorities:
            verdict = await authority.check(ask)
            if verdict is Verdict.ALLOWED:
                return verdict
            verdicts.add(verdict)
        return next(verdict for verdict in _TELLING if verdict in verdicts)
