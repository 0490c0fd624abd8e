"""A counting drop in the kernel: the sink behind the viewers that nobody needs to read.

A small eBPF program sits at the ingress of the load side's network device (TCX, Linux 6.6).
RTP and RTCP for the sink address are counted per destination port, which is per viewer, and
dropped there; everything else (STUN, DTLS, HTTP, the sampled viewers on another address) goes on
to its socket. So a packet is counted where it arrives, segment by segment where the device does
the segmentation, and the load side spends nothing on it: the drop runs on the core that sends.

The program is assembled here, byte by byte, because a compiler for it is rarely installed.
Root (CAP_BPF, CAP_NET_ADMIN) is needed. IPv4 without options or IPv6 without extension headers,
Ethernet framing.
"""

from __future__ import annotations

import ctypes
import ipaddress
import mmap
import os
import platform
import struct
from dataclasses import dataclass

from .media import VIDEO_PT

_SYS_BPF = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 321)
_MAP_CREATE, _PROG_LOAD, _LINK_CREATE = 0, 5, 28
_MAP_TYPE_ARRAY, _MAP_MMAPABLE = 2, 1 << 10
_PROG_TYPE_SCHED_CLS, _ATTACH_TCX_INGRESS = 3, 46
_HELPER_MAP_LOOKUP = 1
_TC_PASS, _TC_DROP = 0, 2
_SKB_GSO_SEGS = 164  # offset in struct __sk_buff

PORTS = 65536
# packets; datagrams as they came from the device (runs); first word of the last video packet + 1
_SLOT = struct.Struct("=QQQ")


class BpfUnavailable(OSError):
    """The kernel or our rights do not allow the counting drop."""


def _bpf(command: int, attr: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attr, len(attr))
    result = libc.syscall(_SYS_BPF, command, buffer, len(attr))
    if result < 0:
        errno = ctypes.get_errno()
        raise BpfUnavailable(errno, f"bpf({command}): {os.strerror(errno)}")
    return int(result)


