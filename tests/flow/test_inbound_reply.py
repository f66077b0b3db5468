"""One reply over the real webhook: read, decided, carried out, acknowledged."""

import datetime as dt

import pytest
import time_machine
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from bookings import acknowledgements, conversation, dispatch
from bookings.gateways.signature import sign
from bookings.models import (
    Booking,
    ChangeCause,
    InboundMessage,
    MessageState,
    Notification,
    OutboundMessage,
    Outcome,
    Place,
    Slot,
)
from bookings.notifications import notify
from tests.factories import (
    STRANGER,
    BookingFactory,
    NotificationFactory,
    SlotFactory,
    SlotOptionFactory,
    in_days,
)
from tests.processes import VIRTUAL_NUMBER

pytestmark = pytest.mark.django_db

MONDAY_MORNING = "2026-11-23T09:00:00Z"
TUESDAY, THURSDAY = dt.date(2026, 11, 24), dt.date(2026, 11, 26)


@pytest.fixture
def ask(drain):
    """Ask about a booking, and let the text leave."""

    def notified(booking, **choices) -> Notification:
        notification = notify(booking, **choices)
        drain()
        return Notification.objects.get(pk=notification.pk)

    return notified


@pytest.fixture
def clock():
    with time_machine.travel(MONDAY_MORNING, tick=False) as traveller:
        yield traveller


def slot_now(booking: Booking) -> Slot:
    booking.refresh_from_db()
    return booking.slot


def tuesday_booking(**values):
    """A delivery on Tuesday, that can go to Thursday or the post office."""
    SlotFactory.create(date=THURSDAY)
    return BookingFactory.create(slot=SlotFactory.create(date=TUESDAY), **values)


# --- the way of a reply --------------------------------------------------------------------------


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
def test_what_could_be_meant_otherwise_moves_nothing(clock, ask, reply, text):
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


def test_tomorrow_means_nothing_on_the_day_after_the_text(clock, ask, reply):
    booking = BookingFactory.create(slot=SlotFactory.create(date=TUESDAY + dt.timedelta(days=1)))
    ask(booking)  # on Monday, for Wednesday
    clock.move_to("2026-11-24T09:00:00Z")
    assert reply(booking.msisdn, "tomorrow").outcome == Outcome.NOT_UNDERSTOOD
    assert reply(booking.msisdn, "1").outcome == Outcome.KEPT


def test_the_latest_valid_answer_wins(ask, reply):
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


# --- two parcels on one phone --------------------------------------------------------------------


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


def test_a_late_digit_of_one_parcel_moves_neither_and_names_what_is_open(clock, ask, reply):
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


# --- too late, closed, full ----------------------------------------------------------------------


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


def test_a_slot_that_was_chosen_must_be_left_in_time_too(clock, ask, reply):
    booking = BookingFactory.create(slot=SlotFactory.create(date=THURSDAY))
    earlier = SlotFactory.create(date=TUESDAY)
    ask(booking, slots=[booking.slot, earlier])
    assert reply(booking.msisdn, "2").outcome == Outcome.MOVED
    clock.move_to("2026-11-24T08:00:00Z")  # an hour before it comes
    assert reply(booking.msisdn, "1").outcome == Outcome.TOO_LATE
    assert slot_now(booking) == earlier


def moved_by_staff(booking):
    dispatch.move(booking, SlotFactory.create(date=in_days(9)))


def phone_changed(booking):
    dispatch.change_phone(booking, "447700900777")


@pytest.mark.parametrize("act", [moved_by_staff, dispatch.cancel, phone_changed])
def test_a_withdrawn_question_cannot_be_answered(ask, reply, act):
    booking = BookingFactory.create()
    msisdn = booking.msisdn
    ask(booking)
    act(booking)
    standing = slot_now(booking)
    inbound = reply(msisdn, "2")
    assert (inbound.outcome, inbound.booking) == (Outcome.CLOSED, booking)
    assert slot_now(booking) == standing
    assert inbound.answers.get().sender == VIRTUAL_NUMBER


def test_the_digits_of_a_question_asked_again_mean_the_old_one_until_they_rested(ask, reply):
    booking = BookingFactory.create()
    ask(booking)
    again = ask(booking)
    inbound = reply(booking.msisdn, "2")
    assert inbound.outcome == Outcome.CLOSED
    assert f"You can still answer: Parcel {booking.reference}: 4 (" in inbound.answers.get().text
    assert reply(booking.msisdn, "5").outcome == Outcome.MOVED
    assert slot_now(booking) == again.options.get(digit=5).slot


