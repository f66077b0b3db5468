"""The actions of a person on a ticket: take it, choose an option for the customer, answer, phone, set it aside.

Whoever acts becomes the owner of all open tickets of that number, so that no customer gets answers from two people.
Each action is one transaction that locks the customer and the tickets.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from bookings import outbox
from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.dispatch import notices
from bookings.dispatch.notices import News
from bookings.language import encoding
from bookings.models import (
    ActKind,
    Booking,
    Consent,
    Kind,
    Notification,
    OutboundMessage,
    Settlement,
    SlotOption,
    StaffAct,
    Ticket,
    TicketKind,
    lock_customer,
)
from bookings.models.fields import as_msisdn
from bookings.models.outbound import IN_OUR_HANDS
from bookings.models.tickets import TicketQuerySet
from bookings.outbox.recipients import find_why_not_texted
from bookings.reporting.timeline import moment
from bookings.reporting.timeline.steps import full_name

#: After this time a colleague may take over a ticket that somebody else has taken.
KEPT_FOR = dt.timedelta(hours=1)

#: The rows that are read with a ticket.
RELATED = ("booking__slot", "inbound", "outbound", "owner", "settled_by")

#: The most SMS parts of an answer.
MOST_PARTS = 5

#: An answer is worth sending for at least this time.
_LIFE = dt.timedelta(hours=24)

#: Tickets of these kinds stay open when another ticket about the same booking is settled.
_SETTLED_ALONE = (TicketKind.WANTS_OUT, TicketKind.SUSPICIOUS, TicketKind.BROKEN)


class CannotAct(Exception):
    """This person cannot do this with the ticket now. The text is a sentence for staff."""


def take(ticket: Ticket, user: User) -> None:
    """Make this person the owner of all open tickets of the same number. Raises CannotAct."""
    with _acting(ticket, user, is_taking=True) as current:
        mine = _of_same_number(current).filter(owner=user)
        if not mine.filter(pk=current.pk).exists():
            _own(current, user)
            _record(ActKind.TOOK, current, user, current.booking)


def let_go(ticket: Ticket, user: User) -> None:
    """Give up the tickets of this number that this person has taken. Raises CannotAct."""
    with _acting(ticket, user) as current:
        _of_same_number(current).filter(owner=user).update(owner=None, taken_at=None)


def choose_option(ticket: Ticket, option: SlotOption, user: User, *, seen: int = 0) -> bool:
    """Move the booking to an option's slot and text the customer. Raises CannotAct.

    Returns False if the booking was moved and the customer cannot be texted: the ticket stays open until they are told
    by phone. `seen` is the id of the last ticket of this number that the person saw.
    """
    with _acting(ticket, user) as current:
        booking = _booking_of(option, current)
        try:
            change = dispatch.move(booking, option.slot, user=user)
        except dispatch.CannotBook as error:
            raise CannotAct(str(error)) from None
        if change is None and booking.slot.ends_at <= timezone.now():
            raise CannotAct(f"Slot has passed: {booking.slot}.")
        texts = OutboundMessage.objects.filter(booking=booking)
        texts.cancel_reminders(notices.SPOKEN_TO)
        _own(current, user)
        _record(ActKind.APPLIED, current, user, booking, f"option {option.digit}")
        try:
            notices.send_notice(booking, News.CHOSEN if change else News.KEPT, user=user)
        except notices.CannotTell:
            return False
        _settle(current, user, Settlement.APPLIED, seen=seen)
    return True


def answer_by_text(
    ticket: Ticket, words: str, user: User, *, nonce: str, seen: int = 0
) -> OutboundMessage | None:
    """Queue an answer in the words of a person. Returns None if the form `nonce` sent one before. Raises CannotAct."""
    key = f"answer:{ticket.pk}:{nonce}"
    text = compose_text(words)
    with transaction.atomic():
        _locked(ticket)
        if OutboundMessage.objects.filter(idempotency_key=key).exists():
            return None
        with _acting(ticket, user) as current:
            if reason := why_not_answered(current) or _why_not_sent(words):
                raise CannotAct(reason)
            booking = current.booking
            ends = [booking.slot.ends_at] if booking else []
            message = outbox.queue(
                Kind.STAFF,
                text,
                key=key,
                msisdn=current.msisdn,
                sender=_sender(current),
                booking=booking,
                user=user,
                valid_until=max([timezone.now() + _LIFE, *ends]),
            )
            _own(current, user)
            _record(ActKind.ANSWERED, current, user, booking)
            _settle(current, user, Settlement.ANSWERED, seen=seen)
    return message


def told_by_phone(ticket: Ticket, user: User, *, seen: int = 0) -> None:
    """Record that this person has told the customer by phone. Raises CannotAct."""
    with _acting(ticket, user) as current:
        _own(current, user)
        booking = current.booking
        if booking is not None and booking.msisdn == current.msisdn:
            notices.record_phone_call(booking, user)
        else:
            texts = OutboundMessage.objects.filter(msisdn=current.msisdn)
            texts.cancel_reminders(notices.SPOKEN_TO)
            _record(ActKind.TOLD_BY_PHONE, current, user, booking)
        _settle(current, user, Settlement.TOLD_BY_PHONE, seen=seen)


def set_aside(ticket: Ticket, user: User) -> None:
    """Settle a ticket about which nobody needs to do anything. Raises CannotAct."""
    with _acting(ticket, user) as current:
        _own(current, user)
        _record(ActKind.SET_ASIDE, current, user, current.booking)
        _settle(current, user, Settlement.NOT_FOR_US, seen=0)


def opt_out(ticket: Ticket, user: User) -> None:
    """Opt out a customer who asked for no more texts in words of their own. Raises CannotAct."""
    with _acting(ticket, user) as current:
        inbound = current.inbound
        if inbound is None or current.kind != TicketKind.WANTS_OUT or not as_msisdn(current.msisdn):
            raise CannotAct("This ticket is not an opt-out request.")
        consent.change_by_text(inbound, current.msisdn, is_opted_out=True, user=user)
        _own(current, user)
        _record(ActKind.CONSENT, current, user, current.booking, "opted out")
        same = _of_same_number(current).filter(kind=TicketKind.WANTS_OUT)
        same.update(settlement=Settlement.OVERTAKEN, settled_at=timezone.now(), settled_by=user)


def compose_text(words: str) -> str:
    """The answer as the customer gets it: on one line, beginning with the company's name."""
    said, company = " ".join(words.split()), settings.COMPANY_NAME
    return said if said.casefold().startswith(f"{company}:".casefold()) else f"{company}: {said}"


