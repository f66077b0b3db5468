"""One customer writes twice at the same instant, or the gateway tells us several times."""

import pytest

from bookings.models import InboundMessage, MessageState, OutboundMessage, Outcome
from tests.factories import NotificationFactory
from tests.races.conftest import signed

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = range(5)


@pytest.mark.parametrize("round_", ROUNDS)
def test_the_same_message_three_times_at_once_counts_once(at_once, round_):
    notification = NotificationFactory.create()
    booking = notification.booking
    request = signed(booking.msisdn, "2")
    assert at_once([request] * 3) == [200] * 3
    inbound = InboundMessage.objects.get()
    assert inbound.outcome == Outcome.MOVED
    assert booking.slot_changes.count() == 1
    assert inbound.answers.count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_last_applied_of_two_answers_stands(at_once, round_):
    notification = NotificationFactory.create()
    booking, msisdn = notification.booking, notification.msisdn
    assert at_once([signed(msisdn, "2"), signed(msisdn, "3")]) == [200, 200]
    booking.refresh_from_db()
    first, last = booking.slot_changes.order_by("pk")
    assert first.from_slot == notification.slot
    assert (last.from_slot, last.to_slot) == (first.to_slot, booking.slot)
    assert [reply.outcome for reply in InboundMessage.objects.all()] == [Outcome.MOVED] * 2
    # The customer reads one answer, and it names the slot that stands.
    (answer,) = OutboundMessage.objects.filter(state=MessageState.QUEUED)
    assert answer.in_reply_to == last.inbound
    assert OutboundMessage.objects.filter(state=MessageState.CANCELLED).count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_an_answer_given_twice_at_once_moves_the_booking_once(at_once, round_):
    notification = NotificationFactory.create()
    msisdn = notification.msisdn
    assert at_once([signed(msisdn, "2"), signed(msisdn, "2")]) == [200, 200]
    outcomes = {reply.outcome for reply in InboundMessage.objects.all()}
    assert outcomes == {Outcome.MOVED, Outcome.ALREADY}
    assert notification.booking.slot_changes.count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_two_stops_at_once_are_confirmed_once(at_once, round_):
    msisdn = NotificationFactory.create().msisdn
    assert at_once([signed(msisdn, "STOP"), signed(msisdn, "stop")]) == [200, 200]
    assert OutboundMessage.objects.filter(state=MessageState.QUEUED).count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_two_unclear_texts_at_once_get_the_options_once(at_once, round_):
    msisdn = NotificationFactory.create().msisdn
    assert at_once([signed(msisdn, "eh?"), signed(msisdn, "what?")]) == [200, 200]
    assert OutboundMessage.objects.count() == 1
