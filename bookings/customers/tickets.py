"""Opens tickets for what needs a person, and closes them when a later event settles the matter.

A ticket is about one text, in or out. It is opened in the transaction that finds the reason. Locks are taken in one
order: the customer, texts to the customer, consent, tickets.
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

#: Texts that tell a customer the state of a delivery, and texts whose loss a person must know of.
_TELLING = (Kind.NOTIFICATION, Kind.TOLD, Kind.ACKNOWLEDGEMENT)
_MATTERING = (*_TELLING, Kind.STAFF)

#: A receipt is missing this long after the text was handed over, and is looked for until the second time.
NO_RECEIPT_AFTER = dt.timedelta(minutes=30)
_LOOKED_FOR = dt.timedelta(days=4)
_AT_ONCE = 300

#: Phrases in the reasons of tickets about texts of ours.
NOT_DELIVERED = "was not delivered."
NO_RECEIPT_CAME = "was handed over, but has no delivery receipt."

#: Kinds of tickets that a clear choice of the same customer about the same booking settles.
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
    _open(
        Ticket(
            inbound=inbound,
            kind=kind,
            reason=reason,
            msisdn=as_msisdn(inbound.msisdn) or inbound.msisdn,
            booking=inbound.booking or _only_booking(inbound),
        )
    )


def review_outbound(message: OutboundMessage) -> None:
    """Open or close the ticket of a text of ours, as its state requires. The caller holds the lock of its row."""
    if message.kind not in _MATTERING:
        return
    if message.state == MessageState.DELIVERED:
        _close(_mended_by(message))
    elif message.state in {MessageState.ACCEPTED, MessageState.BUFFERED}:
        silent = (TicketKind.UNKNOWN, TicketKind.NO_RECEIPT)
        _close(Ticket.objects.filter(outbound=message, kind__in=silent))
    else:
        _open_if_lost(message)


def _open_if_lost(message: OutboundMessage) -> None:
    if message.state in LOST:
        _open_for_text(message, TicketKind.NOT_SENT, f"{NOT_DELIVERED} {message.reason}")
    elif message.state == MessageState.CANCELLED and message.kind == Kind.STAFF:
        _open_for_text(message, TicketKind.NOT_SENT, f"was not sent: {message.reason}.")
    elif message.state == MessageState.UNKNOWN and not _goes_again(message):
        _open_for_text(message, TicketKind.UNKNOWN, "may not have arrived.")


def cancel_texts_about(booking: Booking, because: str) -> None:
    """Cancel every waiting text about a booking. Texts that staff wrote become tickets.

    The caller holds the locks of the customer and of these texts.
    """
    texts = OutboundMessage.objects.filter(booking=booking)
    written = list(texts.cancellable().filter(kind=Kind.STAFF).values_list("pk", flat=True))
    texts.cancel(because)
    for message in OutboundMessage.objects.filter(pk__in=written) if written else ():
        review_outbound(message)


def report_missing_receipts() -> int:
    """Open a ticket for each text without a receipt half an hour after it was handed over. Return their number."""
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
                _open_for_missing_receipt(message)
    return len(keys)


def close_by_choice(inbound: InboundMessage) -> None:
    """Close older tickets about the same booking that a clear choice settles. The caller has locked the customer."""
    before = Ticket.objects.filter(
        msisdn=as_msisdn(inbound.msisdn), booking=inbound.booking, kind__in=_MENDED_BY_CHOICE
    ).exclude(outbound__kind=Kind.STAFF)
    _close(before.exclude(inbound__received_at__gt=inbound.received_at))


def close_by_opt_out(msisdn: str) -> None:
    """Close the tickets that ask whether the customer wants no more texts: the customer has opted out."""
    _close(Ticket.objects.filter(msisdn=msisdn, kind=TicketKind.WANTS_OUT))


def close_own(inbound: InboundMessage) -> None:
    """Close the ticket of a text that needs nobody any more."""
    _close(Ticket.objects.filter(inbound=inbound))


def close_of_parts(parts: Collection[int]) -> None:
    """Close the tickets of parts (ids of inbound messages) whose text became whole after all."""
    _close(Ticket.objects.filter(inbound__in=parts))


def _is_seen_with_another(piece: InboundMessage) -> bool:
    """Return True if another part of the text has a ticket that is open or was settled after this part came."""
    others = InboundMessage.objects.of_same_text(piece, SAME_TEXT_FOR)
    unsettled = Q(settled_at=None) | Q(settled_at__gt=piece.received_at)
    return Ticket.objects.filter(unsettled, inbound__in=others).exists()


def _only_booking(inbound: InboundMessage) -> Booking | None:
    """Return the only coming delivery of this number, for a text about no notification; None if it has several."""
    coming = Booking.objects.scheduled().filter(
        msisdn=as_msisdn(inbound.msisdn), slot__date__gte=timezone.localdate()
    )
    found = list(coming[:2])
    return found[0] if len(found) == 1 else None


def _open_for_missing_receipt(message: OutboundMessage) -> None:
    if message.state == MessageState.UNKNOWN:
        _open_for_text(message, TicketKind.UNKNOWN, "may not have arrived.")
    else:
        _open_for_text(message, TicketKind.NO_RECEIPT, NO_RECEIPT_CAME)


def _goes_again(message: OutboundMessage) -> bool:
    """Return True if the outbox sends the text once more by itself."""
    return message.kind in SENT_AGAIN and not message.sent_again and not message.never_again


def _open_for_text(message: OutboundMessage, kind: TicketKind, what: str) -> None:
    """Open a ticket about a text, unless a later one that arrived told the customer the state of the delivery."""
    later = OutboundMessage.objects.filter(
        booking=message.booking,
        msisdn=message.msisdn,
        kind__in=_TELLING,
        state=MessageState.DELIVERED,
        pk__gt=message.pk,
    )
    if message.booking_id and message.kind in _TELLING and later.exists():
        return
    _open(
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
    named = (
        f"The message from staff {what}" if message.kind == Kind.STAFF else f"The {label} {what}"
    )
    if message.kind == Kind.TOLD:
        named = f"The message from dispatch {what}"
    return named.strip()[:200]


def _mended_by(message: OutboundMessage) -> TicketQuerySet:
    """Select the tickets that a delivered text settles: its own, and those of older texts about the same delivery."""
    own = Q(outbound=message)
    if message.booking_id and message.kind in _TELLING:
        own |= Q(booking=message.booking, outbound__kind__in=_TELLING, outbound__pk__lt=message.pk)
    return Ticket.objects.filter(own, msisdn=message.msisdn)


def _open(ticket: Ticket) -> None:
    """Store a ticket. If the text has one that is open or overtaken by events, change and reopen that one."""
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


def _close(tickets: TicketQuerySet) -> None:
    waiting = list(tickets.waiting().locked().values_list("pk", flat=True))
    if waiting:
        Ticket.objects.filter(pk__in=waiting).update(
            settlement=Settlement.OVERTAKEN, settled_at=timezone.now()
        )
