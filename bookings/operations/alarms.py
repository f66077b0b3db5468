"""Alarms: texts are sent and nothing comes back, or nothing is sent.

`load_facts` counts, `raised_by` judges the counts, and each alarm says what it means and what to do. Every count has an
upper bound, so that a sender can look every few seconds whatever the tables hold.
"""

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass

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
from bookings.outbox.claiming import FRESH, unstopped
from bookings.scheduling.clock import time_since_end

logger = logging.getLogger(__name__)

#: This many texts without a receipt, each older than this: within ten minutes after the receipts stop.
LEAST_TEXTS = 10
RECEIPT_WITHIN, _RECEIPTS_OF = dt.timedelta(minutes=5), dt.timedelta(hours=1)
#: No reply for this long by day, although this many notifications were handed over, more than half an hour ago.
_REPLY_WITHIN, _REPLIES_OF = dt.timedelta(minutes=30), dt.timedelta(hours=2)
_LEAST_NOTIFICATIONS = 20
#: Silence that happens by chance less often than this is an alarm.
_CHANCE = 0.01
_QUEUED_WITHIN = dt.timedelta(minutes=10)
SENDER_WITHIN = dt.timedelta(minutes=2)
#: Delivery is slow if this share of the texts of a quarter of an hour took more than five minutes.
_SLOW_SHARE, _SLOW_OF = 0.15, dt.timedelta(minutes=15)
_LEAST_DELIVERIES = 20
#: The night in which no replies are expected, where no quiet hours are set.
_NIGHT = (dt.time(20), dt.time(8))
#: The most rows that one count looks at.
_MOST = 500
#: The usual share of replies is taken from notifications of two weeks that are a day old, if there are enough of them.
_USUAL_OF, _USUAL_UNTIL = dt.timedelta(days=14), dt.timedelta(days=1)
_LEAST_KNOWN = 50

#: The names of the alarms that this process has logged last.
_logged: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmFacts:
    """The counts at one moment. A duration is None where there is nothing to count from."""

    is_circuit_open: bool = False
    is_spending_stopped: bool = False
    is_refusing: bool = False  # many webhook requests were refused lately
    sender_away: dt.timedelta | None = None  # since a sender was last seen; None: none ever was
    oldest_due: dt.timedelta | None = None  # since the oldest queued text could have been sent
    silent_texts: int = 0  # handed over since the last receipt, and old enough to have one
    daytime: dt.timedelta | None = None  # since the night ended; None: it is night
    inbound_ago: dt.timedelta | None = None  # since the last text of a customer
    notifications: int = 0  # handed over lately, and old enough to be answered
    reply_rate: float | None = None  # the usual share of notifications that are answered, 0 to 1
    deliveries: int = 0  # handed over in the last quarter of an hour that is over
    slow: int = 0  # of these, not delivered within five minutes


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that may be wrong: its name for machines, its meaning, and what to do next."""

    name: str
    is_raised: Callable[[AlarmFacts], bool]
    meaning: str
    todo: str


def current_alarms(*, is_refusing: bool = False) -> list[Alarm]:
    """Return the alarms of this moment. Only a web process knows whether it `is_refusing` many webhook requests."""
    return raised_by(load_facts(timezone.now(), is_refusing=is_refusing))


def raised_by(facts: AlarmFacts) -> list[Alarm]:
    """Return the alarms that these facts raise, the gravest first."""
    return [alarm for alarm in ALARMS if alarm.is_raised(facts)]


def log_alarms() -> int:
    """Log each alarm that has begun or ended since the last call, once. Returns the number of alarms."""
    alarms = current_alarms()
    names = {alarm.name for alarm in alarms}
    for alarm in alarms:
        if alarm.name not in _logged:
            logger.error("Alarm %s. %s %s", alarm.name, alarm.meaning, alarm.todo)
    for name in _logged - names:
        logger.warning("Alarm %s is over.", name)
    _logged.clear()
    _logged.update(names)
    return len(alarms)


def load_facts(now: dt.datetime, *, is_refusing: bool = False) -> AlarmFacts:
    """Count the facts at this moment. Raises what the database raises."""
    inbound_at = InboundMessage.objects.aggregate(at=Max("received_at"))["at"]
    calls = SendAttempt.objects.filter(verdict=Verdict.ACCEPTED)
    deliveries, slow = _deliveries(calls, now)
    notifications = calls.filter(
        message__kind=Kind.NOTIFICATION,
        call_started_at__gt=now - _REPLIES_OF,
        call_started_at__lte=now - _REPLY_WITHIN,
    )
    daytime = time_since_end(now, settings.QUIET_HOURS or _NIGHT)
    return AlarmFacts(
        is_circuit_open=Circuit.current().opened_at is not None,
        is_spending_stopped=Spending.of(timezone.localdate(now)).stopped_at is not None,
        is_refusing=is_refusing,
        sender_away=_sender_away(),
        oldest_due=_oldest_due(now),
        silent_texts=_silent_texts(calls, now),
        daytime=daytime,
        inbound_ago=now - inbound_at if inbound_at else None,
        notifications=notifications.order_by()[:_MOST].count(),
        reply_rate=_reply_rate(now),
        deliveries=deliveries,
        slow=slow,
    )


def _sender_away() -> dt.timedelta | None:
    """The time since a sender was last seen, by the database's clock, with which senders note it."""
    away = ExpressionWrapper(Now() - F("seen_at"), output_field=DurationField())
    last = Sender.objects.order_by("-seen_at").annotate(away=away)
    return last.values_list("away", flat=True).first()


