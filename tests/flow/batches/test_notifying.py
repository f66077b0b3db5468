"""Senders ask a batch's customers a few at a time, with texts that are true when they leave."""

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bookings.dispatch import bookings as dispatch
from bookings.models import BatchEntry, Notification, NotificationState, OutboundMessage, SlotOption
from bookings.notifications.asking import renew_stale
from bookings.notifications.batches import ask_waiting
from bookings.notifications.batches import progress as progress_of
from bookings.notifications.drafts import draft_notification
from bookings.operations.invariants import find_contradictions
from tests.factories import BookingFactory, SlotFactory
from tests.flow.batches.conftest import TUE, parcels, send_now, start
from tests.flow.clock import wall
from tests.processes import VIRTUAL_NUMBER

pytestmark = [pytest.mark.django_db, pytest.mark.database]

#: For one customer of a batch, with its savepoints.
MOST_QUERIES = 23


def test_a_draining_sender_asks_and_sends_all_of_a_batch(drain):
    batch = start(parcels(25))
    assert len(drain()) == 25
    found = progress_of.of(batch)
    assert (found.total, found.waiting, found.asked, found.handed_over) == (25, 0, 25, 25)
    assert list(find_contradictions()) == []


def test_a_batch_goes_on_where_a_crash_left_it(network, drain):
    batch = start(parcels(5))
    ask_waiting(2)
    assert progress_of.of(batch).waiting == 3
    assert len(drain()) == 5
    keys = OutboundMessage.objects.values_list("idempotency_key", flat=True)
    entries = batch.entries.values_list("booking", flat=True)
    assert set(keys) == {f"batch:{batch.pk}:{booking}" for booking in entries}


def test_a_booking_on_which_our_software_fails_holds_up_no_other(monkeypatch, drain):
    first, *_ = chosen = parcels(3)
    batch = start(chosen)
    OutboundMessage.objects.create(  # a key that was used before: nobody expects that
        idempotency_key=f"batch:{batch.pk}:{first.pk}",
        kind="staff",
        msisdn=first.msisdn,
        sender=VIRTUAL_NUMBER,
        text="x",
        gateway="simulator",
    )
    assert len(drain()) == 2
    assert "Notify this customer separately" in batch.entries.get(booking=first).left_out


def test_a_booking_that_was_cancelled_since_is_left_out_and_says_why(drain):
    gone, kept = parcels(2)
    batch = start([gone, kept])
    dispatch.cancel(gone)
    assert len(drain()) == 1
    assert batch.entries.get(booking=gone).left_out == "The booking is cancelled."
    assert progress_of.of(batch).reasons == [("The booking is cancelled.", 1)]


def test_a_customer_of_a_batch_is_asked_in_the_words_of_a_single_notification():
    """Options are looked up once for all deliveries in one slot."""
    thursday, tuesday = parcels(3), parcels(2, date=TUE)
    alone = [draft_notification(booking) for booking in (*thursday, *tuesday)]
    start([*thursday, *tuesday])
    ask_waiting()
    texts = dict(OutboundMessage.objects.values_list("booking", "text"))
    assert texts == {planned.booking.pk: planned.text for planned in alone}
    offered = SlotOption.objects.values_list("notification__booking", "slot__date", "slot__place")
    assert set(offered) == {
        (planned.booking.pk, option.slot.date, option.slot.place)
        for planned in alone
        for option in planned.options
    }


def test_asking_takes_few_queries_for_each_customer():
    few, many = parcels(2), parcels(12)
    start(few)
    with CaptureQueriesContext(connection) as of_few:
        assert ask_waiting() == 2
    start(many)
    with CaptureQueriesContext(connection) as of_many:
        assert ask_waiting() == 12
    for_each = (len(of_many) - len(of_few)) / 10
    assert for_each <= MOST_QUERIES, for_each


def test_f12_a_batch_of_1950_sends_nothing_after_2000_and_new_dates_the_next_morning(
    clock, network, drain, settings
):
    settings.QUIET_HOURS = (dt.time(20), dt.time(8))
    settings.COMPANY_NAME = "Al\u2019s"
    clock("2026-11-23 19:50")
    night = SlotFactory.create(
        date=TUE, window_start=dt.time(22), window_end=dt.time(23), capacity=None
    )
    batch = start(BookingFactory.create_batch(40, slot=night), is_plain=True, with_reminder=True)
    ask_waiting(30)
    early = send_now(15)
    clock("2026-11-23 20:00")
    assert drain() == []
    clock("2026-11-24 00:01")
    assert drain() == []
    clock("2026-11-24 07:59")
    assert drain() == []
    clock("2026-11-24 08:00")
    sent = [form["text"] for form in drain()]
    late = [text for text in sent if "a reminder of" not in text]
    assert (len(early), len(late)) == (15, 25)
    assert len(sent) - len(late) == 15  # half-way was in the night: now those are reminded
    assert all("1 (tomorrow Tue 24 Nov)" in message.text for message in early)
    assert all("1 (today Tue 24 Nov), 2 (tomorrow Wed" in text and "Al's" in text for text in late)
    assert progress_of.of(batch).handed_over == 40
    assert BatchEntry.objects.filter(notification__state=NotificationState.OPEN).count() == 40
    assert Notification.objects.open().exclude(remind_at=None).count() == 25
    assert list(find_contradictions()) == []


def test_a_notification_that_is_asked_afresh_takes_the_place_of_the_old_one(clock):
    batch = start(parcels(1, date=TUE), with_reminder=True)
    ask_waiting()
    first = Notification.objects.get()
    OutboundMessage.objects.update(valid_until=wall("2026-11-23 09:59"))
    renew_stale()
    fresh = Notification.objects.get(batch_entry__batch=batch)
    assert fresh != first
    assert fresh.state == NotificationState.OPEN
    assert fresh.remind_at is not None
