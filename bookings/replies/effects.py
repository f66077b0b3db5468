"""The effects that the rule can decide, as values, and `apply`, which makes every write that a reply causes."""

import datetime as dt
import enum
import logging
from dataclasses import dataclass
from typing import Any, TypeAlias

from bookings import outbox
from bookings.customers import consent, tickets
from bookings.models import (
    Booking,
    ChangeCause,
    InboundMessage,
    Kind,
    Notification,
    OutboundMessage,
    Outcome,
    Slot,
    TicketKind,
    move_booking,
)
from bookings.models.fields import as_msisdn
from bookings.replies.acknowledgements import KINDS, Answer
from bookings.replies.context import PrintedOption

logger = logging.getLogger(__name__)

_LONGEST_MATCHED = 160


@dataclass(frozen=True, slots=True)
class CancelTexts:
    """Cancel every waiting text about a booking."""

    booking: Booking
    because: str


@dataclass(frozen=True, slots=True)
class CancelAnswers:
    """Cancel older answers about a booking that still wait: a newer one takes their place."""

    booking: Booking


@dataclass(frozen=True, slots=True)
class CancelReminders:
    """Cancel reminders that wait for this number, about one booking or (None) about any: the customer has written."""

    booking: Booking | None


@dataclass(frozen=True, slots=True)
class ChangeConsent:
    """Opt the number out of our texts, or in again."""

    is_opted_out: bool


@dataclass(frozen=True, slots=True)
class MoveBooking:
    """Move a booking to the slot that the customer chose. The slot is locked and has room."""

    booking: Booking
    slot: Slot


@dataclass(frozen=True, slots=True)
class JoinParts:
    """Mark the other parts of a long text as read with this one. `parts` are ids of inbound messages."""

    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Queue the one answer to the reply, from the number that the customer wrote to."""

    answer: Answer
    text: str
    valid_until: dt.datetime
    booking: Booking | None = None
    notification: Notification | None = None


class TicketScope(enum.StrEnum):
    """Which tickets a reply closes."""

    SETTLED_BY_CHOICE = "settled by choice"  # older ones about the same booking
    OWN = "own"  # of this text, if it is replayed and needs nobody any more


@dataclass(frozen=True, slots=True)
class CloseTickets:
    """Close tickets that this reply has settled."""

    scope: TicketScope


@dataclass(frozen=True, slots=True)
class OpenTicket:
    """Ask a person to look at the text. `reason` is a sentence for staff."""

    kind: TicketKind
    reason: str


Effect: TypeAlias = (
    CancelTexts
    | CancelAnswers
    | CancelReminders
    | ChangeConsent
    | MoveBooking
    | JoinParts
    | Say
    | CloseTickets
    | OpenTicket
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The reading of a text and the delivery that it is about: stored with the message."""

    name: str = ""  # `choice`, `not understood`; "" if it was not read
    rule: str = ""
    matched: str = ""
    whole: str = ""  # the long text that this part completed
    repeats: int | None = None  # the message that read the long text of which this repeats a part
    meant: PrintedOption | None = None  # the option that the text stands for
    about: PrintedOption | None = None  # an option of the notification that the text is about


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a reply, and the effects that carry it out.

    The effects stand in the order of the locks: texts, consent, booking, inbound messages, a new text, tickets.
    """

    outcome: Outcome
    reading: Reading
    effects: tuple[Effect, ...]


def apply(decision: Decision, inbound: InboundMessage) -> None:
    """Store the decision with its message and carry out its effects. The caller holds the locks of `context.load`."""
    _store(decision, inbound)
    for effect in decision.effects:
        _carry_out(effect, inbound)
    logger.info("Inbound SMS %s: %s", inbound.pk, decision.outcome)


def _store(decision: Decision, inbound: InboundMessage) -> None:
    for column, value in columns_of(decision).items():
        setattr(inbound, column, value)
    inbound.save()


def columns_of(decision: Decision) -> dict[str, Any]:
    """Return what is stored with the message: how it was read, what it is about, and its outcome."""
    reading = decision.reading
    about, option = reading.about, reading.meant.option if reading.meant else None
    needs_person = any(isinstance(effect, OpenTicket) for effect in decision.effects)
    return {
        "outcome": decision.outcome,
        "reading": reading.name,
        "rule": reading.rule,
        "matched": reading.matched[:_LONGEST_MATCHED],
        "whole": reading.whole,
        "joined_in_id": reading.repeats,
        "booking": about.booking if about else None,
        "notification": about.notification if about else None,
        "option": option,
        "chose": option.meaning if option else "",
        "is_incomplete": decision.outcome == Outcome.PART and needs_person,
    }


def _carry_out(effect: Effect, inbound: InboundMessage) -> None:
    match effect:
        case CancelTexts(booking, because):
            tickets.cancel_texts_about(booking, because)
        case CancelAnswers(booking):
            older = OutboundMessage.objects.filter(booking=booking, in_reply_to__isnull=False)
            older.cancel("replaced by a newer answer")
        case CancelReminders(about):
            _cancel_reminders(about, inbound)
        case ChangeConsent(is_opted_out):
            consent.change_by_text(inbound, as_msisdn(inbound.msisdn), is_opted_out=is_opted_out)
        case MoveBooking(booking, slot):
            move_booking(booking, slot, ChangeCause.REPLY, inbound=inbound)
        case JoinParts(parts):
            _join(parts, inbound)
        case Say():
            _say(effect, inbound)
        case CloseTickets(scope):
            _close_tickets(scope, inbound)
        case OpenTicket(kind, reason):
            tickets.open_for_inbound(inbound, kind, reason)


def _cancel_reminders(booking: Booking | None, inbound: InboundMessage) -> None:
    waiting = OutboundMessage.objects.filter(msisdn=as_msisdn(inbound.msisdn))
    if booking is not None:
        waiting = waiting.filter(booking=booking)
    waiting.cancel_reminders("the customer has written")


def _close_tickets(scope: TicketScope, inbound: InboundMessage) -> None:
    if scope == TicketScope.OWN:
        tickets.close_own(inbound)
    else:
        tickets.close_by_choice(inbound)


def _join(parts: tuple[int, ...], inbound: InboundMessage) -> None:
    InboundMessage.objects.filter(pk__in=parts).update(joined_in=inbound, is_incomplete=False)
    tickets.close_of_parts(parts)


def _say(say: Say, inbound: InboundMessage) -> None:
    outbox.queue(
        KINDS.get(say.answer, Kind.ACKNOWLEDGEMENT),
        say.text,
        key=f"reply:{inbound.pk}",
        msisdn=as_msisdn(inbound.msisdn),
        sender=as_msisdn(inbound.virtual_number),
        booking=say.booking,
        notification=say.notification,
        in_reply_to=inbound,
        valid_until=say.valid_until,
    )
