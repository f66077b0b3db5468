"""Floods from one number, forged senders and costly answers: the rule stops answering."""

import datetime as dt

import pytest
import time_machine

from bookings.dispatch import bookings as dispatch
from bookings.models import Booking, Consent, OutboundMessage, Outcome, Ticket
from bookings.notifications.asking import notify
from bookings.replies.screening import MOST_TEXTS
from tests.factories import (
    STRANGER,
    BookingFactory,
    InboundMessageFactory,
    NotificationFactory,
    SlotFactory,
    in_days,
)

pytestmark = pytest.mark.django_db

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
TOO_MANY = "More than 60 messages in an hour: not read automatically."
WHO_IS_IT = "Moved three times in ten minutes. Is it really the customer?"


@pytest.fixture
def clock():
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def asked(clock):
    return NotificationFactory.create()


def wrote(msisdn: str, texts: int = MOST_TEXTS) -> None:
    """Store so many texts of this number as received just now."""
    InboundMessageFactory.create_batch(
        texts, msisdn=msisdn, outcome=Outcome.NOT_UNDERSTOOD, rule="unknown words"
    )


def is_moved(asked):
    return Booking.objects.get(pk=asked.booking_id).slot_id != asked.slot_id


# --- floods --------------------------------------------------------------------------------------


def test_the_sixtieth_text_in_an_hour_is_still_read(asked, reply):
    wrote(asked.msisdn, MOST_TEXTS - 1)
    assert reply(asked.msisdn, "2").outcome == Outcome.MOVED


def test_texts_beyond_sixty_in_an_hour_are_kept_unread_and_open_one_ticket(asked, reply):
    wrote(asked.msisdn)
    flood = [reply(asked.msisdn, text) for text in ("2", "hello", "HELP", "cancel", "ok thanks")]
    assert {text.outcome for text in flood} == {Outcome.NOT_UNDERSTOOD}
    assert [text.attention for text in flood] == [TOO_MANY, "", "", "", ""]
    assert {text.rule for text in flood} == {"too many texts"}
    assert not is_moved(asked)
    assert not OutboundMessage.objects.exists()


def test_an_hour_later_texts_are_read_again(asked, clock, reply):
    wrote(asked.msisdn)
    clock.shift(dt.timedelta(minutes=59))
    assert reply(asked.msisdn, "2").attention == TOO_MANY
    clock.shift(dt.timedelta(minutes=1))
    assert reply(asked.msisdn, "2").outcome == Outcome.MOVED


def test_a_flood_is_told_of_once_for_as_long_as_it_goes_on(asked, clock, reply):
    attentions = []
    for _ in range(2 * MOST_TEXTS):  # 61 in each hour, never 62
        attentions.append(reply(asked.msisdn, "hello").attention)
        clock.shift(dt.timedelta(seconds=59.5))
    assert attentions.count(TOO_MANY) == 1
    assert attentions[-1] == ""


@pytest.mark.parametrize(("text", "is_out"), [("STOP", True), ("START", False)])
def test_stop_and_start_count_in_a_flood_and_are_not_answered(asked, reply, text, is_out):
    Consent.objects.create(msisdn=asked.msisdn, is_opted_out=not is_out)
    wrote(asked.msisdn)
    inbound = reply(asked.msisdn, text)
    assert inbound.outcome == (Outcome.OPTED_OUT if is_out else Outcome.OPTED_IN)
    assert not inbound.attention
    assert Consent.objects.is_opted_out(asked.msisdn) is is_out
    assert not OutboundMessage.objects.exists()


def test_flood_from_one_number_does_not_affect_another(asked, reply):
    wrote(STRANGER)
    assert reply(asked.msisdn, "2").outcome == Outcome.MOVED


@pytest.mark.parametrize("sender", [STRANGER, "MTN"])
def test_flood_from_an_unknown_number_opens_one_ticket(clock, reply, sender):
    wrote(sender)
    flood = [reply(sender, "win a prize") for _ in range(3)]
    assert {text.outcome for text in flood} == {Outcome.UNKNOWN_SENDER}
    assert [text.attention for text in flood] == [TOO_MANY, "", ""]


def test_parts_are_not_put_together_in_a_flood(asked, reply):
    wrote(asked.msisdn)
    concat = {"concat": "true", "concat-ref": "7", "concat-total": "2"}
    flood = [
        reply(asked.msisdn, text, **concat | {"concat-part": number})
        for number, text in {"1": "option ", "2": "2"}.items()
    ]
    assert {text.outcome for text in flood} == {Outcome.NOT_UNDERSTOOD}
    assert not is_moved(asked)


def test_autoresponder_gets_one_answer(asked, clock, drain, reply):
    for _ in range(20):
        reply(asked.msisdn, "Thank you for your message. Our office hours are 9 to 17.")
        drain()
        clock.shift(dt.timedelta(seconds=2))
    assert OutboundMessage.objects.count() == 1
    assert Ticket.objects.count() == 19


# --- forged senders ------------------------------------------------------------------------------


def test_the_third_move_within_ten_minutes_still_moves_and_a_person_looks(asked, clock, reply):
    first, second, third, fourth = (reply(asked.msisdn, text) for text in "2323")
    assert [first.attention, second.attention] == ["", ""]
    assert (third.outcome, third.attention) == (Outcome.MOVED, WHO_IS_IT)
    assert fourth.attention == WHO_IS_IT
    assert Booking.objects.get().slot == asked.options.get(digit=3).slot
    assert fourth.answers.exists()
    clock.shift(dt.timedelta(minutes=10))
    assert reply(asked.msisdn, "2").attention == ""


def test_moves_by_staff_and_answers_that_move_nothing_are_not_suspicious(asked, reply):
    assert not any(reply(asked.msisdn, text).attention for text in "12222233")
    dispatch.move(asked.booking, SlotFactory.create(date=in_days(9)))
    again = notify(asked.booking)
    again.handed_over_at = NOON
    again.save()
    assert reply(asked.msisdn, str(again.options.latest("digit").digit)).attention == WHO_IS_IT


# --- what an answer costs ------------------------------------------------------------------------


def test_closed_notification_is_announced_once_for_each_booking(clock, drain, reply):
    one = NotificationFactory.create()
    other = NotificationFactory.create()
    dispatch.cancel(one.booking)
    dispatch.cancel(other.booking)
    replies = []
    for notification in (one, one, one, other):
        replies.append(reply(notification.msisdn, "2"))
        drain()
        clock.shift(dt.timedelta(hours=25))
    assert {inbound.outcome for inbound in replies} == {Outcome.CLOSED}
    assert [inbound.answers.count() for inbound in replies] == [1, 0, 0, 1]
    assert all(inbound.attention for inbound in replies)


def test_an_answer_that_never_left_does_not_count_as_said(clock, reply):
    booking = BookingFactory.create()
    NotificationFactory.create(booking=booking)
    dispatch.cancel(booking)
    first = reply(booking.msisdn, "2")
    first.answers.all().cancel("the text never left")
    assert reply(booking.msisdn, "2").answers.count() == 1
