"""Writing down what the gateway answered: the message goes on, back to the queue, or no further."""

import datetime as dt
import random
import re
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from bookings.customers import tickets
from bookings.gateways import PartResult, SendResult, Verdict
from bookings.models import Kind, MessageState, Notification, OutboundMessage, SendAttempt, SentPart
from bookings.models.message_states import RANK
from bookings.models.notifications import NotificationQuerySet
from bookings.outbox import circuit, pace, spending

#: A definite failure before the gateway took it is tried again so often, for so long.
MOST_TRIES = 8
TRIED_FOR = dt.timedelta(hours=4)

#: Nobody has the message: it goes back to the queue.
_NOT_TAKEN = (Verdict.NOT_SENT, Verdict.THROTTLED, Verdict.ACCOUNT, Verdict.PROVIDER_ERROR)
_TRIES = (Verdict.NOT_SENT, Verdict.PROVIDER_ERROR)
#: The customer cannot have read it.
NEVER_LEFT = (*_NOT_TAKEN, Verdict.REFUSED)

_COUNTED = ("cost", "counted_parts", "unpriced_parts")


@transaction.atomic
def write_down(attempt: SendAttempt, result: SendResult) -> None:
    """Keep the gateway's answer to an attempt, and move its message on."""
    if result.verdict in NEVER_LEFT:  # everyone locks the notification before its messages
        notification_of(attempt.message).select_for_update().first()
    message = OutboundMessage.objects.locked().get(pk=attempt.message_id)
    attempt.refresh_from_db()  # what an earlier try has set was rolled back with it
    attempt.verdict, attempt.settled_at = result.verdict, timezone.now()
    attempt.code, attempt.reason = result.code[:40], result.reason[:300]
    parts = [_part(attempt, part) for part in result.parts if part.message_id]
    counted = attempt.cost
    _count(attempt, parts)
    attempt.save(update_fields=["verdict", "settled_at", "code", "reason", *_COUNTED])
    SentPart.objects.bulk_create(parts, ignore_conflicts=True)
    is_ours = message.state == MessageState.SENDING and message.token == attempt.token
    if is_ours:
        _decide(message, result)
    # A late worker's answer is kept, but only proof that the gateway has it moves the message.
    if is_ours or RANK[attempt.stand()] >= RANK[MessageState.SUBMITTED]:
        message.stand()
        tickets.raise_for_outbound(message)
    _tell_all_senders(attempt, result)
    spending.note(attempt.spent_on, attempt.cost - counted, result.balance)


def _decide(message: OutboundMessage, result: SendResult) -> None:
    """What an answer means for the message, where the facts alone do not say it."""
    message.claims, message.reason = 0, result.reason[:300]
    if result.verdict in _NOT_TAKEN:
        _back_to_queue(message, result)
    message.save(
        update_fields=[
            "claims",
            "reason",
            "state",
            "due_at",
            "token",
            "lease_until",
            "call_started_at",
        ]
    )
    if result.verdict in NEVER_LEFT:
        _never_left(message)


def _tell_all_senders(attempt: SendAttempt, result: SendResult) -> None:
    """What an answer says about the account and not about one message. Comes late: it locks what all share."""
    match result.verdict:
        case Verdict.ACCEPTED:
            circuit.close_circuit(tried_at=attempt.call_started_at)
        case Verdict.ACCOUNT:
            circuit.open_circuit(result.reason)
        case Verdict.THROTTLED:
            pace.slow_down(result.retry_after or _jittered(1))


def _back_to_queue(message: OutboundMessage, result: SendResult) -> None:
    message.state, message.due_at = MessageState.QUEUED, timezone.now()
    message.token, message.lease_until, message.call_started_at = "", None, None
    if message.never_again:
        message.state, message.reason = MessageState.CANCELLED, message.never_again
        return
    if result.verdict not in _TRIES:
        return  # no failed try: the pace and the circuit hold it back
    tries = message.attempts.filter(verdict__in=_TRIES)
    count, first = (
        tries.count(),
        tries.order_by("number").values_list("call_started_at", flat=True)[0],
    )
    if count >= MOST_TRIES or message.due_at - first > TRIED_FOR:
        message.state = MessageState.FAILED
        message.reason = f"Given up after {count} tries: {result.reason}"[:300]
    else:
        message.due_at += result.retry_after or _jittered(5 * 4 ** (count - 1))


def _jittered(seconds: float) -> dt.timedelta:
    return dt.timedelta(seconds=min(seconds, 3600) * random.uniform(0.8, 1.2))  # noqa: S311  # no secret


def _never_left(message: OutboundMessage) -> None:
    """No customer has read this notification: its digits mean nothing yet."""
    may_have_left = message.attempts.exclude(verdict__in=NEVER_LEFT)
    if message.kind == Kind.NOTIFICATION and not may_have_left.exists():
        notification_of(message).update(handed_over_at=None)


def notification_of(message: OutboundMessage) -> NotificationQuerySet:
    return Notification.objects.filter(pk=message.notification_id or 0)


def _count(attempt: SendAttempt, parts: list[SentPart]) -> None:
    """What the gateway takes for it, as far as it said, and for how many parts; nothing if it never left us."""
    if attempt.verdict in NEVER_LEFT:
        attempt.cost, attempt.counted_parts, attempt.unpriced_parts = Decimal(), 0, 0
        return
    if not parts:
        return
    prices = [part.price for part in parts if part.price is not None]
    if len(prices) == len(parts):
        attempt.cost = sum(prices, Decimal())
    once = {part.gateway_message_id: part.price for part in reversed(parts)}  # as they are stored
    attempt.counted_parts = len(once)
    attempt.unpriced_parts = list(once.values()).count(None)


def _part(attempt: SendAttempt, part: PartResult) -> SentPart:
    return SentPart(
        attempt=attempt,
        gateway_message_id=part.message_id[:100],
        price=_price(part),
        network=part.network[:16],
    )


def _price(part: PartResult) -> Decimal | None:
    """Whatever stands there, it must be possible to store it: the SMS has left."""
    known = re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,8})?", part.price)
    return Decimal(part.price) if known else None
