"""Clients on the wire: a publisher and viewers over real sockets, and a DTLS end that does what a
check wants of it. The transport is :class:`rtcfwd.client.probe.Probe`; RTP is read and written by
the tests' own code (``tests/pipeline/leg.py``)."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
)
from OpenSSL import SSL

from rtcfwd.certs import Certificate
from rtcfwd.client.probe import (
    AUDIO_PT,
    MID_ID,
    RTX_PT,
    VIDEO_PT,
    Probe,
    Section,
    audio_section,
    video_section,
)
from rtcfwd.dtls import DtlsTransport, SrtpKeys
from rtcfwd.forwarder.api import SrtpProfile
from tests.pipeline.leg import Rtp, parse_rtp

from .harness import NotApplicable, Server

__all__ = ["MID_ID", "RTX_PT", "VIDEO_PT", "Probe", "Section", "audio_section", "video_section"]

SPS = bytes.fromhex("6742c01fda014016e9b808080a")
PPS = bytes.fromhex("68ce3c80")
FRAME_S, AUDIO_S = 1 / 30, 0.02


class Publisher:
    """A connected publisher of H264 and A-law. ``sent``: plain packets by kind, in order."""

    def __init__(self, server: Server, name: str | None = None, **options: Any) -> None:
        self.name = name or server.name()
        self.probe = Probe(publish=True, **options)
        server.peers.append(self.probe)
        reply = server.post(f"/whip/{self.name}", self.probe.offer)
        assert reply.status == 201, f"WHIP POST gives {reply.status}: {reply.body!r}"
        self.session = reply.header("Location")
        self.reply = reply
        self.probe.answer(reply.text)
        self.random = random.Random(self.name)
        self.seq = {
            "video": self.random.randrange(1 << 16),
            "audio": self.random.randrange(1 << 16),
        }
        self.ts = {"video": self.random.randrange(1 << 32), "audio": self.random.randrange(1 << 32)}
        self.ssrc = dict(zip(("video", "audio"), self.probe.ssrcs, strict=True))
        self.pt = {"video": VIDEO_PT, "audio": AUDIO_PT}
        self.sent: dict[str, list[Rtp]] = {"video": [], "audio": []}
        self.drop: Callable[[Rtp], bool] = lambda packet: False
        self.extensions: dict[str, tuple[tuple[int, bytes], ...]] = {"video": (), "audio": ()}
        self.aggregate = b"\x78"  # the head of its STAP-As
        self.repeats_parameters = True
        self.answers_pli = True
        self.frames = 0
        self.gop = 1_000_000  # frames; a key frame comes at the start and when asked for
        self._heard = 0
        self._next = {"video": 0.0, "audio": 0.0, "report": 0.0}

    def name_mids(self) -> None:
        """From now on every packet carries its MID."""
        self.extensions = {"video": ((MID_ID, b"0"),), "audio": ((MID_ID, b"1"),)}

    def connect(self, **options: Any) -> Publisher:
        self.probe.connect(**options)
        return self

    def packet(self, kind: str, payload: bytes, *, marker: bool = False, **more: Any) -> Rtp:
        """The next packet of a track, sent unless ``drop`` says otherwise."""
        more.setdefault("extensions", self.extensions[kind])
        packet = Rtp(
            self.pt[kind], marker, self.seq[kind], self.ts[kind], self.ssrc[kind], payload, **more
        )
        self.seq[kind] = (self.seq[kind] + 1) & 0xFFFF
        self.sent[kind].append(packet)
        if not self.drop(packet):
            self.probe.send_rtp(packet.pack())
        return packet

    def frame(self, key: bool = False, packets: int = 3) -> list[Rtp]:
        """A picture: a STAP-A of SPS and PPS before a key one, then FU-As (RFC 6184)."""
        sent = []
        if key and (self.repeats_parameters or not self.frames):
            units = b"".join(len(unit).to_bytes(2) + unit for unit in (SPS, PPS))
            sent.append(self.packet("video", self.aggregate + units))
        nal = 0x65 if key else 0x41
        for i in range(packets):
            first, last = i == 0, i == packets - 1
            head = bytes([nal & 0xE0 | 28, first << 7 | last << 6 | nal & 31])
            sent.append(self.packet("video", head + self.random.randbytes(300), marker=last))
        self.ts["video"] = (self.ts["video"] + 3000) & 0xFFFFFFFF
        self.frames += 1
        return sent

    def audio(self) -> Rtp:
        sent = self.packet("audio", self.random.randbytes(160))
        self.ts["audio"] = (self.ts["audio"] + 160) & 0xFFFFFFFF
        return sent

    def tick(self, now: float) -> None:
        """Send what is due, and a key frame when one was asked for."""
        asked = self.wants_key() and self.answers_pli
        if now >= self._next["video"]:
            self._next["video"] = max(self._next["video"] + FRAME_S, now)
            self.frame(key=asked or self.frames % self.gop == 0)
        if now >= self._next["audio"]:
            self._next["audio"] = max(self._next["audio"] + AUDIO_S, now)
            self.audio()
        if now >= self._next["report"]:
            self._next["report"] = now + 0.5
            self.report("video")
            self.report("audio")

    def wants_key(self) -> bool:
        """Whether a PLI or FIR has come since this was last asked."""
        new = self.probe.rtcp[self._heard :]
        self._heard = len(self.probe.rtcp)
        return any(
            isinstance(p, RtcpPsfbPacket) and p.fmt in (1, 4)
            for _, data in new
            for p in RtcpPacket.parse(data)
        )

    def report(self, kind: str = "video") -> None:
        """A sender report."""
        seconds = time.time() + 2208988800
        ntp = int(seconds * (1 << 32))
        info = RtcpSenderInfo(ntp, self.ts[kind], len(self.sent[kind]), 0)
        self.probe.send_rtp(bytes(RtcpSrPacket(self.ssrc[kind], info)))


class Viewer:
    """A viewer, connected unless told otherwise."""

    def __init__(self, server: Server, name: str, *, connect: bool = True, **options: Any) -> None:
        self.probe = Probe(publish=False, **options)
        server.peers.append(self.probe)
        reply = server.post(f"/whep/{name}", self.probe.offer)
        assert reply.status == 201, f"WHEP POST gives {reply.status}: {reply.body!r}"
        self.session = reply.header("Location")
        self.reply = reply
        self.probe.answer(reply.text)
        if connect:
            self.probe.connect()

    def packets(self, pt: int | None = None) -> list[Rtp]:
        """What was received, parsed; of one payload type."""
        return [p for _, data in self.probe.rtp if (p := parse_rtp(data)) and pt in (None, p.pt)]

    @property
    def video(self) -> list[Rtp]:
        return self.packets(VIDEO_PT)

    @property
    def audio(self) -> list[Rtp]:
        return self.packets(AUDIO_PT)


class Stage:
    """A publisher and viewers of it, in real time."""

    def __init__(self, server: Server, **options: Any) -> None:
        self.server = server
        self.publisher = Publisher(server, **options).connect()
        self.viewers: list[Viewer] = []

    def view(self, **options: Any) -> Viewer:
        viewer = Viewer(self.server, self.publisher.name, **options)
        self.viewers.append(viewer)
        return viewer

    def play(self, until: Callable[[], Any] = lambda: False, seconds: float = 3.0) -> bool:
        """Send and receive until something is so; whether it is."""
        deadline = time.monotonic() + seconds
        while not until():
            now = time.monotonic()
            if now >= deadline:
                return False
            self.publisher.tick(now)
            for probe in (self.publisher.probe, *(v.probe for v in self.viewers)):
                probe.turn(0.003)
        return True

    def rest(self, until: Callable[[], Any] = lambda: False, seconds: float = 1.0) -> bool:
        """The same without media."""
        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() >= deadline:
                return False
            for probe in (self.publisher.probe, *(v.probe for v in self.viewers)):
                probe.turn(0.003)
        return True

    def watched(self, packets: int = 10, **options: Any) -> Viewer:
        """A viewer that has video and audio already. Raises AssertionError."""
        viewer = self.view(**options)
        assert self.play(lambda: len(viewer.video) >= packets and len(viewer.audio) >= 3), (
            f"a viewer gets {len(viewer.video)} video and {len(viewer.audio)} audio packets in 3 s"
        )
        return viewer


def rtcp_of(probe: Probe) -> list[AnyRtcpPacket]:
    """All RTCP packets that came, taken apart."""
    return [packet for _, data in probe.rtcp for packet in RtcpPacket.parse(data)]


def feedback_of(probe: Probe, kind: type[RtcpPsfbPacket | RtcpRtpfbPacket], fmt: int) -> list[Any]:
    return [p for p in rtcp_of(probe) if isinstance(p, kind) and p.fmt == fmt]


# ---- DTLS ends ----


class RawEnd:
    """Plain OpenSSL with the methods of :class:`~rtcfwd.dtls.DtlsTransport`, so that nothing of
    the server's own is at the other end. ``ciphers``, ``raw_certificate`` (None: without one)."""

    def __init__(
        self,
        *,
        certificate: Certificate,
        is_client: bool,
        remote_fingerprints: Sequence[tuple[str, str]],
        profiles: bytes = b"SRTP_AES128_CM_SHA1_80",
        ciphers: bytes | None = None,
        has_certificate: bool = True,
        versions: tuple[int, int] = (0xFEFD, 0xFEFD),
    ) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(versions[0])
        context.set_max_proto_version(versions[1])
        context.set_options(SSL.OP_NO_QUERY_MTU)
        if ciphers is not None:
            context.set_cipher_list(ciphers)
        context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        if has_certificate:
            context.use_certificate(certificate.x509)
            context.use_privatekey(certificate.private_key)
        self.ssl = SSL.Connection(context)
        self.ssl.set_ciphertext_mtu(1200)
        (self.ssl.set_connect_state if is_client else self.ssl.set_accept_state)()
        self.is_client = is_client
        self.keys: SrtpKeys | None = None
        self.error: str | None = None
        self.closed = False
        self.received: list[bytes] = []

    def start(self, now: float) -> None:
        self._go()

    def receive(self, datagram: bytes, now: float) -> None:
        self.received.append(datagram)
        self.ssl.bio_write(datagram)
        self._go()

    def next_timeout(self) -> float | None:
        return None if self.keys else time.monotonic() + 0.2

    def handle_timeout(self, now: float) -> None:
        with contextlib.suppress(SSL.Error):
            self.ssl.DTLSv1_handle_timeout()

    def close(self) -> None:
        with contextlib.suppress(SSL.Error):
            self.ssl.shutdown()

    def take_datagrams(self) -> list[bytes]:
        data = b""
        with contextlib.suppress(SSL.WantReadError):
            while True:
                data += self.ssl.bio_read(65536)
        records = []
        while data:
            end = 13 + int.from_bytes(data[11:13])
            records.append(data[:end])
            data = data[end:]
        return records

    def _go(self) -> None:
        try:
            if self.keys is None:
                self.ssl.do_handshake()
                self.keys = self._export()
            while True:
                self.ssl.recv(4096)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            self.error = repr(error)

    def _export(self) -> SrtpKeys:
        block = self.ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 60)
        client, server = block[:16] + block[32:46], block[16:32] + block[46:60]
        rx, tx = (server, client) if self.is_client else (client, server)
        return SrtpKeys(SrtpProfile.AES128_CM_HMAC_SHA1_80, rx=rx, tx=tx)


