"""The digits of options: for one customer no digit has two meanings. They are given out in blocks of three."""

import datetime as dt
from collections import defaultdict
from collections.abc import Set

from django.conf import settings
from django.db.models import Q, QuerySet

from bookings.models import Booking, NotificationState, SlotOption

#: The first digits of the three blocks.
BLOCKS = (1, 4, 7)


def resting(msisdn: str, now: dt.datetime) -> Q:
    """The held options of a customer whose digits are still taken: the notification is open or ended not long ago."""
    return Q(msisdn=msisdn, is_held=True) & _still_taken(now)


def digits_taken(bookings: QuerySet[Booking], now: dt.datetime) -> dict[str, set[int]]:
    """Return the digits that `resting` finds for the customers of all these bookings, by phone number."""
    held = SlotOption.objects.filter(msisdn__in=bookings.order_by().values("msisdn"), is_held=True)
    taken: dict[str, set[int]] = defaultdict(set)
    for msisdn, digit in held.filter(_still_taken(now)).values_list("msisdn", "digit"):
        taken[msisdn].add(digit)
    return taken


def _still_taken(now: dt.datetime) -> Q:
    rested = now - dt.timedelta(hours=settings.REPLY_DIGIT_REST_HOURS)
    is_open = Q(notification__state=NotificationState.OPEN, notification__closes_at__gt=now)
    was_handed_over = Q(notification__handed_over_at__isnull=False)
    swept = Q(notification__closed_at__gt=rested)
    not_swept_yet = Q(notification__closed_at=None, notification__closes_at__gt=rested)
    return is_open | (was_handed_over & (swept | not_swept_yet))


def free_block(booking: Booking, now: dt.datetime) -> int | None:
    """Return the first digit of the first block that is free for the booking's customer, or None.

    The booking's own notification takes no digits if it was never handed over, since asking again withdraws it.
    """
    own = Q(notification__booking_id=booking.pk, notification__handed_over_at=None)
    taken = set(
        SlotOption.objects.filter(resting(booking.msisdn, now))
        .exclude(own)
        .values_list("digit", flat=True)
    )
    return first_block(taken)


def first_block(taken: Set[int]) -> int | None:
    """Return the first digit of the first block of which no digit is taken, or None."""
    return next((first for first in BLOCKS if taken.isdisjoint(range(first, first + 3))), None)


def release_rested(msisdn: str, now: dt.datetime) -> None:
    """Free the digits of a customer that have rested long enough."""
    keep = SlotOption.objects.filter(resting(msisdn, now)).values("pk")
    SlotOption.objects.filter(msisdn=msisdn, is_held=True).exclude(pk__in=keep).update(
        is_held=False
    )
