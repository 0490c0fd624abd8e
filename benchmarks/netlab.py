"""The network under a benchmark: two private namespaces joined by a veth pair.

The server gets a namespace of its own; the calling process and all that it starts move into the
other one. Namespaces are anonymous: they end with the processes in them and leave nothing behind.
RTP for the sink address is counted and dropped in the kernel (:mod:`benchmarks.bpf`); the probe
address, where sampled viewers and the publisher live, is ordinary.

``segmentation`` says who cuts a GSO run into packets: ``software`` (the kernel, as for a card
without UDP segmentation; the default, because it does not flatter) or ``device`` (veth keeps the
run whole, as a card with USO would; an upper bound).

Needs root and Linux 6.6; :class:`LabUnavailable` says what is missing. Without them there is
:class:`Loopback`: everything on 127.0.0.1, media dropped and counted by a filter on each viewer's
socket. It works for anybody, but a packet's way through the stack up to that filter is then on the
sending core, so its figures are dearer and compare with none from the lab.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import socket
import struct
import subprocess

from .bpf import BpfUnavailable, CountingDrop

SERVER = "10.199.0.1"
PROBE = "10.199.0.2"
SINK = "10.199.0.3"
_IPV6 = "fd10:199::"
_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSSET_INFO, _GFEATURES, _SFEATURES = 0x1B, 0x37, 0x3A, 0x3B
_FEATURE_STRINGS = 4
_SO_ATTACH_FILTER, _SO_MEMINFO = 26, 55


class LabUnavailable(RuntimeError):
    """No namespaces, no veth or no counting drop here; the text says which."""


def enter_namespace(fd: int) -> None:
    """Move the calling thread into the network namespace behind ``fd``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _new_namespace() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise LabUnavailable("no right to make a network namespace: run as root")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _ip(arguments: str) -> None:
    try:
        done = subprocess.run(
            ["ip", *arguments.split()], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise LabUnavailable("no `ip` command: install iproute2") from None
    if done.returncode:
        raise LabUnavailable(f"ip {arguments}: {done.stderr.strip()}")


def set_feature(interface: str, name: str, on: bool) -> None:
    """``ethtool -K INTERFACE NAME on|off``, in the current namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:

        def call(payload: bytes) -> bytes:
            buffer = array.array("B", payload)
            address, _ = buffer.buffer_info()
            request = struct.pack("16sQ16x", interface.encode(), address)
            fcntl.ioctl(s, _SIOCETHTOOL, request)
            return buffer.tobytes()

        info = call(struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _FEATURE_STRINGS, 0))
        count = struct.unpack("=IIQI", info)[3]
        raw = call(struct.pack("=III", _GSTRINGS, _FEATURE_STRINGS, count) + bytes(32 * count))
        names = [raw[12 + 32 * i : 44 + 32 * i].split(b"\0")[0].decode() for i in range(count)]
        bit = names.index(name)
        blocks = [[0, 0] for _ in range((count + 31) // 32)]
        blocks[bit // 32] = [1 << bit % 32, (1 << bit % 32) if on else 0]
        body = b"".join(struct.pack("=II", *block) for block in blocks)
        call(struct.pack("=II", _SFEATURES, len(blocks)) + body)


class Lab:
    """Makes the namespaces; afterwards the calling thread is on the load side.

    ``sink`` counts what arrived; ``server_namespace`` is the descriptor to enter for the
    server's process, ``load_namespace`` the one to come back to.
    """

    def __init__(self, segmentation: str = "software", ipv6: bool = False) -> None:
        if segmentation not in ("software", "device"):
            raise ValueError(f"segmentation {segmentation!r}")
        self.segmentation = segmentation
        self._ipv6 = ipv6
        addresses = [f"{_IPV6}{i}" for i in (1, 2, 3)] if ipv6 else [SERVER, PROBE, SINK]
        self.server, self.probe_address, self.sink_address = addresses
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.server_namespace = _new_namespace()
        _ip("link set lo up")
        self.load_namespace = _new_namespace()
        try:
            self._plug()
            self.sink = CountingDrop(socket.if_nametoindex("load"), self.sink_address)
        except BpfUnavailable as error:
            enter_namespace(self._home)
            raise LabUnavailable(f"no counting drop at ingress: {error}") from error
        except BaseException:
            enter_namespace(self._home)
            raise

    def _plug(self) -> None:
        peer = f"/proc/{os.getpid()}/fd/{self.server_namespace}"
        _ip("link set lo up")
        _ip(f"link add load type veth peer name server netns {peer}")
        # no duplicate address detection: the addresses are there at once
        rest = "64 dev {} nodad" if self._ipv6 else "24 dev {}"
        for address in (self.probe_address, self.sink_address):
            _ip(f"addr add {address}/" + rest.format("load"))
        _ip("link set load up")
        enter_namespace(self.server_namespace)
        try:
            _ip(f"addr add {self.server}/" + rest.format("server"))
            _ip("link set server up")
        finally:
            enter_namespace(self.load_namespace)
        self.segment(self.segmentation)

    def segment(self, by: str) -> None:
        """From now on ``software`` or ``device`` cuts the server's GSO runs."""
        enter_namespace(self.server_namespace)
        try:
            set_feature("server", "tx-udp-segmentation", by == "device")
            self.segmentation = by
        finally:
            enter_namespace(self.load_namespace)

    def close(self) -> None:
        """Back to the namespace the process came from."""
        self.sink.close()
        enter_namespace(self._home)
        for fd in (self.server_namespace, self.load_namespace, self._home):
            os.close(fd)


class Loopback:
    """No namespaces: 127.0.0.1 for all; the viewers count by their sockets' filters."""

    segmentation = "loopback"
    sink = None
    server_namespace = None
    server = probe_address = sink_address = "127.0.0.1"

    def close(self) -> None:
        """Nothing to undo."""


class Present(Loopback):
    """Our own namespace as it is: the server runs already, viewers and publisher at ``address``."""

    def __init__(self, address: str) -> None:
        self.server = self.probe_address = self.sink_address = address


def drop_media(sock: socket.socket) -> None:
    """Drop RTP at a UDP socket, by a classic BPF filter; its drop counter counts them."""
    program = [
        (0x30, 0, 0, 8),  # A = first byte of the payload
        (0x54, 0, 0, 0xC0),
        (0x15, 0, 4, 0x80),  # not version 2: keep
        (0x30, 0, 0, 9),
        (0x35, 0, 1, 192),  # RFC 5761: RTCP is 192..223
        (0x25, 0, 1, 223),
        (0x06, 0, 0, 0),  # RTP: drop
        (0x06, 0, 0, 0xFFFF),
    ]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = array.array("B", code)
    address, _ = buffer.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), address))


def dropped(sock: socket.socket) -> int:
    """Datagrams that the socket has dropped (32 bits, wraps)."""
    memory = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
    return int(struct.unpack("=9I", memory)[8])
