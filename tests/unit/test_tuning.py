"""Hints for the operator: a socket buffer that the kernel cut is told once, with what to change."""

from __future__ import annotations

import pytest

from rtcfwd.forwarder._forwarder import MemoryForwarder
from rtcfwd.tuning import SOCKET_BUFFER, buffer_hints

ASKED = {"asked_buffer": SOCKET_BUFFER}
GIVEN = {"receive_buffer": SOCKET_BUFFER, "send_buffer": SOCKET_BUFFER}


def test_nothing_to_say_when_all_was_given() -> None:
    assert buffer_hints([{**ASKED, **GIVEN}] * 3) == []
    assert buffer_hints([]) == []


@pytest.mark.parametrize(
    ("name", "limit"), [("receive_buffer", "rmem_max"), ("send_buffer", "wmem_max")]
)
def test_a_cut_buffer_names_its_sysctl(name: str, limit: str) -> None:
    (hint,) = buffer_hints([{**ASKED, **GIVEN}, {**ASKED, **GIVEN, name: 212992}])
    assert "212992 of 4194304 bytes" in hint
    assert hint.endswith(f"sysctl -w net.core.{limit}=4194304")


def test_both_directions_are_told_once_for_all_workers() -> None:
    hints = buffer_hints([{**ASKED, "receive_buffer": 1, "send_buffer": 2}] * 4)
    assert len(hints) == 2


def test_a_forwarder_without_sockets_has_no_hints() -> None:
    forwarder = MemoryForwarder(workers=2)
    try:
        assert buffer_hints(forwarder.worker_stats()) == []
    finally:
        forwarder.close()
