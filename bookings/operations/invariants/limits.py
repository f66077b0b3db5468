"""No message was sent against a limit: consent, allowed countries, caps of a number, spending.

Two invariants cannot be checked here. Rows stored without authentication (I10) look like any other; the webhook's tests
count them. Messages that only the gateway knows of (I5) show in its receipts and its invoice.
"""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

from django.conf import settings
from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet, Subquery, Sum, Window
from django.db.models.functions import Lag, Left
from django.utils import timezone

from bookings.models import ConsentChange, SendAttempt, Spending
from bookings.models.fields import country_of
from bookings.models.outbound import DESPITE_OPT_OUT
from bookings.operations.invariants.sending import MAY_HAVE_LEFT
from bookings.outbox.claiming import LEASE

#: Settings change: only messages of this time are compared with them.
_SINCE = dt.timedelta(days=1)

#: Digits that tell apart the countries that share a code: Jersey's mobiles begin with 447797, Canada's with 1416.
_COUNTRY_DIGITS = 7

#: SQLite adds decimals as floats.
_ROUNDING = Decimal("0.000001")


def nothing_is_sent_after_an_opt_out() -> Iterator[str]:
    """Consent is checked at the claim, up to a lease before the call: the customer was opted out all that time."""
    before = ConsentChange.objects.filter(
        msisdn=OuterRef("message__msisdn"), created_at__lte=OuterRef("call_started_at") - LEASE
    ).order_by("-created_at", "-pk")
    in_again = ConsentChange.objects.filter(
        msisdn=OuterRef("message__msisdn"),
        is_opted_out=False,
        created_at__gt=OuterRef("call_started_at") - LEASE,
        created_at__lte=OuterRef("call_started_at"),
    )
    numbers = ConsentChange.objects.filter(is_opted_out=True).values("msisdn")
    against = (
        SendAttempt.objects.filter(message__msisdn__in=numbers)
        .exclude(message__kind__in=DESPITE_OPT_OUT)
        .annotate(was_out=Subquery(before.values("is_opted_out")[:1]))
        .filter(~Exists(in_again), was_out=True)
    )
    for attempt in against.order_by("pk"):
        yield f"I8 outbound message {attempt.message_id}: sent to somebody who had opted out"


def texts_went_where_they_may() -> Iterator[str]:
    """One number for each beginning is looked up, then all numbers with the beginnings that are not allowed."""
    if not settings.SMS_COUNTRIES:
        return
    begins = Left("message__msisdn", _COUNTRY_DIGITS)
    examples = _lately().values(begins=begins).annotate(example=Min("message__msisdn")).order_by()
    strange = [
        begin for begin, example in examples.values_list("begins", "example") if _is_off(example)
    ]
    for begin in strange:
        went = _lately().filter(message__msisdn__startswith=begin).order_by("pk")
        for message, msisdn in went.values_list("message", "message__msisdn"):
            if _is_off(msisdn):
                yield f"I8 outbound message {message}: sent to a country that is not on the list"


def numbers_got_no_more_than_they_may() -> Iterator[str]:
    most = settings.SMS_PER_NUMBER_HOUR
    # As many texts ago as an hour may have: that one must be an hour old.
    earlier = Window(
        Lag("call_started_at", most), partition_by="message__msisdn", order_by="call_started_at"
    )
    # A call starts up to a lease after its claim, at which the texts are counted.
    within = dt.timedelta(hours=1) - LEASE
    dense = _lately().annotate(earlier=earlier).filter(call_started_at__lt=F("earlier") + within)
    for message in dense.order_by("pk").values_list("message", flat=True):
        yield f"I8 outbound message {message}: its number got more than {most} in an hour"
    most = settings.SMS_PER_NUMBER_DAY
    many = _lately().values("message__msisdn").annotate(count=Count("pk"), first=Min("message"))
    for message in many.filter(count__gt=most).order_by("first").values_list("first", flat=True):
        yield f"I8 outbound message {message}: its number got more than {most} in a day"


def spending_is_what_the_attempts_cost() -> Iterator[str]:
    """One statement, so that an attempt that is counted meanwhile is in both sums or in neither."""
    amount = Spending.objects.filter(day=OuterRef("spent_on")).values("amount")
    taken = Q(verdict__in=MAY_HAVE_LEFT)
    days = (
        SendAttempt.objects.filter(spent_on__isnull=False)
        .values("spent_on")
        .annotate(spent=Sum("cost", filter=taken, default=Decimal()), amount=Subquery(amount))
        .order_by("spent_on")
    )
    known = set()
    for day, spent, counted in days.values_list("spent_on", "spent", "amount"):
        known.add(day)
        if abs(spent - (counted or Decimal())) > _ROUNDING:
            yield f"I8 spending of {day}: it is not the sum of what the attempts of that day cost"
    idle = Spending.objects.filter(amount__gt=0).exclude(day__in=known).order_by("day")
    for day in idle.values_list("day", flat=True):
        yield f"I8 spending of {day}: it is not the sum of what the attempts of that day cost"


def _lately() -> QuerySet[SendAttempt]:
    """Attempts of the last day with which a message may have been sent."""
    since = timezone.now() - _SINCE
    return SendAttempt.objects.filter(call_started_at__gt=since, verdict__in=MAY_HAVE_LEFT)


def _is_off(msisdn: str) -> bool:
    return country_of(msisdn) not in settings.SMS_COUNTRIES


CHECKS = (
    nothing_is_sent_after_an_opt_out,
    texts_went_where_they_may,
    numbers_got_no_more_than_they_may,
    spending_is_what_the_attempts_cost,
)
