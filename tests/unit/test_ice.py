"""The ICE-lite agent: answers, refusals, nomination, restart, candidates (RFC 8445, RFC 8489)."""

from __future__ import annotations

import struct

import pytest
from aioice import stun

from rtcfwd.addresses import for_answers, interfaces
from rtcfwd.forwarder.api import Path
from rtcfwd.ice import MAX_REPLY, IceLiteAgent, IceOutcome, host_candidates
from tests.unit.stun_tools import (
    CONTROLLED,
    ERROR,
    INDICATION,
    PRIORITY,
    SUCCESS,
    USE_CANDIDATE,
    USERNAME,
    check,
    ffmpeg_8,
    message,
    parsed,
)

PATH4 = Path(("192.0.2.7", 50000), "192.0.2.1")
PATH6 = Path(("2001:db8::7", 50000), "2001:db8::1")


@pytest.fixture
def agent() -> IceLiteAgent:
    return IceLiteAgent(remote_ufrag=None, remote_pwd=None)


def receive(agent: IceLiteAgent, data: bytes, now: float = 0.0) -> IceOutcome:
    return agent.receive(data, PATH4, now)


def test_credentials_are_long_random_ice_chars() -> None:
    agents = [IceLiteAgent(remote_ufrag="a", remote_pwd="b") for _ in range(50)]
    assert len({a.local_ufrag for a in agents}) == 50
    assert len({a.local_pwd for a in agents}) == 50
    for agent in agents:
        assert len(agent.local_ufrag) >= 4
        assert len(agent.local_pwd) >= 22
        assert (agent.local_ufrag + agent.local_pwd).isalnum()


@pytest.mark.parametrize(("path", "length"), [(PATH4, 64), (PATH6, 76)], ids=["IPv4", "IPv6"])
def test_a_check_is_answered_with_the_mapped_address(
    agent: IceLiteAgent, path: Path, length: int
) -> None:
    outcome = agent.receive(check(agent.local_ufrag, agent.local_pwd), path, 0.0)
    assert outcome.verified
    assert not outcome.nominated
    assert outcome.drop is None
    assert outcome.reply is not None
    answer = parsed(outcome.reply, agent.local_pwd)
    assert answer.message_class == stun.Class.RESPONSE
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == path.remote
    assert len(outcome.reply) == length


def test_use_candidate_nominates(agent: IceLiteAgent) -> None:
    outcome = receive(agent, check(agent.local_ufrag, agent.local_pwd, nominate=True))
    assert outcome.verified
    assert outcome.nominated


@pytest.mark.duty("M6")
def test_ffmpeg_8_has_neither_priority_nor_role(agent: IceLiteAgent) -> None:
    outcome = receive(agent, ffmpeg_8(agent.local_ufrag, agent.local_pwd))
    assert outcome.verified
    assert outcome.nominated


def test_fingerprint_may_be_absent(agent: IceLiteAgent) -> None:
    data = message(
        [(USERNAME, f"{agent.local_ufrag}:x".encode())], agent.local_pwd, fingerprint=False
    )
    assert receive(agent, data).verified


@pytest.mark.parametrize("rest", ["", ":", ":a:b", ":" + "x" * 256])
def test_what_follows_our_ufrag_is_the_peers(agent: IceLiteAgent, rest: str) -> None:
    data = message([(USERNAME, (agent.local_ufrag + rest).encode())], agent.local_pwd)
    assert receive(agent, data).verified


def test_wrong_password_draws_nothing(agent: IceLiteAgent) -> None:
    outcome = receive(agent, check(agent.local_ufrag, "x" * 24, nominate=True))
    assert outcome == IceOutcome(drop="stun_integrity")


def test_unsigned_draws_nothing(agent: IceLiteAgent) -> None:
    data = message([(USERNAME, f"{agent.local_ufrag}:x".encode())], None)
    assert receive(agent, data) == IceOutcome(drop="stun_integrity")


@pytest.mark.parametrize("ufrag", ["", "nobody", "LOCAL", "é"])
def test_another_ufrag_draws_nothing(agent: IceLiteAgent, ufrag: str) -> None:
    assert receive(agent, check(ufrag, agent.local_pwd)) == IceOutcome(drop="stun_ufrag")


def test_damaged_fingerprint_is_malformed(agent: IceLiteAgent) -> None:
    data = bytearray(check(agent.local_ufrag, agent.local_pwd))
    data[-1] ^= 1
    assert receive(agent, bytes(data)) == IceOutcome(drop="stun_malformed")


def test_unknown_required_attributes_get_a_420(agent: IceLiteAgent) -> None:
    attributes = [(USERNAME, f"{agent.local_ufrag}:x".encode()), (0x7001, b"a"), (0x7002, b"")]
    outcome = receive(agent, message(attributes, agent.local_pwd))
    assert outcome.drop == "stun_unknown_attribute"
    assert not outcome.verified
    assert outcome.reply is not None
    answer = parsed(outcome.reply, agent.local_pwd)
    assert answer.message_class == stun.Class.ERROR
    assert answer.error_code == 420
    assert b"\x00\x0a\x00\x04\x70\x01\x70\x02" in outcome.reply


def test_a_420_stays_small_and_is_signed_only_for_the_authenticated(agent: IceLiteAgent) -> None:
    attributes = [(USERNAME, f"{agent.local_ufrag}:x".encode())]
    attributes += [(0x7000 + i, b"") for i in range(100)]
    outcome = receive(agent, message(attributes, agent.local_pwd))
    assert outcome.reply is not None
    assert len(outcome.reply) <= MAX_REPLY
    assert receive(agent, message(attributes, "wrong")).reply is None


