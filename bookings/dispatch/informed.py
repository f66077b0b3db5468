"""Which customers have been informed of the present state of their delivery, and why the others have not.

Informed means, since the last change of the booking: a text about it was delivered; or the customer wrote after such a
text and can have read it; or the customer chose the slot; or a person told them by phone.

A day's list also names bookings that are no longer on it, cancelled or moved away, whose customers may still wait.

The rule is `_Knowledge`. `_surely_informed` is the same rule in SQL for the usual case, so that a day of thousands of
bookings is not judged row by row; a test holds the two together. Any number of days takes a fixed number of queries.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import (
    BooleanField,
    Exists,
    ExpressionWrapper,
    F,
    Max,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.formats import date_format

from bookings.models import (
    ActKind,
    BatchState,
    Booking,
    BookingState,
    ChangeCause,
    Circuit,
    InboundMessage,
    Kind,
    MessageState,
    OutboundMessage,
    SlotChange,
    Spending,
    StaffAct,
)
from bookings.models.inbound import CHOSEN
from bookings.models.message_states import LOST
from bookings.outbox.claiming import due_now
from bookings.outbox.recipients import find_why_not_texted_each
from bookings.scheduling.clock import is_quiet

#: A receipt may take this long before a person should phone the customer.
RECEIPT_WITHIN = dt.timedelta(minutes=30)

_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)

#: Texts that tell the state of the delivery.
_INFORMING = (Kind.NOTIFICATION, Kind.TOLD, Kind.ACKNOWLEDGEMENT)
_TEXT_COLUMNS = (
    *("pk", "booking_id", "told_state", "state", "reason"),
    *("queued_at", "due_at", "call_started_at", "is_held"),
)
#: Texts in these states have not been read: what the customer writes after them says nothing about them. Only a choice
#: shows that its notification was read.
_UNREAD = {MessageState.QUEUED, MessageState.CANCELLED, *LOST}
_ON_ITS_WAY = {MessageState.SUBMITTED, MessageState.ACCEPTED, MessageState.BUFFERED}
_REASONS: dict[str, str] = {
    MessageState.SENDING: "Message is being sent.",
    MessageState.UNKNOWN: "It is unknown whether the message was sent.",
    MessageState.CANCELLED: "Message cancelled:",
    MessageState.EXPIRED: "Message expired: the phone could not be reached.",
    MessageState.FAILED: "Message failed.",
    MessageState.REJECTED: "Message rejected by the network.",
    MessageState.DELIVERED: "",
}

_BOOKING_COLUMNS = ("pk", "msisdn", "changed_at", "cancelled_at", "slot__date")
_MOVE_COLUMNS = (
    *("booking", "booking__msisdn", "booking__cancelled_at", "booking__slot__date"),
    "from_slot__date",
)


@dataclass(frozen=True, slots=True)
class NotInformed:
    """A booking whose customer has not been informed, and why, as a sentence for staff."""

    booking: Booking
    reason: str


class _Listed(NamedTuple):
    """A line of one day's list. `booking` is an id; no `reason` means that the customer has been informed."""

    day: dt.date
    booking: int
    reason: str


def list_not_informed(day: dt.date) -> list[NotInformed]:
    """Return the bookings of a day whose customers have not been informed, by window and reference.

    Also those that were cancelled, or moved to another day, if their customers may still wait for them.
    """
    listed = _list([day])
    found = Booking.objects.select_related("slot").in_bulk([line.booking for line in listed])
    named = [
        NotInformed(found[line.booking], line.reason) for line in listed if line.booking in found
    ]
    return sorted(named, key=lambda one: (one.booking.slot.window_start, one.booking.reference))


def count_not_informed(days: Collection[dt.date]) -> Counter[dt.date]:
    """Count the lines of `list_not_informed` for each of these days."""
    return Counter(line.day for line in _list(days))


def is_not_informed(booking: Booking) -> bool:
    """Return True if the list of the booking's day names it. If the list of another day does, this one does too."""
    return bool(_judge(Booking.objects.filter(pk=booking.pk), SlotChange.objects.none()))


