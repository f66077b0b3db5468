"""What a reply is measured against: what the customer was asked, and what we know of the option that is meant."""

import datetime as dt
from dataclasses import dataclass, replace

from bookings.models import (
    ChangeCause,
    InboundMessage,
    MessageState,
    OutboundMessage,
    Outcome,
    Slot,
)
from bookings.replies.context import Customer, Printed, Standing
from bookings.replies.screening import Doubt
from bookings.scheduling import offers

SUSPICIOUS_WITHIN = dt.timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFacts:
    """What a reply is measured against: all that this customer was asked, and the one option that is meant."""

    customer: Customer
    meant: Printed | None = None
    doubt: Doubt | None = None  # why the text is not read as a choice
    has_room: bool = False  # in the slot that is meant, for this booking
    has_others: bool = True  # slots of the same facts, besides the one that the booking is in
    is_overtaken: bool = False  # replayed, and the customer has made a newer choice since
    was_told_closed: bool = False  # about this booking
    moves: int = 0  # of this booking by replies, in the last ten minutes


def measure(
    inbound: InboundMessage,
    customer: Customer,
    meant: Printed | None,
    doubt: Doubt | None,
    now: dt.datetime,
) -> ReplyFacts:
    """Look up what the rule may ask about the option that is meant, and lock the slots. The customer is locked."""
    if meant is None:
        return ReplyFacts(customer=customer, doubt=doubt)
    _lock_slots(meant)
    return replace(
        glance(customer, meant, now), doubt=doubt, is_overtaken=_is_overtaken(inbound, meant)
    )


def glance(customer: Customer, meant: Printed, now: dt.datetime) -> ReplyFacts:
    """The same for a reply that nobody sent: nothing is locked, so nobody may act on it."""
    has_room, has_others = _room(meant, now)
    return ReplyFacts(
        customer=customer,
        meant=meant,
        has_room=has_room,
        has_others=has_others,
        was_told_closed=meant.standing == Standing.CLOSED and _was_told_closed(customer, meant),
        moves=_count_moves(meant, now),
    )


def _is_overtaken(inbound: InboundMessage, meant: Printed) -> bool:
    """A message on which our rule failed is replayed, and the notification has a newer answer."""
    answered_at = meant.answered_at
    has_newer = answered_at is not None and inbound.received_at < answered_at
    return has_newer and inbound.outcome == Outcome.ERROR


def _is_a_move(meant: Printed) -> bool:
    return meant.standing == Standing.OPEN and not meant.is_present


def _lock_slots(meant: Printed) -> None:
    """The slot that the booking is in, and the one that is meant."""
    if _is_a_move(meant):
        slots = Slot.objects.filter(pk__in=[meant.option.slot_id, meant.booking.slot_id])
        list(slots.locked())


def _room(meant: Printed, now: dt.datetime) -> tuple[bool, bool]:
    """Whether the slot that is meant has room, and if not, whether others have."""
    if not _is_a_move(meant):
        return False, True
    booking, slot_id = meant.booking, meant.option.slot_id
    if offers.free([Slot.objects.get(pk=slot_id)], booking):
        return True, True
    left = offers.remaining(meant.notification, now)
    return False, any(option.slot_id != booking.slot_id for option in left)


def _was_told_closed(customer: Customer, meant: Printed) -> bool:
    told = OutboundMessage.objects.filter(
        booking=meant.booking, msisdn=customer.msisdn, in_reply_to__outcome=Outcome.CLOSED
    )
    return told.exclude(state=MessageState.CANCELLED).exists()


def _count_moves(meant: Printed, now: dt.datetime) -> int:
    by_reply = meant.booking.slot_changes.filter(cause=ChangeCause.REPLY)
    return by_reply.filter(created_at__gt=now - SUSPICIOUS_WITHIN).count()
