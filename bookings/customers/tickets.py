"""What needs a person: raised in the transaction that finds it, and settled by itself where a later event mends it.

A ticket is about one text, in or out. Everyone locks a customer first, then texts to them, then their consent, and
tickets last.
"""

import datetime as dt
from collections.abc import Collection

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from bookings.models import (
    Booking,
    InboundMessage,
    Kind,
    MessageState,
    OutboundMessage,
    Outcome,
    Settlement,
    Ticket,
    TicketKind,
)
from bookings.models.fields import as_msisdn
from bookings.models.inbound import SAME_TEXT_FOR
from bookings.models.message_states import LOST
from bookings.models.outbound import SENT_AGAIN
from bookings.models.tickets import TicketQuerySet

#: Texts that tell a customer where a delivery stands, and those whose loss a person must know of.
_TELLING = (Kind.NOTIFICATION, Kind.TOLD, Kind.ACKNOWLEDGEMENT)
_MATTERING = (*_TELLING, Kind.STAFF)

#: So long after a text was handed over its receipt is missed, and so long it is looked for.
NO_RECEIPT_AFTER = dt.timedelta(minutes=30)
_LOOKED_FOR = dt.timedelta(days=4)
_AT_ONCE = 300

#: What the reasons of tickets say of a text.
NOT_DELIVERED = "was not delivered."
NO_RECEIPT_CAME = "was handed over, and no receipt says that it arrived."

#: What the same customer's clear choice about the same booking mends.
_MENDED_BY_CHOICE = (
    *(TicketKind.UNCLEAR, TicketKind.LATE, TicketKind.FULL),
    *(TicketKind.NOT_SENT, TicketKind.UNKNOWN, TicketKind.NO_RECEIPT),
)


def open_for_inbound(inbound: InboundMessage, kind: TicketKind, reason: str) -> None:
    """Open the ticket of a customer's text, or change it if it is open. `reason` is a sentence for staff.

    The parts of a text that is incomplete have one ticket.
    """
    if inbound.outcome == Outcome.PART and _is_seen_with_another(inbound):
        return
    _raise(
        Ticket(
            inbound=inbound,
            kind=kind,
            reason=reason,
            msisdn=as_msisdn(inbound.msisdn) or inbound.msisdn,
            booking=inbound.booking or _only_booking(inbound),
        )
    )


def raise_for_outbound(message: OutboundMessage) -> None:
    """See whether a person must see to a text of ours as it stands now. Its row is locked."""
    if message.kind not in _MATTERING:
        return
    if message.state == MessageState.DELIVERED:
        _overtake(_mended_by(message))
    elif message.state in {MessageState.ACCEPTED, MessageState.BUFFERED}:
        silent = (TicketKind.UNKNOWN, TicketKind.NO_RECEIPT)
        _overtake(Ticket.objects.filter(outbound=message, kind__in=silent))
    else:
        _raise_if_in_vain(message)


def _raise_if_in_vain(message: OutboundMessage) -> None:
    if message.state in LOST:
        _raise_for_text(message, TicketKind.NOT_SENT, f"{NOT_DELIVERED} {message.reason}")
    elif message.state == MessageState.CANCELLED and message.kind == Kind.STAFF:
        _raise_for_text(message, TicketKind.NOT_SENT, f"was not sent: {message.reason}.")
    elif message.state == MessageState.UNKNOWN and not _goes_again(message):
        _raise_for_text(message, TicketKind.UNKNOWN, "may not have arrived: nobody knows.")


def cancel_texts_about(booking: Booking, because: str) -> None:
    """Cancel every text about a booking that waits; a person sees to what a person had written.

    The caller holds the locks of the customer and of these texts.
    """
    texts = OutboundMessage.objects.filter(booking=booking)
    written = list(texts.cancellable().filter(kind=Kind.STAFF).values_list("pk", flat=True))
    texts.cancel(because)
    for message in OutboundMessage.objects.filter(pk__in=written) if written else ():
        raise_for_outbound(message)


def miss_receipts() -> int:
    """Raise a ticket for each text that has had no word for half an hour after it was handed over. How many."""
    now = timezone.now()
    silent = OutboundMessage.objects.filter(
        state__in=[MessageState.SUBMITTED, MessageState.UNKNOWN],
        kind__in=_MATTERING,
        ticket=None,
        call_started_at__lte=now - NO_RECEIPT_AFTER,
        call_started_at__gt=now - _LOOKED_FOR,
        queued_at__gt=now - 2 * _LOOKED_FOR,  # which has an index
    )
    keys = list(silent.order_by("pk").values_list("pk", flat=True)[:_AT_ONCE])
    for pk in keys:
        with transaction.atomic():
            message = silent.filter(pk=pk).locked().first()
            if message is not None:
                _miss(message)
    return len(keys)