def test_an_answer_after_the_delivery_is_told_that_it_is_over(clock, ask, reply):
    booking = tuesday_booking()
    ask(booking)
    clock.move_to("2026-11-24T13:00:00Z")
    inbound = reply(booking.msisdn, "2")
    assert inbound.outcome == Outcome.CLOSED
    assert "was planned for Tue 24 Nov 09:00-12:00" in inbound.answers.get().text


def fill(slot: Slot) -> None:
    slot.capacity = slot.count_bookings() + 1
    slot.save()
    BookingFactory.create(slot=slot)


def test_a_full_slot_is_answered_with_what_is_left(ask, reply):
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


def test_if_only_its_present_slot_is_left_a_person_must_look(settings, ask, reply):
    settings.OFFER_POST_OFFICE = False
    booking = BookingFactory.create()
    notification = ask(booking)
    fill(notification.options.get(digit=2).slot)
    inbound = reply(booking.msisdn, "2")
    assert inbound.outcome == Outcome.FULL
    assert inbound.attention == "No other slot is free for this customer."
    assert "No other time is free" in inbound.answers.get().text


def test_room_is_counted_without_the_booking_itself(ask, reply):
    booking = BookingFactory.create()
    notification = ask(booking)
    reply(booking.msisdn, "2")
    full = notification.options.get(digit=2).slot
    full.capacity = 1
    full.save()
    assert reply(booking.msisdn, "2").outcome == Outcome.ALREADY


# --- unclear, and politeness ---------------------------------------------------------------------


def test_an_unclear_reply_gets_the_options_again_once_and_then_a_person(ask, reply):
    booking = BookingFactory.create()
    ask(booking)
    first, second = (reply(booking.msisdn, text) for text in ("what is this", "hm?"))
    assert first.answers.get().text.count(booking.reference) == 1
    assert not first.attention
    assert not second.answers.exists()
    assert second.attention
    assert reply(booking.msisdn, "2").outcome == Outcome.MOVED


def test_a_newer_question_has_a_re_prompt_of_its_own(ask, reply):
    booking = BookingFactory.create()
    ask(booking)
    reply(booking.msisdn, "what is this")
    later = BookingFactory.create(msisdn=booking.msisdn)
    ask(later)
    assert reply(booking.msisdn, "and this?").answers.exists()


@pytest.mark.parametrize("text", ["ok thanks", "yes", "\U0001f44d"])
def test_politeness_before_a_choice_gets_the_one_re_prompt_and_no_more(ask, reply, text):
    booking = BookingFactory.create()
    ask(booking)
    first, second = (reply(booking.msisdn, text) for _ in range(2))
    assert [first.outcome, second.outcome] == [Outcome.THANKS, Outcome.THANKS]
    assert first.answers.exists()
    assert not second.answers.exists()
    assert not second.attention


@pytest.mark.parametrize("choice", ["1", "2"])
def test_politeness_after_a_choice_is_no_work_for_anyone(ask, reply, choice):
    booking = BookingFactory.create()
    ask(booking)
    other = BookingFactory.create(msisdn=booking.msisdn)
    ask(other)
    reply(booking.msisdn, choice)
    thanks = reply(booking.msisdn, "ok thanks")
    assert thanks.outcome == Outcome.THANKS
    assert not thanks.answers.exists()
    assert not thanks.attention


@pytest.mark.parametrize("text", ["where is my parcel", "4"])
def test_unclear_with_nothing_open_is_for_a_person_and_not_answered(reply, text):
    booking = BookingFactory.create()
    inbound = reply(booking.msisdn, text)
    assert inbound.outcome == Outcome.NO_QUESTION
    assert inbound.attention
    assert not inbound.answers.exists()


def test_after_three_automatic_answers_there_is_silence_for_a_day(clock, ask, drain, reply):
    booking = tuesday_booking()
    ask(booking)
    clock.move_to("2026-11-23T22:00:00Z")
    for _ in range(6):
        reply(booking.msisdn, "2")
        drain()
    answers = OutboundMessage.objects.filter(in_reply_to__isnull=False)
    assert answers.count() == 3
    assert InboundMessage.objects.latest("pk").attention
    clock.move_to("2026-11-24T22:00:01Z")
    assert reply(booking.msisdn, "2").answers.exists()


def test_a_valid_choice_begins_the_count_anew(ask, drain, reply):
    booking = BookingFactory.create()
    notification = ask(booking)
    full = notification.options.get(digit=2).slot
    fill(full)
    for text in "22213222":
        reply(booking.msisdn, text)
        drain()
    assert OutboundMessage.objects.filter(in_reply_to__isnull=False).count() == 8
    assert not reply(booking.msisdn, "2").answers.exists()


# --- who is never answered -----------------------------------------------------------------------

