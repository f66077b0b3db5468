"""Delivery receipts: each moves an outbound message forward, never back."""

import datetime as dt
import logging

from django.db import transaction
from django.utils import timezone

from bookings.models import (
    Consent,
    DeliveryReceipt,
    Kind,
    Notification,
    OutboundMessage,
    SendAttempt,
    SentPart,
)
from bookings.models.standing import LOST

logger = logging.getLogger(__name__)

#: Vonage's err-code 9: "the user asked not to receive" (delivery receipt guide).
OPTED_OUT = "9"

#: A receipt that matches nothing for so long never will.
_PARKED_FOR = dt.timedelta(days=4)


def apply(receipt: DeliveryReceipt) -> bool:
    """Move the message that a stored receipt is about. False if it matches nothing yet: then it stays parked.

    It is matched by client-ref, which can come before our own settle, and else by the gateway's message id.
    """
    attempt = _attempt_of(receipt)
    if attempt is None:
        logger.info("Receipt %s: parked, it matches nothing yet", receipt.pk)
        return False
    _note_handed_over(attempt)
    message = OutboundMessage.objects.locked().get(pk=attempt.message_id)
    receipt.attempt = attempt
    receipt.save(update_fields=["attempt"])
    message.stand()
    if receipt.err_code == OPTED_OUT and receipt.status.upper() in {state.name for state in LOST}:
        Consent.objects.record(
            message.msisdn,
            is_opted_out=True,
            words="receipt: asked not to receive texts",
            receipt=receipt,
        )
    logger.info("Receipt %s: message %s is %s", receipt.pk, message.pk, message.state)
    return True


def apply_parked() -> int:
    """Match receipts that came before we knew the gateway's message id."""
    since = timezone.now() - _PARKED_FOR
    parked = DeliveryReceipt.objects.parked().filter(received_at__gt=since)
    known = parked.filter(gateway_message_id__in=SentPart.objects.values("gateway_message_id"))
    count = 0
    for pk in list(known.order_by("pk").values_list("pk", flat=True)[:500]):
        with transaction.atomic():
            # Only once, whoever else sweeps: a START may have followed an opt-out by receipt.
            receipt = DeliveryReceipt.objects.parked().select_for_update().filter(pk=pk).first()
            count += receipt is not None and apply(receipt)
    return count


def _note_handed_over(attempt: SendAttempt) -> None:
    """The customer can have read the question after all, though the gateway's answer said that it was not taken."""
    Notification.objects.filter(
        outbound_messages=attempt.message_id,
        outbound_messages__kind=Kind.NOTIFICATION,
        handed_over_at=None,
    ).update(handed_over_at=attempt.call_started_at)


def _attempt_of(receipt: DeliveryReceipt) -> SendAttempt | None:
    attempts = SendAttempt.objects.all()
    if receipt.client_ref and (attempt := attempts.filter(client_ref=receipt.client_ref).first()):
        return attempt
    if not receipt.gateway_message_id:
        return None
    return attempts.filter(parts__gateway_message_id=receipt.gateway_message_id).first()
