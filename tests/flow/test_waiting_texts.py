"""Queued texts after a change: staff texts come back to staff, answers repeat only open options."""

import datetime as dt

import pytest

from bookings.dispatch import bookings as dispatch
from bookings.dispatch import ticket_actions
from bookings.gateways import SendResult, Verdict
from bookings.models import Booking, Kind, MessageState, OutboundMessage, Ticket
from bookings.notifications.asking import notify, renew_stale
from bookings.operations.invariants import find_contradictions
from bookings.outbox.claiming import claim
from bookings.outbox.sending import settle, start_call
from tests.factories import BookingFactory, SlotFactory, UserFactory
from tests.flow.clock import clock_at, wall

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TUE, WED, THU, FRI = (dt.date(2026, 11, 24 + ahead) for ahead in range(4))


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


def parcel(date=TUE):
    return BookingFactory.create(slot=SlotFactory.create(date=date))


@pytest.mark.parametrize(
    ("act", "because"),
    [
        (lambda booking, reply: reply(booking.msisdn, "2"), "the customer moved the delivery"),
        (lambda booking, _: dispatch.cancel(booking), "cancelled"),
    ],
    ids=["the customer moves it", "a colleague cancels it"],
)
def test_staff_text_comes_back_when_the_delivery_changes(act, because, reply, drain):
    booking = parcel(FRI)
    notify(booking)
    drain()
    for text in ("is there a bell?", "can you leave it with number 7?"):
        reply(booking.msisdn, text)
    drain()
    ticket_actions.answer_by_text(
        Ticket.objects.get(), "Yes: Friday at 9.", UserFactory.create(), nonce="n"
    )
    act(booking, reply)
    assert list(find_contradictions()) == []
    assert not [form for form in drain() if "Friday at 9" in form["text"]]
    ticket = Ticket.objects.waiting().get()
    assert ticket.reason == f"The message from staff was not sent: {because}."
    assert ticket.outbound
    assert ticket.outbound.text.endswith("Yes: Friday at 9.")


@pytest.fixture
def written(reply, drain):
    """Queue an answer written by staff."""
    booking = parcel(FRI)
    reply(booking.msisdn, "can you leave it with number 7?")
    ticket_actions.answer_by_text(
        Ticket.objects.get(), "Yes, with number 7.", UserFactory.create(), nonce="n"
    )
    return OutboundMessage.objects.get(kind=Kind.STAFF)


def test_staff_text_still_leaves_after_a_new_notification(written, drain):
    notify(written.booking)
    notify(written.booking)
    assert "Yes, with number 7." in " ".join(form["text"] for form in drain())


def test_staff_text_cancelled_during_a_failed_call_comes_back(written):
    [claimed] = claim(9).messages
    attempt = start_call(claimed)
    assert attempt
    dispatch.cancel(written.booking)
    assert not Ticket.objects.waiting().exists()
    settle(attempt, SendResult(verdict=Verdict.NOT_SENT, reason="no way", code="x"))
    assert (
        Ticket.objects.waiting().get().reason == "The message from staff was not sent: cancelled."
    )


def test_expired_staff_text_comes_back(written, clock):
    clock("2026-11-28 10:00")
    renew_stale()
    ticket = Ticket.objects.waiting().get()
    assert ticket.outbound == written
    assert ticket.reason.startswith("The message from staff was not sent: no longer true")


@pytest.fixture
def closed(reply, drain):
    """Queue an answer about a closed notification, with the options of another delivery's open one."""
    first, second = parcel(), parcel(FRI)
    Booking.objects.filter(pk=second.pk).update(msisdn=first.msisdn)
    second.refresh_from_db()
    for booking in (first, first, second):
        notify(booking)
        drain()
    answer = reply(first.msisdn, "2").answers.get()
    assert f"You can still answer: Parcel {first.reference}: 4" in answer.text
    assert f"Parcel {second.reference}: 7" in answer.text
    return answer, first, second


def test_an_answer_repeats_no_notification_that_was_withdrawn_while_it_waited(closed, drain):
    """The answer had offered it (campaign `states`)."""
    answer, first, second = closed
    dispatch.cancel(second)
    answer.refresh_from_db()
    assert answer.state == MessageState.QUEUED
    assert f"You can still answer: Parcel {first.reference}: 4" in answer.text
    assert second.reference not in answer.text
    assert answer.text in [form["text"] for form in drain()]


def test_claimed_answer_repeats_no_withdrawn_notification(closed):
    answer, _, second = closed
    [claimed] = [message for message in claim(9).messages if message.pk == answer.pk]
    dispatch.cancel(second)
    assert start_call(claimed) is None
    [claimed] = [message for message in claim(9).messages if message.pk == answer.pk]
    assert second.reference not in claimed.text
    assert start_call(claimed) is not None


def test_corrected_claim_does_not_count_as_a_failed_claim(closed):
    answer, _, second = closed
    claim(9)
    dispatch.cancel(second)
    answer.refresh_from_db()
    assert (answer.state, answer.claims) == (MessageState.QUEUED, 0)


def test_answer_offers_the_open_notification_after_the_first_closes(closed, clock, drain):
    answer, _, second = closed
    clock("2026-11-23 21:01")
    renew_stale()
    answer.refresh_from_db()
    assert answer.state == MessageState.QUEUED
    assert f"You can still answer: Parcel {second.reference}: 7" in answer.text
    assert answer.valid_until == wall("2026-11-26 21:00")


def test_answer_repeats_no_options_after_a_choice(reply, drain):
    second, first = parcel(THU), parcel(FRI)
    Booking.objects.filter(pk=first.pk).update(msisdn=second.msisdn)
    first.refresh_from_db()
    for booking in (second, first):
        notify(booking)
        drain()
    again = reply(first.msisdn, "what?").answers.get()
    assert again.booking == first
    assert reply(first.msisdn, "2").outcome == "moved"
    dispatch.cancel(first)
    again.refresh_from_db()
    assert again.state == MessageState.CANCELLED
    assert list(find_contradictions()) == []


def test_options_are_repeated_of_the_notifications_that_are_left(closed, reply, drain):
    _, first, second = closed
    drain()
    again = reply(first.msisdn, "what?").answers.get()
    assert again.booking == second
    dispatch.cancel(second)
    again.refresh_from_db()
    assert (again.state, again.booking) == (MessageState.QUEUED, first)
    assert second.reference not in again.text
    dispatch.cancel(first)
    again.refresh_from_db()
    assert again.state == MessageState.CANCELLED
