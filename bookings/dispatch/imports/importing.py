"""Imports the rows of a spreadsheet into bookings and slots.

What a row says differently from its last import is done. What it says as before is left alone, so that the same file
again undoes nothing that a customer or a person chose in between. A refused row does not keep the others out. The
steps, each in short transactions of its own:

1. Refuse rows that contradict an earlier one of the same file.
2. Sort them by their bookings: new, changed, unchanged, kept.
3. Create the slots that are missing, and set the capacities that the file changes.
4. Change bookings, many at a time, through dispatch, which withdraws their open notifications.
5. Store new bookings, many at a time, as far as their slots have room.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone

from bookings.dispatch.imports.changes import (
    Comparison,
    apply_changes,
    chunks,
    compare,
    lock_customers,
    with_bookings,
)
from bookings.dispatch.imports.rows import Entry, Remark, Row
from bookings.dispatch.imports.slots import SlotLedger, find_or_create_slots, set_capacity
from bookings.models import Booking, Slot
from bookings.scheduling.slots import SlotKey

if TYPE_CHECKING:
    from django.contrib.auth.models import User

#: Changes of one transaction. Why: it holds the locks of their customers (SQLite: of everybody) for 0.2 s.
CHANGES = 250
#: Changes of one transaction that may only fit together: 1.6 s.
_TOGETHER = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of an import, or of a dry run. Every row is counted once."""

    created: int
    unchanged: int
    changed_rows: tuple[Remark, ...]  # before and after
    kept: tuple[Remark, ...]  # left alone, because of a later choice
    refused: tuple[Remark, ...]

    @property
    def changed(self) -> int:
        return len(self.changed_rows)


def import_rows(
    entries: Iterable[Entry], *, dry_run: bool = False, user: "User | None" = None
) -> Report:
    """Import the entries that `read` returned. `user` is named as the cause of the moves. No row raises an error."""
    job = Import(user=user, dry_run=dry_run)
    job.run(job.consistent(entries))
    return job.report()


