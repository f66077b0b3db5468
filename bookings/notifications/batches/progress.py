"""The progress of batches. A few queries for any number of batches of any size."""

import datetime as dt
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Max, Q
from django.utils import timezone

from bookings.models import (
    Batch,
    BatchEntry,
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    Outcome,
)
from bookings.models.inbound import CHOSEN
from bookings.models.message_states import LOST

_WAITS = (MessageState.QUEUED, MessageState.CANCELLED)


@dataclass(slots=True)
class Progress:
    """The number of a batch's bookings at each stage. A booking counts at every stage that it has passed."""

    is_finished: bool = False  # nothing is left to ask, to hand over or to remind of
    last_at: dt.datetime | None = None  # when a customer was asked or a text handed over last
    to_remind: int = 0  # the customer may still be reminded
    to_send_again: int = 0  # the outcome of the text is unknown, and it may be sent once more
    total: int = 0
    waiting: int = 0  # not asked yet
    left_out: int = 0
    asked: int = 0
    queued: int = 0  # asked, and the text waits in the outbox
    handed_over: int = 0
    delivered: int = 0
    failed: int = 0
    cancelled: int = 0  # asked, and the text cancelled before it left
    answered: int = 0
    moved: int = 0
    reasons: list[tuple[str, int]] = field(default_factory=list)  # of those left out


def count_entries(batches: Collection[Any]) -> dict[int, Progress]:
    """Count the bookings of each batch: in all, waiting, asked, left out."""
    rows = BatchEntry.objects.filter(batch__in=batches).order_by().values_list("batch")
    counted = rows.annotate(
        total=Count("pk"),
        waiting=Count("pk", filter=Q(settled_at=None)),
        left_out=Count("pk", filter=~Q(left_out="")),
        last=Max("settled_at"),
    )
    return {
        pk: Progress(
            total=total,
            waiting=waiting,
            left_out=left_out,
            asked=total - waiting - left_out,
            last_at=last,
        )
        for pk, total, waiting, left_out, last in counted
    }


def finished(batches: Collection[Any]) -> set[Any]:
    """Return those of these batches that have nothing left to do."""
    return set(Batch.objects.filter(pk__in=batches).finished().values_list("pk", flat=True))


def of(batch: Any) -> Progress:
    """Count all stages of one batch."""
    progress = count_entries([batch.pk]).get(batch.pk, Progress())
    progress.is_finished = bool(finished([batch.pk]))
    if batch.with_reminder:
        open_ones = Notification.objects.open().filter(batch_entry__batch=batch)
        progress.to_remind = open_ones.filter(remind_at__isnull=False).count()
    texts = OutboundMessage.objects.of_batches([batch])
    progress.to_send_again = texts.going_again(timezone.now()).filter(is_held=False).count()
    states, called_at = _texts(batch)
    progress.last_at = max(filter(None, (progress.last_at, called_at)), default=None)
    progress.queued = states[MessageState.QUEUED]
    progress.cancelled = states[MessageState.CANCELLED]
    progress.handed_over = sum(n for state, n in states.items() if state not in _WAITS)
    progress.delivered = states[MessageState.DELIVERED]
    progress.failed = sum(states[state] for state in LOST)
    of_notification = Count("notification", distinct=True)
    replies = InboundMessage.objects.filter(notification__batch_entry__batch=batch)
    replied = replies.filter(outcome__in=CHOSEN).aggregate(
        answered=of_notification,
        moved=Count("notification", distinct=True, filter=Q(outcome=Outcome.MOVED)),
    )
    progress.answered, progress.moved = replied["answered"], replied["moved"]
    if progress.left_out:
        refused = batch.entries.exclude(left_out="").order_by().values_list("left_out")
        progress.reasons = list(refused.annotate(count=Count("pk")).order_by("-count", "left_out"))
    return progress


def _texts(batch: Any) -> tuple[Counter[str], dt.datetime | None]:
    """The batch's notifications by state, and when its last notification or reminder was handed over."""
    texts = OutboundMessage.objects.of_batches([batch])
    rows = texts.order_by().values_list("kind", "state")
    states: Counter[str] = Counter()
    called = []
    for kind, state, count, at in rows.annotate(count=Count("pk"), at=Max("call_started_at")):
        called.append(at)
        if kind == Kind.NOTIFICATION:
            states[state] += count
    return states, max(filter(None, called), default=None)
