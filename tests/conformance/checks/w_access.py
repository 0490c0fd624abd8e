"""WHIP endpoint: who may publish, where to, and how often (RFC 9725 sections 4.5 to 4.7, 5)."""

from __future__ import annotations

from ..harness import Server
from ..registry import check, not_checked


@check("W19")
def no_redirect(server: Server) -> None:
    """No 301 or 302."""
    assert server.whip().status not in (301, 302)


not_checked("W20", "a MAY: 503 under overload, see tests/unit/test_session_registry.py")
not_checked("W21", "no authentication in this version")
not_checked("W22", "no authentication in this version")
not_checked("W25", "no rate limits in this version")
not_checked("W27", "HTTPS is the deployment's")
