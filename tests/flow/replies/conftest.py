"""What the tests of one reply share: a Monday morning, a delivery on Tuesday, and the notification about it."""

import datetime as dt

import pytest
import time_machine

from bookings.models import Booking, Notification, Slot
from bookings.notifications.asking import notify
from bookings.scheduling.capacity import count_booked
from tests.factories import BookingFactory, SlotFactory

MONDAY_MORNING = "2026-11-23T09:00:00Z"
TUESDAY, THURSDAY = dt.date(2026, 11, 24), dt.date(2026, 11, 26)


@pytest.fixture
def ask(drain):
    """Ask about a booking, and let the text leave."""

    def notified(booking, **choices) -> Notification:
        notification = notify(booking, **choices)
        drain()
        return Notification.objects.get(pk=notification.pk)

    return notified


@pytest.fixture
def clock():
    with time_machine.travel(MONDAY_MORNING, tick=False) as traveller:
        yield traveller


def slot_now(booking: Booking) -> Slot:
    booking.refresh_from_db()
    return booking.slot


def tuesday_booking(**values):
    """A delivery on Tuesday, that can go to Thursday or the post office."""
    SlotFactory.create(date=THURSDAY)
    return BookingFactory.create(slot=SlotFactory.create(date=TUESDAY), **values)


def fill(slot: Slot) -> None:
    slot.capacity = count_booked(slot) + 1
    slot.save()
    BookingFactory.create(slot=slot)
