"""The files in which the demo's deliveries came: one for each day, imported by dispatch."""

import datetime as dt
from collections.abc import Sequence

from django.contrib.auth.models import User

from bookings.dispatch.imports.rows import Remark, Row, parse_row
from bookings.dispatch.imports.stepwise import Work, as_json
from bookings.models import ActKind, Booking, Manifest, ManifestState, StaffAct
from bookings.scheduling.slots import SlotKey

#: What was wrong with a row of some files, by column.
_FAULTS = ({"phone": "07700 9"}, {"window_start": "8am"}, {"date": "31/11/2026"})


def record_of(booking: Booking) -> dict[str, str | int | None]:
    """Return the content of this booking's row, as `Booking.imported` remembers it."""
    return Row(
        line=0,
        reference=booking.reference,
        customer_name=booking.customer_name,
        msisdn=booking.msisdn,
        slot=SlotKey.of(booking.slot),
        language=booking.language,
        notes=booking.notes,
    ).record


def hand_in(day: dt.date, bookings: Sequence[Booking], at: dt.datetime, user: User) -> StaffAct:
    """Store the file of a day's deliveries, imported at that moment. Every third has a row that was refused."""
    refused = [_refused(bookings[-1], len(bookings) + 2, day)] if day.day % 3 == 0 else []
    count = len(bookings) + len(refused)
    counts = {"created": len(bookings), "changed": 0, "unchanged": 0, "kept": 0, "repaired": 0}
    manifest = Manifest.objects.create(
        name=f"deliveries-{day.isoformat()}.csv",
        content=Work().packed(),
        state=ManifestState.DONE,
        row_count=count,
        rows_done=count,
        counts=counts | {"refused": len(refused)},
        refusals=as_json(refused),
        user=user,
        created_at=at - dt.timedelta(seconds=40),
        finished_at=at,
    )
    came_in = Manifest.bookings.through
    came_in.objects.bulk_create(came_in(manifest=manifest, booking=one) for one in bookings)
    details = f"{manifest.name}, rows: {count}"
    started_at = at - dt.timedelta(seconds=2)
    return StaffAct(kind=ActKind.IMPORTED, user=user, details=details, created_at=started_at)


def _refused(like: Booking, line: int, day: dt.date) -> Remark:
    """Return the product's remark about a row with a fault."""
    cells = {
        "reference": f"{like.reference}-B",
        "customer_name": "",
        "phone": f"+{like.msisdn}",
        "date": day.isoformat(),
        "window_start": f"{like.slot.window_start:%H:%M}",
        "window_end": f"{like.slot.window_end:%H:%M}",
    } | _FAULTS[day.day % len(_FAULTS)]
    header = list(cells)
    found = parse_row(line, header, [cells[name] for name in header])
    if not isinstance(found, Remark):
        raise TypeError(f"This row should have been refused: {found}")
    return found
