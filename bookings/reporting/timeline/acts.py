"""Steps of the timeline that staff and imports made: booked, changed, moved, cancelled, seen to, opted out."""

from collections.abc import Iterable, Iterator

from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet

from bookings.models import ActKind, Booking, ChangeCause, ConsentChange, SlotChange, StaffAct
from bookings.reporting.timeline.steps import Step, StepKind, Tone, details, full_name, visible


def by_staff(booking: Booking) -> Iterator[Step]:
    """Yield the step that booked it, its cancellations, and the changes that only the admin's log records."""
    entries = list(_log_entries(booking))
    added_by = [full_name(entry.user) for entry in entries if entry.action_flag == ADDITION]
    how = "Imported" if booking.imported is not None else "Booked"
    yield Step(
        at=booking.created_at,
        kind=StepKind.BOOKED,
        title=f"{how} as {visible(booking.reference)}",
        details=details(("Customer", booking.customer_name), ("Notes", booking.notes)),
        who="".join(added_by[:1]),
    )
    yield from (_logged(entry) for entry in entries if entry.action_flag != ADDITION)
    yield from _cancellations(booking)


def _cancellations(booking: Booking) -> Iterator[Step]:
    """Yield a step for each cancellation, and for each that was taken back."""
    acts = list(_acts(booking).order_by("pk"))
    for act in acts:
        is_cancelled = act.kind == ActKind.CALLED_OFF
        title, tone = ("Cancelled", Tone.BAD) if is_cancelled else ("Reinstated", Tone.PLAIN)
        yield Step(
            at=act.created_at, kind=StepKind.STAFF, title=title, who=full_name(act.user), tone=tone
        )
    at, calls = booking.cancelled_at, [act for act in acts if act.kind == ActKind.CALLED_OFF]
    if at is not None and all(act.created_at < at for act in calls):  # cancelled by no person
        who = full_name(booking.cancelled_by)
        yield Step(at=at, kind=StepKind.STAFF, title="Cancelled", who=who, tone=Tone.BAD)


def _acts(booking: Booking) -> QuerySet[StaffAct]:
    kinds = (ActKind.CALLED_OFF, ActKind.REINSTATED)
    return StaffAct.objects.filter(booking=booking, kind__in=kinds).select_related("user")


def last_changed_by(booking: Booking) -> int | None:
    """Return the id of the member of staff who changed or imported it last; None if the customer did."""
    changes = (
        booking.slot_changes.values_list("created_at", "user"),
        _acts(booking).values_list("created_at", "user"),
        _log_entries(booking).values_list("action_time", "user"),
    )
    last = [row for rows in changes for row in rows.order_by("-pk")[:1]]
    return max(last, key=lambda row: row[0])[1] if last else None


def _log_entries(booking: Booking) -> QuerySet[LogEntry]:
    content_type = ContentType.objects.get_for_model(Booking)
    entries = LogEntry.objects.filter(content_type=content_type, object_id=str(booking.pk))
    return entries.select_related("user").order_by("action_time", "pk")


def _logged(entry: LogEntry) -> Step:
    said = entry.get_change_message()
    return Step(
        at=entry.action_time,
        kind=StepKind.STAFF,
        title=visible(said.removesuffix(".")) or "Changed",
        who=full_name(entry.user),
    )


#: What a person did about what the machine must not guess. Moves, texts and opt-outs have rows of their own too.
_ATTENDED = {
    ActKind.TOOK: "Assigned to a member of staff",
    ActKind.APPLIED: "An option was chosen for the customer",
    ActKind.ANSWERED: "Answered by staff",
    ActKind.TOLD_BY_PHONE: "Customer told by phone",
    ActKind.SET_ASIDE: "No action needed",
}


def attended(booking: Booking) -> Iterator[Step]:
    """Who took it over, chose for the customer, answered, phoned, or set it aside."""
    acts = StaffAct.objects.filter(booking=booking, kind__in=_ATTENDED)
    for act in acts.select_related("user").order_by("pk"):
        yield Step(
            at=act.created_at,
            kind=StepKind.TOLD if act.kind == ActKind.TOLD_BY_PHONE else StepKind.STAFF,
            title=_ATTENDED[ActKind(act.kind)],
            details=details(("About", act.details)),
            who=full_name(act.user),
            tone=Tone.GOOD,
        )


def slot_changes(booking: Booking) -> Iterable[SlotChange]:
    """Every move of it."""
    return booking.slot_changes.select_related("from_slot", "to_slot", "user")


def moved(change: SlotChange) -> Step:
    """The slot before and after, and because of what or whom."""
    is_reply = change.cause == ChangeCause.REPLY
    return Step(
        at=change.created_at,
        kind=StepKind.MOVED if is_reply else StepKind.MOVED_BY_STAFF,
        title=f"Moved to {change.to_slot}",
        details=details(
            ("Before", change.from_slot),
            ("After", change.to_slot),
            ("Moved by", ChangeCause(change.cause).label),
        ),
        who=full_name(change.user),
        tone=Tone.GOOD,
        inbound=change.inbound_id,
    )


def consent_changes(booking: Booking) -> Iterable[ConsentChange]:
    """When this customer opted out or in again, also before it was booked."""
    return ConsentChange.objects.filter(msisdn=booking.msisdn).select_related("user").order_by("pk")


def consent(change: ConsentChange) -> Step:
    """From then on the number may, or may not, be texted."""
    out = "Opted out" if change.is_opted_out else "Opted in again"
    return Step(
        at=change.created_at,
        kind=StepKind.CONSENT,
        title=out,
        details=details(("By", change.words)),
        who=full_name(change.user),
        tone=Tone.BAD if change.is_opted_out else Tone.GOOD,
        inbound=change.inbound_id,
    )
