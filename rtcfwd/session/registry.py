"""All streams and sessions of a server: who may join, what follows an event, what ends when.

    publish(), view() ─▶ parse, negotiate ─▶ open_peer, publish/view, add_ufrag ─▶ Session
    handle(event)     ─▶ the session or stream that it names
    run_timers()      ─▶ handshakes, grace times, tombstones

It is given bytes, events and a clock; it promises that what it refuses leaves nothing behind, and
that every handle it opened is closed in the data plane's order: sessions, their PeerGone, then the
stream. Refusals are :class:`Refused` or :class:`~rtcfwd.sdp.SdpError`, each with an HTTP status.
One thread (the event loop's) calls it. It does no I/O and knows nothing of asyncio.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from aioice import Candidate

from rtcfwd.certs import Certificate
from rtcfwd.config import Config
from rtcfwd.dtls import DtlsTransport
from rtcfwd.forwarder.api import (
    Forwarder,
    ForwarderBusy,
    ForwarderError,
    Kind,
    PeerHandle,
    Role,
    Slow,
    StreamHandle,
)
from rtcfwd.ice import IceLiteAgent
from rtcfwd.sdp import (
    CodecPolicy,
    Fragment,
    Ids,
    LocalTransport,
    Offer,
    PublisherAnswer,
    StreamFormats,
    ViewerAnswer,
    negotiate_publisher,
    negotiate_viewer,
    parse_offer,
    write_fragment,
    write_offer,
)

from . import ids as names
from .counter_offers import VALID_S, CounterOffer
from .events import StreamEvents
from .session import Session
from .states import StreamState
from .stream import Stream
from .timers import Timers
from .tombstones import Tombstones

logger = logging.getLogger(__name__)

_GIVEN_UP = ("nobody has published", "its publisher did not come back")


class Refused(Exception):
    """A join that is not possible now. ``status``: 409 or 503; ``retry_after``: seconds."""

    def __init__(self, status: int, title: str, detail: str, retry_after: int) -> None:
        super().__init__(f"{title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.retry_after = retry_after


@dataclass(slots=True)
class Counts:
    """Totals since the start, for the metrics; keys are short fixed words."""

    joined: dict[Role, int] = field(default_factory=lambda: dict.fromkeys(Role, 0))
    connected: dict[Role, int] = field(default_factory=lambda: dict.fromkeys(Role, 0))
    refused: int = 0
    http: Counter[str] = field(default_factory=Counter)  # turned away before the endpoints
    takeovers: int = 0
    events: int = 0
    slow: Counter[Slow] = field(default_factory=Counter)  # changes of viewers' video
    drops: Counter[str] = field(default_factory=Counter)  # punted datagrams, by reason


class Registry:
    """``candidates``: what every answer lists. ``arm``: told the earliest deadline (or None)."""

    def __init__(
        self,
        *,
        forwarder: Forwarder,
        config: Config,
        certificate: Certificate,
        candidates: Sequence[Candidate],
        clock: Callable[[], float],
        arm: Callable[[float | None], None] = lambda when: None,
        policy: CodecPolicy | None = None,
    ) -> None:
        self.forwarder = forwarder
        self.config = config
        self.clock = clock
        self.timers = Timers(arm)
        self.counts = Counts()
        self.streams: dict[str, Stream] = {}  # by name; ended ones are only in by_handle
        self.sessions: dict[str, Session] = {}  # by id, open ones
        self.counter_offers: dict[str, CounterOffer] = {}  # by the id of the session to be
        self.handshakes: set[str] = set()  # ids of those that are not yet connected
        self.by_handle: dict[StreamHandle, Stream] = {}
        self.by_peer: dict[PeerHandle, Stream] = {}
        self.by_ufrag: dict[str, Session] = {}
        self.ssrcs = names.Ssrcs()
        self._certificate = certificate
        self._candidates = tuple(candidates)
        self._policy = _policies(config) if policy is None else lambda _: policy
        self.draining = False  # no new sessions
        self.on_reconnect: list[Callable[[str], None]] = [self._tell_reconnect]
        """Called once when the server is about to end, with the base URL of the server to go to
        ("" for this one): tells viewers by server-sent events."""
        self._tombstones = Tombstones(self.timers)
        self._replacing = False

    # ---- joins ----

    def publish(self, name: str, body: bytes) -> Session:
        """A WHIP POST: ``body`` is the offer. Raises SdpError, :class:`Refused`."""
        offer = parse_offer(body)
        self._check_draining()
        now = self.clock()
        stream = self.streams.get(name)
        self._check_room(Role.PUBLISHER)
        if stream is not None and not stream.may_replace_publisher(
            now, self.config.takeover_silence
        ):
            raise self._refuse(
                409,
                "Already published",
                f"Somebody publishes to {name} now; stop that one first or take another name.",
                retry_after=max(1, round(self.config.takeover_silence)),
            )
        if stream is None and len(self.streams) >= self.config.max_streams:
            raise self._refuse(503, "Too many streams", "Try again when one has ended.", 5)
        formats = stream.formats if stream is not None else StreamFormats()
        stream_id = stream.stream_id if stream is not None else str(uuid.uuid4())
        agent = _agent_for(offer)
        ssrcs = self.ssrcs.allocate(1)
        try:
            answer = negotiate_publisher(
                offer,
                local=self._local(agent),
                policy=self._policy(name),
                formats=formats,
                ids=Ids(names.new_origin(), stream_id, names.new_cname(), 0, 0, 0, ssrcs[0]),
            )
            if stream is None:
                stream = self._open_stream(name, formats, stream_id, now)
            elif stream.publisher is not None:
                self.counts.takeovers += 1
                self._replacing = True  # the stream stays, even without viewers
                try:
                    stream.publisher.close("replaced by another publisher")
                finally:
                    self._replacing = False
            session = self._session(Role.PUBLISHER, stream, offer, agent, answer, ssrcs)
        except BaseException:
            self.ssrcs.release(ssrcs)
            if stream is not None and stream.publications == 0 and not stream.viewers:
                self._end_stream(stream, "its publisher could not be set up")
            raise
        stream.publisher = session
        self.timers.set(stream, None)
        changed = stream.set_publication(answer.chosen, answer.publication)
        self._follow_formats(stream, changed)
        self.rematch(stream)  # its offer may tell its SPS
        return session

    def view(self, name: str, body: bytes, playout: tuple[int, int] | None = None) -> Session:
        """A WHEP POST. ``playout``: this viewer's own playout delay, else the configuration's.
        Raises SdpError, :class:`Refused`."""
        offer = parse_offer(body)
        self._check_draining()
        stream = self.streams.get(name)
        if (stream is None or stream.publisher is None) and not self._may_wait(stream):
            raise self._refuse(
                409, "Nothing is published", f"Nobody publishes to {name} now; try again.", 2
            )
        self._check_room(Role.VIEWER)
        agent = _agent_for(offer)
        ssrcs = self.ssrcs.allocate(4)
        now = self.clock()
        try:
            if stream is None:
                stream = self._open_stream(name, StreamFormats(), str(uuid.uuid4()), now)
                self.timers.set(stream, now + self.config.viewer_wait)
            answer = negotiate_viewer(
                offer,
                local=self._local(agent),
                policy=self._policy(name),
                formats=stream.formats,
                live=stream.live,
                ids=Ids(names.new_origin(), stream.stream_id, names.new_cname(), *ssrcs),
                playout=playout or self.config.playout_delay,
            )
            session = self._session(Role.VIEWER, stream, offer, agent, answer, ssrcs)
        except BaseException:
            self.ssrcs.release(ssrcs)
            if stream is not None and stream.publisher is None and not stream.viewers:
                self._end_stream(stream, "its first viewer could not be set up")
            raise
        return self._joined(session, stream, offer, answer)

    def counter_offer(self, name: str) -> CounterOffer:
        """The server's own offer to a viewer, good for 30 s. Raises :class:`Refused`."""
        self._check_draining()
        stream = self.streams.get(name)
        if stream is None or not stream.live:
            raise self._refuse(
                409, "Nothing is published", f"Nobody publishes to {name} now; try again.", 2
            )
        self._check_room(Role.VIEWER)
        agent = IceLiteAgent(remote_ufrag=None, remote_pwd=None)
        ssrcs = self.ssrcs.allocate(4)
        ids = Ids(names.new_origin(), stream.stream_id, names.new_cname(), *ssrcs)
        sdp = write_offer(self._local(agent), stream.formats, stream.live, ids)
        offer = CounterOffer(
            names.new_session_id(), names.new_etag(), name, agent, ids, ssrcs, sdp,
            self._forget_counter_offer,
        )  # fmt: skip
        self.counter_offers[offer.id] = offer
        self.timers.set(offer, self.clock() + VALID_S)
        return offer

    def answer_counter_offer(self, pending: CounterOffer, body: bytes) -> Session:
        """The viewer's answer: makes the session. Raises SdpError, after which another answer may
        come, and :class:`Refused`."""
        offer = parse_offer(body)  # it is settled as if it were one
        stream = self.streams.get(pending.stream_name)
        if stream is None or stream.stream_id != pending.ids.stream_id:
            self._forget_counter_offer(pending)
            raise self._refuse(409, "The stream has ended", "POST anew when it is published.", 2)
        agent = pending.agent
        agent.remote_ufrag, agent.remote_pwd = offer.remote.ufrag, offer.remote.pwd
        answer = negotiate_viewer(
            offer,
            local=self._local(agent),
            policy=self._policy(pending.stream_name),
            formats=stream.formats,
            live=stream.live,
            ids=pending.ids,
        )
        session = self._session(Role.VIEWER, stream, offer, agent, answer, pending.ssrcs, pending)
        pending.ssrcs = []  # the session's now
        self._forget_counter_offer(pending)
        return self._joined(session, stream, offer, answer)

    def _forget_counter_offer(self, pending: CounterOffer) -> None:
        self.counter_offers.pop(pending.id, None)
        self.timers.set(pending, None)
        self.ssrcs.release(pending.ssrcs)

    def _joined(
        self, session: Session, stream: Stream, offer: Offer, answer: ViewerAnswer
    ) -> Session:
        session.viewer = answer
        session.formats = {
            Kind(track.kind): dict(track.payload_types) for track in answer.subscription.tracks
        }
        video = (s.index for s in offer.media if s.kind is Kind.VIDEO and s.offered)
        session.video_line = next(video, None)
        stream.viewers[session.id] = session
        stream.events.viewers_changed()
        return session

    def restart(self, session: Session, fragment: Fragment) -> bytes:
        """A PATCH with new credentials: the fragment that answers it. Raises :class:`Refused`, and
        then the ICE session is as it was."""
        try:
            session.restart(fragment, names.new_etag())
        except ForwarderBusy:
            raise self._refuse(503, "Too much at once", "Try again in a second.", 1) from None
        return write_fragment(self._local(session.agent), session.mid)

    # ---- leaving ----

    def delete(self, session_id: str) -> bool:
        """DELETE of a session URL: True also for one that ended a short while ago."""
        pending = self.counter_offers.get(session_id)
        if pending is not None:
            self._forget_counter_offer(pending)
            return True
        session = self.sessions.get(session_id)
        if session is None:
            return session_id in self._tombstones
        session.close("DELETE")
        return True

    def start_draining(self) -> None:
        """From now on joins are refused with 503, and viewers are told to go elsewhere. Media goes
        on until :meth:`close_all`. Idempotent."""
        if not self.draining:
            self.draining = True
            for tell in self.on_reconnect:
                tell(self.config.redirect_full)

    def has_viewers(self) -> bool:
        return any(stream.viewers for stream in self.streams.values())

    def close_all(self) -> None:
        """End every session with close_notify, and every stream; PeerGone events follow."""
        for pending in list(self.counter_offers.values()):
            self._forget_counter_offer(pending)
        for session in list(self.sessions.values()):
            session.close("the server stops")
        for stream in list(self.streams.values()):
            self._end_stream(stream, "the server stops")

    @property
    def empty(self) -> bool:
        """Whether the data plane has let go of everything."""
        return not self.by_handle and not self.by_peer

    # ---- time ----

    def run_timers(self) -> None:
        self.timers.run(self.clock())

    # ---- called by sessions ----

    def session_connected(self, session: Session) -> None:
        self.handshakes.discard(session.id)
        self.counts.connected[session.role] += 1

    def session_closed(self, session: Session) -> None:
        self.sessions.pop(session.id, None)
        self.handshakes.discard(session.id)
        self._tombstones.add(session.id, self.clock() + self.config.tombstone)
        for ufrag in session.agent.ufrags():
            self.by_ufrag.pop(ufrag, None)
        stream = self.by_peer.get(session.peer) if session.peer is not None else None
        if stream is None:
            return
        if stream.viewers.pop(session.id, None) is not None:
            stream.events.viewers_changed()
        for subscriber in session.subscribers.values():
            stream.events.remove(subscriber)
            subscriber.end()
        session.subscribers.clear()
        if stream.publisher is session:
            stream.publisher = None
            stream.live = {}
            if stream.state is StreamState.LIVE:
                stream.become(StreamState.INTERRUPTED)
            if stream.state is not StreamState.ENDED:
                self.timers.set(stream, self.clock() + self.config.grace)
        if stream.publisher is None and not stream.viewers and not self._replacing:
            self._end_stream(stream, "nobody is left")

    def ufrags_changed(self, session: Session, gone: list[str]) -> None:
        for ufrag in gone:
            self.by_ufrag.pop(ufrag, None)
        self.by_ufrag[session.agent.local_ufrag] = session

    def count_drop(self, reason: str) -> None:
        self.counts.drops[reason] += 1

    # ---- called by the dispatcher of events ----

    def peer_gone(self, peer: PeerHandle) -> None:
        """The data plane has let go of a peer: its SSRCs are free."""
        stream = self.by_peer.get(peer)
        if stream is None:
            return
        session = stream.peers.pop(peer)
        if session is not None:
            session.close("the data plane dropped it", dropped=True)  # mostly closed already
            self.ssrcs.release(session.ssrcs)
        del self.by_peer[peer]
        self._close_if_empty(stream)

    def stream_gone(self, handle: StreamHandle) -> None:
        self.by_handle.pop(handle, None)

    # ---- inside ----

    def _check_draining(self) -> None:
        if self.draining:
            raise self._refuse(503, "Stopping", "This server stops; try again in a moment.", 2)

    def _check_room(self, role: Role) -> None:
        config = self.config
        if len(self.handshakes) + len(self.counter_offers) >= config.max_handshakes:
            raise self._refuse(503, "Too many joins at once", "Try again in a second.", 1)
        if role is Role.VIEWER:
            viewers = sum(len(stream.viewers) for stream in self.streams.values())
            if viewers >= config.max_viewers:
                raise self._refuse(503, "Too many viewers", "Try again when one has left.", 5)

    def _may_wait(self, stream: Stream | None) -> bool:
        """Whether a viewer may come before the publisher. Streams that only viewers want take at
        most half of the room."""
        if self.config.viewer_wait <= 0:
            return False
        return stream is not None or len(self.streams) < (self.config.max_streams + 1) // 2

    def _refuse(self, status: int, title: str, detail: str, retry_after: int) -> Refused:
        self.counts.refused += 1
        return Refused(status, title, detail, retry_after)

    def _local(self, agent: IceLiteAgent) -> LocalTransport:
        return LocalTransport(
            agent.local_ufrag, agent.local_pwd, self._certificate.fingerprint, self._candidates
        )

    def _open_stream(self, name: str, formats: StreamFormats, stream_id: str, now: float) -> Stream:
        try:
            handle = self.forwarder.open_stream()
        except ForwarderBusy:
            raise self._refuse(503, "Too many streams", "Try again in a second.", 1) from None
        stream = Stream(
            name, handle, formats, stream_id, now,
            lambda ended: self._end_stream(ended, _GIVEN_UP[ended.publications > 0]),
            StreamEvents(self.timers, self.clock),
        )  # fmt: skip
        self.streams[name] = stream
        self.by_handle[handle] = stream
        return stream

    def _session(
        self,
        role: Role,
        stream: Stream,
        offer: Offer,
        agent: IceLiteAgent,
        answer: PublisherAnswer | ViewerAnswer,
        ssrcs: list[int],
        promised: CounterOffer | None = None,
    ) -> Session:
        """Install a negotiated session in the data plane; on any error nothing stays there."""
        active = answer.setup == "active"
        dtls = DtlsTransport(
            certificate=self._certificate,
            is_client=active,
            remote_fingerprints=offer.remote.fingerprints,
        )
        forwarder = self.forwarder
        try:
            peer = forwarder.open_peer(stream.handle, role)
        except ForwarderBusy:
            raise self._refuse(503, "Too many sessions", "Try again in a second.", 1) from None
        try:
            if isinstance(answer, PublisherAnswer):
                forwarder.publish(peer, answer.publication)
            else:
                forwarder.view(peer, answer.subscription)
            forwarder.add_ufrag(peer, agent.local_ufrag, agent.local_pwd)
        except ForwarderError as error:
            stream.peers[peer] = None  # until PeerGone, so that the stream is closed after it
            self.by_peer[peer] = stream
            forwarder.close_peer(peer, bye=False)
            if isinstance(error, ForwarderBusy):
                raise self._refuse(503, "Too much at once", "Try again in a second.", 1) from None
            raise
        session = Session(
            around=self,
            id=names.new_session_id() if promised is None else promised.id,
            etag=names.new_etag() if promised is None else promised.etag,
            role=role,
            stream_name=stream.name,
            agent=agent,
            dtls=dtls,
            active=active,
            sdp=answer.sdp,
            ssrcs=ssrcs,
            handshake_timeout=self.config.handshake_timeout,
        )
        session.peer = peer
        accepted = (s.mid for s in offer.media if s.kind is not None and s.offered)
        session.mid = next(accepted, "")
        stream.peers[peer] = session
        self.by_peer[peer] = stream
        self.sessions[session.id] = session
        self.handshakes.add(session.id)
        self.by_ufrag[agent.local_ufrag] = session
        self.counts.joined[role] += 1
        logger.info("%s of %s joins (%s)", role.name.lower(), stream.name, session.id[:8])
        return session

    def _follow_formats(self, stream: Stream, changed_clocks: list[Kind]) -> None:
        """Tell each viewer's payload types for formats that are new since it joined; a viewer
        that can take nothing of what is published now, or whose clock would change, is closed."""
        for viewer in list(stream.viewers.values()):
            assert viewer.viewer is not None
            known = viewer.formats
            offered = viewer.viewer.payload_types(stream.formats)
            if any(known.get(kind) for kind in changed_clocks):
                self._send_back(viewer, "the stream's clock rate has changed")
                continue
            if not any(stream.live.get(kind) in table for kind, table in offered.items()):
                self._send_back(viewer, "the stream's new codecs are none of its own")
                continue
            if viewer.layer:
                with contextlib.suppress(ForwarderError):  # a full queue: it gets the best one
                    viewer.select_layer(viewer.layer, stream.rids)
            for kind, table in offered.items():
                for index, (pt, rtx) in table.items():
                    if index not in known.setdefault(kind, {}):
                        self._set_format(viewer, stream.formats, kind, index, pt, rtx)

    def rematch(self, stream: Stream) -> None:
        """The publisher's SPS may be another than before: viewers get the payload types that fit
        it, and begin anew under them (the data plane's doing)."""
        for viewer in list(stream.viewers.values()):
            assert viewer.viewer is not None
            for kind, table in viewer.viewer.payload_types(stream.formats).items():
                for index, (pt, rtx) in table.items():
                    if viewer.formats.get(kind, {}).get(index, (pt, rtx)) != (pt, rtx):
                        self._set_format(viewer, stream.formats, kind, index, pt, rtx)

    @staticmethod
    def _send_back(viewer: Session, reason: str) -> None:
        """End a viewer that a new offer would serve."""
        for subscriber in viewer.subscribers.values():
            subscriber.put("reconnect")
        viewer.close(reason)

    def _tell_reconnect(self, url: str) -> None:
        for stream in self.streams.values():
            stream.events.tell("reconnect", url)

    def _set_format(
        self,
        viewer: Session,
        formats: StreamFormats,
        kind: Kind,
        index: int,
        pt: int,
        rtx: int | None,
    ) -> None:
        assert viewer.peer is not None
        assert viewer.viewer is not None
        try:
            derived = viewer.viewer.is_derived(formats, kind, index)
            self.forwarder.set_format(viewer.peer, kind, index, pt, rtx, derived=derived)
            viewer.formats[kind][index] = (pt, rtx)
        except ForwarderError as error:
            viewer.close(f"its new payload type could not be set: {error}")

    def _end_stream(self, stream: Stream, reason: str) -> None:
        """Close what is left of it and forget its name; the data plane's part follows."""
        if stream.state is not StreamState.ENDED:
            stream.become(StreamState.ENDED)
            logger.info("stream %s ends: %s", stream.name, reason)
        self.timers.set(stream, None)
        stream.events.close()
        if self.streams.get(stream.name) is stream:
            del self.streams[stream.name]
        for session in [*stream.viewers.values(), stream.publisher]:
            if session is not None:
                session.close(f"the stream ended: {reason}")
        self._close_if_empty(stream)

    def _close_if_empty(self, stream: Stream) -> None:
        if stream.state is StreamState.ENDED and not stream.peers and not stream.closing:
            stream.closing = True
            try:
                self.forwarder.close_stream(stream.handle)
            except ForwarderError as error:
                logger.error("stream %s: close_stream: %s", stream.name, error)
                self.by_handle.pop(stream.handle, None)


def _policies(config: Config) -> Callable[[str], CodecPolicy]:
    """The codecs of each stream, by its name."""
    turn = config.video_orientation == "turn"
    rules = [(p, CodecPolicy.of(listed, turn_video=turn)) for p, listed in config.stream_codecs]
    default = CodecPolicy.of(config.codecs, turn_video=turn)

    def of(name: str) -> CodecPolicy:
        return next((policy for p, policy in rules if fnmatchcase(name, p)), default)

    return of


def _agent_for(offer: Offer) -> IceLiteAgent:
    return IceLiteAgent(remote_ufrag=offer.remote.ufrag, remote_pwd=offer.remote.pwd)
