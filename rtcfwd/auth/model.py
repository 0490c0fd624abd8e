"""The words of authorization: what is asked, what may come of it, and rules that grant it."""

from __future__ import annotations

import enum
import fnmatch
from dataclasses import dataclass, field
from typing import Protocol


class Action(enum.Enum):
    """What a request wants to do. ADMIN is the API and the metrics; it names no stream."""

    PUBLISH = "publish"
    VIEW = "view"
    ADMIN = "admin"


class Verdict(enum.Enum):
    """ALLOWED; UNKNOWN: no token, or one that means nothing here (401); FORBIDDEN: a good token
    for something else (403); UNAVAILABLE: who decides cannot be reached (503)."""

    ALLOWED = "allowed"
    UNKNOWN = "unknown"
    FORBIDDEN = "forbidden"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Ask:
    """One question. ``stream``: None for ADMIN. ``token``: kept out of every repr, so out of logs.
    ``address``: the client's, as text."""

    action: Action
    stream: str | None
    token: str | None = field(repr=False)
    address: str


class Authority(Protocol):
    """Something that can decide."""

    async def check(self, ask: Ask) -> Verdict:
        """Never raises for anything a client has sent."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A grant: ``action`` is an action's name or ``*``, ``stream`` a name in which ``*`` and ``?``
    stand for others. ADMIN is granted only together with all streams."""

    action: str
    stream: str

    def grants(self, action: Action, stream: str | None) -> bool:
        if self.action not in ("*", action.value):
            return False
        return self.stream == "*" if stream is None else fnmatch.fnmatchcase(stream, self.stream)
