"""When the texts of a batch would leave: at the allowed rate, outside the quiet hours, within the caps."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.utils import timezone

from bookings.models import BatchEntry
from bookings.notifications.drafts import LEAST_TIME_TO_ANSWER
from bookings.outbox import caps, spending
from bookings.outbox.claiming import unstopped
from bookings.scheduling.clock import midnight, sending_hours

#: Nobody is asked further ahead.
_MOST_DAYS = 30
#: More are not counted: by then it takes the better part of an hour anyway.
_MOST_COUNTED = 50_000
#: What a notification takes that is not worded yet.
_USUAL_PARTS = 2


@dataclass(frozen=True, slots=True)
class Planned:
    """A text that would be sent."""

    msisdn: str
    closes_at: dt.datetime
    cost: Decimal = Decimal()


@dataclass(frozen=True, slots=True)
class Ahead:
    """What waits in the outbox before a new text."""

    texts: int = 0
    cost: Decimal = Decimal()  # counted only where a day's spending has a cap


@dataclass(slots=True)
class Timing:
    """How many leave today, and why the others do not."""

    rate: float  # texts in a second
    ahead: int  # texts that wait already
    ends_at: dt.datetime  # when the last one leaves
    money: Decimal | None = None  # what may still be spent today; None: no cap
    today: int = 0
    quiet: int = 0  # another day, because of the quiet hours
    slow: int = 0  # another day, because of the rate
    dear: int = 0  # another day, because today's money is spent by then
    capped: int = 0  # another day, because their numbers have had enough for one
    paused: int = 0  # later today, because their numbers have had enough for an hour
    closed: int = 0  # never: too little time is left to answer when it is their turn


def count_ahead(now: dt.datetime) -> Ahead:
    """What goes before a new text: what waits and nothing stops, and customers whom other batches are still to ask."""
    queued, to_ask = unstopped(now), BatchEntry.objects.to_ask()
    cost = Decimal()
    if settings.SMS_DAILY_SPEND_CAP is not None:
        numbers = to_ask.order_by().values_list("booking__msisdn", flat=True)
        unwritten = (spending.estimate(_USUAL_PARTS, msisdn) for msisdn in numbers)
        cost = spending.estimate_all(queued) + sum(unwritten, Decimal())
    texts = queued[:_MOST_COUNTED].count() + to_ask[:_MOST_COUNTED].count()
    return Ahead(min(texts, _MOST_COUNTED), cost)


class Walk:
    """Goes through texts to these numbers in their order, as the senders will, and counts what it has `found`."""

    def __init__(self, msisdns: set[str], now: dt.datetime, ahead: Ahead) -> None:
        self._now, self._today = now, timezone.localdate(now)
        self.found = Timing(rate=allowed_rate(), ahead=ahead.texts, ends_at=now)
        self._turns = _Turns(now, dt.timedelta(seconds=1 / self.found.rate))
        for _ in range(ahead.texts):
            self._turns.next()
        self._purse = _Purse(self._today, ahead.cost)
        self.found.money = self._purse.left
        self._counts = caps.RecentTexts(msisdns, now)
        self._place = ahead.texts
        self._is_spent = False  # today's money, before the day was over

    def take(self, text: Planned) -> None:
        """The next text."""
        self._place += 1
        turn = self._turn(text)
        free_at, why = self._counts.free_at(text.msisdn, turn)
        leaves = next(sending_hours(free_at, _MOST_DAYS))[0] if why else turn
        if leaves > text.closes_at - LEAST_TIME_TO_ANSWER:
            self.found.closed += 1
            return
        self._counts.add(text.msisdn, leaves)
        self.found.ends_at = max(self.found.ends_at, leaves)
        self._count(leaves, is_capped=bool(why))

    def _turn(self, text: Planned) -> dt.datetime:
        """When it is its turn, and there is money for it. What comes too late costs none."""
        turn = self._turns.next()
        while turn <= text.closes_at - LEAST_TIME_TO_ANSWER:
            day = timezone.localdate(turn)
            if self._purse.takes(text.cost, day):
                break
            self._is_spent = self._is_spent or day == self._today
            self._turns.skip_to(midnight(day + dt.timedelta(days=1)))
            turn = self._turns.next()
        return turn

    def _count(self, leaves: dt.datetime, *, is_capped: bool) -> None:
        by_rate = self._now + dt.timedelta(seconds=self._place / self.found.rate)
        if timezone.localdate(leaves) == self._today:
            self.found.today += 1
            self.found.paused += is_capped
        elif is_capped:
            self.found.capped += 1
        elif self._is_spent:
            self.found.dear += 1
        elif timezone.localdate(by_rate) == self._today:
            self.found.quiet += 1
        else:
            self.found.slow += 1


class _Turns:
    """The moments at which one text after another may leave."""

    def __init__(self, now: dt.datetime, step: dt.timedelta) -> None:
        self._hours, self._step = sending_hours(now, _MOST_DAYS), step
        self._turn, self._end = next(self._hours)
        self._never = now + dt.timedelta(days=_MOST_DAYS)

    def next(self) -> dt.datetime:
        while self._turn + self._step > self._end:
            start, self._end = next(
                self._hours, (self._never, dt.datetime.max.replace(tzinfo=dt.UTC))
            )
            self._turn = max(self._turn, start)
        self._turn += self._step
        return self._turn

    def skip_to(self, moment: dt.datetime) -> None:
        """The next one is not before then."""
        self._turn = max(self._turn, moment)


class _Purse:
    """What may be spent, day by day. Whatever does not fit waits for another day, and so does all behind it."""

    def __init__(self, today: dt.date, waiting: Decimal) -> None:
        self._day, left = today, spending.left_of(today)
        self._cap: Decimal = settings.SMS_DAILY_SPEND_CAP or Decimal()
        self.left: Decimal | None = None if left is None else max(left - waiting, Decimal())

    def takes(self, cost: Decimal, day: dt.date) -> bool:
        if self.left is None:
            return True
        left = self.left if day == self._day else self._cap
        self._day, is_enough = day, cost <= left
        self.left = left - cost if is_enough else left
        return is_enough


def allowed_rate() -> float:
    """Texts in a second from one number of ours."""
    rates = (settings.SMS_RATE_PER_SECOND, settings.SMS_RATE_PER_NUMBER)
    return min(float(rate) for rate in rates if rate)
