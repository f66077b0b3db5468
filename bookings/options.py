"""Which slots a customer is offered, and which digits stand for them."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence, Set

from django.conf import settings
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
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


def offered_slots(booking: Booking, now: dt.datetime) -> list[Slot]:
    """The slots to offer, in the order of their digits: keep, the next later date, the post office.

    What cannot be had is left out. A slot that does not exist yet comes unsaved.
    """
    booked = booking.slot
    slots = [booked, later_slot(booked, now), post_office_slot(booked)]
    return choosable([slot for slot in slots if slot is not None], booked, now)


class Offers:
    """What `offered_slots` finds, kept while many customers are asked one after the other.

    An offer takes no place: who answers first gets it, under the slot's lock. So it may be a few seconds old.
    """

    def __init__(self) -> None:
        self._found: dict[int, list[Slot]] = {}

    def of(self, booking: Booking, now: dt.datetime) -> list[Slot]:
        """The slots to offer for a booking: looked up for the first that is in its slot."""
        known = self._found.get(booking.slot_id)
        found = offered_slots(booking, now) if known is None else [stored(slot) for slot in known]
        self._found[booking.slot_id] = found
        return [slot for slot in found if slot.cutoff_at > now]


def choosable(slots: Sequence[Slot], booked: Slot, now: dt.datetime) -> list[Slot]:
    """Those that can still be chosen, each once. The booked slot needs no room: the booking is in it."""
    found: list[Slot] = []
    for slot in slots:
        has_room = not slot.pk or slot.pk == booked.pk or slot.has_room()
        if slot.cutoff_at > now and has_room and _same(slot, found) is None:
            found.append(slot)
    return found[:3]


def _same(slot: Slot, slots: Sequence[Slot]) -> Slot | None:
    key = (slot.place, slot.date, slot.window)
    return next((other for other in slots if (other.place, other.date, other.window) == key), None)


def later_slot(booked: Slot, now: dt.datetime) -> Slot | None:
    """The next later date at the door with room: in the booked window if that day has it. Made if there is none.

    Never a day that is closed.
    """
    closed = ClosedDay.objects.values("date")
    later = Slot.objects.filter(place=Place.DOOR, date__gt=booked.date).exclude(capacity=0)
    roomy = (
        later.filter(Q(capacity=None) | Q(capacity__gt=Coalesce(_load(), 0)))
        .exclude(date__in=closed)
        .order_by("date", "window_start")
    )
    # A few at a time, in the order of an index: what comes after the first that fits is not counted.
    first = next((slot for slot in roomy.iterator(chunk_size=5) if slot.cutoff_at > now), None)
    if first is None:
        return _new_slot(booked, now)
    same_window = roomy.filter(
        date=first.date, window_start=booked.window_start, window_end=booked.window_end
    ).first()
    return same_window if same_window is not None and same_window.cutoff_at > now else first


def _load() -> Subquery:
    """How many bookings a slot holds, counted slot by slot; none at all: NULL."""
    held = Booking.objects.scheduled().filter(slot=OuterRef("pk")).order_by().values("slot")
    return Subquery(held.annotate(count=Count("pk")).values("count"))


def _new_slot(booked: Slot, now: dt.datetime) -> Slot | None:
    """The booked window on the next delivery day that does not have it yet."""
    door = stored(_at_time_of(booked, Place.DOOR)) if booked.place != Place.DOOR else booked
    if door.capacity == 0:
        return None
    window = {"window_start": booked.window_start, "window_end": booked.window_end}
    taken = set(
        Slot.objects.filter(place=Place.DOOR, date__gt=booked.date, **window).values_list(
            "date", flat=True
        )
    )
    days = [booked.date + dt.timedelta(days=ahead) for ahead in range(1, _LOOK_AHEAD_DAYS + 1)]
    taken |= set(ClosedDay.objects.filter(date__in=days).values_list("date", flat=True))
    for day in days:
        slot = Slot(place=Place.DOOR, date=day, capacity=door.capacity, **window)
        if day.weekday() in settings.DELIVERY_DAYS and day not in taken and slot.cutoff_at > now:
            return slot
    return None


def post_office_slot(booked: Slot) -> Slot | None:
    """The post office at the time of the door slot. It is always there, and has no limit."""
    if not settings.OFFER_POST_OFFICE:
        return None
    return stored(_at_time_of(booked, Place.POST_OFFICE))


def _at_time_of(slot: Slot, place: Place) -> Slot:
    return Slot(
        place=place, date=slot.date, window_start=slot.window_start, window_end=slot.window_end
    )


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
    """Which held options of a customer must keep their digits: the question is open, or ended not long ago."""
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

    Digits of this booking's own question are free if it never left us, since asking again withdraws it.
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
    """The options of a question that can still be had. The slot that the booking is in needs no room."""
    booking = notification.booking
    return [
        option
        for option in of(notification)
        if option.slot.cutoff_at > now
        and (option.slot_id == booking.slot_id or option.slot.has_room(for_booking=booking))
    ]
