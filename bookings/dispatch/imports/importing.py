"""Bringing a manifest's rows into bookings and slots.

What a row says differently from its last import is done; what it says as before is left alone, so
that the same file again undoes nothing that a customer or a person chose in between. One row's
refusal never keeps another out. The steps, each in short transactions of its own:

1. Refuse rows that contradict an earlier one of the same file.
2. Sort them by what is known of their bookings: new, changed, unchanged, kept.
3. Make the slots that are missing, and set the capacities that the file says anew.
4. Change bookings, many at a time, through dispatch, which withdraws what their customers were asked.
5. Store new bookings, many at a time, as far as their slots have room.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone

from bookings.dispatch.imports.changing import carry_out, lock_customers
from bookings.dispatch.imports.known import Known, chunks, compare, with_bookings
from bookings.dispatch.imports.room import Room, find_or_make_slots, set_capacity
from bookings.dispatch.imports.rows import Entry, Remark, Row, Window
from bookings.models import Booking, Slot

if TYPE_CHECKING:
    from django.contrib.auth.models import User

#: Changes that a transaction takes: it holds the locks of their customers, with SQLite everybody's, for 0.2 s.
CHANGES = 250
#: So many it takes when they may only fit together: 1.6 s.
_TOGETHER = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an import did, or with `dry_run` would do. Every row is counted once."""

    created: int
    unchanged: int
    changed_rows: tuple[Remark, ...]  # before and after
    kept: tuple[Remark, ...]  # what the row says was not done, and need not be
    refused: tuple[Remark, ...]

    @property
    def changed(self) -> int:
        return len(self.changed_rows)


def import_rows(
    entries: Iterable[Entry], *, dry_run: bool = False, user: "User | None" = None
) -> Report:
    """Import what `read` returned; `user` is who is named for the moves. Raises nothing for a row."""
    job = Import(user=user, dry_run=dry_run)
    job.run(job.consistent(entries))
    return job.report()


