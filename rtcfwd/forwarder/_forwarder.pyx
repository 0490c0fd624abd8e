"""The data plane for Python: the only Cython file, over csrc/include/rtcfwd.h.

It converts values, checks every argument that comes from outside, and turns error codes into
exceptions in one place (``_check``). It decides nothing. All calls but ``close`` are short and keep
the GIL; ``close`` joins the threads without it.

IPv4 addresses cross the boundary v4-mapped (RFC 4291 section 2.5.5.2).
"""

import ipaddress
import os
import sys
import time

from libc.errno cimport errno
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

from rtcfwd.forwarder import api as _api
from rtcfwd.forwarder import libsrtp as _libsrtp
from rtcfwd.forwarder import srtp_keys as _srtp_keys

# ---- errors -------------------------------------------------------------------------------------

# The codes of csrc/base/error.h that become a class of their own (held together by a test).
ERRORS = {"RF_EINVAL": -2, "RF_EFULL": -4, "RF_ESTALE": -5, "RF_ESYS": -7}
cdef enum:
    EINVAL = -2
    EFULL = -4
    ESTALE = -5
    ESYS = -7


cdef int _check(int rc) except? -1:
    """The one place where an rf_err becomes an exception; a count passes through."""
    if rc >= 0:
        return rc
    cdef int number = errno
    cdef str text = rf_strerror(rc).decode()
    if rc == ESTALE:
        raise _api.StaleHandle(text)
    if rc == EFULL:
        raise _api.ForwarderBusy(text)
    if rc == ESYS:
        raise _api.ForwarderError(f"{text}: {os.strerror(number)}") from OSError(
            number, os.strerror(number)
        )
    raise _api.ForwarderError(text)


# ---- names behind the numbers -------------------------------------------------------------------

def _named(first, name):
    found, i = {}, first
    while (text := name(i)) is not None:
        found[text] = i
        i += 1
    return found


cdef object _text(const char *s):
    return None if s is NULL else s.decode()


DROPS = tuple(_named(0, lambda i: _text(rf_drop_name(i))))
DELAY_BOUNDS = tuple(rf_delay_bound(i) for i in range(88))
DROP_TEXTS = {name: _text(rf_drop_text(i)) for i, name in enumerate(DROPS)}
EXTENSIONS = _named(1, lambda i: _text(rf_ext_uri(i)))
ENUMS = {
    "rf_kind": {"AUDIO": RF_AUDIO, "VIDEO": RF_VIDEO},
    "rf_role": {"PUBLISHER": RF_PUBLISHER, "VIEWER": RF_VIEWER},
    "rf_egress_mode": {
        "SENDTO": RF_EGRESS_SENDTO, "SENDMMSG": RF_EGRESS_SENDMMSG, "GSO": RF_EGRESS_GSO,
    },
}
MAX_FORMATS = RF_MAX_FORMATS
MAX_DATAGRAM = RF_MAX_DATAGRAM
MAX_WORKERS = RF_MAX_WORKERS

_ENGINE = {"auto": RF_ENGINE_AUTO, "libsrtp": RF_ENGINE_LIBSRTP, "ipsec-mb": RF_ENGINE_IPSEC_MB}
_EGRESS = {name.lower(): value for name, value in ENUMS["rf_egress_mode"].items()}
_CODECS = frozenset(int(c) for c in _api.Codec)
_KIND_OF = {int(k): k for k in _api.Kind}

include "_values.pxi"

# ---- the forwarder ------------------------------------------------------------------------------

