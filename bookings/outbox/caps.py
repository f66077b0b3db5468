"""The caps on texts to one number, in an hour and in a day, whatever the texts are about. Texts above a cap wait."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence

from django.conf import settings
from django.db.models import DateTimeField, Value

from bookings.models import MessageState, OutboundMessage, SendAttempt
from bookings.outbox.settling import NEVER_LEFT

_HOUR, _DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


class RecentTexts:
    """The texts that each of these numbers got within the last day.

    Exact only while the pace is locked (`pace.Allowance`): the lock lets one claim at a time.
    """

    def __init__(self, msisdns: Iterable[str], now: dt.datetime) -> None:
        self._sent_at: dict[str, list[dt.datetime]] = defaultdict(list)
        for msisdn, sent_at in sorted(_recent(set(msisdns), now)):
            self._sent_at[msisdn].append(sent_at)

    def free_at(self, msisdn: str, wanted_at: dt.datetime) -> tuple[dt.datetime, str]:
        """The first moment from `wanted_at` on at which the caps allow this number one more text.

        With the reason why it waits until then; "" if it does not wait.
        """
        sent_at = self._sent_at[msisdn]
        waits = [
            (sent_at[-most] + window, f"Delayed: this number got {most} messages in {name}.")
            for most, window, name in _caps()
            if len(sent_at) >= most and sent_at[-most] > wanted_at - window
        ]
        return max(waits, default=(wanted_at, ""))

    def add(self, msisdn: str, sent_at: dt.datetime) -> None:
        """Count one more text to this number, not earlier than those counted so far."""
        self._sent_at[msisdn].append(sent_at)


def _caps() -> Sequence[tuple[int, dt.timedelta, str]]:
    return (
        (settings.SMS_PER_NUMBER_HOUR, _HOUR, "an hour"),
        (settings.SMS_PER_NUMBER_DAY, _DAY, "a day"),
    )


def _recent(msisdns: set[str], now: dt.datetime) -> Iterable[tuple[str, dt.datetime]]:
    """Each text that may have been sent to these numbers within a day, and when. A claimed message counts as sent now.

    One statement, so that a message whose call starts meanwhile is counted once.
    """
    sent = SendAttempt.objects.filter(
        message__msisdn__in=msisdns, call_started_at__gt=now - _DAY
    ).exclude(verdict__in=NEVER_LEFT)
    claimed = OutboundMessage.objects.filter(
        msisdn__in=msisdns, state=MessageState.SENDING, call_started_at=None
    )
    sent_now = Value(now, output_field=DateTimeField())
    return (
        sent.order_by()
        .values_list("message__msisdn", "call_started_at")
        .union(claimed.order_by().values_list("msisdn", sent_now), all=True)
    )
