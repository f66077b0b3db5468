"""Customers' texts, read and answered by the product's own rule on facts that are in memory."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings
from django.utils import timezone

from bookings.language.tokens import DEFAULT_LANGUAGE
from bookings.management.demo.company import Company
from bookings.models import (
    Booking,
    ChangeCause,
    Consent,
    ConsentChange,
    InboundMessage,
    Kind,
    OutboundMessage,
    Outcome,
    Settlement,
    Slot,
    SlotChange,
    SlotOption,
    Ticket,
    TicketKind,
)
from bookings.models.inbound import CHOSEN
from bookings.replies import acknowledgements
from bookings.replies.context import (
    MOVES_WITHIN,
    Customer,
    PrintedOption,
    ReplyContext,
    Standing,
    latest_asked_at,
    standing_of,
)
from bookings.replies.effects import (
    ChangeConsent,
    CloseTickets,
    Decision,
    Effect,
    MoveBooking,
    OpenTicket,
    Say,
    TicketScope,
    columns_of,
)
from bookings.replies.parser import parse_reply
from bookings.replies.rule import decide

_DAY = dt.timedelta(hours=24)
#: What a clear choice settles by itself.
_UNCLEAR = (TicketKind.UNCLEAR, TicketKind.LATE, TicketKind.FULL)


@dataclass(slots=True)
class Replies:
    """Takes customers' texts, and writes down all that follows from each."""

    company: Company
    #: Called with each ticket that a text raises.
    on_ticket: Callable[[Ticket], None]
    received: dict[str, list[InboundMessage]] = field(default_factory=dict)
    moves: dict[int, list[SlotChange]] = field(default_factory=dict)  # by booking id

    def receive(self, msisdn: str, words: str, at: dt.datetime) -> InboundMessage:
        """Take a text: store it, decide, and carry the decision out."""
        inbound = self._store(msisdn, words, at)
        decision = decide(self._context(inbound, at))
        _write_down(decision, inbound)
        for effect in decision.effects:
            self._carry_out(effect, inbound, at)
        return inbound

    def _store(self, msisdn: str, words: str, at: dt.datetime) -> InboundMessage:
        company = self.company
        message_id = company.gateway_id()
        moment = at - company.seconds(0.1, 0.9)
        kind = "text" if words.isascii() else "unicode"
        inbound = InboundMessage(
            gateway_message_id=message_id,
            msisdn=msisdn,
            virtual_number=settings.VONAGE_NUMBERS[0],
            text=words,
            type=kind,
            sent_at=moment.replace(microsecond=0),
            received_at=at,
            raw={
                "api-key": settings.VONAGE_API_KEY or "simulator",
                "msisdn": msisdn,
                "to": settings.VONAGE_NUMBERS[0],
                "type": kind,
                "message-timestamp": f"{moment:%Y-%m-%d %H:%M:%S}",
                "messageId": message_id,
                "text": words,
                "keyword": words.split(maxsplit=1)[0].upper(),
            },
        )
        company.ledger.inbound.append(inbound)
        self.received.setdefault(msisdn, []).append(inbound)
        return inbound

    # The context, as `context.load` finds it

    def _context(self, inbound: InboundMessage, at: dt.datetime) -> ReplyContext:
        customer = self._customer(inbound.msisdn, at)
        closed = (t for t in self.received[inbound.msisdn] if t.outcome == Outcome.CLOSED)
        return ReplyContext(
            now=at,
            text=inbound.text,
            reply=parse_reply(inbound.text, customer.language if customer else DEFAULT_LANGUAGE),
            type=inbound.type,
            virtual_number=inbound.virtual_number,
            received_at=at,
            customer=customer,
            told_closed=frozenset(text.booking_id for text in closed if text.booking_id),
            moves={
                booking: sum(change.created_at > at - MOVES_WITHIN for change in changes)
                for booking, changes in self.moves.items()
            },
        )

    def _customer(self, msisdn: str, at: dt.datetime) -> Customer | None:
        company = self.company
        if not company.bookings[msisdn]:
            return None
        by_digit: dict[int, SlotOption] = {}
        for asked in company.asked[msisdn]:
            by_digit |= {option.digit: option for option in company.printed[asked.pk]}
        chosen = [text for text in self.received[msisdn] if text.outcome in CHOSEN]
        answered = {text.notification_id: text.received_at for text in chosen}
        printed = tuple(
            PrintedOption(
                option=option,
                standing=standing_of(option, at),
                asked_at=option.notification.handed_over_at or at,
                answered_at=answered.get(option.notification_id),
                has_room=self._has_room(option),
            )
            for _, option in sorted(by_digit.items())
        )
        open_since = latest_asked_at(line for line in printed if line.standing == Standing.OPEN)
        answers = self._automatic_answers(msisdn)
        return Customer(
            msisdn=msisdn,
            printed=printed,
            newest_booking=company.bookings[msisdn][-1],
            is_opted_out=msisdn in company.opted_out,
            was_prompted=open_since is not None
            and any(a.kind == Kind.RE_PROMPT and a.queued_at >= open_since for a in answers),
            answers_in_a_row=_answers_in_a_row(answers, chosen, at),
        )

    def _automatic_answers(self, msisdn: str) -> list[OutboundMessage]:
        kinds = (Kind.ACKNOWLEDGEMENT, Kind.RE_PROMPT)
        texts = (text for text in self.company.texts[msisdn] if text.kind in kinds)
        return [
            text
            for text in texts
            if text.in_reply_to and text.in_reply_to.outcome != Outcome.OPTED_IN
        ]

    def _has_room(self, option: SlotOption) -> bool:
        """Return True if the option's slot has room, counted without the booking itself."""
        slot, booking = option.slot, option.notification.booking
        is_in_it = slot.pk == booking.slot_id
        return slot.capacity is None or self.company.load[slot.pk] - is_in_it < slot.capacity

    # The effects, as `effects.apply` carries them out. No text waits in the queue, so none is cancelled.

    def _carry_out(self, effect: Effect, inbound: InboundMessage, at: dt.datetime) -> None:
        match effect:
            case ChangeConsent(is_opted_out):
                self.record_consent(inbound, at, is_opted_out=is_opted_out)
            case MoveBooking(booking, slot):
                self.move(booking, slot, at, cause=ChangeCause.REPLY, inbound=inbound)
            case Say():
                self._say(inbound, effect, at)
            case CloseTickets(scope=TicketScope.SETTLED_BY_CHOICE):
                self._overtake(inbound, at)
            case OpenTicket(kind, reason):
                self._open_ticket(inbound, kind, reason, at)

    def _say(self, inbound: InboundMessage, say: Say, at: dt.datetime) -> None:
        company = self.company
        queued_at = at + company.seconds(0.01, 0.04)
        message = company.queue(
            acknowledgements.KINDS.get(say.answer, Kind.ACKNOWLEDGEMENT),
            say.text,
            queued_at,
            msisdn=inbound.msisdn,
            booking=say.booking,
            notification=say.notification,
            in_reply_to=inbound,
            valid_until=say.valid_until,
            key=lambda: f"reply:{inbound.pk}",
        )
        company.at(queued_at + company.seconds(0.05, 0.7), company.hand_over, message)

    def move(
        self, booking: Booking, slot: Slot, at: dt.datetime, *, cause: ChangeCause, **by: object
    ) -> None:
        """Move a booking as `move_booking` does."""
        company = self.company
        change = SlotChange(
            booking=booking, from_slot=booking.slot, to_slot=slot, cause=cause, created_at=at, **by
        )
        company.ledger.changes.append(change)
        self.moves.setdefault(booking.pk, []).append(change)
        company.load[booking.slot_id] -= 1
        company.load[slot.pk] += 1
        booking.slot, booking.changed_at = slot, at
        company.ledger.changed_bookings[booking.pk] = booking

    def record_consent(
        self, inbound: InboundMessage, at: dt.datetime, *, is_opted_out: bool, **by: object
    ) -> None:
        """Record an opt-out or an opt-in as `consent.change` does."""
        company, msisdn = self.company, inbound.msisdn
        consent = company.ledger.consents.setdefault(msisdn, Consent(msisdn=msisdn))
        if consent.is_opted_out == is_opted_out:
            return
        consent.is_opted_out = is_opted_out
        (company.opted_out.add if is_opted_out else company.opted_out.discard)(msisdn)
        company.ledger.consent_changes.append(
            ConsentChange(
                msisdn=msisdn,
                is_opted_out=is_opted_out,
                words=inbound.text[:200],
                inbound=inbound,
                created_at=at,
                **by,
            )
        )

    def _overtake(self, inbound: InboundMessage, at: dt.datetime) -> None:
        """A clear choice settles what was unclear before it about the same booking."""
        for ticket in self.company.ledger.tickets:
            is_mended = ticket.booking == inbound.booking and ticket.kind in _UNCLEAR
            if is_mended and ticket.msisdn == inbound.msisdn and ticket.settled_at is None:
                ticket.settlement, ticket.settled_at = Settlement.OVERTAKEN, at

    def _open_ticket(
        self, inbound: InboundMessage, kind: TicketKind, reason: str, at: dt.datetime
    ) -> None:
        ticket = Ticket(
            kind=kind,
            reason=reason,
            msisdn=inbound.msisdn,
            booking=inbound.booking or self._only_booking(inbound.msisdn, at),
            inbound=inbound,
            raised_at=at,
        )
        self.company.ledger.tickets.append(ticket)
        self.on_ticket(ticket)

    def _only_booking(self, msisdn: str, at: dt.datetime) -> Booking | None:
        today = timezone.localdate(at)
        coming = [
            b for b in self.company.bookings[msisdn] if b.is_scheduled and b.slot.date >= today
        ]
        return coming[0] if len(coming) == 1 else None


def _write_down(decision: Decision, inbound: InboundMessage) -> None:
    for column, value in columns_of(decision).items():
        setattr(inbound, column, value)


def _answers_in_a_row(
    answers: list[OutboundMessage], chosen: list[InboundMessage], at: dt.datetime
) -> int:
    since = max([at - _DAY, *(text.received_at for text in chosen)])
    recent = (a.in_reply_to for a in answers if a.queued_at > since)
    return sum(reply is not None and reply.outcome not in CHOSEN for reply in recent)
