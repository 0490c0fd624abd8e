"""One WHIP or WHEP session: from its answer to its end, without I/O of its own.

It is given punted STUN and DTLS datagrams and the time; it answers them through the forwarder
(which sends them from the local address that was asked) and installs what they prove:

    STUN ─▶ IceLiteAgent ─▶ reply, add_path, select_path
    DTLS ─▶ DtlsTransport ─▶ reply; CONNECTED ─▶ set_keys; CLOSED or FAILED ─▶ close()

It promises that after :meth:`close` nothing of it is left in the forwarder but the peer that
reports PeerGone. States: ``states.py``. It does not know streams' rules or HTTP.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from rtcfwd.dtls import DtlsState, DtlsTransport
from rtcfwd.forwarder.api import (
    Forwarder,
    ForwarderError,
    Kind,
    Path,
    PeerHandle,
    Punt,
    Role,
    Slow,
)
from rtcfwd.ice import IceLiteAgent, new_credentials
from rtcfwd.sdp import Fragment, ViewerAnswer

from .events import Subscriber
from .states import SESSION_TRANSITIONS, SessionState, step
from .timers import Timers

logger = logging.getLogger(__name__)

MAX_PATHS = 8
"""Validated tuples that the data plane keeps of a peer; the oldest unselected one gives way."""

_MAX_WAS_REMOTE = 16


class Surroundings(Protocol):
    """What a session is told of the server around it."""

    forwarder: Forwarder
    timers: Timers
    clock: Callable[[], float]

    def session_connected(self, session: Session) -> None:
        """Called once, when the keys are installed."""

    def session_closed(self, session: Session) -> None:
        """Called once, when the session has closed by itself or was closed."""

    def ufrags_changed(self, session: Session, gone: list[str]) -> None:
        """Its agent has a new ufrag; those ``gone`` are answered no more."""

    def count_drop(self, reason: str) -> None:
        """A punted datagram came to nothing; ``reason`` is one of a few fixed words."""


class Session:
    """Fields are read by the HTTP layer; only this class and the registry change them.

    ``id``: the capability in its URL. ``sdp``: the answer. ``peer``: its handle in the data plane,
    which outlives the session until PeerGone. Times are monotonic seconds.
    """

    def __init__(
        self,
        *,
        around: Surroundings,
        id: str,
        etag: str,
        role: Role,
        stream_name: str,
        agent: IceLiteAgent,
        dtls: DtlsTransport,
        active: bool,
        sdp: bytes,
        ssrcs: list[int],
        handshake_timeout: float,
    ) -> None:
        self.id = id
        self.etag = etag
        self.role = role
        self.stream_name = stream_name
        self.agent = agent
        self.sdp = sdp
        self.ssrcs = ssrcs  # given back by the registry at PeerGone
        self.mid = ""  # of the first accepted m-section
        self.video_line: int | None = None  # viewer: the index of its video m-line
        self.subscribers: dict[str, Subscriber] = {}  # viewer: of its stream's events
        self.peer: PeerHandle | None = None
        self.viewer: ViewerAnswer | None = None
        self.formats: dict[Kind, dict[int, tuple[int, int | None]]] = {}  # told to the data plane
        self.state = SessionState.NEW
        self.reason = ""  # why it closed
        self.opened_at = around.clock()
        self.connected_at: float | None = None
        self.last_heard = self.opened_at  # STUN or DTLS; media is the data plane's to count
        self.layer = ""  # rid that a viewer has chosen; "": the best that its way carries
        self.gets_layer: int | None = None  # … that it gets: the place of its rid; None: none yet
        self.slow = Slow.ALL  # viewer: how much of the video its way carries
        self.estimate: int | None = None  # … in bit/s, when that changed
        self.media = False  # publisher: media came, and is not silent now
        self._around = around
        self._dtls = dtls
        self._active = active
        self._paths: dict[Path, None] = {}
        self._selected: Path | None = None
        self._was_remote: set[str] = set()  # the client's ufrags before its restarts
        self._restarting = False  # no path is selected by the new credentials
        self._via: tuple[int, Path] | None = None  # where our own DTLS flights go
        self._deadline = self.opened_at + handshake_timeout
        self._set_timer()

    # ---- what the data plane punts ----

    def on_stun(self, punt: Punt, now: float) -> None:
        """A STUN datagram whose USERNAME names one of this session's ufrags."""
        if self.peer is None or self.state is SessionState.CLOSED:
            return
        outcome = self.agent.receive(punt.data, punt.path, now)
        if outcome.drop is not None:
            self._around.count_drop(outcome.drop)
        forwarder = self._around.forwarder
        if outcome.verified:
            # Installed before the reply leaves: the peer's first DTLS may follow it at once.
            self.last_heard = now
            if not self._use_path(punt.path, outcome.nominated):
                return  # no success for what does not work; the peer asks again
        if outcome.reply is not None:
            forwarder.send(punt.worker, punt.path, outcome.reply)
        if outcome.verified:
            if self._via is None or outcome.nominated:
                self._via = (punt.worker, punt.path)
            self._follow_restart()
            if self.state is SessionState.NEW:
                self.state = step(SESSION_TRANSITIONS, self.state, SessionState.CONNECTING)
                if self._active:
                    self._dtls.start(now)
                    self._after_dtls(now)

    def on_dtls(self, punt: Punt, now: float) -> None:
        """A DTLS datagram from one of this session's validated tuples."""
        if self.peer is None or self.state is SessionState.CLOSED:
            return
        self.last_heard = now
        self._via = (punt.worker, punt.path)
        self._dtls.receive(punt.data, now)
        self._after_dtls(now)

    def is_restart(self, fragment: Fragment) -> bool:
        """Whether a PATCH asks for an ICE restart: other credentials than the offer's, whatever
        its If-Match says (RFC 9725 section 4.3.3). Only the ufrag is compared: the RFC's own
        figures change the password alone in a plain trickle."""
        return fragment.ufrag is not None and fragment.ufrag != self.agent.remote_ufrag

    def select_layer(self, rid: str, rids: Sequence[str]) -> None:
        """A viewer chooses one of the stream's simulcast layers ``rids``, or with "" the best that
        is on the air. A rid that is not among them (a new publisher has others) gets the best too.
        Raises ForwarderError when the data plane is full."""
        self.layer = rid
        if self.peer is not None and self.state is not SessionState.CLOSED:
            index = rids.index(rid) if rid in rids else None
            self._around.forwarder.select_layer(self.peer, index)

    # ---- time ----

    def on_deadline(self, now: float) -> None:
        if self.state is SessionState.CLOSED:
            return
        if self.state is not SessionState.CONNECTED and now >= self._deadline:
            self.close("did not connect in time")
            return
        retired = self.agent.retire(now)
        if retired:
            self._forget(retired)
        timeout = self._dtls.next_timeout()
        if timeout is not None and timeout <= now:
            self._dtls.handle_timeout(now)
        self._after_dtls(now)

    # ---- ICE restart ----

    def is_outdated(self, fragment: Fragment) -> bool:
        """Whether a PATCH comes late: it speaks of credentials before the last restart."""
        return fragment.ufrag in self._was_remote

    def restart(self, fragment: Fragment, etag: str) -> None:
        """ICE restart (RFC 9725 section 4.3.3): new credentials and a new entity tag; DTLS,
        SRTP and the selected path stay until checks on the new credentials select one. Raises
        :class:`ForwarderError`, and then everything is as it was."""
        assert self.peer is not None
        fresh = new_credentials()
        # Without its password the data plane leaves the checks to the agent, which sees the
        # nomination by them.
        self._around.forwarder.add_ufrag(self.peer, fresh.ufrag)
        if self.agent.remote_ufrag is not None:
            if len(self._was_remote) >= _MAX_WAS_REMOTE:
                self._was_remote.clear()
            self._was_remote.add(self.agent.remote_ufrag)
        gone = self.agent.restart(remote_ufrag=fragment.ufrag, remote_pwd=fragment.pwd, fresh=fresh)
        self._restarting = True
        self.etag = etag
        self._forget(gone)
        self._set_timer()
        logger.info("session %s restarts ICE", self.id[:8])

    # ---- the end ----

    def close(self, reason: str, *, dropped: bool = False) -> None:
        """End it: close_notify (RFC 7675 section 5.2), BYE, keys forgotten. Idempotent.
        ``dropped``: the data plane has let go of the peer already."""
        if self.state is SessionState.CLOSED:
            return
        self.state = step(SESSION_TRANSITIONS, self.state, SessionState.CLOSED)
        self.reason = reason
        self._around.timers.set(self, None)
        self._dtls.close()
        self._flush()
        if self.peer is not None and not dropped:
            try:
                self._around.forwarder.close_peer(self.peer)
            except ForwarderError as error:
                logger.error("session %s: close_peer: %s", self.id[:8], error)
        logger.info(
            "%s of %s left: %s (%s)", self.role.name.lower(), self.stream_name, reason, self.id[:8]
        )
        self._around.session_closed(self)

    # ---- inside ----

    def _use_path(self, path: Path, nominated: bool) -> bool:
        assert self.peer is not None
        forwarder = self._around.forwarder
        try:
            if path not in self._paths:
                forwarder.add_path(self.peer, path)
                self._paths[path] = None
                if len(self._paths) > MAX_PATHS:  # until one is nominated, media goes to the first
                    kept = self._selected or next(iter(self._paths))
                    del self._paths[next(p for p in self._paths if p != kept)]
            if nominated and path != self._selected:
                forwarder.select_path(self.peer, path)
                self._selected = path
        except ForwarderError as error:
            # A full queue: the next check tries again. A stale handle: PeerGone is on its way, or
            # the TCP connection is over, or another session's.
            logger.debug("session %s: path: %s", self.id[:8], error)
            return False
        return True

    def _follow_restart(self) -> None:
        """After a check: once the new credentials have selected a path, the data plane answers
        checks on them by itself, and the old ones have a time to end."""
        if not self._restarting or self.peer is None:
            return
        if self.agent.settled:
            self._restarting = False
            forwarder, agent = self._around.forwarder, self.agent
            try:
                forwarder.remove_ufrag(self.peer, agent.local_ufrag)
                forwarder.add_ufrag(self.peer, agent.local_ufrag, agent.local_pwd)
            except ForwarderError as error:
                # A full queue: the agent goes on answering; without its ufrag, the next check is
                # lost and the client restarts again.
                logger.warning("session %s: credentials: %s", self.id[:8], error)
        self._set_timer()

    def _forget(self, ufrags: list[str]) -> None:
        """Old credentials whose time is over."""
        assert self.peer is not None
        for ufrag in ufrags:
            try:
                self._around.forwarder.remove_ufrag(self.peer, ufrag)
            except ForwarderError as error:  # it goes with the peer, at the latest
                logger.debug("session %s: ufrag: %s", self.id[:8], error)
        self._around.ufrags_changed(self, ufrags)

    def _after_dtls(self, now: float) -> None:
        """Send what DTLS has to say, follow its state, set the next timer."""
        self._flush()
        state = self._dtls.state
        if state is DtlsState.CONNECTED and self.state is SessionState.CONNECTING:
            keys = self._dtls.keys
            assert self.peer is not None
            assert keys is not None
            try:
                self._around.forwarder.set_keys(self.peer, keys.profile, keys.rx, keys.tx)
            except ForwarderError as error:
                self.close(f"the data plane refused its keys: {error}")
                return
            self.state = step(SESSION_TRANSITIONS, self.state, SessionState.CONNECTED)
            self.connected_at = now
            self._around.session_connected(self)
            logger.info(
                "%s of %s connected after %.0f ms, %s (%s)",
                self.role.name.lower(),
                self.stream_name,
                (now - self.opened_at) * 1000,
                keys.profile.name,
                self.id[:8],
            )
        elif state is DtlsState.CLOSED:
            self.close("closed by the peer")
            return
        elif state is DtlsState.FAILED:
            self.close(f"DTLS failed: {self._dtls.error}")
            return
        self._set_timer()

    def _flush(self) -> None:
        datagrams: Sequence[bytes] = self._dtls.take_datagrams()
        if self._via is not None:
            worker, path = self._via
            for datagram in datagrams:
                self._around.forwarder.send(worker, path, datagram)

    def _set_timer(self) -> None:
        times = [self._dtls.next_timeout(), self.agent.next_retirement()]
        due = min((when for when in times if when is not None), default=None)
        if self.state is not SessionState.CONNECTED:
            due = self._deadline if due is None else min(due, self._deadline)
        self._around.timers.set(self, due)
