"""What the texts of a month cost, by country, in the currency of the account with the gateway."""

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Left
from django.utils import timezone

from bookings.models import SendAttempt, SentPart
from bookings.models.fields import country_of

#: So many digits tell apart even the countries that share a code, such as Jersey and the rest of +44.
_DIGITS = 7


@dataclass(slots=True)
class Cost:
    """What went to one country in a month."""

    country: str  # two capitals; "" if the numbers are nobody's
    texts: int = 0
    parts: int = 0
    unpriced: int = 0  # parts without a price of the gateway: counted with our estimate
    amount: Decimal = Decimal()


def month_of(day: dt.date) -> dt.date:
    """The first day of its month."""
    return day.replace(day=1)


def next_month(month: dt.date) -> dt.date:
    return month_of(month + dt.timedelta(days=31))


def by_country(month: dt.date) -> list[Cost]:
    """The costs of a month in the company's zone, the dearest country first; nothing was sent: empty."""
    costs: dict[str, Cost] = {}
    taken = Exists(SentPart.objects.filter(attempt=OuterRef("pk")))
    sent = SendAttempt.objects.filter(Q(cost__gt=0) | taken)
    attempts = _of_month(sent, month, "call_started_at")
    for row in _grouped(
        attempts, "message__msisdn", texts=Count("message", distinct=True), amount=Sum("cost")
    ):
        cost = costs.setdefault(row["country"], Cost(row["country"]))
        cost.texts += row["texts"]
        cost.amount += row["amount"]
    for country, unpriced in _without_word(attempts).items():
        costs[country].parts += unpriced
        costs[country].unpriced += unpriced
    parts = _of_month(SentPart.objects.all(), month, "attempt__call_started_at")
    no_price = Count("pk", filter=Q(price=None, attempt__cost__gt=0))
    for row in _grouped(parts, "attempt__message__msisdn", parts=Count("pk"), unpriced=no_price):
        cost = costs.setdefault(row["country"], Cost(row["country"]))
        cost.parts += row["parts"]
        cost.unpriced += row["unpriced"]
    return sorted(costs.values(), key=lambda cost: (-cost.amount, cost.country))


def _without_word(attempts: QuerySet[Any]) -> dict[str, int]:
    """Parts that the gateway never named, since its answer was lost: by country, as we count them."""
    silent = attempts.filter(~Exists(SentPart.objects.filter(attempt=OuterRef("pk"))))
    found: dict[str, int] = defaultdict(int)
    for row in _grouped(silent, "message__msisdn", parts=Sum("message__parts")):
        found[row["country"]] += row["parts"]
    return found


def _of_month(rows: QuerySet[Any], month: dt.date, field: str) -> QuerySet[Any]:
    zone = timezone.get_default_timezone()
    first, end = (dt.datetime.combine(day, dt.time(), zone) for day in (month, next_month(month)))
    return rows.filter(**{f"{field}__gte": first, f"{field}__lt": end}).order_by()


def _grouped(rows: QuerySet[Any], number: str, **counted: Any) -> list[dict[str, Any]]:
    """Rows by the beginning of their numbers, each with the country of one of them."""
    groups = rows.annotate(begins=Left(number, _DIGITS)).values("begins")
    return [
        row | {"country": country_of(row["example"])}
        for row in groups.annotate(example=Min(number), **counted)
    ]
