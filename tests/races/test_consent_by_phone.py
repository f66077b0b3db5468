"""A wish given by phone against a sender at the same instant."""

import pytest

from bookings import consent
from bookings.models import MessageState
from bookings.notifications import notify
from bookings.outbox.claiming import claim
from bookings.outbox.sending import start_call
from tests.factories import BookingFactory, UserFactory
from tests.races.together import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("round_", range(5))
def test_after_a_recorded_opt_out_nothing_is_handed_over(round_):
    booking = BookingFactory.create()
    message = notify(booking).outbound_messages.get()
    user = UserFactory.create()
    recorded, claimed = at_once(
        lambda: consent.record(user, booking.msisdn, "called", is_opted_out=True),
        lambda: claim(5),
    )
    assert recorded is True
    assert not isinstance(claimed, Exception), claimed
    assert [start_call(each) for each in claimed.messages] == [None] * len(claimed.messages)
    assert claim(5).messages == []
    message.refresh_from_db()
    assert message.state == MessageState.CANCELLED
