"""Long texts that arrive in parts: parts are stored until the whole text can be read, once.

Vonage does not join parts on the SMS API. Each part is a message of its own, in any order, with `concat-ref`,
`concat-total` and `concat-part` if the carrier passed them on (developer.vonage.com, "Inbound SMS").
"""

import datetime as dt
from dataclasses import dataclass
from functools import cached_property

from django.db import transaction
from django.utils import timezone

from bookings.customers import tickets
from bookings.models import InboundMessage, Outcome, TicketKind, lock_customer
from bookings.models.fields import as_msisdn
from bookings.models.inbound import SAME_TEXT_FOR

#: A text must be complete within this time of its first part.
WITHIN = dt.timedelta(minutes=10)

INCOMPLETE = "Part of a long message; the rest did not arrive within ten minutes."
LATE = "Part of a long message; it arrived too late to be read with the rest."

_AT_ONCE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One stored part of a long text."""

    pk: int
    number: int
    text: str
    is_binary: bool
    received_at: dt.datetime
    outcome: str
    joined_in: int | None  # the part that completed the text, if another one did
    is_whole: bool  # this part completed the text

    @property
    def is_waiting(self) -> bool:
        """Return True if the part can still be joined with others."""
        return self.outcome == Outcome.PART and self.joined_in is None and not self.is_binary


@dataclass(frozen=True)
class LongText:
    """The text that a part belongs to: the part that just came, and the others, in the order of their ids."""

    part: Piece
    total: int
    others: tuple[Piece, ...]

    @cached_property
    def repeats(self) -> int | None:
        """Return the id of the message that read the text if this part repeats one of its parts, else None.

        The gateway can deliver a part again as another message.
        """
        if self.part.is_binary:
            return None
        for other in self.others:
            is_read = other.is_whole or other.joined_in not in {None, self.part.pk}
            if is_read and (other.number, other.text) == (self.part.number, self.part.text):
                return other.joined_in or other.pk
        return None

    @property
    def waiting(self) -> tuple[Piece, ...]:
        """The other parts that were received near enough to this one to be joined with it."""
        moment = self.part.received_at
        return tuple(
            other
            for other in self.others
            if other.is_waiting and abs(other.received_at - moment) <= WITHIN
        )

    @cached_property
    def whole(self) -> str | None:
        """Return the complete text if this part completes it, else None."""
        if self.part.is_binary or self.repeats is not None:
            return None
        texts = {(piece.number, piece.text) for piece in (self.part, *self.waiting)}
        numbers = {number for number, _ in texts}
        # Two different texts under one part number: either could be right, so nothing is joined.
        if not len(texts) == len(numbers) == self.total:
            return None
        return "".join(text for _, text in sorted(texts))

    @property
    def is_late(self) -> bool:
        """Return True if this part came too late to be joined with a part that waited for it."""
        since = self.part.received_at - WITHIN
        waited = any(other.is_waiting and other.received_at < since for other in self.others)
        return waited and self.repeats is None


def load_long_text(inbound: InboundMessage) -> LongText | None:
    """Load and lock the other parts of a message's text; None if the message is not a part.

    The caller has locked the customer. Why the lock: a number without bookings has no rows to lock.
    """
    if inbound.part_number is None or inbound.part_total is None:
        return None
    others = InboundMessage.objects.of_same_text(inbound, SAME_TEXT_FOR).order_by("pk")
    pieces = tuple(_piece(other) for other in others.select_for_update(of=("self",)))
    return LongText(_piece(inbound), inbound.part_total, pieces)


def _piece(inbound: InboundMessage) -> Piece:
    return Piece(
        pk=inbound.pk,
        number=inbound.part_number or 0,
        text=inbound.text,
        is_binary=inbound.type == "binary",
        received_at=inbound.received_at,
        outcome=inbound.outcome,
        joined_in=inbound.joined_in_id,
        is_whole=bool(inbound.whole),
    )


def report_incomplete() -> int:
    """Open tickets for texts that still lack a part after ten minutes. Return the number of parts reported."""
    incomplete = InboundMessage.objects.filter(
        outcome=Outcome.PART,
        joined_in=None,
        is_incomplete=False,
        received_at__lt=timezone.now() - WITHIN,
    )
    found = list(incomplete.order_by("received_at").values_list("pk", "msisdn")[:_AT_ONCE])
    for pk, msisdn in found:
        with transaction.atomic():
            lock_customer(as_msisdn(msisdn))  # at this moment the missing part may come
            part = incomplete.select_for_update(of=("self",)).filter(pk=pk).first()
            if part is not None:
                part.is_incomplete = True
                part.save(update_fields=["is_incomplete"])
                tickets.open_for_inbound(part, TicketKind.UNCLEAR, INCOMPLETE)
    return len(found)
