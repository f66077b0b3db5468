"""Who does not know where a delivery of a day stands, and why.

Reached is whose latest text that says so was delivered after the last change, who wrote after it and can have read
it, or whom somebody told by phone. A fixed number of queries for a whole day.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import (
    BooleanField,
    Exists,
    ExpressionWrapper,
    F,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from bookings.dispatch import SAID_OFF, TOLD_CANCELLED, why_not_told_each
from bookings.models import (
    ActKind,
    BatchState,
    Booking,
    Circuit,
    InboundMessage,
    Kind,
    MessageState,
    OutboundMessage,
    Spending,
    StaffAct,
)
from bookings.models.messages import CHOSEN
from bookings.models.standing import LOST
from bookings.outbox.claiming import is_quiet, sendable

#: Texts that say where the delivery stands.
_SAYS_WHERE = (Kind.NOTIFICATION, Kind.TOLD, Kind.ACKNOWLEDGEMENT)
#: What is looked at of a text.
_OF_TEXT = (
    *("pk", "booking_id", "idempotency_key", "state", "reason"),
    *("queued_at", "due_at", "call_started_at", "is_held"),
)
#: For so long a receipt may take before somebody should call.
PATIENCE = dt.timedelta(minutes=30)

_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)

#: What nobody has read: words that come after it say nothing of it. Only a choice shows that its question was read.
_UNREAD = {MessageState.QUEUED, MessageState.CANCELLED, *LOST}
_ON_ITS_WAY = {MessageState.SUBMITTED, MessageState.ACCEPTED, MessageState.BUFFERED}
_SAYS: dict[str, str] = {
    MessageState.SENDING: "Its text is being sent.",
    MessageState.UNKNOWN: "Nobody knows whether its text left us.",
    MessageState.CANCELLED: "Its text was cancelled before it left:",
    MessageState.EXPIRED: "Its text expired: the phone could not be reached in time.",
    MessageState.FAILED: "Its text failed.",
    MessageState.REJECTED: "Its text was refused by the network.",
    MessageState.DELIVERED: "",
}


@dataclass(frozen=True, slots=True)
class Unreached:
    """A delivery whose customer does not know of it, and why, as a sentence for staff."""

    booking: Booking
    reason: str


def unreached(day: dt.date) -> list[Unreached]:
    """The scheduled deliveries of a day whose customers were not reached, by window and reference."""
    judged = _judged(Booking.objects.scheduled().on(day))
    found = Booking.objects.select_related("slot").in_bulk([row.pk for row, _ in judged])
    return [Unreached(found[row.pk], reason) for row, reason in judged if row.pk in found]


def count_unreached(days: Iterable[dt.date]) -> Counter[dt.date]:
    """How many `unreached` lists for each of these days: the same rule, so that the two are always equal."""
    judged = _judged(Booking.objects.scheduled().filter(slot__date__in=days))
    return Counter(row.slot__date for row, _ in judged)


def is_unreached(booking: Booking) -> bool:
    return bool(_judged(Booking.objects.scheduled().filter(pk=booking.pk)))


def _judged(bookings: QuerySet[Booking]) -> list[tuple[Any, str]]:
    """Who was not reached, and why, in order. Most customers were, as the database can see by itself."""
    in_doubt = bookings.exclude(_has_heard()).order_by("slot__window_start", "reference")
    rows: list[Any] = list(
        in_doubt.values_list("pk", "msisdn", "changed_at", "slot__date", named=True)
    )
    facts = _Facts(rows)
    judged = [(row, facts.why_not(row)) for row in rows]
    return [(row, reason) for row, reason in judged if reason]


def _has_heard() -> Coalesce:
    """Who was surely reached, by the rule of `_Facts`, which looks at all others one by one.

    The last text that says where the delivery stands, as `_latest` finds it, arrived, or the customer wrote after it;
    the delivery is where it was, and nobody has said since that it is off.
    """
    replies = InboundMessage.objects.filter(
        booking=OuterRef("booking"),
        msisdn=OuterRef("msisdn"),
        received_at__gt=OuterRef("queued_at"),
    )
    said_off = StaffAct.objects.filter(
        kind=ActKind.TOLD_BY_PHONE,
        details=SAID_OFF,
        booking=OuterRef("booking"),
        msisdn=OuterRef("msisdn"),
        created_at__gt=OuterRef("queued_at"),
    )
    is_read = Q(state=MessageState.DELIVERED) | (Exists(replies) & ~Q(state__in=_UNREAD))
    has_said = (
        (is_read | Exists(replies.filter(outcome__in=CHOSEN)))
        & Q(queued_at__gte=Coalesce(OuterRef("changed_at"), F("queued_at")))
        & ~Q(idempotency_key__startswith=f"{TOLD_CANCELLED}:")
        & ~Exists(said_off)
    )
    texts = OutboundMessage.objects.filter(
        kind__in=_SAYS_WHERE, booking=OuterRef("pk"), msisdn=OuterRef("msisdn")
    ).exclude(state=MessageState.CANCELLED)
    latest = texts.order_by("-pk").values_list(ExpressionWrapper(has_said, BooleanField()))[:1]
    return Coalesce(Subquery(latest), Value(value=False))


class _Call(NamedTuple):
    """When somebody told a customer by phone where the delivery stands, or that it is off."""

    at: dt.datetime
    is_off: bool


class _Facts:
    """What is known of these bookings, given as `pk`, `msisdn` and `changed_at`: one query for each table."""

    def __init__(self, bookings: Collection[Any]) -> None:
        self._now = timezone.now()
        of_them = {"booking__in": [booking.pk for booking in bookings]}
        own_number = {"msisdn": F("booking__msisdn")}  # a number of before is nobody's
        replies = InboundMessage.objects.filter(**of_them, **own_number).order_by()
        self._replied = dict(replies.values_list("booking").annotate(Max("received_at")))
        chosen = replies.filter(outcome__in=CHOSEN)
        self._chose = dict(chosen.values_list("booking").annotate(Max("received_at")))
        by_phone = StaffAct.objects.filter(kind=ActKind.TOLD_BY_PHONE, **of_them, **own_number)
        calls = by_phone.order_by("created_at", "pk")
        self._last_calls = {
            booking: _Call(at, is_off=details == SAID_OFF)
            for booking, at, details in calls.values_list("booking", "created_at", "details")
        }
        texts = OutboundMessage.objects.filter(kind__in=_SAYS_WHERE, **of_them, **own_number)
        self._texts = _latest(
            texts.annotate(batch_state=F("notification__batch_entry__batch__state"))
            .order_by("pk")
            .values_list(*_OF_TEXT, "batch_state", named=True)
        )
        self._never = why_not_told_each({booking.pk: booking.msisdn for booking in bookings})
        self._waits_for = _what_all_wait_for(self._now)
        self._sends_at_night = self._sendable_at_night()

    def why_not(self, booking: Any) -> str:
        """Why its customer does not know, or "" if they do."""
        text, changed_at = self._texts.get(booking.pk), booking.changed_at
        if self._is_reached(booking.pk, text, changed_at):
            return ""
        if never := self._never[booking.pk]:
            return never
        if self._off_at(booking.pk, text):
            return "Was told that it is cancelled, and it is planned again since."
        if text is None:
            return "Not asked yet."
        if changed_at is not None and text.queued_at < changed_at:
            return "Moved since, and nobody told them."
        return self._why_not_arrived(text)

    def _is_reached(self, booking: int, text: Any, changed_at: dt.datetime | None) -> bool:
        """A word counts from the last change on, or from when somebody took the delivery back."""
        off_at = self._off_at(booking, text)
        since = max((at for at in (changed_at, off_at) if at is not None), default=_LONG_AGO)
        call, chose_at = self._last_calls.get(booking), self._chose.get(booking, _LONG_AGO)
        if call is not None and not call.is_off and call.at >= since:
            return True
        if text is None or _says_off(text):
            return False
        # The answer to a choice is a text after it, which must arrive in its turn.
        if chose_at > text.queued_at and chose_at >= since:
            return True
        return bool(text.queued_at >= since) and self._is_read(text)

    def _is_read(self, text: Any) -> bool:
        """It arrived, or the customer wrote after it and can have read it."""
        has_replied = self._replied.get(text.booking_id, _LONG_AGO) > text.queued_at
        return text.state == MessageState.DELIVERED or (has_replied and text.state not in _UNREAD)

    def _off_at(self, booking: int, text: Any) -> dt.datetime | None:
        """When its customer was told that it is off, if nothing was said since."""
        call = self._last_calls.get(booking)
        if call is not None and (text is None or call.at > text.queued_at):
            return call.at if call.is_off else None
        return text.queued_at if text is not None and _says_off(text) else None

    def _why_not_arrived(self, text: Any) -> str:
        """ "" if it has just left us and may still arrive."""
        if text.state == MessageState.QUEUED:
            return self._why_waiting(text)
        if text.state not in _ON_ITS_WAY:
            return f"{_SAYS[text.state]} {text.reason}".strip()
        left_at = text.call_started_at or text.queued_at
        is_late = left_at <= self._now - PATIENCE
        return "Its text was sent, but no receipt says that it arrived." if is_late else ""

    def _why_waiting(self, text: Any) -> str:
        if text.is_held:
            return "Its text is held until Ops release it."
        if text.batch_state == BatchState.PAUSED:
            return "Its text waits: its batch is paused."
        if self._waits_for:
            return f"Its text waits: {self._waits_for}"
        if text.due_at > self._now:
            return text.reason or "Its text waits to be tried again."
        if is_quiet(self._now) and text.pk not in self._sends_at_night:
            return "Its text waits for the end of the quiet hours."
        return "Its text waits to be sent."

    def _sendable_at_night(self) -> set[int]:
        """Which of the waiting texts go all the same."""
        waiting = [text.pk for text in self._texts.values() if text.state == MessageState.QUEUED]
        if not waiting or not is_quiet(self._now):
            return set()
        may_go = sendable(self._now).order_by()
        return set(may_go.filter(pk__in=waiting).values_list("pk", flat=True))


def _says_off(text: Any) -> bool:
    return bool(text.idempotency_key.startswith(f"{TOLD_CANCELLED}:"))


def _latest(texts: Iterable[Any]) -> dict[int, Any]:
    """By booking the last text; one that was cancelled only if no other is there."""
    latest: dict[int, Any] = {}
    for text in texts:
        before = latest.get(text.booking_id)
        if before is None or text.state != MessageState.CANCELLED:
            latest[text.booking_id] = text
    return latest


def _what_all_wait_for(now: dt.datetime) -> str:
    circuit = Circuit.current()
    if circuit.opened_at:
        return f"sending is paused. {circuit.reason}"
    if Spending.of(timezone.localdate(now)).stopped_at:
        return "today's cap on spending is reached."
    return ""
