"""Reminders: one, half-way to the close, for customers who have neither answered nor been moved."""

import datetime as dt

import pytest

from bookings.dispatch import bookings as dispatch
from bookings.dispatch import notices, ticket_actions
from bookings.language.encoding import count_parts
from bookings.models import Booking, Kind, MessageState, Notification, OutboundMessage, TicketKind
from bookings.notifications import batches
from bookings.notifications.reminders import send_reminders
from bookings.operations.invariants import find_contradictions
from tests.factories import BookingFactory, SlotFactory, TicketFactory, UserFactory
from tests.flow.clock import clock_at
from tests.processes import VIRTUAL_NUMBER

pytestmark = [pytest.mark.django_db, pytest.mark.database]

THU = dt.date(2026, 11, 26)  # its notifications close on Wed 25 Nov 21:00


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


@pytest.fixture
def booking(drain):
    """Asked on Monday at 10:00 with a reminder: half-way is Tuesday at 15:30."""
    booking = BookingFactory.create(slot=SlotFactory.create(date=THU))
    batches.start_batch(
        Booking.objects.filter(pk=booking.pk),
        nonce="nonce",
        user=UserFactory.create(),
        sender=VIRTUAL_NUMBER,
        with_reminder=True,
    )
    assert len(drain()) == 1
    return booking


def test_a_silent_customer_is_reminded_once_with_the_same_digits(booking, clock, drain):
    clock("2026-11-24 15:29")
    assert drain() == []
    clock("2026-11-24 15:31")
    (form,) = drain()
    assert "a reminder of your parcel" in form["text"]
    assert "1 (Thu 26 Nov), 2 (Fri 27 Nov) or 3 (post office)" in form["text"]
    assert count_parts(form["text"]) <= 2
    clock("2026-11-24 18:00")
    assert drain() == []
    assert list(find_contradictions()) == []


def test_a_reminder_can_be_answered(booking, clock, drain, reply):
    clock("2026-11-24 15:31")
    drain()
    assert reply(booking.msisdn, "2").outcome == "moved"


def test_f5_2_then_3_then_3_again_are_two_moves_three_acknowledgements_and_no_reminder(
    booking, clock, drain, reply
):
    outcomes, told = [], []
    for hour, text in ((11, "2"), (12, "3"), (13, "3")):
        clock(f"2026-11-23 {hour}:00")
        outcomes.append(reply(booking.msisdn, text).outcome)
        told += [form["text"] for form in drain()]
    assert outcomes == ["moved", "moved", "already"]
    assert booking.slot_changes.count() == 2
    assert len(told) == 3
    assert "is moved to Fri 27 Nov" in told[0]
    assert "is moved to the post office" in told[1]
    assert "is already planned for the post office" in told[2]
    clock("2026-11-24 15:31")
    assert drain() == []
    assert not OutboundMessage.objects.filter(kind=Kind.REMINDER).exists()


@pytest.mark.parametrize("text", ["1", "what is this?", "thanks", "STOP"])
def test_customer_who_has_written_is_not_reminded(text, booking, clock, drain, reply):
    reply(booking.msisdn, text)
    drain()
    clock("2026-11-24 15:31")
    assert drain() == []


def test_customer_told_by_phone_is_not_reminded(booking, clock, drain):
    notices.record_phone_call(booking, UserFactory.create())
    clock("2026-11-24 15:31")
    assert drain() == []


def test_phone_call_cancels_a_queued_reminder(booking, clock, drain):
    clock("2026-11-24 15:31")
    send_reminders()
    notices.record_phone_call(booking, UserFactory.create())
    assert drain() == []


def test_a_call_about_no_certain_delivery_drops_the_reminders_of_that_number(booking, clock, drain):
    clock("2026-11-24 15:31")
    send_reminders()
    ticket = TicketFactory.create(msisdn=booking.msisdn, booking=None)
    ticket_actions.told_by_phone(ticket, UserFactory.create())
    assert drain() == []


@pytest.mark.parametrize("is_late", [False, True], ids=["before it is due", "while it waits"])
def test_customer_with_a_slot_kept_by_staff_is_not_reminded(is_late, booking, clock, drain):
    asked = OutboundMessage.objects.get()
    about = {"inbound": None, "outbound": asked, "booking": booking, "msisdn": booking.msisdn}
    ticket = TicketFactory.create(kind=TicketKind.NO_RECEIPT, **about)
    if is_late:
        clock("2026-11-24 15:31")
        send_reminders()
    option = Notification.objects.get().options.get(digit=1)
    assert ticket_actions.choose_option(ticket, option, UserFactory.create())
    (told,) = drain()
    assert "stays" in told["text"]
    clock("2026-11-24 15:32")
    assert drain() == []


def test_a_reminder_that_waits_is_dropped_when_the_customer_writes(booking, clock, reply, drain):
    clock("2026-11-24 15:31")
    send_reminders()
    assert OutboundMessage.objects.get(kind=Kind.REMINDER).state == MessageState.QUEUED
    reply(booking.msisdn, "1")
    assert OutboundMessage.objects.get(kind=Kind.REMINDER).state == MessageState.CANCELLED
    assert len(drain()) == 1


@pytest.mark.parametrize("how", ["moved", "moved and back", "cancelled", "phone"])
def test_change_by_dispatch_stops_the_reminder(how, booking, clock, drain):
    other = SlotFactory.create(date=THU + dt.timedelta(days=4))
    clock("2026-11-24 15:31")
    send_reminders()
    match how:
        case "moved":
            dispatch.move(booking, other)
        case "moved and back":
            first = booking.slot
            dispatch.move(booking, other)
            dispatch.move(booking, first)
        case "cancelled":
            dispatch.cancel(booking)
        case "phone":
            dispatch.change_phone(booking, "447911123456")
    assert drain() == []
    assert not Notification.objects.open().exists()


def test_a_reminder_waits_for_the_end_of_the_quiet_hours(booking, clock, drain, settings):
    settings.QUIET_HOURS = (dt.time(15), dt.time(17))
    clock("2026-11-24 15:31")
    assert drain() == []
    clock("2026-11-24 17:00")
    assert len(drain()) == 1


def test_a_reminder_is_not_sent_with_less_than_half_an_hour_to_the_close(booking, clock, drain):
    clock("2026-11-25 20:31")
    assert drain() == []
    assert not OutboundMessage.objects.filter(kind=Kind.REMINDER).exists()


def test_reminder_offers_only_available_options(booking, clock, drain):
    friday = Notification.objects.get().options.get(digit=2).slot
    friday.capacity = 0
    friday.save()
    clock("2026-11-24 15:31")
    (form,) = drain()
    assert "Reply 1 (Thu 26 Nov) or 3 (post office) before" in form["text"]


def test_cancelled_batch_sends_no_reminders(booking, clock, drain):
    batches.cancel_batch(booking.batch_entries.get().batch, UserFactory.create())
    clock("2026-11-24 15:31")
    assert drain() == []


def test_notification_on_the_simulator_sends_no_reminder_to_a_real_phone(booking, clock, drain):
    OutboundMessage.objects.update(gateway="simulator")
    clock("2026-11-24 15:31")
    assert drain() == []
