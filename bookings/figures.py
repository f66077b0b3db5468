"""What the dashboard counts. The lists that its numbers lead to filter by the same conditions, kept here."""

import datetime as dt
import functools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import (
    BooleanField,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Sum,
)
from django.db.models.functions import ExtractHour, Left, TruncDate
from django.utils import timezone
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from bookings.models import (
    Booking,
    ChangeCause,
    Concern,
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    Place,
    Slot,
    SlotChange,
    Spending,
)
from bookings.models.standing import LOST

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
    "waiting": Exists(Concern.objects.waiting().filter(**_OF_BOOKING)),
}

_KEPT = Q(option__slot=F("option__notification__slot"))
_AT_POST_OFFICE = Q(option__slot__place=Place.POST_OFFICE)
#: The same twice over, so that the database looks up no option for the texts that chose none.
_CHOSEN = Q(option__isnull=False, option__digit__gte=1)

#: What a customer's text chose, by the name that the list of inbound messages is filtered by.
CHOICES: Mapping[str, Q] = {
    "kept": _CHOSEN & _KEPT,
    "another": _CHOSEN & ~_KEPT & ~_AT_POST_OFFICE,
    "post_office": _CHOSEN & ~_KEPT & _AT_POST_OFFICE,
    "none": Q(option=None),
}

_LISTED = 8  # reasons and countries; more are told as "others"
_SETTLED_AFTER = dt.timedelta(days=4)  # nothing is tried again so late
_MEDIAN, _ALMOST_ALL = 0.5, 0.95


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


def of_day(day: dt.date) -> dict[str, int]:
    """How many deliveries there are on this day, as `bookings`, and how many of them by stage."""
    counts = {name: Count("pk", filter=stage) for name, stage in STAGES.items()}
    counted: dict[str, int] = deliveries_of(day).aggregate(bookings=Count("*"), **counts)
    return counted


def oldest_concern(day: dt.date | None = None) -> dt.datetime | None:
    """Since when the oldest matter that needs a person waits: of a day's deliveries, or of all."""
    waiting = Concern.objects.waiting()
    if day is not None:
        waiting = waiting.filter(booking__in=deliveries_of(day))
    at: dt.datetime | None = waiting.aggregate(at=Min("raised_at"))["at"]
    return at


def deliveries_of(day: dt.date) -> QuerySet[Booking]:
    """What is to be delivered on this day."""
    # Slots by number: the database finds their few bookings by an index, which a day would not make it do.
    slots = list(Slot.objects.filter(date=day).order_by().values_list("pk", flat=True))
    return Booking.objects.scheduled().filter(slot__in=slots).order_by()


def hours_back(hours: int) -> dt.datetime:
    """The start of the hour so many hours ago, this one included: each hour of a day is in 24 of them once."""
    this = timezone.localtime().replace(minute=0, second=0, microsecond=0)
    return this.astimezone(dt.UTC) - dt.timedelta(hours=hours - 1)


def replies_by_choice(since: dt.datetime) -> dict[str, int]:
    """The texts that chose an option; for those that chose none see `replies_by_hour`."""
    chosen = {name: condition for name, condition in CHOICES.items() if name != "none"}
    counts = {name: Count("pk", filter=condition) for name, condition in chosen.items()}
    return _replies(since).filter(_CHOSEN).aggregate(**counts)


def replies_by_hour(since: dt.datetime) -> tuple[list[tuple[int, int]], int]:
    """Hour of the day and texts of customers in it, from the hour in which `since` lies on, all 24; and how many of
    all these chose no option. Both in one pass over an index.
    """
    chose_none = ExpressionWrapper(CHOICES["none"], BooleanField())
    rows = _replies(since).values_list(ExtractHour("received_at"), chose_none)
    counted: Counter[int] = Counter()
    none = 0
    for hour, is_none, count in rows.annotate(n=Count("*")):
        counted[hour] += count
        none += count if is_none else 0
    first = timezone.localtime(since).hour
    return [(hour % 24, counted[hour % 24]) for hour in range(first, first + 24)], none


def _replies(since: dt.datetime) -> QuerySet[InboundMessage]:
    return InboundMessage.objects.filter(received_at__gte=since).order_by()


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
    reasons = dict(lost.values_list("reason").annotate(n=Count("*")))
    codes: dict[int, int] = {}
    for digits, count in lost.values_list(Left("msisdn", 3)).annotate(n=Count("*")):
        code = calling_code(digits)
        codes[code] = codes.get(code, 0) + count
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


def midnight(day: dt.date) -> dt.datetime:
    """When this day begins in the company's zone."""
    return timezone.make_aware(dt.datetime.combine(day, dt.time()))
