"""What customers have heard of their deliveries, and why a word has not reached them.

A word is a text that arrived, or one that the customer wrote after and can have read; a choice of theirs; or a call.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.db.models import F, Max, Min, Q, QuerySet
from django.utils import timezone

from bookings.dispatch.bookings import SAID_OFF, TOLD_CANCELLED
from bookings.models import (
    ActKind,
    BatchState,
    Circuit,
    InboundMessage,
    Kind,
    MessageState,
    OutboundMessage,
    Spending,
    StaffAct,
)
from bookings.models.inbound import CHOSEN
from bookings.models.message_states import LOST
from bookings.outbox.claiming import due_now
from bookings.outbox.recipients import find_why_not_texted_each
from bookings.scheduling.clock import is_quiet

#: Texts that say where the delivery stands.
SAYS_WHERE = (Kind.NOTIFICATION, Kind.TOLD, Kind.ACKNOWLEDGEMENT)
#: What is looked at of a text.
_OF_TEXT = (
    *("pk", "booking_id", "idempotency_key", "state", "reason"),
    *("queued_at", "due_at", "call_started_at", "is_held"),
)
#: For so long a receipt may take before somebody should call.
PATIENCE = dt.timedelta(minutes=30)

_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)

#: What nobody has read: words that come after it say nothing of it. Only a choice shows that its notification was read.
UNREAD = {MessageState.QUEUED, MessageState.CANCELLED, *LOST}
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


class _Call(NamedTuple):
    """When somebody told a customer by phone where the delivery stands, or that it is off."""

    at: dt.datetime
    is_off: bool


class Facts:
    """What the customers of these bookings have heard, by the id of each: one query for each table."""

    def __init__(self, numbers: Mapping[int, str]) -> None:
        self._now = timezone.now()
        self._first_heard: dict[int, dt.datetime] = {}
        self._last_read: dict[int, dt.datetime] = {}
        # A number of before is nobody's.
        of_them = {"booking__in": list(numbers), "msisdn": F("booking__msisdn")}
        self._replied: dict[int, dt.datetime] = {}
        self._chose: dict[int, dt.datetime] = {}
        self._last_calls: dict[int, _Call] = {}
        self._look_at_replies(InboundMessage.objects.filter(**of_them))
        self._look_at_calls(StaffAct.objects.filter(kind=ActKind.TOLD_BY_PHONE, **of_them))
        texts = OutboundMessage.objects.filter(kind__in=SAYS_WHERE, **of_them)
        found = texts.with_batch_state().order_by("pk")
        self._texts = self._look_at_texts(found.values_list(*_OF_TEXT, "batch_state", named=True))
        self._never = find_why_not_texted_each(numbers)
        self._waits_for = _what_all_wait_for(self._now)
        self._sends_at_night = self._sendable_at_night()

    def _look_at_replies(self, replies: QuerySet[InboundMessage]) -> None:
        at, is_choice = "received_at", Q(outcome__in=CHOSEN)
        moments = {"first": Min(at), "last": Max(at), "chose": Max(at, filter=is_choice)}
        of_each = replies.order_by().values_list("booking").annotate(**moments)
        for booking, first, last, chose_at in of_each:
            self._first_heard[booking], self._replied[booking] = first, last
            self._chose[booking] = chose_at or _LONG_AGO

    def _look_at_calls(self, calls: QuerySet[StaffAct]) -> None:
        rows = calls.order_by("created_at", "pk").values_list("booking", "created_at", "details")
        for booking, at, details in rows:
            self._hear(booking, at)
            self._last_calls[booking] = _Call(at, is_off=details == SAID_OFF)

    def _look_at_texts(self, texts: Iterable[Any]) -> dict[int, Any]:
        """By booking the last text; one that was cancelled only if no other is there."""
        latest: dict[int, Any] = {}
        for text in texts:
            booking = text.booking_id
            if booking not in latest or text.state != MessageState.CANCELLED:
                latest[booking] = text
            if text.state not in UNREAD:
                self._hear(booking, text.queued_at)
            if self._is_read(text):
                self._last_read[booking] = text.queued_at
        return latest

    def _hear(self, booking: int, at: dt.datetime) -> None:
        """It may have been then that its customer heard of it first."""
        self._first_heard[booking] = min(at, self._first_heard.get(booking, at))

    def why_not(self, booking: Any) -> str:
        """Why its customer does not know where it stands, or "" if they do. It has a `pk` and a `changed_at`."""
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

    def why_not_off(self, booking: int, cancelled_at: dt.datetime) -> str:
        """Why its customer does not know that it is cancelled. Who never heard of it need not, but for those whom no
        text reaches: nobody can tell what they were told otherwise.
        """
        is_told = self._text_since(booking, cancelled_at) is not None
        if not is_told and not self._never[booking] and not self._knew(booking, cancelled_at):
            return ""
        return self._why_in_vain(booking, cancelled_at, "Cancelled")

    def why_waits(self, booking: int, since: dt.datetime, what: str) -> str:
        """Why its customer may wait on a day that it has left since then, by what became of it."""
        return self._why_in_vain(booking, since, what) if self._knew(booking, since) else ""

    def _knew(self, booking: int, before: dt.datetime) -> bool:
        """Whether its customer may have heard of it before that."""
        return booking in self._first_heard and self._first_heard[booking] < before

    def _why_in_vain(self, booking: int, since: dt.datetime, what: str) -> str:
        """ "" if they have heard of it since, or were told before, as the last word, that it is off."""
        since = min(since, self._off_at(booking, self._texts.get(booking)) or since)
        call, moments = self._last_calls.get(booking), (self._last_read, self._chose)
        if any(at.get(booking, _LONG_AGO) >= since for at in moments) or (
            call and call.at >= since
        ):
            return ""
        never, text = self._never[booking], self._text_since(booking, since)
        if text is None:
            return f"{what}, and nobody told them. {never}".strip()
        why = never or self._why_not_arrived(text)
        return f"{what}. {why}" if why else ""

    def _text_since(self, booking: int, since: dt.datetime) -> Any:
        text = self._texts.get(booking)
        return text if text is not None and text.queued_at >= since else None

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
        return text.state == MessageState.DELIVERED or (has_replied and text.state not in UNREAD)

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
        may_go = due_now(self._now).order_by()
        return set(may_go.filter(pk__in=waiting).values_list("pk", flat=True))


def _says_off(text: Any) -> bool:
    return bool(text.idempotency_key.startswith(f"{TOLD_CANCELLED}:"))


def _what_all_wait_for(now: dt.datetime) -> str:
    circuit = Circuit.current()
    if circuit.opened_at:
        return f"sending is paused. {circuit.reason}"
    if Spending.of(timezone.localdate(now)).stopped_at:
        return "today's cap on spending is reached."
    return ""
