"""The states of a session and of a stream, and which may follow which.

A session (one WHIP or WHEP client):

    NEW ──first valid STUN check──▶ CONNECTING ──DTLS done, keys set──▶ CONNECTED
     │                                  │                                   │
     └── DELETE, timeout, shutdown ─────┴── DTLS failed ──┬── close_notify ─┘
                                                          ▼
                                                        CLOSED ──tombstone──▶ forgotten

A stream (a name that is published):

    IDLE ──first media──▶ LIVE ◀──media again, new publisher── INTERRUPTED
     │                     │ ──publisher silent or gone──────▶     │
     │                     │                                       │
     └──grace over─────────┴───────────shutdown────▶ ENDED ◀───────┘ grace over

An ENDED stream only waits for the data plane to let go of it; a new publication under its name
makes a new stream.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeVar


class SessionState(enum.Enum):
    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


class StreamState(enum.Enum):
    IDLE = "idle"
    LIVE = "live"
    INTERRUPTED = "interrupted"
    ENDED = "ended"


SESSION_TRANSITIONS: Mapping[SessionState, frozenset[SessionState]] = {
    SessionState.NEW: frozenset({SessionState.CONNECTING, SessionState.CLOSED}),
    SessionState.CONNECTING: frozenset({SessionState.CONNECTED, SessionState.CLOSED}),
    SessionState.CONNECTED: frozenset({SessionState.CLOSED}),
    SessionState.CLOSED: frozenset(),
}

STREAM_TRANSITIONS: Mapping[StreamState, frozenset[StreamState]] = {
    StreamState.IDLE: frozenset({StreamState.LIVE, StreamState.ENDED}),
    StreamState.LIVE: frozenset({StreamState.INTERRUPTED, StreamState.ENDED}),
    StreamState.INTERRUPTED: frozenset({StreamState.LIVE, StreamState.ENDED}),
    StreamState.ENDED: frozenset(),
}

State = TypeVar("State", SessionState, StreamState)


def step(table: Mapping[State, frozenset[State]], old: State, new: State) -> State:
    """``new``, if it may follow ``old``; staying is always allowed. Else :class:`ValueError`:
    a mistake of this program, never of a peer."""
    if new is not old and new not in table[old]:
        raise ValueError(f"{old} must not become {new}")
    return new
