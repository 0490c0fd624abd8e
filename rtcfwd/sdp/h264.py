"""H264 profiles by RFC 6184: Table 5's bit patterns, SPS bytes, and what a decoder can take.

``profile-level-id`` is profile_idc, profile-iop (the constraint flags) and level_idc in hex. Two
values name the same profile when Table 5 puts them into one row, whatever the digits say; the
level never counts (browsers all say 3.1 and take more).
"""

from __future__ import annotations

import enum
import re
from typing import Final


class Profile(enum.IntEnum):
    """Sub-profiles; the numbers are only names."""

    CONSTRAINED_BASELINE = 0
    BASELINE = 1
    EXTENDED = 2
    MAIN = 3
    CONSTRAINED_HIGH = 4
    HIGH = 5
    HIGH_10 = 6
    HIGH_422 = 7
    HIGH_444 = 8
    INTRA = 9
    """The intra-only ones: High 10, High 4:2:2, High 4:4:4, CAVLC 4:4:4."""


# profile_idc, mask over profile-iop, value under the mask
_TABLE_5: Final = (
    (0x42, 0x4F, 0x40, Profile.CONSTRAINED_BASELINE),
    (0x4D, 0x8F, 0x80, Profile.CONSTRAINED_BASELINE),
    (0x58, 0xCF, 0xC0, Profile.CONSTRAINED_BASELINE),
    (0x42, 0x4F, 0x00, Profile.BASELINE),
    (0x58, 0xCF, 0x80, Profile.BASELINE),
    (0x58, 0xCF, 0x00, Profile.EXTENDED),
    (0x4D, 0xAF, 0x00, Profile.MAIN),
    (0x64, 0xFF, 0x00, Profile.HIGH),
    (0x64, 0xFF, 0x0C, Profile.CONSTRAINED_HIGH),  # not in the table; H.264 annex A
    (0x6E, 0xFF, 0x00, Profile.HIGH_10),
    (0x7A, 0xFF, 0x00, Profile.HIGH_422),
    (0xF4, 0xFF, 0x00, Profile.HIGH_444),
    (0x6E, 0xFF, 0x10, Profile.INTRA),
    (0x7A, 0xFF, 0x10, Profile.INTRA),
    (0xF4, 0xFF, 0x10, Profile.INTRA),
    (0x2C, 0xFF, 0x10, Profile.INTRA),
)

# Flags that no row has: encoders set them, decoders look at profile_idc.
_LOOSE: Final = {
    0x42: Profile.BASELINE,
    0x4D: Profile.MAIN,
    0x58: Profile.EXTENDED,
    0x64: Profile.HIGH,
    0x6E: Profile.HIGH_10,
    0x7A: Profile.HIGH_422,
    0xF4: Profile.HIGH_444,
    0x2C: Profile.INTRA,
}

# Which decoders take a stream of the key's profile besides its own, the nearest first.
_TAKEN_BY: Final = {
    Profile.CONSTRAINED_BASELINE: (
        Profile.BASELINE,
        Profile.MAIN,
        Profile.CONSTRAINED_HIGH,
        Profile.HIGH,
        Profile.EXTENDED,
    ),
    # By the letter Extended alone takes Baseline; but nobody sends what Constrained leaves out
    # (slice groups, redundant slices), and FFmpeg says Baseline where it means Constrained.
    Profile.BASELINE: (
        Profile.CONSTRAINED_BASELINE,
        Profile.MAIN,
        Profile.CONSTRAINED_HIGH,
        Profile.HIGH,
        Profile.EXTENDED,
    ),
    Profile.MAIN: (Profile.HIGH,),
    Profile.CONSTRAINED_HIGH: (Profile.HIGH,),
}

# When none of those is offered. High's decoders first; then Constrained Baseline, under which
# Chromium is known to decode everything it can, before names that are hardly ever used.
_GUESSES: Final = (
    Profile.HIGH,
    Profile.CONSTRAINED_HIGH,
    Profile.CONSTRAINED_BASELINE,
    Profile.MAIN,
    Profile.BASELINE,
    Profile.EXTENDED,
    Profile.HIGH_10,
    Profile.HIGH_422,
    Profile.HIGH_444,
    Profile.INTRA,
)
_GUESS: Final = 100

_HEX = re.compile(r"[0-9a-f]{6,7}")


def profile_of(profile_level_id: str | None) -> Profile:
    """The sub-profile that a ``profile-level-id`` names, in any case, blanks tolerated.

    Missing or unreadable: Baseline, RFC 6184 section 8.1's default. Seven digits are FFmpeg 8.0's,
    which prints its own flag 0x200 ("constrained") into the middle.
    """
    text = (profile_level_id or "").strip().lower()
    if not _HEX.fullmatch(text):
        return Profile.BASELINE
    idc, iop = int(text[:2], 16), int(text[2:-2], 16)
    if iop & 0x200:
        iop = 0x40 if idc in (0x42, 0x58) else iop & 0xFF
    for row_idc, mask, value, profile in _TABLE_5:
        if idc == row_idc and iop & mask == value:
            return profile
    return _LOOSE.get(idc, Profile.BASELINE)


def fit(stream: Profile, decoder: Profile) -> int:
    """How well a decoder of one profile takes a stream of another: 0 for the same profile, then
    1, 2, … for decoders that take it, nearest first; 100 and more for a guess."""
    if stream == decoder:
        return 0
    taken_by = _TAKEN_BY.get(stream, ())
    if decoder in taken_by:
        return 1 + taken_by.index(decoder)
    return _GUESS + _GUESSES.index(decoder)


def sps_profile(sps: bytes) -> str:
    """``profile-level-id`` of an SPS NAL unit (its header byte first, no start code): bytes 1 to
    3, as six lower-case hex digits. Raises ValueError when it is not an SPS."""
    if len(sps) < 4 or sps[0] & 0x9F != 0x07:
        raise ValueError("not an H264 SPS NAL unit")
    return sps[1:4].hex()
