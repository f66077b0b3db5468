"""Claiming due messages, so that each is handed over by one worker only."""

import datetime as dt
import logging
import secrets
from dataclasses import dataclass, field
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from bookings.customers import tickets
from bookings.models import Batch, Consent, Kind, MessageState, OutboundMessage
from bookings.models.outbound import ANSWERS, ASKING_KINDS, DESPITE_OPT_OUT, OutboundMessageQuerySet
from bookings.outbox import caps, circuit, spending
from bookings.outbox.destinations import why_never
from bookings.outbox.pace import Allowance

logger = logging.getLogger(__name__)

#: A claim is for so long; longer than any call can take (3 s to connect, 10 s to read).
LEASE = dt.timedelta(seconds=60)

_SHORTEST_WAIT = dt.timedelta(milliseconds=20)

#: A notification is not sent with less than this to its close.
LEAST_TIME_TO_ANSWER = dt.timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a worker has got to send, and when it is worth asking again."""

    messages: list[OutboundMessage] = field(default_factory=list)
    wait: dt.timedelta | None = None  # None: nothing more is due now
    is_paused: bool = False  # the gateway wants us to wait, not our own pace


def claim(most: int) -> Claimed:
    """Take up to so many due messages: the row goes to `sending`, with our token and a lease in database time."""
    now = timezone.now()
    candidates = sendable(now)
    if most < 1 or not _has_work(candidates):  # so that idle workers write nothing
        return Claimed()
    with transaction.atomic():
        allowance = Allowance()
        within_pace = candidates.exclude(sender__in=allowance.exhausted())
        most = circuit.allowed(min(most, allowance.left()), now)
        looked_at = _first(within_pace, most)
        chosen = [row.pk for row in _permitted(looked_at, now) if allowance.take(row.sender)]
        if not chosen and looked_at:
            return Claimed(wait=dt.timedelta())  # what came first may not go now: on to the next
        if not chosen:
            return _held_back(candidates, allowance, now)
        allowance.save()
        circuit.note_probe(now)
        token = secrets.token_hex(16)
        # The state guard makes it right on every database, with SKIP LOCKED or without.
        OutboundMessage.objects.queued().filter(pk__in=chosen).update(
            state=MessageState.SENDING,
            token=token,
            lease_until=Now() + LEASE,
            call_started_at=None,
            claims=F("claims") + 1,
        )
    ours = OutboundMessage.objects.filter(pk__in=chosen, token=token)
    return Claimed(list(ours.order_by("priority", "due_at", "pk")), dt.timedelta())


class _Candidate(NamedTuple):
    pk: int
    sender: str
    msisdn: str
    claims: int


def _has_work(candidates: OutboundMessageQuerySet) -> bool:
    """Whether there is a text to send, and money left for it. One that is too dear stops those behind it too."""
    first = candidates.values_list("parts", "msisdn").first()
    return first is not None and spending.has_room(*first)


def _permitted(candidates: list[_Candidate], now: dt.datetime) -> list[_Candidate]:
    """Those that may go now. What may never go there fails at once; what its number has had enough of waits."""
    allowed = [candidate for candidate in candidates if not _is_refused(candidate)]
    counts = caps.Counts([candidate.msisdn for candidate in allowed], now)
    return [candidate for candidate in allowed if counts.take(candidate.pk, candidate.msisdn)]


def _is_refused(candidate: _Candidate) -> bool:
    reason = why_never(candidate.msisdn)
    if reason:
        refused = OutboundMessage.objects.queued().filter(pk=candidate.pk)
        if refused.update(state=MessageState.FAILED, reason=reason):
            tickets.raise_for_outbound(OutboundMessage.objects.get(pk=candidate.pk))
        logger.warning("Message %s refused: %s", candidate.pk, reason)
    return bool(reason)


def _held_back(
    candidates: OutboundMessageQuerySet, allowance: Allowance, now: dt.datetime
) -> Claimed:
    """Nothing could be taken: because of the pace, or because nothing may be tried at all."""
    if not circuit.allowed(1, now) or not candidates.exists():
        return Claimed()
    wait = max(allowance.wait(), _SHORTEST_WAIT)  # somebody else may hold the rows
    return Claimed(wait=wait, is_paused=allowance.is_paused)


def sendable(now: dt.datetime) -> OutboundMessageQuerySet:
    """The queued messages that may be sent at this moment, the most urgent first."""
    messages = going(now).filter(due_at__lte=now).order_by("priority", "due_at", "pk")
    return messages.filter(_speaks_at_night(now)) if is_quiet(now) else messages


def going(now: dt.datetime) -> OutboundMessageQuerySet:
    """The queued messages that nothing stops: they go as soon as they are due and it is not night."""
    opted_out = Consent.objects.opted_out().filter(msisdn=OuterRef("msisdn"))
    messages = (
        OutboundMessage.objects.queued()
        .filter(gateway=settings.SMS_GATEWAY, is_held=False)
        .filter(kind__in=Kind.values)  # a newer version's kinds are left to it
        .filter(Q(valid_until=None) | Q(valid_until__gt=now))
        .filter(Q(kind__in=DESPITE_OPT_OUT) | ~Exists(opted_out))
        .filter(
            ~Q(kind__in=ASKING_KINDS)
            | Q(notification=None)
            | Q(notification__closes_at__gte=now + LEAST_TIME_TO_ANSWER)
        )
    )
    # Usually there is none, and then nothing is looked up row by row.
    if stopped := list(Batch.objects.stopped(now).values_list("pk", flat=True)):
        messages = messages.not_of_batches(stopped)
    return messages


def is_quiet(now: dt.datetime) -> bool:
    """Whether the clock in the company's zone stands in the quiet hours."""
    if settings.QUIET_HOURS is None:
        return False
    start, end = settings.QUIET_HOURS
    clock = timezone.localtime(now).time()
    return start <= clock < end if start <= end else clock >= start or clock < end


def _speaks_at_night(now: dt.datetime) -> Q:
    """A fresh answer to the customer's own text, and dispatch's word on a delivery within 24 hours."""
    soon = timezone.localtime(now + dt.timedelta(hours=24))
    starts_soon = Q(booking__slot__date__lt=soon.date()) | Q(
        booking__slot__date=soon.date(), booking__slot__window_start__lte=soon.time()
    )
    fresh = now - dt.timedelta(hours=1)
    return Q(kind__in=ANSWERS, queued_at__gte=fresh) | (Q(kind=Kind.TOLD) & starts_soon)


def _first(candidates: OutboundMessageQuerySet, most: int) -> list[_Candidate]:
    if not most:
        return []
    if connection.features.has_select_for_update_skip_locked:
        candidates = candidates.select_for_update(skip_locked=True, of=("self",))
    columns = candidates.values_list("pk", "sender", "msisdn", "claims")
    return _apart([_Candidate(*row) for row in columns[:most]])


def _apart(candidates: list[_Candidate]) -> list[_Candidate]:
    """A text whose last sender stopped is taken alone: if it was the cause, it takes no other with it."""
    if candidates and candidates[0].claims:
        return candidates[:1]
    return [candidate for candidate in candidates if not candidate.claims]
