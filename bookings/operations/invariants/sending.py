"""Messages have the state that their attempts and receipts give, and were sent no more often than allowed."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from django.db.models import Count, Exists, F, Max, OuterRef, Q, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from bookings.gateways import Verdict
from bookings.models import (
    DeliveryReceipt,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    SendAttempt,
    Sender,
    SentPart,
)
from bookings.models.message_states import attempt_state, message_state
from bookings.models.outbound import SENT_AGAIN

#: The gateway may have the message.
MAY_HAVE_LEFT = ("", Verdict.ACCEPTED, Verdict.PARTIAL, Verdict.UNKNOWN)
_ONLY_BY_ATTEMPT = (
    MessageState.UNKNOWN,
    MessageState.SUBMITTED,
    MessageState.ACCEPTED,
    MessageState.BUFFERED,
    MessageState.REJECTED,
    MessageState.DELIVERED,
)
_RECOVERED_WITHIN = dt.timedelta(seconds=60)
_CANCELLED_WITHIN = dt.timedelta(minutes=5)  # a sweep takes a few hundred
_CHUNK = 20_000  # messages looked at together
_COLUMNS = (
    *("pk", "number", "state", "verdict", "token", "counted_parts"),
    *("message", "message__state", "message__token"),
)


def messages_left_no_more_often_than_they_may() -> Iterator[str]:
    """Once; a notification or a text by dispatch a second time, if the outcome of the first was unknown."""
    several = (
        SendAttempt.objects.filter(verdict__in=MAY_HAVE_LEFT)
        .values("message", "message__sent_again")
        .annotate(tries=Count("pk"))
        .filter(tries__gt=1)
        .order_by("message")
    )
    columns = ("message", "message__sent_again", "tries")
    for message_id, is_sent_again, tries in several.values_list(*columns):
        if tries > 1 + is_sent_again:
            yield f"I4 outbound message {message_id}: it may have been sent too often"
    for message in OutboundMessage.objects.filter(sent_again=True).exclude(kind__in=SENT_AGAIN):
        yield f"I4 outbound message {message.pk}: {message.kind} is never sent again by itself"


def states_come_from_attempts() -> Iterator[str]:
    for message in OutboundMessage.objects.filter(state__in=_ONLY_BY_ATTEMPT, attempts=None):
        yield f"I5 outbound message {message.pk}: {message.state}, and never handed over"


def notifications_handed_over_say_so() -> Iterator[str]:
    left = SendAttempt.objects.filter(
        message__notification=OuterRef("pk"),
        message__kind=Kind.NOTIFICATION,
        verdict__in=MAY_HAVE_LEFT,
    )
    for notification in Notification.objects.filter(Exists(left), handed_over_at=None):
        yield f"I5 notification {notification.pk}: its text left us, and its digits do not count"


def states_and_counts_are_what_the_facts_say() -> Iterator[str]:
    last: int = OutboundMessage.objects.aggregate(last=Max("pk"))["last"] or 0
    for first in range(0, last + 1, _CHUNK):
        facts = _facts(range(first, first + _CHUNK))
        for _, group in groupby(facts, lambda fact: fact.attempt.message):
            yield from _wrong(list(group))


class _Attempt(NamedTuple):
    pk: int
    number: int
    state: str
    verdict: str
    token: str
    counted_parts: int
    message: int
    message_state: str
    message_token: str


class _Facts(NamedTuple):
    attempt: _Attempt
    state: MessageState  # from the gateway's answer and the receipts
    parts: int  # parts that are paid for


def _facts(messages: range) -> Iterator[_Facts]:
    parts: dict[int, list[str]] = defaultdict(list)
    receipts: dict[int, list[tuple[str, str]]] = defaultdict(list)
    within = Q(attempt__message__gte=messages.start, attempt__message__lt=messages.stop)
    taken = SentPart.objects.filter(within).order_by("pk")
    for of, part in taken.values_list("attempt", "gateway_message_id"):
        parts[of].append(part)
    came = DeliveryReceipt.objects.filter(within).order_by("pk")
    for of, part, status in came.values_list("attempt", "gateway_message_id", "status"):
        receipts[of].append((part, status))
    attempts = SendAttempt.objects.filter(
        message__gte=messages.start, message__lt=messages.stop
    ).order_by("message", "number")
    for values in attempts.values_list(*_COLUMNS):
        attempt = _Attempt(*values)
        state = attempt_state(attempt.verdict, parts[attempt.pk], receipts[attempt.pk])
        yield _Facts(attempt, state, _paid_parts(attempt, len(parts[attempt.pk])))


def _paid_parts(attempt: _Attempt, taken: int) -> int:
    """The parts that are paid for: none if nothing was sent, our own count if the gateway named none."""
    if attempt.verdict not in MAY_HAVE_LEFT:
        return 0
    return taken or attempt.counted_parts


def _wrong(facts: list[_Facts]) -> Iterator[str]:
    for attempt, state, parts in facts:
        if attempt.state != state:
            yield (
                f"I6 outbound message {attempt.message}: attempt {attempt.number} is"
                f" {attempt.state}, its receipts say {state}"
            )
        if attempt.counted_parts != parts:
            yield (
                f"I8 outbound message {attempt.message}: the parts that attempt {attempt.number}"
                f" counts are {attempt.counted_parts}, not {parts}"
            )
    latest = facts[-1].attempt
    stored = MessageState(latest.message_state)
    expected = message_state(stored, [fact.state for fact in facts])
    # Claimed once more, and not called yet: that try is no attempt so far.
    is_claimed = stored == MessageState.SENDING and latest.token != latest.message_token
    if stored != expected and not is_claimed:
        yield f"I6 outbound message {latest.message}: it is {stored}, its attempts say {expected}"


def receipts_are_with_their_attempt() -> Iterator[str]:
    named = SendAttempt.objects.filter(client_ref=OuterRef("client_ref"))
    stray = DeliveryReceipt.objects.exclude(client_ref="").filter(Exists(named))
    is_its_own = Q(attempt__isnull=False, attempt__client_ref=F("client_ref"))
    for receipt in stray.exclude(is_its_own).order_by("pk"):
        yield f"I6 receipt {receipt.pk}: it names an attempt that it is not stored with"


def claims_are_alive() -> Iterator[str]:
    """Leases are in database time."""
    over = Now() - _RECOVERED_WITHIN
    stuck = OutboundMessage.objects.filter(state=MessageState.SENDING, lease_until__lt=over)
    for message in stuck.order_by("pk"):
        yield f"I7 outbound message {message.pk}: sending, though its lease ended a minute ago"


def what_waits_is_true_or_cancelled() -> Iterator[str]:
    """A sender that ran since `valid_until` would have cancelled the message. Held messages wait for a person.

    `valid_until` was set by our clock, the sender was seen by the database's.
    """
    at_work = Sender.objects.order_by("-seen_at").values("seen_at")[:1]
    stale = OutboundMessage.objects.queued().filter(
        Q(valid_until__lt=timezone.now() - _CANCELLED_WITHIN),
        Q(valid_until__lt=Subquery(at_work) - _CANCELLED_WITHIN),
        is_held=False,
    )
    for message in stale.order_by("pk"):
        yield f"I7 outbound message {message.pk}: queued, though its time is over"


CHECKS = (
    messages_left_no_more_often_than_they_may,
    states_come_from_attempts,
    notifications_handed_over_say_so,
    states_and_counts_are_what_the_facts_say,
    receipts_are_with_their_attempt,
    claims_are_alive,
    what_waits_is_true_or_cancelled,
)
