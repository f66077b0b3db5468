"""Delivery receipts: each moves an outbound message forward, never back. Again load, decide, apply."""

import datetime as dt
import logging
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from bookings.customers import consent, tickets
from bookings.gateways import Receipt
from bookings.models import (
    DeliveryReceipt,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    SendAttempt,
    SentPart,
    message_states,
)
from bookings.models.faults import survives
from bookings.models.message_states import LOST

logger = logging.getLogger(__name__)

#: Vonage's err-code 9: "the user asked not to receive" (delivery receipt guide).
OPTED_OUT = "9"

#: Vonage's other err-codes (delivery receipt guide), in words for staff. Not one is tried again by itself.
_WHY = {
    "1": "Carrier gave no reason.",
    "2": "The phone was off or out of reach. Send it again later.",
    "3": "This number is no longer in use. Ask the customer for another.",
    "4": "The customer blocks messages like ours. Call the customer.",
    "5": "The number is being moved to another carrier. Send it again tomorrow.",
    "6": "The carrier treated it as spam. Call the customer.",
    "7": "The phone was busy. Send it again.",
    "8": "The carrier's network failed. Send it again.",
    OPTED_OUT: "The customer asked not to receive our messages.",
    "10": "The carrier rejected the message as invalid. Call the customer.",
    "11": "This number cannot be reached. Check it.",
    "12": "The carrier cannot be reached. Send it again later.",
    "13": "The carrier blocks such messages for minors. Call the customer.",
    "14": "The carrier blocks our messages to this number. Call the customer.",
    "15": "The customer's prepaid credit is used up. Call the customer.",
}

#: Two receipts about the same text contradict each other: some carriers report wrongly.
_CONTRADICTED = "Receipts contradict each other: delivered and not delivered. Ask the customer."

#: A receipt that matched nothing for this time is not looked at again.
_PARKED_FOR = dt.timedelta(days=4)

#: After this time it is deleted: it belongs to other software on the same account.
_ORPHANED_AFTER = dt.timedelta(days=30)
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """The facts that decide the state of one attempt."""

    pk: int
    verdict: str  # the gateway's answer; "" while there is none
    parts: tuple[str, ...]  # ids of the gateway
    receipts: tuple[tuple[str, str], ...]  # (id of the gateway, status), this receipt included


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptContext:
    """One receipt and everything that decides what it changes. Nothing in it changes."""

    status: str
    err_code: str
    attempt: int  # the attempt that the receipt is about
    attempts: tuple[AttemptFacts, ...]  # of its message, in their order
    message: int
    state: MessageState  # of the message
    reason: str
    msisdn: str
    unread: tuple[int, ...] = ()  # notifications of the message that count as never handed over


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptDecision:
    """The changes that a receipt makes. The effects are written in the order of the locks."""

    states: dict[int, MessageState]  # of the attempts, by id
    state: MessageState  # of the message
    reason: str  # why the message did not arrive, for staff
    opts_out: bool  # the customer asked the carrier for no more of our texts


def receive(value: Receipt) -> None:
    """Store a receipt that came in and process it. A repeated receipt changes nothing."""
    with transaction.atomic():
        receipt = DeliveryReceipt.objects.store(value)
        if receipt is not None:
            process_or_park(receipt)


def process_or_park(receipt: DeliveryReceipt) -> bool:
    """Process a stored receipt. Return False if it stays parked: it matches nothing yet, or a bug of ours ended it.

    Database faults are raised.
    """
    failed = f"Receipt {receipt.pk}: our software failed on it, so it waits"
    return survives(lambda: process(receipt), otherwise=failed) and receipt.attempt is not None


def process(receipt: DeliveryReceipt) -> bool:
    """Move the message that a stored receipt is about. Return False if it matches nothing yet: it stays parked."""
    context = load(receipt)
    if context is None:
        logger.info("Receipt %s: parked, it matches nothing yet", receipt.pk)
        return False
    apply(decide(context), context, receipt)
    return True


def load(receipt: DeliveryReceipt) -> ReceiptContext | None:
    """Lock the notification and the message that a receipt is about, and read every fact; None if it matches nothing.

    A receipt is matched by its client-ref, which can come before we settled the call, else by the gateway's id.
    """
    attempt = _attempt_of(receipt)
    if attempt is None:
        return None
    unread = Notification.objects.filter(
        outbound_messages=attempt.message_id,
        outbound_messages__kind=Kind.NOTIFICATION,
        handed_over_at=None,
    )
    unread_keys = tuple(unread.locked().values_list("pk", flat=True))
    message = OutboundMessage.objects.locked().get(pk=attempt.message_id)
    attempts = message.attempts.order_by("number").prefetch_related("parts", "receipts")
    return ReceiptContext(
        status=receipt.status,
        err_code=receipt.err_code,
        attempt=attempt.pk,
        attempts=tuple(_facts_of(each, attempt, receipt) for each in attempts),
        message=message.pk,
        state=MessageState(message.state),
        reason=message.reason,
        msisdn=message.msisdn,
        unread=unread_keys,
    )


