"""Customers' texts, read and answered by the product's own rule on facts that are in memory."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings
from django.utils import timezone

from bookings.customers import tickets
from bookings.language import messages
from bookings.language.tokens import DEFAULT_LANGUAGE
from bookings.management.demo.company import Company
from bookings.models import (
    Booking,
    ChangeCause,
    Consent,
    ConsentChange,
    InboundMessage,
    Kind,
    Notification,
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
from bookings.replies.context import Customer, Printed, Standing, latest_asked_at, standing_of
from bookings.replies.measure import SUSPICIOUS_WITHIN, ReplyFacts
from bookings.replies.parser import parse_reply
from bookings.replies.service import ABOUT_TEXTS, Decision, Say, decide, name_of

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
        booked = self.company.bookings[msisdn]
        language = booked[-1].language if booked else DEFAULT_LANGUAGE
        reply = parse_reply(words, language)
        inbound.reading, inbound.rule = name_of(reply), reply.rule
        inbound.matched = reply.matched[:160]
        if not booked:
            unknown = "We know no delivery for this number."
            self._close(inbound, Decision(Outcome.UNKNOWN_SENDER, attention=unknown), at)
            return inbound
        customer = self._customer(msisdn, at)
        meant = customer.find_meant(reply, timezone.localdate(at))
        decision = decide(reply, self._facts(customer, meant, at))
        if decision.outcome in ABOUT_TEXTS:
            self._about_texts(inbound, decision, customer, at)
        else:
            self._about_delivery(inbound, decision, customer, meant, at)
        self._close(inbound, decision, at)
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

    # The facts, as `context.load_customer` and `measure` find them

    def _customer(self, msisdn: str, at: dt.datetime) -> Customer:
        company = self.company
        by_digit: dict[int, SlotOption] = {}
        for asked in company.asked[msisdn]:
            by_digit |= {option.digit: option for option in company.printed[asked.pk]}
        chosen = [text for text in self.received[msisdn] if text.outcome in CHOSEN]
        answered = {text.notification_id: text.received_at for text in chosen}
        printed = tuple(
            Printed(
                option=option,
                standing=standing_of(option, at),
                asked_at=option.notification.handed_over_at or at,
                answered_at=answered.get(option.notification_id),
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

    def _facts(self, customer: Customer, meant: Printed | None, at: dt.datetime) -> ReplyFacts:
        if meant is None:
            return ReplyFacts(customer=customer)
        is_move = meant.standing == Standing.OPEN and not meant.is_present
        left = self._remaining(meant.notification, at) if is_move else []
        answered = {
            text.outcome for text in self.received[customer.msisdn] if text.booking == meant.booking
        }
        moves = self.moves.get(meant.booking.pk, [])
        return ReplyFacts(
            customer=customer,
            meant=meant,
            has_room=is_move and self.company.has_room(meant.option.slot),
            has_others=not is_move or any(o.slot_id != meant.booking.slot_id for o in left),
            was_told_closed=Outcome.CLOSED in answered,
            moves=sum(change.created_at > at - SUSPICIOUS_WITHIN for change in moves),
        )

    def _remaining(self, asked: Notification, at: dt.datetime) -> list[SlotOption]:
        """The options of a notification that can still be had."""
        options = self.company.printed[asked.pk]
        in_time = [option for option in options if option.slot.cutoff_at > at]
        here = asked.booking.slot_id
        return [o for o in in_time if o.slot_id == here or self.company.has_room(o.slot)]

    # What follows

    def _about_delivery(
        self,
        inbound: InboundMessage,
        decision: Decision,
        customer: Customer,
        meant: Printed | None,
        at: dt.datetime,
    ) -> None:
        about = meant or customer.latest
        if about is None:
            return
        inbound.booking, inbound.notification = about.booking, about.notification
        inbound.option = meant.option if meant else None
        inbound.chose = meant.option.meaning if meant else ""
        if decision.outcome == Outcome.MOVED:
            cause = ChangeCause.REPLY
            self.move(about.booking, about.option.slot, at, cause=cause, inbound=inbound)
        if decision.say:
            text = acknowledgements.text_of(decision.say, customer, about, at, self._remaining)
            until = acknowledgements.valid_until(decision.say, customer, about, at)
            self._say(inbound, decision.say, text, at, until, about=about)
        if decision.outcome in CHOSEN:
            self._overtake(inbound, at)

    def _about_texts(
        self, inbound: InboundMessage, decision: Decision, customer: Customer, at: dt.datetime
    ) -> None:
        if decision.outcome != Outcome.HELP:
            self.record_consent(inbound, at, is_opted_out=decision.outcome == Outcome.OPTED_OUT)
        if decision.say:
            latest = customer.latest
            booking = latest.booking if latest else customer.newest_booking
            text = messages.render(decision.say, customer.language, reference=booking.reference)
            self._say(inbound, decision.say, text, at, at + acknowledgements.LIFE)

    def _say(
        self,
        inbound: InboundMessage,
        say: Say,
        text: str,
        at: dt.datetime,
        valid_until: dt.datetime,
        about: Printed | None = None,
    ) -> None:
        company = self.company
        queued_at = at + company.seconds(0.01, 0.04)
        message = company.queue(
            acknowledgements.KINDS.get(say, Kind.ACKNOWLEDGEMENT),
            text,
            queued_at,
            msisdn=inbound.msisdn,
            booking=about.booking if about else None,
            notification=about.notification if about else None,
            in_reply_to=inbound,
            valid_until=valid_until,
            key=lambda: f"reply:{inbound.pk}",
        )
        company.at(
            queued_at + company.seconds(0.05, 0.7), lambda at: company.hand_over(message, at)
        )

    def move(
        self, booking: Booking, slot: Slot, at: dt.datetime, *, cause: ChangeCause, **by: object
    ) -> None:
        """Move a booking as `Booking.move_to` does."""
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
        """Record an opt-out or an opt-in as `Consent.record` does."""
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

    def _close(self, inbound: InboundMessage, decision: Decision, at: dt.datetime) -> None:
        inbound.outcome, inbound.attention = decision.outcome, decision.attention
        if not decision.attention:
            return
        ticket = Ticket(
            kind=decision.ticket or tickets.kind_of(decision.outcome),
            reason=decision.attention,
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


def _answers_in_a_row(
    answers: list[OutboundMessage], chosen: list[InboundMessage], at: dt.datetime
) -> int:
    since = max([at - _DAY, *(text.received_at for text in chosen)])
    recent = (a.in_reply_to for a in answers if a.queued_at > since)
    return sum(reply is not None and reply.outcome not in CHOSEN for reply in recent)
