"""Rows about bookings that exist: how they differ from their last import, and what is left alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.utils.text import Truncator

from bookings.dispatch.imports.rows import Row, Window
from bookings.models import Booking, ChangeCause, SlotChange
from bookings.models.fields import mask_msisdn

_T = TypeVar("_T")

#: Rows that a query takes at once, or a transaction of new ones: 0.1 s of SQLite's write lock at the most.
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
class Known:
    """A row about a booking that exists, and how it differs from its last import."""

    row: Row
    booking: Booking
    news: frozenset[str]
    kept: str  # which choice made since is left alone, "" if none

    @property
    def moves(self) -> bool:
        """Whether its booking goes to another slot."""
        return "window" in self.news and Window.of(self.booking.slot) != self.row.window

    @property
    def change(self) -> str:
        """What it is and will be, for dispatch; "" without news. Only true until it is done."""
        return _change(self.row, self.booking, self.news)

    def plain_fields(self) -> dict[str, Any]:
        """What is simply written over, and the row as it is remembered."""
        record = self.row.record
        plain = self.news & {"customer_name", "language", "notes"}
        return {name: record[name] for name in plain} | {"imported": record}


def chunks(rows: Sequence[_T], size: int = _CHUNK) -> Iterator[Sequence[_T]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def with_bookings(rows: Sequence[Row]) -> Iterator[tuple[Row, Booking | None, str | None]]:
    """Each row with its booking, and the cause of that one's last move."""
    for chunk in chunks(rows):
        references = [row.reference for row in chunk]
        bookings = Booking.objects.filter(reference__in=references).select_related("slot")
        by_reference = {booking.reference: booking for booking in bookings}
        changes = SlotChange.objects.filter(booking__in=by_reference.values()).order_by("pk")
        causes: dict[int, str] = dict(changes.values_list("booking", "cause"))
        for row in chunk:
            booking = by_reference.get(row.reference)
            yield row, booking, causes.get(booking.pk) if booking else None


def compare(row: Row, booking: Booking, cause: str | None) -> Known:
    record = row.record
    before = booking.imported
    if before is None:
        # Booked by hand: what was chosen there counts as chosen since, and an empty cell takes nothing away.
        own = {name: getattr(booking, name) for name in ("customer_name", "language", "notes")}
        before = record | {name: value for name, value in own.items() if record[name]}
    window = ("date", "window_start", "window_end", "place")
    moved = {"window" for name in window if record[name] != before.get(name)}
    others = record.keys() - set(window)
    news = {
        name for name in others if record[name] is not None and record[name] != before.get(name)
    }
    news |= moved
    return Known(row, booking, frozenset(news), _kept(row, booking, news, cause))


def _change(row: Row, booking: Booking, news: frozenset[str]) -> str:
    """Before and after. Numbers are masked: who reads it may not be allowed to see the whole of them."""
    told = {
        "window": (booking.slot, row.window),
        "phone": (mask_msisdn(booking.msisdn), mask_msisdn(row.msisdn)),
        "customer_name": (booking.customer_name, row.customer_name),
        "language": (booking.language, row.language),
        "notes": (booking.notes, row.notes),
        "capacity": (_capacity_before(row, booking), row.capacity),
    }
    words = [
        f"{_WORDS[name]} {_shown(before)} \N{RIGHTWARDS ARROW} {_shown(after)}"
        for name, (before, after) in told.items()
        if name in news and not (name == "capacity" and "window" in news)
    ]
    return f"{booking}: {'; '.join(words)}." if words else ""


def _capacity_before(row: Row, booking: Booking) -> int | None:
    """That of its slot; once it is set anew, which comes before the changes, what the row said at its last import."""
    now = booking.slot.capacity
    return (booking.imported or {}).get("capacity") if now == row.capacity else now


def _shown(value: object) -> str:
    return Truncator("none" if value in {None, ""} else str(value)).chars(80)


def _kept(row: Row, booking: Booking, news: set[str], cause: str | None) -> str:
    who = "the customer" if cause == ChangeCause.REPLY else "dispatch"
    reasons = []
    if "window" not in news and Window.of(booking.slot) != row.window:
        reasons.append(f"{booking} stays in {booking.slot}, which {who} chose.")
    if "phone" not in news and booking.msisdn != row.msisdn:
        reasons.append(f"{booking} keeps the phone number that dispatch gave it.")
    return " ".join(reasons)
