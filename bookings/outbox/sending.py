"""Hands one claimed message to the gateway: mark the call, call with no transaction open, settle.

`start_call` is committed before the first byte, so that after a crash a message whose call may have begun is never
sent again as if it had not.
"""

import datetime as dt
import functools
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.conf import settings
from django.db import InternalError, connection, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from bookings.gateways import OutgoingSMS, SendResult, SMSGateway, Verdict
from bookings.language.encoding import is_gsm7
from bookings.models import Kind, OutboundMessage, SendAttempt
from bookings.models.faults import DATABASE_FAULTS
from bookings.models.fields import country_of
from bookings.outbox import spending
from bookings.outbox.claiming import LEASE
from bookings.outbox.settling import notification_of, record_answer

logger = logging.getLogger(__name__)

#: The longest wait for a busy database. Before the call nothing is lost; after it the answer cannot be had again.
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
    """Send one claimed message, at most once, and store the answer."""
    woke_at = time.monotonic()
    attempt = _retry_while_busy(lambda: start_call(message), _BEFORE_A_CALL)
    if attempt is None:
        return  # the claim was lost, or the message cancelled: nothing was sent
    if time.monotonic() - woke_at > LEASE.total_seconds() / 2:
        # This process was suspended. If the lease is over, settling changes nothing.
        result = SendResult(verdict=Verdict.NOT_SENT, reason="The sender was held up.", code="late")
    else:
        result = _call(carrier, _outgoing(message, attempt))
    settle(attempt, result)


def start_call(message: OutboundMessage) -> SendAttempt | None:
    """Commit that the call starts, before its first byte, and open the attempt.

    None if the claim is lost, or if the day's spending cap has no room: then the message goes back to the queue.
    """
    now = timezone.now()
    today = timezone.localdate(now)
    try:
        return _start_call(message, now, today)
    except spending.CapReachedError:
        with transaction.atomic():
            OutboundMessage.objects.filter(pk=message.pk, token=message.token).unclaim()
            spending.note_stop(today)
        return None


@transaction.atomic
def _start_call(message: OutboundMessage, now: dt.datetime, today: dt.date) -> SendAttempt | None:
    notification = None
    if message.kind == Kind.NOTIFICATION:  # lock order: a notification before its messages
        notification = notification_of(message).select_for_update().first()
    if not OutboundMessage.objects.filter(pk=message.pk).start_call(message.token, now, LEASE):
        logger.info("Message %s: the claim was lost before the call", message.pk)
        return None
    number = SendAttempt.objects.filter(message=message).count() + 1
    country = country_of(message.msisdn)
    attempt = SendAttempt.objects.create(
        message=message,
        number=number,
        client_ref=f"{message.ref}-{number}",
        token=message.token,
        call_started_at=now,
        country=country,
        # Our estimate, until the gateway says what it charges.
        cost=spending.price_per_part(country) * message.parts,
        counted_parts=message.parts,
        unpriced_parts=message.parts,
        spent_on=today,
    )
    if notification is not None and notification.handed_over_at is None:
        notification.hand_over(now)
    spending.count_up(today, attempt.cost)  # last, because it locks a row that all workers share
    return attempt


def settle(attempt: SendAttempt, result: SendResult) -> None:
    """Store the gateway's answer. Waits for a busy database, since the call cannot be repeated."""
    _retry_while_busy(lambda: record_answer(attempt, result), _AFTER_A_CALL)
    logger.info(
        "Message %s: attempt %s %s %s",
        attempt.message_id,
        attempt.number,
        result.verdict,
        result.code,
    )


def _call(carrier: SMSGateway, sms: OutgoingSMS) -> SendResult:
    try:
        return carrier.send(sms)
    except Exception:  # a bug in the gateway's code must not hold up the other messages
        logger.exception("Attempt %s: the gateway failed on it", sms.client_ref)
        reason = "Software error during the call. Wait for its receipt before you send it again."
        return SendResult(verdict=Verdict.UNKNOWN, reason=reason, code="error")


def _outgoing(message: OutboundMessage, attempt: SendAttempt) -> OutgoingSMS:
    return OutgoingSMS(
        to=message.msisdn,
        sender=message.sender,
        text=message.text,
        client_ref=attempt.client_ref,
        is_unicode=not is_gsm7(message.text),
        ttl=None if message.valid_until is None else message.valid_until - timezone.now(),
    )


def _retry_while_busy(write: Callable[[], T], patience: dt.timedelta) -> T:
    """Run `write` again while the database is busy, away or read-only. Raises its error after `patience`.

    Recovery settles the message in the end.
    """
    give_up_at = time.monotonic() + patience.total_seconds()
    while True:
        try:
            return write()
        except DATABASE_FAULTS as error:
            if time.monotonic() > give_up_at:
                raise
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            if isinstance(error, InternalError):  # read-only: another server may be the primary now
                connection.close()
            time.sleep(1)
