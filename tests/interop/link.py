"""A link between a client and the server's UDP port: loss, delay, reordering, rate; in user space.

Clients are sent to it by a changed port in the answer (`Pages.through`). Each client address gets a
socket of its own towards the server, so the server sees as many tuples as without it. Media (RFC
7983: first byte 128–191) is lost by a seeded generator; STUN and DTLS always pass.
"""

from __future__ import annotations

import heapq
import itertools
import random
import select
import socket
import threading
import time
from collections.abc import Callable

LATE = 0.005  # seconds by which a reordered datagram comes late
QUEUE_SECONDS = 1.0  # what the link's queue holds, in time at its rate; more is dropped


class Direction:
    """One way: when a datagram of so many bytes arrives, or None if it is lost."""

    def __init__(self, loss: float, delay: float, reorder: float, rate: float, seed: int) -> None:
        self._loss, self._delay, self._reorder, self._rate = loss, delay, reorder, rate
        self._random = random.Random(seed)
        self._free_at = 0.0
        self.lose: Callable[[bytes], bool] = lambda _: False  # these, besides
        self.lost = self.passed = 0

    def arrival(self, data: bytes, now: float) -> float | None:
        media = 128 <= data[0] <= 191
        if media and (self._random.random() < self._loss or self.lose(data)):
            self.lost += 1
            return None
        start = max(now, self._free_at)
        if start - now > QUEUE_SECONDS:
            self.lost += 1
            return None
        if self._rate:
            self._free_at = start = start + 8 * (len(data) + 28) / self._rate
        self.passed += 1
        late = LATE if self._random.random() < self._reorder else 0.0
        return start + self._delay + late


class Link:
    """`loss` and `reorder` are shares of datagrams, `delay` seconds, `rate` bit/s (0: no limit);
    the same for both directions."""

    def __init__(
        self,
        server_port: int,
        *,
        loss: float = 0.0,
        delay: float = 0.0,
        reorder: float = 0.0,
        rate: float = 0.0,
    ) -> None:
        self._server = ("127.0.0.1", server_port)
        self.up, self.down = (Direction(loss, delay, reorder, rate, seed) for seed in (1, 2))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._clients: dict[tuple[str, int], socket.socket] = {}
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop = True
        self._thread.join(5)
        for sock in (self._socket, *self._clients.values()):
            sock.close()

    def _run(self) -> None:
        clients: dict[socket.socket, tuple[str, int]] = {}
        while not self._stop:
            left = self._queue[0][0] - time.monotonic() if self._queue else 0.1
            readable, _, _ = select.select([self._socket, *clients], [], [], max(0, min(left, 0.1)))
            for sock in readable:
                for _ in range(64):  # then look at the clock again
                    try:
                        data, source = sock.recvfrom(2048, socket.MSG_DONTWAIT)
                    except OSError:
                        break
                    if sock is self._socket:
                        if source not in self._clients:
                            self._clients[source] = self._towards_server()
                            clients[self._clients[source]] = source
                        self._pass(self.up, data, self._clients[source], self._server)
                    else:
                        self._pass(self.down, data, self._socket, clients[sock])
            now = time.monotonic()
            while self._queue and self._queue[0][0] <= now:
                heapq.heappop(self._queue)[2]()

    def _towards_server(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        return sock

    def _pass(
        self, way: Direction, data: bytes, out: socket.socket, target: tuple[str, int]
    ) -> None:
        when = way.arrival(data, time.monotonic()) if data else None
        if when is not None:
            item = (when, next(self._order), lambda: out.sendto(data, target))
            heapq.heappush(self._queue, item)
