"""What the texts of a month cost, by country, in the currency of the account with the gateway."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum

from bookings.models import SendAttempt
from bookings.scheduling.clock import midnight


@dataclass(frozen=True, slots=True)
class Cost:
    """What went to one country in a month."""

    country: str  # two capitals; "" if the numbers are nobody's
    texts: int
    parts: int
    unpriced: int  # parts without a price of the gateway: counted with our estimate
    amount: Decimal


def month_of(day: dt.date) -> dt.date:
    """The first day of its month."""
    return day.replace(day=1)


def next_month(month: dt.date) -> dt.date:
    return month_of(month + dt.timedelta(days=31))


def by_country(month: dt.date) -> list[Cost]:
    """The costs of a month in the company's zone, the dearest country first; nothing was sent: empty."""
    counted = _counted_in(month)
    earlier = counted.filter(message=OuterRef("message"), number__lt=OuterRef("number"))
    # Each text once. Nearly all went at their first try, of which nobody need ask for an earlier one.
    first = Q(number=1) | ~Exists(earlier)
    countries = counted.values("country").annotate(
        texts=Count("pk", filter=first),
        all_parts=Sum("counted_parts"),
        unpriced=Sum("unpriced_parts"),
        amount=Sum("cost"),
    )
    columns = ("country", "texts", "all_parts", "unpriced", "amount")
    costs = [Cost(*values) for values in countries.values_list(*columns)]
    return sorted(costs, key=lambda cost: (-cost.amount, cost.country))


def _counted_in(month: dt.date) -> QuerySet[SendAttempt]:
    """The tries of a month that the gateway took, or may have taken."""
    return SendAttempt.objects.filter(
        counted_parts__gt=0,
        call_started_at__gte=midnight(month),
        call_started_at__lt=midnight(next_month(month)),
    ).order_by()
