"""Handing one claimed message to the gateway: mark the call, call with no transaction open, settle."""

import datetime as dt
import decimal
import functools
import logging
import random
import time

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from bookings.gateways import OutgoingSMS, PartResult, SendResult, SMSGateway, Verdict
from bookings.models import Kind, MessageState, Notification, OutboundMessage, SendAttempt, SentPart
from bookings.models.notifications import NotificationQuerySet
from bookings.models.standing import RANK
from bookings.outbox import circuit, pace
from bookings.outbox.claiming import LEASE
from bookings.texts import is_gsm7

logger = logging.getLogger(__name__)

#: A definite failure before the gateway took it is tried again so often, for so long.
MOST_TRIES = 8
TRIED_FOR = dt.timedelta(hours=4)

#: Nobody has the message: it goes back to the queue.
_NOT_TAKEN = (Verdict.NOT_SENT, Verdict.THROTTLED, Verdict.ACCOUNT, Verdict.PROVIDER_ERROR)
_TRIES = (Verdict.NOT_SENT, Verdict.PROVIDER_ERROR)
#: The customer cannot have read it.
_NEVER_LEFT = (*_NOT_TAKEN, Verdict.REFUSED)

_TTL_MOST = dt.timedelta(hours=72)
_TTL_LEAST = dt.timedelta(seconds=20)
_SETTLE_TRIES = 5


@functools.cache
def gateway() -> SMSGateway:
    """The gateway of the settings, one for all threads. Only the chosen one is imported."""
    if settings.SMS_GATEWAY == "simulator":
        from bookings.gateways.simulator import SimulatorGateway  # noqa: PLC0415

        return SimulatorGateway()
    from bookings.gateways.vonage import VonageGateway  # noqa: PLC0415

    return VonageGateway(
        api_key=settings.VONAGE_API_KEY,
        api_secret=settings.VONAGE_API_SECRET,
        rest_host=settings.VONAGE_REST_HOST,
    )


def hand_over(message: OutboundMessage, carrier: SMSGateway) -> None:
    """Send one claimed message, at most once, and write down what became of it."""
    woke_at = time.monotonic()
    attempt = start_call(message)
    if attempt is None:
        return  # the claim was lost, or the message cancelled: nothing left us
    if time.monotonic() - woke_at > LEASE.total_seconds() / 2:
        # We were frozen. If the lease is over, this changes nothing any more.
        result = SendResult(verdict=Verdict.NOT_SENT, reason="The sender was held up.", code="late")
    else:
        result = _call(carrier, _outgoing(message, attempt))
    settle(attempt, result)


def _call(carrier: SMSGateway, sms: OutgoingSMS) -> SendResult:
    try:
        return carrier.send(sms)
    except Exception:  # a bug of the gateway's is no reason to hold up the other messages
        logger.exception("Attempt %s: the gateway failed on it", sms.client_ref)
        reason = (
            "Our software failed during the call. Wait for its receipt before you send it again."
        )
        return SendResult(verdict=Verdict.UNKNOWN, reason=reason, code="error")


def start_call(message: OutboundMessage) -> SendAttempt | None:
    """Commit that the call starts, before its first byte. None if the claim is not ours any more."""
    now = timezone.now()
    with transaction.atomic():
        if message.kind == Kind.NOTIFICATION:  # everyone locks the notification before its messages
            _notification(message).select_for_update().first()
        ours = OutboundMessage.objects.filter(
            pk=message.pk,
            token=message.token,
            state=MessageState.SENDING,
            call_started_at=None,
            lease_until__gt=Now(),
        )
        if not ours.update(call_started_at=now, lease_until=Now() + LEASE):
            logger.info("Message %s: the claim was lost before the call", message.pk)
            return None
        number = SendAttempt.objects.filter(message=message).count() + 1
        attempt = SendAttempt.objects.create(
            message=message,
            number=number,
            client_ref=f"{message.ref}-{number}",
            token=message.token,
            call_started_at=now,
        )
        if message.kind == Kind.NOTIFICATION:
            _notification(message).filter(handed_over_at=None).update(handed_over_at=now)
    return attempt


def settle(attempt: SendAttempt, result: SendResult) -> None:
    """Write down the gateway's answer. The call cannot be repeated, so a busy database is waited for."""
    for tries_left in reversed(range(_SETTLE_TRIES)):
        try:
            with transaction.atomic():
                _settle(attempt, result)
        except (OperationalError, InterfaceError):
            if not tries_left:
                raise  # the lease runs out, and the message becomes `unknown`
            time.sleep(1)
        else:
            break
    logger.info(
        "Message %s: attempt %s %s %s",
        attempt.message_id,
        attempt.number,
        result.verdict,
        result.code,
    )


def _settle(attempt: SendAttempt, result: SendResult) -> None:
    if result.verdict in _NEVER_LEFT:  # everyone locks the notification before its messages
        _notification(attempt.message).select_for_update().first()
    message = OutboundMessage.objects.locked().get(pk=attempt.message_id)
    attempt.verdict, attempt.settled_at = result.verdict, timezone.now()
    attempt.code, attempt.reason = result.code[:40], result.reason[:300]
    attempt.save(update_fields=["verdict", "settled_at", "code", "reason"])
    SentPart.objects.bulk_create(
        [_part(attempt, part) for part in result.parts if part.message_id], ignore_conflicts=True
    )
    is_ours = message.state == MessageState.SENDING and message.token == attempt.token
    if is_ours:
        _decide(message, result)
    # A late worker's answer is kept, but only proof that the gateway has it moves the message.
    if is_ours or RANK[attempt.stand()] >= RANK[MessageState.SUBMITTED]:
        message.stand()
    _tell_all_senders(attempt, result)


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
    if result.verdict in _NEVER_LEFT:
        _never_left(message)


def _tell_all_senders(attempt: SendAttempt, result: SendResult) -> None:
    """What an answer says about the account and not about one message. Comes last: it locks what all share."""
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
    may_have_left = message.attempts.exclude(verdict__in=_NEVER_LEFT)
    if message.kind == Kind.NOTIFICATION and not may_have_left.exists():
        _notification(message).update(handed_over_at=None)


def _notification(message: OutboundMessage) -> NotificationQuerySet:
    return Notification.objects.filter(pk=message.notification_id or 0)


def _outgoing(message: OutboundMessage, attempt: SendAttempt) -> OutgoingSMS:
    return OutgoingSMS(
        to=message.msisdn,
        sender=message.sender,
        text=message.text,
        client_ref=attempt.client_ref,
        is_unicode=not is_gsm7(message.text),
        ttl=_ttl(message),
    )


def _ttl(message: OutboundMessage) -> dt.timedelta | None:
    """What is left of its life: 20 s at least, 72 h at most (SMS API, `ttl`)."""
    if message.valid_until is None:
        return None
    return min(max(message.valid_until - timezone.now(), _TTL_LEAST), _TTL_MOST)


def _part(attempt: SendAttempt, part: PartResult) -> SentPart:
    try:
        price = decimal.Decimal(part.price) if part.price else None
    except decimal.InvalidOperation:
        price = None
    return SentPart(
        attempt=attempt, gateway_message_id=part.message_id, price=price, network=part.network[:16]
    )
