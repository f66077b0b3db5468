"""The sender that runs for days: what it looks at between two rounds, and what makes it stop sending."""

import datetime as dt
import logging
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from django.db import OperationalError, connection
from django.db.models.functions import Now

from bookings.management.commands.run_outbox import SWEEP_EVERY, Sender
from bookings.models import Kind, MessageState
from bookings.models import Sender as SenderRow
from bookings.outbox.pace import database_now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sender(network):
    """A sender of one thread; `round` lets it go once round, `look` lets it sweep before."""
    with SteppedSender() as stepped:
        yield stepped


class SteppedSender(Sender):
    def __init__(self) -> None:
        super().__init__(threads=1)
        self._pool = ThreadPoolExecutor(1, initializer=self._note_connection)

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self._pool.shutdown()
        self._close_connections()
        self._bell.close()

    def round(self) -> None:
        self._bell.strike()  # so that it does not rest
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
def test_a_sender_whose_clock_is_wrong_sends_nothing_until_it_is_right_again(
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
    assert SenderRow.objects.count() == 1  # it is alive: nothing is held for its silence
    time_machine.move_to(database_now() + dt.timedelta(seconds=15))
    sender.look()
    assert state_of(message) == MessageState.SUBMITTED
    assert len(errors(caplog)) == 1


def test_a_small_difference_of_the_clocks_does_no_harm(network, queued, sender, time_machine):
    message = queued()
    time_machine.move_to(database_now() + dt.timedelta(seconds=15))
    sender.look()
    assert state_of(message) == MessageState.SUBMITTED


def test_a_database_that_comes_back_as_an_old_backup_is_looked_at_before_anything_is_sent(
    network, queued, sender
):
    def refuse(execute, sql, params, many, context):
        raise OperationalError("the database is being restored")

    sender.look()
    with connection.execute_wrapper(refuse):
        sender.round()
    SenderRow.objects.update(seen_at=Now() - dt.timedelta(hours=5))
    message = queued()
    sender.round()
    message.refresh_from_db()
    assert (message.state, message.is_held) == (MessageState.QUEUED, True)
    assert network.count() == 0
