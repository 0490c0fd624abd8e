"""Who may publish, view or administer: static tokens, signed tokens (JWT), a webhook.

    Ask ─▶ Auth.decide ─▶ StaticTokens ─▶ SignedTokens ─▶ Webhook ─▶ Verdict

It knows nothing of aiohttp's server side; ``rtcfwd.http.guard`` asks it and makes replies of its
verdicts. Without any of the three there is no :class:`Auth`, and everybody may do everything.
"""

from .auth import Auth
from .model import Action, Ask, Verdict

__all__ = ["Action", "Ask", "Auth", "Verdict"]
