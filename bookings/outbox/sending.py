"""Handing one claimed message to the gateway: mark the call, call with no transaction open, settle."""

import datetime as dt
import functools
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.module_loading import import_string

from bookings.gateways import OutgoingSMS, SendResult, SMSGateway, Verdict
from bookings.language.messages import is_gsm7
from bookings.models import Kind, MessageState, OutboundMessage, SendAttempt
from bookings.models.fields import country_of
from bookings.models.outbound import OutboundMessageQuerySet
from bookings.outbox import spending
from bookings.outbox.claiming import LEASE
from bookings.outbox.settling import notification_of, write_down

logger = logging.getLogger(__name__)

_TTL_MOST = dt.timedelta(hours=72)
_TTL_LEAST = dt.timedelta(seconds=20)
#: How long the database is waited for: nothing has left, or what Vonage said can never be had again.
_BEFORE_A_CALL, _AFTER_A_CALL = LEASE / 4, dt.timedelta(hours=1)

T = TypeVar("T")


def gateway() -> SMSGateway:
    """The gateway of the settings, one for all threads. Only the chosen one is imported."""
    if settings.SMS_GATEWAY == "simulator":
        return _simulator()
    return _vonage(settings.VONAGE_API_KEY, settings.VONAGE_API_SECRET, settings.VONAGE_REST_HOST)


@functools.cache
def _simulator() -> SMSGateway:
    carrier: SMSGateway = import_string(settings.SIMULATOR_GATEWAY)()
    return carrier


@functools.lru_cache(maxsize=1)
def _vonage(api_key: str, api_secret: str, rest_host: str) -> SMSGateway:
    from bookings.gateways.vonage import VonageGateway  # noqa: PLC0415

    return VonageGateway(api_key=api_key, api_secret=api_secret, rest_host=rest_host)


def hand_over(message: OutboundMessage, carrier: SMSGateway) -> None:
    """Send one claimed message, at most once, and write down what became of it."""
    woke_at = time.monotonic()
    attempt = _patiently(lambda: start_call(message), _BEFORE_A_CALL)
    if attempt is None:
        return  # the claim was lost, or the message cancelled: nothing left us
    if time.monotonic() - woke_at > LEASE.total_seconds() / 2:
        # We were frozen. If the lease is over, this changes nothing any more.
        result = SendResult(verdict=Verdict.NOT_SENT, reason="The sender was held up.", code="late")
    else:
        result = _call(carrier, _outgoing(message, attempt))
    settle(attempt, result)


def _patiently(write: Callable[[], T], patience: dt.timedelta) -> T:
    """Write, and wait for a database that is busy, away or read-only. In the end recovery sees to the message."""
    give_up_at = time.monotonic() + patience.total_seconds()
    while True:
        try:
            return write()
        except (OperationalError, InterfaceError, InternalError) as error:
            if time.monotonic() > give_up_at:
                raise
            if not connection.in_atomic_block:  # one that was cut is opened anew
                connection.close_if_unusable_or_obsolete()
            if isinstance(
                error, InternalError
            ):  # usable, but read-only: another server may be the first by now
                connection.close()
            time.sleep(1)


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
    """Commit that the call starts, before its first byte. None if the claim is lost, or the day's money spent."""
    try:
        return _start_call(message, timezone.now())
    except spending.CapReachedError:
        _put_back(message)
        return None


@transaction.atomic
def _start_call(message: OutboundMessage, now: dt.datetime) -> SendAttempt | None:
    notification = None
    if message.kind == Kind.NOTIFICATION:  # everyone locks the notification before its messages
        notification = notification_of(message).select_for_update().first()
    ours = _claimed(message).filter(lease_until__gt=Now())
    if not ours.update(call_started_at=now, lease_until=Now() + LEASE):
        logger.info("Message %s: the claim was lost before the call", message.pk)
        return None
    today = timezone.localdate(now)
    attempt = _attempt(message, now, today)
    if notification is not None and notification.handed_over_at is None:
        notification.hand_over(now)
    spending.count_up(today, attempt.cost)  # comes last: it locks what all share
    return attempt


def _attempt(message: OutboundMessage, now: dt.datetime, today: dt.date) -> SendAttempt:
    """The next try, counted with our estimate until the gateway says what it takes."""
    number = SendAttempt.objects.filter(message=message).count() + 1
    country = country_of(message.msisdn)
    return SendAttempt.objects.create(
        message=message,
        number=number,
        client_ref=f"{message.ref}-{number}",
        token=message.token,
        call_started_at=now,
        country=country,
        cost=spending.price_per_part(country) * message.parts,
        counted_parts=message.parts,
        unpriced_parts=message.parts,
        spent_on=today,
    )


@transaction.atomic
def _put_back(message: OutboundMessage) -> None:
    """To the queue again, as if nobody had claimed it."""
    _claimed(message).update(
        state=MessageState.QUEUED, token="", lease_until=None, claims=F("claims") - 1
    )
    spending.stop(timezone.localdate())


def _claimed(message: OutboundMessage) -> OutboundMessageQuerySet:
    """The message, while the claim is ours and no call has begun."""
    return OutboundMessage.objects.filter(
        pk=message.pk, token=message.token, state=MessageState.SENDING, call_started_at=None
    )


def settle(attempt: SendAttempt, result: SendResult) -> None:
    """Write down the gateway's answer. The call cannot be repeated, so a busy database is waited for."""
    _patiently(lambda: write_down(attempt, result), _AFTER_A_CALL)
    logger.info(
        "Message %s: attempt %s %s %s",
        attempt.message_id,
        attempt.number,
        result.verdict,
        result.code,
    )


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