Fate = Callable[[str, int, bytes], Iterable[bytes]]


def lossy(fate: Fate) -> Callable[..., DtlsTransport]:
    """A DTLS end on a bad link: ``fate`` is given "sent" or "received", how many datagrams went
    that way before, and the bytes, and returns what arrives instead."""

    counts = {"sent": 0, "received": 0}

    class Lossy(DtlsTransport):
        def _pass(self, way: str, data: bytes) -> Iterable[bytes]:
            number = counts[way]
            counts[way] += 1
            return fate(way, number, data)

        def receive(self, datagram: bytes, now: float) -> None:
            for arriving in self._pass("received", datagram):
                super().receive(arriving, now)

        def take_datagrams(self) -> list[bytes]:
            return [d for sent in super().take_datagrams() for d in self._pass("sent", sent)]

    return Lossy


def other_certificate() -> Certificate:
    return Certificate.generate()


def need_lite(sdp: str) -> None:
    if "a=ice-lite" not in sdp:
        raise NotApplicable("full ICE")


def answer_to(offer: str, probe: Probe) -> str:
    """A viewer's answer to the server's own offer: all of it, with the probe's transport."""
    own = dict(
        zip(("ice-ufrag", "ice-pwd", "setup"), (probe.ufrag, probe.pwd, "active"), strict=True)
    )
    hash_name, value = probe.certificate.fingerprint
    own["fingerprint"] = f"{hash_name} {value}"
    dropped = ("a=candidate:", "a=end-of-cand", "a=msid", "a=ssrc", "a=ice-lite")
    lines = []
    for line in offer.splitlines():
        name = line[2:].partition(":")[0]
        if line.startswith("a=") and name in own:
            line = f"a={name}:{own[name]}"
        if not line.startswith(dropped):
            lines.append(line.replace("a=sendonly", "a=recvonly"))
    return "\r\n".join(lines) + "\r\n"
