"""The cost of a day's texts, and the daily cap on it. A day is a day in the company's time zone.

The cost is added before each call, and subtracted again if the gateway did not take the text. All workers share the
row of a day: it is locked last, and for as short a time as possible.
"""

import datetime as dt
import logging
import re
from decimal import Decimal

from django.conf import settings
from django.db.models import F, Min, Sum
from django.db.models.functions import Left, Round
from django.utils import timezone

from bookings.models import Spending
from bookings.models.fields import country_of
from bookings.models.outbound import OutboundMessageQuerySet

logger = logging.getLogger(__name__)

_DECIMALS = 8
#: The first digits of a number that tell its country.
_DIGITS = 7
_DAYS_LOOKED_AT = 7
#: A balance that lasts for fewer days of usual spending is low.
_DAYS_LEFT = 2


class CapReachedError(Exception):
    """The day's cap has no room for this text."""


def price_per_part(country: str) -> Decimal:
    """Our estimate for one part to this country (two capitals), in the account's currency."""
    price: Decimal = settings.SMS_PRICES.get(country, settings.SMS_PRICE_PER_PART)
    return price


def estimate(parts: int, msisdn: str) -> Decimal:
    """Our estimate for a text of this many parts to this number, in the account's currency."""
    return price_per_part(country_of(msisdn)) * parts


def estimate_all(messages: OutboundMessageQuerySet) -> Decimal:
    """Our estimate for all of these messages together."""
    if not settings.SMS_PRICES:
        return price_per_part("") * (messages.aggregate(parts=Sum("parts"))["parts"] or 0)
    groups = messages.order_by().annotate(begins=Left("msisdn", _DIGITS)).values_list("begins")
    summed = groups.annotate(parts=Sum("parts"), example=Min("msisdn"))
    return sum((estimate(parts, example) for _, parts, example in summed), Decimal())


def left_of(day: dt.date) -> Decimal | None:
    """The amount that may still be spent on this day; None if there is no cap."""
    cap: Decimal | None = settings.SMS_DAILY_SPEND_CAP
    return None if cap is None else max(cap - Spending.of(day).amount, Decimal())


def has_room(today: Spending, parts: int, msisdn: str) -> bool:
    """Return True if today's cap has room for one more text of this many parts.

    Asked before a claim, so that nobody claims what cannot be sent. `count_up` has the last word.
    """
    cap = settings.SMS_DAILY_SPEND_CAP
    return cap is None or today.amount + estimate(parts, msisdn) <= cap


def count_up(day: dt.date, cost: Decimal) -> None:
    """Add the cost of an attempt to its day. Raises CapReachedError if the day's cap has no room for it."""
    # SQLite adds decimals as floats: rounded, they compare as the amounts they stand for.
    amount = Round(F("amount") + cost, precision=_DECIMALS)
    below_cap = Spending.objects.filter(day=day)
    if settings.SMS_DAILY_SPEND_CAP is not None:
        below_cap = below_cap.filter(amount__lte=settings.SMS_DAILY_SPEND_CAP - cost)
    if below_cap.update(amount=amount, stopped_at=None):
        return
    _create_row(day)
    if not below_cap.update(amount=amount, stopped_at=None):
        raise CapReachedError


def note_stop(day: dt.date) -> None:
    """Note since when the day's cap holds texts back, and log it once."""
    _create_row(day)
    if Spending.objects.filter(day=day, stopped_at=None).update(stopped_at=timezone.now()):
        logger.error(
            "Sending has stopped: the day's cap of %s is reached. Texts wait until midnight,"
            " or until SMS_DAILY_SPEND_CAP is raised.",
            settings.SMS_DAILY_SPEND_CAP,
        )


def correct(day: dt.date | None, change: Decimal, balance: str) -> None:
    """Add the difference between an attempt's cost and its estimate to its day, and store the account's balance.

    `balance` is as the gateway wrote it; "" if it wrote none. A balance that becomes low is logged.
    """
    left = _parse_balance(balance)
    if day is None or (not change and left is None):
        return
    usual = _usual(day)
    spent = Spending.objects.select_for_update().filter(day=day).first()
    if spent is None:
        return
    was_low = _is_low(spent, usual)
    spent.amount = max(spent.amount + change, Decimal())
    spent.balance = spent.balance if left is None else left
    spent.save(update_fields=["amount", "balance"])
    if _is_low(spent, usual) and not was_low:
        logger.warning("The balance of %s lasts for less than two days: top it up.", spent.balance)


def _create_row(day: dt.date) -> None:
    Spending.objects.bulk_create([Spending(day=day)], ignore_conflicts=True)


def _usual(day: dt.date) -> Decimal | None:
    """The mean of the last days with texts before this one; None if there are none."""
    past = Spending.objects.filter(day__lt=day, amount__gt=0).order_by("-day")
    amounts = list(past.values_list("amount", flat=True)[:_DAYS_LOOKED_AT])
    return sum(amounts, Decimal()) / len(amounts) if amounts else None


def _is_low(spent: Spending, usual: Decimal | None) -> bool:
    a_day = spent.amount if usual is None else usual
    return spent.balance is not None and spent.balance < _DAYS_LEFT * a_day


def _parse_balance(text: str) -> Decimal | None:
    """The balance, or None if the gateway wrote something else. The SMS has been sent: storing must not fail."""
    is_number = re.fullmatch(r"-?[0-9]{1,6}(\.[0-9]{1,8})?", text)
    return Decimal(text) if is_number else None