def why_not_answered(ticket: Ticket) -> str:
    """The reason why a ticket cannot be answered by text, as a sentence for staff; "" if it can."""
    if not as_msisdn(ticket.msisdn):
        return "This is not a phone number and cannot be texted."
    return find_why_not_texted(ticket.msisdn)


def why_not_mine(ticket: Ticket, user: User) -> str:
    """The reason why this person may not act on a ticket, naming its owner; "" if they may."""
    if ticket.settled_at is not None:
        how = Settlement(ticket.settlement).label
        by = f" by {full_name(ticket.settled_by)}" if ticket.settled_by else ""
        return f"Closed{by} on {moment(ticket.settled_at)}: {how}."
    other = _of_same_number(ticket).exclude(owner=None).exclude(owner=user).first()
    if other is None:
        return ""
    since = moment(other.taken_at or other.raised_at)
    return f"Assigned to {full_name(other.owner)} since {since}."


def may_take_over(ticket: Ticket, user: User) -> bool:
    """Return True if nobody else owns tickets of this number, or if they were taken so long ago that others may."""
    recent = timezone.now() - KEPT_FOR
    others = _of_same_number(ticket).exclude(owner=None).exclude(owner=user)
    return ticket.settled_at is None and not others.filter(taken_at__gt=recent).exists()


