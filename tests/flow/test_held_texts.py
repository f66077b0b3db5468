"""A restored old backup sends nothing: texts queued while no sender worked are held for Ops.

Leases and senders live in the database's time, which tests cannot move: so they date rows back.
"""

import datetime as dt
import logging

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from bookings.customers import consent
from bookings.models import (
    Kind,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    Sender,
)
from bookings.notifications.asking import notify
from bookings.operations.maintenance import sweep
from bookings.outbox import holding
from bookings.outbox.claiming import claim
from bookings.outbox.sending import start_call
from tests.factories import BookingFactory, OutboundMessageFactory
from tests.flow.conftest import begin_call

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def minutes(count):
    return dt.timedelta(minutes=count)


def last_sender(ago):
    """Date the last sender back to `ago` before now, and its leases to a minute later."""
    Sender.objects.all().delete()
    Sender.objects.create(name="of the backup", seen_at=Now() - ago)
    sending = OutboundMessage.objects.filter(state=MessageState.SENDING)
    sending.update(lease_until=Now() - ago + minutes(1))


@pytest.fixture
def old_backup(queued):
    """Create an old backup's texts: one queued, one claimed, two with an unknown outcome."""
    called, answered = queued(Kind.TOLD), queued()
    start_call(*claim(1).messages)
    start_call(*claim(1).messages)
    claimed = queued(Kind.STAFF, priority=1)
    claim(1)
    waiting = queued(Kind.NOTIFICATION)
    last_sender(minutes(31))
    return {"called": called, "answered": answered, "claimed": claimed, "waiting": waiting}


def is_held(message):
    message.refresh_from_db()
    return message.is_held


def later(time_machine, hours=1):
    time_machine.move_to(timezone.now() + dt.timedelta(hours=hours))


def test_a_restored_old_backup_sends_nothing_by_itself(
    network, old_backup, drain, caplog, time_machine
):
    assert drain() == []
    later(time_machine)
    assert drain() == []
    assert {name for name, message in old_backup.items() if is_held(message)} == {
        "called",
        "claimed",
        "waiting",
    }
    assert old_backup["called"].state == MessageState.UNKNOWN
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "3 texts" in error.getMessage()
    assert "Release or drop" in error.getMessage()


def test_new_texts_flow_while_old_ones_are_held(network, old_backup, drain):
    drain()
    new = OutboundMessageFactory.create(kind=Kind.HELP, gateway="vonage")
    assert [form["to"] for form in drain()] == [new.msisdn]
    assert not is_held(new)


@pytest.mark.parametrize("ago", [minutes(0), minutes(29)])
def test_nothing_is_held_while_senders_are_at_work(network, queued, drain, ago):
    last_sender(ago)
    queued()
    assert len(drain()) == 1


def test_in_a_new_installation_nothing_is_held(network, queued, drain):
    queued(queued_at=timezone.now() - dt.timedelta(days=3))
    assert len(drain()) == 1


def test_night_without_sender_or_texts_holds_nothing(network, queued, drain, caplog):
    last_sender(dt.timedelta(hours=12))
    drain()
    queued()
    assert len(drain()) == 1
    assert "held" not in caplog.text


def test_wrong_local_clock_holds_no_texts(network, queued, drain, time_machine):
    drain()
    later(time_machine, hours=72)
    queued()
    assert len(drain()) == 1


def test_a_held_notification_is_not_asked_afresh(network, queued, drain):
    stale = queued(Kind.NOTIFICATION, valid_until=timezone.now())
    last_sender(minutes(31))
    drain()
    stale.refresh_from_db()
    assert (stale.state, stale.is_held) == (MessageState.QUEUED, True)
    assert Notification.objects.count() == 1


def test_held_text_is_cancelled_with_its_booking(network, queued, drain):
    message = queued()
    last_sender(minutes(31))
    drain()
    consent.change(message.msisdn, is_opted_out=True, words="STOP")
    sweep()
    assert not holding.held().exists()
    message.refresh_from_db()
    assert message.state == MessageState.CANCELLED


# Released


def test_released_texts_are_sent(network, old_backup, drain):
    drain()
    assert holding.release() == 3
    assert not holding.held().exists()
    assert sorted(form["to"] for form in drain()) == sorted(
        old_backup[name].msisdn for name in ("claimed", "waiting")
    )


def test_released_text_with_unknown_outcome_is_sent_once_more(
    network, old_backup, drain, time_machine
):
    drain()
    holding.release([old_backup["called"].pk])
    later(time_machine)
    assert [form["to"] for form in drain()] == [old_backup["called"].msisdn]


def test_released_notification_that_became_outdated_is_asked_afresh(network, drain):
    booking = BookingFactory.create()
    stale = notify(booking)
    OutboundMessage.objects.update(gateway="vonage", valid_until=timezone.now())
    last_sender(minutes(31))
    drain()
    assert holding.release([stale.outbound_messages.get().pk]) == 1
    (form,) = drain()
    assert form["to"] == booking.msisdn
    assert Notification.objects.open().get() != stale


def test_only_held_texts_are_released_or_dropped(network, queued, drain):
    message, other = queued(), queued()
    assert holding.release([message.pk]) == holding.drop([message.pk]) == holding.drop() == 0
    last_sender(minutes(31))
    drain()
    assert holding.release([message.pk]) == 1
    assert holding.release([message.pk]) == 0
    assert holding.drop([message.pk, other.pk]) == 1
    assert [form["to"] for form in drain()] == [message.msisdn]


# Dropped


def test_dropped_texts_are_never_sent(network, old_backup, drain, time_machine):
    drain()
    assert holding.drop() == 3
    assert not holding.held().exists()
    later(time_machine)
    assert drain() == []
    waiting = old_backup["waiting"]
    waiting.refresh_from_db()
    assert (waiting.state, waiting.reason) == (
        MessageState.CANCELLED,
        "on hold, then cancelled",
    )


def test_a_notification_whose_text_is_dropped_can_be_asked_again(network, old_backup, drain):
    drain()
    notification = Notification.objects.get(pk=old_backup["waiting"].notification_id)
    holding.drop()
    notification.refresh_from_db()
    assert notification.state == NotificationState.WITHDRAWN
    assert not notification.options.filter(is_held=True).exists()
    assert notify(notification.booking).state == NotificationState.OPEN


def test_dropping_a_possibly_read_text_leaves_its_notification_open(network, queued, drain):
    message = queued(Kind.NOTIFICATION)
    begin_call()
    last_sender(minutes(31))
    drain()
    assert holding.drop() == 1
    assert Notification.objects.get(pk=message.notification_id).state == NotificationState.OPEN


# Senders


def test_senders_of_long_ago_are_forgotten_and_the_last_one_never(network, drain):
    last_sender(dt.timedelta(days=9))
    Sender.objects.create(name="another of the backup", seen_at=Now() - dt.timedelta(hours=20))
    drain()
    names = set(Sender.objects.values_list("name", flat=True))
    assert "of the backup" not in names
    assert len(names) == 2


def test_a_sender_is_seen_in_the_databases_time(network, drain, time_machine):
    later(time_machine, hours=72)
    drain()
    (seen_at,) = Sender.objects.values_list("seen_at", flat=True)
    assert seen_at < timezone.now() - dt.timedelta(hours=71)