def _oldest_due(now: dt.datetime) -> dt.timedelta | None:
    """The time for which the oldest queued text could have been sent. Quiet hours and holds do not count."""
    due = unstopped(now).filter(due_at__lte=now)
    quiet: tuple[dt.time, dt.time] | None = settings.QUIET_HOURS
    day = dt.timedelta.max if quiet is None else time_since_end(now, quiet)
    if day is None:
        due, day = due.filter(kind__in=ANSWERS, queued_at__gte=now - FRESH), FRESH
    oldest = due.aggregate(at=Min("due_at"))["at"]
    return min(now - oldest, day) if oldest else None


def _silent_texts(calls: "QuerySet[SendAttempt]", now: dt.datetime) -> int:
    """Count the texts handed over since the last receipt, and long enough ago to have one."""
    receipt_at = DeliveryReceipt.objects.aggregate(at=Max("received_at"))["at"]
    since = now - _RECEIPTS_OF
    since = max(since, receipt_at) if receipt_at else since
    silent = calls.filter(call_started_at__gt=since, call_started_at__lte=now - RECEIPT_WITHIN)
    return silent.order_by()[:LEAST_TEXTS].count()


def _deliveries(calls: "QuerySet[SendAttempt]", now: dt.datetime) -> tuple[int, int]:
    """Count the newest texts that had five minutes to arrive and did not fail, and those of them that took longer."""
    until = now - RECEIPT_WITHIN
    delivered = DeliveryReceipt.objects.filter(attempt=OuterRef("pk"), status="delivered")
    first = Subquery(delivered.order_by("received_at").values("received_at")[:1])
    lately = calls.filter(call_started_at__gt=until - _SLOW_OF, call_started_at__lte=until)
    lately = lately.exclude(state__in=LOST).order_by("-call_started_at").annotate(first=first)
    times = list(lately.values_list("call_started_at", "first")[:_MOST])
    slow = [at for at, first in times if first is None or first - at > RECEIPT_WITHIN]
    return len(times), len(slow)


