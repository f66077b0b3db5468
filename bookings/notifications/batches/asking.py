"""Asking the customers of a batch one by one, by any number of senders at once."""

import logging

from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from bookings.models import Batch, BatchEntry, Booking, Notification
from bookings.notifications.asking import CannotNotify, ask, lock_booking
from bookings.scheduling.offers import OfferCache

logger = logging.getLogger(__name__)

ASKED_ALREADY = "Already notified; the notification is still open."
_FAILED = "Software error: nothing was sent. Notify this customer separately."


def ask_waiting(most: int = 100) -> int:
    """Ask up to so many customers whose turn it is; returns how many entries were looked at."""
    waiting = BatchEntry.objects.to_ask().select_related("batch__user", "booking__slot")
    entries = list(waiting.order_by("batch_id", "pk")[:most])  # as their index has them
    offers = OfferCache()
    offers.look_up((entry.booking for entry in entries), timezone.now())
    for entry in entries:
        try:
            _ask(entry, offers)
        except (OperationalError, InterfaceError):
            raise
        except (
            Exception
        ):  # a bug that one booking meets may hold up neither the others nor the sending
            logger.exception("Batch entry %s: asking failed", entry.pk)
            _left_out(entry, _FAILED)
    return len(entries)


@transaction.atomic
def _ask(entry: BatchEntry, offers: OfferCache) -> None:
    """Ask, unless another sender has just done so, or the batch was stopped."""
    booking = lock_booking(entry.booking)
    mine = BatchEntry.objects.to_ask().filter(pk=entry.pk).select_for_update(of=("self",))
    if mine.first() is None:  # not exists(): that would lock the batch too, and its buttons wait
        return
    try:
        with transaction.atomic():
            _check_not_waiting(booking)
            notification = _notify(booking, entry.batch, offers)
    except CannotNotify as error:
        _left_out(entry, str(error))
    else:
        _settle(entry, notification=notification)


def _notify(booking: Booking, batch: Batch, offers: OfferCache) -> Notification:
    return ask(
        booking,
        user=batch.user,
        sender=batch.sender,
        is_plain=batch.is_plain,
        with_reminder=batch.with_reminder,
        idempotency_key=f"batch:{batch.pk}:{booking.pk}",
        offers=offers,
    )


def _check_not_waiting(booking: Booking) -> None:
    """Asking again would withdraw a notification that can still be answered."""
    still_open = Notification.objects.open().filter(booking=booking, closes_at__gt=timezone.now())
    if still_open.exists():
        raise CannotNotify(ASKED_ALREADY)


def _left_out(entry: BatchEntry, reason: str) -> None:
    _settle(entry, left_out=reason[:200])


def _settle(entry: BatchEntry, **what: object) -> None:
    waiting = BatchEntry.objects.waiting().filter(pk=entry.pk)
    waiting.update(settled_at=timezone.now(), **what)
