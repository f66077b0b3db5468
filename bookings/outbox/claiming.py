"""Claims due messages, so that each is handed over by one worker only.

Load, decide, apply: `claim` reads the most urgent messages that may be sent, decides which of them are sent now, and
gives those to the caller in one statement.
"""

import datetime as dt
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from bookings.customers import tickets
from bookings.models import Batch, Consent, Kind, OutboundMessage, Spending
from bookings.models.outbound import ANSWERS, ASKING_KINDS, DESPITE_OPT_OUT, OutboundMessageQuerySet
from bookings.outbox import circuit, spending
from bookings.outbox.caps import RecentTexts
from bookings.outbox.pace import Allowance
from bookings.outbox.recipients import why_unreachable
from bookings.scheduling.clock import is_quiet

logger = logging.getLogger(__name__)

#: The life of a claim; longer than any call can take (3 s to connect, 10 s to read).
LEASE = dt.timedelta(seconds=60)

_SHORTEST_WAIT = dt.timedelta(milliseconds=20)

#: A notification is not sent with less than this to its close.
LEAST_TIME_TO_ANSWER = dt.timedelta(minutes=30)

#: An answer to a customer is sent in quiet hours if it has not waited longer than this.
FRESH = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Claimed:
    """The messages that a worker has to send, and when it should ask again."""

    messages: list[OutboundMessage] = field(default_factory=list)
    wait: dt.timedelta | None = None  # None: nothing more is due now
    is_paused: bool = False  # the gateway asked for a pause; else our own pace makes us wait


class _Candidate(NamedTuple):
    pk: int
    sender: str
    msisdn: str
    claims: int


def claim(most: int) -> Claimed:
    """Claim up to `most` due messages for the caller. The lease is in database time."""
    now = timezone.now()
    due = due_now(now)
    if most < 1 or not _has_work(due):  # idle workers take no lock
        return Claimed()
    with transaction.atomic():
        allowance = Allowance()
        within_pace = due.exclude(sender__in=allowance.exhausted())
        candidates = _first(within_pace, circuit.count_allowed(min(most, allowance.left()), now))
        chosen = _choose(candidates, allowance, now)
        if not chosen and candidates:
            return Claimed(wait=dt.timedelta())  # all were refused or postponed: go on to the next
        if not chosen:
            return _held_back(due, allowance, now)
        allowance.save()
        circuit.note_probe(now)
        token = secrets.token_hex(16)
        OutboundMessage.objects.filter(pk__in=chosen).claim(token, LEASE)
    ours = OutboundMessage.objects.filter(pk__in=chosen, token=token)
    return Claimed(list(ours.order_by("priority", "due_at", "pk")), dt.timedelta())


def _has_work(due: OutboundMessageQuerySet) -> bool:
    """Return True if a message is due and today's spending cap has room for it.

    A message that is too dear holds back those behind it. That the cap is reached is noted and logged, once.
    """
    first = due.values_list("parts", "msisdn").first()
    if first is None:
        return False
    today = Spending.of(timezone.localdate())
    has_room = spending.has_room(today, *first)
    if not has_room and today.stopped_at is None:
        spending.note_stop(today.day)
    return has_room


def _first(due: OutboundMessageQuerySet, most: int) -> list[_Candidate]:
    """The most urgent messages, locked where the database has SKIP LOCKED.

    A message whose last worker stopped is taken alone: if the message was the cause, it takes no other with it.
    """
    if not most:
        return []
    if connection.features.has_select_for_update_skip_locked:
        due = due.select_for_update(skip_locked=True, of=("self",))
    rows = due.values_list("pk", "sender", "msisdn", "claims")[:most]
    candidates = [_Candidate(*row) for row in rows]
    if candidates and candidates[0].claims:
        return candidates[:1]
    return [candidate for candidate in candidates if not candidate.claims]


def _choose(candidates: Sequence[_Candidate], allowance: Allowance, now: dt.datetime) -> list[int]:
    """Decide which of these are sent now. Messages to unreachable numbers fail, those above a cap are postponed."""
    reachable = []
    for candidate in candidates:
        if reason := why_unreachable(candidate.msisdn):
            _refuse(candidate, reason)
        else:
            reachable.append(candidate)
    recent = RecentTexts([candidate.msisdn for candidate in reachable], now)
    chosen = []
    for candidate in reachable:
        due_at, reason = recent.free_at(candidate.msisdn, now)
        if reason:
            OutboundMessage.objects.filter(pk=candidate.pk).postpone(due_at, reason)
            logger.info("Message %s: %s", candidate.pk, reason)
        elif allowance.take(candidate.sender):
            recent.add(candidate.msisdn, now)
            chosen.append(candidate.pk)
    return chosen


def _refuse(candidate: _Candidate, reason: str) -> None:
    if OutboundMessage.objects.filter(pk=candidate.pk).refuse(reason):
        tickets.review_outbound(OutboundMessage.objects.get(pk=candidate.pk))
    logger.warning("Message %s refused: %s", candidate.pk, reason)


def _held_back(due: OutboundMessageQuerySet, allowance: Allowance, now: dt.datetime) -> Claimed:
    """Nothing could be taken: because of the pace, or because nothing may be tried at all."""
    if not circuit.count_allowed(1, now) or not due.exists():
        return Claimed()
    wait = max(allowance.wait(), _SHORTEST_WAIT)  # another worker may hold the rows
    return Claimed(wait=wait, is_paused=allowance.is_paused)


def due_now(now: dt.datetime) -> OutboundMessageQuerySet:
    """The queued messages that may be sent at this moment, the most urgent first."""
    messages = unstopped(now).filter(due_at__lte=now).order_by("priority", "due_at", "pk")
    return messages.filter(_allowed_in_quiet_hours(now)) if is_quiet(now) else messages


def unstopped(now: dt.datetime) -> OutboundMessageQuerySet:
    """The queued messages that nothing stops: they are sent once they are due and it is not quiet hours."""
    opted_out = Consent.objects.opted_out().filter(msisdn=OuterRef("msisdn"))
    messages = (
        OutboundMessage.objects.queued()
        .filter(gateway=settings.SMS_GATEWAY, is_held=False)
        .filter(
            kind__in=Kind.values
        )  # messages of a kind that only a newer version knows wait for it
        .filter(Q(valid_until=None) | Q(valid_until__gt=now))
        .filter(Q(kind__in=DESPITE_OPT_OUT) | ~Exists(opted_out))
        .filter(
            ~Q(kind__in=ASKING_KINDS)
            | Q(notification=None)
            | Q(notification__closes_at__gte=now + LEAST_TIME_TO_ANSWER)
        )
    )
    # Usually there is none, and then the batch is not looked up row by row.
    if stopped := list(Batch.objects.stopped(now).values_list("pk", flat=True)):
        messages = messages.not_of_batches(stopped)
    return messages


def _allowed_in_quiet_hours(now: dt.datetime) -> Q:
    """Fresh answers to a customer's own text, and texts by dispatch about a delivery within 24 hours."""
    soon = timezone.localtime(now + dt.timedelta(hours=24))
    starts_soon = Q(booking__slot__date__lt=soon.date()) | Q(
        booking__slot__date=soon.date(), booking__slot__window_start__lte=soon.time()
    )
    return Q(kind__in=ANSWERS, queued_at__gte=now - FRESH) | (Q(kind=Kind.TOLD) & starts_soon)
