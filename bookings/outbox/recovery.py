"""What crashes and silence leave behind: leases that ran out, outcomes that nobody knows, texts for who opted out."""

import datetime as dt
import logging

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from django.utils import timezone

from bookings.customers import tickets
from bookings.gateways import Verdict
from bookings.models import Consent, MessageState, OutboundMessage
from bookings.models.outbound import DESPITE_OPT_OUT
from bookings.outbox.queueing import ring

logger = logging.getLogger(__name__)

#: A message that killed its worker so often is not tried again.
MOST_CLAIMS = 3

#: For so long a receipt or a reply may still tell what became of a call.
WAIT_FOR_WORD = dt.timedelta(minutes=15)


def recover() -> int:
    """Settle the claims whose lease ran out: not called → queued again; called → unknown. Returns how many."""
    over = OutboundMessage.objects.filter(state=MessageState.SENDING, lease_until__lte=Now())
    ids = list(over.values_list("pk", flat=True)[:500])
    for pk in ids:
        with transaction.atomic():
            message = over.select_for_update(of=("self",)).filter(pk=pk).first()
            if message is not None:
                _recover(message)
    return len(ids)


def _recover(message: OutboundMessage) -> None:
    if message.call_started_at is not None:
        silent = message.attempts.filter(token=message.token, verdict="")
        silent.update(verdict=Verdict.UNKNOWN, reason="The sender stopped during the call.")
        message.reason = (
            "Nobody knows whether the gateway took it: the sender stopped during the call."
        )
        message.save(update_fields=["reason"])
        message.stand()
    else:
        is_poison = message.claims >= MOST_CLAIMS
        message.state = MessageState.FAILED if is_poison else MessageState.QUEUED
        message.reason = (
            f"Given up: {message.claims} senders stopped while they held it." if is_poison else ""
        )
        message.token, message.lease_until = "", None
        message.save(update_fields=["state", "reason", "token", "lease_until"])
    tickets.raise_for_outbound(message)
    logger.warning("Message %s: its sender stopped, now %s", message.pk, message.state)


def send_again() -> int:
    """Queue notifications and dispatch's words once more, whose outcome is unknown after 15 minutes without a word."""
    now = timezone.now()
    silent = OutboundMessage.objects.going_again(now).filter(
        is_held=False, call_started_at__lte=now - WAIT_FOR_WORD
    )
    ids = list(silent.values_list("pk", flat=True)[:500])
    count = OutboundMessage.objects.filter(
        pk__in=ids, state=MessageState.UNKNOWN, is_held=False, sent_again=False, never_again=""
    ).update(
        state=MessageState.QUEUED,
        sent_again=True,
        due_at=now,
        token="",
        lease_until=None,
        reason="Sent once more: nobody knows whether the first try arrived.",
    )
    if count:
        ring()
    return count


def cancel_for_opted_out() -> int:
    """Cancel what waits for somebody who has opted out since."""
    opted_out = Consent.objects.opted_out().filter(msisdn=OuterRef("msisdn"))
    waiting = (
        OutboundMessage.objects.queued().filter(Exists(opted_out)).exclude(kind__in=DESPITE_OPT_OUT)
    )
    return waiting.cancel("the customer has opted out")
