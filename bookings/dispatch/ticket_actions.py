"""What a person does about a ticket: take it, choose an option for the customer, answer, phone, set it aside.

Whoever acts owns what waits of that number, so that no customer gets two people's answers. Each act is one transaction
that holds the customer's locks and those of the tickets.
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
from bookings.dispatch.bookings import News
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

#: What is taken stays with whoever took it for so long: after that a colleague may take it over.
KEPT_FOR = dt.timedelta(hours=1)

#: What is read with a ticket.
RELATED = ("booking__slot", "inbound", "outbound", "owner", "settled_by")

#: The most parts of an answer: more is a letter.
MOST_PARTS = 5

#: For how long an answer is worth sending, at least.
_LIFE = dt.timedelta(hours=24)

#: What is not over when something else about the same delivery is settled.
_APART = (TicketKind.WANTS_OUT, TicketKind.SUSPICIOUS, TicketKind.BROKEN)


class CannotAct(Exception):
    """It cannot be done to this ticket by this person now. The text is a sentence for staff."""


def take(ticket: Ticket, user: User) -> None:
    """Make this person the owner of what waits of the same number. Raises CannotAct."""
    with _acting(ticket, user, is_taking=True) as current:
        mine = _of_same_number(current).filter(owner=user)
        if not mine.filter(pk=current.pk).exists():
            _own(current, user)
            _write_down(ActKind.TOOK, current, user, current.booking)


def let_go(ticket: Ticket, user: User) -> None:
    """Leave to the others what one has taken of this number. Raises CannotAct."""
    with _acting(ticket, user) as current:
        _of_same_number(current).filter(owner=user).update(owner=None, taken_at=None)


def apply(ticket: Ticket, option: SlotOption, user: User, *, seen: int = 0) -> bool:
    """Put the booking into an option's slot, and tell the customer. False: it is done, and no text reaches them.

    Then the ticket waits until they are told by phone. `seen` is the last ticket of this number that the person
    saw. Raises CannotAct.
    """
    with _acting(ticket, user) as current:
        booking = _booking_of(option, current)
        try:
            change = dispatch.move(booking, option.slot, user=user)
        except dispatch.CannotBook as error:
            raise CannotAct(str(error)) from None
        if change is None and booking.slot.ends_at <= timezone.now():
            raise CannotAct(f"The slot {booking.slot} is over.")
        dispatch.drop_reminders(booking=booking)
        _own(current, user)
        _write_down(ActKind.APPLIED, current, user, booking, f"option {option.digit}")
        try:
            dispatch.tell(booking, News.CHOSEN if change else News.KEPT, user=user)
        except dispatch.CannotTell:
            return False
        _settle(current, user, Settlement.APPLIED, seen=seen)
    return True


def answer(
    ticket: Ticket, words: str, user: User, *, nonce: str, seen: int = 0
) -> OutboundMessage | None:
    """Queue an answer in a person's own words; None if this form sent one before. Raises CannotAct."""
    key = f"answer:{ticket.pk}:{nonce}"
    text = compose(words)
    with transaction.atomic():
        _locked(ticket)
        if OutboundMessage.objects.filter(idempotency_key=key).exists():
            return None
        with _acting(ticket, user) as current:
            if reason := why_not_answered(current) or _why_not_said(words):
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
            _write_down(ActKind.ANSWERED, current, user, booking)
            _settle(current, user, Settlement.ANSWERED, seen=seen)
    return message


def told_by_phone(ticket: Ticket, user: User, *, seen: int = 0) -> None:
    """Write down that this person has spoken to the customer. Raises CannotAct."""
    with _acting(ticket, user) as current:
        _own(current, user)
        booking = current.booking
        if booking is not None and booking.msisdn == current.msisdn:
            dispatch.told_by_phone(booking, user)
        else:
            dispatch.drop_reminders(msisdn=current.msisdn)
            _write_down(ActKind.TOLD_BY_PHONE, current, user, booking)
        _settle(current, user, Settlement.TOLD_BY_PHONE, seen=seen)


def set_aside(ticket: Ticket, user: User) -> None:
    """Nobody need do anything about it. Raises CannotAct."""
    with _acting(ticket, user) as current:
        _own(current, user)
        _write_down(ActKind.SET_ASIDE, current, user, current.booking)
        _settle(current, user, Settlement.NOT_FOR_US, seen=0)


def opt_out(ticket: Ticket, user: User) -> None:
    """The customer asked in words of their own for no more texts: from now on they get none. Raises CannotAct."""
    with _acting(ticket, user) as current:
        inbound = current.inbound
        if inbound is None or current.kind != TicketKind.WANTS_OUT or not as_msisdn(current.msisdn):
            raise CannotAct("Nobody has asked here for no more texts.")
        consent.change_by_text(inbound, current.msisdn, is_opted_out=True, user=user)
        _own(current, user)
        _write_down(ActKind.CONSENT, current, user, current.booking, "opted out")
        same = _of_same_number(current).filter(kind=TicketKind.WANTS_OUT)
        same.update(settlement=Settlement.OVERTAKEN, settled_at=timezone.now(), settled_by=user)


