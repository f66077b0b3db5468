"""What the dashboard counts. The lists that its numbers lead to filter by the same conditions, kept here."""

import datetime as dt
import functools
import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Count, Exists, F, Min, OuterRef, Sum
from django.db.models.functions import ExtractHour, Left, TruncDate
from django.utils import timezone
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from bookings.models import (
    Booking,
    ChangeCause,
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    Slot,
    SlotChange,
    Spending,
    Ticket,
)
from bookings.models.message_states import LOST
from bookings.scheduling.clock import midnight

_OF_BOOKING = {"booking": OuterRef("pk")}

#: How far a delivery has come, by the name that the booking list is filtered by.
STAGES: Mapping[str, Exists] = {
    "asked": Exists(Notification.objects.filter(**_OF_BOOKING)),
    "delivered": Exists(
        OutboundMessage.objects.filter(
            kind=Kind.NOTIFICATION, state=MessageState.DELIVERED, **_OF_BOOKING
        )
    ),
    "answered": Exists(InboundMessage.objects.filter(**_OF_BOOKING)),
    "moved": Exists(SlotChange.objects.filter(cause=ChangeCause.REPLY, **_OF_BOOKING)),
    "waiting": Exists(Ticket.objects.waiting().filter(**_OF_BOOKING)),
}

_LISTED = 8  # reasons and countries; more are told as "others"
#: Only what a person lets go is tried again later than that: it counts on both days.
_SETTLED_AFTER = dt.timedelta(days=2)
_MEDIAN, _ALMOST_ALL = 0.5, 0.95


@dataclass(frozen=True, slots=True)
class OfDay:
    """How many deliveries of one day there are, as `bookings`, and at each stage; since when one waits for a person."""

    counts: Mapping[str, int]
    oldest: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds from a reply to the start of handing over its acknowledgement; None without any."""

    count: int
    median: float | None = None
    almost_all: float | None = None  # 95 % were no slower


@dataclass(frozen=True, slots=True)
class DaySent:
    """What was handed over on one day, in the company's zone. `cost` is in the account's currency."""

    day: dt.date
    texts: int
    parts: int
    cost: Decimal


def of_days(days: Collection[dt.date]) -> dict[dt.date, OfDay]:
    """How far the deliveries of each of these days have come."""
    # Slots by number: the database finds their few bookings by an index, which a day would not make it do.
    slots = dict(Slot.objects.filter(date__in=days).order_by().values_list("pk", "date"))
    deliveries = Booking.objects.scheduled().filter(slot__in=list(slots)).order_by()
    counted: dict[dt.date, Counter[str]] = {day: Counter() for day in days}
    stages = {
        name: Count("pk", filter=stage) for name, stage in STAGES.items() if name != "waiting"
    }
    for row in deliveries.values("slot").annotate(bookings=Count("*"), **stages):
        counted[slots[row.pop("slot")]].update(row)
    oldest: dict[dt.date, dt.datetime] = {}
    # The few that wait lead to their deliveries sooner than all deliveries to them.
    waiting = Ticket.objects.waiting().filter(booking__in=deliveries).order_by()
    by_day = waiting.values_list("booking__slot__date")
    for day, count, since in by_day.annotate(Count("booking", distinct=True), Min("raised_at")):
        counted[day]["waiting"], oldest[day] = count, since
    return {day: OfDay(counts, oldest.get(day)) for day, counts in counted.items()}


def hours_back(hours: int) -> dt.datetime:
    """The start of the hour so many hours ago, this one included."""
    this = timezone.localtime().replace(minute=0, second=0, microsecond=0)
    return this.astimezone(dt.UTC) - dt.timedelta(hours=hours - 1)


def replies(since: dt.datetime) -> tuple[Counter[str], list[tuple[int, int]]]:
    """The texts of customers, in one pass over an index: by what they chose ("" is no option), and by the hour of the
    day, all 24, from the one in which `since` lies.
    """
    texts = InboundMessage.objects.filter(received_at__gte=since).order_by()
    by_choice, by_hour = Counter[str](), Counter[int]()
    for hour, chose, count in texts.values_list(ExtractHour("received_at"), "chose").annotate(
        n=Count("*")
    ):
        by_choice[chose] += count
        by_hour[hour] += count
    first = timezone.localtime(since).hour
    return by_choice, [(hour % 24, by_hour[hour % 24]) for hour in range(first, first + 24)]


def speed(since: dt.datetime) -> Speed:
    """How fast the acknowledgements were that were queued since then."""
    handed_over = OutboundMessage.objects.filter(
        kind=Kind.ACKNOWLEDGEMENT,
        queued_at__gte=since,
        call_started_at__isnull=False,
        in_reply_to__isnull=False,
    )
    delay = F("call_started_at") - F("in_reply_to__received_at")
    delays = sorted(handed_over.order_by().values_list(delay, flat=True))
    if not delays:
        return Speed(0)
    median, almost_all = (
        delays[math.ceil(share * len(delays)) - 1] for share in (_MEDIAN, _ALMOST_ALL)
    )
    return Speed(len(delays), median.total_seconds(), almost_all.total_seconds())


def failures(since: dt.datetime) -> tuple[list[tuple[str, int]], list[tuple[int, int]]]:
    """Texts queued since then that were lost: by reason, and by the country's calling code; the most first."""
    lost = OutboundMessage.objects.filter(state__in=LOST, queued_at__gte=since).order_by()
    reasons, codes = Counter[str](), Counter[int]()
    for reason, digits, count in lost.values_list("reason", Left("msisdn", 3)).annotate(
        n=Count("*")
    ):
        reasons[reason] += count
        codes[calling_code(digits)] += count
    return _most(reasons), _most(codes)


def _most(counts: Mapping[Any, int]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:_LISTED]


def calling_code(msisdn: str) -> int:
    """The country's calling code that a number begins with: none begins another. 0 if there is no such code."""
    codes = (int(msisdn[:length]) for length in (1, 2, 3))
    return next((code for code in codes if code in COUNTRY_CODE_TO_REGION_CODE), 0)


def sent_by_day(first: dt.date, last: dt.date) -> list[DaySent]:
    """Each day from the first to the last: the texts that were handed over, their parts, and what they cost."""
    recent = max(first, last - _SETTLED_AFTER)
    sent = _sent(first, recent) | _count_sent(recent, last + dt.timedelta(days=1))
    spent = dict(Spending.objects.filter(day__gte=first).values_list("day", "amount"))
    days = [first + dt.timedelta(days=ahead) for ahead in range((last - first).days + 1)]
    return [DaySent(day, *sent.get(day, (0, 0)), spent.get(day, Decimal())) for day in days]


def _count_sent(first: dt.date, until: dt.date) -> dict[dt.date, tuple[int, int]]:
    """Texts and parts by day, from the first until before the last; days without any are left out."""
    handed_over = OutboundMessage.objects.filter(
        call_started_at__gte=midnight(first), call_started_at__lt=midnight(until)
    )
    days = handed_over.order_by().values_list(TruncDate("call_started_at"))
    rows = days.annotate(texts=Count("*"), all_parts=Sum("parts"))
    return {day: (texts, parts) for day, texts, parts in rows}


#: Days that are over for good, of which the dashboard asks every half minute: counted once a day by each process.
_sent = functools.lru_cache(maxsize=1)(_count_sent)
