"""What the texts of a day cost, and the cap on it. A day is one in the company's zone.

Counted up before each call and down again if nobody took the text. The row of a day is shared by all workers: it is
locked last, and for as short as can be.
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
#: So many digits of a number tell its country.
_DIGITS = 7
_DAYS_LOOKED_AT = 7
#: A balance for less than so many days of spending is low.
_DAYS_LEFT = 2


class CapReachedError(Exception):
    """The day's cap has no room for this text."""


def price_per_part(country: str) -> Decimal:
    """What a part to this country (two capitals) is counted with, in the account's currency."""
    price: Decimal = settings.SMS_PRICES.get(country, settings.SMS_PRICE_PER_PART)
    return price


def estimate(parts: int, msisdn: str) -> Decimal:
    """What a text of so many parts to this number is counted with, in the account's currency."""
    return price_per_part(country_of(msisdn)) * parts


def estimate_all(messages: OutboundMessageQuerySet) -> Decimal:
    """What all of these are counted with together."""
    if not settings.SMS_PRICES:
        return price_per_part("") * (messages.aggregate(parts=Sum("parts"))["parts"] or 0)
    groups = messages.order_by().annotate(begins=Left("msisdn", _DIGITS)).values_list("begins")
    summed = groups.annotate(parts=Sum("parts"), example=Min("msisdn"))
    return sum((estimate(parts, example) for _, parts, example in summed), Decimal())


def left_of(day: dt.date) -> Decimal | None:
    """What the day's cap leaves to be spent; None if there is no cap."""
    cap: Decimal | None = settings.SMS_DAILY_SPEND_CAP
    return None if cap is None else max(cap - Spending.of(day).amount, Decimal())


def has_room(parts: int, msisdn: str) -> bool:
    """Whether today's cap has room for one more text of so many parts. If not, that is noted and told, once.

    Only a look ahead, so that nobody claims what cannot go: `count_up` decides.
    """
    cap = settings.SMS_DAILY_SPEND_CAP
    today = Spending.of(timezone.localdate())
    if cap is None or today.amount + estimate(parts, msisdn) <= cap:
        return True
    if today.stopped_at is None:
        stop(today.day)
    return False


def count_up(day: dt.date, cost: Decimal) -> None:
    """Add the cost of an attempt to its day. Raises CapReachedError if the day's cap has no room for it."""
    # SQLite adds decimals up as floats: rounded, they compare as what they stand for.
    amount = Round(F("amount") + cost, precision=_DECIMALS)
    room = Spending.objects.filter(day=day)
    if settings.SMS_DAILY_SPEND_CAP is not None:
        room = room.filter(amount__lte=settings.SMS_DAILY_SPEND_CAP - cost)
    if room.update(amount=amount, stopped_at=None):
        return
    _begin(day)
    if not room.update(amount=amount, stopped_at=None):
        raise CapReachedError


def stop(day: dt.date) -> None:
    """The day's cap holds texts back: note since when, and tell it once."""
    _begin(day)
    if Spending.objects.filter(day=day, stopped_at=None).update(stopped_at=timezone.now()):
        logger.error(
            "Sending has stopped: the day's cap of %s is reached. Texts wait until midnight,"
            " or until SMS_DAILY_SPEND_CAP is raised.",
            settings.SMS_DAILY_SPEND_CAP,
        )


def note(day: dt.date | None, change: Decimal, balance: str) -> None:
    """An attempt of that day costs so much more or less than it was counted with, and this is left on the account."""
    left = _balance(balance)
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


def _begin(day: dt.date) -> None:
    Spending.objects.bulk_create([Spending(day=day)], ignore_conflicts=True)


def _usual(day: dt.date) -> Decimal | None:
    """The mean of the last days that texts were sent on; None if that day is the first."""
    past = Spending.objects.filter(day__lt=day, amount__gt=0).order_by("-day")
    amounts = list(past.values_list("amount", flat=True)[:_DAYS_LOOKED_AT])
    return sum(amounts, Decimal()) / len(amounts) if amounts else None


def _is_low(spent: Spending, usual: Decimal | None) -> bool:
    a_day = spent.amount if usual is None else usual
    return spent.balance is not None and spent.balance < _DAYS_LEFT * a_day


def _balance(text: str) -> Decimal | None:
    """Whatever stands there, it must be possible to store it: the SMS has left."""
    known = re.fullmatch(r"-?[0-9]{1,6}(\.[0-9]{1,8})?", text)
    return Decimal(text) if known else None
