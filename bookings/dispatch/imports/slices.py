"""An import by a browser, slice by slice: looked at first, then begun, then gone on with until its last row.

Each slice is one transaction that holds the manifest's lock and writes down how far it came, so that two windows, a
crash or a closed browser neither lose nor double anything. The same rows are refused as by `import_rows`: doubles and
capacities are looked at over the whole file, changes come before new bookings and in the same slices, and one that
finds no room is tried again while others still make room.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from bookings.dispatch.imports import importing
from bookings.dispatch.imports.importing import Import, size_after
from bookings.dispatch.imports.room import find_or_make_slots
from bookings.dispatch.imports.rows import Entry, Remark, Row, read
from bookings.dispatch.imports.sheets import ManifestError
from bookings.dispatch.imports.work import Work, as_json, pack, unpack
from bookings.models import ActKind, Manifest, ManifestState, StaffAct

if TYPE_CHECKING:
    from django.contrib.auth.models import User

#: New rows that a transaction takes: it holds the locks of their slots, with SQLite everybody's, for 0.2 s.
_NEW = 500
#: For how long a request goes on with slices.
SECONDS = 1.0


def look_at(name: str, content: bytes, user: "User") -> Manifest:
    """Keep a file with what its import would do; bookings stay as they are. Raises ManifestError."""
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


def start(manifest: Manifest, user: "User") -> None:
    """Sort the rows, make their slots, and leave the rest to `go_on`. Starting twice does it once."""
    manifest.refresh_from_db()
    if manifest.state != ManifestState.PREVIEWED or not manifest.content:
        return
    work = Work.of(manifest.content)
    job = Import(user=user, refused=work.refused)
    new, known = job.prepare_slots(*job.sort(unpack(work.pending)))
    plan = Work(new=pack(new), repaired=work.repaired)
    plan.begin_pass((each.row for each in known), importing.CHANGES)
    with transaction.atomic():
        current = Manifest.objects.select_for_update().get(pk=manifest.pk)
        if current.state != ManifestState.PREVIEWED:
            return
        repaired = current.counts["repaired"]
        current.state, current.counts, current.refusals = ManifestState.RUNNING, {}, []
        _write_down(current, job, plan)
        current.counts["repaired"] = repaired
        current.save()
        details = f"{current.name}, rows: {current.row_count}"
        StaffAct.objects.create(kind=ActKind.IMPORTED, user=user, details=details)


def go_on(manifest: Manifest, user: "User") -> None:
    """Import slices for about SECONDS. `user` is who is named for the moves."""
    until = time.monotonic() + SECONDS
    while _import_slice(manifest.pk, user) and time.monotonic() < until:
        pass
    manifest.refresh_from_db()


def _import_slice(pk: int, user: "User") -> bool:
    """Whether there is more to do."""
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
        _write_down(manifest, job, work)
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
    # Booked by somebody else since: changed in the next slice, where customers' locks come first.
    work.begin_pass((each.row for each in known), importing.CHANGES)
    job.slots = find_or_make_slots({row.window: None for row in new}, dry_run=False)
    job.create(new)


def _write_down(manifest: Manifest, job: Import, work: Work) -> None:
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
