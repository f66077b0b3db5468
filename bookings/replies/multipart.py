"""Long texts that come in parts: pieces that are kept until the whole can be read, once.

Vonage does not join them on the SMS API: each part is a message of its own, in any order, with `concat-ref`,
`concat-total` and `concat-part` where the carrier passed them on (developer.vonage.com, "Inbound SMS").
"""

import datetime as dt

from django.db import transaction
from django.utils import timezone

from bookings.customers import tickets
from bookings.models import InboundMessage, Outcome, TicketKind, lock_customer
from bookings.models.fields import as_msisdn
from bookings.models.inbound import SAME_TEXT_FOR, InboundMessageQuerySet

#: How long after its first part a text can become whole.
WITHIN = dt.timedelta(minutes=10)

INCOMPLETE = "Part of a long text that did not become whole within ten minutes."
LATE = "Part of a long text that came too late to be read with the others."

_AT_ONCE = 300


def join(inbound: InboundMessage) -> bool:
    """Whether this part completes its text: then it carries the `whole`, and the other pieces point to it.

    A part that is a repetition of one in a whole text only points to that. The caller has locked the customer: else
    two last parts at the same instant would each miss the other.
    """
    if inbound.type == "binary" or _is_repeated(inbound):
        return False
    others = list(_waiting(inbound, WITHIN).select_for_update(of=("self",)))
    pieces = {(piece.part_number, piece.text) for piece in [inbound, *others]}
    numbers = {number for number, _ in pieces}
    # Two texts under one number could be either: nobody guesses.
    if not len(pieces) == len(numbers) == inbound.part_total:
        return False
    inbound.whole = "".join(text for _, text in sorted(pieces))
    inbound.save(update_fields=["whole"])
    joined = InboundMessage.objects.filter(pk__in=[piece.pk for piece in others])
    joined.update(joined_in=inbound, attention="")
    tickets.overtake_parts(others)
    return True


def attention_for(inbound: InboundMessage) -> str:
    """Why a person must look at a part that completed nothing: it is late. Else ""."""
    if inbound.joined_in_id is not None:
        return ""
    before = inbound.received_at - WITHIN
    return LATE if _waiting(inbound, SAME_TEXT_FOR).filter(received_at__lt=before).exists() else ""


def report_incomplete() -> int:
    """Hand texts that lack a part after ten minutes to a person, each once. Returns how many parts."""
    incomplete = InboundMessage.objects.filter(
        outcome=Outcome.PART,
        joined_in=None,
        attention="",
        received_at__lt=timezone.now() - WITHIN,
    )
    found = list(incomplete.order_by("received_at").values_list("pk", "msisdn")[:_AT_ONCE])
    for pk, msisdn in found:
        with transaction.atomic():
            lock_customer(as_msisdn(msisdn))  # at this very moment another piece may come
            part = incomplete.select_for_update(of=("self",)).filter(pk=pk).first()
            if part is not None:
                part.attention = INCOMPLETE
                part.save(update_fields=["attention"])
                tickets.raise_for_inbound(part, TicketKind.UNCLEAR)
    return len(found)


def _is_repeated(inbound: InboundMessage) -> bool:
    """The gateway tells us again, as another message, of a part that was read: it points to that text."""
    pieces = InboundMessage.objects.of_same_text(inbound, SAME_TEXT_FOR).order_by("pk")
    same = pieces.filter(part_number=inbound.part_number, text=inbound.text)
    read = same.exclude(joined_in=None, whole="").exclude(joined_in=inbound).first()
    if read is None:
        return False
    inbound.joined_in_id = read.joined_in_id or read.pk
    return True


def _waiting(inbound: InboundMessage, within: dt.timedelta) -> InboundMessageQuerySet:
    """The other pieces of the same text that are not yet read."""
    pieces = InboundMessage.objects.of_same_text(inbound, within).order_by("pk")
    return pieces.filter(outcome=Outcome.PART, joined_in=None).exclude(type="binary")