def _list(days: Collection[dt.date]) -> list[_Listed]:
    # A customer who chose another day by reply knows it.
    moves = SlotChange.objects.filter(from_slot__date__in=days).exclude(cause=ChangeCause.REPLY)
    return _judge(
        Booking.objects.filter(slot__date__in=days),
        moves.exclude(booking__slot__date=F("from_slot__date")),
    )


def _judge(bookings: QuerySet[Booking], moves: QuerySet[SlotChange]) -> list[_Listed]:
    """Return the lines for these bookings, and for bookings that these moves took to another day."""
    in_doubt = bookings.exclude(Q(_surely_informed()), state=BookingState.SCHEDULED).order_by()
    here: list[Any] = list(in_doubt.values_list(*_BOOKING_COLUMNS, named=True))
    away = moves.exclude(to_slot__date=F("from_slot__date")).order_by()
    last_moves = away.values(*_MOVE_COLUMNS).annotate(left_at=Max("created_at"))
    gone: list[Any] = list(last_moves.values_list(*_MOVE_COLUMNS, "left_at", named=True))
    numbers = {row.booking: row.booking__msisdn for row in gone}
    knowledge = _Knowledge(numbers | {row.pk: row.msisdn for row in here})
    lines = (*_lines_on_day(knowledge, here), *_lines_of_gone(knowledge, gone))
    return [line for line in lines if line.reason]


def _lines_on_day(knowledge: "_Knowledge", rows: list[Any]) -> Iterator[_Listed]:
    for row in rows:
        if row.cancelled_at:
            reason = knowledge.why_unaware_of_cancellation(row.pk, row.cancelled_at)
        else:
            reason = knowledge.why_not_informed(row.pk, row.changed_at)
        yield _Listed(row.slot__date, row.pk, reason)


def _lines_of_gone(knowledge: "_Knowledge", rows: list[Any]) -> Iterator[_Listed]:
    for row in rows:
        since, change = (
            row.left_at,
            f"Moved to {date_format(row.booking__slot__date, 'D j M')} since",
        )
        if row.booking__cancelled_at:
            since, change = min(since, row.booking__cancelled_at), "Cancelled"
        reason = knowledge.why_still_waiting(row.booking, since, change)
        yield _Listed(row.from_slot__date, row.booking, reason)


def _surely_informed() -> Coalesce:
    """The condition under which a scheduled booking's customer has surely been informed.

    The last text about the booking was delivered, or the customer wrote after it; the booking was not changed since;
    and nobody has told the customer since by phone that it is cancelled.
    """
    replies = InboundMessage.objects.filter(
        booking=OuterRef("booking"),
        msisdn=OuterRef("msisdn"),
        received_at__gt=OuterRef("queued_at"),
    )
    told_cancelled = StaffAct.objects.filter(
        kind=ActKind.TOLD_BY_PHONE,
        told_state=BookingState.CANCELLED,
        booking=OuterRef("booking"),
        msisdn=OuterRef("msisdn"),
        created_at__gt=OuterRef("queued_at"),
    )
    is_read = Q(state=MessageState.DELIVERED) | (Exists(replies) & ~Q(state__in=_UNREAD))
    informs = (
        (is_read | Exists(replies.filter(outcome__in=CHOSEN)))
        & Q(queued_at__gte=Coalesce(OuterRef("changed_at"), F("queued_at")))
        & ~Q(told_state=BookingState.CANCELLED)
        & ~Exists(told_cancelled)
    )
    texts = OutboundMessage.objects.filter(
        kind__in=_INFORMING, booking=OuterRef("pk"), msisdn=OuterRef("msisdn")
    ).exclude(state=MessageState.CANCELLED)
    latest = texts.order_by("-pk").values_list(ExpressionWrapper(informs, BooleanField()))[:1]
    return Coalesce(Subquery(latest), Value(value=False))


class _Call(NamedTuple):
    """A phone call in which a person told the customer the state of the delivery."""

    at: dt.datetime
    told_cancelled: bool


