"""The viewers: real WHEP sessions, most of them counted and dropped in the kernel, a few sampled.

Runs in a process of its own. All join alike. The *sunk* ones bind the sink address, where
:class:`benchmarks.bpf.CountingDrop` counts their media packet by packet; the *sampled* ones, spread
evenly over the order of joining, bind the probe address and are received with the kernel's arrival
stamps, kept, and afterwards decrypted and compared byte by byte with what was published.
Each viewer goes on checking consent by STUN, as browsers do.
"""

from __future__ import annotations

import array
import asyncio
import bisect
import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from typing import Any

import aiohttp
from pylibsrtp import Error as SrtpError

from rtcfwd.certs import Certificate

from .media import AUDIO_PT, PACKET, Media, receiver_feedback
from .netlab import dropped
from .peer import Peer
from .rpc import Worker

_SO_TIMESTAMPNS = 35
_SO_RXQ_OVFL = 40
_TIMESPEC = struct.Struct("=qq")
_CONTROL = 128
_SAMPLE_BUFFER = 8 << 20
_LOOK_EVERY = 0.01  # seconds
_AFTER_KEY_NS = 60_000_000  # audio sent so shortly after a key frame meets it on its way out


def sample_positions(viewers: int, samples: int) -> set[int]:
    """Which of the joiners are sampled: spread evenly, neither the first nor the last alone."""
    samples = min(samples, viewers)
    return {(2 * i + 1) * viewers // (2 * samples) for i in range(samples)} if samples else set()


class Viewers(Worker):
    """Methods are called over :class:`benchmarks.rpc.Remote`."""

    kind: type[Peer] = Peer  # how a viewer joins

    def __init__(
        self,
        url: str,
        sink: str,
        probe: str,
        deaf: bool = False,
        stun_interval: float = 2.5,
        profile: str | None = None,
        bitrate: int = 0,
    ) -> None:
        self.url, self.sink, self.probe, self.deaf = url, sink, probe, deaf
        self.profile = profile
        self.stun_interval = stun_interval
        self.peers: list[Peer] = []
        self.sampled: list[Peer] = []
        self._kept: list[list[tuple[int, bytes]]] = []
        self._overflow: list[int] = []  # drops that each sampled socket has told of
        self._overflow_before: list[int] = []
        self._recording = False
        self._stop = threading.Event()
        self._next_check = 0
        self._check_at = 0.0
        self.checks_sent = 0
        self.talked = 0  # RTCP packets sent
        self.video_rate = bitrate / 8 / PACKET  # packets a second, about
        self._owed: dict[int, float] = {}  # NACKs that a viewer has not sent yet, by port

    # ---- joining ----

    def join(self, viewers: int, samples: int, at_once: int) -> dict[str, Any]:
        """All viewers, ``at_once`` at a time. Returns how long each step took."""
        certificate = Certificate.generate()
        chosen = sample_positions(viewers, samples)
        begun = time.monotonic()
        failures: list[str] = []

        async def one(number: int, http: aiohttp.ClientSession, gate: asyncio.Semaphore) -> None:
            async with gate:
                sampled = number in chosen
                address = self.probe if sampled else self.sink
                deaf = self.deaf and not sampled
                peer = self.kind(
                    self.url, address, certificate, deaf=deaf, srtp_profile=self.profile
                )
                try:
                    await peer.join(http)
                except Exception as error:
                    failures.append(f"{type(error).__name__}: {error}")
                    return
                self.peers.append(peer)
                if sampled:
                    self._sample(peer)

        async def run() -> None:
            gate = asyncio.Semaphore(at_once)
            connector = aiohttp.TCPConnector(limit=at_once)
            async with aiohttp.ClientSession(connector=connector) as http:
                await asyncio.gather(*(one(i, http, gate) for i in range(viewers)))

        asyncio.run(run())
        spent = time.monotonic() - begun
        joined = self.peers[-viewers:] if viewers else []
        self._next_check = 0
        return {
            "joined": len(self.peers),
            "failures": failures,
            "seconds": spent,
            "profiles": dict(Counter(p.profile for p in self.peers)),
            "post_s": sorted(p.answered - p.started for p in joined),
            "join_s": sorted(p.connected - p.started for p in joined),
        }

    def ports(self) -> list[int]:
        """Ports of the sunk viewers: where the kernel counts."""
        return [p.sock.getsockname()[1] for p in self._sunk()]

    def sampled_ports(self) -> list[int]:
        """Ports of the sampled viewers, whose sockets stay open and read."""
        return [p.sock.getsockname()[1] for p in self.sampled]

    def counted(self) -> list[int]:
        """Media that arrived at each sunk viewer, where their sockets count it (``deaf``)."""
        return [dropped(p.sock) for p in self._sunk()]

    def first_media_s(self) -> list[float]:
        """From POST to the first media packet, seconds, of the sampled viewers that got one."""
        offset = time.time() - time.monotonic()
        times = []
        for peer, kept in zip(self.sampled, self._kept, strict=True):
            stamps = [stamp / 1e9 - offset for stamp, _ in kept[:1]]
            first = peer.first_media or (stamps[0] if stamps else 0.0)
            if first:
                times.append(first - peer.started)
        return sorted(times)

    def _sunk(self) -> list[Peer]:
        sampled = set(self.sampled)
        return [p for p in self.peers if p not in sampled]

    # ---- sampled viewers ----

    def _sample(self, peer: Peer) -> None:
        sock = peer.sock
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, 33, _SAMPLE_BUFFER)  # SO_RCVBUFFORCE
        number = len(self.sampled)
        self.sampled.append(peer)
        self._kept.append([])
        self._overflow.append(0)
        if number == 0:
            threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        """Keep what the sampled viewers get, with the kernel's stamp; all thinking is later.

        It looks now and then instead of waiting in epoll: waking a waiter is the sender's work,
        several µs a packet across virtual cores, and would be booked on the server.
        """
        while not self._stop.wait(_LOOK_EVERY):
            for number, peer in enumerate(list(self.sampled)):
                self._empty(number, peer)

    def _empty(self, number: int, peer: Peer) -> None:
        kept = self._kept[number]
        while True:
            try:
                data, control, _, _ = peer.sock.recvmsg(2048, _CONTROL)
            except OSError:
                return
            stamp = 0
            for _, kind, value in control:
                if kind == _SO_TIMESTAMPNS:
                    seconds, ns = _TIMESPEC.unpack(value)
                    stamp = seconds * 1_000_000_000 + ns
                elif kind == _SO_RXQ_OVFL:
                    self._overflow[number] = int.from_bytes(value, "little")
            if data and 128 <= data[0] <= 191:
                kept.append((stamp, data))
            elif data and data[0] < 4:
                self._respond(peer, data)

    # ---- consent ----

    def idle(self) -> float | None:
        """Consent checks, spread over the interval; their answers are thrown away."""
        if not self.peers or self.stun_interval <= 0:
            return None
        now = time.monotonic()
        if self._check_at < now - 1:
            self._check_at = now
        gap = self.stun_interval / len(self.peers)
        while self._check_at <= now:
            peer = self.peers[self._next_check % len(self.peers)]
            self._next_check += 1
            self._check_at += gap
            with contextlib.suppress(OSError):
                peer.sock.send(peer.check())
                self.checks_sent += 1
            if peer not in self.sampled:
                with contextlib.suppress(OSError):
                    while True:
                        self._respond(peer, peer.sock.recv(2048))
        return max(self._check_at - now, 0.0)

    @staticmethod
    def _respond(peer: Peer, data: bytes) -> None:
        """A full ICE agent checks us, too, and leaves if nobody answers."""
        answer = peer.answer(data)
        if answer is not None:
            with contextlib.suppress(OSError):
                peer.sock.send(answer)

    # ---- feedback ----

    def talk_back(self, newest: dict[int, int], percent: float, interval: float) -> None:
        """RTCP of every sunk viewer for the last ``interval`` seconds: a receiver report, and
        NACKs for ``percent`` of its video packets, chosen among the newest (``newest``: the last
        video sequence number by port, −1: none)."""
        for peer in self._sunk():
            port = peer.sock.getsockname()[1]
            last = newest.get(port, -1)
            owed = self._owed.get(port, 0.0) + percent / 100 * interval * self.video_rate
            wanted = int(owed) if last >= 0 else 0
            self._owed[port] = owed - wanted
            lost = [(last - 2 * i) & 0xFFFF for i in range(wanted)]
            data = receiver_feedback(peer.ssrcs_in[0], max(last, 0), percent, lost)
            with contextlib.suppress(OSError):
                peer.sock.send(peer.tx.protect_rtcp(data))
                self.talked += 1

    # ---- the window ----

    def begin(self) -> tuple[int, int]:
        """Forget what the sampled viewers got so far, but keep their SRTP sessions in step.
        Returns the consent checks and RTCP packets sent so far."""
        self._overflow_before = list(self._overflow)
        for peer, kept in zip(self.sampled, self._kept, strict=True):
            waiting = list(kept)
            del kept[: len(waiting)]
            for _, data in waiting[-1:] + waiting[::2000]:
                with contextlib.suppress(SrtpError):
                    peer.rx.unprotect(data)
        return self.checks_sent, self.talked

    def finish(
        self, bitrate: int, packets: list[tuple[str, bool, bool, int]], stamps: bytes, first: int
    ) -> dict[str, Any]:
        """Decrypt and judge what the sampled viewers got since :meth:`begin`.

        ``first``: the first index of the window. Delays are in ns, arrival stamp less send stamp.
        """
        media = Media(bitrate, 0, 0)
        media.packets = packets
        sent_at = array.array("Q")
        sent_at.frombytes(stamps)
        delays: dict[str, array.array[int]] = {
            name: array.array("q")
            for name in ("all", "audio", "video", "frame_end", "key_end", "audio_at_key")
        }
        keys = [sent_at[i] for i, one in enumerate(packets) if one[1] and one[2] and sent_at[i]]
        totals = Counter[str]()
        each = []
        for number, (peer, kept) in enumerate(zip(self.sampled, self._kept, strict=True)):
            judged = _judge(peer, kept, media, sent_at, keys, first, delays)
            totals.update(judged)
            each.append(judged["good"] + judged["wrong"] + judged["unmarked"])
            totals["socket_drops"] += self._overflow[number] - self._overflow_before[number]
        return {
            "samples": len(self.sampled),
            "counts": dict(totals),
            "delays": {name: values.tobytes() for name, values in delays.items()},
            "checks_sent": self.checks_sent,
            "talked": self.talked,
            "each": each,
        }

    def stop(self) -> None:
        self._stop.set()