def compose(words: str) -> str:
    """The answer as the customer gets it: on one line, and it begins with the company's name."""
    said, company = " ".join(words.split()), settings.COMPANY_NAME
    return said if said.casefold().startswith(f"{company}:".casefold()) else f"{company}: {said}"


def why_not_answered(ticket: Ticket) -> str:
    """Why no text can answer it, as a sentence for staff; "" if one can."""
    if not as_msisdn(ticket.msisdn):
        return "This is no phone number, so it cannot be answered."
    return find_why_not_texted(ticket.msisdn)


def why_not_mine(ticket: Ticket, user: User) -> str:
    """Why this person may not act on it, naming who has it; "" if they may."""
    if ticket.settled_at is not None:
        how = Settlement(ticket.settlement).label
        by = f" by {full_name(ticket.settled_by)}" if ticket.settled_by else ""
        return f"This was settled{by} on {moment(ticket.settled_at)}: {how}."
    other = _of_same_number(ticket).exclude(owner=None).exclude(owner=user).first()
    if other is None:
        return ""
    since = moment(other.taken_at or other.raised_at)
    return f"{full_name(other.owner)} has taken this customer over since {since}. Leave it to them, or ask."


def may_take_over(ticket: Ticket, user: User) -> bool:
    """Whether nobody else has this number, or has had it for so long that a colleague may take it over."""
    recent = timezone.now() - KEPT_FOR
    others = _of_same_number(ticket).exclude(owner=None).exclude(owner=user)
    return ticket.settled_at is None and not others.filter(taken_at__gt=recent).exists()


@contextmanager
def _acting(ticket: Ticket, user: User, *, is_taking: bool = False) -> Iterator[Ticket]:
    """The ticket as it is now, locked with all that an act touches, if this person may act on it."""
    with transaction.atomic():
        current = _locked(ticket)
        is_free = is_taking and may_take_over(current, user)
        if not is_free and (reason := why_not_mine(current, user)):
            raise CannotAct(f"{reason} Nothing was done.")
        yield current


def _locked(ticket: Ticket) -> Ticket:
    """In the order that everyone keeps: the customer, texts to them, their consent, what waits of their number."""
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
    """What waits of this number, this one too."""
    return Ticket.objects.waiting().filter(msisdn=ticket.msisdn)


def _own(ticket: Ticket, user: User) -> None:
    others = _of_same_number(ticket).exclude(owner=user)
    others.update(owner=user, taken_at=timezone.now())


def _settle(ticket: Ticket, user: User, how: Settlement, *, seen: int) -> None:
    """This one, and what the person saw beside it of the same number about the same delivery."""
    beside = Q(booking=ticket.booking_id, pk__lte=seen) & ~Q(kind__in=_APART)
    settled = _of_same_number(ticket).filter(Q(pk=ticket.pk) | beside)
    settled.update(settlement=how, settled_at=timezone.now(), settled_by=user)


def _write_down(
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
    """The delivery that the option is about, if it is still this customer's to move. Raises CannotAct."""
    booking = Booking.objects.select_related("slot").get(notifications=option.notification_id)
    reasons = (
        (
            not ticket.msisdn == option.msisdn == booking.msisdn,
            "This delivery has another phone number now: open the booking.",
        ),
        (not booking.is_scheduled, "This delivery is cancelled: open the booking."),
    )
    for applies, reason in reasons:
        if applies:
            raise CannotAct(reason)
    return booking


def _why_not_said(words: str) -> str:
    if not words.strip():
        return "Write something first."
    parts = encoding.count_parts(compose(words))
    if parts > MOST_PARTS:
        return f"This takes {parts} SMS, and an answer may take {MOST_PARTS}: make it shorter."
    return ""


def _sender(ticket: Ticket) -> str:
    """The number of ours that the customer wrote to, or else the one that asked last."""
    written_to = as_msisdn(ticket.inbound.virtual_number) if ticket.inbound else ""
    is_ours = written_to in settings.VONAGE_NUMBERS
    return written_to if is_ours else dispatch.number_for(ticket.msisdn)


def offers(ticket: Ticket) -> list[Notification]:
    """The notifications that can be answered for this customer: the open ones, or else the last about this delivery."""
    asked = Notification.objects.filter(msisdn=ticket.msisdn).select_related(
        "booking__slot", "slot"
    )
    found = list(asked.open().order_by("pk"))
    if ticket.booking_id and all(row.booking_id != ticket.booking_id for row in found):
        found += asked.filter(booking=ticket.booking_id).order_by("-pk")[:1]
    return found
