"""Fixtures for tests of one reply: a Monday morning, a delivery on Tuesday, and its notification."""

import datetime as dt

import pytest
import time_machine

from bookings.models import Booking, Slot
from bookings.scheduling.capacity import count_booked
from tests.factories import BookingFactory, SlotFactory

MONDAY_MORNING = "2026-11-23T09:00:00Z"
TUESDAY, THURSDAY = dt.date(2026, 11, 24), dt.date(2026, 11, 26)


@pytest.fixture
def clock():
    with time_machine.travel(MONDAY_MORNING, tick=False) as traveller:
        yield traveller


def slot_now(booking: Booking) -> Slot:
    booking.refresh_from_db()
    return booking.slot


def tuesday_booking(**values):
    """Create a delivery on Tuesday that can move to Thursday or to the post office."""
    SlotFactory.create(date=THURSDAY)
    return BookingFactory.create(slot=SlotFactory.create(date=TUESDAY), **values)


def fill(slot: Slot) -> None:
    slot.capacity = count_booked(slot) + 1
    slot.save()
    BookingFactory.create(slot=slot)
