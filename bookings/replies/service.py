"""A customer's reply, from the stored text to the queued answer, in one transaction.

Read this first: `context.load` locks and reads, `rule.decide` decides, `effects.apply` writes.
"""

import logging

from django.db import InterfaceError, InternalError, OperationalError, transaction
from django.utils import timezone

from bookings.gateways import InboundSMS
from bookings.models import InboundMessage
from bookings.replies import context, effects, rule

logger = logging.getLogger(__name__)


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
    try:
        with transaction.atomic():
            facts = context.load(inbound, timezone.now())
            effects.apply(rule.decide(facts), inbound)
    except (OperationalError, InterfaceError, InternalError):
        raise  # the webhook answers 503, and the gateway sends it again
    except Exception:  # a 500 would be sent again for a day, with the same end
        logger.exception("Inbound SMS %s: our rule failed on it (see replay_inbound)", inbound.pk)
        effects.apply(rule.FAILED, inbound)
