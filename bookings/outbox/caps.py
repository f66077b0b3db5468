"""How many texts one customer's number gets in an hour and in a day, whatever the reason. What is more waits."""

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence

from django.conf import settings
from django.db.models import DateTimeField, Value

from bookings.models import MessageState, OutboundMessage, SendAttempt
from bookings.outbox.settling import NEVER_LEFT

logger = logging.getLogger(__name__)

_HOUR, _DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


class Counts:
    """What each of these numbers got lately. Exact only under the locks of the pace, which let one claim at a time."""

    def __init__(self, msisdns: Iterable[str], now: dt.datetime) -> None:
        self._now = now
        self._texts: dict[str, list[dt.datetime]] = defaultdict(list)
        for msisdn, moment in sorted(_texts(set(msisdns), now)):
            self._texts[msisdn].append(moment)

    def take(self, pk: int, msisdn: str) -> bool:
        """Count this message, if it is within the caps of its number; else let it wait until it is."""
        due_at, reason = self.free_at(msisdn, self._now)
        if not reason:
            self.add(msisdn, self._now)
            return True
        OutboundMessage.objects.queued().filter(pk=pk).update(due_at=due_at, reason=reason)
        logger.info("Message %s: %s", pk, reason)
        return False

    def free_at(self, msisdn: str, moment: dt.datetime) -> tuple[dt.datetime, str]:
        """When this number may get one more text, from this moment on, and why not sooner; "" if it may then."""
        texts = self._texts[msisdn]
        waits = [
            (texts[-most] + window, f"Waits: this number got {most} texts in {name}.")
            for most, window, name in _caps()
            if len(texts) >= most and texts[-most] > moment - window
        ]
        return max(waits, default=(moment, ""))

    def add(self, msisdn: str, moment: dt.datetime) -> None:
        """It gets one at this moment, not before those that were counted."""
        self._texts[msisdn].append(moment)


def _caps() -> Sequence[tuple[int, dt.timedelta, str]]:
    return (
        (settings.SMS_PER_NUMBER_HOUR, _HOUR, "an hour"),
        (settings.SMS_PER_NUMBER_DAY, _DAY, "a day"),
    )


def _texts(msisdns: set[str], now: dt.datetime) -> Iterable[tuple[str, dt.datetime]]:
    """What may have left for these numbers within a day, and when; what is claimed counts as now.

    One statement: what goes from claimed to called meanwhile is counted once.
    """
    left = SendAttempt.objects.filter(
        message__msisdn__in=msisdns, call_started_at__gt=now - _DAY
    ).exclude(verdict__in=NEVER_LEFT)
    claimed = OutboundMessage.objects.filter(
        msisdn__in=msisdns, state=MessageState.SENDING, call_started_at=None
    )
    moment = Value(now, output_field=DateTimeField())
    return (
        left.order_by()
        .values_list("message__msisdn", "call_started_at")
        .union(claimed.order_by().values_list("msisdn", moment), all=True)
    )
