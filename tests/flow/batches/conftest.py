"""Fixtures for batch tests: a Monday morning, bookings, and a batch of them."""

import datetime as dt

import pytest

from bookings.models import Batch, Booking
from bookings.notifications import batches
from bookings.outbox.claiming import claim
from bookings.outbox.sending import gateway, hand_over
from tests.factories import BookingFactory, SlotFactory, UserFactory
from tests.flow.clock import clock_at
from tests.processes import VIRTUAL_NUMBER

TUE, THU = dt.date(2026, 11, 24), dt.date(2026, 11, 26)


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


def parcels(count, date=THU, **fields):
    slot = SlotFactory.create(date=date, capacity=None)
    return BookingFactory.create_batch(count, slot=slot, **fields)


def start(bookings, **fields) -> Batch:
    return batches.start_batch(
        Booking.objects.filter(pk__in=[booking.pk for booking in bookings]),
        nonce=f"nonce-{Batch.objects.count()}",
        user=UserFactory.create(),
        sender=VIRTUAL_NUMBER,
        **fields,
    )


def send_now(most):
    """Send the texts that the rate limit allows at this moment."""
    messages = claim(most).messages
    for message in messages:
        hand_over(message, gateway())
    return messages


def state_of(batch) -> tuple[bool, bool]:
    """Return whether the batch goes on, and whether it is finished."""
    this = Batch.objects.filter(pk=batch.pk)
    return this.going_on().exists(), this.finished().exists()


GOES_ON, FINISHED, NEITHER = (True, False), (False, True), (False, False)