NEVER_ANSWERED = {
    "a stranger": ({"msisdn": STRANGER}, Outcome.UNKNOWN_SENDER),
    "an operator's name": ({"msisdn": "MTN"}, Outcome.UNKNOWN_SENDER),
    "a short code": ({"msisdn": "62345"}, Outcome.UNKNOWN_SENDER),
    "our own number": ({"msisdn": VIRTUAL_NUMBER}, Outcome.UNKNOWN_SENDER),
    "to a number that is not ours": ({"to": "447700900001"}, Outcome.NOT_OURS),
    "to a name": ({"to": "ACME"}, Outcome.NOT_OURS),
}


@pytest.mark.parametrize("text", ["2", "hello", "HELP"])
@pytest.mark.parametrize(("fields", "outcome"), NEVER_ANSWERED.values(), ids=NEVER_ANSWERED)
def test_it_is_kept_and_never_answered(ask, reply, fields, outcome, text):
    booking = BookingFactory.create()
    notification = ask(booking)
    values = {"msisdn": booking.msisdn, "text": text} | fields
    inbound = reply(**values)
    assert inbound.outcome == outcome
    assert inbound.attention
    assert inbound.msisdn == values["msisdn"]
    assert not inbound.answers.exists()
    assert slot_now(booking) == notification.slot


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


def test_a_field_that_nobody_knows_is_kept_and_changes_nothing(ask, reply):
    booking = BookingFactory.create()
    ask(booking)
    inbound = reply(booking.msisdn, "2", **{"new-field": "a\x00b"})
    assert inbound.outcome == Outcome.MOVED
    assert inbound.raw["new-field"] == "a\ufffdb"


# --- when we fail --------------------------------------------------------------------------------


@pytest.fixture
def bug(monkeypatch):
    """A rule that fails, after the booking was moved."""

    def broken(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(acknowledgements, "say", broken)
    return monkeypatch


def test_a_bug_in_the_rule_keeps_the_message_for_a_replay(ask, reply, bug, caplog):
    booking = BookingFactory.create()
    notification = ask(booking)
    inbound = reply(booking.msisdn, "2")
    assert inbound.outcome == Outcome.ERROR
    assert inbound.attention
    (alarm,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert "see replay_inbound" in alarm.getMessage()
    assert "ZeroDivisionError" in caplog.text
    assert slot_now(booking) == notification.slot
    assert not booking.slot_changes.exists()
    bug.undo()
    call_command("replay_inbound", inbound.pk)
    inbound.refresh_from_db()
    assert (inbound.outcome, inbound.attention) == (Outcome.MOVED, "")
    assert slot_now(booking) == notification.options.get(digit=2).slot
    assert inbound.answers.count() == 1


def test_a_replay_does_not_undo_a_newer_answer(ask, reply, bug):
    booking = BookingFactory.create()
    notification = ask(booking)
    failed = reply(booking.msisdn, "2")
    bug.undo()
    reply(booking.msisdn, "3")
    call_command("replay_inbound", failed.pk)
    failed.refresh_from_db()
    assert failed.outcome == Outcome.CLOSED
    assert failed.attention
    assert not failed.answers.exists()
    assert slot_now(booking) == notification.options.get(digit=3).slot


def test_a_database_fault_in_the_rule_stores_nothing_and_asks_for_the_message_again(
    ask, signed, monkeypatch
):
    booking = BookingFactory.create()
    ask(booking)

    def away(*_args):
        raise OperationalError

    monkeypatch.setattr(conversation, "load_customer", away)
    response = signed(booking.msisdn, "2")
    assert response.status_code == 503
    assert not InboundMessage.objects.exists()
    monkeypatch.undo()
    assert signed(booking.msisdn, "2").status_code == 200
    assert InboundMessage.objects.get().outcome == Outcome.MOVED


@pytest.fixture
def signed():
    def post(msisdn, text):
        fields = {"msisdn": msisdn, "to": VIRTUAL_NUMBER, "messageId": "0CBBBB", "text": text}
        fields["sig"] = sign(fields, django_settings.VONAGE_SIGNATURE_SECRETS[0], "sha256")
        return Client().post("/webhooks/inbound-sms", fields, content_type="application/json")

    return post


def test_options_chosen_by_staff_are_read_like_the_others(reply):
    notification = NotificationFactory.create(options=0)
    lockers = SlotFactory.create(date=in_days(5), place=Place.POST_OFFICE)
    SlotOptionFactory.create(notification=notification, digit=7, slot=lockers)
    inbound = reply(notification.msisdn, "post office")
    assert inbound.outcome == Outcome.MOVED
    assert slot_now(notification.booking) == lockers
    assert timezone.localdate() < lockers.date
