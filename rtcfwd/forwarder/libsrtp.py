"""libsrtp, as pylibsrtp carries it: its C functions for the data plane, and its sessions.

pylibsrtp's wheel contains a complete libsrtp. Its cffi module gives plain C function pointers, so
the forwarder's threads protect and unprotect without the GIL and without any system package. This
module is the only place that touches pylibsrtp's private parts; all of them are checked at import.
Should a new pylibsrtp move one, the import fails with one clear ImportError.

Sessions (``srtp_t``) are made here and used by exactly one worker. They may be freed only when that
worker has let go (``PeerGone``), or after its thread has ended.

RFC 3711 (SRTP), RFC 7714 (GCM), RFC 5764 section 4.2 (keys from DTLS).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pylibsrtp

from rtcfwd.forwarder.api import SrtpProfile

_FUNCTIONS = ("srtp_protect", "srtp_unprotect", "srtp_protect_rtcp", "srtp_unprotect_rtcp")
_SIGNATURE = "srtp_err_status_t(*)(struct srtp_ctx_t_ *, void *, int *)"

# Replay windows in packets: at least as many as a video log has slots, because publishers that
# repeat a lost packet do so under its own number. libsrtp refuses 0x8000 and more.
WINDOW = 2048

# Where resends have an SSRC of their own, only packets that the publisher delivered late go out
# under an old number; we ask it for at most 1.5 s. The shift of the window is 5 % of the cost of a
# packet at 2048, half of that here.
SHORT_WINDOW = 1024

KEY_SALT_BYTES = {
    SrtpProfile.AES128_CM_HMAC_SHA1_80: 16 + 14,
    SrtpProfile.AEAD_AES_128_GCM: 16 + 12,
    SrtpProfile.AEAD_AES_256_GCM: 32 + 12,
}

_POLICY_PROFILE = {
    SrtpProfile.AES128_CM_HMAC_SHA1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SrtpProfile.AEAD_AES_128_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AEAD_AES_256_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


def _load() -> tuple[int, int, int, int]:
    """The addresses of protect, unprotect, protect_rtcp and unprotect_rtcp."""
    version = pylibsrtp.__version__
    if version.split(".")[0] != "1":
        raise ImportError(f"rtcfwd needs pylibsrtp 1.x, found {version}")
    try:
        from pylibsrtp._binding import ffi, lib
    except ImportError as exc:
        raise ImportError(f"pylibsrtp {version} has no cffi module _binding") from exc
    try:
        pointers = [ffi.addressof(lib, name) for name in _FUNCTIONS]
        for name, pointer in zip(_FUNCTIONS, pointers, strict=True):
            if (found := ffi.typeof(pointer).cname) != _SIGNATURE:
                raise ImportError(f"pylibsrtp {version}: {name} is {found}, not {_SIGNATURE}")
        a, b, c, d = (int(ffi.cast("uintptr_t", pointer)) for pointer in pointers)
        if not _address(pylibsrtp.Session()):
            raise ImportError(f"pylibsrtp {version}: a session without an srtp_t")
    except (AttributeError, TypeError, ffi.error) as exc:
        raise ImportError(f"pylibsrtp {version} is laid out differently: {exc}") from exc
    return a, b, c, d


def _address(session: Any) -> int:
    """The ``srtp_t`` inside a pylibsrtp session."""
    from pylibsrtp._binding import ffi

    return int(ffi.cast("uintptr_t", session._srtp[0]))


FUNCTIONS = _load()


@dataclass(frozen=True, slots=True)
class SrtpSessions:
    """A peer's two contexts. ``rx`` and ``tx`` are addresses, valid while this object lives."""

    rx: int
    tx: int
    owned: tuple[Any, Any]  # the pylibsrtp sessions behind them


def _policy(
    profile: SrtpProfile, key: bytes, ssrc_type: int, ssrc: int = 0, window: int = WINDOW
) -> Any:
    policy = pylibsrtp.Policy(
        key=key, ssrc_type=ssrc_type, ssrc_value=ssrc, srtp_profile=_POLICY_PROFILE[profile]
    )
    policy.window_size = window
    return policy


def make_sessions(
    profile: SrtpProfile,
    rx: bytes,
    tx: bytes,
    ssrcs: Sequence[int],
    repeated: Collection[int] = (),
) -> SrtpSessions:
    """Contexts for one peer.

    ``rx``, ``tx``: master key and master salt, 30, 28 or 44 bytes by profile. ``ssrcs``: all that
    we send under, RTP and RTCP; each gets a stream of its own, which may repeat a packet
    (byte-identical resends). ``repeated``: those of them whose NACKed packets are repeated on the
    same SSRC and so need the whole window; the others' is shorter, since libsrtp shifts it for
    every packet. Inbound any SSRC is accepted: the demultiplexer decides.

    Raises ValueError for a key of the wrong length or no SSRC.
    """
    need = KEY_SALT_BYTES[profile]
    for name, key in (("rx", rx), ("tx", tx)):
        if len(key) != need:
            raise ValueError(f"{name}: {profile.name} takes {need} bytes, not {len(key)}")
    if not ssrcs:
        raise ValueError("ssrcs: at least one")

    inbound = pylibsrtp.Session(_policy(profile, rx, pylibsrtp.Policy.SSRC_ANY_INBOUND))
    outbound = pylibsrtp.Session()
    for ssrc in dict.fromkeys(ssrcs):
        window = WINDOW if ssrc in repeated else SHORT_WINDOW
        policy = _policy(profile, tx, pylibsrtp.Policy.SSRC_SPECIFIC, ssrc, window)
        policy.allow_repeat_tx = True
        outbound.add_stream(policy)
    return SrtpSessions(_address(inbound), _address(outbound), (inbound, outbound))
