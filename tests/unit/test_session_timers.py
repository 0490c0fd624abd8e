"""The heap of deadlines."""

from __future__ import annotations

import pytest

from rtcfwd.session.timers import Timers


class Item:
    def __init__(self, timers: Timers, again: float | None = None) -> None:
        self.timers = timers
        self.again = again
        self.fired: list[float] = []

    def on_deadline(self, now: float) -> None:
        self.fired.append(now)
        self.timers.set(self, self.again)


def test_what_is_due_runs_once_and_in_order() -> None:
    armed: list[float | None] = []
    timers = Timers(armed.append)
    late, early = Item(timers), Item(timers)
    timers.set(late, 2.0)
    timers.set(early, 1.0)
    assert armed == [2.0, 1.0]
    timers.run(1.5)
    assert (early.fired, late.fired) == ([1.5], [])
    timers.run(3.0)
    timers.run(4.0)
    assert (early.fired, late.fired) == ([1.5], [3.0])
    assert armed == [2.0, 1.0, 2.0]  # a timer that has fired needs no disarming
    assert len(timers) == 0


def test_a_new_deadline_replaces_the_old_one() -> None:
    timers = Timers()
    item = Item(timers)
    timers.set(item, 1.0)
    timers.set(item, 5.0)
    timers.run(2.0)
    assert item.fired == []
    timers.set(item, 3.0)
    timers.set(item, None)
    timers.run(9.0)
    assert item.fired == []
    assert timers.next() is None


def test_replacing_for_ever_does_not_grow() -> None:
    timers = Timers()
    item = Item(timers)
    for n in range(10_000):
        timers.set(item, float(n))
    assert len(timers._heap) < 100
    assert timers.next() == 9999.0


def test_one_that_raises_does_not_keep_the_others() -> None:
    timers = Timers()

    class Broken(Item):
        def on_deadline(self, now: float) -> None:
            raise RuntimeError("broken")

    broken, sound, later = Broken(timers), Item(timers), Item(timers)
    timers.set(broken, 1.0)
    timers.set(sound, 1.0)
    timers.set(later, 7.0)
    with pytest.raises(RuntimeError, match="broken"):
        timers.run(2.0)
    assert sound.fired == [2.0]
    assert timers.next() == 7.0


def test_a_deadline_in_the_past_runs_in_the_next_turn_not_for_ever() -> None:
    timers = Timers()
    item = Item(timers, again=0.0)
    timers.set(item, 1.0)
    timers.run(2.0)
    assert item.fired == [2.0]
