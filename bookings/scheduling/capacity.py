"""The room in slots: the one place that decides whether a slot can take one more booking.

A slot holds its scheduled bookings, not the cancelled ones. A capacity of None is no limit; 0 closes the slot to others
and sends nobody away. An answer is reliable only while the slot is locked.
"""

from collections.abc import Collection
from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from bookings.models import Booking, BookingState, Slot

_BOOKED = Count("bookings", filter=Q(bookings__state=BookingState.SCHEDULED))


def fits(capacity: int | None, booked: int) -> bool:
    """Return True if a slot of this capacity that holds `booked` bookings can take one more."""
    return capacity is None or booked < capacity


def is_overbooked(capacity: int | None, booked: int) -> bool:
    """Return True if `booked` bookings are more than a slot of this capacity can hold."""
    return capacity is not None and booked > capacity


def count_booked(slot: Slot, *, without: Booking | None = None) -> int:
    """Return the number of scheduled bookings in a slot, not counting a given one."""
    bookings = Booking.objects.scheduled().filter(slot=slot)
    if without is not None:
        bookings = bookings.exclude(pk=without.pk)
    return bookings.count()


def count_booked_each(slots: Collection[Slot]) -> dict[int, int]:
    """Return the number of scheduled bookings in each of these stored slots that has any, by its id."""
    booked = Booking.objects.scheduled().filter(slot__in=slots).order_by().values("slot")
    return dict(booked.annotate(count=Count("pk")).values_list("slot", "count"))


def has_room(slot: Slot, *, for_booking: Booking | None = None) -> bool:
    """Return True if a slot can take one more booking, not counting `for_booking` itself."""
    if slot.capacity is None:
        return True
    return slot.capacity > 0 and fits(slot.capacity, count_booked(slot, without=for_booking))


def why_no_room(slot: Slot) -> str:
    """The reason why a slot cannot take one more booking, as a sentence for staff; "" if it can."""
    return "" if has_room(slot) else describe_full(str(slot), slot.capacity)


def describe_full(slot: str, capacity: int | None) -> str:
    """The sentence for staff about a slot, given in words, that can take no more bookings."""
    if capacity == 0:
        return f"Slot closed: {slot}."
    return f"Slot full ({capacity} of {capacity}): {slot}."


def with_booked(slots: QuerySet[Slot]) -> QuerySet[Any]:
    """Annotate `load_now`: the number of scheduled bookings in each slot."""
    return slots.annotate(load_now=_BOOKED)


#: The condition that a slot of `with_booked` has room.
HAS_ROOM = Q(capacity=None) | Q(capacity__gt=F("load_now"))


def has_room_each() -> Q:
    """The condition that a slot has room, counted slot by slot, for queries that stop after a few slots."""
    booked = Booking.objects.scheduled().filter(slot=OuterRef("pk")).order_by().values("slot")
    counted = Subquery(booked.annotate(count=Count("pk")).values("count"))
    return Q(capacity=None) | Q(capacity__gt=Coalesce(counted, 0))
