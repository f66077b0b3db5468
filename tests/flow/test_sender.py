"""The worker between two rounds: clocks, restored backups, failures and restarts."""

import datetime as dt
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from unittest.mock import Mock

import pytest
from django.db import OperationalError, connection
from django.db.models.functions import Now

from bookings.models import Kind, MessageState, Sender
from bookings.operations import worker
from bookings.operations.worker import SWEEP_EVERY, Worker, WorkerThread
from bookings.outbox.pace import database_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def sender(network):
    """A sender with one thread; `round` runs one round, `look` runs a sweep before it."""
    with SteppedWorker() as stepped:
        yield stepped


class SteppedWorker(Worker):
    def __init__(self) -> None:
        super().__init__(threads=1)
        self._pool = ThreadPoolExecutor(1, initializer=self._prepare_connection)

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self._pool.shutdown()
        self._close_connections()
        self._wake_up.close()

    def round(self) -> None:
        self._wake_up.wake()  # so that it does not rest
        self._round(self._pool)
        wait(self._in_flight)

    def look(self) -> None:
        self._swept_at = -SWEEP_EVERY
        self.round()


def state_of(message):
    message.refresh_from_db()
    return message.state


def errors(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


@pytest.mark.parametrize("seconds", [40, -40])
def test_sender_with_wrong_clock_sends_nothing_until_it_is_corrected(
    network, queued, sender, time_machine, caplog, seconds
):
    right = database_now()
    message = queued()
    stale = queued(Kind.NOTIFICATION, valid_until=right - dt.timedelta(hours=1))
    time_machine.move_to(right + dt.timedelta(seconds=seconds))
    for _ in range(3):
        sender.look()
    assert network.count() == 0
    assert state_of(message) == state_of(stale) == MessageState.QUEUED
    assert len(errors(caplog)) == 1
    assert "clock" in errors(caplog)[0]
    assert Sender.objects.count() == 1  # it is alive: nothing is held for its silence
    time_machine.move_to(database_now() + dt.timedelta(seconds=15))
    sender.look()
    assert state_of(message) == MessageState.SUBMITTED
    assert len(errors(caplog)) == 1


def test_small_clock_difference_does_not_stop_the_sender(network, queued, sender, time_machine):
    message = queued()
    time_machine.move_to(database_now() + dt.timedelta(seconds=15))
    sender.look()
    assert state_of(message) == MessageState.SUBMITTED


def test_texts_of_a_restored_old_backup_are_held_before_anything_is_sent(network, queued, sender):
    def refuse(execute, sql, params, many, context):
        raise OperationalError("the database is being restored")

    sender.look()
    with connection.execute_wrapper(refuse):
        sender.round()
    Sender.objects.update(seen_at=Now() - dt.timedelta(hours=5))
    message = queued()
    sender.round()
    message.refresh_from_db()
    assert (message.state, message.is_held) == (MessageState.QUEUED, True)
    assert network.count() == 0


class FailingWorker:
    """Runs for a time, by the clock of `time_machine`, and fails; in the end it is told to stop."""

    def __init__(self, thread, runs_for, clock):
        self.thread, self.runs_for, self.clock = thread, iter(runs_for), clock

    def __call__(self, libpq_options):
        return self

    def run(self):
        seconds = next(self.runs_for, None)
        if seconds is None:
            return self.thread.stop()
        self.clock.append(self.clock[-1] + seconds)
        raise ZeroDivisionError("a bug of ours")

    def stop(self):
        pass


def delays_after(runs_for, monkeypatch, caplog):
    """Return the delays, in seconds, before restarts of a worker that fails after running for so many seconds."""
    thread, clock = WorkerThread(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[-1])
    monkeypatch.setattr(worker, "Worker", FailingWorker(thread, runs_for, clock))
    delays: list[float] = []
    monkeypatch.setattr(thread._told_to_stop, "wait", delays.append)
    thread.run()
    assert [message for message in errors(caplog) if "failed" in message] == [
        f"The sender failed. It is started again in {delay:.0f} s" for delay in delays
    ]
    return delays


def test_worker_that_fails_again_and_again_is_started_later_each_time(monkeypatch, caplog):
    assert delays_after([1] * 7, monkeypatch, caplog) == [2, 4, 8, 16, 30, 30, 30]


def test_worker_that_ran_for_a_minute_is_started_again_soon(monkeypatch, caplog):
    assert delays_after([1, 1, 1, 61, 1], monkeypatch, caplog) == [2, 4, 8, 2, 4]


def test_thread_that_is_told_to_stop_between_two_workers_ends_at_once(monkeypatch, caplog):
    failing = threading.Event()

    def fail(self):
        failing.set()
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(worker, "WakeUp", Mock)
    monkeypatch.setattr(Worker, "run", fail)
    thread = WorkerThread()
    thread.start()
    assert failing.wait(20)
    thread.stop()
    thread.join(1)
    assert not thread.is_alive()


def test_worker_that_fails_finishes_its_calls_and_closes_its_connections(
    network, queued, monkeypatch
):
    network.set_mode("slow:0.5")
    message, failing = queued(), Worker()

    def fail(wait):
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(failing, "_rest", fail)
    with pytest.raises(ZeroDivisionError), ThreadPoolExecutor(1) as thread:
        thread.submit(failing.run).result(20)
    assert state_of(message) == MessageState.SUBMITTED
    assert [opened.connection for opened in failing._opened] == [None] * len(failing._opened)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no such limits")
def test_time_limits_of_the_web_are_not_for_the_sender_beside_it(monkeypatch):
    """Both processes get the limits through the same environment."""
    monkeypatch.setattr(worker, "WakeUp", Mock)
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=4000 -c jit=off")

    def limit():
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            found = cursor.fetchone()[0]
        connection.close()
        return found

    with ThreadPoolExecutor(1) as web:
        assert web.submit(limit).result(20) == "4s"
    as_started = Worker(libpq_options="-c statement_timeout=77000")
    with ThreadPoolExecutor(1, initializer=as_started._prepare_connection) as sender:
        assert sender.submit(limit).result(20) == "77s"
    alone = Worker()
    with ThreadPoolExecutor(1, initializer=alone._prepare_connection) as sender:
        assert sender.submit(limit).result(20) == "4s"
