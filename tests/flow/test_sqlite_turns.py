"""On SQLite the threads of one process write in turn, in transactions and outside of them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, transaction

from bookings.models import Slot
from delivery_sms.sqlite3 import base
from delivery_sms.sqlite3.turns import writing
from tests.factories import SlotFactory
from tests.processes import wait_for

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has many writers"),
]


@contextmanager
def somebody_writes():
    somebody = object()
    assert writing.take(somebody, seconds=0)
    try:
        yield
    finally:
        writing.give(somebody)


def is_free():
    probe = object()
    try:
        return writing.take(probe, seconds=0)
    finally:
        writing.give(probe)


def in_thread(write):
    def run():
        try:
            write()
        finally:
            connection.close()

    return run


def write_in_transaction():
    with transaction.atomic():
        Slot.objects.update(capacity=7)


def write_alone():
    Slot.objects.update(capacity=7)


@pytest.fixture
def slot():
    return SlotFactory.create(capacity=5)


def capacity_of(slot):
    slot.refresh_from_db()
    return slot.capacity


@pytest.mark.parametrize("write", [write_in_transaction, write_alone])
def test_write_waits_for_its_turn(slot, write):
    with ThreadPoolExecutor(1) as threads:
        with somebody_writes():
            written = threads.submit(in_thread(write))
            wait_for(lambda: any(writing._queues))
            assert capacity_of(slot) == 5
        written.result(20)
    assert capacity_of(slot) == 7
    assert is_free()


@pytest.mark.parametrize("write", [write_in_transaction, write_alone])
def test_write_that_waits_for_too_long_finds_the_database_locked(slot, write, monkeypatch):
    monkeypatch.setattr(base, "PATIENCE", 0.02)
    with somebody_writes(), pytest.raises(OperationalError, match="database is locked"):
        write()
    write()
    assert capacity_of(slot) == 7


def test_read_does_not_wait(slot):
    with somebody_writes():
        assert Slot.objects.count() == 1


def test_transaction_has_its_turn_until_it_is_committed(slot):
    with transaction.atomic():
        with transaction.atomic():
            write_alone()
        assert writing.is_held_by(connections[DEFAULT_DB_ALIAS])
        assert not is_free()
    assert is_free()


def test_transaction_that_fails_gives_its_turn_back(slot):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        raise ZeroDivisionError
    assert is_free()


def test_connection_that_is_closed_in_its_transaction_gives_its_turn_back(slot):
    with transaction.atomic():
        connection.close()
    assert is_free()


def test_transaction_that_cannot_begin_gives_its_turn_back(slot):
    other = connection.copy()
    with other.cursor() as theirs, connection.cursor() as ours:
        theirs.execute("BEGIN IMMEDIATE")
        ours.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(OperationalError, match="locked"):
            write_in_transaction()
        theirs.execute("ROLLBACK")
    other.close()
    assert is_free()


def test_writers_without_a_pause_all_get_their_turns(slot):
    """With SQLite's own waiting some of these would find the database locked, or get no turn for seconds."""
    ended, counts, all_here = threading.Event(), [0] * 12, threading.Barrier(12)

    def write(number):
        write_in_transaction()  # which connects
        all_here.wait(20)
        while not ended.is_set():
            write_in_transaction()
            counts[number] += 1

    with ThreadPoolExecutor(12) as threads:
        calls = [threads.submit(in_thread(lambda n=n: write(n))) for n in range(12)]
        wait_for(lambda: min(counts) > 5, every=0.01)
        ended.set()
        for call in calls:
            call.result(20)
    assert max(counts) <= 2 * min(counts) + 2
