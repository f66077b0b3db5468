"""Slots for a manifest's rows: found or made, with their capacities, and how much room is left."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from bookings.dispatch.imports.rows import Window
from bookings.models import Booking, Slot


@dataclass(slots=True)
class Room:
    """How full slots are, counted once. Only true for as long as they are locked."""

    slots: dict[Window, Slot] = field(default_factory=dict)
    loads: Counter[Window] = field(default_factory=Counter)

    @classmethod
    def of(cls, slots: Iterable[Slot]) -> "Room":
        by_window = {Window.of(slot): slot for slot in slots}
        windows = {slot.pk: window for window, slot in by_window.items()}
        counted = (
            Booking.objects.scheduled()
            .filter(slot__in=[slot for slot in by_window.values() if slot.pk])
            .order_by()
            .values("slot")
            .annotate(load=Count("pk"))
            .values_list("slot", "load")
        )
        return cls(by_window, Counter({windows[pk]: load for pk, load in counted}))

    def take(self, window: Window) -> str:
        """Count one more delivery in; if it does not fit, say why instead."""
        capacity = self.slots[window].capacity
        if capacity == 0:
            return f"The slot {window} is closed."
        if capacity is not None and self.loads[window] >= capacity:
            return f"The slot {window} is full: it holds {capacity}."
        self.loads[window] += 1
        return ""

    def why_closed(self, window: Window) -> str:
        """Why nothing can be moved there, however much room there is; "" if it can."""
        if self.slots[window].ends_at <= timezone.now():
            return f"The slot {window} is over."
        return f"The slot {window} is closed." if self.slots[window].capacity == 0 else ""

    def why_full(self, window: Window) -> str:
        """That it holds more than fit, as a sentence; "" if it does not."""
        capacity = self.slots[window].capacity
        if capacity is None or self.loads[window] <= capacity:
            return ""
        return f"The slot {window} is full: it holds {capacity}."

    def move(self, before: Window, after: Window) -> None:
        """Count one delivery over from a slot to another, fit or not."""
        self.loads[before] -= 1
        self.loads[after] += 1


def find_or_make_slots(wanted: Mapping[Window, int | None], *, dry_run: bool) -> dict[Window, Slot]:
    """The slot of each window; one that is missing is made with the capacity that is wanted."""
    slots = _find(wanted)
    missing = [window.new_slot(wanted[window]) for window in sorted(wanted.keys() - slots.keys())]
    if dry_run or not missing:
        return slots | {Window.of(slot): slot for slot in missing}
    Slot.objects.bulk_create(missing, ignore_conflicts=True)
    return _find(wanted)


def _find(windows: Collection[Window]) -> dict[Window, Slot]:
    on_the_days = Slot.objects.filter(date__in={window.date for window in windows})
    return {window: slot for slot in on_the_days if (window := Window.of(slot)) in windows}


def set_capacity(slot: Slot, capacity: int, *, dry_run: bool) -> str:
    """Give a slot another capacity; if it holds more than that already, say so instead.

    0 closes it for others, and sends nobody away.
    """
    if slot.capacity == capacity:
        return ""
    with transaction.atomic():
        slots = Slot.objects.filter(pk=slot.pk)
        load = sum(found.count_bookings() for found in (slots if dry_run else slots.locked()))
        if 0 < capacity < load:
            return f"The slot {slot} cannot be made to hold {capacity}: it holds {load} already."
        slot.capacity = capacity
        if not dry_run:
            slot.save(update_fields=["capacity"])
    return ""
