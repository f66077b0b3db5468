"""Several customers want the last place in a slot at the same instant."""

import pytest
from django.db.models import F

from bookings.models import InboundMessage, Outcome
from tests.factories import NotificationFactory
from tests.races.conftest import signed

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = range(5)


@pytest.mark.parametrize("customers", [2, 6])
@pytest.mark.parametrize("round_", ROUNDS)
def test_the_last_place_in_a_slot_is_given_once(at_once, round_, customers):
    notifications = [NotificationFactory.create() for _ in range(customers)]
    wanted = notifications[0].options.get(digit=2).slot
    wanted.capacity = 1
    wanted.save()
    requests = [signed(notification.msisdn, "2") for notification in notifications]
    assert at_once(requests) == [200] * customers
    assert wanted.bookings.count() == 1
    assert InboundMessage.objects.filter(outcome=Outcome.MOVED).count() == 1
    losers = InboundMessage.objects.filter(outcome=Outcome.FULL)
    assert losers.count() == customers - 1
    assert losers.filter(booking__slot=F("notification__slot")).count() == customers - 1
    for loser in losers:
        text = loser.answers.get().text
        assert "or 3 (post office)" in text
        assert "2 (" not in text


@pytest.mark.parametrize("round_", ROUNDS)
def test_two_customers_swap_slots_at_once(at_once, round_):
    one = NotificationFactory.create()
    other = NotificationFactory.create()
    other.booking.slot = other.options.get(digit=2).slot
    other.booking.save()
    assert at_once([signed(one.msisdn, "2"), signed(other.msisdn, "1")]) == [200, 200]
    for notification in (one, other):
        notification.booking.refresh_from_db()
    assert one.booking.slot == one.options.get(digit=2).slot
    assert other.booking.slot == one.slot
