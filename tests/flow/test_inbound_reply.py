"""One reply over the real webhook: read, decided, carried out, acknowledged."""
import pytest

from bookings.models import Kind, OutboundMessage, Outcome
from bookings.notifications import notify
from tests.factories import BookingFactory

pytestmark = pytest.mark.django_db


def test_a_digit_moves_the_booking_and_is_acknowledged(reply, drain):
    booking = BookingFactory.create()
    notification = notify(booking)
    drain()
    inbound = reply(booking.msisdn, "2")
    booking.refresh_from_db()
    assert inbound.outcome == Outcome.MOVED
    assert booking.slot == notification.options.get(digit=2).slot
    answer = inbound.answers.get()
    assert answer.kind == Kind.ACKNOWLEDGEMENT
    print([m.text for m in OutboundMessage.objects.order_by("pk")])
