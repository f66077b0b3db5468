"""Running a batch: start it, ask its customers, pause, resume and cancel it. Any number of senders may ask at once."""

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
from bookings.models.faults import survives
from bookings.notifications.asking import CannotNotify, lock_booking, notify_locked
from bookings.outbox.queueing import wake_senders
from bookings.scheduling.offers import OfferCache

if TYPE_CHECKING:
    from django.contrib.auth.models import User

#: The reason why a customer who can still answer is left out.
ASKED_ALREADY = "Already notified; the notification is still open."
_FAILED = "Software error: nothing was sent. Notify this customer separately."
_CANCELLED = "the batch was cancelled"


def start_batch(
    bookings: QuerySet[Booking],
    *,
    nonce: str,
    user: "User",
    sender: str,
    name: str = "",
    is_plain: bool = False,
    with_reminder: bool = False,
) -> Batch:
    """Store whom to ask; the senders ask them. The same nonce again returns the same batch."""
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


def ask_waiting(most: int = 100) -> int:
    """Ask up to `most` customers whose turn it is. Returns the number of entries that were looked at.

    A bug that ends the work on one entry leaves it out, and holds up neither the others nor the sending.
    """
    waiting = BatchEntry.objects.to_ask().select_related("batch__user", "booking__slot")
    entries = list(waiting.order_by("batch_id", "pk")[:most])  # in the order of their index
    offers = OfferCache()
    offers.look_up((entry.booking for entry in entries), timezone.now())
    for entry in entries:
        if not _ask_or_log(entry, offers):
            _leave_out(entry, _FAILED)
    return len(entries)


def _ask_or_log(entry: BatchEntry, offers: OfferCache) -> bool:
    return survives(lambda: _ask(entry, offers), otherwise=f"Batch entry {entry.pk}: asking failed")


def _ask(entry: BatchEntry, offers: OfferCache) -> None:
    """Ask one customer, unless another sender has just done so or the batch was stopped."""
    booking, batch = lock_booking(entry.booking), entry.batch
    mine = BatchEntry.objects.to_ask().filter(pk=entry.pk).select_for_update(of=("self",))
    if (
        mine.first() is None
    ):  # not exists(), which would lock the batch too and make its buttons wait
        return
    try:
        with transaction.atomic():
            _check_not_waiting(booking)
            notification = notify_locked(
                booking,
                user=batch.user,
                sender=batch.sender,
                is_plain=batch.is_plain,
                with_reminder=batch.with_reminder,
                idempotency_key=f"batch:{batch.pk}:{booking.pk}",
                offers=offers,
            )
    except CannotNotify as error:
        _leave_out(entry, str(error))
    else:
        _settle(entry, notification=notification)


def _check_not_waiting(booking: Booking) -> None:
    """Raise CannotNotify if a notification can still be answered: asking again would withdraw it."""
    still_open = Notification.objects.open().filter(booking=booking, closes_at__gt=timezone.now())
    if still_open.exists():
        raise CannotNotify(ASKED_ALREADY)


def _leave_out(entry: BatchEntry, reason: str) -> None:
    _settle(entry, left_out=reason[:200])


def _settle(entry: BatchEntry, **what: object) -> None:
    waiting = BatchEntry.objects.waiting().filter(pk=entry.pk)
    waiting.update(settled_at=timezone.now(), **what)


def pause_batch(batch: Batch, user: "User") -> bool:
    """Stop asking, and hand over none of the batch's texts. Returns False if it was not running, or is finished."""
    return _change_state(batch, user, BatchState.RUNNING, BatchState.PAUSED, ActKind.PAUSED)


def resume_batch(batch: Batch, user: "User") -> bool:
    """Go on where the batch was paused. Returns False if it was not paused, or is finished."""
    return _change_state(batch, user, BatchState.PAUSED, BatchState.RUNNING, ActKind.RESUMED)


def cancel_batch(batch: Batch, user: "User") -> bool:
    """Leave out who was not asked yet, and withdraw what was not handed over. Returns False if nothing was left."""
    now = timezone.now()
    with transaction.atomic():
        going_on = Batch.objects.going_on().filter(pk=batch.pk)
        if not going_on.update(state=BatchState.CANCELLED, ended_at=now):
            return False
        # Waits for a sender that asks one of them at this moment, and leaves that one as it is.
        waiting = BatchEntry.objects.waiting().filter(batch=batch)
        waiting.update(settled_at=now, left_out="The batch was cancelled.")
        _record(ActKind.CANCELLED, batch, user)
    _withdraw(batch)
    return True


def withdraw_cancelled() -> int:
    """Finish interrupted cancellations, and withdraw what was asked at that moment. Returns how many."""
    cancelled = Batch.objects.just_cancelled(timezone.now())
    queued = OutboundMessage.objects.queued()
    return sum(_withdraw(batch) for batch in cancelled if queued.of_batches([batch]).exists())


@transaction.atomic
def _withdraw(batch: Batch) -> int:
    """Withdraw the batch's notifications that were not handed over. Returns how many.

    Notifications are locked before their messages, so that no call can start for those locked here.
    """
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
def _change_state(
    batch: Batch, user: "User", before: BatchState, after: BatchState, act: ActKind
) -> bool:
    changed = Batch.objects.going_on().filter(pk=batch.pk, state=before).update(state=after)
    if changed:
        _record(act, batch, user)
        wake_senders()
    return bool(changed)


def _record(act: ActKind, batch: Batch, user: "User", more: str = "") -> None:
    StaffAct.objects.create(kind=act, user=user, details=f"batch {batch.pk}: {batch}{more}")
