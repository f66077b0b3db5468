"""Rows about existing bookings: finds how each differs from its last import, and changes the bookings.

A choice that a customer or a person made since the last import is left alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.utils.text import Truncator

from bookings.dispatch import bookings as dispatch
from bookings.dispatch.imports.rows import Row
from bookings.models import Booking, ChangeCause, Slot, SlotChange, lock_customer
from bookings.models.fields import mask_msisdn
from bookings.notifications.asking import lock_texts
from bookings.scheduling.slots import SlotKey

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_T = TypeVar("_T")

#: Rows of one query, or of one transaction with new bookings. Why: at most 0.1 s of SQLite's write lock.
_CHUNK = 500

_WORDS = {
    "window": "slot",
    "phone": "phone number",
    "customer_name": "name",
    "language": "language",
    "notes": "notes",
    "capacity": "deliveries that its slot holds",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row about an existing booking, and how it differs from the booking's last import."""

    row: Row
    booking: Booking
    changed: frozenset[str]  # names of columns
    kept: str  # the choice made since that is left alone, as a sentence; "" if none

    @property
    def is_move(self) -> bool:
        """Return True if the booking goes to another slot."""
        return "window" in self.changed and SlotKey.of(self.booking.slot) != self.row.slot

    @property
    def summary(self) -> str:
        """The values before and after, as a sentence for staff; "" without changes. True until the change is made."""
        return _summary(self.row, self.booking, self.changed)

    def plain_fields(self) -> dict[str, Any]:
        """The columns that are simply overwritten, and the row as it is remembered."""
        record = self.row.record
        plain = self.changed & {"customer_name", "language", "notes"}
        return {name: record[name] for name in plain} | {"imported": record}


def chunks(rows: Sequence[_T], size: int = _CHUNK) -> Iterator[Sequence[_T]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def with_bookings(rows: Sequence[Row]) -> Iterator[tuple[Row, Booking | None, str | None]]:
    """Yield each row with its booking, and the cause of the booking's last move."""
    for chunk in chunks(rows):
        references = [row.reference for row in chunk]
        bookings = Booking.objects.filter(reference__in=references).select_related("slot")
        by_reference = {booking.reference: booking for booking in bookings}
        changes = SlotChange.objects.filter(booking__in=by_reference.values()).order_by("pk")
        causes: dict[int, str] = dict(changes.values_list("booking", "cause"))
        for row in chunk:
            booking = by_reference.get(row.reference)
            yield row, booking, causes.get(booking.pk) if booking else None


def compare(row: Row, booking: Booking, cause: str | None) -> Comparison:
    """Compare a row with the last import of its booking. `cause` is of the booking's last move."""
    record = row.record
    before = booking.imported
    if before is None:
        # Booked by hand: its values count as chosen since, and an empty cell erases nothing.
        own = {name: getattr(booking, name) for name in ("customer_name", "language", "notes")}
        before = record | {name: value for name, value in own.items() if record[name]}
    window = ("date", "window_start", "window_end", "place")
    moved = {"window" for name in window if record[name] != before.get(name)}
    others = record.keys() - set(window)
    changed = {
        name for name in others if record[name] is not None and record[name] != before.get(name)
    }
    changed |= moved
    return Comparison(row, booking, frozenset(changed), _kept(row, booking, changed, cause))


def _summary(row: Row, booking: Booking, changed: frozenset[str]) -> str:
    """The values before and after. Phone numbers are masked, because the reader may not be allowed to see them."""
    values = {
        "window": (booking.slot, row.slot),
        "phone": (mask_msisdn(booking.msisdn), mask_msisdn(row.msisdn)),
        "customer_name": (booking.customer_name, row.customer_name),
        "language": (booking.language, row.language),
        "notes": (booking.notes, row.notes),
        "capacity": (_capacity_before(row, booking), row.capacity),
    }
    words = [
        f"{_WORDS[name]} {_shown(before)} \N{RIGHTWARDS ARROW} {_shown(after)}"
        for name, (before, after) in values.items()
        if name in changed and not (name == "capacity" and "window" in changed)
    ]
    return f"{booking}: {'; '.join(words)}." if words else ""


def _capacity_before(row: Row, booking: Booking) -> int | None:
    """The capacity of the booking's slot. Once it is set anew, the one that the row had at its last import."""
    now = booking.slot.capacity
    return (booking.imported or {}).get("capacity") if now == row.capacity else now


def _shown(value: object) -> str:
    return Truncator("none" if value in {None, ""} else str(value)).chars(80)


def _kept(row: Row, booking: Booking, changed: set[str], cause: str | None) -> str:
    who = "the customer" if cause == ChangeCause.REPLY else "dispatch"
    reasons = []
    if "window" not in changed and SlotKey.of(booking.slot) != row.slot:
        reasons.append(f"{booking} stays in {booking.slot}, which {who} chose.")
    if "phone" not in changed and booking.msisdn != row.msisdn:
        reasons.append(f"{booking} keeps the phone number that dispatch gave it.")
    return " ".join(reasons)


def lock_customers(rows: Sequence[Row]) -> None:
    """Lock the customers of all these rows at once, in the order that all code keeps.

    Locks them anew if a phone number changed while we waited.
    """
    locked: set[str] = set()
    bookings = Booking.objects.filter(reference__in=[row.reference for row in rows])
    while not locked >= (numbers := set(bookings.values_list("msisdn", flat=True))):
        locked = {*numbers, *(row.msisdn for row in rows)}
        lock_customer(*locked)


def apply_changes(
    changes: Sequence[Comparison], slots: Mapping[SlotKey, Slot], *, user: "User | None"
) -> None:
    """Change the bookings as their rows say. The caller holds all locks, and the slots have room."""
    if not changes:
        return
    affected = [each for each in changes if each.changed & {"phone", "window"}]
    lock_texts([each.booking for each in affected], *(each.row.msisdn for each in affected))
    dispatch.change_phones(
        [(each.booking, each.row.msisdn) for each in changes if "phone" in each.changed]
    )
    dispatch.move_many(
        [(each.booking, slots[each.row.slot]) for each in changes if "window" in each.changed],
        cause=ChangeCause.IMPORT,
        user=user,
    )
    fields: set[str] = set()
    for each in changes:
        plain = each.plain_fields()
        fields |= plain.keys()
        for name, value in plain.items():
            setattr(each.booking, name, value)
    Booking.objects.bulk_update([each.booking for each in changes], sorted(fields))
