"""Several senders at one batch, and a batch that is stopped while it is being asked."""

import time
from threading import Event

import pytest
from django.db import connection, transaction
from django.utils import timezone

from bookings.models import (
    Batch,
    Booking,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    StaffAct,
    lock_customer,
)
from bookings.notifications import batches
from bookings.notifications.asking import withdraw
from bookings.notifications.batches import ask_waiting
from bookings.notifications.reminders import send_reminders
from bookings.outbox.claiming import claim
from bookings.outbox.sending import start_call
from tests.factories import (
    BookingFactory,
    OutboundMessageFactory,
    SlotFactory,
    UserFactory,
    in_days,
)
from tests.processes import VIRTUAL_NUMBER
from tests.races.simultaneous import at_once

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 5


def start(count: int, **fields) -> Batch:
    slot = SlotFactory.create(date=in_days(4), capacity=None)
    keys = [booking.pk for booking in BookingFactory.create_batch(count, slot=slot)]
    return batches.start_batch(
        Booking.objects.filter(pk__in=keys),
        nonce="nonce",
        user=UserFactory.create(),
        sender=VIRTUAL_NUMBER,
        **fields,
    )


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_two_senders_at_once_ask_each_customer_once(attempt):
    batch = start(6)
    assert at_once(ask_waiting, ask_waiting) == [6, 6]
    assert OutboundMessage.objects.count() == Notification.objects.count() == 6
    assert set(batch.entries.values_list("left_out", flat=True)) == {""}
    assert batch.entries.exclude(notification=None).count() == 6


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_a_page_that_is_confirmed_twice_at_once_starts_one_batch(attempt):
    keys = [booking.pk for booking in BookingFactory.create_batch(3)]
    user = UserFactory.create()

    def confirm() -> Batch:
        chosen = Booking.objects.filter(pk__in=keys)
        return batches.start_batch(chosen, nonce="same", user=user, sender=VIRTUAL_NUMBER)

    first, second = at_once(confirm, confirm)
    assert first == second
    assert Batch.objects.get().entries.count() == 3


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_pausing_a_batch_stops_it_after_the_current_customers(attempt, settings):
    settings.QUIET_HOURS, settings.SMS_RATE_PER_SECOND = None, 1000
    batch, user = start(8), UserFactory.create()

    def pause() -> int:
        assert batches.pause_batch(batch, user)
        return Notification.objects.count()

    *looked_at, asked = at_once(ask_waiting, ask_waiting, pause)
    assert not [each for each in looked_at if isinstance(each, Exception)], looked_at
    assert Notification.objects.count() <= asked + 2  # each sender was at one
    assert ask_waiting() == 0
    assert claim(10).messages == []

    assert batches.resume_batch(batch, user)
    ask_waiting()
    assert len(claim(10).messages) == Notification.objects.count() == 8


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_cancelling_a_batch_stops_it_after_the_current_customers(attempt):
    batch, user = start(8), UserFactory.create()

    def cancel() -> int:
        assert batches.cancel_batch(batch, user)
        return Notification.objects.count()

    *looked_at, asked = at_once(ask_waiting, ask_waiting, cancel)
    assert not [each for each in looked_at if isinstance(each, Exception)], looked_at
    assert Notification.objects.count() <= asked + 2
    left_out = batch.entries.exclude(left_out="").count()
    assert left_out + Notification.objects.count() == 8


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_cancellation_wins_over_a_simultaneous_pause(attempt):
    batch, user = start(3), UserFactory.create()
    found = at_once(
        lambda: batches.pause_batch(batch, user), lambda: batches.cancel_batch(batch, user)
    )
    assert found[1] is True, found
    batch.refresh_from_db()
    assert batch.state == "cancelled"
    acts = StaffAct.objects.filter(kind__in=["paused", "cancelled"])
    assert acts.count() == sum(found)
    assert not batch.entries.waiting().exists()


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_sweep_leaves_no_queued_text_of_a_batch_cancelled_while_asking(attempt):
    batch, user = start(6), UserFactory.create()
    failures = at_once(ask_waiting, lambda: batches.cancel_batch(batch, user))
    assert not [each for each in failures if isinstance(each, Exception)], failures
    batches.withdraw_cancelled()
    assert not OutboundMessage.objects.queued().exists()
    assert not Notification.objects.open().exists()
    assert not batch.entries.waiting().exists()


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_a_text_is_handed_over_or_withdrawn_when_its_batch_is_cancelled(attempt, settings):
    settings.QUIET_HOURS = None
    batch, user = start(1), UserFactory.create()
    ask_waiting()
    (message,) = claim(1).messages
    at_once(lambda: start_call(message), lambda: batches.cancel_batch(batch, user))
    message.refresh_from_db()
    notification = Notification.objects.get()
    was_called = message.call_started_at is not None
    assert was_called == (notification.handed_over_at is not None) == (notification.state == "open")
    assert was_called == (message.state != MessageState.CANCELLED)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one lock for all")
def test_a_batch_is_cancelled_while_an_import_withdraws_its_reminders_in_another_order():
    batch, user = start(2), UserFactory.create()
    ask_waiting()
    OutboundMessage.objects.update(state=MessageState.DELIVERED)
    Notification.objects.update(handed_over_at=timezone.now())
    first, second = Booking.objects.order_by("pk")
    for notification in Notification.objects.order_by("pk"):
        OutboundMessageFactory.create(kind=Kind.REMINDER, notification=notification)
    has_begun = Event()

    def withdraw_both() -> None:
        with transaction.atomic():
            lock_customer(first.msisdn, second.msisdn)
            withdraw(second, "moved")
            has_begun.set()
            time.sleep(0.5)
            withdraw(first, "moved")

    def cancel() -> bool:
        has_begun.wait(30)
        return batches.cancel_batch(batch, user)

    assert at_once(withdraw_both, cancel) == [None, True]
    assert not OutboundMessage.objects.queued().exists()


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_two_senders_at_once_remind_once(attempt, settings):
    settings.QUIET_HOURS = None
    batch = start(1, with_reminder=True)
    ask_waiting()
    notification = batch.entries.get().notification
    assert notification is not None
    notification.handed_over_at = notification.remind_at = notification.created_at
    notification.save()
    found = at_once(send_reminders, send_reminders)
    assert not [each for each in found if isinstance(each, Exception)], found
    assert OutboundMessage.objects.filter(kind="reminder").count() == 1
