"""The work of the demo's dispatchers: they see to tickets, move and cancel deliveries, and tell customers."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.utils import timezone

from bookings.customers import tickets
from bookings.dispatch.notices import News, notice_text, phone_call_details
from bookings.dispatch.ticket_actions import compose_text
from bookings.language import messages
from bookings.management.demo.company import Company
from bookings.management.demo.replies import Replies
from bookings.models import (
    ActKind,
    Booking,
    BookingState,
    ChangeCause,
    Kind,
    OutboundMessage,
    Settlement,
    Slot,
    StaffAct,
    Ticket,
    TicketKind,
)
from bookings.models.keys import new_key
from bookings.outbox.delivery_receipts import why_lost
from bookings.outbox.recipients import why_not_texted

_LIFE = dt.timedelta(hours=24)
_OPENS, _ENDS = dt.time(7, 30), dt.time(18, 30)
#: What they write, by kind of ticket.
_WRITTEN: Mapping[str, tuple[str, ...]] = {
    TicketKind.UNCLEAR: (
        "thanks for your message. The driver rings before coming; the time stays as planned.",
        "your parcel stays on the day you have. Call us if that does not suit you.",
    ),
    TicketKind.STRANGER: ("we find no parcel for your number. Please send us its reference.",),
}


@dataclass(slots=True)
class Staff:
    """Sees to what the machine leaves to people, during office hours."""

    company: Company
    replies: Replies = field(init=False)
    #: Numbers whose tickets nobody has settled yet, and of these the ones that somebody has taken.
    left_alone: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.replies = Replies(self.company, on_ticket=self.see_to)
        self.company.on_lost = self.lose
        self.company.on_silent = self.miss_receipt

    @property
    def dispatcher(self) -> User:
        return self.company.users["dispatch"]

    # Tickets

    def lose(self, message: OutboundMessage, at: dt.datetime) -> None:
        """A text did not arrive: say why, and raise the ticket for it."""
        message.reason = why_lost(self.company.bad_phones[message.msisdn].err_code)
        what = f"{tickets.NOT_DELIVERED} {message.reason}"
        self._raise(message, TicketKind.NOT_SENT, what, at)

    def miss_receipt(self, message: OutboundMessage, at: dt.datetime) -> None:
        """No receipt came for half an hour."""
        self._raise(message, TicketKind.NO_RECEIPT, tickets.NO_RECEIPT_CAME, at)

    def _raise(
        self, message: OutboundMessage, kind: TicketKind, what: str, at: dt.datetime
    ) -> None:
        ticket = Ticket(
            kind=kind,
            reason=tickets.reason_about(message, what),
            msisdn=message.msisdn,
            booking=message.booking,
            outbound=message,
            raised_at=at,
        )
        self.company.ledger.tickets.append(ticket)
        self.see_to(ticket)

    def see_to(self, ticket: Ticket) -> None:
        """Let somebody see to a ticket within two hours, or the next morning."""
        if ticket.msisdn in self.taken:
            soon = ticket.raised_at + self.company.seconds(300, 1200)
            self.company.at(soon, self.take, ticket)
        if ticket.msisdn not in self.left_alone:
            at = self._office_hour(ticket.raised_at + self.company.seconds(300, 7200))
            self.company.at(at, self._settle, ticket)

    def _office_hour(self, moment: dt.datetime) -> dt.datetime:
        local = timezone.localtime(moment)
        if _OPENS <= local.time() < _ENDS:
            return moment
        day = local.date() + dt.timedelta(days=local.time() >= _ENDS)
        opens = timezone.make_aware(dt.datetime.combine(day, _OPENS))
        return opens.astimezone(dt.UTC) + self.company.seconds(60, 5400)

    def _settle(self, ticket: Ticket, at: dt.datetime) -> None:
        if ticket.settled_at is not None:
            return
        ways: dict[str, Callable[[Ticket, dt.datetime], None]] = {
            TicketKind.UNCLEAR: self.answer,
            TicketKind.STRANGER: self.answer,
            TicketKind.WANTS_OUT: self._opt_out,
            TicketKind.SUSPICIOUS: self._set_aside,
        }
        act = ways.get(ticket.kind, self.phone)
        is_in_vain = act == self.answer and self._why_not_texted(ticket.msisdn)
        (self.phone if is_in_vain else act)(ticket, at)

    def _why_not_texted(self, msisdn: str) -> str:
        return why_not_texted(msisdn, is_opted_out=msisdn in self.company.opted_out)

    def take(self, ticket: Ticket, at: dt.datetime) -> None:
        """Take what waits of this number, and do nothing yet."""
        self._own(ticket, at)
        self._write_down(ActKind.TOOK, ticket, at)

    def answer(self, ticket: Ticket, at: dt.datetime) -> None:
        """Answer in own words."""
        company, booking = self.company, ticket.booking
        words = company.chance.choice(_WRITTEN[ticket.kind])
        nonce = new_key()
        message = company.queue(
            Kind.STAFF,
            compose_text(words),
            at,
            msisdn=ticket.msisdn,
            booking=booking,
            user=self.dispatcher,
            valid_until=max(at + _LIFE, booking.slot.ends_at if booking else at),
            key=lambda: f"answer:{ticket.pk}:{nonce}",
        )
        company.hand_over(message, at + company.seconds(0.1, 0.8))
        self._own(ticket, at)
        self._write_down(ActKind.ANSWERED, ticket, at)
        self._end(ticket, at, Settlement.ANSWERED)

    def phone(self, ticket: Ticket, at: dt.datetime) -> None:
        """Call the customer, and write that down."""
        self._own(ticket, at)
        if ticket.booking is not None:
            self._note_call(ticket.booking, at)
        else:
            self._write_down(ActKind.TOLD_BY_PHONE, ticket, at)
        self._end(ticket, at, Settlement.TOLD_BY_PHONE)

    def _set_aside(self, ticket: Ticket, at: dt.datetime) -> None:
        self._own(ticket, at)
        self._write_down(ActKind.SET_ASIDE, ticket, at)
        self._end(ticket, at, Settlement.NOT_FOR_US)

    def _opt_out(self, ticket: Ticket, at: dt.datetime) -> None:
        if ticket.inbound is not None:
            user = self.dispatcher
            self.replies.record_consent(ticket.inbound, at, is_opted_out=True, user=user)
        self._own(ticket, at)
        self._write_down(ActKind.CONSENT, ticket, at, "opted out")
        self._end(ticket, at, Settlement.OVERTAKEN)

    def _own(self, ticket: Ticket, at: dt.datetime) -> None:
        """Whoever acts owns all that waits of this number."""
        for each in self.company.ledger.tickets:
            if each.msisdn == ticket.msisdn and each.settled_at is None:
                each.owner, each.taken_at = self.dispatcher, at

    def _end(self, ticket: Ticket, at: dt.datetime, how: Settlement) -> None:
        ticket.settlement, ticket.settled_at, ticket.settled_by = how, at, self.dispatcher

    def _write_down(
        self, kind: ActKind, ticket: Ticket, at: dt.datetime, details: str = ""
    ) -> None:
        act = self._act(kind, at, msisdn=ticket.msisdn, booking=ticket.booking)
        what = details or ticket.get_kind_display()
        name = (act, "details", lambda: f"needs attention {ticket.pk}: {what}")
        self.company.ledger.named_later.append(name)

    def _note_call(self, booking: Booking, at: dt.datetime) -> None:
        self._act(
            ActKind.TOLD_BY_PHONE,
            at,
            msisdn=booking.msisdn,
            booking=booking,
            told_state=booking.state,
            details=phone_call_details(booking),
        )

    def _act(self, kind: ActKind, at: dt.datetime, **about: object) -> StaffAct:
        act = StaffAct(kind=kind, user=self.dispatcher, created_at=at, **about)
        self.company.ledger.acts.append(act)
        return act

    # Deliveries

    def move(self, booking: Booking, slot: Slot, at: dt.datetime) -> None:
        """Move a delivery, and tell the customer."""
        self.company.withdraw(booking, at, f"moved to {slot}")
        self.replies.move(booking, slot, at, cause=ChangeCause.STAFF, user=self.dispatcher)
        self._tell(booking, News.MOVED, at)

    def cancel(self, booking: Booking, at: dt.datetime) -> None:
        """Cancel a delivery, and tell the customer."""
        company = self.company
        company.withdraw(booking, at, "cancelled")
        booking.state = BookingState.CANCELLED
        booking.cancelled_at, booking.cancelled_by = at, self.dispatcher
        company.load[booking.slot_id] -= 1
        company.ledger.changed_bookings[booking.pk] = booking
        details = str(booking.slot)
        self._act(ActKind.CALLED_OFF, at, msisdn=booking.msisdn, booking=booking, details=details)
        self._tell(booking, News.CANCELLED, at)

    def _tell(self, booking: Booking, news: News, at: dt.datetime) -> None:
        """By SMS, or by phone where no text may go."""
        company = self.company
        if self._why_not_texted(booking.msisdn):
            self._note_call(booking, at)
            return
        where = messages.where(booking.slot, booking.language)
        message = company.queue(
            Kind.TOLD,
            notice_text(booking, where, news),
            at,
            msisdn=booking.msisdn,
            booking=booking,
            user=self.dispatcher,
            valid_until=max(booking.slot.ends_at, at + _LIFE),
            key=f"told:{new_key()}",
        )
        company.hand_over(message, at + company.seconds(0.1, 0.8))
