"""Slots for the coming weeks, made from the week's pattern. A slot that is there already stays as it is."""

import datetime as dt
from dataclasses import dataclass

from django.utils import timezone

from bookings.models import ClosedDay, Slot, WeeklySlot

#: More would fill the list of slots with what nobody plans yet.
MOST_WEEKS = 8


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the plan: the slots that are missing on it, and why it gets none."""

    date: dt.date
    missing: tuple[Slot, ...]  # unsaved
    present: int  # slots of the pattern that it has already
    is_closed: bool
    reason: str = ""


def plan(weeks: int) -> list[Day]:
    """Each of the next `weeks` times 7 days, from tomorrow, that the pattern names or that is closed.

    Raises ValueError for fewer than 1 or more than MOST_WEEKS.
    """
    if not 1 <= weeks <= MOST_WEEKS:
        raise ValueError(f"Slots are made for 1 to {MOST_WEEKS} weeks.")
    tomorrow = timezone.localdate() + dt.timedelta(days=1)
    dates = [tomorrow + dt.timedelta(days=ahead) for ahead in range(7 * weeks)]
    closed = dict(ClosedDay.objects.filter(date__in=dates).values_list("date", "reason"))
    there = {_key(slot) for slot in Slot.objects.filter(date__in=dates)}
    pattern = list(WeeklySlot.objects.all())
    days = []
    for date in dates:
        wanted = [_slot(each, date) for each in pattern if each.weekday == date.weekday()]
        missing = () if date in closed else tuple(s for s in wanted if _key(s) not in there)
        present = sum(_key(slot) in there for slot in wanted)
        if wanted or date in closed:
            days.append(Day(date, missing, present, date in closed, closed.get(date, "")))
    return days


def make_slots(weeks: int) -> int:
    """Make the slots that are missing. Returns how many were; again, it is 0. Raises ValueError as `plan` does."""
    missing = [slot for day in plan(weeks) for slot in day.missing]
    dates = {slot.date for slot in missing}
    before = Slot.objects.filter(date__in=dates).count()
    # Made by somebody else at this moment: that one stays, whatever its capacity.
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


def _key(slot: Slot) -> tuple[dt.date, dt.time, dt.time, str]:
    return slot.date, slot.window_start, slot.window_end, slot.place