cdef class CompiledForwarder:
    """The data plane in C, by ``N`` worker threads on one UDP port, one on a TCP port. See api.Forwarder.

    Sizes are packets (``*_slots``, powers of two) or bytes, rates bits per second, times
    nanoseconds. Raises ValueError for a setting out of range, ForwarderError when a socket cannot be
    had (its ``__cause__`` is the OSError).
    """

    cdef rf_forwarder *_f
    cdef rf_event _event
    cdef int _in_memory
    cdef int _workers
    cdef dict _sessions  # peer -> list of SrtpSessions; let go at PEER_GONE, no sooner
    cdef dict _ssrcs     # peer -> what we send under, known after publish/view

    def __cinit__(self, **_):
        self._sessions = {}  # the C fields are zero by themselves
        self._ssrcs = {}

    def __init__(
        self,
        *,
        str host="::",
        port=0,
        workers=1,
        max_peers=4096,
        max_streams=64,
        video_slots=2048,
        audio_slots=512,
        socket_buffer=4 << 20,
        punt_slots=1024,
        start_pace_bps=30_000_000,
        start_max_bytes=3_000_000,
        start_max_ns=10_000_000_000,
        viewer_lag_ns=1_000_000_000,
        viewer_lag_bytes=1_000_000,
        remb_bps=6_000_000,
        resend_percent=10,
        keyframe_percent=25,
        str egress="gso",
        str engine="auto",
        wall_offset_ns=None,
    ):
        cdef rf_config c
        if self._f is not NULL:
            raise _api.ForwarderError("already open")
        memset(&c, 0, sizeof(c))
        for name, choice, known in (("egress", egress, _EGRESS), ("engine", engine, _ENGINE)):
            if choice not in known:
                raise ValueError(f"{name}: one of {', '.join(known)}, not {choice!r}")
        c.in_memory = self._in_memory
        c.engine = _ENGINE[engine]
        c.egress = _EGRESS[egress]
        _pack(host, c.bind_ip)
        c.port = <uint16_t>_integer("port", port, 0, 65535)
        c.workers = <int>_integer("workers", workers, 1, RF_MAX_WORKERS)
        c.max_peers = <uint32_t>_integer("max_peers", max_peers, 1, 1 << 20)
        c.max_streams = <uint32_t>_integer("max_streams", max_streams, 1, 1 << 16)
        for name, slots in (
            ("video_slots", video_slots), ("audio_slots", audio_slots), ("punt_slots", punt_slots)
        ):
            _integer(name, slots, 64, 1 << 16)
            if slots & (slots - 1):
                raise ValueError(f"{name}: a power of two, not {slots}")
        c.video_slots, c.audio_slots, c.punt_slots = video_slots, audio_slots, punt_slots
        c.socket_buffer = <uint32_t>_integer("socket_buffer", socket_buffer, 4096, 1 << 30)
        c.start_pace_bps = _integer("start_pace_bps", start_pace_bps, 1, 1 << 40)
        c.start_max_bytes = _integer("start_max_bytes", start_max_bytes, 0, 1 << 40)
        c.start_max_ns = _integer("start_max_ns", start_max_ns, 0, 1 << 62)
        c.viewer_lag_ns = _integer("viewer_lag_ns", viewer_lag_ns, 1, 1 << 62)
        c.viewer_lag_bytes = _integer("viewer_lag_bytes", viewer_lag_bytes, 1, 1 << 40)
        c.remb_bps = _integer("remb_bps", remb_bps, 1, 1 << 40)
        c.resend_percent = _integer("resend_percent", resend_percent, 0, 100)
        c.keyframe_percent = _integer("keyframe_percent", keyframe_percent, 1, 100)
        if wall_offset_ns is None:
            wall_offset_ns = time.time_ns() - time.monotonic_ns()
        c.wall_offset_ns = _integer("wall_offset_ns", wall_offset_ns, 0, (1 << 63) - 1)
        protect, unprotect, protect_rtcp, unprotect_rtcp = _libsrtp.FUNCTIONS
        c.srtp.protect = <rf_srtp_fn><uintptr_t>protect
        c.srtp.unprotect = <rf_srtp_fn><uintptr_t>unprotect
        c.srtp.protect_rtcp = <rf_srtp_fn><uintptr_t>protect_rtcp
        c.srtp.unprotect_rtcp = <rf_srtp_fn><uintptr_t>unprotect_rtcp
        self._workers = c.workers
        cdef int rc = rf_new(&c, &self._f)
        if rc == EINVAL and c.engine == RF_ENGINE_IPSEC_MB:
            raise ValueError("engine ipsec-mb: not in this build, or this CPU lacks AES-NI")
        _check(rc)

    def __dealloc__(self):
        # Before _sessions is let go: no thread may still use a session.
        self._end()

    cdef void _end(self) noexcept:
        cdef rf_forwarder *f = self._f
        self._f = NULL
        if f is not NULL:
            with nogil:
                rf_stop(f)
                rf_free(f)

    cdef rf_forwarder *_open(self) except NULL:
        if self._f is NULL:
            raise _api.ForwarderError("the forwarder is closed")
        return self._f

    @property
    def port(self) -> int:
        return rf_port(self._open())

    @property
    def workers(self) -> int:
        return self._workers

    @property
    def engine(self) -> str:
        return rf_engine_name(self._open()).decode()

    @property
    def gso(self) -> bool:
        return rf_is_gso(self._open()) > 0

    def listen_tcp(self, port, connections) -> int:
        cdef uint32_t most = <uint32_t>_integer("connections", connections, 1, 0xFFF0)
        return _check(rf_listen_tcp(self._open(), <uint16_t>_integer("port", port, 0, 65535), most))

    def start(self) -> None:
        _check(rf_start(self._open()))

    def close(self) -> None:
        self._end()
        self._sessions.clear()
        self._ssrcs.clear()

    def fileno(self) -> int:
        return rf_event_fd(self._open())

    # ---- streams and peers ----

    def open_stream(self):
        cdef rf_handle stream = 0
        _check(rf_stream_open(self._open(), &stream))
        return stream

    def close_stream(self, stream) -> None:
        _check(rf_stream_close(self._open(), _handle(stream)))

    def request_keyframe(self, stream) -> None:
        _check(rf_stream_keyframe(self._open(), _handle(stream)))

    def open_peer(self, stream, role):
        cdef rf_handle peer = 0
        _check(rf_peer_open(self._open(), _handle(stream), _integer("role", role, 0, 1), &peer))
        return peer

    def close_peer(self, peer, *, bye=True) -> None:
        _check(rf_peer_close(self._open(), _handle(peer), bool(bye)))

    def add_ufrag(self, peer, ufrag, pwd=None) -> None:
        self._ufrag(peer, ufrag, pwd, 0)

    def remove_ufrag(self, peer, ufrag) -> None:
        self._ufrag(peer, ufrag, None, 1)

    cdef int _ufrag(self, object peer, object ufrag, object pwd, int remove) except -1:
        cdef bytes raw = _string("ufrag", ufrag, 32)
        cdef bytes secret = b"" if pwd is None else _string("pwd", pwd, 256)
        cdef const uint8_t *key = NULL
        if not raw:
            raise ValueError("ufrag: empty")
        if secret:
            key = secret
        _check(rf_peer_ufrag(self._open(), _handle(peer), raw, len(raw), key, len(secret),
                             remove))
        return 0

    def add_path(self, peer, path) -> None:
        cdef rf_path p
        _to_path(path, &p)
        _check(rf_peer_path(self._open(), _handle(peer), &p))

    def select_path(self, peer, path) -> None:
        cdef rf_path p
        _to_path(path, &p)
        _check(rf_peer_select(self._open(), _handle(peer), &p))

    def publish(self, peer, publication) -> None:
        cdef rf_publication p
        _to_publication(publication, &p)
        _check(rf_peer_publish(self._open(), _handle(peer), &p))
        self._ssrcs[int(peer)] = ((publication.local_ssrc,), ())

    def view(self, peer, subscription) -> None:
        cdef rf_subscription s
        _to_subscription(subscription, &s)
        ssrcs = [n for t in subscription.tracks for n in (t.ssrc, t.rtx_ssrc) if n]
        if len(set(ssrcs)) != len(ssrcs) or not ssrcs:
            raise ValueError("tracks: every SSRC once, at least one")
        _check(rf_peer_view(self._open(), _handle(peer), &s))
        repeated = tuple(t.ssrc for t in subscription.tracks if t.nack and not t.rtx_ssrc)
        self._ssrcs[int(peer)] = (tuple(ssrcs), repeated)

    def set_format(self, peer, kind, format, pt, rtx_pt, *, derived=False) -> None:
        cdef int k = <int>_integer("kind", kind, 0, 1)
        cdef int f = <int>_integer("format", format, 0, RF_MAX_FORMATS - 1)
        cdef int p = <int>_integer("pt", pt, 0, 127)
        _check(rf_peer_format(self._open(), _handle(peer), k, f, p, _optional_pt("rtx_pt", rtx_pt),
                              bool(derived)))

    def select_layer(self, peer, layer) -> None:
        cdef int n = -1 if layer is None else <int>_integer("layer", layer, 0, RF_LAYERS - 1)
        _check(rf_peer_layer(self._open(), _handle(peer), n))

    def set_keys(self, peer, profile, rx, tx) -> None:
        cdef rf_forwarder *f = self._open()
        cdef rf_handle handle = _handle(peer)
        profile = _api.SrtpProfile(profile)
        known = self._ssrcs.get(int(peer))
        if known is None:
            raise _api.ForwarderError("set_keys before publish or view")
        sessions = _libsrtp.make_sessions(profile, rx, tx, *known)
        cdef uintptr_t rx_context = sessions.rx
        cdef uintptr_t tx_context = sessions.tx
        cdef rf_session_key session
        derived = _srtp_keys.derive(profile, tx)
        memset(&session, 0, sizeof(session))
        memcpy(session.cipher, <const char *>derived.cipher, len(derived.cipher))
        memcpy(session.auth, <const char *>derived.auth, len(derived.auth))
        memcpy(session.salt, <const char *>derived.salt, len(derived.salt))
        cdef int rc = rf_peer_keys(f, handle, int(profile), <void *>rx_context,
                                   <void *>tx_context, &session)
        memset(&session, 0, sizeof(session))
        _check(rc)
        self._sessions.setdefault(int(peer), []).append(sessions)

    # ---- datagrams and events ----

    def send(self, worker, path, data) -> None:
        cdef rf_path p
        cdef const uint8_t[::1] view = data
        cdef size_t size = view.shape[0]
        if not 1 <= size <= RF_MAX_DATAGRAM:
            raise ValueError(f"data: 1 to {RF_MAX_DATAGRAM} bytes, not {size}")
        _to_path(path, &p)
        _check_sent(rf_send(self._open(), <int>_integer("worker", worker, 0, 65535), &p, &view[0],
                            size))

    def poll(self, limit=64):
        cdef list events = []
        cdef rf_forwarder *f = self._open()
        while len(events) < limit and _check(rf_poll(f, &self._event)):
            event = self._take_event()
            if event is not None:
                events.append(event)
        return events

    cdef object _take_event(self):
        cdef rf_event *e = &self._event
        if e.type == RF_EVENT_STUN or e.type == RF_EVENT_DTLS:
            protocol = "stun" if e.type == RF_EVENT_STUN else "dtls"
            path = _from_path(&e.path)
            return _api.Punt(protocol, e.worker, path, e.peer or None, e.data[:e.len])
        if e.type == RF_EVENT_PEER_GONE:
            self._ssrcs.pop(e.peer, None)
            self._sessions.pop(e.peer, None)  # the worker has let go of them
            return _api.PeerGone(e.peer)
        if e.type == RF_EVENT_STREAM_GONE:
            return _api.StreamGone(e.stream)
        if e.type == RF_EVENT_PEER_IDLE:
            return _api.PeerIdle(e.peer)
        if e.type == RF_EVENT_PUBLISHER_ACTIVE:
            return _api.PublisherActive(e.peer, e.stream, _KIND_OF[e.kind])
        if e.type == RF_EVENT_PUBLISHER_SILENT:
            return _api.PublisherSilent(e.peer, e.stream)
        if e.type == RF_EVENT_PARAMETERS:
            return _api.ParameterSets(e.stream, e.data[:e.len])
        if e.type == RF_EVENT_VIEWER_SLOW:
            estimate = int.from_bytes(e.data[1:9], sys.byteorder)
            return _api.ViewerSlow(e.peer, _api.Slow(e.data[0]), estimate or None)
        if e.type == RF_EVENT_VIEWER_LAYER:
            return _api.ViewerLayer(e.peer, e.data[0])

    # ---- figures ----

    def stream_stats(self, stream):
        cdef rf_stream_stats s
        _check(rf_get_stream_stats(self._open(), _handle(stream), &s))
        tracks = {"audio": s.track[0], "video": s.track[1]}
        layers = [s.layer[<int>i] for i in range(s.layers)]
        best = s.best if s.best < s.layers else None
        return {"viewers": s.viewers, "worker": s.worker, "tracks": tracks, "layers": layers,
                "best_layer": best, "derived_viewers": s.derived_viewers,
                "feedback_sent": s.feedback_sent, "layer_changes": s.layer_changes,
                "delays": {**s.delays, "ends": DELAY_BOUNDS}}

    def peer_stats(self, peer):
        cdef rf_peer_stats s
        _check(rf_get_peer_stats(self._open(), _handle(peer), &s))
        cdef dict out = s
        out["path"] = _from_path(&s.path) if s.has_path else None
        out["role"] = _api.Role(s.role)
        out["profile"] = _api.SrtpProfile(s.profile) if s.has_keys else None
        for flag in ("has_keys", "has_path", "started"):
            out[flag] = bool(out[flag])
        del out["track"]
        out["tracks"] = {"audio": s.track[0], "video": s.track[1]}
        return out

    def tcp_stats(self):
        cdef rf_tcp_stats s
        _check(rf_get_tcp_stats(self._open(), &s))
        return s

    def worker_stats(self):
        cdef rf_worker_stats s
        cdef list all_workers = []
        cdef dict out
        for worker in range(self._workers):
            _check(rf_get_worker_stats(self._open(), worker, &s))
            out = s
            out["delays"]["ends"] = DELAY_BOUNDS
            out["drops"] = {name: s.drops[<int>i] for i, name in enumerate(DROPS)}
            all_workers.append(out)
        return all_workers

    def memory_stats(self):
        cdef rf_memory m
        _check(rf_get_memory(self._open(), &m))
        return m