def _judge(
    peer: Peer,
    kept: list[tuple[int, bytes]],
    media: Media,
    sent_at: array.array[int],
    keys: list[int],
    first: int,
    delays: dict[str, array.array[int]],
) -> Counter[str]:
    """One sampled viewer: counts of good, wrong, refused, repeated and missing packets.
    ``keys``: when key frames had been sent, ns, in order."""
    counts = Counter[str]()
    seen: set[int] = set()
    sequences: dict[int, set[int]] = {}
    for stamp, data in kept:
        if 192 <= data[1] <= 223:
            counts["rtcp"] += 1
            continue
        counts["rtp"] += 1
        if data[1] & 0x7F != AUDIO_PT and data[1] & 0x80:
            counts["frame_ends"] += 1
        ssrc = int.from_bytes(data[8:12])
        sequences.setdefault(ssrc, set()).add(int.from_bytes(data[2:4]))
        try:
            plain = peer.rx.unprotect(data)
        except SrtpError:
            counts["refused"] += 1
            continue
        found = media.check(plain)
        if found is None:
            counts["unmarked"] += 1  # parameter sets
            continue
        index, same = found
        if index < first:
            counts["early"] += 1
            continue
        counts["repeated" if index in seen else "good" if same else "wrong"] += 1
        seen.add(index)
        if not stamp or not sent_at[index]:
            continue
        delay = stamp - sent_at[index]
        kind, key, last, _ = media.packets[index]
        delays["all"].append(delay)
        delays["audio" if plain[1] & 0x7F == AUDIO_PT else "video"].append(delay)
        if kind == "video" and last:
            delays["key_end" if key else "frame_end"].append(delay)
        if kind == "audio":
            at = bisect.bisect_right(keys, sent_at[index]) - 1
            if at >= 0 and sent_at[index] - keys[at] < _AFTER_KEY_NS:
                delays["audio_at_key"].append(delay)
    for numbers in sequences.values():
        counts["gaps"] += _gaps(numbers)
    return counts


def _gaps(numbers: set[int]) -> int:
    """Sequence numbers missing between the first and last of a window shorter than 2^15."""
    if not numbers:
        return 0
    base = next(iter(numbers))
    signed = sorted((n - base + 0x8000) % 0x10000 for n in numbers)
    return signed[-1] - signed[0] + 1 - len(signed)
