"""Creates slots for the coming weeks from the weekly pattern. Existing slots stay as they are."""

import datetime as dt
from dataclasses import dataclass

from django.utils import timezone

from bookings.models import ClosedDay, Slot, WeeklySlot
from bookings.scheduling.slots import SlotKey

#: More weeks would fill the list of slots with days that nobody plans yet.
MOST_WEEKS = 8


@dataclass(frozen=True, slots=True)
class PatternDay:
    """One coming day of the weekly pattern: the slots that are missing on it, or that it is closed."""

    date: dt.date
    missing: tuple[Slot, ...]  # unsaved
    present: int  # slots of the pattern that exist already
    is_closed: bool
    reason: str = ""


def list_days(weeks: int) -> list[PatternDay]:
    """Return the days of the next `weeks` weeks, from tomorrow, that the pattern names or that are closed.

    Raises ValueError for fewer than 1 or more than MOST_WEEKS.
    """
    if not 1 <= weeks <= MOST_WEEKS:
        raise ValueError(f"Slots are made for 1 to {MOST_WEEKS} weeks.")
    tomorrow = timezone.localdate() + dt.timedelta(days=1)
    dates = [tomorrow + dt.timedelta(days=ahead) for ahead in range(7 * weeks)]
    closed = dict(ClosedDay.objects.filter(date__in=dates).values_list("date", "reason"))
    there = {SlotKey.of(slot) for slot in Slot.objects.filter(date__in=dates)}
    pattern = list(WeeklySlot.objects.all())
    days = []
    for date in dates:
        wanted = [_slot(each, date) for each in pattern if each.weekday == date.weekday()]
        missing = () if date in closed else tuple(s for s in wanted if SlotKey.of(s) not in there)
        present = sum(SlotKey.of(slot) in there for slot in wanted)
        if wanted or date in closed:
            days.append(PatternDay(date, missing, present, date in closed, closed.get(date, "")))
    return days


def make_slots(weeks: int) -> int:
    """Create the slots that are missing, and return how many. Raises ValueError as `list_days` does."""
    missing = [slot for day in list_days(weeks) for slot in day.missing]
    dates = {slot.date for slot in missing}
    before = Slot.objects.filter(date__in=dates).count()
    # A slot that somebody else creates at this moment stays, whatever its capacity.
    Slot.objects.bulk_create(missing, ignore_conflicts=True)
    return Slot.objects.filter(date__in=dates).count() - before


def _slot(weekly: WeeklySlot, date: dt.date) -> Slot:
    return Slot(
        date=date,
        window_start=weekly.window_start,
        window_end=weekly.window_end,
        place=weekly.place,
        capacity=weekly.capacity,
    )
