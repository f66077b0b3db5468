"""One reply over the real webhook: read, decided, carried out, acknowledged."""

import datetime as dt

import pytest
from django.utils import timezone

from bookings.models import ChangeCause, MessageState, OutboundMessage, Outcome, Place
from tests.factories import (
    BookingFactory,
    NotificationFactory,
    SlotFactory,
    SlotOptionFactory,
    in_days,
)
from tests.flow.replies.conftest import THURSDAY, TUESDAY, slot_now, tuesday_booking
from tests.processes import VIRTUAL_NUMBER

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_a_digit_moves_the_booking_and_is_acknowledged(ask, reply):
    booking = BookingFactory.create()
    before = booking.slot
    notification = ask(booking)
    inbound = reply(booking.msisdn, "2")
    chosen = notification.options.get(digit=2)
    assert inbound.outcome == Outcome.MOVED
    assert (inbound.reading, inbound.rule, inbound.matched) == ("choice", "digit", "2")
    assert (inbound.booking, inbound.notification) == (booking, notification)
    assert inbound.option == chosen
    assert slot_now(booking) == chosen.slot
    change = booking.slot_changes.get()
    assert (change.from_slot, change.to_slot) == (before, chosen.slot)
    assert (change.cause, change.inbound) == (ChangeCause.REPLY, inbound)
    assert inbound.answers.get().state == MessageState.QUEUED
    assert not inbound.attention


@pytest.mark.parametrize(
    ("text", "digit"),
    [
        ("1", 1),
        ("Hi, 1 please. Thanks", 1),
        ("option 2", 2),
        ("\u0662", 2),
        ("2 (Thu 26 Nov)", 2),
        ("Thu 26 Nov", 2),
        ("thursday please", 2),
        ("tomorrow", 1),
        ("1 (tomorrow Tue 24 Nov)", 1),
        ("3\ufe0f\u20e3", 3),
        ("Post Office", 3),
    ],
)
def test_the_option_is_read_as_customers_write_it(clock, ask, reply, text, digit):
    booking = tuesday_booking()
    notification = ask(booking)
    inbound = reply(booking.msisdn, text)
    assert inbound.outcome == (Outcome.KEPT if digit == 1 else Outcome.MOVED)
    assert slot_now(booking) == notification.options.get(digit=digit).slot


@pytest.mark.parametrize(
    "text", ["1 or 2", "not 1", "12", "2pm", "2 tuesday", "door", "friday", "9"]
)
def test_ambiguous_reply_moves_nothing(clock, ask, reply, text):
    booking = tuesday_booking()
    notification = ask(booking)
    assert reply(booking.msisdn, text).outcome == Outcome.NOT_UNDERSTOOD
    assert slot_now(booking) == notification.slot


@pytest.mark.parametrize("text", ["2 (Thu 26 Nov 14:00-17:00)", "thu 26 nov 14:00-17:00"])
def test_an_exact_copy_of_an_option_with_its_window_is_read(clock, ask, reply, text):
    afternoon = SlotFactory.create(date=THURSDAY, window_start=dt.time(14), window_end=dt.time(17))
    booking = BookingFactory.create(slot=SlotFactory.create(date=TUESDAY))
    notification = ask(booking)
    assert "2 (Thu 26 Nov 14:00-17:00)" in notification.outbound_messages.get().text
    assert reply(booking.msisdn, text).outcome == Outcome.MOVED
    assert slot_now(booking) == afternoon


def test_reply_tomorrow_is_not_read_on_the_day_after_the_text(clock, ask, reply):
    booking = BookingFactory.create(slot=SlotFactory.create(date=TUESDAY + dt.timedelta(days=1)))
    ask(booking)  # on Monday, for Wednesday
    clock.move_to("2026-11-24T09:00:00Z")
    assert reply(booking.msisdn, "tomorrow").outcome == Outcome.NOT_UNDERSTOOD
    assert reply(booking.msisdn, "1").outcome == Outcome.KEPT


def test_latest_valid_reply_decides(ask, reply):
    booking = BookingFactory.create()
    notification = ask(booking)
    outcomes = [reply(booking.msisdn, text).outcome for text in "12331"]
    moved, kept, already = Outcome.MOVED, Outcome.KEPT, Outcome.ALREADY
    assert outcomes == [kept, moved, moved, already, moved]
    assert slot_now(booking) == notification.slot
    assert booking.slot_changes.count() == 3


