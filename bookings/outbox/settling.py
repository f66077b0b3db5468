"""Settles a call: stores what the gateway answered, and moves the message on, back to the queue, or to its end."""

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

#: A message that definitely was not taken is tried this often, within this time of its first try.
MOST_TRIES = 8
TRIED_FOR = dt.timedelta(hours=4)

#: The gateway did not take the message: it goes back to the queue.
_NOT_TAKEN = (Verdict.NOT_SENT, Verdict.THROTTLED, Verdict.ACCOUNT, Verdict.PROVIDER_ERROR)
#: Of these, the ones that count as a failed try.
_FAILED_TRIES = (Verdict.NOT_SENT, Verdict.PROVIDER_ERROR)
#: The customer cannot have read the message.
NEVER_LEFT = (*_NOT_TAKEN, Verdict.REFUSED)


@transaction.atomic
def record_answer(attempt: SendAttempt, result: SendResult) -> None:
    """Store the gateway's answer to an attempt, and move its message on.

    If the lease ran out meanwhile, the message is no longer this worker's. Then the answer is stored, and moves the
    message only if it proves that the gateway has it.
    """
    if result.verdict in NEVER_LEFT:  # lock order: a notification before its messages
        notification_of(attempt.message).select_for_update().first()
    message = OutboundMessage.objects.locked().get(pk=attempt.message_id)
    attempt.refresh_from_db()  # an earlier try to store the answer was rolled back
    estimate = attempt.cost
    _store(attempt, result)
    is_ours = message.state == MessageState.SENDING and message.token == attempt.token
    if is_ours:
        _move_on(message, result)
    if is_ours or RANK[attempt.update_state()] >= RANK[MessageState.SUBMITTED]:
        message.update_state()
        tickets.review_outbound(message)
    # Last, because these lock rows that all workers share.
    _apply_to_all_workers(attempt, result)
    spending.correct(attempt.spent_on, attempt.cost - estimate, result.balance)


def _store(attempt: SendAttempt, result: SendResult) -> None:
    parts = [_part(attempt, part) for part in result.parts if part.message_id]
    attempt.verdict, attempt.settled_at = result.verdict, timezone.now()
    attempt.code, attempt.reason = result.code[:40], result.reason[:300]
    _count_cost(attempt, parts)
    attempt.save(
        update_fields=[
            *("verdict", "settled_at", "code", "reason"),
            *("cost", "counted_parts", "unpriced_parts"),
        ]
    )
    SentPart.objects.bulk_create(parts, ignore_conflicts=True)


def _move_on(message: OutboundMessage, result: SendResult) -> None:
    """Requeue or end a message that was not taken. The state of any other comes from its attempts."""
    reason = result.reason[:300]
    if result.verdict not in _NOT_TAKEN:
        message.note_answer(reason)
    elif message.never_again:
        message.stop()
    elif result.verdict not in _FAILED_TRIES:
        message.requeue(reason, timezone.now())  # the pace or the circuit holds it back
    else:
        _try_again(message, result)
    if result.verdict in NEVER_LEFT and message.kind == Kind.NOTIFICATION:
        may_have_left = message.attempts.exclude(verdict__in=NEVER_LEFT)
        if not may_have_left.exists():  # nobody can have read its digits: they mean nothing yet
            notification_of(message).update(handed_over_at=None)


def _try_again(message: OutboundMessage, result: SendResult) -> None:
    """Requeue a message after a failed try, four times as far ahead each time; after too many, give up."""
    tries = message.attempts.filter(verdict__in=_FAILED_TRIES).order_by("number")
    started_at = list(tries.values_list("call_started_at", flat=True))
    count, now = len(started_at), timezone.now()
    if count >= MOST_TRIES or now - started_at[0] > TRIED_FOR:
        message.give_up(f"Given up after {count} tries: {result.reason}"[:300])
    else:
        wait = result.retry_after or _jittered(5 * 4 ** (count - 1))
        message.requeue(result.reason[:300], now + wait)


def _apply_to_all_workers(attempt: SendAttempt, result: SendResult) -> None:
    """Open or close the circuit, or slow down, if the answer is about the account and not about one message."""
    match result.verdict:
        case Verdict.ACCEPTED:
            circuit.close_circuit(tried_at=attempt.call_started_at)
        case Verdict.ACCOUNT:
            circuit.open_circuit(result.reason)
        case Verdict.THROTTLED:
            pace.slow_down(result.retry_after or _jittered(1))


def _jittered(seconds: float) -> dt.timedelta:
    return dt.timedelta(seconds=min(seconds, 3600) * random.uniform(0.8, 1.2))  # noqa: S311  # no secret


def notification_of(message: OutboundMessage) -> NotificationQuerySet:
    """The message's notification as a query, which is empty if it has none."""
    return Notification.objects.filter(pk=message.notification_id or 0)


def _count_cost(attempt: SendAttempt, parts: list[SentPart]) -> None:
    """Replace our estimate of cost and parts by the gateway's, as far as it gave them. Nothing sent costs nothing."""
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
    """The price, or None if the gateway wrote something else. The SMS has been sent: storing must not fail."""
    is_number = re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,8})?", part.price)
    return Decimal(part.price) if is_number else None
