"""Puts an SMS into the outbox, in the transaction that gives rise to it."""

import datetime as dt
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection
from django.utils import timezone

from bookings.language.encoding import count_parts
from bookings.models import Booking, InboundMessage, Kind, Notification, OutboundMessage

if TYPE_CHECKING:
    from django.contrib.auth.models import User

#: The channel on which PostgreSQL wakes the senders.
CHANNEL = "outbox"

#: The lowest is sent first. Answers to customers (1) come before texts that staff write, and those before bulk.
_PRIORITIES = {Kind.STAFF: 3, Kind.TOLD: 4, Kind.NOTIFICATION: 5, Kind.REMINDER: 5}


def priority_of(kind: Kind) -> int:
    """Return the priority of a message of this kind. The lowest is sent first."""
    return _PRIORITIES.get(kind, 1)


def queue(
    kind: Kind,
    text: str,
    *,
    key: str,
    msisdn: str,
    sender: str,
    booking: Booking | None = None,
    notification: Notification | None = None,
    in_reply_to: InboundMessage | None = None,
    user: "User | None" = None,
    valid_until: dt.datetime | None = None,
) -> OutboundMessage:
    """Queue one SMS for the gateway of today's settings. `key` is the idempotency key.
    Raises IntegrityError if a message with this key was queued before.
    """
    now = timezone.now()
    message = OutboundMessage.objects.create(
        idempotency_key=key,
        kind=kind,
        priority=priority_of(kind),
        msisdn=msisdn,
        sender=sender,
        text=text,
        parts=count_parts(text),
        booking=booking,
        notification=notification,
        in_reply_to=in_reply_to,
        told_state=booking.state if booking and kind == Kind.TOLD else "",
        user=user,
        gateway=settings.SMS_GATEWAY,
        queued_at=now,
        due_at=now,
        valid_until=valid_until,
    )
    wake_senders()
    return message


def wake_senders() -> None:
    """Wake the senders when this transaction commits. On SQLite senders poll, so nothing is done."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")
