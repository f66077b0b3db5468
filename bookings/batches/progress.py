"""How far batches have come: a few queries, however many they are and however large."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q

from bookings.models import (
    BatchEntry,
    InboundMessage,
    Kind,
    MessageState,
    OutboundMessage,
    Outcome,
)
from bookings.models.messages import CHOSEN
from bookings.models.standing import LOST

_WAITS = (MessageState.QUEUED, MessageState.CANCELLED)


@dataclass(slots=True)
class Progress:
    """Bookings of a batch by how far each has come. Whoever answered was handed a text before, and so on."""

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
    reasons: list[tuple[str, int]] = field(default_factory=list)  # why they were left out


def count_entries(batches: Collection[Any]) -> dict[int, Progress]:
    """The bookings of each batch: in all, waiting, asked, left out."""
    rows = BatchEntry.objects.filter(batch__in=batches).order_by().values_list("batch")
    counted = rows.annotate(
        total=Count("pk"),
        waiting=Count("pk", filter=Q(settled_at=None)),
        left_out=Count("pk", filter=~Q(left_out="")),
    )
    return {
        pk: Progress(
            total=total, waiting=waiting, left_out=left_out, asked=total - waiting - left_out
        )
        for pk, total, waiting, left_out in counted
    }


def of(batch: Any) -> Progress:
    """All there is to know of one batch, in four queries."""
    progress = count_entries([batch.pk]).get(batch.pk, Progress())
    states = _states(batch)
    progress.queued = states[MessageState.QUEUED]
    progress.cancelled = states[MessageState.CANCELLED]
    progress.handed_over = sum(n for state, n in states.items() if state not in _WAITS)
    progress.delivered = states[MessageState.DELIVERED]
    progress.failed = sum(states[state] for state in LOST)
    of_question = Count("notification", distinct=True)
    replies = InboundMessage.objects.filter(notification__batch_entry__batch=batch)
    replied = replies.filter(outcome__in=CHOSEN).aggregate(
        answered=of_question,
        moved=Count("notification", distinct=True, filter=Q(outcome=Outcome.MOVED)),
    )
    progress.answered, progress.moved = replied["answered"], replied["moved"]
    if progress.left_out:
        refused = batch.entries.exclude(left_out="").order_by().values_list("left_out")
        progress.reasons = list(refused.annotate(count=Count("pk")).order_by("-count", "left_out"))
    return progress


def _states(batch: Any) -> Counter[str]:
    asked = OutboundMessage.objects.filter(
        notification__batch_entry__batch=batch, kind=Kind.NOTIFICATION
    )
    return Counter(dict(asked.order_by().values_list("state").annotate(count=Count("pk"))))