def _reply_rate(now: dt.datetime) -> float | None:
    """The usual share of notifications that are answered; None if too few are known."""
    past = Notification.objects.filter(
        handed_over_at__gt=now - _USUAL_OF, handed_over_at__lte=now - _USUAL_UNTIL
    )
    # Two statements: in one, the database would go through the answers of all times.
    asked = list(past.order_by("-pk").values_list("pk", flat=True)[:_MOST])
    answers = InboundMessage.objects.filter(notification__in=asked).order_by()
    answered = answers.aggregate(count=Count("notification", distinct=True))["count"]
    return answered / len(asked) if len(asked) >= _LEAST_KNOWN else None


def _no_sender(facts: AlarmFacts) -> bool:
    if facts.sender_away is None:  # a new installation raises it once a text waits
        return facts.oldest_due is not None and facts.oldest_due > SENDER_WITHIN
    return facts.sender_away > SENDER_WITHIN


def _no_receipts(facts: AlarmFacts) -> bool:
    return facts.silent_texts >= LEAST_TEXTS


def _no_replies(facts: AlarmFacts) -> bool:
    """Return True if no customer has answered although, with the usual share of replies, some would have."""
    if facts.daytime is None or facts.daytime < _REPLIES_OF or not facts.reply_rate:
        return False
    if facts.inbound_ago is not None and facts.inbound_ago < _REPLIES_OF:
        return False
    is_enough = facts.notifications >= _LEAST_NOTIFICATIONS
    return is_enough and (1 - facts.reply_rate) ** facts.notifications < _CHANCE


def _queue_ages(facts: AlarmFacts) -> bool:
    """Return True if texts wait although nothing known holds them back."""
    if facts.is_circuit_open or facts.is_spending_stopped or facts.oldest_due is None:
        return False
    return facts.oldest_due > _QUEUED_WITHIN


def _slow(facts: AlarmFacts) -> bool:
    if facts.deliveries < _LEAST_DELIVERIES or _no_receipts(facts):
        return False
    return facts.slow / facts.deliveries >= _SLOW_SHARE


ALARMS = (
    Alarm(
        "circuit_open",
        lambda facts: facts.is_circuit_open,
        "Sending is paused: the SMS provider refuses all our messages. Nothing is lost, messages wait.",
        "Ops: open Sending, read the reason, fix the cause and resume sending."
        " Dispatch: call today's customers.",
    ),
    Alarm(
        "no_sender",
        _no_sender,
        "Nothing is being sent: no sending process has been seen for over two minutes.",
        "Ops: start the sender (manage.py run_outbox) and read its log. Messages wait until it runs.",
    ),
    Alarm(
        "webhooks_refused",
        lambda facts: facts.is_refusing,
        "Many messages to our webhooks were refused because their signature or token is wrong:"
        " customers' replies may be among them.",
        "Ops: compare the signature secret and method at Vonage with our settings. Replies that"
        " were refused are sent again for 24 hours.",
    ),
    Alarm(
        "no_receipts",
        _no_receipts,
        "Messages are sent, but no delivery receipts arrive: replies may not reach us either.",
        "Ops: check that our webhook addresses can be reached from outside, and that they are the"
        " ones set at Vonage. What was missed is sent again once they can be.",
    ),
    Alarm(
        "no_replies",
        _no_replies,
        "Customers were notified, but no reply has arrived for two hours. That is unusual.",
        "Ops: text our number from a phone of your own. If it does not appear under Inbound"
        " messages, check the number's webhook at Vonage.",
    ),
    Alarm(
        "queue_ageing",
        _queue_ages,
        "Messages have been queued for over ten minutes for no known reason.",
        "Ops: see whether the sender keeps up, in its log and the state below; start more senders"
        " or raise the rate. Dispatch: expect delays.",
    ),
    Alarm(
        "slow_delivery",
        _slow,
        "Messages arrive slowly: many took over five minutes to reach the phone.",
        "Ops: look at Vonage's status page. Dispatch: call customers whose delivery is within the hour.",
    ),
)
