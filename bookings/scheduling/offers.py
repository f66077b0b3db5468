"""Which slots a customer is offered, and which digits stand for them."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from contextlib import nullcontext
from typing import Any, TypeAlias

from django.conf import settings
from django.db import connection, transaction
from django.db.models import (
    BooleanField,
    Count,
    ExpressionWrapper,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.functions import Coalesce

from bookings.models import (
    Booking,
    ClosedDay,
    Notification,
    NotificationState,
    Place,
    Slot,
    SlotOption,
)

#: The first digits of the three blocks.
BLOCKS = (1, 4, 7)
_LOOK_AHEAD_DAYS = 14

#: What makes a slot one: its place, its date, and when its window starts and ends.
_Key: TypeAlias = tuple[str, dt.date, dt.time, dt.time]


class Offers:
    """What `offered_slots` finds, kept while many customers are asked one after the other.

    An offer takes no place: who answers first gets it, under the slot's lock. So it may be a few seconds old.
    """

    def __init__(self) -> None:
        self._found: dict[int, list[Slot]] = {}

    def look_up(self, bookings: Iterable[Booking], now: dt.datetime) -> None:
        """Find what to offer for all of these at once."""
        self._found |= offered_slots((booking.slot for booking in bookings), now)

    def of(self, booking: Booking, now: dt.datetime) -> list[Slot]:
        """The slots to offer for a booking: looked up now, unless its slot was among those looked up before."""
        known = self._found.get(booking.slot_id)
        if known is None:
            found = offered_slots([booking.slot], now)[booking.slot_id]
        else:
            found = [stored(slot) for slot in known]
        self._found[booking.slot_id] = found
        return [slot for slot in found if slot.cutoff_at > now]


def offered_slots(booked: Iterable[Slot], now: dt.datetime) -> dict[int, list[Slot]]:
    """The slots to offer to whom each of these is booked, by its id: a few queries for all of them.

    They come in the order of their digits: keep, the next later date, the post office. What cannot be had is left
    out. A slot that does not exist yet comes unsaved.
    """
    each = {slot.pk: slot for slot in booked}
    if not each:
        return {}
    known = _Known(list(each.values()))
    later = _later_slots(list(each.values()), known, now)
    return {
        pk: _still_open([slot, later[pk], known.post_office(slot)], now)
        for pk, slot in each.items()
    }


def choosable(slots: Sequence[Slot], booked: Slot, now: dt.datetime) -> list[Slot]:
    """Those that can still be chosen, each once. The booked slot needs no room: the booking is in it."""
    roomy = (slot for slot in slots if not slot.pk or slot.pk == booked.pk or slot.has_room())
    return _still_open(roomy, now)


def _still_open(slots: Iterable[Slot | None], now: dt.datetime) -> list[Slot]:
    """The first three whose cut-off is ahead, each once."""
    found: dict[_Key, Slot] = {}
    for slot in slots:
        if slot is not None and slot.cutoff_at > now:
            found.setdefault(_key(slot), slot)
    return list(found.values())[:3]


class _Known:
    """The slots, at the door and at the post office, on the days of these."""

    def __init__(self, booked: Sequence[Slot]) -> None:
        days = {slot.date for slot in booked}
        slots: Any = Slot.objects.filter(date__in=days).annotate(
            is_roomy=ExpressionWrapper(_has_room(), BooleanField())
        )
        self._slots = {_key(slot): slot for slot in slots}

    def door(self, booked: Slot) -> Slot:
        if booked.place == Place.DOOR:
            return booked
        unsaved = _at_time_of(booked, Place.DOOR)
        at_the_door: Slot = self._slots.get(_key(unsaved), unsaved)
        return at_the_door

    def post_office(self, booked: Slot) -> Slot | None:
        """The post office at the time of the door slot. It is always there, and has no limit unless staff set one."""
        if not settings.OFFER_POST_OFFICE:
            return None
        unsaved = _at_time_of(booked, Place.POST_OFFICE)
        found = self._slots.get(_key(unsaved))
        if found is None:
            return unsaved
        return found if found.is_roomy else None


def _later_slots(booked: Sequence[Slot], known: _Known, now: dt.datetime) -> dict[int, Slot | None]:
    """The next later date at the door with room, by the booked slot's id: in its window if that day has it.

    Made if there is none. Never a day that is closed.
    """
    days = _roomy_days(booked, now)
    found: dict[int, Slot | None] = {}
    for slot in booked:
        of_day = next((slots for day, slots in days.items() if day > slot.date), None)
        if of_day is not None:
            found[slot.pk] = next(
                (each for each in of_day if each.window == slot.window), of_day[0]
            )
    return _new_slots([slot for slot in booked if slot.pk not in found], known, now) | found


def _roomy_days(booked: Sequence[Slot], now: dt.datetime) -> dict[dt.date, list[Slot]]:
    """The slots at the door with room that can still be chosen, by day, until each of these has a later one."""
    last = max(slot.date for slot in booked)
    later = Slot.objects.filter(place=Place.DOOR, date__gt=min(slot.date for slot in booked))
    roomy = (
        later.exclude(capacity=0)
        .filter(_has_room())
        .exclude(date__in=ClosedDay.objects.values("date"))
        .order_by("date", "window_start")
    )
    days: dict[dt.date, list[Slot]] = defaultdict(list)
    # A few at a time, in the order of an index: what comes after the last day that is needed is not counted. Outside
    # a transaction PostgreSQL would count all of it for the cursor; SQLite would wait for whoever writes.
    is_counted_whole = connection.vendor == "postgresql"
    with transaction.atomic(savepoint=False) if is_counted_whole else nullcontext():
        for slot in roomy.iterator(chunk_size=5):
            if days and last < next(reversed(days)) < slot.date:
                break
            if slot.cutoff_at > now:
                days[slot.date].append(slot)
    return days


def _has_room() -> Q:
    return Q(capacity=None) | Q(capacity__gt=Coalesce(_load(), 0))


def _load() -> Subquery:
    """How many bookings a slot holds, counted slot by slot; none at all: NULL."""
    held = Booking.objects.scheduled().filter(slot=OuterRef("pk")).order_by().values("slot")
    return Subquery(held.annotate(count=Count("pk")).values("count"))


def _new_slots(booked: Sequence[Slot], known: _Known, now: dt.datetime) -> dict[int, Slot | None]:
    """The window of each of these on the next delivery day that does not have it yet."""
    if not booked:
        return {}
    first, last = (pick(slot.date for slot in booked) for pick in (min, max))
    ahead = {"date__gt": first, "date__lte": last + dt.timedelta(days=_LOOK_AHEAD_DAYS)}
    taken = {_key(slot) for slot in Slot.objects.filter(place=Place.DOOR, **ahead)}
    closed = set(ClosedDay.objects.filter(**ahead).values_list("date", flat=True))
    return {slot.pk: _new_slot(known.door(slot), taken, closed, now) for slot in booked}


def _new_slot(door: Slot, taken: Set[_Key], closed: Set[dt.date], now: dt.datetime) -> Slot | None:
    if door.capacity == 0:
        return None
    for ahead in range(1, _LOOK_AHEAD_DAYS + 1):
        slot = _at_time_of(door, Place.DOOR)
        slot.date, slot.capacity = door.date + dt.timedelta(days=ahead), door.capacity
        is_free = slot.date not in closed and _key(slot) not in taken
        if slot.date.weekday() in settings.DELIVERY_DAYS and is_free and slot.cutoff_at > now:
            return slot
    return None


def _at_time_of(slot: Slot, place: Place) -> Slot:
    return Slot(
        place=place, date=slot.date, window_start=slot.window_start, window_end=slot.window_end
    )


def _key(slot: Slot) -> _Key:
    return slot.place, slot.date, slot.window_start, slot.window_end


def stored(slot: Slot) -> Slot:
    """The slot as it stands in the database, or as it is given if it does not exist yet."""
    if slot.pk:
        return slot
    same_time = Slot.objects.filter(
        date=slot.date, window_start=slot.window_start, window_end=slot.window_end
    )
    return same_time.filter(place=slot.place).first() or slot


def saved(slot: Slot) -> Slot:
    """The slot as it stands in the database: made now if it does not exist yet."""
    if slot.pk:
        return slot
    found, _ = Slot.objects.get_or_create(
        place=slot.place,
        date=slot.date,
        window_start=slot.window_start,
        window_end=slot.window_end,
        defaults={"capacity": slot.capacity},
    )
    return found


def resting(msisdn: str, now: dt.datetime) -> Q:
    """Which held options of a customer must keep their digits: the notification is open, or ended not long ago."""
    return Q(msisdn=msisdn, is_held=True) & _still_mean_something(now)


def digits_taken(bookings: QuerySet[Booking], now: dt.datetime) -> dict[str, set[int]]:
    """The digits that `resting` holds, by number, for the customers of all these bookings at once."""
    held = SlotOption.objects.filter(msisdn__in=bookings.order_by().values("msisdn"), is_held=True)
    taken: dict[str, set[int]] = defaultdict(set)
    for msisdn, digit in held.filter(_still_mean_something(now)).values_list("msisdn", "digit"):
        taken[msisdn].add(digit)
    return taken


def _still_mean_something(now: dt.datetime) -> Q:
    rested = now - dt.timedelta(hours=settings.REPLY_DIGIT_REST_HOURS)
    is_open = Q(notification__state=NotificationState.OPEN, notification__closes_at__gt=now)
    was_read = Q(notification__handed_over_at__isnull=False)
    swept = Q(notification__closed_at__gt=rested)
    unswept = Q(notification__closed_at=None, notification__closes_at__gt=rested)
    return is_open | (was_read & (swept | unswept))


def free_block(booking: Booking, now: dt.datetime) -> int | None:
    """The first digit of the first block that means nothing to this customer, or None.

    Digits of this booking's own notification are free if it never left us, since asking again withdraws it.
    """
    own = Q(notification__booking_id=booking.pk, notification__handed_over_at=None)
    taken = set(
        SlotOption.objects.filter(resting(booking.msisdn, now))
        .exclude(own)
        .values_list("digit", flat=True)
    )
    return first_block(taken)


def first_block(taken: Set[int]) -> int | None:
    """The first digit of the first block of which nothing is taken, or None."""
    return next((first for first in BLOCKS if taken.isdisjoint(range(first, first + 3))), None)


def release_rested(msisdn: str, now: dt.datetime) -> None:
    """Let go of the digits that have rested long enough."""
    keep = SlotOption.objects.filter(resting(msisdn, now)).values("pk")
    SlotOption.objects.filter(msisdn=msisdn, is_held=True).exclude(pk__in=keep).update(
        is_held=False
    )


def of(notification: Notification) -> list[SlotOption]:
    """A notification's options in the order of their digits, with what it takes to word them."""
    return list(notification.options.select_related("slot", "notification__slot").order_by("digit"))


def remaining(notification: Notification, now: dt.datetime) -> list[SlotOption]:
    """The options of a notification that can still be had. The slot that the booking is in needs no room."""
    booking = notification.booking
    in_time = [option for option in of(notification) if option.slot.cutoff_at > now]
    others = [option.slot for option in in_time if option.slot_id != booking.slot_id]
    can_be_had = {booking.slot_id, *(slot.pk for slot in free(others, booking))}
    return [option for option in in_time if option.slot_id in can_be_had]


def free(slots: Sequence[Slot], booking: Booking) -> list[Slot]:
    """Those that this booking can move to by a reply: with room, and on no day that was closed since it was asked."""
    days = {slot.date for slot in slots}
    closed = set(ClosedDay.objects.filter(date__in=days).values_list("date", flat=True))
    return [
        slot for slot in slots if slot.date not in closed and slot.has_room(for_booking=booking)
    ]
