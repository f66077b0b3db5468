"""Delivery receipts: each moves an outbound message forward, never back."""

import datetime as dt
import logging

from django.db import InterfaceError, InternalError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone

from bookings.customers import consent, tickets
from bookings.models import (
    DeliveryReceipt,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    SendAttempt,
    SentPart,
)
from bookings.models.message_states import LOST

logger = logging.getLogger(__name__)

#: Vonage's err-code 9: "the user asked not to receive" (delivery receipt guide).
OPTED_OUT = "9"

#: Vonage's other err-codes (delivery receipt guide), in words for staff. Not one is tried again by itself.
_WHY = {
    "1": "The carrier does not say why.",
    "2": "The phone was off or out of reach. Send it again later.",
    "3": "This number is no longer in use. Ask the customer for another.",
    "4": "The customer has barred texts like ours. Phone the customer.",
    "5": "The number is being moved to another carrier. Send it again tomorrow.",
    "6": "The carrier took it for spam. Phone the customer.",
    "7": "The phone was busy. Send it again.",
    "8": "The carrier's network failed. Send it again.",
    OPTED_OUT: "The customer asked not to receive our texts.",
    "10": "The carrier calls the text invalid. Phone the customer.",
    "11": "No way leads to this number. Check it.",
    "12": "The carrier cannot be reached. Send it again later.",
    "13": "The carrier keeps such texts from minors. Phone the customer.",
    "14": "The carrier blocks our texts to this number. Phone the customer.",
    "15": "The customer's prepaid credit is used up. Phone the customer.",
}

#: Two receipts about the same text, of which one must be wrong. Receipts are what carriers say, and some lie.
_CONTRADICTED = "Reported delivered, and not delivered as well. Believe the customer."

#: A receipt that matches nothing for so long never will.
_PARKED_FOR = dt.timedelta(days=4)

#: And after so long nobody looks for it any more: it is of other software on the same account.
_ORPHANED_AFTER = dt.timedelta(days=30)
_AT_ONCE = 1000


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
    message.update_state()
    _say_why(message, receipt)
    logger.info("Receipt %s: message %s is %s", receipt.pk, message.pk, message.state)
    if receipt.err_code == OPTED_OUT and receipt.status in LOST:
        consent.change(
            message.msisdn,
            is_opted_out=True,
            words="receipt: asked not to receive texts",
            receipt=receipt,
        )
        tickets.overtake_by_opt_out(message.msisdn)
    tickets.raise_for_outbound(message)
    return True


def apply_or_park(receipt: DeliveryReceipt) -> bool:
    """Apply a stored receipt; a bug of ours leaves it parked for the next sweep. Database faults are raised."""
    try:
        with transaction.atomic():
            return apply(receipt)
    except (OperationalError, InterfaceError, InternalError):
        raise  # the webhook answers 503, and the gateway sends it again
    except Exception:  # a 500 would be sent again for three days, with the same end
        logger.exception("Receipt %s: our software failed on it, so it waits", receipt.pk)
        return False


def why_lost(err_code: str) -> str:
    """Return what a receipt's error code means, as a sentence for staff."""
    unexplained = f"Not delivered (the carrier's error code is {err_code or 'missing'})."
    return _WHY.get(err_code, unexplained)


def _say_why(message: OutboundMessage, receipt: DeliveryReceipt) -> None:
    """Tell staff why it did not arrive; what was said before we knew is out of date."""
    if message.state not in LOST:
        message.reason = _CONTRADICTED if _is_contradicted(message) else ""
    elif receipt.status in LOST:
        message.reason = why_lost(receipt.err_code)
    message.save(update_fields=["reason"])


def _is_contradicted(message: OutboundMessage) -> bool:
    said = DeliveryReceipt.objects.filter(attempt__message=message)
    return message.state == MessageState.DELIVERED and said.filter(status__in=LOST).exists()


def apply_parked() -> int:
    """Match receipts that came before we knew the gateway's message id, or on which our software failed."""
    since = timezone.now() - _PARKED_FOR
    parked = DeliveryReceipt.objects.parked().filter(received_at__gt=since)
    known = parked.filter(
        Q(gateway_message_id__in=SentPart.objects.values("gateway_message_id"))
        | Q(client_ref__in=SendAttempt.objects.values("client_ref"))
    )
    count = 0
    for pk in list(known.order_by("pk").values_list("pk", flat=True)[:500]):
        with transaction.atomic():
            # Only once, whoever else sweeps: a START may have followed an opt-out by receipt.
            receipt = DeliveryReceipt.objects.parked().select_for_update().filter(pk=pk).first()
            count += receipt is not None and apply_or_park(receipt)
    return count


def drop_orphans(*, dry_run: bool = False) -> int:
    """Delete receipts that have matched nothing for thirty days. Returns how many."""
    before = timezone.now() - _ORPHANED_AFTER
    orphans = DeliveryReceipt.objects.parked().filter(received_at__lt=before).order_by("pk")
    if dry_run:
        return orphans.count()
    count = 0
    while some := list(orphans.values_list("pk", flat=True)[:_AT_ONCE]):
        # One that is matched at this moment is no orphan: its state is asked again.
        count += orphans.filter(pk__in=some).delete()[0]
    if count:
        logger.info("Receipts of nobody, dropped: %s", count)
    return count


def _note_handed_over(attempt: SendAttempt) -> None:
    """The customer can have read the notification after all, though the gateway's answer said that it was not taken."""
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
