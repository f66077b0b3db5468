"""Recovers from crashes and silence: expired leases, unknown outcomes, queued texts to customers who opted out."""

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
from bookings.outbox.queueing import wake_senders

logger = logging.getLogger(__name__)

#: A message whose workers stopped this often before they called is not tried again.
MOST_CLAIMS = 3

#: Within this time a receipt or a reply may tell what became of a call.
WAIT_FOR_WORD = dt.timedelta(minutes=15)

_AT_ONCE = 500


def recover_expired_claims() -> int:
    """End the claims whose lease ran out. Returns how many.

    Without a call the message is queued again; with one its outcome is unknown.
    """
    expired = OutboundMessage.objects.filter(state=MessageState.SENDING, lease_until__lte=Now())
    ids = list(expired.values_list("pk", flat=True)[:_AT_ONCE])
    for pk in ids:
        with transaction.atomic():
            message = expired.select_for_update(of=("self",)).filter(pk=pk).first()
            if message is not None:
                _recover(message)
    return len(ids)


def _recover(message: OutboundMessage) -> None:
    if message.call_started_at is None:
        message.end_claim(MOST_CLAIMS)
    else:
        unanswered = message.attempts.filter(token=message.token, verdict="")
        unanswered.update(verdict=Verdict.UNKNOWN, reason="The sender stopped during the call.")
        message.reason = (
            "It is unknown whether the gateway accepted it: the sender stopped during the call."
        )
        message.save(update_fields=["reason"])
        message.update_state()
    tickets.review_outbound(message)
    logger.warning("Message %s: its sender stopped, now %s", message.pk, message.state)


def send_again() -> int:
    """Queue notifications and texts by dispatch once more whose outcome has been unknown for 15 minutes."""
    now = timezone.now()
    silent = OutboundMessage.objects.going_again(now).filter(
        is_held=False, call_started_at__lte=now - WAIT_FOR_WORD
    )
    ids = list(silent.values_list("pk", flat=True)[:_AT_ONCE])
    count = OutboundMessage.objects.filter(pk__in=ids, is_held=False).send_again(
        now, "Sent again: it is unknown whether the first attempt arrived."
    )
    if count:
        wake_senders()
    return count


def cancel_for_opted_out() -> int:
    """Cancel queued messages to customers who have opted out since. Returns how many."""
    opted_out = Consent.objects.opted_out().filter(msisdn=OuterRef("msisdn"))
    waiting = (
        OutboundMessage.objects.queued().filter(Exists(opted_out)).exclude(kind__in=DESPITE_OPT_OUT)
    )
    return waiting.cancel("the customer has opted out", by_opt_out=True)
