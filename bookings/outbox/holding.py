"""A restored old backup sends nothing by itself: what waited while no sender was at work is held for a person.

All in the database's time: the machine on which a backup is restored may have any.
"""

import datetime as dt
import logging
import os
import socket
from collections.abc import Collection

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from bookings.models import (
    Kind,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    Sender,
)
from bookings.models.outbound import SENT_AGAIN, OutboundMessageQuerySet
from bookings.outbox.queueing import ring

logger = logging.getLogger(__name__)

#: Nobody sent for so long: what waits may be what an old backup remembers.
SILENCE = dt.timedelta(minutes=30)

_REMEMBERED = dt.timedelta(days=1)
_DROPPED = "held since no sender was at work, and dropped"


def clock_in() -> None:
    """Note that this sender is at work. If nobody was for half an hour, first hold all that waits."""
    with transaction.atomic():
        if not _somebody_is_at_work():
            _hold()
        name = f"{socket.gethostname()[:60]} {os.getpid()}"
        Sender.objects.bulk_create(
            [Sender(name=name, seen_at=Now())],
            update_conflicts=True,
            unique_fields=["name"],
            update_fields=["seen_at"],
        )
    Sender.objects.filter(seen_at__lt=Now() - _REMEMBERED).delete()  # ours is the newest


def held() -> OutboundMessageQuerySet:
    """What waits for a person to release or to drop it."""
    return OutboundMessage.objects.filter(_waits(), is_held=True)


def release(keys: Collection[int] | None = None) -> int:
    """Let these (or all) held texts go; returns how many. What is not true any more is cancelled or asked afresh."""
    with transaction.atomic():
        chosen = _locked(keys)
        released = OutboundMessage.objects.filter(pk__in=chosen).update(is_held=False)
        ring()
    logger.warning("%s held texts released", released)
    return released


def drop(keys: Collection[int] | None = None) -> int:
    """Cancel these (or all) held texts; returns how many. A notification that never left us can be asked again."""
    with transaction.atomic():
        told = _chosen(keys).filter(kind=Kind.NOTIFICATION).values("notification")
        unread = Notification.objects.open().filter(pk__in=told, handed_over_at=None)
        notifications = list(unread.locked())  # everyone locks the notification before its messages
        chosen = _locked(keys)
        for notification in notifications:
            if notification.outbound_messages.filter(
                pk__in=chosen, kind=Kind.NOTIFICATION
            ).exists():
                notification.end(NotificationState.WITHDRAWN, timezone.now(), _DROPPED)
        rows = OutboundMessage.objects.filter(pk__in=chosen)
        dropped = rows.update(is_held=False)
        rows.cancel(_DROPPED)
    logger.warning("%s held texts dropped", dropped)
    return dropped


def _somebody_is_at_work() -> bool:
    """Also in a new installation, where nobody ever was."""
    lately = Sender.objects.filter(seen_at__gt=Now() - SILENCE)
    return lately.exists() or not Sender.objects.exists()


def _hold() -> None:
    """Hold what waits, unless another sender has just done so and is at work by now."""
    list(Sender.objects.select_for_update().order_by("pk"))
    if _somebody_is_at_work():
        return
    count = OutboundMessage.objects.filter(_waits(), is_held=False).update(is_held=True)
    if count:
        logger.error(
            "No sender was at work for half an hour, as after the restore of an old backup: %s texts that"
            " waited meanwhile are held. Release or drop them in the admin.",
            count,
        )


def _waits() -> Q:
    """What would be sent if nobody stopped it: now, after its lease, or once more."""
    is_over = Q(state=MessageState.SENDING, lease_until__lte=Now())
    may_go_again = Q(kind__in=SENT_AGAIN, sent_again=False, never_again="")
    return (
        Q(state=MessageState.QUEUED)
        | (is_over & Q(call_started_at=None))
        | (is_over & may_go_again)
        | (Q(state=MessageState.UNKNOWN) & may_go_again)
    )


def _chosen(keys: Collection[int] | None) -> OutboundMessageQuerySet:
    return held() if keys is None else held().filter(pk__in=keys)


def _locked(keys: Collection[int] | None) -> list[int]:
    return list(_chosen(keys).locked().values_list("pk", flat=True))