class _Knowledge:
    """The knowledge of the customers of these bookings, read with one query for each table.

    `numbers` holds each booking's phone number by the booking's id. What was said to an earlier number of a booking
    does not count.
    """

    def __init__(self, numbers: Mapping[int, str]) -> None:
        self._now = timezone.now()
        self._first_informed: dict[int, dt.datetime] = {}
        self._last_read: dict[int, dt.datetime] = {}
        self._replied: dict[int, dt.datetime] = {}
        self._chose: dict[int, dt.datetime] = {}
        self._last_calls: dict[int, _Call] = {}
        about = {"booking__in": list(numbers), "msisdn": F("booking__msisdn")}
        self._read_replies(InboundMessage.objects.filter(**about))
        self._read_calls(StaffAct.objects.filter(kind=ActKind.TOLD_BY_PHONE, **about))
        texts = OutboundMessage.objects.filter(kind__in=_INFORMING, **about)
        rows = texts.with_batch_state().order_by("pk")
        self._texts = self._read_texts(rows.values_list(*_TEXT_COLUMNS, "batch_state", named=True))
        self._not_texted = find_why_not_texted_each(numbers)
        self._paused_because = _why_sending_is_paused(self._now)
        self._sent_in_quiet_hours = self._find_sent_in_quiet_hours()

    def _read_replies(self, replies: QuerySet[InboundMessage]) -> None:
        at, is_choice = "received_at", Q(outcome__in=CHOSEN)
        moments = {"first": Min(at), "last": Max(at), "chose": Max(at, filter=is_choice)}
        rows = replies.order_by().values_list("booking").annotate(**moments)
        for booking, first, last, chose_at in rows:
            self._first_informed[booking], self._replied[booking] = first, last
            self._chose[booking] = chose_at or _LONG_AGO

    def _read_calls(self, calls: QuerySet[StaffAct]) -> None:
        rows = calls.order_by("created_at", "pk").values_list("booking", "created_at", "told_state")
        for booking, at, told_state in rows:
            self._note_informed(booking, at)
            self._last_calls[booking] = _Call(at, told_state == BookingState.CANCELLED)

    def _read_texts(self, texts: Iterable[Any]) -> dict[int, Any]:
        """Return the last text about each booking. A cancelled text counts only if there is no other."""
        latest: dict[int, Any] = {}
        for text in texts:
            booking = text.booking_id
            if booking not in latest or text.state != MessageState.CANCELLED:
                latest[booking] = text
            if text.state not in _UNREAD:
                self._note_informed(booking, text.queued_at)
            if self._is_read(text):
                self._last_read[booking] = text.queued_at
        return latest

    def _note_informed(self, booking: int, at: dt.datetime) -> None:
        """Note that the customer may have been informed for the first time at this moment."""
        self._first_informed[booking] = min(at, self._first_informed.get(booking, at))

    def why_not_informed(self, booking: int, changed_at: dt.datetime | None) -> str:
        """Why the customer of a scheduled booking, last moved at `changed_at`, is not informed; "" if they are."""
        text = self._texts.get(booking)
        if self._is_informed(booking, text, changed_at):
            return ""
        if reason := self._not_texted[booking]:
            return reason
        if self._told_cancelled_at(booking, text):
            return "Was told it is cancelled; since reinstated."
        if text is None:
            return "Not notified yet."
        if changed_at is not None and text.queued_at < changed_at:
            return "Moved since; not told."
        return self._why_not_arrived(text)

    def why_unaware_of_cancellation(self, booking: int, cancelled_at: dt.datetime) -> str:
        """Why the customer does not know that the booking is cancelled; "" if they know, or need not.

        Customers who were never informed of the booking do not need to be told. Exception: numbers that cannot be
        texted, because we cannot know what they were told by phone.
        """
        was_told = self._text_since(booking, cancelled_at) is not None
        can_be_texted = not self._not_texted[booking]
        if not was_told and can_be_texted and not self._was_informed(booking, cancelled_at):
            return ""
        return self._why_unaware(booking, cancelled_at, "Cancelled")

    def why_still_waiting(self, booking: int, since: dt.datetime, change: str) -> str:
        """Why the customer may wait on a day that the booking left at `since`; "" if they know, or never knew of it.

        `change` names what happened to the booking.
        """
        return (
            self._why_unaware(booking, since, change) if self._was_informed(booking, since) else ""
        )

    def _was_informed(self, booking: int, before: dt.datetime) -> bool:
        """Return True if the customer may have been informed of the booking before this moment."""
        return booking in self._first_informed and self._first_informed[booking] < before

    def _why_unaware(self, booking: int, since: dt.datetime, change: str) -> str:
        """Why the customer does not know of a change at `since`. A last word that it is cancelled covers it."""
        since = min(since, self._told_cancelled_at(booking, self._texts.get(booking)) or since)
        call, moments = self._last_calls.get(booking), (self._last_read, self._chose)
        if any(at.get(booking, _LONG_AGO) >= since for at in moments) or (
            call and call.at >= since
        ):
            return ""
        not_texted, text = self._not_texted[booking], self._text_since(booking, since)
        if text is None:
            return f"{change}; not told. {not_texted}".strip()
        reason = not_texted or self._why_not_arrived(text)
        return f"{change}. {reason}" if reason else ""

    def _text_since(self, booking: int, since: dt.datetime) -> Any:
        text = self._texts.get(booking)
        return text if text is not None and text.queued_at >= since else None

    def _is_informed(self, booking: int, text: Any, changed_at: dt.datetime | None) -> bool:
        """Count what was said since the last change, or since the customer was told that it is cancelled."""
        cancelled_at = self._told_cancelled_at(booking, text)
        since = max((at for at in (changed_at, cancelled_at) if at is not None), default=_LONG_AGO)
        call, chose_at = self._last_calls.get(booking), self._chose.get(booking, _LONG_AGO)
        if call is not None and not call.told_cancelled and call.at >= since:
            return True
        if text is None or _tells_cancelled(text):
            return False
        # The acknowledgement of a choice is a text after it, which must arrive in its turn.
        if chose_at > text.queued_at and chose_at >= since:
            return True
        return bool(text.queued_at >= since) and self._is_read(text)

    def _is_read(self, text: Any) -> bool:
        """Return True if the text arrived, or if the customer wrote after it and can have read it."""
        has_replied = self._replied.get(text.booking_id, _LONG_AGO) > text.queued_at
        return text.state == MessageState.DELIVERED or (has_replied and text.state not in _UNREAD)

    def _told_cancelled_at(self, booking: int, text: Any) -> dt.datetime | None:
        """The moment at which the customer was told that the booking is cancelled, if nothing was said since."""
        call = self._last_calls.get(booking)
        if call is not None and (text is None or call.at > text.queued_at):
            return call.at if call.told_cancelled else None
        return text.queued_at if text is not None and _tells_cancelled(text) else None

    def _why_not_arrived(self, text: Any) -> str:
        """Why the text has not arrived; "" if it was sent just now and may still arrive."""
        if text.state == MessageState.QUEUED:
            return self._why_queued(text)
        if text.state not in _ON_ITS_WAY:
            return f"{_REASONS[text.state]} {text.reason}".strip()
        sent_at = text.call_started_at or text.queued_at
        is_late = sent_at <= self._now - RECEIPT_WITHIN
        return "Message sent, no delivery receipt." if is_late else ""

    def _why_queued(self, text: Any) -> str:
        if text.is_held:
            return "Message on hold until Ops releases it."
        if text.batch_state == BatchState.PAUSED:
            return "Message queued: its batch is paused."
        if self._paused_because:
            return f"Message queued: {self._paused_because}"
        if text.due_at > self._now:
            return text.reason or "Message queued: will be tried again."
        if is_quiet(self._now) and text.pk not in self._sent_in_quiet_hours:
            return "Message queued until quiet hours end."
        return "Message queued."

    def _find_sent_in_quiet_hours(self) -> set[int]:
        """The queued texts that are sent now although it is quiet hours."""
        queued = [text.pk for text in self._texts.values() if text.state == MessageState.QUEUED]
        if not queued or not is_quiet(self._now):
            return set()
        due = due_now(self._now).order_by()
        return set(due.filter(pk__in=queued).values_list("pk", flat=True))


def _tells_cancelled(text: Any) -> bool:
    return bool(text.told_state == BookingState.CANCELLED)


def _why_sending_is_paused(now: dt.datetime) -> str:
    circuit = Circuit.current()
    if circuit.opened_at:
        return f"sending is paused. {circuit.reason}"
    if Spending.of(timezone.localdate(now)).stopped_at:
        return "the daily spending cap is reached."
    return ""
