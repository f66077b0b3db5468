"""Reads SMS texts as a customer does: plain patterns for the texts, without the product's code."""

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import NamedTuple

_DAY = r"\w{3} (\d{1,2} \w{3})"
_WHERE = rf"(the post office, )?{_DAY} (\d\d:\d\d)-(\d\d:\d\d)"
_TOLD = re.compile(rf"[Pp]arcel ([\w-]+) .*?(?:planned for|moved to|as planned:|Planned:) {_WHERE}")
_CANCELLED = re.compile(r"parcel ([\w-]+) is cancelled")
_NOTIFICATION = re.compile(
    rf"your parcel ([\w-]+) is planned for {_WHERE}\. Reply (.*) before {_DAY} (\d\d:\d\d)\."
)
_REMINDER = re.compile(
    rf"a reminder of your parcel ([\w-]+), planned for {_WHERE}\. Reply (.*) before {_DAY} \d\d:\d\d\."
)
_OPTION = re.compile(
    rf"(\d) \((post office)? ?(today|tomorrow)? ?(?:{_DAY})? ?(?:(\d\d:\d\d)-(\d\d:\d\d))?\)"
)
_OFFERED = re.compile(rf"Parcel ([\w-]+): (\d.*?), before {_DAY} \d\d:\d\d")
_IN_BRACKETS = re.compile(r" \([^)]*\)")
_DIGIT = re.compile(r"(?:^|, | or )(\d)(?=$|[ ,])")


class SlotKey(NamedTuple):
    """A slot as a text names it. Times are in UTC, the time zone of the campaigns."""

    place: str
    date: dt.date
    start: dt.time
    end: dt.time

    @property
    def cutoff(self) -> dt.datetime:
        """Return the time from which a reply can no longer choose or leave the slot."""
        return dt.datetime.combine(self.date, self.start, dt.UTC) - dt.timedelta(hours=12)


@dataclass(kw_only=True)
class SentNotification:
    """A notification as its text says it, and the attempts that may have reached the phone."""

    reference: str
    msisdn: str
    booked: SlotKey
    options: dict[int, SlotKey]
    until: dt.datetime
    asked_at: dt.datetime
    calls: dict[str, bool] = field(
        default_factory=dict
    )  # by client-ref: whether the network accepted it
    ended_at: dt.datetime | None = None  # withdrawn
    answered_at: dt.datetime | None = None  # by one of its digits, with or without effect
    is_doubtful: bool = False  # the customer may have been notified afresh since

    @property
    def was_taken(self) -> bool:
        """Return True if the network accepted one of its attempts."""
        return any(self.calls.values())

    def is_open(self, now: dt.datetime) -> bool:
        """Return True if its digits can be chosen."""
        return self.ended_at is None and now < self.until


def read_notification(text: str, msisdn: str, now: dt.datetime) -> SentNotification | None:
    """Read a notification with the slot of each digit; None if the text is none."""
    found = _NOTIFICATION.search(text)
    if found is None:
        return None
    reference, office, day, start, end, options, until_day, until = found.groups()
    booked = _slot_key(office, day, start, end, now)
    return SentNotification(
        reference=reference,
        msisdn=msisdn,
        booked=booked,
        options={
            int(option[1]): _option(option, booked, now) for option in _OPTION.finditer(options)
        },
        until=_moment(until_day, until, now),
        asked_at=now,
    )


def _option(found: re.Match[str], booked: SlotKey, now: dt.datetime) -> SlotKey:
    _, office, relative, day, start, end = found.groups()
    date = _date(day, now) if day else booked.date
    if relative and date != now.date() + dt.timedelta(days=relative == "tomorrow"):
        date = dt.date.min  # the word is wrong: no slot is on that day
    window = (dt.time.fromisoformat(start), dt.time.fromisoformat(end)) if start else booked[2:]
    return SlotKey("post_office" if office else "door", date, *window)


def read_told(text: str, now: dt.datetime) -> tuple[str, SlotKey | None] | None:
    """Read the delivery that a text informs about and its slot (None: cancelled); None if the text is none."""
    if found := _CANCELLED.search(text):
        return found[1], None
    found = _TOLD.search(text)
    if found is None:
        return None
    reference, office, day, start, end = found.groups()
    return reference, _slot_key(office, day, start, end, now)


def read_offers(text: str) -> list[tuple[str, set[int]]]:
    """Read the digits that a text offers again, for each delivery."""
    return [
        (reference, {int(d) for d in _DIGIT.findall(listed)})
        for reference, listed, _ in _OFFERED.findall(text)
    ]


def read_reminder(text: str, now: dt.datetime) -> tuple[str, SlotKey, set[int]] | None:
    """Read a reminder: its delivery, slot and digits; None if the text is none."""
    found = _REMINDER.search(text)
    if found is None:
        return None
    reference, office, day, start, end, options, _ = found.groups()
    digits = {int(digit) for digit in _DIGIT.findall(_IN_BRACKETS.sub("", options))}
    return reference, _slot_key(office, day, start, end, now), digits


def is_about_texts(text: str) -> bool:
    """Return True for the texts that a customer who has opted out may get: help, and the confirmation of STOP."""
    return "no more texts about" in text or "we text about deliveries" in text


def _slot_key(office: str | None, day: str, start: str, end: str, now: dt.datetime) -> SlotKey:
    place = "post_office" if office else "door"
    return SlotKey(place, _date(day, now), dt.time.fromisoformat(start), dt.time.fromisoformat(end))


def _date(day: str, now: dt.datetime) -> dt.date:
    return dt.datetime.strptime(f"{day} {now.year}", "%d %b %Y").date()  # noqa: DTZ007  # a date


def _moment(day: str, clock: str, now: dt.datetime) -> dt.datetime:
    hours, minutes = map(int, clock.split(":"))  # midnight is 24:00
    midnight = dt.datetime.combine(_date(day, now), dt.time(), dt.UTC)
    return midnight + dt.timedelta(hours=hours, minutes=minutes)