@dataclass(slots=True, kw_only=True)
class Import:
    """One run over rows: the steps, and the results so far."""

    user: "User | None" = None
    dry_run: bool = False
    created: int = 0
    unchanged: int = 0
    changed: list[Remark] = field(default_factory=list)
    touched: list[int] = field(default_factory=list)  # bookings that were made or changed
    kept: list[Remark] = field(default_factory=list)
    refused: list[Remark] = field(default_factory=list)
    slots: dict[SlotKey, Slot] = field(default_factory=dict)
    settled: set[SlotKey] = field(
        default_factory=set
    )  # slots whose capacity the file does not change
    ledger: SlotLedger = field(default_factory=SlotLedger)  # of a dry run

    def report(self) -> Report:
        return Report(
            created=self.created,
            unchanged=self.unchanged,
            changed_rows=tuple(sorted(self.changed)),
            kept=tuple(sorted(self.kept)),
            refused=tuple(sorted(self.refused)),
        )

    def run(self, rows: Iterable[Row]) -> None:
        new, known = self.prepare_slots(*self.sort(rows))
        self.change(known)
        self.create(new)

    def refuse(self, row: Row, reason: str) -> None:
        self.refused.append(Remark(row.line, reason, row.cells))

    def consistent(self, entries: Iterable[Entry]) -> Iterator[Row]:
        """Yield the rows that no earlier row contradicts. The others are refused."""
        lines: dict[str, int] = {}
        capacities: dict[SlotKey, tuple[int, int]] = {}
        for entry in entries:
            if isinstance(entry, Remark):
                self.refused.append(entry)
                continue
            line = lines.setdefault(entry.reference, entry.line)
            said = capacities.get(entry.slot, (entry.line, entry.capacity))
            if line != entry.line:
                self.refuse(entry, f"Duplicate of row {line} ({entry.reference}).")
            elif entry.capacity not in {None, said[1]}:
                reason = f"Capacity {entry.capacity} contradicts row {said[0]} ({said[1]})."
                self.refuse(entry, reason)
            else:
                if entry.capacity is not None:
                    capacities.setdefault(entry.slot, (entry.line, entry.capacity))
                yield entry

    def sort(self, rows: Iterable[Row]) -> tuple[list[Row], list[Comparison]]:
        """Return the new rows, and those that change a booking. All others are counted here."""
        new: list[Row] = []
        known: list[Comparison] = []
        today = timezone.localdate()
        for row, booking, cause in with_bookings(list(rows)):
            if booking is None:
                new.append(row)
            elif not booking.is_scheduled:
                self.kept.append(Remark(row.line, f"{booking} stays cancelled."))
            else:
                known += self._with_changes(compare(row, booking, cause))
        return (
            [row for row in new if self._is_ahead(row, today)],
            [
                each
                for each in known
                if "window" not in each.changed or self._is_ahead(each.row, today)
            ],
        )

    def _with_changes(self, known: Comparison) -> list[Comparison]:
        row, booking = known.row, known.booking
        is_as_before = booking.imported and not known.changed & {"window", "capacity"}
        if row.capacity is not None and is_as_before:
            self.settled.add(row.slot)
        if known.changed:
            return [known]
        if booking.imported is None and not self.dry_run:
            Booking.objects.filter(pk=booking.pk).update(imported=row.record)
        self._count(known)
        return []

    def _is_ahead(self, row: Row, today: dt.date) -> bool:
        if row.slot.date < today:
            self.refuse(row, "Date is in the past.")
        return row.slot.date >= today

    def _count(self, known: Comparison) -> None:
        if known.changed:
            self.changed.append(Remark(known.row.line, f"{known.summary} {known.kept}".strip()))
        elif known.kept:
            self.kept.append(Remark(known.row.line, known.kept))
        else:
            self.unchanged += 1

    def prepare_slots(
        self, new: list[Row], known: list[Comparison]
    ) -> tuple[list[Row], list[Comparison]]:
        """Find or create the slots and set capacities. Returns the rows without those whose capacity is impossible."""
        anew = [*new, *(each.row for each in known if each.changed & {"window", "capacity"})]
        said = {
            row.slot: row.capacity
            for row in anew
            if row.capacity is not None and row.slot not in self.settled
        }
        self.slots = find_or_create_slots(
            {row.slot: said.get(row.slot) for row in anew}, dry_run=self.dry_run
        )
        refused = {
            window: reason
            for window, capacity in said.items()
            if (reason := set_capacity(self.slots[window], capacity, dry_run=self.dry_run))
        }
        if self.dry_run:
            self.ledger = SlotLedger.of(
                [*(each.booking.slot for each in known), *self.slots.values()]
            )
        for row in anew:
            if row.capacity is not None and row.slot in refused:
                self.refuse(row, refused[row.slot])
        lines = {remark.line for remark in self.refused}
        return (
            [row for row in new if row.line not in lines],
            [each for each in known if each.row.line not in lines],
        )

    def change(self, pending: Sequence[Comparison]) -> None:
        """Change bookings. One that is refused is tried again while others still make room for it."""
        size = CHANGES
        while pending:
            stuck = [each for some in chunks(pending, size) for each in self._change(some)]
            size = size_after(len(stuck), len(pending), size)
            if not size:
                for known, reason in stuck:
                    self.refuse(known.row, reason)
                return
            pending = [known for known, _ in reversed(stuck)]  # a chain may run either way

    def _change(self, some: Sequence[Comparison]) -> list[tuple[Comparison, str]]:
        if self.dry_run:
            return self._fit(some, self.ledger)[1]
        with transaction.atomic():
            return self.change_some([known.row for known in some])

    def change_some(self, rows: Sequence[Row]) -> list[tuple[Comparison, str]]:
        """Change these bookings, each once, in the caller's transaction. Returns the failed ones with reasons."""
        lock_customers(rows)
        _, pending = self.sort(rows)
        moved = {known.row.slot for known in pending if "window" in known.changed}
        missing: dict[SlotKey, int | None] = dict.fromkeys(moved - self.slots.keys())
        self.slots |= find_or_create_slots(missing, dry_run=False)
        slots = {self.slots[window].pk for window in moved}
        slots |= {known.booking.slot_id for known in pending}
        ledger = SlotLedger.of(list(Slot.objects.filter(pk__in=slots).locked()))
        changes, stuck = self._fit(pending, ledger)
        apply_changes(changes, ledger.slots, user=self.user)
        self.touched += [known.booking.pk for known in changes]
        return stuck

    def _fit(
        self, pending: Sequence[Comparison], ledger: SlotLedger
    ) -> tuple[list[Comparison], list[tuple[Comparison, str]]]:
        """Split the changes into those that fit, which are added to the ledger, and the others with the reason."""
        stuck = {
            known.row.line: reason
            for known in pending
            if known.is_move and (reason := ledger.why_closed(known.row.slot))
        }
        stuck |= _put_back([known for known in pending if known.row.line not in stuck], ledger)
        fitting = [known for known in pending if known.row.line not in stuck]
        for known in fitting:
            self._count(known)
        return fitting, [
            (known, stuck[known.row.line]) for known in pending if known.row.line in stuck
        ]

    def create(self, rows: Sequence[Row]) -> None:
        store = self._count_new if self.dry_run else self._store
        for chunk in chunks(rows):
            store(chunk)

    def _store(self, rows: Sequence[Row]) -> None:
        try:
            with transaction.atomic():
                slots = Slot.objects.filter(pk__in={self.slots[row.slot].pk for row in rows})
                refused = self._stored(rows, SlotLedger.of(list(slots.locked())))
        except IntegrityError:
            taken = {row.reference for row, booking, _ in with_bookings(rows) if booking}
            if not taken:
                raise
            for row in rows:
                if row.reference in taken:
                    self.refuse(row, "Booked by somebody else just now. Import the file again.")
            self._store([row for row in rows if row.reference not in taken])
        else:
            self.refused += refused
            self.created += len(rows) - len(refused)

    def _stored(self, rows: Sequence[Row], ledger: SlotLedger) -> list[Remark]:
        reasons = [ledger.add(row.slot) for row in rows]
        pairs = list(zip(rows, reasons, strict=True))
        made = Booking.objects.bulk_create(
            _new_booking(row, self.slots[row.slot]) for row, reason in pairs if not reason
        )
        self.touched += [booking.pk for booking in made]
        return [Remark(row.line, reason, row.cells) for row, reason in pairs if reason]

    def _count_new(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if reason := self.ledger.add(row.slot):
                self.refuse(row, reason)
            else:
                self.created += 1


def size_after(stuck: int, tried: int, size: int) -> int:
    """Return the number of changes that the next pass takes at a time, after one that took `size`; 0 ends the passes.

    If no change of a pass fitted, they are tried together, so that bookings in full slots can swap.
    """
    if stuck < tried:
        return CHANGES
    together = min(tried, _TOGETHER)
    return together if size < together else 0


def _put_back(pending: Iterable[Comparison], ledger: SlotLedger) -> dict[int, str]:
    """Move all of them at once, so that two can swap, and move back those that do not fit, the last rows first.

    Returns the lines of the rows that were moved back, each with the reason.
    """
    came: dict[SlotKey, list[Comparison]] = defaultdict(list)
    for known in pending:
        if known.is_move:
            ledger.move(SlotKey.of(known.booking.slot), known.row.slot)
            came[known.row.slot].append(known)
    back = {}
    crowded = list(came)
    while crowded:
        window = crowded.pop()
        while came[window] and (reason := ledger.why_overbooked(window)):
            known = came[window].pop()
            before = SlotKey.of(known.booking.slot)
            ledger.move(window, before)
            back[known.row.line] = reason
            crowded.append(before)  # another booking may have taken the place meanwhile
    return back


def _new_booking(row: Row, slot: Slot) -> Booking:
    booking = Booking(
        reference=row.reference,
        customer_name=row.customer_name,
        msisdn=row.msisdn,
        slot=slot,
        notes=row.notes or "",
        imported=row.record,
    )
    booking.language = row.language or booking.language
    return booking