cdef rf_handle _handle(object value) except? 0:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise _api.StaleHandle(f"{value!r} is no handle")
    return <rf_handle>value


cdef int _check_sent(int rc) except? -1:
    """A datagram of the control plane may get lost; only misuse is an error."""
    return 0 if rc in (ESYS, EFULL, ESTALE, -6) else _check(rc)


cdef class MemoryForwarder(CompiledForwarder):
    """The same pipeline without threads and sockets: the caller gives datagrams and the time.

    ``now_ns`` is any clock that does not go back. Takes the settings of CompiledForwarder.
    """

    def __cinit__(self, **_):
        self._in_memory = 1

    def start(self) -> None:
        """Nothing to start; so that either class serves as an api.Forwarder."""

    def inject(self, worker, path, data, now_ns) -> None:
        """Puts one datagram (up to 1600 bytes) before ``worker``; the next turn reads it."""
        cdef rf_path p
        cdef const uint8_t[::1] view = data
        cdef size_t size = view.shape[0]
        cdef uint8_t nothing = 0
        _to_path(path, &p)
        _check(rf_inject(self._open(), <int>_integer("worker", worker, 0, 65535), &p,
                         &view[0] if size else &nothing, size,
                         _integer("now_ns", now_ns, 0, (1 << 64) - 1)))

    def turn(self, worker, now_ns) -> bool:
        """One bounded turn of a worker's loop at ``now_ns``. True: call again at once."""
        return _check(rf_turn(self._open(), <int>_integer("worker", worker, 0, 65535),
                              _integer("now_ns", now_ns, 0, (1 << 64) - 1))) > 0

    def take_sent(self, worker):
        """The oldest datagram that ``worker`` has sent, as (path, bytes), or None."""
        cdef rf_path p
        cdef uint8_t data[2048]
        cdef int size = _check(rf_take_sent(self._open(),
                                            <int>_integer("worker", worker, 0, 65535),
                                            &p, data, sizeof(data)))
        return (_from_path(&p), data[:size]) if size else None
