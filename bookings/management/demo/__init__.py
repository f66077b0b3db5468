"""The demo's data: a fortnight of a delivery company, with a first booking that can always still be changed."""

import contextlib

from django.db import transaction
from django.utils import timezone

from bookings.dispatch import bookings as dispatch
from bookings.management.demo.fortnight import LEAST_TIME, Fortnight, free_references
from bookings.models import Booking, Place, Slot
from bookings.notifications import asking
from bookings.scheduling.capacity import has_room
from bookings.web.demo import FIRST_CUSTOMER, PREFIX, STILL_GOOD, fiction, first_booking


@transaction.atomic
def ensure() -> Booking:
    """Return the demo's first booking. The fortnight around it is loaded if no demo delivery lies ahead."""
    now = timezone.now()
    first = first_booking()
    if first is not None and first.slot.cutoff_at > now + STILL_GOOD:
        return first
    ahead = Booking.objects.scheduled().filter(
        reference__startswith=PREFIX, slot__date__gt=timezone.localdate(now)
    )
    return _book_first_again() if ahead.exists() else Fortnight(now).load()


def _book_first_again() -> Booking:
    """Book and ask the first customer once more: the last such delivery is past, cancelled or about to come."""
    soonest = timezone.now() + LEAST_TIME
    slots = Slot.objects.filter(place=Place.DOOR).exclude(capacity=0).from_day(timezone.localdate())
    booking = dispatch.book(
        reference=next(free_references()),
        customer_name=FIRST_CUSTOMER,
        msisdn=fiction.mobiles()[0],
        slot=next(slot for slot in slots if slot.cutoff_at > soonest and has_room(slot)),
    )
    # Somebody may have tried STOP on this phone.
    with contextlib.suppress(asking.CannotNotify):
        asking.notify(booking)
    return booking
