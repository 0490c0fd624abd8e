"""Whatever bytes come, the ICE agent does not raise, answers nothing that is not signed with its
password, and never much: an answer is at most 76 bytes, or 128 for a 420, and at most 24 bytes
longer than the request, which only an authenticated peer can write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtcfwd.forwarder.api import Path
from rtcfwd.ice import MAX_REPLY, IceLiteAgent
from tests.unit.stun_tools import USERNAME, check, message, parsed

AGENT = IceLiteAgent(remote_ufrag="x", remote_pwd="y")
UFRAG, PWD = AGENT.local_ufrag, AGENT.local_pwd
PATH = Path(("192.0.2.7", 50000), "192.0.2.1")
PATH6 = Path(("2001:db8::7", 65535), "2001:db8::1")

ATTRIBUTE = st.tuples(
    st.one_of(
        st.sampled_from([1, 6, 8, 9, 0x14, 0x15, 0x20, 0x24, 0x25, 0x8028, 0x8029, 0x802A]),
        st.integers(0, 0xFFFF),
    ),
    st.binary(max_size=24),
)
ATTRIBUTES = st.lists(ATTRIBUTE, max_size=6)
KIND = st.one_of(st.sampled_from([1, 0x11, 0x101, 0x111, 3]), st.integers(0, 0xFFFF))


@given(st.binary(max_size=120))
def test_any_bytes(data: bytes) -> None:
    outcome = AGENT.receive(data, PATH, 0.0)
    assert outcome.reply is None
    assert not outcome.verified


@given(kind=KIND, attributes=ATTRIBUTES, fingerprint=st.booleans())
def test_any_message_without_our_signature(
    kind: int, attributes: list[tuple[int, bytes]], fingerprint: bool
) -> None:
    named = [(USERNAME, f"{UFRAG}:x".encode()), *attributes]
    for pwd in (None, "another password of 24ch"):
        data = message(named, pwd, kind=kind, fingerprint=fingerprint)
        outcome = AGENT.receive(data, PATH, 0.0)
        assert outcome.reply is None
        assert not outcome.verified
        assert not outcome.nominated


@given(kind=KIND, attributes=ATTRIBUTES, fingerprint=st.booleans())
def test_any_message_with_our_signature(
    kind: int, attributes: list[tuple[int, bytes]], fingerprint: bool
) -> None:
    named = [(USERNAME, f"{UFRAG}:x".encode()), *attributes]
    data = message(named, PWD, kind=kind, fingerprint=fingerprint)
    outcome = AGENT.receive(data, PATH6, 0.0)
    assert outcome.reply is not None or not outcome.verified
    assert outcome.verified or not outcome.nominated
    if outcome.reply is not None:
        parsed(outcome.reply, PWD)
        assert len(outcome.reply) <= min(MAX_REPLY, len(data) + 24)


@given(index=st.integers(0, 200), bit=st.integers(0, 7))
def test_one_bit_wrong_is_never_verified(index: int, bit: int) -> None:
    """In the signed part; FINGERPRINT, the last 8 bytes, may as well be absent."""
    data = bytearray(check(UFRAG, PWD, nominate=True))
    data[index % (len(data) - 8)] ^= 1 << bit
    outcome = AGENT.receive(bytes(data), PATH, 0.0)
    assert outcome.reply is None
    assert not outcome.verified
    assert outcome.drop is not None


@given(cut=st.integers(0, 95))
def test_truncated_is_never_verified(cut: int) -> None:
    outcome = AGENT.receive(check(UFRAG, PWD)[:cut], PATH, 0.0)
    assert outcome.reply is None
    assert not outcome.verified
