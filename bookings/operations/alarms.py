"""Counts what the alarms of `alarm_rules.py` are judged from, and tells the log of each alarm that begins or ends.

Every count has an upper bound, so that a sender can look every few seconds whatever the tables hold.
"""

import datetime as dt
import logging

from django.conf import settings
from django.db.models import (
    Count,
    DurationField,
    ExpressionWrapper,
    F,
    Max,
    Min,
    OuterRef,
    QuerySet,
    Subquery,
)
from django.db.models.functions import Now
from django.utils import timezone

from bookings.gateways import Verdict
from bookings.models import (
    Circuit,
    DeliveryReceipt,
    InboundMessage,
    Kind,
    Notification,
    SendAttempt,
    Sender,
    Spending,
)
from bookings.models.message_states import LOST
from bookings.models.outbound import ANSWERS
from bookings.operations import alarm_rules
from bookings.operations.alarm_rules import Alarm, Facts
from bookings.outbox.claiming import FRESH, unstopped
from bookings.scheduling.clock import time_since_end

logger = logging.getLogger(__name__)

#: When customers sleep where no quiet hours are set.
_NIGHT = (dt.time(20), dt.time(8))
#: How many rows are looked at, at the most.
_MOST = 500
#: Fewer notifications of the past say nothing about a usual share.
_LEAST_KNOWN = 50
_USUAL_OF, _USUAL_UNTIL = dt.timedelta(days=14), dt.timedelta(days=1)

#: What rang when this process looked last.
_rang: set[str] = set()


def alarms(*, is_refusing: bool = False) -> list[Alarm]:
    """What rings now. Who serves webhooks knows by itself whether it `is_refusing` many."""
    return alarm_rules.ringing(count_facts(timezone.now(), is_refusing=is_refusing))


def look() -> int:
    """Log what has begun to ring, once, and what has ended. Returns how many alarms ring."""
    ring = alarms()
    names = {alarm.name for alarm in ring}
    for alarm in ring:
        if alarm.name not in _rang:
            logger.error("Alarm %s. %s %s", alarm.name, alarm.meaning, alarm.todo)
    for name in _rang - names:
        logger.warning("Alarm %s is over.", name)
    _rang.clear()
    _rang.update(names)
    return len(ring)


def count_facts(now: dt.datetime, *, is_refusing: bool = False) -> Facts:
    """The facts at this moment. Raises what the database raises."""
    inbound_at = InboundMessage.objects.aggregate(at=Max("received_at"))["at"]
    calls = SendAttempt.objects.filter(verdict=Verdict.ACCEPTED)
    deliveries, slow = _deliveries(calls, now)
    notifications = calls.filter(
        message__kind=Kind.NOTIFICATION,
        call_started_at__gt=now - alarm_rules.REPLIES_OF,
        call_started_at__lte=now - alarm_rules.REPLY_WITHIN,
    )
    awake = time_since_end(now, settings.QUIET_HOURS or _NIGHT)
    return Facts(
        is_circuit_open=Circuit.current().opened_at is not None,
        is_spending_stopped=Spending.of(timezone.localdate(now)).stopped_at is not None,
        is_refusing=is_refusing,
        sender_away=_sender_away(),
        oldest_due=_oldest_due(now),
        silent_texts=_silent_texts(calls, now),
        daytime=awake,
        inbound_ago=now - inbound_at if inbound_at else None,
        notifications=notifications.order_by()[:_MOST].count(),
        reply_rate=_reply_rate(now),
        deliveries=deliveries,
        slow=slow,
    )


def _sender_away() -> dt.timedelta | None:
    """By the database's clock, which senders clock in by."""
    away = ExpressionWrapper(Now() - F("seen_at"), output_field=DurationField())
    last = Sender.objects.order_by("-seen_at").annotate(away=away)
    return last.values_list("away", flat=True).first()


def _oldest_due(now: dt.datetime) -> dt.timedelta | None:
    """For how long the oldest text could have been sent: held ones wait for a person, most others for the morning."""
    due = unstopped(now).filter(due_at__lte=now)
    quiet: tuple[dt.time, dt.time] | None = settings.QUIET_HOURS
    day = dt.timedelta.max if quiet is None else time_since_end(now, quiet)
    if day is None:
        due, day = due.filter(kind__in=ANSWERS, queued_at__gte=now - FRESH), FRESH
    oldest = due.aggregate(at=Min("due_at"))["at"]
    return min(now - oldest, day) if oldest else None


def _silent_texts(calls: "QuerySet[SendAttempt]", now: dt.datetime) -> int:
    """Texts handed over since the last receipt of any, long enough ago to have one."""
    receipt_at = DeliveryReceipt.objects.aggregate(at=Max("received_at"))["at"]
    since = now - alarm_rules.RECEIPTS_OF
    since = max(since, receipt_at) if receipt_at else since
    silent = calls.filter(
        call_started_at__gt=since, call_started_at__lte=now - alarm_rules.RECEIPT_WITHIN
    )
    return silent.order_by()[: alarm_rules.LEAST_TEXTS].count()


def _deliveries(calls: "QuerySet[SendAttempt]", now: dt.datetime) -> tuple[int, int]:
    """Of the newest texts that have had five minutes to arrive: how many did not fail, how many took longer."""
    until = now - alarm_rules.RECEIPT_WITHIN
    delivered = DeliveryReceipt.objects.filter(attempt=OuterRef("pk"), status="delivered")
    first = Subquery(delivered.order_by("received_at").values("received_at")[:1])
    lately = calls.filter(
        call_started_at__gt=until - alarm_rules.SLOW_OF, call_started_at__lte=until
    )
    lately = lately.exclude(state__in=LOST).order_by("-call_started_at").annotate(first=first)
    times = list(lately.values_list("call_started_at", "first")[:_MOST])
    slow = [at for at, first in times if first is None or first - at > alarm_rules.RECEIPT_WITHIN]
    return len(times), len(slow)


def _reply_rate(now: dt.datetime) -> float | None:
    """The usual share of notifications that are answered, from the last ones of two weeks that have had a day."""
    past = Notification.objects.filter(
        handed_over_at__gt=now - _USUAL_OF, handed_over_at__lte=now - _USUAL_UNTIL
    )
    # Two statements: in one, the database would go through the answers of all times.
    asked = list(past.order_by("-pk").values_list("pk", flat=True)[:_MOST])
    answers = InboundMessage.objects.filter(notification__in=asked).order_by()
    answered = answers.aggregate(count=Count("notification", distinct=True))["count"]
    return answered / len(asked) if len(asked) >= _LEAST_KNOWN else None
