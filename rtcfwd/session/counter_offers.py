"""Counter-offers that wait for their answer (draft-ietf-wish-whep, section 4.3.2).

One holds what its SDP has promised: ICE credentials and SSRCs. They are given back when nobody
answers for 30 s, the time that the draft gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtcfwd.forwarder.api import Role
from rtcfwd.ice import IceLiteAgent
from rtcfwd.sdp import Ids

VALID_S = 30.0


@dataclass(eq=False, slots=True)
class CounterOffer:
    """``id`` and ``etag``: of the session that an answer makes."""

    id: str
    etag: str
    stream_name: str
    agent: IceLiteAgent
    ids: Ids
    ssrcs: list[int]
    sdp: bytes
    expire: Callable[[CounterOffer], None]
    role: Role = Role.VIEWER

    def on_deadline(self, now: float) -> None:
        self.expire(self)