class Assembler:
    """eBPF instructions with forward labels; only what the program below needs."""

    def __init__(self) -> None:
        self._code: list[list[int]] = []
        self._fixups: list[tuple[int, str]] = []
        self._labels: dict[str, int] = {}

    def emit(self, op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> None:
        self._code.append([op, dst, src, off, imm])

    def label(self, name: str) -> None:
        self._labels[name] = len(self._code)

    def jump(self, op: int, dst: int, imm: int, target: str) -> None:
        self._fixups.append((len(self._code), target))
        self.emit(op, dst=dst, imm=imm)

    def load(self, size: int, offset: int) -> None:
        """r0 = packet[offset], host order; beyond the packet the program ends with 0 (pass)."""
        self.emit({1: 0x30, 2: 0x28, 4: 0x20}[size], imm=offset)

    def bytes(self) -> bytes:
        for at, target in self._fixups:
            self._code[at][3] = self._labels[target] - at - 1
        return b"".join(
            struct.pack("=BBhI", op, src << 4 | dst, off, imm & 0xFFFFFFFF)
            for op, dst, src, off, imm in self._code
        )


def drop_program(map_fd: int, address: str) -> bytes:
    """The program's bytes: count and drop RTP and RTCP for ``address``, pass the rest.

    Map slot: destination port for RTP, 65536 + destination port for RTCP.
    """
    a = Assembler()
    jne, jeq, jlt, jgt = 0x55, 0x15, 0xA5, 0x25
    a.emit(0xBF, dst=6, src=1)  # r6 = the packet's context, which load() reads by
    sink = ipaddress.ip_address(address)
    v4 = sink.version == 4
    a.load(2, 12)  # EtherType
    a.jump(jne, 0, 0x0800 if v4 else 0x86DD, "pass")
    a.load(1, 23 if v4 else 20)  # protocol
    a.jump(jne, 0, 17, "pass")
    for at in range(0, len(sink.packed), 4):  # destination address
        a.load(4, (30 if v4 else 38) + at)
        a.emit(0x18, dst=1, imm=int.from_bytes(sink.packed[at : at + 4]))
        a.emit(0)
        a.emit(0x5D, dst=0, src=1)
        a._fixups.append((len(a._code) - 1, "pass"))
    udp = 34 if v4 else 54
    a.load(1, udp + 8)  # first byte of the UDP payload: RTP version 2?
    a.emit(0x57, dst=0, imm=0xC0)
    a.jump(jne, 0, 0x80, "pass")
    a.load(4, udp + 8)
    a.emit(0xBF, dst=8, src=0)  # r8 = version .. sequence number
    a.emit(0xB7, dst=7, imm=0)
    a.load(1, udp + 9)  # RFC 5761: RTCP packet types 192..223
    a.jump(jlt, 0, 192, "rtp")
    a.jump(jgt, 0, 223, "rtp")
    a.emit(0xB7, dst=7, imm=PORTS)
    a.label("rtp")
    a.load(2, udp + 2)  # destination port
    a.emit(0x0F, dst=7, src=0)
    a.emit(0x63, dst=10, src=7, off=-4)
    a.emit(0x18, dst=1, src=1, imm=map_fd)  # src 1: imm is a map's descriptor
    a.emit(0)
    a.emit(0xBF, dst=2, src=10)
    a.emit(0x07, dst=2, imm=-4)
    a.emit(0x85, imm=_HELPER_MAP_LOOKUP)
    a.jump(jeq, 0, 0, "pass")
    a.emit(0x61, dst=1, src=6, off=_SKB_GSO_SEGS)
    a.jump(jne, 1, 0, "segments")
    a.emit(0xB7, dst=1, imm=1)
    a.label("segments")
    a.emit(0xDB, dst=0, src=1, off=0)  # atomic add: two workers may send to one viewer
    a.emit(0xB7, dst=1, imm=1)
    a.emit(0xDB, dst=0, src=1, off=8)
    a.emit(0xBF, dst=1, src=8)
    a.emit(0x77, dst=1, imm=16)
    a.emit(0x57, dst=1, imm=0x7F)  # payload type
    a.jump(jne, 1, VIDEO_PT, "drop")
    a.emit(0x07, dst=8, imm=1)
    a.emit(0x7B, dst=0, src=8, off=16)
    a.label("drop")
    a.emit(0xB7, dst=0, imm=_TC_DROP)
    a.emit(0x95)
    a.label("pass")
    a.emit(0xB7, dst=0, imm=_TC_PASS)
    a.emit(0x95)
    return a.bytes()


@dataclass(frozen=True, slots=True)
class Count:
    """What arrived at one port or at all: packets, and the runs they came in (equal to packets
    unless the device hands up unsegmented runs)."""

    packets: int
    runs: int


class CountingDrop:
    """The attached program; closing it (or the process's end) detaches."""

    def __init__(self, interface_index: int, address: str) -> None:
        slots = 2 * PORTS
        self._map = _bpf(
            _MAP_CREATE,
            struct.pack("=IIIII", _MAP_TYPE_ARRAY, 4, _SLOT.size, slots, _MAP_MMAPABLE) + bytes(60),
        )
        program = drop_program(self._map, address)
        code = ctypes.create_string_buffer(program, len(program))
        licence = ctypes.create_string_buffer(b"MIT")
        self._program = _bpf(
            _PROG_LOAD,
            struct.pack(
                "=IIQQIIQ",
                _PROG_TYPE_SCHED_CLS,
                len(program) // 8,
                ctypes.addressof(code),
                ctypes.addressof(licence),
                0,
                0,
                0,
            )
            + bytes(80),
        )
        self._link = _bpf(
            _LINK_CREATE,
            struct.pack("=IIII", self._program, interface_index, _ATTACH_TCX_INGRESS, 0)
            + bytes(48),
        )
        self._memory = mmap.mmap(self._map, slots * _SLOT.size, prot=mmap.PROT_READ)

    def rtp(self, port: int) -> Count:
        return Count(*_SLOT.unpack_from(self._memory, port * _SLOT.size)[:2])

    def rtcp(self, port: int) -> Count:
        return Count(*_SLOT.unpack_from(self._memory, (PORTS + port) * _SLOT.size)[:2])

    def sequence(self, port: int) -> int:
        """Sequence number of the last video packet (the first of a run that the device kept
        whole); −1: none yet."""
        word = _SLOT.unpack_from(self._memory, port * _SLOT.size)[2]
        return (word - 1) & 0xFFFF if word else -1

    def close(self) -> None:
        self._memory.close()
        for fd in (self._link, self._program, self._map):
            os.close(fd)
