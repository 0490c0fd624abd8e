"""The playout-delay setting and query."""

from __future__ import annotations

import pytest

from rtcfwd import playout


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("auto", None),
        ("0", (0, 0)),
        (0, (0, 0)),
        ("200", (200, 200)),
        ("0-100", (0, 100)),
        (" 15-19 ", (10, 10)),
        ("0-40950", (0, 40950)),
    ],
)
def test_what_is_meant(text: object, found: tuple[int, int] | None) -> None:
    assert playout.parse(text) == found


@pytest.mark.parametrize(
    "text",
    ["", "-", "-1", "1-", "100-0", "0-40960", "1e3", "0-1-2", "١", "AUTO", True, 0.5, "9" * 99],
)
def test_what_is_not(text: object) -> None:
    with pytest.raises(ValueError, match="MIN-MAX such as 0-100"):
        playout.parse(text)
