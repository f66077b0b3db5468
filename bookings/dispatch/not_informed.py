"""Whose customers do not know where a delivery of a day stands, and why.

Reached is whose latest text that says so was delivered after the last change, who wrote after it and can have read
it, or whom somebody told by phone. A day has also those that are not there any more, cancelled or moved away, whose
customers may wait in vain. A fixed number of queries for a whole day.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import (
    BooleanField,
    Exists,
    ExpressionWrapper,
    F,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce
from django.utils.formats import date_format

from bookings.dispatch.bookings import SAID_OFF, TOLD_CANCELLED
from bookings.dispatch.informed import SAYS_WHERE, UNREAD, Facts
from bookings.models import (
    ActKind,
    Booking,
    BookingState,
    ChangeCause,
    InboundMessage,
    MessageState,
    OutboundMessage,
    SlotChange,
    StaffAct,
)
from bookings.models.inbound import CHOSEN

_OF_BOOKING = ("pk", "msisdn", "changed_at", "cancelled_at", "slot__date")
_OF_MOVED = (
    *("booking", "booking__msisdn", "booking__cancelled_at", "booking__slot__date"),
    "from_slot__date",
)


@dataclass(frozen=True, slots=True)
class Unreached:
    """A delivery whose customer does not know of it, and why, as a sentence for staff."""

    booking: Booking
    reason: str


class _Listed(NamedTuple):
    """The same for the list of one day, by the delivery's id."""

    day: dt.date
    booking: int
    reason: str


def unreached(day: dt.date) -> list[Unreached]:
    """The deliveries of a day whose customers were not reached, by window and reference.

    Also those that were cancelled, or moved away from it, if their customers may wait for them all the same.
    """
    listed = _listed_on([day])
    found = Booking.objects.select_related("slot").in_bulk([one.booking for one in listed])
    named = [Unreached(found[one.booking], one.reason) for one in listed if one.booking in found]
    return sorted(named, key=lambda one: (one.booking.slot.window_start, one.booking.reference))


def count_unreached(days: Collection[dt.date]) -> Counter[dt.date]:
    """How many `unreached` lists for each of these days: the same rule, so that the two are always equal."""
    return Counter(one.day for one in _listed_on(days))


def is_unreached(booking: Booking) -> bool:
    """Whether the list of its day names it. Where another day's does, this one does too."""
    return bool(_judged(Booking.objects.filter(pk=booking.pk), SlotChange.objects.none()))


def _listed_on(days: Collection[dt.date]) -> list[_Listed]:
    # Who chose another day knows it.
    moves = SlotChange.objects.filter(from_slot__date__in=days).exclude(cause=ChangeCause.REPLY)
    return _judged(
        Booking.objects.filter(slot__date__in=days),
        moves.exclude(booking__slot__date=F("from_slot__date")),
    )


def _judged(bookings: QuerySet[Booking], moves: QuerySet[SlotChange]) -> list[_Listed]:
    """Who was not reached of these, and of those that were moved away, and why.

    Most were, as the database can see by itself.
    """
    in_doubt = bookings.exclude(Q(_has_heard()), state=BookingState.SCHEDULED).order_by()
    here: list[Any] = list(in_doubt.values_list(*_OF_BOOKING, named=True))
    left = moves.exclude(to_slot__date=F("from_slot__date")).order_by()
    since = left.values(*_OF_MOVED).annotate(left_at=Max("created_at"))
    gone: list[Any] = list(since.values_list(*_OF_MOVED, "left_at", named=True))
    numbers = {row.booking: row.booking__msisdn for row in gone}
    facts = Facts(numbers | {row.pk: row.msisdn for row in here})
    return [one for one in (*_of_day(facts, here), *_of_gone(facts, gone)) if one.reason]


def _of_day(facts: Facts, rows: list[Any]) -> Iterator[_Listed]:
    for row in rows:
        off_at = row.cancelled_at
        why = facts.why_not_off(row.pk, off_at) if off_at else facts.why_not(row)
        yield _Listed(row.slot__date, row.pk, why)


def _of_gone(facts: Facts, rows: list[Any]) -> Iterator[_Listed]:
    for row in rows:
        since, what = row.left_at, f"Moved to {date_format(row.booking__slot__date, 'D j M')} since"
        if row.booking__cancelled_at:
            since, what = min(since, row.booking__cancelled_at), "Cancelled"
        yield _Listed(row.from_slot__date, row.booking, facts.why_waits(row.booking, since, what))


def _has_heard() -> Coalesce:
    """Who was surely reached, by the rule of `Facts`, which looks at all others one by one.

    The last text that says where the delivery stands, as `Facts` finds it, arrived, or the customer wrote after it;
    the delivery is where it was, and nobody has said since that it is off.
    """
    replies = InboundMessage.objects.filter(
        booking=OuterRef("booking"),
        msisdn=OuterRef("msisdn"),
        received_at__gt=OuterRef("queued_at"),
    )
    said_off = StaffAct.objects.filter(
        kind=ActKind.TOLD_BY_PHONE,
        details=SAID_OFF,
        booking=OuterRef("booking"),
        msisdn=OuterRef("msisdn"),
        created_at__gt=OuterRef("queued_at"),
    )
    is_read = Q(state=MessageState.DELIVERED) | (Exists(replies) & ~Q(state__in=UNREAD))
    has_said = (
        (is_read | Exists(replies.filter(outcome__in=CHOSEN)))
        & Q(queued_at__gte=Coalesce(OuterRef("changed_at"), F("queued_at")))
        & ~Q(idempotency_key__startswith=f"{TOLD_CANCELLED}:")
        & ~Exists(said_off)
    )
    texts = OutboundMessage.objects.filter(
        kind__in=SAYS_WHERE, booking=OuterRef("pk"), msisdn=OuterRef("msisdn")
    ).exclude(state=MessageState.CANCELLED)
    latest = texts.order_by("-pk").values_list(ExpressionWrapper(has_said, BooleanField()))[:1]
    return Coalesce(Subquery(latest), Value(value=False))
