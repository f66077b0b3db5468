"""A fortnight at the demo's company: the week behind us, today, and the six days ahead.

Everything is told from the moment of the start, so that today and tomorrow are full at whatever hour that is.
"""

import datetime as dt
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator

from django.db.models import F
from django.utils import timezone
from django.utils.formats import date_format

from bookings.management.demo.company import Company, Fate
from bookings.management.demo.customers import ANOTHER_DAY, POST_OFFICE, Customers
from bookings.management.demo.imports import hand_in, record_of
from bookings.management.demo.staff import Staff
from bookings.models import (
    ActKind,
    Batch,
    BatchEntry,
    BatchState,
    Booking,
    Consent,
    Notification,
    NotificationState,
    Place,
    Slot,
    SlotOption,
    StaffAct,
    WeeklySlot,
)
from bookings.models.keys import new_key
from bookings.models.schedule import DAY_FORMAT
from bookings.notifications import asking
from bookings.notifications.batches.running import ASKED_ALREADY
from bookings.scheduling import weekly_pattern
from bookings.web.demo import FIRST_CUSTOMER, PREFIX, fiction
from bookings.web.demo.accounts import ensure_users

#: The customer whose notification is closed, for trying to answer too late.
LATE_CUSTOMER = "Hugo Weber"
CAPACITY = 60
#: Deliveries by day: each of the days behind us, then from today on. 600 in all.
BEHIND, AHEAD = (40,) * 7, (96, 90, 54, 40, 20, 12, 8)
#: Each window, and its share of a day in percent.
_WINDOWS = (
    (dt.time(8), dt.time(12), 40),
    (dt.time(12), dt.time(16), 35),
    (dt.time(16), dt.time(20), 25),
)
_WEEKS_AHEAD = 2
#: Files come a week before the delivery. Customers are asked two evenings before it, or a day before their slots close.
_FILE_BEFORE, _FILE_AT = dt.timedelta(days=7), dt.time(6, 40)
_ASKED_AT_LEAST_BEFORE, _ASKED_BEFORE = dt.timedelta(days=2), dt.timedelta(hours=24)
_ASKED_AT = dt.time(17)
_PACE = dt.timedelta(milliseconds=40)
#: Whoever starts the demo has at least so long to try the first booking.
LEAST_TIME = dt.timedelta(hours=6)
_ASKED_LATELY = dt.timedelta(minutes=40)
_MINUTE, _HOUR = dt.timedelta(minutes=1), dt.timedelta(hours=1)

_LANGUAGES = (*("en",) * 40, "pl", "fr", "es")
#: Of a hundred customers so many have a phone that gets no text, a second delivery, a change of plan, a late answer.
_BAD_PHONES, _SECOND_DELIVERIES, _CANCELLED, _LATE = 3, 2, 1, 1
_ONE_FIXED_LINE_IN = 150
_FATES = (
    *(Fate("failed", "2"), Fate("failed", "3"), Fate("rejected", "6"), Fate("failed", "8")),
    Fate("expired", "2", after=40 * _MINUTE),
)
#: What some customers wrote lately, with how long ago: what of it needs a person still waits in the queue.
_WRITTEN_LATELY: tuple[tuple[tuple[dt.timedelta, int | str], ...], ...] = (
    (
        (14 * _MINUTE, "hm, which days are there?"),
        (8 * _MINUTE, "I'm away until friday, can u do sat?"),
    ),
    ((110 * _MINUTE, "please stop texting me"),),
    ((190 * _MINUTE, ANOTHER_DAY), (188 * _MINUTE, POST_OFFICE), (185 * _MINUTE, ANOTHER_DAY)),
    ((6 * _HOUR, "STOP"), (5 * _HOUR, ANOTHER_DAY)),
    ((7 * _HOUR, "CANCEL"),),
)
_STRANGER = (38 * _MINUTE, "hi, where is my parcel?")


def free_references() -> Iterator[str]:
    """Yield references that no booking has yet: DEMO-101, DEMO-102, ..."""
    taken = set(Booking.objects.values_list("reference", flat=True))
    names = (f"{PREFIX}{number}" for number in itertools.count(101))
    return (name for name in names if name not in taken)


