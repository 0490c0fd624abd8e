"""How long viewers are to hold pictures back: the playout-delay setting and query.

Given ``MIN-MAX`` or one number, in milliseconds, or ``auto``; promises (min, max) as the header
extension can tell it (steps of 10 ms, up to 40 950 ms), or None for ``auto``.
"""

from __future__ import annotations

LONGEST_MS = 40_950
_WRONG = f"wants auto, or milliseconds from 0 to {LONGEST_MS}: MIN-MAX such as 0-100, or one number"


def parse(value: object) -> tuple[int, int] | None:
    """Raises ValueError with what is wanted. Rounded down to 10 ms."""
    text = str(value).strip()
    if text == "auto":
        return None
    least, dash, most = text.partition("-")
    numbers = (least, most if dash else least)
    if not all(n.isascii() and n.isdigit() and len(n) <= 5 for n in numbers):
        raise ValueError(_WRONG)
    low, high = (int(n) // 10 * 10 for n in numbers)
    if not low <= high <= LONGEST_MS:
        raise ValueError(_WRONG)
    return low, high
