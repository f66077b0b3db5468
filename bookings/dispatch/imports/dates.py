"""Reads dates and times from a spreadsheet. A date with two readings is refused, with the way to write it.

A month in words, or the year first, has one reading. So do dots: dates with dots have the day first. With slashes or
hyphens and the year last, half the world puts the month first, so such a date is never accepted. Why not even
24/11/2026, which has one reading: the same file would be accepted on the 24th and refused on the 4th.
"""

import calendar
import datetime as dt
import re
from collections.abc import Iterator

from bookings.models.schedule import EARLIEST, LATEST

_MONTHS = {
    name.lower(): number
    for names in (calendar.month_name, calendar.month_abbr)
    for number, name in enumerate(names)
    if name
} | {"sept": 9}
_DAYS = {
    name.lower(): number
    for names in (calendar.day_name, calendar.day_abbr)
    for number, name in enumerate(names)
} | {"tues": 1, "thur": 3, "thurs": 3}

_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d\d?)\2(\d\d?)", re.ASCII)
_DOTTED = re.compile(r"(\d\d?)\.(\d\d?)\.(\d{4})", re.ASCII)
_IN_WORDS = re.compile(
    r"(?:(?P<weekday>[a-z]+)\.?,?\s+)?(?P<day>\d\d?)(?:st|nd|rd|th)?[\s./-]+(?P<month>[a-z]+)\.?,?[\s/-]+(?P<year>\d{4})",
    re.ASCII | re.IGNORECASE,
)
_EITHER_WAY = re.compile(r"(\d\d?)([-/])(\d\d?)\2(\d{4})", re.ASCII)
_TIME = re.compile(r"(\d\d?:\d\d)(?::00)?", re.ASCII)

_EXAMPLES = "Use 2026-11-24 or 24 Nov 2026"


def read_date(text: str) -> dt.date:
    """Return the one date that the text can mean. Raises ValueError with a sentence for staff."""
    if not text:
        raise ValueError("The date is missing.")
    _refuse_two_readings(text)
    date = _date(text)
    if date is None or not EARLIEST <= date <= LATEST:
        raise ValueError(f"Date {text[:40]!r} not recognised. {_EXAMPLES}.")
    return date


def read_time(text: str, what: str) -> dt.time:
    """Return a time in hours and minutes with a colon. Raises ValueError: 9.30 could also mean 9.3 hours."""
    if not text:
        raise ValueError(f"The {what} is missing.")
    found = _TIME.fullmatch(text)
    try:
        return dt.time.fromisoformat(found[1].zfill(5) if found else "")
    except ValueError:
        raise ValueError(f"{what.capitalize()} {text[:40]!r} not recognised. Use 09:00.") from None


def _date(text: str) -> dt.date | None:
    if found := _YEAR_FIRST.fullmatch(text):
        return _valid(found[1], found[3], found[4])
    if found := _DOTTED.fullmatch(text):
        return _valid(found[3], found[2], found[1])
    found = _IN_WORDS.fullmatch(text)
    return _in_words(found) if found else None


def _in_words(found: re.Match[str]) -> dt.date | None:
    date = _valid(found["year"], _MONTHS.get(found["month"].lower(), 0), found["day"])
    weekday = (found["weekday"] or "").lower()
    if date is None or (weekday and weekday not in _DAYS):
        return None
    if weekday and _DAYS[weekday] != date.weekday():
        raise ValueError(
            f"{found[0]!r} contradicts itself: {_shown(date)} is a {calendar.day_name[date.weekday()]}."
        )
    return date


def _refuse_two_readings(text: str) -> None:
    """Raise ValueError, naming the possible dates, for a date in a form that people read differently."""
    found = _EITHER_WAY.fullmatch(text)
    if found is None:
        return
    readings = list(_readings(found))
    could_be = " or ".join(map(_shown, readings))
    write = " or ".join(date.isoformat() for date in readings)
    if len(readings) == 1:
        raise ValueError(f"{text!r} is ambiguous for other dates written this way. Use {write}.")
    if readings:
        raise ValueError(f"{text!r} is ambiguous: {could_be}? Use {write}.")


def _readings(found: re.Match[str]) -> Iterator[dt.date]:
    """Yield each date that it can mean, once: day first, then month first."""
    one, other, year = found[1], found[3], found[4]
    dates = {_valid(year, other, one): None, _valid(year, one, other): None}
    return (date for date in dates if date is not None)


def _valid(year: str, month: str | int, day: str) -> dt.date | None:
    try:
        return dt.date(int(year), int(month), int(day))
    except ValueError:
        return None


def _shown(date: dt.date) -> str:
    return f"{date.day} {calendar.month_name[date.month]} {date.year}"
