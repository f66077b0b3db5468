"""Everything that was said with one number, in and out, in the order in which it was said."""

import datetime as dt
from dataclasses import dataclass

from bookings.models import InboundMessage, Kind, MessageState, OutboundMessage, Outcome, Ticket
from bookings.models.message_states import LOST
from bookings.reporting.timeline.steps import full_name, visible

#: The latest texts that are shown, in and out.
MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One text. Its words are somebody else's: to be escaped where they are shown."""

    at: dt.datetime
    text: str
    is_theirs: bool
    about: str  # the reference of its booking
    state: str  # where a text of ours stands, or what our rule made of one of theirs
    reason: str = ""  # why it failed, or why a person must look at it
    who: str = ""  # a member of staff
    is_bad: bool = False


def thread(ticket: Ticket) -> list[Said]:
    """The texts with the number of a ticket, oldest first; the pieces of a long one as one."""
    numbers = {ticket.msisdn}
    if ticket.inbound is not None:
        numbers.add(ticket.inbound.msisdn)  # as it came, maybe with a plus
    theirs = InboundMessage.objects.filter(msisdn__in=numbers, joined_in=None)
    ours = OutboundMessage.objects.filter(msisdn=ticket.msisdn)
    said = [
        *map(_theirs, theirs.select_related("booking", "ticket").order_by("-pk")[:MOST]),
        *map(_ours, ours.select_related("booking", "user").order_by("-pk")[:MOST]),
    ]
    return sorted(said, key=lambda one: one.at)[-MOST:]


def _theirs(inbound: InboundMessage) -> Said:
    return Said(
        at=inbound.received_at,
        text=visible(inbound.said) or "(empty)",
        is_theirs=True,
        about=visible(str(inbound.booking or "")),
        state=Outcome(inbound.outcome).label if inbound.outcome else "not processed yet",
        reason=visible(inbound.attention),
        is_bad=bool(inbound.attention),
    )


def _ours(message: OutboundMessage) -> Said:
    return Said(
        at=message.queued_at,
        text=visible(message.text),
        is_theirs=False,
        about=visible(str(message.booking or "")),
        state=f"{Kind(message.kind).label}: {MessageState(message.state).label}",
        reason=visible(message.reason),
        who=full_name(message.user),
        is_bad=message.state in LOST,
    )