def test_unknown_optional_attributes_and_those_behind_the_signature_are_ignored(
    agent: IceLiteAgent,
) -> None:
    attributes = [(USERNAME, f"{agent.local_ufrag}:x".encode()), (0xC001, b"abc")]
    data = message(attributes, agent.local_pwd, after_integrity=[(0x001C, bytes(32))])
    assert receive(agent, data).verified
    # Unsigned, so USE-CANDIDATE there does not count either.
    data = message(attributes, agent.local_pwd, after_integrity=[(USE_CANDIDATE, b"")])
    assert not receive(agent, data).nominated


@pytest.mark.duty("M9")
def test_a_peer_that_calls_itself_controlled_gets_a_487(agent: IceLiteAgent) -> None:
    attributes = [
        (USERNAME, f"{agent.local_ufrag}:x".encode()),
        (PRIORITY, struct.pack("!I", 1)),
        (CONTROLLED, bytes(8)),
    ]
    outcome = receive(agent, message(attributes, agent.local_pwd))
    assert outcome.drop == "stun_role_conflict"
    assert not outcome.verified
    assert outcome.reply is not None
    assert parsed(outcome.reply, agent.local_pwd).error_code == 487


@pytest.mark.parametrize("kind", [SUCCESS, ERROR])
def test_responses_are_dropped_by_name(agent: IceLiteAgent, kind: int) -> None:
    data = message([(USERNAME, f"{agent.local_ufrag}:x".encode())], agent.local_pwd, kind=kind)
    assert receive(agent, data) == IceOutcome(drop="stun_response")


@pytest.mark.duty("M7")
def test_indications_are_keepalives(agent: IceLiteAgent) -> None:
    assert receive(agent, message([], None, kind=INDICATION)) == IceOutcome()


def test_other_methods_draw_nothing(agent: IceLiteAgent) -> None:
    allocate = message(
        [(USERNAME, f"{agent.local_ufrag}:x".encode())], agent.local_pwd, kind=0x0003
    )
    assert receive(agent, allocate) == IceOutcome(drop="stun_malformed")


@pytest.mark.parametrize("data", [b"", b"\0", bytes(19), bytes(20), b"\0\1\0\4!\x12\xa4B" * 4])
def test_rubbish_is_malformed(agent: IceLiteAgent, data: bytes) -> None:
    assert receive(agent, data).drop is not None


@pytest.mark.duty("M8", "M10")
def test_old_credentials_live_until_30_s_after_the_first_new_check(agent: IceLiteAgent) -> None:
    old = agent.local_ufrag, agent.local_pwd
    assert receive(agent, check(*old, nominate=True)).nominated
    assert agent.restart(remote_ufrag="new", remote_pwd="pwd") == []
    assert agent.remote_ufrag == "new"
    assert old[0] != agent.local_ufrag
    assert old[1] != agent.local_pwd
    assert agent.ufrags() == [agent.local_ufrag, old[0]]
    # However long the peer takes, the old path goes on.
    assert receive(agent, check(*old, nominate=True), 500.0).nominated
    new = agent.local_ufrag, agent.local_pwd
    assert receive(agent, check(*new), 1000.0).verified
    assert receive(agent, check(*old, nominate=True), 1029.9).nominated
    assert receive(agent, check(*new, nominate=True), 1029.9).nominated
    # The new generation has its path: the old one is answered, but selects no more.
    late = receive(agent, check(*old, nominate=True), 1029.9)
    assert late.verified
    assert not late.nominated
    assert agent.retire(1029.9) == []
    assert receive(agent, check(*old), 1030.0) == IceOutcome(drop="stun_ufrag")
    assert agent.retire(1030.0) == [old[0]]
    assert agent.ufrags() == [agent.local_ufrag]


def test_old_password_does_not_go_with_the_new_ufrag(agent: IceLiteAgent) -> None:
    old = agent.local_pwd
    agent.restart()
    assert receive(agent, check(agent.local_ufrag, old)) == IceOutcome(drop="stun_integrity")


def test_many_restarts_keep_few_credentials(agent: IceLiteAgent) -> None:
    first = agent.local_ufrag
    assert agent.restart() == []
    assert agent.restart() == []
    assert agent.restart() == [first]
    assert len(agent.ufrags()) == 3


@pytest.mark.duty("M2")
def test_one_candidate_is_the_lite_priority() -> None:
    (candidate,) = host_candidates(["192.0.2.1"], 8189)
    assert candidate.to_sdp() == "1 1 udp 2130706431 192.0.2.1 8189 typ host"


def test_candidates_are_ordered_and_distinct() -> None:
    candidates = host_candidates(
        ["2001:db8::1", "192.0.2.1", "fe80::1", "0.0.0.0", "192.0.2.1", "224.0.0.1", "127.0.0.1"],
        8189,
    )
    assert [c.host for c in candidates] == ["192.0.2.1", "127.0.0.1", "2001:db8::1"]
    assert {c.component for c in candidates} == {1}
    assert len({c.foundation for c in candidates}) == 3
    priorities = [c.priority for c in candidates]
    assert priorities == sorted(set(priorities), reverse=True)
    with pytest.raises(ValueError, match="appear"):
        host_candidates(["example.org"], 8189)


def test_local_addresses_are_usable_as_candidates() -> None:
    addresses = for_answers(interfaces(), "0.0.0.0")
    assert addresses
    assert [c.host for c in host_candidates(addresses, 1)] == addresses
