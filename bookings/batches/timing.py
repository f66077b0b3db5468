"""When the texts of a batch would leave, at the rate that is allowed and outside the quiet hours."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from bookings.models import OutboundMessage
from bookings.plans import LEAST_TIME_TO_ANSWER

#: Nobody is asked further ahead.
_MOST_DAYS = 30
#: More are not counted: by then it takes the better part of an hour anyway.
_MOST_COUNTED = 50_000


@dataclass(slots=True)
class Timing:
    """How many leave today, and why the others do not."""

    rate: float  # texts in a second
    ahead: int  # texts that wait already
    ends_at: dt.datetime  # when the last one leaves
    today: int = 0
    quiet: int = 0  # another day, because of the quiet hours
    slow: int = 0  # another day, because of the rate
    closed: int = 0  # never: too little time is left to answer when it is their turn


def count_ahead() -> int:
    """How many texts wait in the outbox before a new one."""
    return OutboundMessage.objects.queued()[:_MOST_COUNTED].count()


def timing(closes: Sequence[dt.datetime], now: dt.datetime, *, ahead: int = 0) -> Timing:
    """When texts for questions that close at these moments would leave, one after the other."""
    rate = allowed_rate()
    found = Timing(rate=rate, ahead=ahead, ends_at=now)
    today = timezone.localdate(now)
    turns = _turns(now, dt.timedelta(seconds=1 / rate))
    for _ in range(ahead):
        next(turns)
    for place, closes_at in enumerate(closes, start=ahead + 1):
        turn = next(turns)
        if turn > closes_at - LEAST_TIME_TO_ANSWER:
            found.closed += 1
            continue
        found.ends_at = turn
        if timezone.localdate(turn) == today:
            found.today += 1
        elif timezone.localdate(now + dt.timedelta(seconds=place / rate)) == today:
            found.quiet += 1
        else:
            found.slow += 1
    return found


def allowed_rate() -> float:
    """Texts in a second from one number of ours."""
    rates = (settings.SMS_RATE_PER_SECOND, settings.SMS_RATE_PER_NUMBER)
    return min(float(rate) for rate in rates if rate)


def _turns(now: dt.datetime, step: dt.timedelta) -> Iterator[dt.datetime]:
    """The moments at which one text after another may leave."""
    for start, end in _open_hours(now):
        turn = start + step
        while turn <= end:
            yield turn
            turn += step
    while True:
        yield now + dt.timedelta(days=_MOST_DAYS)


def _open_hours(now: dt.datetime) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """From when until when notifications may leave, in UTC, beginning now."""
    today = timezone.localdate(now)
    for day in (today + dt.timedelta(days=ahead) for ahead in range(_MOST_DAYS)):
        for start, end in _hours_of(day):
            if end > now:
                yield max(start, now), end


def _hours_of(day: dt.date) -> list[tuple[dt.datetime, dt.datetime]]:
    midnight, next_midnight = _wall(day, dt.time()), _wall(day + dt.timedelta(days=1), dt.time())
    if settings.QUIET_HOURS is None:
        return [(midnight, next_midnight)]
    start, end = (_wall(day, clock) for clock in settings.QUIET_HOURS)
    return [(end, start)] if start > end else [(midnight, start), (end, next_midnight)]


def _wall(day: dt.date, clock: dt.time) -> dt.datetime:
    return timezone.make_aware(dt.datetime.combine(day, clock)).astimezone(dt.UTC)
