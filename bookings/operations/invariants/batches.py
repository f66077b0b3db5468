"""Each booking of a batch is asked or left out, a cancelled batch sends nothing, and no customer is reminded twice."""

import datetime as dt
from collections.abc import Iterator

from django.db.models import Count, Q
from django.utils import timezone

from bookings.models import Batch, BatchEntry, BatchState, Kind, OutboundMessage

_WITHDRAWN_WITHIN = dt.timedelta(minutes=5)


def entries_are_asked_or_left_out() -> Iterator[str]:
    is_asked, is_left_out = Q(notification__isnull=False), ~Q(left_out="")
    waits = Q(settled_at=None)
    wrong = (
        (is_asked & is_left_out, "asked and left out as well"),
        (waits & (is_asked | is_left_out), "waiting, though it was seen to"),
        (~waits & ~is_asked & ~is_left_out, "neither asked nor left out, and not waiting"),
    )
    for condition, what in wrong:
        for pk in BatchEntry.objects.filter(condition).order_by("pk").values_list("pk", flat=True):
            yield f"I9 batch entry {pk}: {what}"


def nobody_is_reminded_twice() -> Iterator[str]:
    reminders = OutboundMessage.objects.filter(kind=Kind.REMINDER).order_by("notification")
    counted = reminders.values_list("notification").annotate(count=Count("pk"))
    for notification, count in counted.filter(count__gt=1):
        yield f"I9 notification {notification}: {count} reminders"


def nothing_of_a_cancelled_batch_waits() -> Iterator[str]:
    cancelled = Batch.objects.filter(
        state=BatchState.CANCELLED, ended_at__lt=timezone.now() - _WITHDRAWN_WITHIN
    )
    entries = BatchEntry.objects.waiting().filter(batch__state=BatchState.CANCELLED)
    for pk in entries.order_by("pk").values_list("pk", flat=True):
        yield f"I9 batch entry {pk}: waiting, though its batch was cancelled"
    queued = OutboundMessage.objects.queued().of_batches(cancelled)
    for message in queued.order_by("pk"):
        yield f"I9 outbound message {message.pk}: queued, though its batch was cancelled"


CHECKS = (
    entries_are_asked_or_left_out,
    nobody_is_reminded_twice,
    nothing_of_a_cancelled_batch_waits,
)
