"""The slots of a spreadsheet's rows: found or created, with their capacities, and the bookings counted in them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from django.db import transaction
from django.utils import timezone

from bookings.models import Slot
from bookings.scheduling.capacity import (
    count_booked,
    count_booked_each,
    describe_full,
    fits,
    is_overbooked,
)
from bookings.scheduling.slots import SlotKey


@dataclass(slots=True)
class SlotLedger:
    """The number of bookings in some slots, counted once and then kept up. Reliable while the slots are locked."""

    slots: dict[SlotKey, Slot] = field(default_factory=dict)
    booked: Counter[SlotKey] = field(default_factory=Counter)

    @classmethod
    def of(cls, slots: Iterable[Slot]) -> "SlotLedger":
        """Count the bookings in these slots. Unsaved slots are empty."""
        by_key = {SlotKey.of(slot): slot for slot in slots}
        keys = {slot.pk: key for key, slot in by_key.items()}
        counted = count_booked_each([slot for slot in by_key.values() if slot.pk])
        return cls(by_key, Counter({keys[pk]: count for pk, count in counted.items()}))

    def add(self, key: SlotKey) -> str:
        """Add one booking to a slot. If it does not fit, add nothing and return the reason for staff; else ""."""
        capacity = self.slots[key].capacity
        if not fits(capacity, self.booked[key]):
            return describe_full(str(key), capacity)
        self.booked[key] += 1
        return ""

    def move(self, before: SlotKey, after: SlotKey) -> None:
        """Move one booking from a slot to another, whether it fits or not."""
        self.booked[before] -= 1
        self.booked[after] += 1

    def why_closed(self, key: SlotKey) -> str:
        """The reason why no booking can be moved to a slot, however much room it has; "" if one can."""
        slot = self.slots[key]
        if slot.ends_at <= timezone.now():
            return f"Slot has passed: {key}."
        return describe_full(str(key), 0) if slot.capacity == 0 else ""

    def why_overbooked(self, key: SlotKey) -> str:
        """The sentence for staff that a slot holds more bookings than fit; "" if it does not."""
        capacity = self.slots[key].capacity
        return (
            describe_full(str(key), capacity) if is_overbooked(capacity, self.booked[key]) else ""
        )


def find_or_create_slots(
    wanted: Mapping[SlotKey, int | None], *, dry_run: bool
) -> dict[SlotKey, Slot]:
    """Return the slot of each key. One that is missing is created with the capacity that `wanted` gives."""
    slots = _find(wanted)
    missing = [key.new_slot(wanted[key]) for key in sorted(wanted.keys() - slots.keys())]
    if dry_run or not missing:
        return slots | {SlotKey.of(slot): slot for slot in missing}
    Slot.objects.bulk_create(missing, ignore_conflicts=True)
    return _find(wanted)


def _find(keys: Collection[SlotKey]) -> dict[SlotKey, Slot]:
    on_the_days = Slot.objects.filter(date__in={key.date for key in keys})
    return {key: slot for slot in on_the_days if (key := SlotKey.of(slot)) in keys}


def set_capacity(slot: Slot, capacity: int, *, dry_run: bool) -> str:
    """Set the capacity of a slot. If it holds more bookings already, set nothing and return the reason; else "".

    0 closes the slot to others, and sends nobody away.
    """
    if slot.capacity == capacity:
        return ""
    with transaction.atomic():
        slots = Slot.objects.filter(pk=slot.pk)
        booked = sum(map(count_booked, slots if dry_run else slots.locked()))
        if capacity and is_overbooked(capacity, booked):
            return f"Capacity {capacity} is too low: {booked} deliveries are booked in {slot}."
        slot.capacity = capacity
        if not dry_run:
            slot.save(update_fields=["capacity"])
    return ""
