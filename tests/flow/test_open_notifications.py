"""Notifications: closing, withdrawal, and customers who cannot be asked."""

import datetime as dt
import io

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction

from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.models import (
    ChangeCause,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    Outcome,
    Place,
)
from bookings.notifications.asking import CannotNotify, close_past, notify
from bookings.notifications.drafts import draft_notification
from tests.factories import BookingFactory, SlotFactory
from tests.flow.clock import clock_at, wall

pytestmark = pytest.mark.django_db

MON, TUE, WED, THU, FRI = (dt.date(2026, 11, 23 + ahead) for ahead in range(5))
FIXED_LINE = "442079460000"


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


@pytest.fixture
def booking():
    return BookingFactory.create(slot=SlotFactory.create(date=TUE))


def state(notification):
    notification.refresh_from_db()
    return notification.state


def day(booking):
    booking.refresh_from_db()
    return booking.slot.date


# Time of closing


def test_notification_closes_at_the_cutoff_of_the_slot_at_asking(booking):
    assert notify(booking).closes_at == wall("2026-11-23 21:00")


def test_a_later_change_of_the_setting_does_not_change_when_it_closes(settings, booking):
    notification = notify(booking)
    settings.CHANGE_CUTOFF_HOURS = 1
    notification.refresh_from_db()
    assert notification.closes_at == wall("2026-11-23 21:00")


@pytest.mark.parametrize(
    ("moment", "outcome", "at_last"),
    [
        pytest.param("2026-11-23 20:59:59.999999", Outcome.MOVED, WED, id="just before"),
        pytest.param("2026-11-23 21:00", Outcome.TOO_LATE, TUE, id="at that instant"),
        pytest.param("2026-11-23 21:00:01", Outcome.TOO_LATE, TUE, id="after"),
    ],
)
@pytest.mark.parametrize("is_swept", [True, False], ids=["swept", "not swept"])
def test_a_reply_counts_until_the_close(
    booking, clock, reply, drain, moment, outcome, at_last, is_swept
):
    notify(booking)
    drain()
    clock(moment)
    if is_swept:
        close_past()
    assert reply(booking.msisdn, "2").outcome == outcome
    assert day(booking) == at_last


def test_time_of_receipt_decides_and_not_the_time_of_writing(booking, clock, reply, drain):
    notify(booking)
    drain()
    clock("2026-11-23 21:05")
    late = reply(booking.msisdn, "2", **{"message-timestamp": "2026-11-23 20:50:00"})
    assert late.outcome == Outcome.TOO_LATE


def test_a_move_to_a_later_slot_does_not_open_the_notification_for_longer(
    booking, clock, reply, drain
):
    notify(booking)
    drain()
    reply(booking.msisdn, "2")
    clock("2026-11-23 21:00")
    assert reply(booking.msisdn, "1").outcome == Outcome.TOO_LATE
    assert day(booking) == WED


def test_an_answer_does_not_close_it_and_the_latest_valid_answer_wins(booking, reply, drain):
    notification = notify(booking)
    drain()
    for text, outcome, at_last in [
        ("2", Outcome.MOVED, (Place.DOOR, WED)),
        ("3", Outcome.MOVED, (Place.POST_OFFICE, TUE)),
        ("nonsense about it", Outcome.NOT_UNDERSTOOD, (Place.POST_OFFICE, TUE)),
        ("1", Outcome.MOVED, (Place.DOOR, TUE)),
        ("2", Outcome.MOVED, (Place.DOOR, WED)),
    ]:
        assert reply(booking.msisdn, text).outcome == outcome
        booking.refresh_from_db()
        assert (booking.slot.place, booking.slot.date) == at_last
    assert state(notification) == NotificationState.OPEN


# Closed by the clock


def test_sweep_closes_notifications_past_their_close(booking, clock):
    notification = notify(booking)
    clock("2026-11-23 20:59")
    assert close_past() == 0
    clock("2026-11-23 21:00")
    assert close_past() == 1
    assert state(notification) == NotificationState.CLOSED
    assert notification.closed_at == notification.closes_at
    assert notification.outbound_messages.get().state == MessageState.CANCELLED


def test_running_the_outbox_sweeps(booking, clock, drain):
    notification = notify(booking)
    drain()
    clock("2026-11-23 22:00")
    drain()
    assert state(notification) == NotificationState.CLOSED
    assert notification.closed_at == wall("2026-11-23 21:00")
    assert notification.outbound_messages.get().state == MessageState.SUBMITTED


def test_notify_closes_the_customers_notifications_past_their_close(booking, clock):
    notification = notify(booking)
    clock("2026-11-23 22:00")
    other = BookingFactory.create(msisdn=booking.msisdn, slot=SlotFactory.create(date=THU))
    notify(other)
    assert state(notification) == NotificationState.CLOSED


def test_asking_again_after_the_close_does_not_say_withdrawn(booking, clock, reply, drain):
    notification = notify(booking)
    drain()
    reply(booking.msisdn, "2")
    clock("2026-11-23 22:00")
    second = notify(booking)
    assert state(notification) == NotificationState.CLOSED
    assert not notification.withdrawn_because
    assert state(second) == NotificationState.OPEN


# Withdrawn


def move_by_staff(booking):
    dispatch.move(booking, SlotFactory.create(date=FRI))


def move_by_import(booking):
    dispatch.move(booking, SlotFactory.create(date=FRI), cause=ChangeCause.IMPORT)


def change_phone(booking):
    dispatch.change_phone(booking, "447911123456")


