"""Unclear replies get the options once more and then a person; politeness and robots get no answer."""

import pytest

from bookings.models import InboundMessage, OutboundMessage, Outcome
from tests.factories import STRANGER, BookingFactory
from tests.flow.replies.conftest import fill, slot_now, tuesday_booking
from tests.processes import VIRTUAL_NUMBER

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_an_unclear_reply_gets_the_options_again_once_and_then_a_person(ask, reply):
    booking = BookingFactory.create()
    ask(booking)
    first, second = (reply(booking.msisdn, text) for text in ("what is this", "hm?"))
    assert first.answers.get().text.count(booking.reference) == 1
    assert not first.attention
    assert not second.answers.exists()
    assert second.attention
    assert reply(booking.msisdn, "2").outcome == Outcome.MOVED


def test_a_newer_notification_has_a_re_prompt_of_its_own(ask, reply):
    booking = BookingFactory.create()
    ask(booking)
    reply(booking.msisdn, "what is this")
    later = BookingFactory.create(msisdn=booking.msisdn)
    ask(later)
    assert reply(booking.msisdn, "and this?").answers.exists()


@pytest.mark.parametrize("text", ["ok thanks", "yes", "\U0001f44d"])
def test_politeness_before_a_choice_gets_one_re_prompt(ask, reply, text):
    booking = BookingFactory.create()
    ask(booking)
    first, second = (reply(booking.msisdn, text) for _ in range(2))
    assert [first.outcome, second.outcome] == [Outcome.THANKS, Outcome.THANKS]
    assert first.answers.exists()
    assert not second.answers.exists()
    assert not second.attention


@pytest.mark.parametrize("choice", ["1", "2"])
def test_politeness_after_a_choice_opens_no_ticket(ask, reply, choice):
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
def test_unclear_reply_without_an_open_notification_needs_a_person(reply, text):
    booking = BookingFactory.create()
    inbound = reply(booking.msisdn, text)
    assert inbound.outcome == Outcome.NO_QUESTION
    assert inbound.attention
    assert not inbound.answers.exists()


def test_fourth_automatic_answer_within_a_day_is_not_sent(clock, ask, drain, reply):
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


def test_valid_choice_resets_the_count_of_automatic_answers(ask, drain, reply):
    booking = BookingFactory.create()
    notification = ask(booking)
    full = notification.options.get(digit=2).slot
    fill(full)
    for text in "22213222":
        reply(booking.msisdn, text)
        drain()
    assert OutboundMessage.objects.filter(in_reply_to__isnull=False).count() == 8
    assert not reply(booking.msisdn, "2").answers.exists()


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
def test_message_that_must_not_be_answered_is_only_stored(ask, reply, fields, outcome, text):
    booking = BookingFactory.create()
    notification = ask(booking)
    values = {"msisdn": booking.msisdn, "text": text} | fields
    inbound = reply(**values)
    assert inbound.outcome == outcome
    assert inbound.attention
    assert inbound.msisdn == values["msisdn"]
    assert not inbound.answers.exists()
    assert slot_now(booking) == notification.slot
