"""Imports a spreadsheet from a browser: previewed first, then imported slice by slice until its last row.

Each slice is one transaction that locks the manifest and stores its progress, so that two windows, a crash or a closed
browser neither lose nor double a row. The same rows are refused as by `import_rows`: duplicates and capacities are
checked over the whole file, changes come before new bookings, and a change that finds no room is tried again while
others still make room.
"""

import json
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db import transaction
from django.utils import timezone

from bookings.dispatch.imports import importing
from bookings.dispatch.imports.importing import Import, size_after
from bookings.dispatch.imports.rows import Entry, Remark, Row, read
from bookings.dispatch.imports.sheets import ManifestError
from bookings.dispatch.imports.slots import find_or_create_slots
from bookings.models import ActKind, Manifest, ManifestState, StaffAct

if TYPE_CHECKING:
    from django.contrib.auth.models import User

#: New rows of one transaction. Why: it holds the locks of their slots (SQLite: of everybody) for 0.2 s.
_NEW = 500
#: A request imports slices for about this time.
SECONDS = 1.0


#: A packed row: most rows are only carried along from one slice to the next.
Packed: TypeAlias = list[Any]

#: A page shows this many remarks of a kind, and counts all.
MOST_SHOWN = 200


@dataclass(slots=True, kw_only=True)
class Work:
    """The rows that are still to be imported, in their order, and the remarks so far: stored in `Manifest.content`."""

    pending: list[Packed] = field(default_factory=list)  # all before the start, then the changes
    new: list[Packed] = field(default_factory=list)
    stuck: list[tuple[Row, str]] = field(default_factory=list)  # changes without room yet
    tried: int = 0  # changes of this pass
    size: int = 0  # changes that a slice takes
    refused: list[Remark] = field(default_factory=list)  # because the file contradicts itself
    changed: list[Remark] = field(default_factory=list)
    kept: list[Remark] = field(default_factory=list)
    repaired: list[Remark] = field(default_factory=list)

    @property
    def row_count(self) -> int:
        return len(self.pending) + len(self.new) + len(self.stuck)

    def begin_pass(self, changes: Iterable[Row], size: int) -> None:
        self.pending = pack(changes)
        self.tried, self.size = len(self.pending), size

    def packed(self) -> bytes:
        reasons = [reason for _, reason in self.stuck]
        told = {
            "pending": self.pending,
            "new": self.new,
            "stuck": list(zip(pack(row for row, _ in self.stuck), reasons, strict=True)),
            "tried": self.tried,
            "size": self.size,
            "refused": as_json(self.refused),
        }
        shown = {"changed": self.changed, "kept": self.kept, "repaired": self.repaired}
        told |= {name: as_json(remarks[:MOST_SHOWN]) for name, remarks in shown.items()}
        return zlib.compress(json.dumps(told).encode(), 1)

    @classmethod
    def of(cls, content: bytes | memoryview) -> "Work":
        told: dict[str, Any] = json.loads(zlib.decompress(content))
        remarks = ("refused", "changed", "kept", "repaired")
        return cls(
            pending=told["pending"],
            new=told["new"],
            stuck=[(Row.of(*row), reason) for row, reason in told["stuck"]],
            tried=told["tried"],
            size=told["size"],
            **{name: [Remark(**remark) for remark in told[name]] for name in remarks},
        )


def as_json(remarks: Iterable[Remark]) -> list[dict[str, Any]]:
    """Return remarks as `Manifest.refusals` has them."""
    return [
        {"line": remark.line, "reason": remark.reason, "cells": dict(remark.cells)}
        for remark in remarks
    ]


def pack(rows: Iterable[Row]) -> list[Packed]:
    return [[row.line, row.reference, row.record] for row in rows]


def unpack(rows: Iterable[Packed]) -> list[Row]:
    return [Row.of(*row) for row in rows]


def preview_import(name: str, content: bytes, user: "User") -> Manifest:
    """Store a file with the result that its import would have. Bookings stay as they are. Raises ManifestError."""
    entries = read(content)
    if not entries:
        raise ManifestError("The file has no rows below its first one.")
    job = Import(dry_run=True)
    rows = list(job.consistent(entries))
    work = Work(pending=pack(rows), refused=sorted(job.refused), repaired=list(_repaired(entries)))
    job.run(rows)
    report = job.report()
    work.changed, work.kept = list(report.changed_rows), list(report.kept)
    return Manifest.objects.create(
        name=name,
        content=work.packed(),
        row_count=len(entries),
        counts=_counts(job) | {"repaired": len(work.repaired)},
        refusals=as_json(report.refused),
        user=user,
    )


