"""The lock for SQLite's writers: first come, first served."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from delivery_sms.sqlite3.turns import Turns
from tests.processes import wait_for


@pytest.fixture
def turns():
    return Turns()


def waiting(turns):
    return sum(len(queue) for queue in turns._queues)


def is_waited_for_by(turns, count):
    return waiting(turns) == count


def served(turns, *line):
    """Return the order in which the waiters, given as (name, queue) in order of arrival, got the lock."""
    names = []

    def write(name, queue):
        assert turns.take(name, 20, queue)
        names.append(name)
        turns.give(name)

    turns.take("holder", seconds=0)
    with ThreadPoolExecutor(len(line)) as threads:
        for number, (name, queue) in enumerate(line, 1):
            threads.submit(write, name, queue)
            wait_for(partial(is_waited_for_by, turns, number))
        turns.give("holder")
    return names


def test_lock_goes_to_waiters_in_the_order_in_which_they_came(turns):
    assert served(turns, *[(number, 0) for number in range(8)]) == list(range(8))


def test_queues_are_served_by_turns(turns):
    line = [("r1", 1), ("r2", 1), ("r3", 1), ("r4", 1), ("s1", 0), ("s2", 0)]
    assert served(turns, *line) == ["r1", "s1", "r2", "s2", "r3", "r4"]


def test_holder_that_returns_at_once_waits_behind_the_others(turns):
    """Python's own lock would let it overtake: it is running, and the waiters must first wake up."""
    names = []

    def write(name):
        for _ in range(3):
            assert turns.take(name, seconds=20)
            names.append(name)
            wait_for(lambda: waiting(turns) == 1 or len(names) > 4, every=0.001)
            turns.give(name)

    turns.take("holder", seconds=0)
    with ThreadPoolExecutor(2) as threads:
        threads.submit(write, "web")
        wait_for(lambda: waiting(turns) == 1)
        threads.submit(write, "sender")
        wait_for(lambda: waiting(turns) == 2)
        turns.give("holder")
    assert names == ["web", "sender"] * 3


def test_only_one_holds_the_lock_at_a_time(turns):
    inside, most = [], []

    def write(name):
        for _ in range(200):
            assert turns.take(name, seconds=20)
            inside.append(name)
            most.append(len(inside))
            inside.remove(name)
            turns.give(name)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(write, range(6)))
    assert max(most) == 1
    assert len(most) == 1200


def test_waiter_that_gives_up_leaves_the_queue(turns):
    turns.take("holder", seconds=0)
    assert not turns.take("hurried", seconds=0.01)
    turns.give("holder")
    assert turns.take("next", seconds=0)


def test_waiter_that_is_interrupted_leaves_the_queue(turns, monkeypatch):
    def interrupt(self, timeout=None):
        raise KeyboardInterrupt

    turns.take("holder", seconds=0)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Event, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            turns.take("interrupted", seconds=20)
    turns.give("holder")
    assert turns.take("next", seconds=0)


def test_holder_that_asks_again_has_the_lock(turns):
    turns.take("holder", seconds=0)
    assert turns.take("holder", seconds=0)
    turns.give("holder")
    assert turns.take("next", seconds=0)


def test_only_the_holder_can_give_the_lock_back(turns):
    turns.take("holder", seconds=0)
    turns.give("somebody else")
    assert turns.is_held_by("holder")
    assert not turns.is_held_by("somebody else")
