"""An opt-out recorded by phone while a sender works."""

import pytest
from django.test import Client
from django.urls import reverse

from bookings.customers import consent
from bookings.models import MessageState, SendAttempt
from bookings.notifications.asking import notify
from bookings.outbox.claiming import claim
from bookings.outbox.sending import start_call
from tests.factories import BookingFactory, UserFactory
from tests.races.simultaneous import at_once

pytestmark = pytest.mark.django_db(transaction=True)

CUSTOMER = "447700900123"


@pytest.mark.parametrize("round_", range(5))
def test_after_a_recorded_opt_out_nothing_is_handed_over(round_):
    booking = BookingFactory.create()
    message = notify(booking).outbound_messages.get()
    user = UserFactory.create()
    recorded, claimed = at_once(
        lambda: consent.change_by_staff(user, booking.msisdn, "called", is_opted_out=True),
        lambda: claim(5),
    )
    assert recorded is True
    assert not isinstance(claimed, Exception), claimed
    assert [start_call(each) for each in claimed.messages] == [None] * len(claimed.messages)
    assert claim(5).messages == []
    message.refresh_from_db()
    assert message.state == MessageState.CANCELLED


@pytest.mark.parametrize("round_", range(5))
def test_no_call_begins_after_the_page_confirms_the_opt_out(round_):
    """Through the page, while one sender claims and another is about to call."""
    claimed_before = notify(BookingFactory.create(msisdn=CUSTOMER)).outbound_messages.get()
    (at_hand,) = claim(1).messages
    notify(BookingFactory.create(msisdn=CUSTOMER))
    staff = Client()
    staff.force_login(UserFactory.create(is_superuser=True))
    wish = {"number": f"+{CUSTOMER}", "wish": "out", "words": "called", "confirmed": "yes"}
    address = reverse("admin:bookings_consentchange_record")

    def record() -> tuple[int, int]:
        return staff.post(address, wish).status_code, SendAttempt.objects.count()

    recorded, attempt, claimed = at_once(record, lambda: start_call(at_hand), lambda: claim(5))
    assert not isinstance(claimed, Exception), claimed
    assert not isinstance(attempt, Exception), attempt
    assert [start_call(each) for each in claimed.messages] == [None] * len(claimed.messages)
    assert recorded == (302, int(attempt is not None))
    assert claim(5).messages == []
    claimed_before.refresh_from_db()
    assert (claimed_before.state == MessageState.SENDING) == (attempt is not None)
    assert bool(claimed_before.never_again) == (attempt is not None)
