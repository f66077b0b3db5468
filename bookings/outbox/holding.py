"""Holds messages that waited while no sender ran, so that a restored backup sends nothing by itself.

A person releases or drops them. All times are database time, because the clock of a restored machine may be wrong.
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
from bookings.outbox.queueing import wake_senders

logger = logging.getLogger(__name__)

#: After this long without a sender, messages that wait may come from an old backup.
SILENCE = dt.timedelta(minutes=30)

_REMEMBERED = dt.timedelta(days=1)
_DROPPED = "on hold, then cancelled"


def note_running() -> None:
    """Note that this sender runs. If none ran for half an hour, first hold all messages that wait."""
    with transaction.atomic():
        if not _is_a_sender_running():
            _hold_waiting()
        name = f"{socket.gethostname()[:60]} {os.getpid()}"
        Sender.objects.bulk_create(
            [Sender(name=name, seen_at=Now())],
            update_conflicts=True,
            unique_fields=["name"],
            update_fields=["seen_at"],
        )
    Sender.objects.filter(seen_at__lt=Now() - _REMEMBERED).delete()  # ours is the newest


def held() -> OutboundMessageQuerySet:
    """Messages that a person must release or drop."""
    return OutboundMessage.objects.filter(_waits(), is_held=True)


def release(keys: Collection[int] | None = None) -> int:
    """Release these held messages, or all; returns how many. The sweep cancels or renews those no longer true."""
    with transaction.atomic():
        chosen = _locked(keys)
        released = OutboundMessage.objects.filter(pk__in=chosen).update(is_held=False)
        wake_senders()
    logger.warning("%s held texts released", released)
    return released


def drop(keys: Collection[int] | None = None) -> int:
    """Cancel these held messages, or all; returns how many.

    A notification that was never handed over is withdrawn, so that the customer can be asked again.
    """
    with transaction.atomic():
        asked = _chosen(keys).filter(kind=Kind.NOTIFICATION).values("notification")
        unread = Notification.objects.open().filter(pk__in=asked, handed_over_at=None)
        notifications = list(unread.locked())  # lock order: notifications before their messages
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


def _is_a_sender_running() -> bool:
    """Return True if a sender was seen lately, or if none was ever seen: a new installation holds nothing."""
    lately = Sender.objects.filter(seen_at__gt=Now() - SILENCE)
    return lately.exists() or not Sender.objects.exists()


def _hold_waiting() -> None:
    """Hold the messages that wait, unless another sender has just done so."""
    list(Sender.objects.select_for_update().order_by("pk"))
    if _is_a_sender_running():
        return
    count = OutboundMessage.objects.filter(_waits(), is_held=False).update(is_held=True)
    if count:
        logger.error(
            "No sender was at work for half an hour, as after the restore of an old backup: %s texts that"
            " waited meanwhile are held. Release or drop them in the admin.",
            count,
        )


def _waits() -> Q:
    """Messages that would be sent if nothing stopped them: now, after their lease, or once more."""
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