def overtake_by_choice(inbound: InboundMessage) -> None:
    """A clear choice mends what was unclear before it about the same booking. The customer is locked."""
    before = Ticket.objects.filter(
        msisdn=as_msisdn(inbound.msisdn), booking=inbound.booking, kind__in=_MENDED_BY_CHOICE
    ).exclude(outbound__kind=Kind.STAFF)
    _overtake(before.exclude(inbound__received_at__gt=inbound.received_at))


def overtake_by_opt_out(msisdn: str) -> None:
    """Whoever has opted out need not be asked whether they want to."""
    _overtake(Ticket.objects.filter(msisdn=msisdn, kind=TicketKind.WANTS_OUT))


def overtake_own(inbound: InboundMessage) -> None:
    """Close the ticket of a text that needs nobody any more."""
    _overtake(Ticket.objects.filter(inbound=inbound))


def overtake_parts(parts: Collection[int]) -> None:
    """Close the tickets of parts (ids of inbound messages) whose text became whole after all."""
    _overtake(Ticket.objects.filter(inbound__in=parts))


def _is_seen_with_another(piece: InboundMessage) -> bool:
    """Another piece of the same text waits for a person, or one saw to that after this piece had come."""
    others = InboundMessage.objects.of_same_text(piece, SAME_TEXT_FOR)
    unsettled = Q(settled_at=None) | Q(settled_at__gt=piece.received_at)
    return Ticket.objects.filter(unsettled, inbound__in=others).exists()


def _only_booking(inbound: InboundMessage) -> Booking | None:
    """The one delivery that this number waits for, though the text is about no notification. None if it has several."""
    coming = Booking.objects.scheduled().filter(
        msisdn=as_msisdn(inbound.msisdn), slot__date__gte=timezone.localdate()
    )
    found = list(coming[:2])
    return found[0] if len(found) == 1 else None


def _miss(message: OutboundMessage) -> None:
    if message.state == MessageState.UNKNOWN:
        _raise_for_text(message, TicketKind.UNKNOWN, "may not have arrived: nobody knows.")
    else:
        _raise_for_text(message, TicketKind.NO_RECEIPT, NO_RECEIPT_CAME)


def _goes_again(message: OutboundMessage) -> bool:
    """Whether the outbox will send it once more by itself."""
    return message.kind in SENT_AGAIN and not message.sent_again and not message.never_again


def _raise_for_text(message: OutboundMessage, kind: TicketKind, what: str) -> None:
    """Unless a later text has told the customer where the same delivery stands."""
    later = OutboundMessage.objects.filter(
        booking=message.booking,
        msisdn=message.msisdn,
        kind__in=_TELLING,
        state=MessageState.DELIVERED,
        pk__gt=message.pk,
    )
    if message.booking_id and message.kind in _TELLING and later.exists():
        return
    _raise(
        Ticket(
            outbound=message,
            kind=kind,
            reason=reason_about(message, what),
            msisdn=message.msisdn,
            booking=message.booking,
        )
    )


def reason_about(message: OutboundMessage, what: str) -> str:
    """Return the reason of a ticket about a text of ours; `what` is the sentence without its subject."""
    label = Kind(message.kind).label
    named = f"What staff wrote {what}" if message.kind == Kind.STAFF else f"The {label} {what}"
    if message.kind == Kind.TOLD:
        named = f"What dispatch told {what}"
    return named.strip()[:200]


def _mended_by(message: OutboundMessage) -> TicketQuerySet:
    """What a text that arrived has mended: its own ticket, and older texts on where the same delivery stands."""
    own = Q(outbound=message)
    if message.booking_id and message.kind in _TELLING:
        own |= Q(booking=message.booking, outbound__kind__in=_TELLING, outbound__pk__lt=message.pk)
    return Ticket.objects.filter(own, msisdn=message.msisdn)


def _raise(ticket: Ticket) -> None:
    """Store it; one about the same text that waits, or was overtaken, says this from now on."""
    about = {"inbound": ticket.inbound, "outbound": ticket.outbound}
    fields = {
        name: getattr(ticket, name) for name in ("kind", "reason", "msisdn", "booking", "raised_at")
    }
    stored, is_new = Ticket.objects.get_or_create(**about, defaults=fields)
    if is_new or (stored.settled_at and stored.settlement != Settlement.OVERTAKEN):
        return
    if stored.settled_at is None:
        del fields["raised_at"]
    else:
        fields |= {"owner": None, "taken_at": None, "settled_by": None}
    rows = Ticket.objects.filter(pk=stored.pk)
    rows.update(**fields, settlement="", settled_at=None)


def _overtake(tickets: TicketQuerySet) -> None:
    waiting = list(tickets.waiting().locked().values_list("pk", flat=True))
    if waiting:
        Ticket.objects.filter(pk__in=waiting).update(
            settlement=Settlement.OVERTAKEN, settled_at=timezone.now()
        )
