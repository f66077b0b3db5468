"""What the campaigns found, each in its smallest form."""

import datetime as dt

import pytest
from django.utils import timezone

from bookings.models import MessageState, OutboundMessage
from bookings.outbox import recovery
from bookings.outbox.claiming import claim
from tests.factories import OutboundMessageFactory

pytestmark = pytest.mark.django_db


def die() -> None:
    """The sender is gone, and a minute too."""
    long_ago = timezone.now() - dt.timedelta(hours=1)
    OutboundMessage.objects.filter(state=MessageState.SENDING).update(lease_until=long_ago)
    recovery.recover()


def test_a_text_that_kills_its_sender_takes_no_other_with_it():
    """Claimed together again and again, all of a batch were given up for the one in it (campaign `kill`)."""
    poison, *others = OutboundMessageFactory.create_batch(3)
    for _ in range(recovery.MOST_CLAIMS):
        assert poison in claim(4).messages
        die()
    poison.refresh_from_db()
    assert poison.state == MessageState.FAILED
    for other in others:
        other.refresh_from_db()
        assert (other.state, other.claims) == (MessageState.QUEUED, 1)