def start_import(manifest: Manifest, user: "User") -> None:
    """Sort the rows, create their slots, and leave the rest to `continue_import`. Starting twice starts once."""
    manifest.refresh_from_db()
    if manifest.state != ManifestState.PREVIEWED or not manifest.content:
        return
    work = Work.of(manifest.content)
    job = Import(user=user, refused=work.refused)
    new, known = job.prepare_slots(*job.sort(unpack(work.pending)))
    remaining = Work(new=pack(new), repaired=work.repaired)
    remaining.begin_pass((each.row for each in known), importing.CHANGES)
    with transaction.atomic():
        current = Manifest.objects.select_for_update().get(pk=manifest.pk)
        if current.state != ManifestState.PREVIEWED:
            return
        repaired = current.counts["repaired"]
        current.state, current.counts, current.refusals = ManifestState.RUNNING, {}, []
        _store_progress(current, job, remaining)
        current.counts["repaired"] = repaired
        current.save()
        details = f"{current.name}, rows: {current.row_count}"
        StaffAct.objects.create(kind=ActKind.IMPORTED, user=user, details=details)


def continue_import(manifest: Manifest, user: "User") -> None:
    """Import slices for about SECONDS. `user` is named as the cause of the moves."""
    until = time.monotonic() + SECONDS
    while _import_slice(manifest.pk, user) and time.monotonic() < until:
        pass
    manifest.refresh_from_db()


def _import_slice(pk: int, user: "User") -> bool:
    """Import the next slice. Returns True if there is more to do."""
    with transaction.atomic():
        manifest = Manifest.objects.select_for_update().get(pk=pk)
        if manifest.state != ManifestState.RUNNING or not manifest.content:
            return False
        work = Work.of(manifest.content)
        job = Import(user=user)
        if work.pending:
            _change_some(job, work)
        else:
            _create_some(job, work)
        _store_progress(manifest, job, work)
        manifest.save()
        return manifest.state == ManifestState.RUNNING


def _change_some(job: Import, work: Work) -> None:
    rows, work.pending = unpack(work.pending[: work.size]), work.pending[work.size :]
    work.stuck += [(known.row, reason) for known, reason in job.change_some(rows)]
    if work.pending or not work.stuck:
        return
    stuck, work.stuck = work.stuck, []
    if size := size_after(len(stuck), work.tried, work.size):
        work.begin_pass((row for row, _ in reversed(stuck)), size)
        return
    for row, reason in stuck:
        job.refuse(row, reason)


def _create_some(job: Import, work: Work) -> None:
    rows, work.new = unpack(work.new[:_NEW]), work.new[_NEW:]
    new, known = job.sort(rows)
    # Bookings that somebody else made since are changed in the next slice, which locks the customers first.
    work.begin_pass((each.row for each in known), importing.CHANGES)
    job.slots = find_or_create_slots({row.slot: None for row in new}, dry_run=False)
    job.create(new)


def _store_progress(manifest: Manifest, job: Import, work: Work) -> None:
    work.changed += job.changed
    work.kept += job.kept
    manifest.refusals = sorted(
        [*manifest.refusals, *as_json(job.refused)], key=lambda refusal: refusal["line"]
    )
    for name, count in _counts(job).items():
        manifest.counts[name] = manifest.counts.get(name, 0) + count
    manifest.rows_done = manifest.row_count - work.row_count
    manifest.content = work.packed()
    if not work.row_count:
        manifest.state, manifest.finished_at = ManifestState.DONE, timezone.now()
    came_in = Manifest.bookings.through
    came_in.objects.bulk_create(
        [came_in(manifest_id=manifest.pk, booking_id=pk) for pk in job.touched],
        ignore_conflicts=True,
    )


def _counts(job: Import) -> dict[str, int]:
    return {
        "created": job.created,
        "changed": len(job.changed),
        "unchanged": job.unchanged,
        "kept": len(job.kept),
        "refused": len(job.refused),
    }


def _repaired(entries: list[Entry]) -> Iterator[Remark]:
    for entry in entries:
        if isinstance(entry, Row) and entry.repaired:
            yield Remark(entry.line, entry.repaired)
