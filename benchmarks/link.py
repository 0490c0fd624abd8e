"""A network between clients and the server's UDP port, in user space: loss (single or in bursts),
delay, jitter, reordering, and a bottleneck with a queue of so many bytes; each way for itself, and
all of it may be changed while it runs.

Clients come to it by a changed port in the answer. Each client address gets a socket of its own
towards the server, so the server sees as many tuples as without it. Only media (RFC 7983: first
byte 128–191) is lost or overflows the queue; STUN and DTLS always pass. :class:`Way` is pure and
knows no clock; :class:`Link` runs two of them over sockets, and counts how late it was itself.
"""

from __future__ import annotations

import heapq
import itertools
import random
import select
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

LATE = 0.005  # seconds by which a reordered datagram comes late
QUEUE_SECONDS = 1.0  # what a queue without a size of its own holds, in time at its rate
IP_UDP = 28  # bytes of header that take part of the rate
_STAMP = getattr(socket, "SO_TIMESTAMPNS", 35)  # Linux; the kernel's time of arrival
_TIMESPEC = struct.Struct("@qq")


class Seen(NamedTuple):
    """An RTP packet (RFC 3550 5.1) that came to a way; ``fate`` is passed, lost or overflowed."""

    at: float
    ssrc: int
    payload_type: int
    sequence: int
    timestamp: int
    size: int
    fate: str


def is_media(data: bytes) -> bool:
    """RTP or RTCP (RFC 7983)."""
    return 128 <= data[0] <= 191


def is_rtcp(data: bytes) -> bool:
    """RFC 5761 4."""
    return is_media(data) and len(data) > 1 and 192 <= data[1] <= 223


