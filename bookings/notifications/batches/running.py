"""Starting a batch, stopping it for a while, and ending it before its time."""

from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from bookings.models import (
    ActKind,
    Batch,
    BatchEntry,
    BatchState,
    Booking,
    Notification,
    NotificationState,
    OutboundMessage,
    SlotOption,
    StaffAct,
)
from bookings.outbox.queueing import wake_senders

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_CANCELLED = "the batch was cancelled"


def start(
    bookings: QuerySet[Booking],
    *,
    nonce: str,
    user: "User",
    sender: str,
    name: str = "",
    is_plain: bool = False,
    with_reminder: bool = False,
) -> Batch:
    """Write down whom to ask; the senders do the asking. The same nonce again gives the same batch."""
    with transaction.atomic():
        batch, is_new = Batch.objects.get_or_create(
            nonce=nonce,
            defaults={
                "name": name[:80],
                "user": user,
                "sender": sender,
                "is_plain": is_plain,
                "with_reminder": with_reminder,
            },
        )
        if is_new:
            keys = bookings.order_by("pk").values_list("pk", flat=True)
            entries = [BatchEntry(batch=batch, booking_id=key) for key in keys]
            BatchEntry.objects.bulk_create(entries, batch_size=1000)
            _record(ActKind.ASKED_MANY, batch, user, f", {len(entries)} bookings")
            wake_senders()
    return batch


def pause(batch: Batch, user: "User") -> bool:
    """Ask nobody else, and hand over none of its texts. False if it was not running, or is finished."""
    return _turn(batch, user, BatchState.RUNNING, BatchState.PAUSED, ActKind.PAUSED)


def resume(batch: Batch, user: "User") -> bool:
    """Go on where it was paused. False if it was not, or is finished."""
    return _turn(batch, user, BatchState.PAUSED, BatchState.RUNNING, ActKind.RESUMED)


def cancel(batch: Batch, user: "User") -> bool:
    """Leave out who was not asked yet, and withdraw what was not handed over. False if nothing was left to do."""
    now = timezone.now()
    with transaction.atomic():
        going_on = Batch.objects.going_on().filter(pk=batch.pk)
        if not going_on.update(state=BatchState.CANCELLED, ended_at=now):
            return False
        # Waits for whoever is asking one of them at this moment, and leaves that one as it is.
        waiting = BatchEntry.objects.waiting().filter(batch=batch)
        waiting.update(settled_at=now, left_out="The batch was cancelled.")
        _record(ActKind.CANCELLED, batch, user)
    _withdraw(batch)
    return True


def withdraw_cancelled() -> int:
    """Withdraw what was asked at the very moment of a cancellation, or if that was cut short."""
    cancelled = Batch.objects.just_cancelled(timezone.now())
    queued = OutboundMessage.objects.queued()
    return sum(_withdraw(batch) for batch in cancelled if queued.of_batches([batch]).exists())


@transaction.atomic
def _withdraw(batch: Batch) -> int:
    """Everyone locks the notification before its messages: so no call can begin for those that are locked here."""
    now = timezone.now()
    notifications = Notification.objects.open().filter(batch_entry__batch=batch).locked()
    rows = list(notifications.values_list("pk", "handed_over_at", "closes_at"))
    ours = OutboundMessage.objects.of_batches([batch])
    ours.filter(notification__in=[pk for pk, *_ in rows]).cancel(_CANCELLED)
    unread = [pk for pk, left_at, closes_at in rows if left_at is None and closes_at > now]
    SlotOption.objects.filter(notification__in=unread).update(is_held=False)
    return Notification.objects.filter(pk__in=unread).update(
        state=NotificationState.WITHDRAWN, closed_at=now, withdrawn_because=_CANCELLED
    )


@transaction.atomic
def _turn(batch: Batch, user: "User", before: BatchState, after: BatchState, act: ActKind) -> bool:
    turned = Batch.objects.going_on().filter(pk=batch.pk, state=before).update(state=after)
    if turned:
        _record(act, batch, user)
        wake_senders()
    return bool(turned)


def _record(act: ActKind, batch: Batch, user: "User", more: str = "") -> None:
    StaffAct.objects.create(kind=act, user=user, details=f"batch {batch.pk}: {batch}{more}")
