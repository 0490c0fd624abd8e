"""Transport-wide feedback to publishers: what it says of every packet is what the network did, to
the 250 µs that it counts in, and no numbers make it more than a trickle."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.pipeline.netem import MS, SECOND, Conditions
from tests.pipeline.numbered import (
    FIRST,
    TICK,
    TRANSPORT_WIDE,
    NumberedPublisher,
    TruthfulWorld,
    told,
)
from tests.pipeline.publisher import VIDEO, Setup
from tests.pipeline.world import World

EVIL = Conditions(
    delay_ms=20, jitter_ms=7, loss=0.05, burst=2, reorder=0.05, reorder_ms=30, duplicate=0.02
)


def assert_truth(w: TruthfulWorld, pub: NumberedPublisher) -> None:
    """Each packet that came is told of with its time, by one clock; each that did not is told of as
    missing; nothing else is said, and of none two times."""
    said = told(pub)
    newest = max(w.came)
    assert set(w.came) <= set(said)
    assert set(said) <= set(range(min(w.came), newest + 1))
    origin = set()
    for number, words in said.items():
        ticks = {tick for tick in words if tick is not None}
        if number in w.came:
            assert len(ticks) == 1
            origin.add((ticks.pop() - w.came[number] // TICK) % (1 << 32))
        else:
            assert not ticks
    assert len(origin) == 1


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("reduced", [True, False])
def test_arrivals_are_told_exactly(workers: int, reduced: bool) -> None:
    """Sound, pictures, RTX and padding, over a bad network and the edge of 16 bits."""
    with TruthfulWorld(seed=31, workers=workers) as w:
        w.viewer()
        pub, peer = w.numbered(Setup(reduced_size=reduced), up=EVIL, down=Conditions(delay_ms=20))
        for i in range(80):
            w.run(0.1)
            if i % 4 == 0:
                pub.out.append(pub.on_rtx(b"", padding=200))
                ts = pub.rtp_time(VIDEO, w.now)
                pub.out.append(pub.packet(VIDEO, b"", ts, w.now, padding=100, ledger=False))
        w.settle(pub)
        assert pub.resent > 50
        assert pub.number > 65536 + 500
        assert peer.up.lost > 50
        assert len(w.came) < pub.number - FIRST - 50  # some never came
        assert_truth(w, pub)
        counts = [f.count for f in pub.feedback]
        assert counts == [i % 256 for i in range(len(counts))]
        sent = w.forwarder.stream_stats(w.stream)["feedback_sent"]
        assert sent == len(pub.feedback) == sum(s["feedback"] for s in w.forwarder.worker_stats())
        # Every 50 ms while something comes, by ticks of 5 ms.
        assert 8 * 20 * 0.85 < sent <= 9.1 * 20 + 1
        apart = [b.at - a.at for a, b in itertools.pairwise(pub.feedback)]
        assert min(apart) >= 50 * MS


def test_what_comes_is_told_within_56_ms() -> None:
    with TruthfulWorld(seed=32) as w:
        pub, _ = w.numbered(up=EVIL)
        w.run(3)
        w.rest(pub, 0.2)
        first: dict[int, int] = {}
        near = FIRST
        for f in pub.feedback:
            base = near + (f.base - near + 0x8000) % 0x10000 - 0x8000
            near = base + len(f.ticks)
            for i, tick in enumerate(f.ticks):
                if tick is not None:
                    first.setdefault(base + i, f.at)
        late = [first[number] - at for number, at in w.came.items()]
        assert max(late) <= 56 * MS + MS  # a tick of 5 ms, a link of 1 ms


def test_a_pause_is_told_across() -> None:
    """Nothing comes, nothing is said; then a step that two bytes do not hold."""
    with TruthfulWorld() as w:
        pub, _ = w.numbered()
        w.run(1)
        w.rest(pub)
        before = len(pub.feedback)
        w.run(20, step_ms=10)
        assert len(pub.feedback) == before
        pub.resume(key=True)
        w.run(1)
        w.rest(pub)
        assert len(pub.feedback) > before
        assert_truth(w, pub)


def test_a_second_publisher_begins_anew() -> None:
    with TruthfulWorld() as w:
        one, its = w.numbered()
        w.run(1)
        w.rest(one)
        w.leave(its)
        w.run(0.1)
        assert_truth(w, one)
        w.came.clear()
        two, _ = w.numbered()
        w.run(1)
        w.rest(two)
        assert two.feedback[0].count == 0
        assert_truth(w, two)


def test_without_numbers_there_is_no_feedback() -> None:
    with World() as w:
        w.publisher(Setup(extensions={5: TRANSPORT_WIDE}))  # negotiated, and not sent
        w.run(1)
        assert w.forwarder.stream_stats(w.stream)["feedback_sent"] == 0


@pytest.mark.parametrize("way", ["random", "ahead", "to and fro"])
def test_absurd_numbers_cost_little_and_pass(way: str) -> None:
    """2000 packets a second with numbers that make no sense: feedback stays a trickle, and is true
    again for the first packets that make sense."""
    with TruthfulWorld(seed=33) as w:
        pub, _ = w.numbered(Setup(has_audio=False))
        w.run(1)
        wild = random.Random(5)
        step = {
            "random": lambda: wild.randrange(1 << 16),
            "ahead": lambda: 2000,
            "to and fro": lambda: wild.choice((30_000, 40_000, 1)),
        }[way]
        before, start = len(pub.feedback), w.now
        for _ in range(2000):
            for _ in range(2):
                pub.number += step()
                pub.out.append(pub.on_rtx(b"", padding=30))
            w.run(0.001)
        storm = pub.feedback[before:]
        rounds = {f.at // MS for f in storm}
        assert len(rounds) <= (w.now - start) // (50 * MS) + 1
        assert len(storm) <= 4 * len(rounds)
        assert sum(f.size for f in storm) * SECOND / (w.now - start) < 4 * 1200 * 20
        w.rest(pub)
        pub.feedback.clear()
        w.came.clear()
        pub.number = FIRST  # where told() begins
        pub.resume()
        w.run(0.5)
        w.rest(pub)
        assert_truth(w, pub)
