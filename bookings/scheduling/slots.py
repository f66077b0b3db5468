"""Finds and creates slots by their key: a local date, wall-clock times and a place."""

import datetime as dt
from dataclasses import dataclass

from bookings.models import Place, Slot


@dataclass(frozen=True, slots=True, order=True)
class SlotKey:
    """The unique key of a slot."""

    date: dt.date
    start: dt.time
    end: dt.time
    place: str

    @classmethod
    def of(cls, slot: Slot) -> "SlotKey":
        """Return the key of a slot, which may be unsaved."""
        return cls(slot.date, slot.window_start, slot.window_end, slot.place)

    def new_slot(self, capacity: int | None = None) -> Slot:
        """Return an unsaved slot with this key."""
        return Slot(
            date=self.date,
            window_start=self.start,
            window_end=self.end,
            place=self.place,
            capacity=capacity,
        )

    def __str__(self) -> str:
        return str(self.new_slot())


def at_same_time(slot: Slot, place: Place) -> Slot:
    """Return an unsaved slot at this place, with the date and window of another."""
    return Slot(
        place=place, date=slot.date, window_start=slot.window_start, window_end=slot.window_end
    )


def find_stored(slot: Slot) -> Slot:
    """Return the stored slot with the key of an unsaved one; the unsaved one itself if there is none."""
    if slot.pk:
        return slot
    same_time = Slot.objects.filter(
        date=slot.date, window_start=slot.window_start, window_end=slot.window_end
    )
    return same_time.filter(place=slot.place).first() or slot


def find_or_create(slot: Slot) -> Slot:
    """Return the stored slot with the key of an unsaved one, created with its capacity if there is none."""
    if slot.pk:
        return slot
    found, _ = Slot.objects.get_or_create(
        place=slot.place,
        date=slot.date,
        window_start=slot.window_start,
        window_end=slot.window_end,
        defaults={"capacity": slot.capacity},
    )
    return found
