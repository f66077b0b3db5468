"""A delivery changes at the very moment when a sender begins the call of a text about it."""

import threading
import time

import pytest
from django.db import transaction

from bookings.dispatch import bookings as dispatch
from bookings.dispatch import notices
from bookings.models import MessageState
from bookings.outbox.claiming import claim
from bookings.outbox.sending import start_call
from tests.factories import BookingFactory
from tests.races.simultaneous import at_once

pytestmark = pytest.mark.django_db(transaction=True)

BOTH_ARE_AT_IT = 0.5  # seconds


def test_a_call_that_begins_while_its_text_is_cancelled_is_never_tried_again():
    booking = BookingFactory.create()
    message = notices.send_notice(booking)
    [claimed] = claim(1).messages
    has_begun = threading.Event()

    def begin():
        with transaction.atomic():
            started = start_call(claimed)
            has_begun.set()
            time.sleep(BOTH_ARE_AT_IT)  # the other one meets our row before we commit
        return started

    def cancel():
        has_begun.wait(60)
        dispatch.cancel(booking)

    attempt, cancelled = at_once(begin, cancel)

    assert not isinstance(attempt, Exception), attempt
    assert cancelled is None
    message.refresh_from_db()
    assert message.state == MessageState.SENDING
    assert message.never_again == "cancelled"