@pytest.mark.parametrize(
    ("act", "because"),
    [
        pytest.param(move_by_staff, "moved to Fri 27 Nov 2026", id="moved by staff"),
        pytest.param(move_by_import, "moved to Fri 27 Nov 2026", id="moved by import"),
        pytest.param(dispatch.cancel, "cancelled", id="cancelled"),
        pytest.param(change_phone, "phone number changed", id="phone changed"),
        pytest.param(notify, "asked again", id="asked again"),
    ],
)
def test_booking_changes_withdraw_an_open_notification(booking, reply, drain, act, because):
    notification, phone = notify(booking), booking.msisdn
    drain()
    act(booking)
    assert state(notification) == NotificationState.WITHDRAWN
    assert because in notification.withdrawn_because
    assert notification.closed_at == wall("2026-11-23 10:00")
    before = day(booking)
    assert reply(phone, "2").outcome == Outcome.CLOSED
    assert day(booking) == before


def test_notification_past_its_close_is_closed_and_not_withdrawn(booking, clock):
    notification = notify(booking)
    clock("2026-11-23 22:00")
    dispatch.cancel(booking)
    assert state(notification) == NotificationState.CLOSED
    assert notification.withdrawn_because == ""
    assert notification.closed_at == wall("2026-11-23 21:00")


def test_move_to_the_same_slot_withdraws_nothing(booking):
    notification = notify(booking)
    assert dispatch.move(booking, booking.slot) is None
    dispatch.change_phone(booking, booking.msisdn)
    assert state(notification) == NotificationState.OPEN


def test_asking_again_leaves_one_open_notification(booking):
    first, second = notify(booking), notify(booking)
    assert state(first) == NotificationState.WITHDRAWN
    assert list(Notification.objects.open()) == [second]


def test_the_database_allows_one_open_notification_for_a_booking(booking):
    notification = notify(booking)
    with pytest.raises(IntegrityError), transaction.atomic():
        Notification.objects.create(
            booking=booking,
            msisdn=booking.msisdn,
            virtual_number=notification.virtual_number,
            slot=booking.slot,
            closes_at=notification.closes_at,
        )


def test_if_it_cannot_be_asked_again_the_open_notification_stays(booking, clock):
    notification = notify(booking)
    clock("2026-11-23 20:45")
    with pytest.raises(CannotNotify):
        notify(booking)
    assert state(notification) == NotificationState.OPEN
    assert notification.outbound_messages.get().state == MessageState.QUEUED


def test_the_same_key_asks_once(booking):
    notification = notify(booking, idempotency_key="form:1")
    with pytest.raises(IntegrityError), transaction.atomic():
        notify(booking, idempotency_key="form:1")
    earlier = OutboundMessage.objects.get(idempotency_key="form:1").notification
    assert earlier == notification
    assert state(notification) == NotificationState.OPEN


def test_notify_reads_the_current_phone_number(booking):
    dispatch.change_phone(type(booking).objects.get(pk=booking.pk), "447911123456")
    assert notify(booking).msisdn == "447911123456"


# Customers who cannot be asked


def cancelled(booking):
    dispatch.cancel(booking)


def opted_out(booking):
    consent.change(booking.msisdn, is_opted_out=True, words="STOP")


def fixed_line(booking):
    dispatch.change_phone(booking, FIXED_LINE)


@pytest.mark.parametrize(
    ("circumstance", "reason"),
    [
        (cancelled, "The booking is cancelled."),
        (opted_out, "The customer has opted out."),
        (fixed_line, "This number cannot receive SMS: call instead."),
    ],
)
def test_unreachable_customer_is_refused_with_a_sentence(booking, circumstance, reason):
    circumstance(booking)
    booking.refresh_from_db()
    for ask in (draft_notification, notify):
        with pytest.raises(CannotNotify) as refusal:
            ask(booking)
        assert str(refusal.value) == reason
    assert not Notification.objects.exists()
    assert not OutboundMessage.objects.exists()


@pytest.mark.parametrize(
    ("sender", "reason"),
    [
        ("Acme", "cannot reply to a name"),
        ("447700900777", "not one of our numbers"),
    ],
    ids=["a name", "not ours"],
)
def test_a_sender_that_cannot_be_replied_to_is_refused(settings, booking, sender, reason):
    settings.VONAGE_NUMBERS = ["447700900000", "Acme"]
    with pytest.raises(CannotNotify, match=reason):
        notify(booking, sender=sender)


def test_a_name_as_the_first_of_our_numbers_is_refused_too(settings, booking):
    settings.VONAGE_NUMBERS = ["Acme", "447700900000"]
    with pytest.raises(CannotNotify, match="cannot reply to a name"):
        notify(booking)
    assert notify(booking, sender="447700900000").virtual_number == "447700900000"


def test_our_second_number_sends_only_when_it_is_picked(settings, booking, drain):
    settings.VONAGE_NUMBERS = ["447700900000", "447700900001"]
    notify(booking)
    notify(booking, sender="447700900001")
    other = BookingFactory.create(slot=booking.slot)
    notify(other)
    assert {form["to"]: form["from"] for form in drain()} == {
        booking.msisdn: "447700900001",
        other.msisdn: "447700900000",
    }


def test_opt_out_after_the_notification_stops_all_texts(booking, drain):
    notification = notify(booking)
    opted_out(booking)
    assert drain() == []
    assert notification.outbound_messages.get().state == MessageState.CANCELLED


def test_a_fixed_line_is_listed_as_not_asked_with_the_reason(booking):
    fixed_line(booking)
    said = io.StringIO()
    call_command("send_notifications", stdout=said)
    assert "not asked: This number cannot receive SMS" in said.getvalue()
