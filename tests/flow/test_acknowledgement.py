"""Acknowledgements: the current slot, stated once, and the way to change it."""

import datetime as dt

import pytest
import time_machine

from bookings.models import ClosedDay, Kind, MessageState, OutboundMessage
from bookings.notifications.asking import notify
from tests.factories import BookingFactory, SlotFactory
from tests.processes import VIRTUAL_NUMBER

pytestmark = pytest.mark.django_db

TUESDAY, THURSDAY = dt.date(2026, 11, 24), dt.date(2026, 11, 26)
PHONE = "+44 20 7946 0000"


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel("2026-11-23T09:00:00Z", tick=False) as traveller:
        yield traveller


@pytest.fixture
def booking(drain):
    """Create a delivery tomorrow, Tuesday, whose customer was asked: 1 Tuesday, 2 Thursday, 3 post office."""
    SlotFactory.create(date=THURSDAY, capacity=1)
    tomorrow = SlotFactory.create(date=TUESDAY)
    booking = BookingFactory.create(reference="AB12", msisdn="447700900123", slot=tomorrow)
    notify(booking)
    drain()
    return booking


def second_parcel(booking, drain, reference="CD34"):
    another = BookingFactory.create(
        reference=reference, msisdn=booking.msisdn, slot=SlotFactory.create(date=TUESDAY)
    )
    notify(another)
    drain()
    return another


def take_thursday():
    BookingFactory.create(slot=SlotFactory.create(date=THURSDAY))


ANSWERS = {
    "1": "Acme: parcel AB12 stays as planned: Tue 24 Nov 09:00-12:00."
    " To change it reply 2 or 3 before Mon 23 Nov 21:00.",
    "2": "Acme: parcel AB12 is moved to Thu 26 Nov 09:00-12:00."
    " To change it again reply 1 or 3 before Mon 23 Nov 21:00.",
    "3": "Acme: parcel AB12 is moved to the post office, Tue 24 Nov 09:00-12:00."
    " To change it again reply 1 or 2 before Mon 23 Nov 21:00.",
    "what?": "Acme: please answer with one number only. Parcel AB12: 1 (Tue 24 Nov),"
    " 2 (Thu 26 Nov) or 3 (post office), before Mon 23 Nov 21:00. No number: nothing changes.",
    "cancel": f"Acme: STOP ends these texts. To cancel parcel AB12 call {PHONE}."
    " Planned: Tue 24 Nov 09:00-12:00.",
    "help": "Acme: we text about deliveries, now parcel AB12. Reply with a number we offer,"
    f" or STOP to end texts. Questions: {PHONE}",
    "stop": "Acme: no more texts about parcel AB12 or others. Deliveries still come."
    f" START brings texts back. Questions: {PHONE}",
    "start": "Acme: you get our texts again, about parcel AB12 and others. Reply STOP to end them."
    f" Questions: {PHONE}",
}


@pytest.mark.parametrize(("text", "answer"), ANSWERS.items())
def test_answer_states_the_outcome_of_the_reply(booking, reply, drain, text, answer):
    inbound = reply(booking.msisdn, text)
    (sent,) = drain()
    assert sent["text"] == answer
    assert (sent["to"], sent["from"]) == (booking.msisdn, VIRTUAL_NUMBER)
    message = inbound.answers.get()
    assert message.in_reply_to == inbound
    assert message.state == MessageState.SUBMITTED


def test_a_change_of_mind_is_told_how_to_change_again(booking, reply, drain):
    reply(booking.msisdn, "2")
    reply(booking.msisdn, "2")
    (sent,) = drain()
    assert sent["text"] == (
        "Acme: parcel AB12 is already planned for Thu 26 Nov 09:00-12:00."
        " To change it reply 1 or 3 before Mon 23 Nov 21:00."
    )


def test_a_day_that_was_closed_since_is_not_to_be_had(booking, reply):
    ClosedDay.objects.create(date=THURSDAY, reason="Snow")
    inbound = reply(booking.msisdn, "2")
    assert inbound.outcome == "full"
    assert "You can still choose 1 (Tue 24 Nov) or 3 (post office)" in inbound.answers.get().text


def test_full_slot_is_named_with_the_free_options(booking, reply, drain):
    take_thursday()
    reply(booking.msisdn, "2")
    (sent,) = drain()
    assert sent["text"] == (
        "Acme: sorry, Thu 26 Nov is full now. Parcel AB12 is still planned for"
        " Tue 24 Nov 09:00-12:00. You can still choose 1 (Tue 24 Nov) or 3 (post office),"
        " before Mon 23 Nov 21:00."
    )


