"""Choices that cannot be carried out: too late, closed, full."""

import datetime as dt

import pytest
import time_machine

from bookings.dispatch import bookings as dispatch
from bookings.models import Outcome
from tests.factories import BookingFactory, SlotFactory, in_days
from tests.flow.replies.conftest import THURSDAY, TUESDAY, fill, slot_now, tuesday_booking
from tests.processes import VIRTUAL_NUMBER

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.mark.parametrize(
    ("moment", "outcome"),
    [("20:59:59", Outcome.MOVED), ("21:00:00", Outcome.TOO_LATE), ("23:00:00", Outcome.TOO_LATE)],
)
def test_a_reply_at_the_instant_of_closing_is_late(clock, ask, reply, moment, outcome):
    booking = tuesday_booking()
    ask(booking)
    clock.move_to(f"2026-11-23T{moment}Z")
    inbound = reply(booking.msisdn, "2")
    assert inbound.outcome == outcome
    assert (slot_now(booking).date == THURSDAY) is (outcome == Outcome.MOVED)


@pytest.mark.parametrize(
    ("clock_change", "closes_at"),
    [("2026-03-29", "2026-03-28T21:00:00Z"), ("2026-10-25", "2026-10-24T20:00:00Z")],
)
def test_the_cut_off_is_so_many_hours_earlier_on_the_wall_clock(
    ask, reply, clock_change, closes_at
):
    date = dt.date.fromisoformat(clock_change)
    with time_machine.travel(f"{date - dt.timedelta(days=2)}T09:00:00Z", tick=False) as clock:
        booking = BookingFactory.create(slot=SlotFactory.create(date=date))
        ask(booking)
        clock.move_to(dt.datetime.fromisoformat(closes_at) - dt.timedelta(seconds=1))
        assert reply(booking.msisdn, "1").outcome == Outcome.KEPT
        clock.move_to(closes_at)
        assert reply(booking.msisdn, "2").outcome == Outcome.TOO_LATE


def test_chosen_slot_cannot_be_left_after_its_cutoff(clock, ask, reply):
    booking = BookingFactory.create(slot=SlotFactory.create(date=THURSDAY))
    earlier = SlotFactory.create(date=TUESDAY)
    ask(booking, slots=[booking.slot, earlier])
    moved = reply(booking.msisdn, "2")
    assert moved.outcome == Outcome.MOVED
    assert "To change it again reply 1 before Mon 23 Nov 21:00." in moved.answers.get().text
    clock.move_to("2026-11-24T08:00:00Z")  # an hour before it comes
    assert reply(booking.msisdn, "1").outcome == Outcome.TOO_LATE
    assert slot_now(booking) == earlier


def moved_by_staff(booking):
    dispatch.move(booking, SlotFactory.create(date=in_days(9)))


def phone_changed(booking):
    dispatch.change_phone(booking, "447700900777")


@pytest.mark.parametrize("act", [moved_by_staff, dispatch.cancel, phone_changed])
def test_a_withdrawn_notification_cannot_be_answered(ask, reply, act):
    booking = BookingFactory.create()
    msisdn = booking.msisdn
    ask(booking)
    act(booking)
    standing = slot_now(booking)
    inbound = reply(msisdn, "2")
    assert (inbound.outcome, inbound.booking) == (Outcome.CLOSED, booking)
    assert slot_now(booking) == standing
    assert inbound.answers.get().sender == VIRTUAL_NUMBER


def test_digits_keep_their_old_meaning_until_they_have_rested(ask, reply):
    booking = BookingFactory.create()
    ask(booking)
    again = ask(booking)
    inbound = reply(booking.msisdn, "2")
    assert inbound.outcome == Outcome.CLOSED
    assert f"You can still answer: Parcel {booking.reference}: 4 (" in inbound.answers.get().text
    assert reply(booking.msisdn, "5").outcome == Outcome.MOVED
    assert slot_now(booking) == again.options.get(digit=5).slot


def test_reply_after_the_delivery_is_answered_that_it_is_over(clock, ask, reply):
    booking = tuesday_booking()
    ask(booking)
    clock.move_to("2026-11-24T13:00:00Z")
    inbound = reply(booking.msisdn, "2")
    assert inbound.outcome == Outcome.CLOSED
    assert "was planned for Tue 24 Nov 09:00-12:00" in inbound.answers.get().text


def test_full_slot_is_answered_with_the_remaining_options(ask, reply):
    booking = BookingFactory.create()
    notification = ask(booking)
    fill(notification.options.get(digit=2).slot)
    inbound = reply(booking.msisdn, "2")
    assert inbound.outcome == Outcome.FULL
    assert not inbound.attention
    assert slot_now(booking) == notification.slot
    assert "or 3 (post office)" in inbound.answers.get().text
    assert "2 (" not in inbound.answers.get().text
    assert reply(booking.msisdn, "3").outcome == Outcome.MOVED


def test_choice_without_any_other_free_slot_needs_a_person(settings, ask, reply):
    settings.OFFER_POST_OFFICE = False
    booking = BookingFactory.create()
    notification = ask(booking)
    fill(notification.options.get(digit=2).slot)
    inbound = reply(booking.msisdn, "2")
    assert inbound.outcome == Outcome.FULL
    assert inbound.attention == "No other slot has room for this customer."
    assert "No other time is free" in inbound.answers.get().text


def test_room_is_counted_without_the_booking_itself(ask, reply):
    booking = BookingFactory.create()
    notification = ask(booking)
    reply(booking.msisdn, "2")
    full = notification.options.get(digit=2).slot
    full.capacity = 1
    full.save()
    assert reply(booking.msisdn, "2").outcome == Outcome.ALREADY
