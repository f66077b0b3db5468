"""Forecasts when the texts of a batch will leave: at the allowed rate, outside the quiet hours, within the caps."""

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

#: Nothing is forecast further ahead.
_MOST_DAYS = 30
#: More are not counted: these take most of an hour already.
_MOST_COUNTED = 50_000
#: The SMS parts of a notification that is not written yet.
_USUAL_PARTS = 2


@dataclass(frozen=True, slots=True)
class ForecastText:
    """A text that would be sent."""

    msisdn: str
    closes_at: dt.datetime
    cost: Decimal = Decimal()


@dataclass(frozen=True, slots=True)
class Backlog:
    """The texts that are sent before a new one."""

    texts: int = 0
    cost: Decimal = Decimal()  # counted only where a day's spending has a cap


@dataclass(slots=True)
class Timing:
    """The forecast: when the last text leaves, how many leave today, and why the others do not."""

    rate: float  # texts in a second
    ahead: int  # texts that wait already
    ends_at: dt.datetime  # when the last one leaves
    money: Decimal | None = None  # what may still be spent today; None: no cap
    today: int = 0
    quiet: int = 0  # a later day, because of the quiet hours
    slow: int = 0  # a later day, because of the rate
    dear: int = 0  # a later day, because of today's spending cap
    capped: int = 0  # a later day, because of the number's daily cap
    paused: int = 0  # later today, because of the number's hourly cap
    closed: int = 0  # never: when it is their turn, too little time is left to answer


def count_ahead(now: dt.datetime) -> Backlog:
    """Count the queued texts that nothing stops, and the customers whom other batches have still to ask."""
    queued, to_ask = unstopped(now), BatchEntry.objects.to_ask()
    cost = Decimal()
    if settings.SMS_DAILY_SPEND_CAP is not None:
        numbers = to_ask.order_by().values_list("booking__msisdn", flat=True)
        unwritten = (spending.estimate(_USUAL_PARTS, msisdn) for msisdn in numbers)
        cost = spending.estimate_all(queued) + sum(unwritten, Decimal())
    texts = queued[:_MOST_COUNTED].count() + to_ask[:_MOST_COUNTED].count()
    return Backlog(min(texts, _MOST_COUNTED), cost)


class Forecast:
    """Takes texts to these numbers in the order in which the senders will, and counts them in `timing`."""

    def __init__(self, msisdns: set[str], now: dt.datetime, ahead: Backlog) -> None:
        self._now, self._today = now, timezone.localdate(now)
        self.timing = Timing(rate=allowed_rate(), ahead=ahead.texts, ends_at=now)
        self._turns = _Turns(now, dt.timedelta(seconds=1 / self.timing.rate))
        for _ in range(ahead.texts):
            self._turns.next()
        self._purse = _Purse(self._today, ahead.cost)
        self.timing.money = self._purse.left
        self._counts = caps.RecentTexts(msisdns, now)
        self._position = ahead.texts
        self._is_spent = False  # today's money, before the day was over

    def add(self, text: ForecastText) -> None:
        """Add the next text."""
        self._position += 1
        turn = self._turn(text)
        free_at, why = self._counts.free_at(text.msisdn, turn)
        leaves = next(sending_hours(free_at, _MOST_DAYS))[0] if why else turn
        if leaves > text.closes_at - LEAST_TIME_TO_ANSWER:
            self.timing.closed += 1
            return
        self._counts.add(text.msisdn, leaves)
        self.timing.ends_at = max(self.timing.ends_at, leaves)
        self._count(leaves, is_capped=bool(why))

    def _turn(self, text: ForecastText) -> dt.datetime:
        """The moment of the text's turn, once the spending cap allows it. A text that comes too late costs nothing."""
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
        by_rate = self._now + dt.timedelta(seconds=self._position / self.timing.rate)
        if timezone.localdate(leaves) == self._today:
            self.timing.today += 1
            self.timing.paused += is_capped
        elif is_capped:
            self.timing.capped += 1
        elif self._is_spent:
            self.timing.dear += 1
        elif timezone.localdate(by_rate) == self._today:
            self.timing.quiet += 1
        else:
            self.timing.slow += 1


class _Turns:
    """The moments at which one text after another may leave, by the rate and the quiet hours."""

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
        """Let no text leave before this moment."""
        self._turn = max(self._turn, moment)


class _Purse:
    """The money that may be spent, day by day. A text that does not fit waits for another day, with all behind it."""

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
    """Return how many texts leave in a second from one of our numbers."""
    rates = (settings.SMS_RATE_PER_SECOND, settings.SMS_RATE_PER_NUMBER)
    return min(float(rate) for rate in rates if rate)