@dataclass(slots=True, kw_only=True)
class Import:
    """One run over rows: what has come of them so far, and the steps."""

    user: "User | None" = None
    dry_run: bool = False
    created: int = 0
    unchanged: int = 0
    changed: list[Remark] = field(default_factory=list)
    touched: list[int] = field(default_factory=list)  # bookings that were made or changed
    kept: list[Remark] = field(default_factory=list)
    refused: list[Remark] = field(default_factory=list)
    slots: dict[Window, Slot] = field(default_factory=dict)
    settled: set[Window] = field(default_factory=set)  # whose capacity the file says as before
    room: Room = field(default_factory=Room)  # of a dry run, which takes it on paper

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
        """The rows that no earlier row contradicts."""
        lines: dict[str, int] = {}
        capacities: dict[Window, tuple[int, int]] = {}
        for entry in entries:
            if isinstance(entry, Remark):
                self.refused.append(entry)
                continue
            line = lines.setdefault(entry.reference, entry.line)
            said = capacities.get(entry.window, (entry.line, entry.capacity))
            if line != entry.line:
                self.refuse(entry, f"The reference {entry.reference} is in row {line} already.")
            elif entry.capacity not in {None, said[1]}:
                reason = f"It says the slot holds {entry.capacity}, row {said[0]} says {said[1]}."
                self.refuse(entry, reason)
            else:
                if entry.capacity is not None:
                    capacities.setdefault(entry.window, (entry.line, entry.capacity))
                yield entry

    def sort(self, rows: Iterable[Row]) -> tuple[list[Row], list[Known]]:
        """New rows, and those that change a booking. All others are counted here."""
        new: list[Row] = []
        known: list[Known] = []
        today = timezone.localdate()
        for row, booking, cause in with_bookings(list(rows)):
            if booking is None:
                new.append(row)
            elif not booking.is_scheduled:
                self.kept.append(Remark(row.line, f"{booking} is cancelled, and stays so."))
            else:
                known += self._news(compare(row, booking, cause))
        return (
            [row for row in new if self._is_ahead(row, today)],
            [
                each
                for each in known
                if "window" not in each.news or self._is_ahead(each.row, today)
            ],
        )

    def _news(self, known: Known) -> list[Known]:
        row, booking = known.row, known.booking
        is_as_before = booking.imported and not known.news & {"window", "capacity"}
        if row.capacity is not None and is_as_before:
            self.settled.add(row.window)
        if known.news:
            return [known]
        if booking.imported is None and not self.dry_run:
            Booking.objects.filter(pk=booking.pk).update(imported=row.record)
        self._count(known)
        return []

    def _is_ahead(self, row: Row, today: dt.date) -> bool:
        if row.window.date < today:
            self.refuse(row, f"{row.window.date} has passed.")
        return row.window.date >= today

    def _count(self, known: Known) -> None:
        if known.news:
            self.changed.append(Remark(known.row.line, f"{known.change} {known.kept}".strip()))
        elif known.kept:
            self.kept.append(Remark(known.row.line, known.kept))
        else:
            self.unchanged += 1

    def prepare_slots(self, new: list[Row], known: list[Known]) -> tuple[list[Row], list[Known]]:
        """Find or make their slots, set capacities; without the rows whose capacity is impossible."""
        anew = [*new, *(each.row for each in known if each.news & {"window", "capacity"})]
        said = {
            row.window: row.capacity
            for row in anew
            if row.capacity is not None and row.window not in self.settled
        }
        self.slots = find_or_make_slots(
            {row.window: said.get(row.window) for row in anew}, dry_run=self.dry_run
        )
        refused = {
            window: reason
            for window, capacity in said.items()
            if (reason := set_capacity(self.slots[window], capacity, dry_run=self.dry_run))
        }
        if self.dry_run:
            self.room = Room.of([*(each.booking.slot for each in known), *self.slots.values()])
        for row in anew:
            if row.capacity is not None and row.window in refused:
                self.refuse(row, refused[row.window])
        lines = {remark.line for remark in self.refused}
        return (
            [row for row in new if row.line not in lines],
            [each for each in known if each.row.line not in lines],
        )

    def change(self, pending: Sequence[Known]) -> None:
        """Change bookings; one that is refused is tried again while others still make room for it."""
        size = CHANGES
        while pending:
            stuck = [each for some in chunks(pending, size) for each in self._change(some)]
            size = size_after(len(stuck), len(pending), size)
            if not size:
                for known, reason in stuck:
                    self.refuse(known.row, reason)
                return
            pending = [known for known, _ in reversed(stuck)]  # a chain may run either way

    def _change(self, some: Sequence[Known]) -> list[tuple[Known, str]]:
        if self.dry_run:
            return self._fit(some, self.room)[1]
        with transaction.atomic():
            return self.change_some([known.row for known in some])

    def change_some(self, rows: Sequence[Row]) -> list[tuple[Known, str]]:
        """Change their bookings, each once, in the caller's transaction. Returns those that could not be, and why."""
        lock_customers(rows)
        _, pending = self.sort(rows)
        moved = {known.row.window for known in pending if "window" in known.news}
        missing: dict[Window, int | None] = dict.fromkeys(moved - self.slots.keys())
        self.slots |= find_or_make_slots(missing, dry_run=False)
        slots = {self.slots[window].pk for window in moved}
        slots |= {known.booking.slot_id for known in pending}
        room = Room.of(list(Slot.objects.filter(pk__in=slots).locked()))
        changes, stuck = self._fit(pending, room)
        carry_out(changes, room.slots, user=self.user)
        self.touched += [known.booking.pk for known in changes]
        return stuck

    def _fit(
        self, pending: Sequence[Known], room: Room
    ) -> tuple[list[Known], list[tuple[Known, str]]]:
        """Those that there is room for, which they take; and the others, each with the reason."""
        stuck = {
            known.row.line: reason
            for known in pending
            if known.moves and (reason := room.why_closed(known.row.window))
        }
        stuck |= _put_back([known for known in pending if known.row.line not in stuck], room)
        fitting = [known for known in pending if known.row.line not in stuck]
        for known in fitting:
            self._count(known)
        return fitting, [
            (known, stuck[known.row.line]) for known in pending if known.row.line in stuck
        ]

    def create(self, rows: Sequence[Row]) -> None:
        store = self._store_on_paper if self.dry_run else self._store
        for chunk in chunks(rows):
            store(chunk)

    def _store(self, rows: Sequence[Row]) -> None:
        try:
            with transaction.atomic():
                slots = Slot.objects.filter(pk__in={self.slots[row.window].pk for row in rows})
                refused = self._stored(rows, Room.of(list(slots.locked())))
        except IntegrityError:
            taken = {row.reference for row, booking, _ in with_bookings(rows) if booking}
            if not taken:
                raise
            for row in rows:
                if row.reference in taken:
                    self.refuse(row, "It was booked at this very moment: import the file again.")
            self._store([row for row in rows if row.reference not in taken])
        else:
            self.refused += refused
            self.created += len(rows) - len(refused)

    def _stored(self, rows: Sequence[Row], room: Room) -> list[Remark]:
        reasons = [room.take(row.window) for row in rows]
        pairs = list(zip(rows, reasons, strict=True))
        made = Booking.objects.bulk_create(
            _new_booking(row, self.slots[row.window]) for row, reason in pairs if not reason
        )
        self.touched += [booking.pk for booking in made]
        return [Remark(row.line, reason, row.cells) for row, reason in pairs if reason]

    def _store_on_paper(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if reason := self.room.take(row.window):
                self.refuse(row, reason)
            else:
                self.created += 1


def size_after(stuck: int, tried: int, size: int) -> int:
    """How many changes the next pass takes at a time, after one that took `size`; 0: there is no room for them.

    If nothing of a pass fitted, they are tried together: so full slots swap what came in different chunks.
    """
    if stuck < tried:
        return CHANGES
    together = min(tried, _TOGETHER)
    return together if size < together else 0


def _put_back(pending: Iterable[Known], room: Room) -> dict[int, str]:
    """Let all of them move at once, so that two can swap, and put back who is too many, the last rows first.

    Returns the lines of those, each with the reason.
    """
    came: dict[Window, list[Known]] = defaultdict(list)
    for known in pending:
        if known.moves:
            room.move(Window.of(known.booking.slot), known.row.window)
            came[known.row.window].append(known)
    back = {}
    crowded = list(came)
    while crowded:
        window = crowded.pop()
        while came[window] and (reason := room.why_full(window)):
            known = came[window].pop()
            before = Window.of(known.booking.slot)
            room.move(window, before)
            back[known.row.line] = reason
            crowded.append(before)  # somebody else may have come there meanwhile
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