@contextmanager
def _acting(ticket: Ticket, user: User, *, is_taking: bool = False) -> Iterator[Ticket]:
    """Give the ticket as it is now, locked with all rows that an action touches. Raises CannotAct."""
    with transaction.atomic():
        current = _locked(ticket)
        is_free = is_taking and may_take_over(current, user)
        if not is_free and (reason := why_not_mine(current, user)):
            raise CannotAct(f"{reason} Nothing was changed.")
        yield current


def _locked(ticket: Ticket) -> Ticket:
    """Lock the customer, texts to them, their consent and their tickets, in the order that all code keeps."""
    booking = ticket.booking
    lock_customer(ticket.msisdn, *([booking.msisdn] if booking else []))
    to_them = OutboundMessage.objects.filter(msisdn=ticket.msisdn)
    mine = Q(state__in=IN_OUR_HANDS) | Q(ticket__settled_at=None, ticket__isnull=False)
    list(to_them.filter(mine).locked().values_list("pk", flat=True))
    list(Consent.objects.filter(msisdn=ticket.msisdn).select_for_update())
    same = Q(settled_at=None, msisdn=ticket.msisdn)
    list(Ticket.objects.filter(same | Q(pk=ticket.pk)).locked().values_list("pk", flat=True))
    return Ticket.objects.select_related(*RELATED).get(pk=ticket.pk)


def _of_same_number(ticket: Ticket) -> TicketQuerySet:
    """The open tickets of the same number, this one included."""
    return Ticket.objects.waiting().filter(msisdn=ticket.msisdn)


def _own(ticket: Ticket, user: User) -> None:
    others = _of_same_number(ticket).exclude(owner=user)
    others.update(owner=user, taken_at=timezone.now())


def _settle(ticket: Ticket, user: User, how: Settlement, *, seen: int) -> None:
    """Settle this ticket, and those of the same number and booking that the person saw beside it."""
    beside = Q(booking=ticket.booking_id, pk__lte=seen) & ~Q(kind__in=_SETTLED_ALONE)
    settled = _of_same_number(ticket).filter(Q(pk=ticket.pk) | beside)
    settled.update(settlement=how, settled_at=timezone.now(), settled_by=user)


def _record(
    kind: ActKind, ticket: Ticket, user: User, booking: Booking | None, details: str = ""
) -> None:
    StaffAct.objects.create(
        kind=kind,
        user=user,
        msisdn=ticket.msisdn,
        booking=booking,
        details=f"needs attention {ticket.pk}: {details or ticket.get_kind_display()}",
    )


def _booking_of(option: SlotOption, ticket: Ticket) -> Booking:
    """The booking that the option is about. Raises CannotAct if it is no longer this customer's to move."""
    booking = Booking.objects.select_related("slot").get(notifications=option.notification_id)
    reasons = (
        (
            not ticket.msisdn == option.msisdn == booking.msisdn,
            "The phone number of this booking has changed. Open the booking.",
        ),
        (not booking.is_scheduled, "This delivery is cancelled. Open the booking."),
    )
    for applies, reason in reasons:
        if applies:
            raise CannotAct(reason)
    return booking


def _why_not_sent(words: str) -> str:
    if not words.strip():
        return "Write a message first."
    parts = encoding.count_parts(compose_text(words))
    if parts > MOST_PARTS:
        return f"Too long: {parts} SMS parts, at most {MOST_PARTS}."
    return ""


def _sender(ticket: Ticket) -> str:
    """Our number that the customer wrote to, or else the one that asked last."""
    written_to = as_msisdn(ticket.inbound.virtual_number) if ticket.inbound else ""
    is_ours = written_to in settings.VONAGE_NUMBERS
    return written_to if is_ours else notices.sender_for(ticket.msisdn)


def list_notifications(ticket: Ticket) -> list[Notification]:
    """The notifications that can be answered for this customer: the open ones, or else the last about this booking."""
    asked = Notification.objects.filter(msisdn=ticket.msisdn).select_related(
        "booking__slot", "slot"
    )
    found = list(asked.open().order_by("pk"))
    if ticket.booking_id and all(row.booking_id != ticket.booking_id for row in found):
        found += asked.filter(booking=ticket.booking_id).order_by("-pk")[:1]
    return found
