"""The slots that a customer is offered, and the options of a notification that can still be chosen."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from contextlib import nullcontext
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import BooleanField, ExpressionWrapper

from bookings.models import Booking, ClosedDay, Notification, Place, Slot, SlotOption
from bookings.scheduling import capacity
from bookings.scheduling.slots import SlotKey, at_same_time, find_stored

_MOST_OPTIONS = 3
_LOOK_AHEAD_DAYS = 14


class OfferCache:
    """The results of `offered_slots`, kept while many customers are asked one after the other.

    An offer reserves no room: the first reply gets it, under the lock of the slot. So it may be a few seconds old.
    """

    def __init__(self) -> None:
        self._found: dict[int, list[Slot]] = {}

    def look_up(self, bookings: Iterable[Booking], now: dt.datetime) -> None:
        """Find the slots to offer for all of these bookings at once."""
        self._found |= offered_slots((booking.slot for booking in bookings), now)

    def of(self, booking: Booking, now: dt.datetime) -> list[Slot]:
        """Return the slots to offer for a booking, looked up now unless its slot was looked up before."""
        known = self._found.get(booking.slot_id)
        if known is None:
            found = offered_slots([booking.slot], now)[booking.slot_id]
        else:
            found = [find_stored(slot) for slot in known]
        self._found[booking.slot_id] = found
        return [slot for slot in found if slot.cutoff_at > now]


def offered_slots(booked: Iterable[Slot], now: dt.datetime) -> dict[int, list[Slot]]:
    """Return the slots to offer to the bookings in each of these slots, by the slot's id. A few queries for all.

    In the order of their digits: the booked slot, the next later date, the post office. Slots that cannot be had are
    left out. A slot that does not exist yet comes unsaved.
    """
    by_id = {slot.pk: slot for slot in booked}
    if not by_id:
        return {}
    same_days = _SlotsOfDays(list(by_id.values()))
    later = _later_slots(list(by_id.values()), same_days, now)
    return {
        pk: _still_open([slot, later[pk], same_days.post_office(slot)], now)
        for pk, slot in by_id.items()
    }


def choosable(slots: Sequence[Slot], booked: Slot, now: dt.datetime) -> list[Slot]:
    """Return those of these slots that can still be chosen, each once. The booked slot needs no room."""
    roomy = (
        slot for slot in slots if not slot.pk or slot.pk == booked.pk or capacity.has_room(slot)
    )
    return _still_open(roomy, now)


def _still_open(slots: Iterable[Slot | None], now: dt.datetime) -> list[Slot]:
    """The first three slots whose cut-off is ahead, each once."""
    found: dict[SlotKey, Slot] = {}
    for slot in slots:
        if slot is not None and slot.cutoff_at > now:
            found.setdefault(SlotKey.of(slot), slot)
    return list(found.values())[:_MOST_OPTIONS]


class _SlotsOfDays:
    """The stored slots, at the door and at the post office, on the days of some slots."""

    def __init__(self, booked: Sequence[Slot]) -> None:
        days = {slot.date for slot in booked}
        slots: Any = Slot.objects.filter(date__in=days).annotate(
            is_roomy=ExpressionWrapper(capacity.has_room_each(), BooleanField())
        )
        self._slots = {SlotKey.of(slot): slot for slot in slots}

    def door(self, booked: Slot) -> Slot:
        """Return the door slot at the time of a slot; unsaved if there is none."""
        if booked.place == Place.DOOR:
            return booked
        unsaved = at_same_time(booked, Place.DOOR)
        at_the_door: Slot = self._slots.get(SlotKey.of(unsaved), unsaved)
        return at_the_door

    def post_office(self, booked: Slot) -> Slot | None:
        """Return the post-office slot at the time of a slot, or None if it cannot be had.

        It exists by itself, and has no limit unless staff set one.
        """
        if not settings.OFFER_POST_OFFICE:
            return None
        unsaved = at_same_time(booked, Place.POST_OFFICE)
        found = self._slots.get(SlotKey.of(unsaved))
        if found is None:
            return unsaved
        return found if found.is_roomy else None


def _later_slots(
    booked: Sequence[Slot], same_days: _SlotsOfDays, now: dt.datetime
) -> dict[int, Slot | None]:
    """The door slot with room on the next later date, by the booked slot's id: in its window if that day has it.

    If there is none, a new slot. Never on a closed day.
    """
    days = _roomy_days(booked, now)
    found: dict[int, Slot | None] = {}
    for slot in booked:
        of_day = next((slots for day, slots in days.items() if day > slot.date), None)
        if of_day is not None:
            found[slot.pk] = next(
                (each for each in of_day if each.window == slot.window), of_day[0]
            )
    return _new_slots([slot for slot in booked if slot.pk not in found], same_days, now) | found


def _roomy_days(booked: Sequence[Slot], now: dt.datetime) -> dict[dt.date, list[Slot]]:
    """The choosable door slots with room, by day, until each of these slots has a later one."""
    last = max(slot.date for slot in booked)
    later = Slot.objects.filter(place=Place.DOOR, date__gt=min(slot.date for slot in booked))
    roomy = (
        later.exclude(capacity=0)
        .filter(capacity.has_room_each())
        .exclude(date__in=ClosedDay.objects.values("date"))
        .order_by("date", "window_start")
    )
    days: dict[dt.date, list[Slot]] = defaultdict(list)
    # A few at a time, in the order of an index: slots after the last day that is needed are not counted. Outside a
    # transaction PostgreSQL would count all of them for the cursor; SQLite would wait for whoever writes.
    needs_transaction = connection.vendor == "postgresql"
    with transaction.atomic(savepoint=False) if needs_transaction else nullcontext():
        for slot in roomy.iterator(chunk_size=5):
            if days and last < next(reversed(days)) < slot.date:
                break
            if slot.cutoff_at > now:
                days[slot.date].append(slot)
    return days


def _new_slots(
    booked: Sequence[Slot], same_days: _SlotsOfDays, now: dt.datetime
) -> dict[int, Slot | None]:
    """A new slot in the window of each of these, on the next delivery day that does not have it yet."""
    if not booked:
        return {}
    first, last = (pick(slot.date for slot in booked) for pick in (min, max))
    ahead = {"date__gt": first, "date__lte": last + dt.timedelta(days=_LOOK_AHEAD_DAYS)}
    taken = {SlotKey.of(slot) for slot in Slot.objects.filter(place=Place.DOOR, **ahead)}
    closed = set(ClosedDay.objects.filter(**ahead).values_list("date", flat=True))
    return {slot.pk: _new_slot(same_days.door(slot), taken, closed, now) for slot in booked}


def _new_slot(
    door: Slot, taken: Set[SlotKey], closed: Set[dt.date], now: dt.datetime
) -> Slot | None:
    if door.capacity == 0:
        return None
    for ahead in range(1, _LOOK_AHEAD_DAYS + 1):
        slot = at_same_time(door, Place.DOOR)
        slot.date, slot.capacity = door.date + dt.timedelta(days=ahead), door.capacity
        is_free = slot.date not in closed and SlotKey.of(slot) not in taken
        if slot.date.weekday() in settings.DELIVERY_DAYS and is_free and slot.cutoff_at > now:
            return slot
    return None


def options_of(notification: Notification) -> list[SlotOption]:
    """Return a notification's options by digit, with the rows that their words need."""
    return list(notification.options.select_related("slot", "notification__slot").order_by("digit"))


def remaining(notification: Notification, now: dt.datetime) -> list[SlotOption]:
    """Return the options of a notification that can still be had. The slot that the booking is in needs no room."""
    booking = notification.booking
    in_time = [option for option in options_of(notification) if option.slot.cutoff_at > now]
    others = [option.slot for option in in_time if option.slot_id != booking.slot_id]
    can_be_had = {booking.slot_id, *(slot.pk for slot in free_slots(others, booking))}
    return [option for option in in_time if option.slot_id in can_be_had]


def free_slots(slots: Sequence[Slot], booking: Booking) -> list[Slot]:
    """Return the slots that a booking can move to by a reply: those with room, and on no day that is closed now."""
    days = {slot.date for slot in slots}
    closed = set(ClosedDay.objects.filter(date__in=days).values_list("date", flat=True))
    return [
        slot
        for slot in slots
        if slot.date not in closed and capacity.has_room(slot, for_booking=booking)
    ]