@dataclass(slots=True, eq=False)
class Way:
    """One direction. Shares are of media datagrams, times in seconds, ``rate`` in bit/s (0: no
    limit), ``queue`` in bytes (0: :data:`QUEUE_SECONDS` at the rate). ``burst``: the mean length of
    a run of losses (Gilbert's model: all is lost in its bad state); 0: each datagram for itself."""

    loss: float = 0.0
    burst: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0  # evenly spread between none and this; the order is kept
    reorder: float = 0.0  # share that comes LATE later than its neighbours
    rate: float = 0.0
    queue: int = 0
    seed: int = 1
    lose: Callable[[bytes], bool] = lambda _: False  # these are lost, besides
    keep: bool = False  # fill `seen`
    passed: int = 0
    lost: int = 0
    overflowed: int = 0
    bytes_passed: int = 0
    queued: int = 0  # bytes that wait for the bottleneck now
    seen: list[Seen] = field(default_factory=list)
    _random: random.Random = field(init=False)
    _bad: bool = False
    _free_at: float = 0.0
    _newest: float = 0.0
    _waiting: deque[tuple[float, int, Any]] = field(default_factory=deque)
    _flying: list[tuple[float, int, Any]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def put(self, data: bytes, item: Any, now: float) -> None:
        """A datagram arrives; :meth:`take` gives ``item`` back when it has come through."""
        self._serve(now)
        fate = self._fate(data)
        if self.keep and is_media(data) and not is_rtcp(data) and len(data) >= 12:
            sequence, timestamp, ssrc = struct.unpack_from("!HII", data, 2)
            self.seen.append(Seen(now, ssrc, data[1] & 127, sequence, timestamp, len(data), fate))
        if fate == "lost":
            self.lost += 1
            return
        if fate == "overflowed":
            self.overflowed += 1
            return
        self.passed += 1
        self.bytes_passed += len(data)
        self.queued += len(data)
        self._waiting.append((now, len(data), item))
        self._serve(now)

    def take(self, now: float) -> list[tuple[float, Any]]:
        """What has come through by ``now``, each with the moment at which it should have."""
        self._serve(now)
        out = []
        while self._flying and self._flying[0][0] <= now:
            at, _, item = heapq.heappop(self._flying)
            out.append((at, item))
        return out

    def next(self) -> float | None:
        """When :meth:`take` should be called; None: not before the next :meth:`put`."""
        moments = [self._flying[0][0]] if self._flying else []
        if self._waiting:
            moments.append(self._through(*self._waiting[0][:2]))
        return min(moments, default=None)

    def _fate(self, data: bytes) -> str:
        if not is_media(data):
            return "passed"
        if self._unlucky() or self.lose(data):
            return "lost"
        room = self.queue or self.rate * QUEUE_SECONDS / 8
        if self.rate and self.queued + len(data) > room:
            return "overflowed"
        return "passed"

    def _unlucky(self) -> bool:
        if not self.burst:
            return self._random.random() < self.loss
        leave = 1 / self.burst
        enter = leave * self.loss / (1 - self.loss)
        self._bad = self._random.random() < (1 - leave if self._bad else enter)
        return self._bad

    def _through(self, came: float, size: int) -> float:
        start = max(came, self._free_at)
        return start + 8 * (size + IP_UDP) / self.rate if self.rate else start

    def _serve(self, now: float) -> None:
        """What the bottleneck is through with flies on."""
        while self._waiting:
            came, size, item = self._waiting[0]
            end = self._through(came, size)
            if end > now:
                return
            self._waiting.popleft()
            self.queued -= size
            self._free_at = end
            at = end + self.delay + self.jitter * self._random.random()
            if self._random.random() < self.reorder:
                at += LATE
            else:
                at = self._newest = max(at, self._newest)
            heapq.heappush(self._flying, (at, next(self._order), item))


class Link:
    """``up`` leads to the server, ``down`` from it. Keywords are settings of both ways; give each
    way's own by changing ``up`` and ``down`` afterwards, at any time."""

    def __init__(self, server_port: int, **both: Any) -> None:
        self._server = ("127.0.0.1", server_port)
        self.up, self.down = (Way(seed=seed, **both) for seed in (1, 2))
        self.late_ms: Counter[int] = Counter()  # datagrams sent so many whole ms behind their time
        self._clients: dict[tuple[str, int], socket.socket] = {}
        self._socket = self._open()
        self.port: int = self._socket.getsockname()[1]
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop = True
        self._thread.join(5)
        for sock in (self._socket, *self._clients.values()):
            sock.close()

    def late(self, share: float) -> int:
        """Milliseconds by which this share of all datagrams was late at most, by this program's
        own fault (rounded down): what it measures finer than that, it has not seen."""
        wanted = share * self.late_ms.total()
        for ms in sorted(self.late_ms):
            wanted -= self.late_ms[ms]
            if wanted <= 0:
                return ms
        return 0

    def _open(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setsockopt(socket.SOL_SOCKET, _STAMP, 1)
        sock.bind(("127.0.0.1", 0))
        return sock

    def _run(self) -> None:
        clients: dict[socket.socket, tuple[str, int]] = {}
        while not self._stop:
            soon = min((t for t in (self.up.next(), self.down.next()) if t is not None), default=0)
            left = soon - time.monotonic() if soon else 0.1
            readable, _, _ = select.select([self._socket, *clients], [], [], max(0, min(left, 0.1)))
            clock = time.monotonic() - time.time()
            for sock in readable:
                for _ in range(64):  # then look at the clock again
                    try:
                        data, extra, _, source = sock.recvmsg(2048, 64, socket.MSG_DONTWAIT)
                    except OSError:
                        break
                    if not data:
                        continue
                    now = _arrival(extra, clock)
                    if sock is self._socket:
                        if source not in self._clients:
                            self._clients[source] = self._open()
                            clients[self._clients[source]] = source
                        self.up.put(data, (self._clients[source], data, self._server), now)
                    else:
                        self.down.put(data, (self._socket, data, clients[sock]), now)
            self._send()

    def _send(self) -> None:
        for way in (self.up, self.down):
            now = time.monotonic()
            for at, (out, data, target) in way.take(now):
                self.late_ms[int((now - at) * 1000)] += 1
                out.sendto(data, target)


def _arrival(extra: list[tuple[int, int, bytes]], clock: float) -> float:
    """The kernel's stamp on the monotonic clock, which is ``clock`` ahead of the wall clock."""
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == _STAMP and len(data) >= _TIMESPEC.size:
            seconds, ns = _TIMESPEC.unpack_from(data)
            return float(seconds + ns * 1e-9 + clock)
    return time.monotonic()
