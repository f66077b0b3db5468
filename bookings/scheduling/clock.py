"""The company's clock: where its days begin, and its quiet hours. All in the zone `TIME_ZONE`."""

import datetime as dt
from collections.abc import Iterator

from django.conf import settings
from django.utils import timezone


def at_wall_clock(day: dt.date, clock: dt.time) -> dt.datetime:
    """The moment at which the clock shows this time on this day, in UTC."""
    return timezone.make_aware(dt.datetime.combine(day, clock)).astimezone(dt.UTC)


def midnight(day: dt.date) -> dt.datetime:
    """The moment at which this day begins, in UTC."""
    return at_wall_clock(day, dt.time())


def is_quiet(now: dt.datetime) -> bool:
    """Return True in the quiet hours of the settings."""
    return settings.QUIET_HOURS is not None and is_within(now, settings.QUIET_HOURS)


def is_within(now: dt.datetime, hours: tuple[dt.time, dt.time]) -> bool:
    """Return True if the clock stands between these times. The end may lie on the next day."""
    start, end = hours
    clock = timezone.localtime(now).time()
    return start <= clock < end if start <= end else clock >= start or clock < end


def time_since_end(now: dt.datetime, hours: tuple[dt.time, dt.time]) -> dt.timedelta | None:
    """The time since these hours ended last; None while they last."""
    if is_within(now, hours):
        return None
    local, end = timezone.localtime(now), hours[1]
    day = local.date() if local.time() >= end else local.date() - dt.timedelta(days=1)
    return now - at_wall_clock(day, end)


def sending_hours(now: dt.datetime, days: int) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """The start and end of each stretch outside the quiet hours, in UTC, from now on for this many days."""
    today = timezone.localdate(now)
    for day in (today + dt.timedelta(days=ahead) for ahead in range(days)):
        for start, end in _sending_hours_of(day):
            if end > now:
                yield max(start, now), end


def _sending_hours_of(day: dt.date) -> list[tuple[dt.datetime, dt.datetime]]:
    next_midnight = midnight(day + dt.timedelta(days=1))
    if settings.QUIET_HOURS is None:
        return [(midnight(day), next_midnight)]
    start, end = (at_wall_clock(day, clock) for clock in settings.QUIET_HOURS)
    return [(end, start)] if start > end else [(midnight(day), start), (end, next_midnight)]