class Fortnight:
    """The plan: who has a delivery when, when each customer is asked, and what happens besides."""

    def __init__(self, now: dt.datetime) -> None:
        self.now, self.today = now, timezone.localdate(now)
        # No secret. Seeded, so that the same day is told in the same way.
        self.chance = random.Random(self.today.isoformat())  # noqa: S311
        self.company = Company(now, ensure_users(), self.chance)
        self.staff = Staff(self.company)
        self.customers = Customers(self.company, self.staff.replies)
        self.dispatcher = self.company.users["dispatch"]
        self.by_day: dict[dt.date, list[Booking]] = {}
        self.numbers: Iterator[str] = iter(())

    def load(self) -> Booking:
        """Store the fortnight. Returns the first booking. The caller is in a transaction."""
        self.numbers = iter(self._free_numbers())
        slots = self.make_slots()
        self.company.add_slots(slots)
        booked = self._book(slots)
        self.company.add_bookings(booked)
        for booking in booked:
            self.by_day.setdefault(booking.slot.date, []).append(booking)
        self._hand_in()
        self._break_phones(booked[2:])
        self._script()
        self._ask_everybody(booked[0])
        self._change_plans(booked[2:])
        self.company.run()
        self.company.ledger.store()
        past = Notification.objects.past(self.now).filter(booking__in=booked)
        past.update(state=NotificationState.CLOSED, closed_at=F("closes_at"))
        return booked[0]

    # Slots and bookings

    def make_slots(self) -> list[Slot]:
        """Store the week's pattern, and its slots from a week ago to two weeks ahead."""
        if not WeeklySlot.objects.exists():
            WeeklySlot.objects.bulk_create(
                WeeklySlot(weekday=day, window_start=start, window_end=end, capacity=CAPACITY)
                for day, (start, end, _) in itertools.product(range(7), _WINDOWS)
            )
        weekly_pattern.make_slots(_WEEKS_AHEAD)
        past = [self.today - dt.timedelta(days=days) for days in range(len(BEHIND) + 1)]
        Slot.objects.bulk_create(
            (
                Slot(date=day, window_start=start, window_end=end, capacity=CAPACITY)
                for day, (start, end, _) in itertools.product(past, _WINDOWS)
            ),
            ignore_conflicts=True,
        )
        slots = list(Slot.objects.from_day(past[-1]))
        load = Booking.objects.scheduled().filter(slot__in=slots).values_list("slot", flat=True)
        self.company.load.update(load)
        return slots

    def _book(self, slots: list[Slot]) -> list[Booking]:
        """Store the bookings: the first customer's, the late one's, then the others in the order of their slots."""
        places = self._places(slots)
        first, late = self.first_slot(slots), self.late_slot(slots)
        for slot in (first, late):
            if slot in places:
                places.remove(slot)
        rows = [
            (FIRST_CUSTOMER, fiction.mobiles()[0], first),
            (LATE_CUSTOMER, next(self.numbers), late),
            *((*person, slot) for person, slot in zip(self._people(), places, strict=False)),
        ]
        # Nothing comes from the two: whoever tries the demo writes for them.
        self.customers.scripted |= {number: [] for _, number, _ in rows[:2]}
        return Booking.objects.bulk_create(self._bookings(rows))

    def _bookings(self, rows: Iterable[tuple[str, str, Slot]]) -> Iterator[Booking]:
        references = free_references()
        for number, (name, msisdn, slot) in enumerate(rows):
            booking = Booking(
                reference=next(references),
                customer_name=name,
                msisdn=msisdn,
                slot=slot,
                language=self.chance.choice(_LANGUAGES) if number > 1 else "en",
                notes=self.chance.choice(fiction.NOTES),
                created_at=self._file_at(slot.date),
            )
            booking.imported = record_of(booking)
            yield booking

    def _places(self, slots: list[Slot]) -> list[Slot]:
        """The slot of each delivery, as far as there is room."""
        by_key = {
            (slot.date, slot.window_start): slot for slot in slots if slot.place == Place.DOOR
        }
        places = []
        for ahead, count in enumerate((*BEHIND, *AHEAD), start=-len(BEHIND)):
            day = self.today + dt.timedelta(days=ahead)
            morning, noon = (count * share // 100 for _, _, share in _WINDOWS[:2])
            counts = (morning, noon, count - morning - noon)
            for (start, _, _), of_window in zip(_WINDOWS, counts, strict=True):
                slot = by_key[day, start]
                free = CAPACITY - self.company.load[slot.pk]
                places += [slot] * max(0, min(of_window, free))
        return places

    def first_slot(self, slots: list[Slot]) -> Slot:
        """The first slot that can be changed for some hours yet."""
        soonest = self.now + LEAST_TIME
        doors = (slot for slot in slots if slot.place == Place.DOOR and self.company.has_room(slot))
        return next(slot for slot in doors if slot.cutoff_at > soonest)

    def late_slot(self, slots: list[Slot]) -> Slot:
        """The last slot that can no longer be changed and is not over; at night perhaps the last of all."""
        closed = [s for s in slots if s.place == Place.DOOR and s.cutoff_at <= self.now]
        return next((s for s in reversed(closed) if s.ends_at > self.now), closed[-1])

    # People

    def _free_numbers(self) -> list[str]:
        """Numbers, in no order, of which nothing is open from an earlier load: their digits are let go."""
        ours = fiction.mobiles()
        while asking.close_past():
            pass
        known = Consent.objects.filter(msisdn__in=ours)
        # Somebody may have tried STOP on the first customer's phone.
        self.company.opted_out = set(known.opted_out().values_list("msisdn", flat=True))
        spoken_for = set(known.values_list("msisdn", flat=True))
        spoken_for |= set(Notification.objects.open().values_list("msisdn", flat=True))
        numbers = [number for number in ours[1:] if number not in spoken_for]
        held = SlotOption.objects.filter(msisdn__in=[ours[0], *numbers], is_held=True)
        held.exclude(notification__state=NotificationState.OPEN).update(is_held=False)
        self.chance.shuffle(numbers)
        return numbers

    def _people(self) -> Iterator[tuple[str, str]]:
        """Names with numbers; some customers have a second delivery, and two have a fixed line."""
        known: list[tuple[str, str]] = []
        fixed = iter(fiction.fixed_lines())
        for count in itertools.count():
            if known and self.chance.randrange(100) < _SECOND_DELIVERIES:
                yield self.chance.choice(known)
                continue
            name = f"{self.chance.choice(fiction.FIRST_NAMES)} {self.chance.choice(fiction.LAST_NAMES)}"
            is_fixed = count % _ONE_FIXED_LINE_IN == _ONE_FIXED_LINE_IN - 1
            number = next(fixed, None) if is_fixed else None
            person = (name, number or next(self.numbers))
            known += [] if number else [person]
            yield person

    def _break_phones(self, booked: list[Booking]) -> None:
        """Let some phones lose every text, and three never say whether they got one."""
        numbers = list(dict.fromkeys(booking.msisdn for booking in booked))
        broken = self.chance.sample(numbers, len(numbers) * _BAD_PHONES // 100)
        self.company.bad_phones = {number: self.chance.choice(_FATES) for number in broken}
        self.company.bad_phones |= dict.fromkeys(broken[:3], Fate(status=""))

    def _script(self) -> None:
        """Let some of those who were asked last write lately, so that the queue holds something of each kind."""
        count = Counter(one.msisdn for of_day in self.by_day.values() for one in of_day)
        single = {number for number in count if count[number] == 1}
        asked = sorted(day for day in self.by_day if self._asked_at(day) <= self.now)
        for number, written in zip(self._usual(asked[-1:], single), _WRITTEN_LATELY, strict=False):
            self.customers.scripted[number] = [(self.now - ago, said) for ago, said in written]
            self.staff.left_alone.add(number)
            self.staff.taken = {number}  # the last of them
        for day in asked[-2:]:
            lost = [b.msisdn for b in self.by_day[day] if b.msisdn in self.company.bad_phones]
            self.staff.left_alone |= set(lost[:1])
        everybody = sorted(single - self.customers.scripted.keys())
        self.customers.late = set(self.chance.sample(everybody, len(everybody) * _LATE // 100))
        self._hear_from_stranger()

    def _usual(self, days: list[dt.date], single: set[str]) -> Iterator[str]:
        """Customers of these days with one delivery and a phone that works, the last window's first."""
        for booking in (booking for day in days for booking in reversed(self.by_day[day])):
            number = booking.msisdn
            is_apart = number in self.company.bad_phones or number in self.customers.scripted
            is_mobile = not fiction.is_fixed_line(number)
            if number in single and booking.language == "en" and is_mobile and not is_apart:
                yield number

    def _hear_from_stranger(self) -> None:
        ago, said = _STRANGER
        stranger = next(self.numbers)
        self.staff.left_alone.add(stranger)
        self.company.at(self.now - ago, self.customers.send, stranger, said)

    # Days

    def _moment(self, day: dt.date, time: dt.time) -> dt.datetime:
        return timezone.make_aware(dt.datetime.combine(day, time)).astimezone(dt.UTC)

    def _file_at(self, day: dt.date) -> dt.datetime:
        return self._moment(day - _FILE_BEFORE, _FILE_AT)

    def _asked_at(self, day: dt.date) -> dt.datetime:
        start, _, _ = _WINDOWS[0]
        closes_at = Slot(date=day, window_start=start).cutoff_at
        evening = min(timezone.localdate(closes_at - _ASKED_BEFORE), day - _ASKED_AT_LEAST_BEFORE)
        return self._moment(evening, _ASKED_AT)

    def _hand_in(self) -> None:
        for day in sorted(self.by_day):
            act = hand_in(day, self.by_day[day], self._file_at(day), self.dispatcher)
            self.company.ledger.acts.append(act)

    def _ask_everybody(self, first: Booking) -> None:
        """Each day's customers in the evening: of two days and, halted midway, of a third as a batch by staff."""
        at = min(self.now - _ASKED_LATELY, self._asked_at(first.slot.date))
        self.company.at(at, self._ask_one, first)
        asked = sorted(day for day in self.by_day if self._asked_at(day) <= self.now)
        not_yet = sorted(day for day in self.by_day if self._asked_at(day) > self.now)
        in_batches = asked[-1:] + asked[-4:-3]
        for day in asked:
            act = self._ask_batch if day in in_batches else self._ask_all
            self.company.at(self._asked_at(day), act, day)
        for day in not_yet[1:2] or not_yet[:1]:
            evening = self._moment(self.today, dt.time(17, 5))
            at = evening if evening <= self.now else evening - dt.timedelta(days=1)
            self.company.at(at, self._halt_batch, day)

    def _ask_all(self, day: dt.date, at: dt.datetime) -> None:
        """As `send_notifications` does."""
        for number, booking in enumerate(self.by_day[day]):
            self.company.at(at + number * _PACE, self._ask_one, booking)

    def _ask_one(self, booking: Booking, at: dt.datetime) -> None:
        is_asked = any(asked.booking == booking for asked in self.company.asked[booking.msisdn])
        if not is_asked and not self.company.why_not_asked(booking, at):
            self.company.ask(booking, at, key=f"asked:{booking.pk}:0")

    def _halt_batch(self, day: dt.date, at: dt.datetime) -> None:
        """As staff do who pause a batch when six of ten were asked."""
        self._ask_batch(day, at, is_halted=True)

    def _ask_batch(self, day: dt.date, at: dt.datetime, *, is_halted: bool = False) -> None:
        """As staff do with a batch."""
        chosen = [booking for booking in self.by_day[day] if booking.is_scheduled]
        batch = Batch.objects.create(
            name=f"deliveries of {date_format(day, DAY_FORMAT)}",
            state=BatchState.PAUSED if is_halted else BatchState.RUNNING,
            sender=self.company.sender,
            nonce=new_key(),
            user=self.dispatcher,
            created_at=at,
        )
        self._write_down(
            ActKind.ASKED_MANY, at, f"batch {batch.pk}: {batch}, {len(chosen)} bookings"
        )
        turns = len(chosen) * 6 // 10 if is_halted else len(chosen)
        for number, booking in enumerate(chosen):
            entry = BatchEntry(batch=batch, booking=booking)
            self.company.ledger.entries.append(entry)
            if number < turns:
                self.company.at(at + number * _PACE, self._ask_entry, entry)
        if is_halted:
            self._write_down(ActKind.PAUSED, at + turns * _PACE, f"batch {batch.pk}: {batch}")

    def _ask_entry(self, entry: BatchEntry, at: dt.datetime) -> None:
        booking = entry.booking
        reason = self.company.why_not_asked(booking, at)
        if self.company.open_notification(booking, at) is not None:
            reason = ASKED_ALREADY
        entry.settled_at, entry.left_out = at, reason
        if not reason:
            key = f"batch:{entry.batch.pk}:{booking.pk}"
            entry.notification = self.company.ask(booking, at, key=key, user=self.dispatcher)

    def _write_down(self, kind: ActKind, at: dt.datetime, details: str) -> None:
        act = StaffAct(kind=kind, user=self.dispatcher, details=details, created_at=at)
        self.company.ledger.acts.append(act)

    def _change_plans(self, booked: list[Booking]) -> None:
        """A van breaks down two days ago, and now and then a customer calls to cancel."""
        day = self.today - dt.timedelta(days=2)
        start, _, _ = _WINDOWS[-1]
        later = self.company.slots[Place.DOOR, day + dt.timedelta(days=1), start]
        breakdown = self._moment(day, dt.time(10, 15))
        van = [booking for booking in self.by_day[day] if booking.slot.window_start == start][:5]
        for number, booking in enumerate(van):
            self.company.at(
                breakdown + number * _PACE,
                self._move,
                booking,
                later,
            )
        for booking in booked:
            if self.chance.randrange(100) < _CANCELLED and booking not in van:
                called = self._moment(booking.slot.date - dt.timedelta(days=2), dt.time(9, 30))
                at = called + self.company.seconds(0, 8 * 3600)
                self.company.at(at, self.staff.cancel, booking)

    def _move(self, booking: Booking, slot: Slot, at: dt.datetime) -> None:
        if booking.is_scheduled and booking.slot != slot and self.company.has_room(slot):
            self.staff.move(booking, slot, at)