def test_the_same_message_again_changes_nothing(ask, reply):
    booking = BookingFactory.create()
    notification = ask(booking)
    first = reply(booking.msisdn, "2", messageId="0CAAAA")
    reply(booking.msisdn, "3")
    assert reply(booking.msisdn, "2", messageId="0CAAAA") == first
    assert slot_now(booking) == notification.options.get(digit=3).slot
    assert OutboundMessage.objects.filter(in_reply_to=first).count() == 1


def test_each_of_two_parcels_has_digits_of_its_own(ask, reply):
    first = BookingFactory.create()
    second = BookingFactory.create(msisdn=first.msisdn)
    ask(first)
    asked_later = ask(second)
    assert [option.digit for option in asked_later.options.all()] == [4, 5, 6]
    kept_in = first.slot
    assert reply(first.msisdn, "5").booking == second
    inbound = reply(first.msisdn, "1")
    assert (inbound.booking, inbound.outcome) == (first, Outcome.KEPT)
    assert slot_now(second) == asked_later.options.get(digit=5).slot
    assert slot_now(first) == kept_in


def test_printed_words_that_fit_both_parcels_move_neither(ask, reply):
    first = BookingFactory.create()
    second = BookingFactory.create(msisdn=first.msisdn)
    before = [first.slot, second.slot]
    ask(first)
    ask(second)
    assert reply(first.msisdn, "post office").outcome == Outcome.NOT_UNDERSTOOD
    assert [slot_now(first), slot_now(second)] == before


def test_late_digit_of_one_parcel_moves_neither_and_names_open_options(clock, ask, reply):
    first = tuesday_booking()
    second = BookingFactory.create(msisdn=first.msisdn, slot=SlotFactory.create(date=THURSDAY))
    ask(first)
    ask(second)
    clock.move_to("2026-11-23T22:00:00Z")
    inbound = reply(first.msisdn, "2")
    assert (inbound.outcome, inbound.booking) == (Outcome.TOO_LATE, first)
    text = inbound.answers.get().text
    assert f"parcel {first.reference} by text. Planned: Tue 24 Nov 09:00-12:00" in text
    assert f"Parcel {second.reference}: 4 (Thu 26 Nov)" in text
    assert slot_now(first).date == TUESDAY
    assert slot_now(second).date == THURSDAY


@pytest.mark.parametrize("msisdn", ["+{}", "00{}"])
def test_a_customers_number_in_another_formatting_is_known(ask, reply, msisdn):
    booking = BookingFactory.create()
    ask(booking)
    inbound = reply(msisdn.format(booking.msisdn), "2")
    assert inbound.outcome == Outcome.MOVED
    assert inbound.answers.get().msisdn == booking.msisdn


def test_we_answer_from_the_number_that_was_written_to(settings, ask, reply):
    settings.VONAGE_NUMBERS = [VIRTUAL_NUMBER, "447700900001"]
    booking = BookingFactory.create()
    ask(booking)
    assert reply(booking.msisdn, "2", to="447700900001").answers.get().sender == "447700900001"


def test_a_binary_message_is_no_choice(ask, reply):
    booking = BookingFactory.create()
    ask(booking)
    inbound = reply(booking.msisdn, "2", type="binary", data="0A0B")
    assert (inbound.outcome, inbound.rule) == (Outcome.NOT_UNDERSTOOD, "not a text")


def test_unknown_field_is_kept_and_changes_nothing(ask, reply):
    booking = BookingFactory.create()
    ask(booking)
    inbound = reply(booking.msisdn, "2", **{"new-field": "a\x00b"})
    assert inbound.outcome == Outcome.MOVED
    assert inbound.raw["new-field"] == "a\ufffdb"


def test_options_chosen_by_staff_are_read_like_the_others(reply):
    notification = NotificationFactory.create(options=0)
    lockers = SlotFactory.create(date=in_days(5), place=Place.POST_OFFICE)
    SlotOptionFactory.create(notification=notification, digit=7, slot=lockers)
    inbound = reply(notification.msisdn, "post office")
    assert inbound.outcome == Outcome.MOVED
    assert slot_now(notification.booking) == lockers
    assert timezone.localdate() < lockers.date
