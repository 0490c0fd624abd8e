"""The network under a benchmark: two private namespaces joined by a veth pair.

The server gets a namespace of its own; the calling process and all that it starts move into the
other one. Namespaces are anonymous: they end with the processes in them and leave nothing behind.
RTP for the sink address is counted and dropped in the kernel (:mod:`benchmarks.bpf`); the probe
address, where sampled viewers and the publisher live, is ordinary.

``segmentation`` says who cuts a GSO run into packets: ``software`` (the kernel, as for a card
without UDP segmentation; the default, because it does not flatter) or ``device`` (veth keeps the
run whole, as a card with USO would; an upper bound).

Needs root and Linux 6.6; :class:`LabUnavailable` says what is missing.
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
_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSSET_INFO, _GFEATURES, _SFEATURES = 0x1B, 0x37, 0x3A, 0x3B
_FEATURE_STRINGS = 4


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
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, check=False)
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

    ``server_namespace`` is the descriptor to enter for the server's process,
    ``load_namespace`` the one to come back to.
    """

    def __init__(self, segmentation: str = "software") -> None:
        if segmentation not in ("software", "device"):
            raise ValueError(f"segmentation {segmentation!r}")
        self.segmentation = segmentation
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.server_namespace = _new_namespace()
        _ip("link set lo up")
        self.load_namespace = _new_namespace()
        try:
            self._plug()
            self.sink = CountingDrop(socket.if_nametoindex("load"), SINK)
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
        for address in (PROBE, SINK):
            _ip(f"addr add {address}/24 dev load")
        _ip("link set load up")
        enter_namespace(self.server_namespace)
        try:
            _ip(f"addr add {SERVER}/24 dev server")
            _ip("link set server up")
            set_feature("server", "tx-udp-segmentation", self.segmentation == "device")
        finally:
            enter_namespace(self.load_namespace)

    def close(self) -> None:
        """Back to the namespace the process came from."""
        self.sink.close()
        enter_namespace(self._home)
        for fd in (self.server_namespace, self.load_namespace, self._home):
            os.close(fd)
