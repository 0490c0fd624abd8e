"""Checks on installed tuples are answered by the data plane; aioice's codec is the oracle."""

from __future__ import annotations

import pytest
from aioice import stun

from rtcfwd.forwarder._forwarder import MemoryForwarder
from rtcfwd.forwarder.api import Path, PeerHandle, Punt, Role

UFRAG, PWD = "abcdEFGH", "0123456789abcdefghijkl"
NOW = 5_000_000_000
V4 = Path(("192.0.2.7", 50_000), "192.0.2.1")
V6 = Path(("2001:db8::7", 50_001), "2001:db8::1")
OTHER = Path(("192.0.2.7", 50_002), "192.0.2.1")


def check(*, pwd: str = PWD, attributes: dict[str, object] | None = None) -> stun.Message:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{UFRAG}:peer"
    message.attributes["PRIORITY"] = 1
    message.attributes["ICE-CONTROLLING"] = 7
    for name, value in (attributes or {}).items():
        message.attributes[name] = value
    message.add_message_integrity(pwd.encode())
    return message


class Bench:
    """One viewer with V4, V6 installed on worker 0; datagrams arrive at the worker given."""

    def __init__(self, workers: int, pwd: str | None = PWD) -> None:
        self.forwarder = MemoryForwarder(workers=workers)
        stream = self.forwarder.open_stream()
        self.peer: PeerHandle = self.forwarder.open_peer(stream, Role.VIEWER)
        self.forwarder.add_ufrag(self.peer, UFRAG, pwd)
        self.forwarder.add_path(self.peer, V4)
        self.forwarder.add_path(self.peer, V6)
        self.turn()

    def turn(self) -> None:
        for _ in range(2):
            for worker in range(self.forwarder.workers):
                self.forwarder.turn(worker, NOW)

    def ask(self, data: bytes, path: Path, worker: int = 0) -> tuple[list[bytes], list[Punt]]:
        self.forwarder.inject(worker, path, data, NOW)
        self.turn()
        replies = []
        for w in range(self.forwarder.workers):
            while (sent := self.forwarder.take_sent(w)) is not None:
                assert sent[0] == path
                replies.append(sent[1])
        punts = [e for e in self.forwarder.poll() if isinstance(e, Punt)]
        return replies, punts

    def answered(self) -> int:
        return sum(w["checks"] for w in self.forwarder.worker_stats())


@pytest.mark.parametrize("path", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.duty("C3")
def test_a_plain_check_is_answered(path: Path, workers: int) -> None:
    bench = Bench(workers)
    for worker in range(workers):
        request = check()
        (reply,), punts = bench.ask(bytes(request), path, worker)
        assert punts == []
        answer = stun.parse_message(reply)
        answer.check_message_integrity(PWD.encode())
        assert answer.message_class == stun.Class.RESPONSE
        assert answer.transaction_id == request.transaction_id
        assert answer.attributes["XOR-MAPPED-ADDRESS"] == path.remote
        assert len(reply) <= len(bytes(request))
    assert bench.answered() == workers
    assert bench.forwarder.peer_stats(bench.peer)["last_heard_ns"] == NOW


def test_the_nominated_path_is_confirmed_here_and_another_one_is_not() -> None:
    bench = Bench(1)
    use = check(attributes={"USE-CANDIDATE": None})
    replies, punts = bench.ask(bytes(use), V4)
    assert (len(replies), punts) == (1, [])
    replies, (punt,) = bench.ask(bytes(use), V6)  # the agent decides about a switch
    assert replies == []
    assert (punt.protocol, punt.path, punt.peer) == ("stun", V6, bench.peer)


@pytest.mark.parametrize(
    "request_",
    [
        check(pwd="somebody else's password"),
        check(attributes={"ICE-CONTROLLED": 9}),
        check(attributes={"CHANNEL-NUMBER": 0x4000}),
    ],
    ids=["password", "role", "must be understood"],
)
def test_what_is_not_plain_goes_to_the_agent(request_: stun.Message) -> None:
    replies, punts = (bench := Bench(2)).ask(bytes(request_), V4, worker=1)
    assert replies == []
    assert [p.data for p in punts] == [bytes(request_)]
    assert bench.answered() == 0


def test_without_a_password_all_go_to_the_agent() -> None:
    replies, punts = Bench(1, pwd=None).ask(bytes(check()), V4)
    assert (replies, len(punts)) == ([], 1)


def test_a_new_tuple_goes_to_the_agent() -> None:
    replies, punts = Bench(1).ask(bytes(check()), OTHER)
    assert (replies, len(punts)) == ([], 1)


def test_a_removed_ufrag_is_answered_no_more() -> None:
    bench = Bench(1)
    bench.forwarder.remove_ufrag(bench.peer, UFRAG)
    replies, punts = bench.ask(bytes(check()), V4)
    assert (replies, punts) == ([], [])
    assert bench.forwarder.worker_stats()[0]["drops"]["stun_unknown_ufrag"] == 1


def test_a_forged_check_changes_nothing() -> None:
    bench = Bench(1)
    data = bytearray(bytes(check()))
    for at in range(len(data) - 8):  # all but FINGERPRINT, which integrity does not cover
        twin = bytearray(data)
        twin[at] ^= 0x01
        replies, _ = bench.ask(bytes(twin), V4)
        assert replies == [], at
    assert bench.answered() == 0


@pytest.mark.duty("C3")
def test_checks_of_one_peer_are_bounded() -> None:
    """Twice what Chromium asks on a dozen pairs, then nothing; others are answered meanwhile."""
    bench = Bench(1)
    data = bytes(check())
    answers = [len(bench.ask(data, V4)[0]) for _ in range(300)]
    assert answers == [1] * 200 + [0] * 100
    assert bench.forwarder.worker_stats()[0]["drops"]["check_rate"] == 100
