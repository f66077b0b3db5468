"""What stands on a customer's phone, read back with plain patterns. Knows the texts, and nothing of the code."""

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
    """A slot as a customer knows it. The clocks of the campaign stand at UTC."""

    place: str
    date: dt.date
    start: dt.time
    end: dt.time

    @property
    def cutoff(self) -> dt.datetime:
        return dt.datetime.combine(self.date, self.start, dt.UTC) - dt.timedelta(hours=12)


@dataclass(kw_only=True)
class SentNotification:
    """A notification that a text put, and which tries to send it may have reached the phone."""

    reference: str
    msisdn: str
    booked: SlotKey
    options: dict[int, SlotKey]
    until: dt.datetime
    asked_at: dt.datetime
    calls: dict[str, bool] = field(default_factory=dict)  # client-ref: the network took it
    ended_at: dt.datetime | None = None  # withdrawn
    answered_at: dt.datetime | None = None  # by one of its digits, whatever came of it
    is_doubtful: bool = False  # it may have been asked afresh by now

    @property
    def was_taken(self) -> bool:
        return any(self.calls.values())

    def is_open(self, now: dt.datetime) -> bool:
        return self.ended_at is None and now < self.until


def read_notification(text: str, msisdn: str, now: dt.datetime) -> SentNotification | None:
    """The notification in a notification, with what each digit stands for."""
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
        date = dt.date.min  # untrue: no slot is on that day
    window = (dt.time.fromisoformat(start), dt.time.fromisoformat(end)) if start else booked[2:]
    return SlotKey("post_office" if office else "door", date, *window)


def read_told(text: str, now: dt.datetime) -> tuple[str, SlotKey | None] | None:
    """The delivery that a text is about and where it says that this is planned, None: cancelled."""
    if found := _CANCELLED.search(text):
        return found[1], None
    found = _TOLD.search(text)
    if found is None:
        return None
    reference, office, day, start, end = found.groups()
    return reference, _slot_key(office, day, start, end, now)


def read_offers(text: str) -> list[tuple[str, set[int]]]:
    """The digits that a text which is no notification offers again, for each delivery."""
    return [
        (reference, {int(d) for d in _DIGIT.findall(listed)})
        for reference, listed, _ in _OFFERED.findall(text)
    ]


def read_reminder(text: str, now: dt.datetime) -> tuple[str, SlotKey, set[int]] | None:
    """The delivery that a reminder is about, where it says that this is planned, and the digits that it repeats."""
    found = _REMINDER.search(text)
    if found is None:
        return None
    reference, office, day, start, end, options, _ = found.groups()
    digits = {int(digit) for digit in _DIGIT.findall(_IN_BRACKETS.sub("", options))}
    return reference, _slot_key(office, day, start, end, now), digits


def is_about_texts(text: str) -> bool:
    """The help and the confirmation of a STOP: what somebody who has opted out may be sent."""
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