def test_answer_names_only_available_options(booking, reply, drain):
    take_thursday()
    reply(booking.msisdn, "1")
    reply(booking.msisdn, "ehm")
    kept, again = drain()
    assert "To change it reply 3 before" in kept["text"]
    assert "Parcel AB12: 1 (Tue 24 Nov) or 3 (post office), before" in again["text"]


def test_late_reply_is_answered_with_the_slot_and_the_phone_number(booking, reply, drain, clock):
    clock.move_to("2026-11-23T21:00:00Z")
    reply(booking.msisdn, "2")
    (sent,) = drain()
    assert sent["text"] == (
        "Acme: too late to change parcel AB12 by text."
        f" Planned: Tue 24 Nov 09:00-12:00. Questions: {PHONE}"
    )


def test_the_re_prompt_repeats_the_open_options_of_both_parcels(booking, reply, drain):
    second_parcel(booking, drain)
    reply(booking.msisdn, "eh?")
    (sent,) = drain()
    assert "Parcel AB12: 1 (Tue 24 Nov), 2 (Thu 26 Nov) or 3 (post office)" in sent["text"]
    assert "Parcel CD34: 4 (Tue 24 Nov), 5 (Thu 26 Nov) or 6 (post office)" in sent["text"]


def test_too_many_options_for_two_parts_are_named_by_their_digits(booking, reply, drain):
    second_parcel(booking, drain, "A-REFERENCE-OF-20-CH")
    second_parcel(booking, drain, "B-REFERENCE-OF-20-CH")
    inbound = reply(booking.msisdn, "eh?")
    answer = inbound.answers.get()
    assert answer.parts == 2
    assert "Parcel AB12: 1, 2 or 3, before Mon 23 Nov 21:00." in answer.text
    assert "Parcel B-REFERENCE-OF-20-CH: 7, 8 or 9, before" in answer.text


def test_answers_never_say_tomorrow(booking, reply, drain):
    take_thursday()
    for text in ["1", "2", "3", "what?", "cancel", "3"]:
        reply(booking.msisdn, text)
        for sent in drain():
            assert "tomorrow" not in sent["text"]


def states(booking) -> list[tuple[str, str]]:
    answers = OutboundMessage.objects.filter(in_reply_to__isnull=False, msisdn=booking.msisdn)
    return list(answers.order_by("pk").values_list("in_reply_to__text", "state"))


QUEUED, CANCELLED = MessageState.QUEUED, MessageState.CANCELLED


def test_a_newer_acknowledgement_takes_the_place_of_one_that_waits(booking, reply):
    reply(booking.msisdn, "2")
    reply(booking.msisdn, "3")
    assert states(booking) == [("2", CANCELLED), ("3", QUEUED)]


@pytest.mark.parametrize("text", ["help", "eh?"])
def test_text_that_does_not_state_the_slot_replaces_no_acknowledgement(booking, reply, text):
    reply(booking.msisdn, "2")
    reply(booking.msisdn, text)
    assert states(booking) == [("2", QUEUED), (text, QUEUED)]


def test_move_keeps_the_queued_help_answer(booking, reply):
    reply(booking.msisdn, "help")
    reply(booking.msisdn, "2")
    assert states(booking) == [("help", QUEUED), ("2", QUEUED)]


def test_an_answer_about_one_parcel_leaves_that_about_the_other(booking, reply, drain):
    second_parcel(booking, drain)
    reply(booking.msisdn, "2")
    reply(booking.msisdn, "6")
    assert states(booking) == [("2", QUEUED), ("6", QUEUED)]


def test_an_answer_that_offers_something_is_not_sent_when_the_offer_is_over(
    booking, reply, drain, clock
):
    reply(booking.msisdn, "what?")
    answer = OutboundMessage.objects.get(kind=Kind.RE_PROMPT)
    assert answer.valid_until == dt.datetime(2026, 11, 23, 21, tzinfo=dt.UTC)
    clock.move_to("2026-11-23T21:00:00Z")
    assert drain() == []


def test_an_answer_to_a_closed_notification_offers_the_open_one_in_time(
    booking, reply, drain, clock
):
    """The answer had said at 22:00 "you can still answer, before 21:00" (found by the campaign `states`)."""
    notify(booking)
    drain()
    answer = reply(booking.msisdn, "2").answers.get()
    assert "You can still answer: Parcel" in answer.text
    assert answer.valid_until == dt.datetime(2026, 11, 23, 21, tzinfo=dt.UTC)
    clock.move_to("2026-11-23T21:00:00Z")
    [form] = drain()
    assert form["text"].endswith(f"That question is closed. Questions: {PHONE}")


def test_an_answer_that_tells_of_a_move_is_worth_sending_until_the_delivery(booking, reply):
    answer = reply(booking.msisdn, "3").answers.get()
    assert answer.valid_until == dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
