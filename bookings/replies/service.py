"""A customer's reply, from the stored text to the queued answer, in one transaction.

Read this first: `context.load` locks and reads, `rule.decide` decides, `effects.apply` writes.
"""

from django.db import transaction
from django.utils import timezone

from bookings.gateways import InboundSMS
from bookings.models import InboundMessage
from bookings.models.faults import survives
from bookings.replies import context, effects, rule


def answer(sms: InboundSMS) -> None:
    """Store a text that came in and carry out what it comes to. A text with a known message id changes nothing."""
    with transaction.atomic():
        inbound = InboundMessage.objects.store(sms)
        if inbound is not None:
            answer_stored(inbound)


def answer_stored(inbound: InboundMessage) -> None:
    """Decide a stored text and carry it out, in the transaction of the caller.

    A bug of ours keeps the message, with outcome `error`, for `replay_inbound`. Database faults are raised.
    """
    failed = f"Inbound SMS {inbound.pk}: our rule failed on it (see replay_inbound)"
    if not survives(lambda: _decide_and_apply(inbound), otherwise=failed):
        effects.apply(rule.FAILED, inbound)


def _decide_and_apply(inbound: InboundMessage) -> None:
    facts = context.load(inbound, timezone.now())
    effects.apply(rule.decide(facts), inbound)