def decide(context: ReceiptContext) -> ReceiptDecision:
    """Decide where the attempts and the message stand, and what staff are told. Pure."""
    states = {
        attempt.pk: message_states.attempt_state(attempt.verdict, attempt.parts, attempt.receipts)
        for attempt in context.attempts
    }
    state = message_states.message_state(context.state, list(states.values()))
    statuses = {status for attempt in context.attempts for _, status in attempt.receipts}
    is_lost, reason = context.status in LOST, context.reason
    if state not in LOST:  # an older reason is out of date
        is_contradicted = state == MessageState.DELIVERED and not statuses.isdisjoint(LOST)
        reason = _CONTRADICTED if is_contradicted else ""
    elif is_lost:
        reason = why_lost(context.err_code)
    opts_out = is_lost and context.err_code == OPTED_OUT
    return ReceiptDecision(states=states, state=state, reason=reason, opts_out=opts_out)


def apply(decision: ReceiptDecision, context: ReceiptContext, receipt: DeliveryReceipt) -> None:
    """Write what a receipt changes: notification, message, consent, tickets. The caller holds the locks of `load`."""
    attempt = SendAttempt.objects.get(pk=context.attempt)
    if (
        context.unread
    ):  # the customer can have read it, though the gateway answered that it was not taken
        unread = Notification.objects.filter(pk__in=context.unread)
        unread.update(handed_over_at=attempt.call_started_at)
    receipt.attempt = attempt
    receipt.save(update_fields=["attempt"])
    message = OutboundMessage.objects.get(pk=context.message)
    for each in message.attempts.all():
        each.set_state(decision.states[each.pk])
    message.set_state(decision.state)
    message.reason = decision.reason
    message.save(update_fields=["reason"])
    logger.info("Receipt %s: message %s is %s", receipt.pk, message.pk, message.state)
    if decision.opts_out:
        words = "receipt: asked not to receive texts"
        consent.change(context.msisdn, is_opted_out=True, words=words, receipt=receipt)
        tickets.close_by_opt_out(context.msisdn)
    tickets.review_outbound(message)


def why_lost(err_code: str) -> str:
    """Return what a receipt's error code means, as a sentence for staff."""
    unexplained = f"Not delivered (carrier error code {err_code or 'missing'})."
    return _WHY.get(err_code, unexplained)


def _attempt_of(receipt: DeliveryReceipt) -> SendAttempt | None:
    attempts = SendAttempt.objects.all()
    if receipt.client_ref and (attempt := attempts.filter(client_ref=receipt.client_ref).first()):
        return attempt
    if not receipt.gateway_message_id:
        return None
    return attempts.filter(parts__gateway_message_id=receipt.gateway_message_id).first()


def _facts_of(attempt: SendAttempt, matched: SendAttempt, receipt: DeliveryReceipt) -> AttemptFacts:
    """Return the facts of an attempt; those of the matched one with this receipt, which is not yet stored with it."""
    receipts = [(each.gateway_message_id, each.status) for each in attempt.receipts.all()]
    if attempt == matched:
        receipts.append((receipt.gateway_message_id, receipt.status))
    return AttemptFacts(
        pk=attempt.pk,
        verdict=attempt.verdict,
        parts=tuple(part.gateway_message_id for part in attempt.parts.all()),
        receipts=tuple(receipts),
    )


def process_parked() -> int:
    """Process receipts that came before we knew the gateway's id, or on which our software failed. Return how many."""
    since = timezone.now() - _PARKED_FOR
    parked = DeliveryReceipt.objects.parked().filter(received_at__gt=since)
    known = parked.filter(
        Q(gateway_message_id__in=SentPart.objects.values("gateway_message_id"))
        | Q(client_ref__in=SendAttempt.objects.values("client_ref"))
    )
    count = 0
    for pk in list(known.order_by("pk").values_list("pk", flat=True)[:500]):
        with transaction.atomic():
            # Locked, so that two sweeps process it once: a START may have followed an opt-out by receipt.
            receipt = DeliveryReceipt.objects.parked().select_for_update().filter(pk=pk).first()
            count += receipt is not None and process_or_park(receipt)
    return count


def drop_orphans(*, dry_run: bool = False) -> int:
    """Delete receipts that have matched nothing for thirty days. Return how many."""
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
